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

#include "virfile.h"
#include "virstring.h"

#define NUMBER_MAX 64

/* One request for a large device would keep all others waiting for minutes. */
#define DISCARD_MAX (1024ULL * 1024 * 1024)
#define WRITE_MAX (256ULL * 1024)


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


static int
virStorageThinDiscardRange(int fd,
                           unsigned long long start,
                           unsigned long long end)
{
    while (start < end) {
        unsigned long long range[2] = { start, MIN(end - start, DISCARD_MAX) };

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
    g_autofree char *zeros = g_new0(char, WRITE_MAX);

    while (start < end) {
        ssize_t put = pwrite(fd, zeros, MIN(end - start, WRITE_MAX), start);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        start += put;
    }
    return 0;
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
    if (virStorageThinWriteZeros(fd, offset, first) < 0)
        return -1;
    /* the pool may be told to ignore discards */
    if (virStorageThinDiscardRange(fd, first, last) < 0 &&
        (errno != EOPNOTSUPP || virStorageThinWriteZeros(fd, first, last) < 0))
        return -1;
    return virStorageThinWriteZeros(fd, last, end);
}
