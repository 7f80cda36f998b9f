/*
 * storage_thin_recover.c: what crashes leave in a thin pool
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Recovery rolls back. It has the pool locked, and leaves alone each volume that somebody is changing.
 */

#include <config.h>

#include "storage_thin_recover.h"

#include "storage_revision_checks.h"
#include "storage_revision_facts.h"
#include "storage_revision_lock.h"
#include "storage_thin_device.h"
#include "storage_thin_name.h"
#include "storage_thin_tag.h"
#include "storage_thin_use.h"
#include "storage_thin_volume.h"
#include "vircommand.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_thin_recover");


static void
virStorageThinRecoverFailed(virStorageRevContext *ctx,
                            const char *what)
{
    VIR_WARN("'%s' of pool '%s' is not cleaned up: %s", what, ctx->poolName, virGetLastErrorMessage());
    virResetLastError();
}


/* Removes staging that no upload, copy or reader uses. */
static bool
virStorageThinRecoverStage(virStorageRevContext *ctx,
                           const char *lv)
{
    g_auto(virStorageThinName) name = { 0 };
    g_autoptr(virStorageRevLocks) locks = NULL;

    virStorageThinNameParse(lv, &name);
    if (virStorageThinStagingIsHeld(ctx, lv) ||
        !(locks = virStorageRevLocksTry(ctx->uuid, name.volume)) ||
        virStorageThinIsOpen(ctx, lv))
        return false;

    if (virStorageThinRemoveLV(ctx, lv, lv) < 0) {
        virStorageThinRecoverFailed(ctx, lv);
        return false;
    }
    return true;
}


/* May the merge into a head that LVM has put off be ours, or Qubes'? Whatever we merge leaves our tag on the head, or on a
 * revision of it. */
static bool
virStorageThinIsOurMerge(virStorageRevFamily *family)
{
    size_t i;

    for (i = 0; i < family->revisions->len; i++) {
        const virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (state->hasMeta)
            return true;
    }
    return virStorageThinIsManaged(family);
}


/* Makes LVM do the merge that it has put off, since one of the two LVs was open. */
static bool
virStorageThinRecoverMerge(virStorageRevContext *ctx,
                           const char *lv)
{
    g_autoptr(virStorageRevLocks) locks = virStorageRevLocksTry(ctx->uuid, lv);
    const char *lvs[] = { lv, NULL };

    if (!locks || virStorageThinIsOpen(ctx, lv))
        return false;
    if (virStorageThinCheckDisks(ctx, lv) < 0 ||
        virStorageThinActivate(ctx, lvs, false, lv) < 0 ||
        virStorageThinActivate(ctx, lvs, true, lv) < 0) {
        virStorageThinRecoverFailed(ctx, lv);
        return false;
    }
    return true;
}


/* Returns the revision that was the head when an exchange of it was interrupted: the one that what was to replace it
 * names, or else, as Qubes names none, that it is a snapshot of; and where nothing was to replace it, the newest. */
static virStorageRevState *
virStorageThinFindFormerHead(virStorageRevFamily *family)
{
    const virStorageRevState *live = family->live;
    virStorageRevState *newest = NULL;
    virStorageRevState *origin = NULL;
    size_t i;

    for (i = 0; i < family->revisions->len; i++) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (state->kind != VIR_STORAGE_REV_NUMBERED)
            continue;
        newest = state;
        if (live && live->meta.nextId == state->id + 1)
            return state;
        if (live && STREQ_NULLABLE(live->origin, state->file))
            origin = state;
    }
    return live ? origin : newest;
}


static bool
virStorageThinRecoverHead(virStorageRevContext *ctx,
                          virStorageRevFamily *family)
{
    virStorageRevState *former = family->head ? NULL : virStorageThinFindFormerHead(family);

    if (!former)
        return false;
    if (virStorageThinRename(ctx, former->file, family->volume) < 0) {
        virStorageThinRecoverFailed(ctx, family->volume);
        return false;
    }
    VIR_INFO("undid an unfinished switch of volume '%s'", family->volume);
    return true;
}


/* Was it made for a merge that never came? It is followed by a head then that does not exist, and its id has not been
 * used, as far as the head can tell. */
static bool
virStorageThinIsUnfinished(virStorageRevFamily *family,
                           const virStorageRevState *revision)
{
    const virStorageRevMeta *head = &family->head->meta;

    return revision->next && revision->next->thinId != family->head->thinId &&
        virStorageRevMetaIsOf(&revision->meta, family->volume) &&
        (!virStorageRevMetaIsOf(head, family->volume) || revision->id >= head->nextId) &&
        STREQ_NULLABLE(revision->origin, family->head->file);
}


