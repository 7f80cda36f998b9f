/*
 * storage_fspool_alive.c: does a server answer?
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/vfs.h>

#include "storage_fspool_alive.h"

#include "virerror.h"
#include "virthread.h"
#include "virtime.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* A system call on NFS cannot be told to give up. It is left to a thread, which is left alone when it takes too long;
 * as long as it does, nobody starts another one for the same path. */
typedef struct _virStorageFspoolProbe virStorageFspoolProbe;
struct _virStorageFspoolProbe {
    int refs;                   /* the thread's, and one for each who waits */
    char *path;
    virStorageFspoolAliveAsk ask;
    virCond cond;
    unsigned long long started; /* milliseconds since 1970 */
    bool done;
    int error;                  /* errno of an answer, once it is done */
};

static virMutex mutex = VIR_MUTEX_INITIALIZER;
static GHashTable *probes; /* path → virStorageFspoolProbe that is under way */


/* Called, as all that follow, with the mutex held. */
static void
virStorageFspoolProbeUnref(virStorageFspoolProbe *probe)
{
    if (--probe->refs > 0)
        return;

    virCondDestroy(&probe->cond);
    g_free(probe->path);
    g_free(probe);
}


static void
virStorageFspoolProbeRun(void *opaque)
{
    virStorageFspoolProbe *probe = opaque;
    int error = probe->ask(probe->path);

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        probe->error = error;
        probe->done = true;
        g_hash_table_remove(probes, probe->path);
        virCondBroadcast(&probe->cond);
        virStorageFspoolProbeUnref(probe);
    }
}


static virStorageFspoolProbe *
virStorageFspoolProbeStart(const char *path,
                           virStorageFspoolAliveAsk ask,
                           unsigned long long now)
{
    virStorageFspoolProbe *probe = g_new0(virStorageFspoolProbe, 1);
    virThread thread;

    if (virCondInit(&probe->cond) < 0) {
        g_free(probe);
        return NULL;
    }
    probe->path = g_strdup(path);
    probe->ask = ask;
    probe->started = now;
    probe->refs = 1;

    if (virThreadCreateFull(&thread, false, virStorageFspoolProbeRun, "fspool-alive", false, probe) < 0) {
        virStorageFspoolProbeUnref(probe);
        return NULL;
    }
    g_hash_table_insert(probes, probe->path, probe);
    return probe;
}


static int
virStorageFspoolProbeWait(virStorageFspoolProbe *probe,
                          unsigned int seconds)
{
    unsigned long long deadline = probe->started + seconds * 1000ULL;
    int error = ETIMEDOUT;

    probe->refs++;
    while (!probe->done && virCondWaitUntil(&probe->cond, &mutex, deadline) == 0)
        continue;
    if (probe->done)
        error = probe->error;
    virStorageFspoolProbeUnref(probe);
    return error;
}


/* As virStorageFspoolAliveWait(), with another question. */
int
virStorageFspoolAliveWaitFor(const char *path,
                             unsigned int seconds,
                             virStorageFspoolAliveAsk ask)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);
    virStorageFspoolProbe *probe;
    unsigned long long now;

    if (virTimeMillisNow(&now) < 0)
        return errno;

    if (!probes)
        probes = g_hash_table_new(g_str_hash, g_str_equal);
    if (!(probe = g_hash_table_lookup(probes, path)) &&
        !(probe = virStorageFspoolProbeStart(path, ask, now)))
        return errno ? errno : EAGAIN;
    return virStorageFspoolProbeWait(probe, seconds);
}


static int
virStorageFspoolAskStatfs(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) < 0 ? errno : 0;
}


/**
 * virStorageFspoolAliveWait:
 * @path: directory of a file system on a server
 * @seconds: how long its answer may take
 *
 * A question that is still without an answer is not asked again, and found to have taken too long at once.
 *
 * Returns 0, ETIMEDOUT, or the error that the answer is, as a number of errno's
 */
int
virStorageFspoolAliveWait(const char *path,
                          unsigned int seconds)
{
    return virStorageFspoolAliveWaitFor(path, seconds, virStorageFspoolAskStatfs);
}
