/*
 * storage_fspool_tree_data.c: copying what is in a file of a tree
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "storage_fspool_tree_entry.h"

#include "storage_revision_file.h"

/* What the kernel is asked to copy at once: a copy can be ended that often. */
#define CHUNK (8 * 1024 * 1024)

/* What is read and written at once where the kernel does not copy. */
#define BLOCK (256 * 1024)


/**
 * virStorageFspoolProgressRead:
 * @progress: of a copy
 * @entries: set to how many files, directories and others are done
 * @bytes: set to how many bytes of data are copied or shared
 */
void
virStorageFspoolProgressRead(virStorageFspoolProgress *progress,
                             unsigned long long *entries,
                             unsigned long long *bytes)
{
    *entries = __atomic_load_n(&progress->entries, __ATOMIC_RELAXED);
    *bytes = __atomic_load_n(&progress->bytes, __ATOMIC_RELAXED);
}


/* Makes the copy end with VIR_ERR_OPERATION_ABORTED, soon. */
void
virStorageFspoolProgressCancel(virStorageFspoolProgress *progress)
{
    __atomic_store_n(&progress->cancel, 1, __ATOMIC_RELAXED);
}


bool
virStorageFspoolProgressIsCancelled(virStorageFspoolProgress *progress)
{
    return progress && __atomic_load_n(&progress->cancel, __ATOMIC_RELAXED);
}


void
virStorageFspoolProgressAdd(virStorageFspoolProgress *progress,
                            unsigned long long entries,
                            unsigned long long bytes)
{
    if (!progress)
        return;
    __atomic_fetch_add(&progress->entries, entries, __ATOMIC_RELAXED);
    __atomic_fetch_add(&progress->bytes, bytes, __ATOMIC_RELAXED);
}


/* Btrfs shares no extents between a file that is copied on write and one that is not. Returns whether @to, which is
 * empty, has become what @from is in this. */
static bool
virStorageFspoolTreeMatchNocow(int from,
                               int to)
{
    int want = 0;
    int have = 0;

    if (ioctl(from, FS_IOC_GETFLAGS, &want) < 0 ||
        ioctl(to, FS_IOC_GETFLAGS, &have) < 0 ||
        ((want ^ have) & FS_NOCOW_FL) == 0)
        return false;

    have ^= FS_NOCOW_FL;
    return ioctl(to, FS_IOC_SETFLAGS, &have) == 0;
}


static int
virStorageFspoolTreeClone(int from,
                          int to)
{
    if (virStorageRevCloneFile(from, to) == 0)
        return 0;
    if (errno != EINVAL)
        return -1;
    if (!virStorageFspoolTreeMatchNocow(from, to)) {
        errno = EINVAL;
        return -1;
    }
    return virStorageRevCloneFile(from, to);
}


/* Errors that writing would only meet again. */
static bool
virStorageFspoolTreeIsFull(int err)
{
    return err == ENOSPC || err == EDQUOT || err == EFBIG;
}


/* Returns how many bytes were copied, 0 at the end of the file, or -1 with errno. */
static ssize_t
virStorageFspoolTreeCopyBlock(int from,
                              int to,
                              off_t offset,
                              size_t len,
                              char **buf)
{
    ssize_t got;
    ssize_t done = 0;

    if (!*buf)
        *buf = g_new0(char, BLOCK);

    do {
        got = pread(from, *buf, MIN(len, BLOCK), offset);
    } while (got < 0 && errno == EINTR);

    while (done < got) {
        ssize_t put = pwrite(to, *buf + done, got - done, offset + done);

        if (put < 0 && errno != EINTR)
            return -1;
        done += MAX(put, 0);
    }
    return got;
}


/* As virStorageFspoolTreeCopyBlock(), but lets the kernel do it where it can. What it cannot, and why, is not of
 * interest: an error of the disk is met again by the other way. */
static ssize_t
virStorageFspoolTreeCopyChunk(int from,
                              int to,
                              off_t offset,
                              size_t len,
                              char **buf)
{
    off_t in = offset;
    off_t out = offset;
    ssize_t done = copy_file_range(from, &in, to, &out, MIN(len, CHUNK), 0);

    if (done > 0)
        return done;
    if (done < 0 && virStorageFspoolTreeIsFull(errno))
        return -1;
    return virStorageFspoolTreeCopyBlock(from, to, offset, len, buf);
}


/* Sets where the data at or behind *@data begins and ends. Returns 1, or 0 when there is none, or -1 with errno. */
static int
virStorageFspoolTreeFindData(int fd,
                             off_t size,
                             off_t *data,
                             off_t *hole)
{
    off_t begin = lseek(fd, *data, SEEK_DATA);
    off_t end;

    *hole = size;
    if (begin < 0 && errno == ENXIO)
        return 0;
    if (begin < 0)
        return errno == EINVAL ? 1 : -1; /* what cannot tell data from holes is all data */
    if (begin >= size)
        return 0;

    end = lseek(fd, begin, SEEK_HOLE);
    if (end < 0 && errno != ENXIO) /* it has become shorter: reading will tell */
        return -1;
    if (end > begin)
        *hole = MIN(end, size);
    *data = begin;
    return 1;
}


/* Copies from *@data to @hole, and sets *@data to where it ended. Returns 1, 0 at the end of the file, or -1. */
static int
virStorageFspoolTreeCopyExtent(int from,
                               int to,
                               off_t *data,
                               off_t hole,
                               virStorageFspoolProgress *progress,
                               char **buf)
{
    while (*data < hole) {
        ssize_t done;

        if (virStorageFspoolProgressIsCancelled(progress)) {
            errno = ECANCELED;
            return -1;
        }
        if ((done = virStorageFspoolTreeCopyChunk(from, to, *data, hole - *data, buf)) <= 0)
            return done;
        *data += done;
        virStorageFspoolProgressAdd(progress, 0, done);
    }
    return 1;
}


static int
virStorageFspoolTreeCopyExtents(int from,
                                int to,
                                off_t size,
                                virStorageFspoolProgress *progress,
                                char **buf)
{
    off_t data = 0;
    off_t hole = 0;
    struct stat now;
    int rc = 1;

    if (ftruncate(to, size) < 0)
        return -1;

    while (rc > 0 && data < size && (rc = virStorageFspoolTreeFindData(from, size, &data, &hole)) > 0)
        rc = virStorageFspoolTreeCopyExtent(from, to, &data, hole, progress, buf);

    if (rc < 0 || fstat(from, &now) < 0)
        return -1;
    return now.st_size < size ? ftruncate(to, now.st_size) : 0;
}


/**
 * virStorageFspoolTreeCopyData:
 * @from: regular file, which others may write to and cut off meanwhile
 * @to: empty file, open for writing
 * @sx: of @from
 * @progress: of the copy, or NULL
 * @buf: to be freed by the caller, after many files: NULL, or what was left in it
 *
 * Shares the extents where the file system can, else copies data, and leaves holes where there are some.
 *
 * Returns 0, or -1 with errno, ECANCELED when @progress asks for it
 */
int
virStorageFspoolTreeCopyData(int from,
                             int to,
                             const struct statx *sx,
                             virStorageFspoolProgress *progress,
                             char **buf)
{
    if (sx->stx_size == 0)
        return 0;

    if (virStorageFspoolTreeClone(from, to) == 0) {
        virStorageFspoolProgressAdd(progress, 0, sx->stx_blocks * 512);
        return 0;
    }
    if (virStorageFspoolTreeIsFull(errno))
        return -1;
    return virStorageFspoolTreeCopyExtents(from, to, sx->stx_size, progress, buf);
}
