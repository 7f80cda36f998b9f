/*
 * storage_fspool_item.c: one directory tree: making it, limiting it, reading what is known of it
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_fspool_item.h"

#include "storage_fspool_privilege.h"
#include "storage_fspool_progress.h"
#include "storage_fspool_subvolume.h"
#include "storage_fspool_tree.h"
#include "storage_revision_worker.h"
#include "viralloc.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_item");

/* What Btrfs reserves for an attribute, and sets aside meanwhile for what was written before, is less than that. */
#define META_ROOM (16ULL * 1024 * 1024)
/* What attributes can take. */
#define META_USED (1024 * 1024)


/**
 * virStorageFspoolPoolOpen:
 * @pool: filled; to be cleared
 * @ctx: pool; has to live as long as @pool
 *
 * What enforces limits is asked for each time: an administrator can switch it on and off.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolPoolOpen(virStorageFspoolPool *pool,
                         virStorageRevContext *ctx)
{
    pool->ctx = ctx;
    if (virStorageFspoolRootOpen(&pool->root, ctx) < 0)
        return -1;
    if (virStorageFspoolQuotaDetect(&pool->quota, pool->root.fd) < 0) {
        virReportSystemError(errno, _("cannot tell the quotas of the file system of pool '%1$s'"), ctx->poolName);
        return -1;
    }
    return 0;
}


void
virStorageFspoolPoolClear(virStorageFspoolPool *pool)
{
    virStorageFspoolQuotaClear(&pool->quota);
    virStorageFspoolRootClear(&pool->root);
}


/**
 * virStorageFspoolLimitsCheck:
 * @pool: pool
 * @limits: what is asked for; what is given up is set to 0
 * @volume: for errors
 *
 * A limit that nothing enforces is none: it is refused, unless the pool says that its volumes may do without.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolLimitsCheck(virStorageFspoolPool *pool,
                            virStorageFspoolLimits *limits,
                            const char *volume)
{
    bool space = limits->space > 0 && pool->quota.kind == VIR_STORAGE_FSPOOL_QUOTA_NONE;
    bool files = limits->files > 0 && !virStorageFspoolQuotaCountsFiles(&pool->quota);

    if (!space && !files)
        return 0;

    if (!pool->ctx->quotaRequired) {
        if (space)
            limits->space = 0;
        if (files)
            limits->files = 0;
        return 0;
    }

    if (space)
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("nothing would enforce the capacity of volume '%1$s': switch on the quotas of the file system of pool '%2$s' (Btrfs: quota groups; XFS, ext4: project quotas), leave the capacity out, or let the pool do without limits, with <features><quota required='no'/></features>"),
                       volume, pool->ctx->poolName);
    else
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the file system of pool '%2$s' cannot limit the number of files of volume '%1$s'"),
                       volume, pool->ctx->poolName);
    return -1;
}


/* Sets the limits of a tree that is counted on its own; of one that is not, there are none to set. */
int
virStorageFspoolLimitsSet(virStorageFspoolPool *pool,
                          int fd,
                          const virStorageFspoolLimits *limits,
                          const char *name)
{
    uint64_t id = 0;

    if (pool->quota.kind == VIR_STORAGE_FSPOOL_QUOTA_NONE)
        return 0;
    if (virStorageFspoolQuotaIdOf(&pool->quota, fd, &id) < 0) {
        virReportSystemError(errno, _("cannot set the limits of volume '%1$s'"), name);
        return -1;
    }
    if (id == 0 && (limits->space > 0 || limits->files > 0)) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the directory of volume '%1$s' was not made by the pool, and its space is not counted on its own: clone the volume, which can have a limit then"),
                       name);
        return -1;
    }
    if (virStorageFspoolQuotaSetLimits(&pool->quota, fd, id, limits->space, limits->files) < 0) {
        virReportSystemError(errno, _("cannot set the limits of volume '%1$s'"), name);
        return -1;
    }
    return 0;
}


/* Forgets the limits of a tree that is gone. What is left of them harms nobody. */
void
virStorageFspoolLimitsRelease(virStorageFspoolPool *pool,
                              uint64_t id)
{
    if (id != 0 && virStorageFspoolQuotaRelease(&pool->quota, pool->root.fd, id) < 0)
        VIR_INFO("the quota record %llu of pool '%s' stays: %s",
                 (unsigned long long) id, pool->ctx->poolName, g_strerror(errno));
}


/**
 * virStorageFspoolCheckWhole:
 * @fd: tree
 * @name: for errors
 *
 * A snapshot has an empty directory where a nested subvolume is, so that a copy would not be whole, and the original
 * could not be removed.
 *
 * Returns 0, or -1 with VIR_ERR_OPERATION_INVALID
 */
