/*
 * storage_reflink_prefetch.c: reading the inodes of a directory side by side
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_reflink_prefetch.h"

#include "virlog.h"
#include "virthread.h"

VIR_LOG_INIT("storage.storage_reflink_prefetch");

/* As many requests as a disk likes to have at once; one thread has never more than one under way. */
#define THREADS 8

/* Names that a thread takes at once: as many inodes lie in two or so blocks, which nobody else need wait for then. */
#define CHUNK 64

/* A block of inodes holds some dozens of them: it is read for the first that is asked for. */
#define STRIDE 4

/* Below this it is not worth to start threads. */
#define WORTH_WHILE (THREADS * CHUNK)

/* So many inodes are looked at to learn whether they are in memory: no disk answers in this time for each. */
#define SAMPLES 16
#define SAMPLE_USEC 20

typedef struct _virStorageReflinkPrefetchData virStorageReflinkPrefetchData;
struct _virStorageReflinkPrefetchData {
    int dirfd;
    const char **names;
    size_t nnames;
    int next; /* chunk; atomic */
};


static void
virStorageReflinkPrefetchThread(void *opaque)
{
    virStorageReflinkPrefetchData *data = opaque;
    size_t start;

    while ((start = (size_t) g_atomic_int_add(&data->next, 1) * CHUNK) < data->nnames) {
        size_t end = MIN(start + CHUNK, data->nnames);
        struct stat sb;
        size_t i;

        for (i = start; i < end; i += STRIDE)
            ignore_value(fstatat(data->dirfd, data->names[i], &sb, AT_SYMLINK_NOFOLLOW));
    }
}


static bool
virStorageReflinkIsCold(int dirfd,
                        const char **names,
                        size_t nnames)
{
    gint64 begin = g_get_monotonic_time();
    struct stat sb;
    size_t i;

    for (i = 0; i < SAMPLES; i++)
        ignore_value(fstatat(dirfd, names[i * (nnames / SAMPLES)], &sb, AT_SYMLINK_NOFOLLOW));
    return g_get_monotonic_time() - begin > SAMPLES * SAMPLE_USEC;
}


/**
 * virStorageReflinkPrefetch:
 * @dirfd: directory
 * @names: names in it, in the order of their inodes
 * @nnames: how many
 *
 * Brings the inodes, and the small attributes that lie in them, into memory. After a boot it is the disk that a scan
 * waits for, once for each few inodes; here several such waits go on at once. Nothing depends on whether it works.
 */
void
virStorageReflinkPrefetch(int dirfd,
                          const char **names,
                          size_t nnames)
{
    virStorageReflinkPrefetchData data = { .dirfd = dirfd, .names = names, .nnames = nnames };
    virThread threads[THREADS];
    size_t running = 0;
    size_t i;

    if (nnames < WORTH_WHILE || !virStorageReflinkIsCold(dirfd, names, nnames))
        return;

    while (running < THREADS &&
           virThreadCreateFull(&threads[running], true, virStorageReflinkPrefetchThread,
                               "vol-prefetch", false, &data) == 0)
        running++;
    VIR_DEBUG("prefetching %zu inodes with %zu threads", nnames, running);

    for (i = 0; i < running; i++)
        virThreadJoin(&threads[i]);
}
