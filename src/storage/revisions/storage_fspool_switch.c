/*
 * storage_fspool_switch.c: giving a volume another tree as its head
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_fspool_volume.h"

#include "storage_fspool_alive.h"
#include "storage_fspool_rename.h"
#include "storage_fspool_replace.h"
#include "storage_fspool_scan.h"
#include "storage_fspool_source.h"
#include "storage_fspool_tree.h"
#include "storage_revision_facts.h"
#include "storage_revision_worker.h"
#include "viralloc.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_switch");

/* A clone can keep the quota group of what it is from for as long as it lives: later removals try again. */
#define SETTLE_RETRIES 20

/*
 * A directory cannot replace another one, but two can change places; where they cannot, virStorageFspoolReplace() does it.
 * So the new tree is built aside, and goes where the former head is to lie, as the next revision, with a mark that says
 * that it is pending:
 *
 *   staging/…  →  revisions/NAME@7, pending      nothing has happened yet: a refresh removes it
 *   NAME  ⇄  revisions/NAME@7                     the switch, in one call
 *   NAME loses the mark                           a refresh does that, too
 *   NAME@7 loses its limit, and is frozen         likewise
 *
 * Whatever of it is durable after a crash, a pending tree at a revision's place was not switched to, and one at the
 * head's was.
 */


/* The switch was made, and what should have come after it was not. A head that keeps the mark would be taken for something
 * unfinished as soon as it is a revision. */
int
virStorageFspoolSettleHead(virStorageFspoolPool *pool,
                           virStorageRevFamily *family)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    if (!family->head || (!family->head->meta.pending && !family->head->meta.leaving))
        return 0;

    virStorageRevMetaInit(&meta);
    virStorageRevMetaCopy(&meta, &family->head->meta);
    meta.pending = false;
    VIR_FREE(meta.leaving);
    return virStorageFspoolRewriteMeta(pool, family, &meta);
}


/**
 * virStorageFspoolUndoPending:
 * @pool: pool
 * @place: where a revision is
 * @name: for errors
 *
 * Removes it, if it was never switched to.
 *
 * Returns 1 when it was removed, 0 when it is a revision, -1 with an error
 */
int
virStorageFspoolUndoPending(virStorageFspoolPool *pool,
                            const virStorageFspoolPlace *place,
                            const char *name)
{
    VIR_AUTOCLOSE fd = virStorageFspoolPlaceOpen(place, name);
    g_auto(virStorageRevMeta) meta = { 0 };
    bool whole;

    virStorageRevMetaInit(&meta);
    if (fd < 0)
        return -1;
    if (virStorageRevMetaReadFile(fd, &meta, &whole) < 0) {
        virReportSystemError(errno, _("cannot read the metadata of volume '%1$s'"), name);
        return -1;
    }
    if (!meta.pending)
        return 0;
    return virStorageFspoolItemRemove(pool, place, name) < 0 ? -1 : 1;
}


/* The volume has its new content; what failed after that is the next refresh's. */
void
virStorageFspoolSwitchLater(const virStorageRevFamily *family)
{
    VIR_WARN("volume '%s' has its new content; the next refresh finishes what comes after that: %s",
             family->volume, virGetLastErrorMessage());
    virResetLastError();
}


/* Shows the former head as the revision that it has become, and the new one. */
static int
virStorageFspoolSwitched(virStorageFspoolPool *pool,
                         virStorageRevFamily *family,
                         int head,
                         unsigned long long id,
                         const char *entry)
{
    virStorageRevState *former = virStorageRevStateCopy(family->head);

    former->kind = VIR_STORAGE_REV_NUMBERED;
    former->id = id;
    former->superseded = g_get_real_time() / G_USEC_PER_SEC;
    if (!former->quotaShared) {
        former->capacity = 0;
        former->filesMax = 0;
    }
    g_free(former->file);
    former->file = g_strdup_printf("%s/%s", VIR_STORAGE_FSPOOL_REVISIONS, entry);
    virStorageRevFamilyAdd(family, former);

    return virStorageFspoolPublishHead(pool, family, head, family->head->file);
}


