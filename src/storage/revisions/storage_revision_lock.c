/*
 * storage_revision_lock.c: locks on volumes, by pool and name
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_lock.h"

#include "viralloc.h"
#include "virerror.h"
#include "virthread.h"
#include "virtime.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/*
 * A volume's lock covers its head, live copy, revisions and staging together. It is taken with the pool unlocked, and
 * outlives every definition of the volume: a refresh may free those at any time. The pool's own lock is only ever taken
 * inside a volume's lock, never the other way round (but for virStorageRevLocksTry, which does not wait).
 */

typedef struct _virStorageRevLock virStorageRevLock;
struct _virStorageRevLock {
    unsigned int readers;
    bool writer;
    bool slow; /* the holder copies data: do not wait for it */
};

struct _virStorageRevLocks {
    char *target;     /* held exclusively; NULL for none */
    char *sources[2]; /* held shared; NULL for none */
};

static virMutex mutex = VIR_MUTEX_INITIALIZER;
static virCond released;
static GHashTable *table;


static int
virStorageRevLockOnceInit(void)
{
    if (virCondInit(&released) < 0) {
        virReportSystemError(errno, "%s", _("cannot initialize the locks of volumes"));
        return -1;
    }
    table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return 0;
}

VIR_ONCE_GLOBAL_INIT(virStorageRevLock);


static char *
virStorageRevLockKey(const unsigned char *pool,
                     const char *volume)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (!volume)
        return NULL;
    virUUIDFormat(pool, uuid);
    return g_strdup_printf("%s/%s", uuid, volume);
}


static virStorageRevLock *
virStorageRevLockFind(const char *key)
{
    return key ? g_hash_table_lookup(table, key) : NULL;
}


/* Does somebody hold @locks in a way that excludes us? Sets @slow when it is pointless to wait. */
static bool
virStorageRevLocksAreTaken(virStorageRevLocks *locks,
                           bool *slow)
{
    virStorageRevLock *lock = virStorageRevLockFind(locks->target);
    size_t i;

    for (i = 0; !lock && i < G_N_ELEMENTS(locks->sources); i++) {
        lock = virStorageRevLockFind(locks->sources[i]);
        if (lock && !lock->writer)
            lock = NULL;
    }
    if (!lock)
        return false;

    *slow = lock->slow;
    return true;
}


static void
virStorageRevLocksTakeShared(const char *key,
                             bool slow)
{
    virStorageRevLock *lock = virStorageRevLockFind(key);

    if (!lock) {
        lock = g_new0(virStorageRevLock, 1);
        g_hash_table_insert(table, g_strdup(key), lock);
    }
    lock->readers++;
    lock->slow |= slow;
}


static void
virStorageRevLocksTake(virStorageRevLocks *locks,
                       bool slow)
{
    virStorageRevLock *lock;
    size_t i;

    if (locks->target) {
        lock = g_new0(virStorageRevLock, 1);
        lock->writer = true;
        lock->slow = slow;
        g_hash_table_insert(table, g_strdup(locks->target), lock);
    }
    for (i = 0; i < G_N_ELEMENTS(locks->sources); i++) {
        if (locks->sources[i])
            virStorageRevLocksTakeShared(locks->sources[i], slow);
    }
}


static void
virStorageRevLocksFree(virStorageRevLocks *locks)
{
    size_t i;

    g_free(locks->target);
    for (i = 0; i < G_N_ELEMENTS(locks->sources); i++)
        g_free(locks->sources[i]);
    g_free(locks);
}


/**
 * virStorageRevLocksAcquire:
 * @targetPool: UUID of the pool of @target
 * @target: volume to lock exclusively, or NULL
 * @sourcePool: UUID of the pool of @source
 * @source: volume to lock shared, or NULL; ignored when it is @target itself
 * @kept: volume of @targetPool to lock shared as well, since it has to stay, or NULL; likewise
 * @slow: whether the caller is going to copy data, so that others fail at once instead of waiting
 *
 * Takes all locks at once, so that no order can dead-lock. Waits up to VIR_STORAGE_REV_LOCK_WAIT_MS; no pool may be
 * locked meanwhile.
 *
 * Returns the locks, or NULL with VIR_ERR_OPERATION_INVALID
 */
