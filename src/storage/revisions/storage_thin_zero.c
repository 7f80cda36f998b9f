/*
 * storage_thin_zero.c: zeros in a thin volume
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "storage_thin_zero.h"

#include "storage_revision_copy.h"
#include "virfile.h"
#include "virstring.h"

#define NUMBER_MAX 64

/* One request for a large device would keep all others waiting for minutes. */
#define DISCARD_MAX (1024ULL * 1024 * 1024)
#define BUFFER_SIZE (256ULL * 1024)


/* Returns the bytes of a block of the thin pool, which can be discarded as a whole only; 0 where nothing can. */
static unsigned long long
virStorageThinGranularity(int fd)
{
    g_autofree char *file = NULL;
    g_autofree char *text = NULL;
    unsigned long long granularity = 0;
    struct stat sb;

    if (fstat(fd, &sb) < 0 || !S_ISBLK(sb.st_mode))
        return 0;
    file = g_strdup_printf("/sys/dev/block/%u:%u/queue/discard_granularity", major(sb.st_rdev), minor(sb.st_rdev));
    if (virFileReadAllQuiet(file, NUMBER_MAX, &text) > 0)
        ignore_value(virStrToLong_ull(g_strchomp(text), NULL, 10, &granularity) < 0);
    return granularity;
}


/* Both ends are those of blocks. A step that ended within one would leave it to neither request. */
static int
virStorageThinDiscardBlocks(int fd,
                            unsigned long long start,
                            unsigned long long end,
                            unsigned long long granularity)
{
    unsigned long long step = MAX(DISCARD_MAX / granularity, 1) * granularity;

    while (start < end) {
        unsigned long long range[2] = { start, MIN(end - start, step) };

        if (ioctl(fd, BLKDISCARD, range) < 0)
            return -1;
        start += range[1];
    }
    return 0;
}


static int
virStorageThinWriteZeros(int fd,
                         unsigned long long start,
                         unsigned long long end)
{
    g_autofree char *zeros = g_new0(char, BUFFER_SIZE);

    while (start < end) {
        ssize_t put = pwrite(fd, zeros, MIN(end - start, BUFFER_SIZE), start);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        start += put;
    }
    return 0;
}


/* Writes zeros where there are none. What has no block reads as zeros, and is given none. */
static int
virStorageThinOverwriteRest(int fd,
                            unsigned long long start,
                            unsigned long long end)
{
    g_autofree char *buf = g_new(char, BUFFER_SIZE);

    while (start < end) {
        ssize_t got = pread(fd, buf, MIN(end - start, BUFFER_SIZE), start);

        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO;
        if (got <= 0 ||
            (!virStorageRevIsZero(buf, got) && virStorageThinWriteZeros(fd, start, start + got) < 0))
            return -1;
        start += got;
    }
    return 0;
}


/* Makes zeros of whole blocks. */
static int
virStorageThinZeroBlocks(int fd,
                         unsigned long long start,
                         unsigned long long end,
                         unsigned long long granularity)
{
    if (start == end)
        return 0;
    if (virStorageThinDiscardBlocks(fd, start, end, granularity) < 0) {
        /* the pool may be told to ignore discards */
        return errno == EOPNOTSUPP ? virStorageThinWriteZeros(fd, start, end) : -1;
    }
    /* The kernel splits a large discard where it can on the bits of the granularity: in the midst of a block, if that is
     * no power of two. A thin pool keeps blocks of which it is told a part only, and says that all is well. */
    return VIR_IS_POW2(granularity) ? 0 : virStorageThinOverwriteRest(fd, start, end);
}


/**
 * virStorageThinZero:
 * @fd: thin volume, open for writing
 * @offset: where to begin
 * @length: how many bytes
 *
 * Frees whole blocks of the pool, which read as zeros from then on, and writes zeros to parts of blocks.
 *
 * Returns 0, or -1 with errno
 */
int
virStorageThinZero(int fd,
                   unsigned long long offset,
                   unsigned long long length)
{
    unsigned long long granularity = virStorageThinGranularity(fd);
    unsigned long long end = offset + length;
    unsigned long long first = end;
    unsigned long long last = end;

    if (granularity > 0) {
        first = MIN(end, VIR_ROUND_UP(offset, granularity));
        last = MAX(first, end / granularity * granularity);
    }
    if (virStorageThinWriteZeros(fd, offset, first) < 0 ||
        virStorageThinZeroBlocks(fd, first, last, granularity) < 0)
        return -1;
    return virStorageThinWriteZeros(fd, last, end);
}