/* Some file systems take the new place of a directory for a change of what is in it. */
static void
virStorageFspoolKeepTime(int fd,
                         const struct stat *before)
{
    struct timespec times[] = { before->st_atim, before->st_mtim };

    if (futimens(fd, times) < 0)
        VIR_DEBUG("cannot keep the time of a directory: %s", g_strerror(errno));
}


/* The two change places; what comes after that is tried, and otherwise left to the next refresh. */
static int
virStorageFspoolSwitchByExchange(virStorageFspoolPool *pool,
                                 virStorageRevFamily *family,
                                 virStorageFspoolStage *stage,
                                 const virStorageFspoolPlace *head,
                                 const virStorageFspoolPlace *revision,
                                 virStorageRevMeta *meta)
{
    if (virStorageFspoolStageInstall(stage, revision, family->volume) < 0)
        return -1;

    if (virStorageFspoolExchange(head, revision, family->volume) < 0) {
        virErrorPtr err = NULL;

        /* the mark tells which of the two it is, should only the last sync have failed */
        virErrorPreserveLast(&err);
        ignore_value(virStorageFspoolUndoPending(pool, revision, family->volume));
        virErrorRestore(&err);
        return -1;
    }

    meta->pending = false;
    if (virStorageFspoolItemWriteMeta(pool, stage->fd, meta, family->volume) < 0 ||
        virStorageRevSync(stage->fd, family->volume) < 0)
        virStorageFspoolSwitchLater(family);
    return 0;
}


/* The switch itself; both trees keep the times that they had. */
static int
virStorageFspoolSwitchTrees(virStorageFspoolPool *pool,
                            virStorageRevFamily *family,
                            virStorageFspoolStage *stage,
                            virStorageRevMeta *meta,
                            unsigned long long id)
{
    g_auto(virStorageFspoolPlace) head = VIR_STORAGE_FSPOOL_PLACE_INIT;
    g_auto(virStorageFspoolPlace) revision = VIR_STORAGE_FSPOOL_PLACE_INIT;
    g_autofree char *entry = virStorageFspoolRevisionFormat(family->volume, VIR_STORAGE_REV_NUMBERED, id, NULL);
    VIR_AUTOCLOSE former = virStorageFspoolOpenState(pool, family->head, family->volume);
    struct stat formerTimes;
    struct stat times;

    virStorageFspoolPlaceOfRevision(&revision, &pool->root, entry);
    if (former < 0 ||
        virStorageFspoolPlaceOfState(&head, &pool->root, family->head, family->volume) < 0)
        return -1;
    if (fstat(former, &formerTimes) < 0 || fstat(stage->fd, &times) < 0) {
        virReportSystemError(errno, _("cannot read the attributes of volume '%1$s'"), family->volume);
        return -1;
    }

    if (meta->pending) {
        if (virStorageFspoolSwitchByExchange(pool, family, stage, &head, &revision, meta) < 0)
            return -1;
    } else if (virStorageFspoolReplace(pool, family, stage, &head, &revision, false) < 0) {
        return -1;
    }

    virStorageFspoolKeepTime(former, &formerTimes);
    virStorageFspoolKeepTime(stage->fd, &times);
    if (virStorageFspoolItemFreeze(pool, &revision, family->head->quotaShared, family->volume) < 0)
        virStorageFspoolSwitchLater(family);
    return virStorageFspoolSwitched(pool, family, stage->fd, id, entry);
}