virStorageRevLocks *
virStorageRevLocksAcquire(const unsigned char *targetPool,
                          const char *target,
                          const unsigned char *sourcePool,
                          const char *source,
                          const char *kept,
                          bool slow)
{
    virStorageRevLocks *locks;
    unsigned long long until;
    bool busy = false;

    if (virStorageRevLockInitialize() < 0 || virTimeMillisNow(&until) < 0)
        return NULL;
    until += VIR_STORAGE_REV_LOCK_WAIT_MS;

    locks = g_new0(virStorageRevLocks, 1);
    locks->target = virStorageRevLockKey(targetPool, target);
    locks->sources[0] = virStorageRevLockKey(sourcePool, source);
    locks->sources[1] = virStorageRevLockKey(targetPool, kept);
    if (STREQ_NULLABLE(locks->target, locks->sources[0]))
        VIR_FREE(locks->sources[0]);
    if (STREQ_NULLABLE(locks->target, locks->sources[1]))
        VIR_FREE(locks->sources[1]);

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        while (virStorageRevLocksAreTaken(locks, &busy) && !busy) {
            if (virCondWaitUntil(&released, &mutex, until) < 0)
                busy = true;
        }
        if (!busy)
            virStorageRevLocksTake(locks, slow);
    }

    if (busy) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' is in use by another operation"),
                       target ? target : source);
        g_clear_pointer(&locks, virStorageRevLocksFree);
    }
    return locks;
}


/**
 * virStorageRevLocksTry:
 * @pool: UUID of the pool
 * @volume: volume to lock exclusively
 *
 * Never waits, so that it can be called with the pool locked.
 *
 * Returns the lock, or NULL without an error when somebody holds it
 */
virStorageRevLocks *
virStorageRevLocksTry(const unsigned char *pool,
                      const char *volume)
{
    virStorageRevLocks *locks;
    bool slow = false;
    bool taken = true;

    if (virStorageRevLockInitialize() < 0) {
        virResetLastError();
        return NULL;
    }

    locks = g_new0(virStorageRevLocks, 1);
    locks->target = virStorageRevLockKey(pool, volume);

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        if (!(taken = virStorageRevLocksAreTaken(locks, &slow)))
            virStorageRevLocksTake(locks, false);
    }
    if (taken)
        g_clear_pointer(&locks, virStorageRevLocksFree);
    return locks;
}


/* Is somebody changing @volume? Costs next to nothing while nobody is changing any. */
bool
virStorageRevLocksAreHeld(const unsigned char *pool,
                          const char *volume)
{
    g_autofree char *key = NULL;
    virStorageRevLock *lock;
    bool held = false;

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        if (table && g_hash_table_size(table) > 0) {
            key = virStorageRevLockKey(pool, volume);
            held = (lock = virStorageRevLockFind(key)) && lock->writer;
        }
    }
    return held;
}


/**
 * virStorageRevLocksRelease:
 * @locks: what virStorageRevLocksAcquire or virStorageRevLocksTry returned, or NULL
 */
void
virStorageRevLocksRelease(virStorageRevLocks *locks)
{
    virStorageRevLock *lock;
    size_t i;

    if (!locks)
        return;

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        if (locks->target)
            g_hash_table_remove(table, locks->target);
        for (i = 0; i < G_N_ELEMENTS(locks->sources); i++) {
            if ((lock = virStorageRevLockFind(locks->sources[i])) && --lock->readers == 0)
                g_hash_table_remove(table, locks->sources[i]);
        }
        virCondBroadcast(&released);
    }
    virStorageRevLocksFree(locks);
}