int
virStorageFspoolCheckWhole(int fd,
                           const char *name)
{
    bool nested = false;

    if (!virStorageFspoolIsSubvolume(fd))
        return 0;
    if (virStorageFspoolSubvolumeHasNested(fd, &nested) < 0) {
        virReportSystemError(errno, _("cannot tell whether there are subvolumes in volume '%1$s'"), name);
        return -1;
    }
    if (nested) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("there are Btrfs subvolumes in volume '%1$s', which would be lost: delete them first (see btrfs-subvolume(8))"),
                       name);
        return -1;
    }
    return 0;
}


/* Has the new tree counted on its own, without a limit yet. */
static int
virStorageFspoolItemClaim(virStorageFspoolPool *pool,
                          int fd,
                          const char *volume)
{
    uint64_t id = 0;

    if (virStorageFspoolQuotaClaim(&pool->quota, pool->root.fd, fd, &id) == 0)
        return 0;
    virReportSystemError(errno, _("cannot have the space of volume '%1$s' counted"), volume);
    return -1;
}


/* Full quota groups count all that a snapshot has: it could be beyond its limit from the start. A tree that is full may
 * be so a little, by what was noted of it. */
static int
virStorageFspoolItemCheckFits(virStorageFspoolPool *pool,
                              int from,
                              const virStorageFspoolLimits *limits,
                              const char *volume)
{
    virStorageFspoolQuotaRecord record = { 0 };
    uint64_t id = 0;

    if (pool->quota.kind != VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL || pool->quota.inexact || limits->space == 0)
        return 0;
    if (virStorageFspoolQuotaIdOf(&pool->quota, from, &id) < 0 ||
        virStorageFspoolQuotaRead(&pool->quota, from, id, &record) < 0) {
        virReportSystemError(errno, _("cannot tell whether the limits of volume '%1$s' are enough"), volume);
        return -1;
    }
    if (record.spaceUsed <= limits->space || record.spaceUsed - limits->space <= META_USED)
        return 0;
    virReportSystemError(EDQUOT, _("the limit of volume '%1$s' is less than what would be in it: choose a larger one"),
                         volume);
    return -1;
}


/**
 * virStorageFspoolItemMake:
 * @pool: pool
 * @stage: filled with a new, empty tree
 * @limits: what it may take
 * @volume: what it is made for
 *
 * It is limited before there is anything in it that could be too much.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolItemMake(virStorageFspoolPool *pool,
                         virStorageFspoolStage *stage,
                         const virStorageFspoolLimits *limits,
                         const char *volume)
{
    if (virStorageFspoolStageNew(stage, &pool->root, volume) < 0 ||
        virStorageFspoolItemClaim(pool, stage->fd, volume) < 0)
        return -1;
    return virStorageFspoolLimitsSet(pool, stage->fd, limits, volume);
}


/**
 * virStorageFspoolItemCopy:
 * @pool: pool
 * @stage: filled with a tree that has the content of @from
 * @from: directory
 * @limits: what it may take
 * @volume: what it is made for
 *
 * On Btrfs a snapshot, else a copy that shares the blocks of files where the file system can. A snapshot gets its
 * limits by virStorageFspoolItemFinish(): it may be as large as they are, and is to have its metadata yet.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolItemCopy(virStorageFspoolPool *pool,
                         virStorageFspoolStage *stage,
                         int from,
                         const virStorageFspoolLimits *limits,
                         const char *volume)
{
    g_autoptr(virStorageFspoolProgressEntry) progress = NULL;
    virStorageFspoolExemption exemption;
    int rc = 1;

    if (virStorageFspoolCheckWhole(from, volume) < 0)
        return -1;

    if (virStorageFspoolIsSubvolume(from) &&
        (rc = virStorageFspoolStageSnapshot(stage, &pool->root, from, volume, volume)) < 0)
        return -1;
    if (rc == 0) {
        if (virStorageFspoolItemCheckFits(pool, from, limits, volume) < 0)
            return -1;
        return virStorageFspoolItemClaim(pool, stage->fd, volume);
    }

    progress = virStorageFspoolProgressBegin(pool->ctx->uuid, volume);
    if (virStorageFspoolItemMake(pool, stage, limits, volume) < 0)
        return -1;

    exemption = virStorageFspoolExemptionDrop();
    rc = virStorageFspoolTreeCopy(from, stage->fd, volume, virStorageFspoolProgressOf(progress));
    virStorageFspoolExemptionRestore(exemption);
    return rc;
}


/* Gives the top of a tree owner, group and mode as the XML asks for them; that says nothing of set-group-id and sticky
 * bits, which stay as they are. */
