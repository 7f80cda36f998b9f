/*
 * storage_fspool_progress.c: how far the copies of trees under way have come
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_fspool_progress.h"

#include "virthread.h"

struct _virStorageFspoolProgressEntry {
    unsigned char pool[VIR_UUID_BUFLEN];
    char *volume;
    virStorageFspoolProgress progress;
};

/* Protects the list, and keeps what is in it from being freed while somebody reads it. */
static virMutex mutex = VIR_MUTEX_INITIALIZER;
static GList *entries;


/**
 * virStorageFspoolProgressBegin:
 * @pool: UUID of the pool
 * @volume: what is being made
 *
 * Returns what counts its progress, until it is freed
 */
virStorageFspoolProgressEntry *
virStorageFspoolProgressBegin(const unsigned char *pool,
                              const char *volume)
{
    virStorageFspoolProgressEntry *entry = g_new0(virStorageFspoolProgressEntry, 1);

    memcpy(entry->pool, pool, VIR_UUID_BUFLEN);
    entry->volume = g_strdup(volume);
    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        entries = g_list_prepend(entries, entry);
    }
    return entry;
}


virStorageFspoolProgress *
virStorageFspoolProgressOf(virStorageFspoolProgressEntry *entry)
{
    return &entry->progress;
}


void
virStorageFspoolProgressEnd(virStorageFspoolProgressEntry *entry)
{
    if (!entry)
        return;

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        entries = g_list_remove(entries, entry);
    }
    g_free(entry->volume);
    g_free(entry);
}


/* Tells how many bytes of @volume are there by now. Returns false when it is not being copied. */
bool
virStorageFspoolProgressFind(const unsigned char *pool,
                             const char *volume,
                             unsigned long long *bytes)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);
    unsigned long long files;
    GList *link;

    for (link = entries; link; link = link->next) {
        virStorageFspoolProgressEntry *entry = link->data;

        if (memcmp(entry->pool, pool, VIR_UUID_BUFLEN) == 0 && STREQ(entry->volume, volume)) {
            virStorageFspoolProgressRead(&entry->progress, &files, bytes);
            return true;
        }
    }
    return false;
}
