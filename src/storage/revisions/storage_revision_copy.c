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


static bool
virStorageRevIsZero(const char *buf,
                        size_t len)
{
    return len == 0 || (buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0);
}


/* Copies what lies between two offsets, and leaves holes where it is zero. */
static int
virStorageRevCopyRange(int from,
                           int to,
                           off_t start,
                           off_t end,
                           char *buf)
{
    while (start < end) {
        size_t want = MIN(COPY_BLOCK, end - start);
        ssize_t got = pread(from, buf, want, start);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0) {
            errno = EIO; /* it has become shorter */
            return -1;
        }
        if (!virStorageRevIsZero(buf, got)) {
            ssize_t done = 0;

            while (done < got) {
                ssize_t put = pwrite(to, buf + done, got - done, start + done);

                if (put < 0 && errno == EINTR)
                    continue;
                if (put < 0)
                    return -1;
                done += put;
            }
        }
        start += got;
    }
    return 0;
}


/**
 * virStorageRevCopyData:
 * @from: file or block device
 * @to: file of the same size, or block device of at least that, which reads as zeros
 *
 * Returns 0, or -1 with errno
 */
int
virStorageRevCopyData(int from,
                      int to)
{
    g_autofree char *buf = g_new0(char, COPY_BLOCK);
    off_t size = lseek(from, 0, SEEK_END);
    off_t data = 0;

    if (size < 0)
        return -1;

    while (data < size) {
        off_t hole;

        data = lseek(from, data, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break;
        /* what cannot tell data from holes is all data */
        if (data < 0 && errno != EINVAL)
            return -1;
        if (data < 0) {
            data = 0;
            hole = size;
        } else if ((hole = lseek(from, data, SEEK_HOLE)) < 0) {
            return -1;
        }
        if (virStorageRevCopyRange(from, to, data, hole, buf) < 0)
            return -1;
        data = hole;
    }
    return 0;
}