int
virStorageFspoolItemPerms(int fd,
                          const virStoragePerms *perms,
                          const char *name)
{
    virStoragePerms want;
    struct stat sb;

    if (!perms)
        return 0;
    if (fstat(fd, &sb) < 0) {
        virReportSystemError(errno, _("cannot set owner and mode of volume '%1$s'"), name);
        return -1;
    }
    want = *perms;
    if (want.mode != (mode_t) -1)
        want.mode |= sb.st_mode & 07000;
    return virStorageRevPermsSet(fd, &want, name);
}


static int
virStorageFspoolItemRecord(virStorageFspoolPool *pool,
                           int fd,
                           const char *name,
                           virStorageFspoolQuotaRecord *record)
{
    uint64_t id = 0;

    if (virStorageFspoolQuotaIdOf(&pool->quota, fd, &id) == 0 &&
        virStorageFspoolQuotaRead(&pool->quota, fd, id, record) == 0)
        return 0;

    virReportSystemError(errno, _("cannot read the limits of volume '%1$s'"), name);
    return -1;
}


/**
 * virStorageFspoolLimitsRead:
 * @pool: pool
 * @fd: tree
 * @name: of the volume, for errors
 * @limits: filled
 *
 * The kernel's records are the only store of limits, and an administrator may have changed them since the last refresh.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolLimitsRead(virStorageFspoolPool *pool,
                           int fd,
                           const char *name,
                           virStorageFspoolLimits *limits)
{
    virStorageFspoolQuotaRecord record = { 0 };

    if (virStorageFspoolItemRecord(pool, fd, name, &record) < 0)
        return -1;
    *limits = (virStorageFspoolLimits) { record.spaceMax, record.filesMax };
    return 0;
}


/* Writes metadata to a tree that has no room for it. Should that be interrupted, its limit is a little higher. */
static int
virStorageFspoolItemSqueezeMeta(virStorageFspoolPool *pool,
                                int fd,
                                const virStorageRevMeta *meta,
                                const char *name)
{
    virStorageFspoolQuotaRecord record = { 0 };
    virStorageFspoolLimits more = { 0 };
    virStorageFspoolLimits limits;
    int ret;

    if (virStorageFspoolItemRecord(pool, fd, name, &record) < 0)
        return -1;
    if (record.spaceMax == 0) { /* it is not its own limit that is in the way */
        virReportSystemError(EDQUOT, _("cannot write the metadata of volume '%1$s'"), name);
        return -1;
    }
    limits = (virStorageFspoolLimits) { record.spaceMax, record.filesMax };
    more.space = MAX(record.spaceMax, record.spaceUsed) + META_ROOM;
    more.files = record.filesMax;

    if (virStorageFspoolLimitsSet(pool, fd, &more, name) < 0)
        return -1;
    ret = virStorageRevMetaWriteFile(fd, meta, name);
    return virStorageFspoolLimitsSet(pool, fd, &limits, name) < 0 ? -1 : ret;
}


/**
 * virStorageFspoolItemWriteMeta:
 * @pool: pool
 * @fd: tree
 * @meta: its metadata
 * @name: for errors
 *
 * Btrfs counts a tree's attributes with what is in it, and so writes none to a full one. What the pool notes of it is
 * not its user's to make room for.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolItemWriteMeta(virStorageFspoolPool *pool,
                              int fd,
                              const virStorageRevMeta *meta,
                              const char *name)
{
    if (virStorageRevMetaWriteFile(fd, meta, name) == 0)
        return 0;
    if (errno != EDQUOT || !virStorageFspoolIsSubvolume(fd))
        return -1;
    virResetLastError();
    return virStorageFspoolItemSqueezeMeta(pool, fd, meta, name);
}


/**
 * virStorageFspoolItemFinish:
 * @pool: pool
 * @stage: new tree, with its content
 * @meta: its metadata
 * @limits: what it may take
 * @name: for errors
 *
 * Gives it its metadata and limits, and makes all of it durable.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolItemFinish(virStorageFspoolPool *pool,
                           virStorageFspoolStage *stage,
                           const virStorageRevMeta *meta,
                           const virStorageFspoolLimits *limits,
                           const char *name)
{
    if (virStorageFspoolItemWriteMeta(pool, stage->fd, meta, name) < 0 ||
        virStorageFspoolLimitsSet(pool, stage->fd, limits, name) < 0)
        return -1;
    if (syncfs(stage->fd) < 0) {
        virReportSystemError(errno, _("cannot make volume '%1$s' durable"), name);
        return -1;
    }
    return 0;
}


/* Removes a subvolume at once: the file system frees its blocks by itself. Returns 1 for what has to be walked. */
static int
virStorageFspoolItemDestroy(virStorageFspoolPool *pool,
                            const virStorageFspoolPlace *place,
                            int fd,
                            const char *name)
{
    uint64_t id = 0;

    if (!virStorageFspoolIsSubvolume(fd))
        return 1;
    ignore_value(virStorageFspoolQuotaIdOf(&pool->quota, fd, &id));

    if (virStorageFspoolSubvolumeDestroy(place->dirfd, place->entry) < 0) {
        /* others are in it; or we are unprivileged, and it can be emptied all the same */
        if (errno == ENOTEMPTY || errno == EPERM || errno == EACCES)
            return 1;
        virReportSystemError(errno, _("cannot remove the directory of '%1$s'"), name);
        return -1;
    }
    if (fsync(place->dirfd) < 0) {
        virReportSystemError(errno, _("cannot make the removal of '%1$s' durable"), name);
        return -1;
    }
    virStorageFspoolLimitsRelease(pool, id);
    return 0;
}