/**
 * virStorageFspoolSwitch:
 * @pool: pool
 * @family: volume
 * @stage: the new tree, complete but for its metadata
 * @content: metadata of where its content comes from, or NULL
 * @prunes: whether retention applies
 *
 * What is staged becomes the head, with the limits of that, and the head the next revision.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolSwitch(virStorageFspoolPool *pool,
                       virStorageRevFamily *family,
                       virStorageFspoolStage *stage,
                       const virStorageRevMeta *content,
                       bool prunes)
{
    unsigned long long id = virStorageRevFamilyNextId(family);
    g_auto(virStorageRevMeta) meta = { 0 };
    virStorageFspoolLimits limits;

    virStorageRevMetaInit(&meta);
    virStorageRevFactsNextHead(pool->ctx, family, content, id, prunes, &meta);
    meta.format = VIR_STORAGE_FILE_DIR;
    meta.pending = virStorageFspoolCanExchange(pool->root.staging);

    if (virStorageFspoolLimitsOf(pool, family->head, family->volume, &limits) < 0 ||
        virStorageFspoolSettleHead(pool, family) < 0 ||
        virStorageFspoolItemFinish(pool, stage, &meta, &limits, family->volume) < 0)
        return -1;
    return virStorageFspoolSwitchTrees(pool, family, stage, &meta, id);
}


/* A volume that has lost its head gets one back. */
static int
virStorageFspoolRestoreHead(virStorageFspoolPool *pool,
                            virStorageRevFamily *family,
                            virStorageFspoolStage *stage,
                            const virStorageRevMeta *content)
{
    virStorageFspoolLimits none = { 0 };
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevFactsNextHead(pool->ctx, family, content, 0, false, &meta);
    meta.format = VIR_STORAGE_FILE_DIR;

    if (virStorageFspoolItemFinish(pool, stage, &meta, &none, family->volume) < 0 ||
        virStorageFspoolStageInstallHead(stage, family->volume, family->volume) < 0)
        return -1;

    return virStorageFspoolPublishHead(pool, family, stage->fd, family->volume);
}


int
virStorageFspoolRevert(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevState *revision)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_auto(virStorageFspoolStage) stage = VIR_STORAGE_FSPOOL_STAGE_INIT;
    virStorageFspoolLimits limits = { 0 };
    VIR_AUTOCLOSE head = -1;
    VIR_AUTOCLOSE from = -1;

    if (virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        (from = virStorageFspoolOpenState(&pool, revision, family->volume)) < 0)
        return -1;

    if (family->head &&
        ((head = virStorageFspoolOpenState(&pool, family->head, family->volume)) < 0 ||
         virStorageFspoolLimitsRead(&pool, head, family->volume, &limits) < 0 ||
         virStorageFspoolCheckWhole(head, family->volume) < 0))
        return -1;

    if (virStorageFspoolItemCopy(&pool, &stage, from, &limits, family->volume) < 0)
        return -1;
    if (!family->head)
        return virStorageFspoolRestoreHead(&pool, family, &stage, &revision->meta);
    return virStorageFspoolSwitch(&pool, family, &stage, &revision->meta, false);
}


/* The tree changes places with an empty one, and goes. No mark is needed: what is staged, and held by nobody, is removed
 * by a refresh, whichever of the two it is. */
static int
virStorageFspoolWipeTrees(virStorageFspoolPool *pool,
                          virStorageRevFamily *family,
                          virStorageFspoolStage *stage)
{
    g_auto(virStorageFspoolPlace) head = VIR_STORAGE_FSPOOL_PLACE_INIT;
    g_auto(virStorageFspoolPlace) aside = VIR_STORAGE_FSPOOL_PLACE_INIT;
    g_autofree char *entry = NULL;

    if (virStorageFspoolPlaceOfState(&head, &pool->root, family->head, family->volume) < 0)
        return -1;

    if (virStorageFspoolCanExchange(pool->root.staging)) {
        virStorageFspoolPlace staged = { .dirfd = pool->root.staging, .entry = stage->entry };

        return virStorageFspoolExchange(&head, &staged, family->volume);
    }
    entry = virStorageFspoolRevisionFormat(family->volume, VIR_STORAGE_REV_NUMBERED,
                                           virStorageRevFamilyNextId(family), NULL);
    virStorageFspoolPlaceOfRevision(&aside, &pool->root, entry);
    return virStorageFspoolReplace(pool, family, stage, &head, &aside, true);
}


