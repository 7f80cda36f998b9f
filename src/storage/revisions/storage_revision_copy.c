/*
 * storage_revision_copy.c: copying images without their holes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_copy.h"

/* Large enough for one request to a disk, small enough to skip the zeros between data. */
#define COPY_BLOCK (256 * 1024)


bool
virStorageRevIsZero(const char *buf,
                    size_t len)
{
    return len == 0 || (buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0);
}


static int
virStorageRevReadBlock(int fd,
                       char *buf,
                       size_t len,
                       off_t offset)
{
    while (len > 0) {
        ssize_t got = pread(fd, buf, len, offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO; /* it has become shorter */
        if (got <= 0)
            return -1;
        buf += got;
        len -= got;
        offset += got;
    }
    return 0;
}


static int
virStorageRevWriteBlock(int fd,
                        const char *buf,
                        size_t len,
                        off_t offset)
{
    while (len > 0) {
        ssize_t put = pwrite(fd, buf, len, offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        buf += put;
        len -= put;
        offset += put;
    }
    return 0;
}


/* Copies what lies between two offsets, and leaves holes where a whole block is zero, as is all that lies behind @size. */
static int
virStorageRevCopyRange(int from,
                       int to,
                       off_t start,
                       off_t end,
                       off_t size,
                       char *buf,
                       size_t block)
{
    for (; start < end; start += block) {
        size_t len = MIN((off_t) block, end - start);
        size_t there = MIN((off_t) len, size - start);

        if (virStorageRevReadBlock(from, buf, there, start) < 0)
            return -1;
        memset(buf + there, 0, len - there);
        if (!virStorageRevIsZero(buf, len) &&
            virStorageRevWriteBlock(to, buf, len, start) < 0)
            return -1;
    }
    return 0;
}


/* Sets where the data at or behind *@data begins and ends. Returns 1, or 0 when there is none, or -1 with errno. */
static int
virStorageRevFindData(int fd,
                      off_t size,
                      off_t *data,
                      off_t *hole)
{
    off_t begin = lseek(fd, *data, SEEK_DATA);

    if (begin < 0 && errno == ENXIO)
        return 0;
    if (begin < 0 && errno == EINVAL) { /* what cannot tell data from holes is all data */
        *hole = size;
        return 1;
    }
    if (begin < 0 || (*hole = lseek(fd, begin, SEEK_HOLE)) < 0)
        return -1;
    *data = begin;
    return 1;
}


/**
 * virStorageRevCopyData:
 * @from: file or block device
 * @to: file of the same size, or block device of at least that, which reads as zeros as long as nothing is written
 * @unit: bytes of @to that come into being at once, with whatever was there before: they are written as a whole, or not
 *        at all. 0: there are no such.
 *
 * Returns 0, or -1 with errno
 */
int
virStorageRevCopyData(int from,
                      int to,
                      size_t unit)
{
    size_t block = unit > 0 ? VIR_ROUND_UP(COPY_BLOCK, unit) : COPY_BLOCK;
    g_autofree char *buf = g_new0(char, block);
    off_t size = lseek(from, 0, SEEK_END);
    off_t room = lseek(to, 0, SEEK_END);
    off_t data = 0;
    off_t hole = 0;
    int rc = 0;

    if (size < 0 || room < 0)
        return -1;
    if (room < size) {
        errno = ENOSPC;
        return -1;
    }

    for (; data < size && (rc = virStorageRevFindData(from, size, &data, &hole)) > 0; data = hole) {
        if (unit > 0) {
            data -= data % unit;
            hole = MIN((off_t) VIR_ROUND_UP(hole, unit), room);
        }
        if (virStorageRevCopyRange(from, to, data, hole, size, buf, block) < 0)
            return -1;
    }
    return data < size ? rc : 0;
}