/**
 * virStorageFspoolItemRemove:
 * @pool: pool
 * @place: tree
 * @name: what it is, for errors
 *
 * Gone from its place when this returns, at once and for good; what takes long is done in the background.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolItemRemove(virStorageFspoolPool *pool,
                           const virStorageFspoolPlace *place,
                           const char *name)
{
    VIR_AUTOCLOSE fd = virStorageFspoolPlaceOpen(place, name);
    g_autofree char *trashed = NULL;
    int rc;

    if (fd < 0)
        return -1;
    if ((rc = virStorageFspoolItemDestroy(pool, place, fd, name)) <= 0)
        return rc;

    /* a read-only subvolume cannot be moved */
    if (virStorageFspoolIsSubvolume(fd) && virStorageFspoolSubvolumeIsReadonly(fd) &&
        virStorageFspoolSubvolumeSetReadonly(fd, false) < 0) {
        virReportSystemError(errno, _("cannot remove the directory of '%1$s'"), name);
        return -1;
    }
    if (virStorageFspoolTrash(&pool->root, place, name, &trashed) < 0)
        return -1;
    virStorageRevWorkerTidy(pool->ctx->uuid, trashed);
    return 0;
}


/**
 * virStorageFspoolItemFreeze:
 * @pool: pool
 * @place: tree that has become a revision
 * @shared: whether its limit is that of another tree as well, which keeps it then
 * @name: for errors
 *
 * A revision has no limit, and where the file system can see to it, nobody writes to it. Last of all, since a subvolume
 * that is read-only stays where it is.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolItemFreeze(virStorageFspoolPool *pool,
                           const virStorageFspoolPlace *place,
                           bool shared,
                           const char *name)
{
    virStorageFspoolLimits none = { 0 };
    VIR_AUTOCLOSE fd = virStorageFspoolPlaceOpen(place, name);

    if (fd < 0 || (!shared && virStorageFspoolLimitsSet(pool, fd, &none, name) < 0))
        return -1;
    if (virStorageFspoolIsSubvolume(fd) && virStorageFspoolSubvolumeSetReadonly(fd, true) < 0) {
        virReportSystemError(errno, _("cannot make '%1$s' read-only"), name);
        return -1;
    }
    return 0;
}


/* Takes over what the quota tables say; NULL: nothing. */
void
virStorageFspoolStateCount(virStorageRevState *state,
                           const virStorageFspoolQuotaRecord *record)
{
    virStorageFspoolQuotaRecord none = { 0 };

    if (!record)
        record = &none;
    state->capacity = record->spaceMax;
    state->allocation = record->spaceUsed;
    state->filesMax = record->filesMax;
}


/**
 * virStorageFspoolStateRead:
 * @pool: pool
 * @fd: directory
 * @state: filled, but for kind, name, file, and what the quota tables say
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolStateRead(virStorageFspoolPool *pool,
                          int fd,
                          virStorageRevState *state)
{
    struct stat sb;
    int rc;

    if (fstat(fd, &sb) < 0)
        return -1;

    virStorageRevMetaClear(&state->meta);
    virStorageRevMetaInit(&state->meta);
    if ((rc = virStorageRevMetaReadFile(fd, &state->meta, &state->hasMeta)) < 0)
        return -1;
    if (rc > 0)
        VIR_WARN("'%s' in pool '%s' has metadata that cannot be read, and is taken for a volume without",
                 state->file, pool->ctx->poolName);
    state->meta.format = VIR_STORAGE_FILE_DIR;
    if (state->meta.created == 0)
        state->meta.created = sb.st_mtim.tv_sec;

    if (virStorageFspoolQuotaIdOf(&pool->quota, fd, &state->quotaId) < 0)
        return -1;

    virStorageRevStateFromStat(fd, &sb, state);
    return 0;
}