int
virStorageFspoolWipe(virStorageRevContext *ctx,
                     virStorageRevFamily *family)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_auto(virStorageFspoolStage) stage = VIR_STORAGE_FSPOOL_STAGE_INIT;
    virStorageFspoolLimits limits;
    g_auto(virStorageRevMeta) meta = { 0 };
    VIR_AUTOCLOSE head = -1;

    if (virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        (head = virStorageFspoolOpenState(&pool, family->head, family->volume)) < 0 ||
        virStorageFspoolLimitsRead(&pool, head, family->volume, &limits) < 0 ||
        virStorageFspoolCheckWhole(head, family->volume) < 0 ||
        virStorageFspoolItemMake(&pool, &stage, &limits, family->volume) < 0 ||
        virStorageRevPermsCopy(head, stage.fd, family->volume) < 0)
        return -1;

    virStorageRevMetaInit(&meta);
    virStorageRevFactsNextHead(ctx, family, NULL, 0, false, &meta);
    meta.format = VIR_STORAGE_FILE_DIR;

    if (virStorageFspoolSettleHead(&pool, family) < 0 ||
        virStorageFspoolItemFinish(&pool, &stage, &meta, &limits, family->volume) < 0 ||
        virStorageFspoolWipeTrees(&pool, family, &stage) < 0)
        return -1;

    virStorageRevWorkerSettle(ctx);
    return virStorageFspoolPublishHead(&pool, family, stage.fd, family->head->file);
}


/* A tree that cannot be removed now is tried again by the next refresh. */
static void
virStorageFspoolTidyEntry(virStorageFspoolPool *pool,
                          const char *entry)
{
    g_autofree char *volume = virStorageFspoolNameDecode(entry);
    VIR_AUTOCLOSE fd = virStorageRevOpenAt(pool->root.trash, entry, O_RDONLY | O_DIRECTORY, 0);
    uint64_t id = 0;

    if (fd >= 0)
        ignore_value(virStorageFspoolQuotaIdOf(&pool->quota, fd, &id));
    VIR_FORCE_CLOSE(fd);

    if (virStorageFspoolTreeRemove(pool->root.trash, entry, volume ? volume : entry,
                                   virStorageRevWorkerIsCancelled) < 0) {
        VIR_WARN("what was removed from pool '%s' still takes space: %s", pool->ctx->poolName, virGetLastErrorMessage());
        virResetLastError();
        return;
    }
    virStorageFspoolLimitsRelease(pool, id);
}


/* Opens the pool for background work. As there is one thread for all pools, a server that does not answer may not have
 * it; what is left to do, the next refresh finds. */
static int
virStorageFspoolWorkOpen(virStorageFspoolPool *pool,
                         virStorageRevContext *ctx)
{
    if (virStorageFspoolAliveWait(ctx->poolPath, VIR_STORAGE_FSPOOL_ALIVE_SECONDS) == ETIMEDOUT) {
        VIR_WARN("the file system of pool '%s' does not answer: what was removed there waits", ctx->poolName);
        return -1;
    }
    if (virStorageFspoolPoolOpen(pool, ctx) == 0)
        return 0;
    virResetLastError();
    return -1;
}


/* Empties the trash of @trashed, or of all when that is empty: in the background, however long it takes. */
void
virStorageFspoolTidy(virStorageRevContext *ctx,
                     const char *trashed)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(g_free);
    size_t i;

    if (virStorageFspoolWorkOpen(&pool, ctx) < 0)
        return;

    if (*trashed)
        g_ptr_array_add(entries, g_strdup(trashed));
    else if (virStorageFspoolReadNames(pool.root.trash, true, entries) < 0)
        return;

    for (i = 0; i < entries->len && !virStorageRevWorkerIsCancelled(); i++)
        virStorageFspoolTidyEntry(&pool, g_ptr_array_index(entries, i));
    virStorageRevWorkerSettle(ctx);
}


/* Quota groups of subvolumes can only go when the kernel has freed what was in those, which may be long after; and a
 * large removal makes Btrfs give up its count, and hold nobody to a limit, until it is told to count anew. */
void
virStorageFspoolSettle(virStorageRevContext *ctx)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    static int retries; /* there is one worker */
    int rc;

    if (virStorageFspoolWorkOpen(&pool, ctx) < 0)
        return;
    if ((rc = virStorageFspoolQuotaSweep(&pool.quota, pool.root.fd)) < 0)
        VIR_INFO("quota records of pool '%s' stay: %s", ctx->poolName, g_strerror(errno));
    if (rc > 0 && retries++ < SETTLE_RETRIES)
        virStorageRevWorkerSettle(ctx);
    else
        retries = 0;
    if (pool.quota.inexact && virStorageFspoolQuotaRescan(pool.root.fd) < 0)
        VIR_WARN("the quotas of pool '%s' are inexact, and cannot be counted anew: %s",
                 ctx->poolName, g_strerror(errno));
}
