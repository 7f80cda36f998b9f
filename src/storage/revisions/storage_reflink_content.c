/*
 * storage_reflink_content.c: what is in an image file, and what is known of it
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "storage_reflink_content.h"

#include "storage_reflink_qcow2.h"
#include "storage_revision_copy.h"
#include "viralloc.h"
#include "virbitmap.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_reflink_content");


/* Returns 0, or -1 with errno. */
static int
virStorageReflinkCopyFile(int from,
                          int to)
{
    off_t size = lseek(from, 0, SEEK_END);

    if (size < 0 || ftruncate(to, size) < 0)
        return -1;
    return virStorageRevCopyData(from, to, 0);
}


static bool
virStorageReflinkIsNocow(int fd)
{
    int attributes = 0;

    return ioctl(fd, FS_IOC_GETFLAGS, &attributes) == 0 && (attributes & FS_NOCOW_FL);
}


/**
 * virStorageReflinkFill:
 * @ctx: pool
 * @from: image to read
 * @to: empty image
 * @name: of the volume to read, for errors
 *
 * Clones, or where the file system cannot and the pool does not insist on it, copies.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageReflinkFill(virStorageRevContext *ctx,
                      int from,
                      int to,
                      const char *name)
{
    if (virStorageRevCloneFile(from, to) == 0)
        return 0;

    if (errno == EINVAL && virStorageReflinkIsNocow(from) != virStorageReflinkIsNocow(to)) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("volume '%1$s' cannot be cloned, since its file has the NOCOW attribute and its pool has not, or the other way round: copy it to a new file in a directory without that attribute (see chattr(1), +C)"),
                       name);
        return -1;
    }

    /* Any other error is the disk's, and not to be covered up by a copy. */
    if (ctx->cloneRequired ||
        (errno != EOPNOTSUPP && errno != ENOTTY && errno != EXDEV && errno != EINVAL)) {
        virReportSystemError(errno, _("cannot clone volume '%1$s'"), name);
        return -1;
    }
    if (virStorageReflinkCopyFile(from, to) < 0) {
        virReportSystemError(errno, _("cannot copy volume '%1$s'"), name);
        return -1;
    }
    return 0;
}


/**
 * virStorageReflinkStateRead:
 * @ctx: pool
 * @fd: image, or whatever was found in its place
 * @state: a kind and a file; filled
 *
 * Returns 0, or -1 with errno; EINVAL for what is not a regular file
 */
int
virStorageReflinkStateRead(const virStorageRevContext *ctx,
                           int fd,
                           virStorageRevState *state)
{
    struct stat sb;
    int rc;

    if (fstat(fd, &sb) < 0)
        return -1;
    if (!S_ISREG(sb.st_mode)) {
        errno = EINVAL;
        return -1;
    }

    virStorageRevMetaClear(&state->meta);
    virStorageRevMetaInit(&state->meta);
    if ((rc = virStorageRevMetaReadFile(fd, &state->meta, &state->hasMeta)) < 0)
        return -1;
    if (rc > 0)
        VIR_WARN("'%s' in pool '%s' has metadata that cannot be read, and is taken for a volume without",
                 state->file, ctx->poolName);
    if (state->kind != VIR_STORAGE_REV_LIVE)
        virStorageRevMetaDropLiveMarks(&state->meta);

    virStorageRevStateFromStat(fd, &sb, state);
    state->capacity = sb.st_size;
    state->allocation = ctx->allocationIsCapacity ? sb.st_size : sb.st_blocks * 512ULL;

    if (state->meta.format == VIR_STORAGE_FILE_QCOW2 && virStorageReflinkQcow2Read(fd, state) < 0)
        VIR_WARN("'%s' in pool '%s' is no qcow2 image, as its metadata says", state->file, ctx->poolName);
    return 0;
}


int
virStorageReflinkSetSize(int fd,
                         unsigned long long size,
                         const char *name)
{
    if (ftruncate(fd, size) == 0)
        return 0;

    virReportSystemError(errno, _("cannot resize volume '%1$s'"), name);
    return -1;
}


/* Reserves space for the first @bytes of an image. */
int
virStorageReflinkAllocate(int fd,
                          unsigned long long bytes,
                          const char *name)
{
    if (bytes == 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0)
        return 0;

    virReportSystemError(errno, _("cannot allocate %2$llu bytes for volume '%1$s'"), name, bytes);
    return -1;
}


/* Returns what identifies a head's content: any write, truncation or replacement changes it, once the clock has moved
 * on. Hashed, since the metadata has little room. */
char *
virStorageReflinkStamp(const struct stat *sb,
                       unsigned long long generation)
{
    g_autofree char *text = NULL;

    text = g_strdup_printf("%llx %llx %llx %llx.%lx %llx.%lx",
                           generation, (unsigned long long) sb->st_ino, (unsigned long long) sb->st_size,
                           (unsigned long long) sb->st_mtim.tv_sec, sb->st_mtim.tv_nsec,
                           (unsigned long long) sb->st_ctim.tv_sec, sb->st_ctim.tv_nsec);
    return virStorageRevMetaHash(text);
}


/**
 * virStorageReflinkMarkUnwritten:
 *
 * Gives an image a modification time that no write can leave. The clock by which files are stamped is too coarse to
 * tell a write right after a clone by comparing two real times.
 */
int
virStorageReflinkMarkUnwritten(int fd,
                               const char *name)
{
    struct timespec times[2] = {
        { .tv_nsec = UTIME_OMIT },
        { .tv_sec = VIR_STORAGE_REV_UNWRITTEN_MTIME },
    };

    if (futimens(fd, times) == 0)
        return 0;

    virReportSystemError(errno, _("cannot mark the live copy of volume '%1$s'"), name);
    return -1;
}


bool
virStorageReflinkIsUnwritten(const virStorageRevState *state)
{
    return state->mtime.tv_sec == VIR_STORAGE_REV_UNWRITTEN_MTIME && state->mtime.tv_nsec == 0;
}