/* Makes a revision that cannot be removed, since somebody reads it, staging: that is none any more, and goes with the
 * first refresh that finds it closed. */
static int
virStorageThinSetAside(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       virStorageRevState *revision)
{
    g_autofree char *stage = virStorageThinNameTemporary(family->volume);

    if (virStorageThinRename(ctx, revision->file, stage) < 0)
        return -1;
    g_ptr_array_remove(family->revisions, revision);
    return 0;
}


/* Removes the revisions that were made for merges that never came: a commit would count them. */
static int
virStorageThinRecoverUnfinished(virStorageRevContext *ctx,
                                virStorageRevFamily *family)
{
    g_autoptr(GPtrArray) unfinished = g_ptr_array_new();
    size_t i;

    for (i = family->revisions->len; i-- > 0;) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (!virStorageThinIsUnfinished(family, state))
            continue;
        if (!virStorageThinIsOpen(ctx, state->file))
            g_ptr_array_add(unfinished, state);
        else if (virStorageThinSetAside(ctx, family, state) < 0)
            return -1;
    }
    return virStorageThinRemoveRevisions(ctx, family, unfinished);
}


static void
virStorageThinRecoverRevisions(virStorageRevContext *ctx,
                               virStorageRevFamily *family)
{
    size_t left;

    if (!family->head)
        return;
    if (virStorageThinRecoverUnfinished(ctx, family) < 0 ||
        ((left = virStorageRevPruneLeft(ctx, family)) > 0 && virStorageThinPrune(ctx, family, left) < 0))
        virStorageThinRecoverFailed(ctx, family->volume);
}


/* A live copy of an earlier boot, of a volume that starts afresh every time, is of no use to anybody. One without our
 * mark may be all that there is of somebody's data. */
static void
virStorageThinRecoverLive(virStorageRevContext *ctx,
                          virStorageRevFamily *family)
{
    if (!virStorageRevFactsLiveIsOfEarlierBoot(family) ||
        virStorageThinIsOpen(ctx, family->live->file))
        return;
    if (virStorageThinDiscard(ctx, family) < 0)
        virStorageThinRecoverFailed(ctx, family->volume);
}


static bool
virStorageThinNeedsRecovery(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            bool poolStart)
{
    size_t i;

    if (!family->head || virStorageRevPruneLeft(ctx, family) > 0 || (poolStart && family->live))
        return true;
    for (i = 0; i < family->revisions->len; i++) {
        if (virStorageThinIsUnfinished(family, g_ptr_array_index(family->revisions, i)))
            return true;
    }
    return false;
}


static bool
virStorageThinRecoverFamily(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            bool poolStart)
{
    g_autoptr(virStorageRevLocks) locks = NULL;

    if (!virStorageThinNeedsRecovery(ctx, family, poolStart) ||
        !(locks = virStorageRevLocksTry(ctx->uuid, family->volume)))
        return false;
    if (virStorageThinRecoverHead(ctx, family))
        return true;
    if (poolStart)
        virStorageThinRecoverLive(ctx, family);
    virStorageThinRecoverRevisions(ctx, family);
    return false; /* the family is in line, or as near to that as can be */
}


/**
 * virStorageThinRecoverVolume:
 * @ctx: pool
 * @volume: name; the caller has its lock
 *
 * Reads a volume after an operation that failed. LVM may have failed before a merge, or after it: only now can be told
 * whether the revision that was made for it is one.
 *
 * Returns what there is of the volume then, or NULL with an error
 */
virStorageRevFamily *
virStorageThinRecoverVolume(virStorageRevContext *ctx,
                            const char *volume)
{
    bool merging;
    g_autoptr(virStorageRevFamily) family = virStorageThinScanVolume(ctx, volume, &merging);

    if (family && family->head && !merging && virStorageThinRecoverUnfinished(ctx, family) < 0)
        virStorageThinRecoverFailed(ctx, volume);
    return g_steal_pointer(&family);
}


/* Returns the LV that the volume group has and the thin pool has not, or NULL. */
static const virStorageThinLV *
virStorageThinFindUnmade(const virStorageThinReport *report,
                         unsigned long long transactionId)
{
    size_t i;

    for (i = 0; report->poolTransactionId == transactionId + 1 && i < report->lvs->len; i++) {
        const virStorageThinLV *lv = g_ptr_array_index(report->lvs, i);

        if (lv->transactionId == transactionId)
            return lv;
    }
    return NULL;
}


/* LVM has the thin pool make the device once more before it does anything else there, and would fail for ever with one
 * that exists already: it has not been anybody's yet. */
static void
virStorageThinForgetDevice(virStorageRevContext *ctx,
                           unsigned int thinId)
{
    /* # dmsetup message vg-vm--pool-tpool 0 "delete 7" */
    g_autofree char *pool = virStorageThinDeviceName(ctx->vg, ctx->thinPool);
    g_autoptr(virCommand) cmd = virCommandNew("dmsetup");
    int status;

    virCommandAddArg(cmd, "message");
    virCommandAddArgFormat(cmd, "%s-tpool", pool);
    virCommandAddArg(cmd, "0");
    virCommandAddArgFormat(cmd, "delete %u", thinId);
    if (virCommandRun(cmd, &status) < 0)
        virStorageThinRecoverFailed(ctx, ctx->thinPool);
    else if (status != 0)
        VIR_DEBUG("thin pool '%s' has no device %u yet", ctx->thinPool, thinId);
}


/**
 * virStorageThinRecoverUnmade:
 * @ctx: pool that is being started, and was tried to be activated
 * @scan: what was in it before that
 *
 * LVM makes a new LV in three steps: it notes the LV in the volume group, has the thin pool make a device, and has it
 * note that as a transaction. What a loss of power in between leaves may be impossible to activate, and in the way of
 * all that LVM is to make or remove. If it is ours, it is removed: nobody was told that it is there.
 *
 * The group was read before the pool, under LVM's lock: a command that is under way cannot be taken for such a loss.
 *
 * Returns whether one was removed, and @scan is not up to date any more
 */
bool
virStorageThinRecoverUnmade(virStorageRevContext *ctx,
                            virStorageThinScan *scan)
{
    VIR_AUTOCLOSE control = virStorageThinControlOpen();
    const virStorageThinLV *lv;
    virStorageThinPoolStatus status;
    g_auto(virStorageRevMeta) meta = { 0 };
    const char *lvs[] = { NULL, NULL };

    virStorageRevMetaInit(&meta);
    if (control < 0 ||
        virStorageThinPoolRead(control, ctx->vg, ctx->thinPool, &status) <= 0 ||
        !(lv = virStorageThinFindUnmade(scan->report, status.transactionId)) ||
        !virStorageThinTagsParse((const char * const *) lv->tags, lv->thinId, &meta) ||
        virStorageThinIsOpen(ctx, lv->name))
        return false;

    lvs[0] = lv->name;
    if (virStorageThinCheckDisks(ctx, lv->name) == 0 &&
        virStorageThinActivate(ctx, lvs, false, lv->name) == 0) {
        virStorageThinForgetDevice(ctx, lv->thinId);
        if (virStorageThinRemoveLV(ctx, lv->name, lv->name) == 0) {
            VIR_WARN("'%s' of pool '%s' is removed: the power failed while it was made", lv->name, ctx->poolName);
            return true;
        }
    }
    virStorageThinRecoverFailed(ctx, lv->name);
    return false;
}


/**
 * virStorageThinRecover:
 * @ctx: pool, which is locked
 * @scan: what is in it; brought in line with what is changed, as long as false is returned
 * @poolStart: whether the pool is being started, and not just refreshed
 *
 * Returns whether so much has changed that the volume group is to be read once more
 */
bool
virStorageThinRecover(virStorageRevContext *ctx,
                      virStorageThinScan *scan,
                      bool poolStart)
{
    GHashTableIter iter;
    void *volume;
    void *family;
    bool changed = false;
    size_t i;

    for (i = 0; i < scan->merging->len; i++) {
        const char *lv = g_ptr_array_index(scan->merging, i);

        if ((family = g_hash_table_lookup(scan->families, lv)) && virStorageThinIsOurMerge(family))
            changed |= virStorageThinRecoverMerge(ctx, lv);
    }

    g_hash_table_iter_init(&iter, scan->families);
    while (g_hash_table_iter_next(&iter, &volume, &family)) {
        /* the head is about to be the one that its last revision speaks of */
        if (!g_ptr_array_find_with_equal_func(scan->merging, volume, g_str_equal, NULL))
            changed |= virStorageThinRecoverFamily(ctx, family, poolStart);
    }

    /* last: it may be what tells which revision was the head */
    for (i = 0; i < scan->staged->len; i++)
        ignore_value(virStorageThinRecoverStage(ctx, g_ptr_array_index(scan->staged, i)));
    return changed;
}
