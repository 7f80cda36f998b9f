/*
 * storage_thin_switch.c: replacing the head of a volume
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>

#include "storage_thin_volume.h"

#include "storage_revision_checks.h"
#include "storage_revision_facts.h"
#include "storage_thin_device.h"
#include "storage_thin_lvm.h"
#include "storage_thin_room.h"
#include "storage_thin_scan.h"
#include "storage_thin_use.h"
#include "storage_thin_zero.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_thin_switch");

/*
 * There are two ways in which an LV, complete and durable, becomes the head. A merge is quicker, since no active LV has
 * to get another name, and is there for snapshots of the head while neither is open:
 *
 *   1. a snapshot of the head as the next revision; a tag of it says what the head is once it is the thin device
 *      that the live copy is now                       undone by a refresh: the head is not that device
 *   2. the merge: the head becomes that thin device    the switch
 *
 * Where retention keeps no revision, the tag of 1 is one of the head's own, and there is nothing to undo.
 *
 * Renames do for all else, and leave readers of the head what they read:
 *
 *   1. tags on the LV: what the next head is, beside the marks of the live copy that it is      it is none yet
 *   2. the head gets the name of the next revision     undone by a refresh: there is no head, and the tags of 1 name it
 *   3. the LV gets the name of the head                                                       the switch
 *
 * Each step is one change of LVM's metadata, there as a whole or not at all.
 */

typedef struct _virStorageThinSwitch virStorageThinSwitch;
struct _virStorageThinSwitch {
    virStorageRevContext *ctx;
    virStorageRevFamily *family;
    unsigned long long id;     /* of the revision that the head becomes */
    bool keeps;                /* whether that is to stay */
    virStorageRevMeta meta;    /* of the next head */
};


static void
virStorageThinSwitchClear(virStorageThinSwitch *sw)
{
    virStorageRevMetaClear(&sw->meta);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageThinSwitch, virStorageThinSwitchClear);


/* The id of a revision is the time at which it becomes one, as long as the clock moves on. */
unsigned long long
virStorageThinNextId(virStorageRevFamily *family)
{
    unsigned long long now = g_get_real_time() / G_USEC_PER_SEC;

    return MAX(now, virStorageRevFamilyNextId(family));
}


static int
virStorageThinSwitchInit(virStorageThinSwitch *sw,
                         virStorageRevContext *ctx,
                         virStorageRevFamily *family,
                         const virStorageRevMeta *content,
                         bool prunes)
{
    sw->ctx = ctx;
    sw->family = family;
    sw->id = virStorageThinNextId(family);
    sw->keeps = !prunes || virStorageRevKeepOf(ctx, family) > 0;
    virStorageRevMetaInit(&sw->meta);
    if (sw->id > VIR_STORAGE_THIN_ID_MAX) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("volume '%1$s' has no id left for a revision: somebody has used %2$llu; clone the volume, and use the clone"),
                       family->volume, sw->id - 1);
        return -1;
    }
    virStorageRevFactsNextHead(ctx, family, content, sw->id, prunes, &sw->meta);
    return 0;
}


/* The former head as a revision, in memory. */
static void
virStorageThinAddFormer(virStorageThinSwitch *sw,
                        virStorageRevState *former)
{
    former->kind = VIR_STORAGE_REV_NUMBERED;
    former->id = sw->id;
    former->superseded = sw->id;
    former->inUse = false;
    g_free(former->file);
    former->file = virStorageThinNameFormat(VIR_STORAGE_THIN_NUMBERED, sw->family->volume, sw->id, NULL);
    virStorageThinPublish(sw->ctx, sw->family, former);
}


/* The head, whose device is now that of @next, in memory. */
static void
virStorageThinSetHead(virStorageThinSwitch *sw,
                      const virStorageRevState *next)
{
    virStorageRevState *head = sw->family->head;

    g_free(head->file);
    head->file = g_strdup(sw->family->volume);
    head->kind = VIR_STORAGE_REV_HEAD;
    head->capacity = next->capacity;
    head->allocation = next->allocation;
    head->hasMeta = true;
    g_clear_pointer(&head->origin, g_free);
    virStorageRevMetaCopy(&head->meta, &sw->meta);
    virStorageThinPublish(sw->ctx, sw->family, g_steal_pointer(&sw->family->head));
}


/* What the head is now, also where it has no metadata of ours yet. */
static void
virStorageThinPresentMeta(virStorageThinSwitch *sw,
                          virStorageRevMeta *meta)
{
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(sw->family);
    g_auto(virStorageRevMeta) none = { 0 };

    virStorageRevMetaInit(&none);
    virStorageRevMetaInit(meta);
    virStorageRevFactsRedefined(sw->family, facts ? facts : &none, meta);
    virStorageRevMetaDropMarks(meta);
}


/* Step 1 of a merge that makes no revision. */
static int
virStorageThinMergeTag(virStorageThinSwitch *sw)
{
    virStorageRevState *head = sw->family->head;
    g_auto(virStorageRevMeta) now = { 0 };
    const virStorageRevMeta *metas[] = { &now, &sw->meta, NULL };

    virStorageThinPresentMeta(sw, &now);
    now.thinId = head->thinId;
    return virStorageThinTag(sw->ctx, head, metas);
}


/* A merge that did not come about has left facts about a thin device that the head never was, and LVM uses numbers of
 * devices that are gone again: they must not be taken for those of the one that the head is about to be. */
static int
virStorageThinDropStale(virStorageThinSwitch *sw)
{
    g_auto(virStorageRevMeta) now = { 0 };

    if (!virStorageThinHasMetaAs(sw->family->head, sw->meta.thinId))
        return 0;
    virStorageThinPresentMeta(sw, &now);
    return virStorageThinRewriteHeadMeta(sw->ctx, sw->family->head, &now);
}


/* Step 1 of a merge that makes one; @former is that, in memory. */
static int
virStorageThinMergeRevision(virStorageThinSwitch *sw,
                            virStorageRevState **former)
{
    g_autofree char *back = virStorageThinNameFormat(VIR_STORAGE_THIN_NUMBERED, sw->family->volume, sw->id, NULL);
    virStorageRevState *head = sw->family->head;
    g_auto(virStorageRevMeta) now = { 0 };

    if (virStorageThinDropStale(sw) < 0)
        return -1;
    virStorageThinPresentMeta(sw, &now);
    if (virStorageThinSnapshot(sw->ctx, head->file, back, &now, &sw->meta, sw->ctx->headsActive) < 0)
        return -1;

    *former = virStorageThinStateNew(VIR_STORAGE_REV_NUMBERED, g_steal_pointer(&back), head->capacity, &now);
    virStorageRevStateSetNext(*former, &sw->meta);
    return 0;
}


/* LVM puts a merge off, and says nothing, when somebody opens one of the two just before it. */
static bool
virStorageThinMergeIsDone(virStorageThinSwitch *sw,
                          const virStorageRevState *next)
{
    VIR_AUTOCLOSE control = virStorageThinControlOpen();
    virStorageThinDevice device;
    unsigned int thinId;

    if (control < 0 ||
        virStorageThinDeviceRead(control, sw->ctx->vg, next->file, &device) < 0 || device.active ||
        virStorageThinDeviceRead(control, sw->ctx->vg, sw->family->head->file, &device) < 0)
        return false;
    if (!device.active) /* nor can it have been opened */
        return true;
    return virStorageThinDeviceId(control, sw->ctx->vg, sw->family->head->file, &thinId) == 0 &&
        thinId == sw->meta.thinId;
}


/* Step 2 of a merge; @former is the revision of step 1, or none. Where LVM fails, it may have merged all the same: only
 * who reads the volume anew knows whether @former is a revision, or is to go. */
static int
virStorageThinSwitchByMerge(virStorageThinSwitch *sw,
                            const virStorageRevState *next,
                            virStorageRevState **former)
{
    if (virStorageThinMerge(sw->ctx, next->file) < 0)
        return -1;
    if (!virStorageThinMergeIsDone(sw, next)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' was opened by another program while its head was replaced: LVM does that as soon as it is closed; refresh the pool then"),
                       sw->family->volume);
        return -1;
    }

    sw->family->head->thinId = sw->meta.thinId;
    virStorageThinSetHead(sw, next);
    if (*former)
        virStorageThinAddFormer(sw, g_steal_pointer(former));
    return 0;
}


/* Step 2 of the renames, taken back. */
static void
virStorageThinRenameBack(virStorageThinSwitch *sw,
                         const char *back)
{
    virErrorPtr err = NULL;

    virErrorPreserveLast(&err);
    ignore_value(virStorageThinRename(sw->ctx, back, sw->family->volume));
    virErrorRestore(&err);
}


/* What was written to under another name is active, and no live copy any more. If it stays so, the next refresh sees to
 * it. */
static void
virStorageThinSettleHead(virStorageThinSwitch *sw)
{
    const char *lvs[] = { sw->family->volume, NULL };
    VIR_AUTOCLOSE control = -1;
    virStorageThinDevice device = { 0 };

    if (sw->ctx->headsActive)
        return;
    if ((control = virStorageThinControlOpen()) < 0 ||
        virStorageThinDeviceRead(control, sw->ctx->vg, sw->family->volume, &device) < 0 ||
        (device.active && virStorageThinActivate(sw->ctx, lvs, false, sw->family->volume) < 0)) {
        VIR_INFO("volume '%s' stays active: %s", sw->family->volume, virGetLastErrorMessage());
        virResetLastError();
    }
}


static int
virStorageThinSwitchByRename(virStorageThinSwitch *sw,
                             virStorageRevState *next)
{
    g_autofree char *back = virStorageThinNameFormat(VIR_STORAGE_THIN_NUMBERED, sw->family->volume, sw->id, NULL);
    g_auto(virStorageRevMeta) meta = { 0 };
    const virStorageRevMeta *metas[] = { &meta, NULL };
    virStorageRevState *former = sw->family->head;
    size_t i;

    virStorageRevMetaInit(&meta);
    virStorageRevMetaCopy(&meta, &sw->meta);
    virStorageRevMetaKeepMarks(&meta, &next->meta, sw->family->volume);
    for (i = 0; i < sw->family->revisions->len; i++) {
        if (virStorageThinKeepHeadMeta(sw->ctx, former, g_ptr_array_index(sw->family->revisions, i)) < 0)
            return -1;
    }
    if (virStorageThinTag(sw->ctx, next, metas) < 0)
        return -1;
    if (former && virStorageThinRename(sw->ctx, former->file, back) < 0) {
        virStorageThinRenameBack(sw, back); /* if it was renamed all the same */
        return -1;
    }
    if (virStorageThinRename(sw->ctx, next->file, sw->family->volume) < 0) {
        if (former)
            virStorageThinRenameBack(sw, back);
        return -1;
    }

    sw->family->head = virStorageRevStateCopy(next);
    virStorageThinSetHead(sw, next);
    if (former)
        virStorageThinAddFormer(sw, former);
    virStorageThinSettleHead(sw);
    return 0;
}


/* A pool that is nearly full takes no snapshot any more, and one that is broken gives up no device; what is in it can
 * still get other names. */
static bool
virStorageThinCanChange(virStorageThinSwitch *sw)
{
    const char *problem;

    if ((sw->keeps ? virStorageThinFindProblem(sw->ctx, &problem) :
         virStorageThinFindBreakage(sw->ctx, &problem)) == 0)
        return problem == NULL;
    virResetLastError();
    return false;
}


/* Is the LV still the thin device that it was when it was last read or made? Of one that is not active nobody knows. */
static bool
virStorageThinIsSame(virStorageRevContext *ctx,
                     int control,
                     const virStorageRevState *state)
{
    virStorageThinDevice device;
    unsigned int thinId;

    if (virStorageThinDeviceRead(control, ctx->vg, state->file, &device) == 0 && device.active &&
        virStorageThinDeviceId(control, ctx->vg, state->file, &thinId) == 0)
        return thinId == state->thinId;
    virResetLastError();
    return false;
}


static const virStorageThinLV *
virStorageThinFindLV(const virStorageThinReport *report,
                     const char *name)
{
    size_t i;

    for (i = 0; i < report->lvs->len; i++) {
        const virStorageThinLV *lv = g_ptr_array_index(report->lvs, i);

        if (STREQ(lv->name, name))
            return lv;
    }
    return NULL;
}


/* Asks LVM whether @next is a snapshot of what has the name of the head, and which thin devices the two are now. */
static bool
virStorageThinAskOrigin(virStorageThinSwitch *sw,
                        const virStorageRevState *next)
{
    virStorageRevState *head = sw->family->head;
    g_autoptr(virStorageThinReport) report = virStorageThinReportRead(sw->ctx);
    const virStorageThinLV *lv;
    const virStorageThinLV *headLV;

    if (!report) {
        virResetLastError();
        return false;
    }
    if (!(lv = virStorageThinFindLV(report, next->file)) || STRNEQ_NULLABLE(lv->origin, head->file) ||
        !(headLV = virStorageThinFindLV(report, head->file)))
        return false;

    head->thinId = headLV->thinId;
    sw->meta.thinId = lv->thinId;
    return true;
}


/* Is @next a snapshot of the head? LVM merges into what it is a snapshot of, under whatever name, and somebody may have
 * given that of the head to another LV. */
static bool
virStorageThinIsOfHead(virStorageThinSwitch *sw,
                       const virStorageRevState *next)
{
    VIR_AUTOCLOSE control = -1;

    if (STRNEQ_NULLABLE(next->origin, sw->family->head->file))
        return false;
    if ((control = virStorageThinControlOpen()) < 0) {
        virResetLastError();
        return false;
    }
    if (!virStorageThinIsSame(sw->ctx, control, sw->family->head) ||
        !virStorageThinIsSame(sw->ctx, control, next))
        return virStorageThinAskOrigin(sw, next);

    sw->meta.thinId = next->thinId;
    return true;
}


/* Can @next be merged into the head? Its thin device is needed for that. */
static bool
virStorageThinCanMerge(virStorageThinSwitch *sw,
                       const virStorageRevState *next)
{
    return sw->family->head &&
        !virStorageThinIsOpen(sw->ctx, sw->family->head->file) &&
        virStorageThinCanChange(sw) &&
        virStorageThinIsOfHead(sw, next);
}


/* Reads the LV that is to be the head while it is active: in a merge it may become inactive, and tell no more. */
static int
virStorageThinReadNext(virStorageRevContext *ctx,
                       virStorageRevState *next)
{
    VIR_AUTOCLOSE control = virStorageThinControlOpen();

    if (control < 0)
        return -1;
    virStorageThinStateReadDevice(ctx, control, next);
    return 0;
}


/**
 * virStorageThinSwitchHead:
 * @ctx: pool
 * @family: volume, whose head may be missing
 * @next: LV that nobody has open, durable
 * @content: content facts of it
 *
 * Makes @next the head, and the head a revision where retention keeps any.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageThinSwitchHead(virStorageRevContext *ctx,
                         virStorageRevFamily *family,
                         virStorageRevState *next,
                         const virStorageRevMeta *content)
{
    g_auto(virStorageThinSwitch) sw = { 0 };
    g_autoptr(virStorageRevState) former = NULL;

    if (virStorageThinReadNext(ctx, next) < 0 ||
        virStorageThinSwitchInit(&sw, ctx, family, content, true) < 0)
        return -1;
    if (virStorageThinCanMerge(&sw, next)) {
        if ((sw.keeps ? virStorageThinMergeRevision(&sw, &former) : virStorageThinMergeTag(&sw)) == 0)
            return virStorageThinSwitchByMerge(&sw, next, &former);
        /* LVM has limits of its own for a pool that takes no snapshot any more: lvm.conf's and its metadata's */
        VIR_INFO("volume '%s' is not merged: %s", family->volume, virGetLastErrorMessage());
        virResetLastError();
        sw.meta.thinId = 0;
    }
    return virStorageThinSwitchByRename(&sw, next);
}


/* A pool that is broken gives up no device. */
static bool
virStorageThinCanRemove(virStorageRevContext *ctx)
{
    const char *breakage;

    if (virStorageThinFindBreakage(ctx, &breakage) == 0)
        return breakage == NULL;
    virResetLastError();
    return true;
}


int
virStorageThinCommit(virStorageRevContext *ctx,
                     virStorageRevFamily *family)
{
    g_autofree char *name = virStorageRevStateName(family, family->live);

    if (virStorageThinCheckUnused(ctx, family->live, name) < 0 ||
        virStorageThinSync(ctx, family->live->file, name) < 0 ||
        (family->head && virStorageThinCheckUnwritten(ctx, family->head, family->volume) < 0))
        return -1;

    if (virStorageRevFactsLiveIsOfHead(family) && virStorageThinIsFresh(ctx, family->live->file) &&
        virStorageThinCanRemove(ctx))
        return virStorageThinDiscard(ctx, family);

    if (virStorageThinNameCheckRevision(ctx->vg, family->volume) < 0 ||
        virStorageThinSwitchHead(ctx, family, family->live, &family->live->meta) < 0)
        return -1;
    g_clear_pointer(&family->live, virStorageRevStateFree);
    return 0;
}


int
virStorageThinRevert(virStorageRevContext *ctx,
                     virStorageRevFamily *family,
                     const virStorageRevState *revision)
{
    g_autofree char *stage = virStorageThinNameFormat(VIR_STORAGE_THIN_STAGE, family->volume, 0, NULL);
    g_auto(virStorageThinSwitch) sw = { 0 };
    g_autoptr(virStorageRevState) next = NULL;

    if (virStorageThinNameCheckRevision(ctx->vg, family->volume) < 0 ||
        virStorageThinCheckNoUpload(ctx, family->volume) < 0 ||
        (family->head && virStorageThinCheckUnwritten(ctx, family->head, family->volume) < 0) ||
        virStorageThinCheckRoom(ctx, family->volume) < 0)
        return -1;

    if (virStorageThinSwitchInit(&sw, ctx, family, &revision->meta, false) < 0 ||
        virStorageThinSnapshot(ctx, revision->file, stage, &sw.meta, NULL, ctx->headsActive) < 0)
        return -1;
    next = virStorageThinStateNew(VIR_STORAGE_REV_HEAD, g_steal_pointer(&stage), revision->capacity, &sw.meta);
    if (virStorageThinSwitchByRename(&sw, next) < 0) {
        virStorageThinUndo(ctx, next->file);
        return -1;
    }
    return 0;
}


static int
virStorageThinZeroLV(virStorageRevContext *ctx,
                     const char *lv,
                     unsigned long long capacity,
                     const char *name)
{
    VIR_AUTOCLOSE fd = virStorageThinOpen(ctx, lv, O_RDWR, name);

    if (fd < 0)
        return -1;
    if (virStorageThinZero(fd, 0, capacity) < 0 || fsync(fd) < 0) {
        virReportSystemError(errno, _("cannot wipe volume '%1$s'"), name);
        return -1;
    }
    return 0;
}


static int
virStorageThinWipeSwitch(virStorageThinSwitch *sw,
                         const virStorageRevState *next)
{
    virStorageRevState *none = NULL;

    if (!virStorageThinCanMerge(sw, next)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' was opened by another program while it was wiped: stop that first"),
                       sw->family->volume);
        return -1;
    }
    if (virStorageThinMergeTag(sw) < 0)
        return -1;
    return virStorageThinSwitchByMerge(sw, next, &none);
}


/* The head is merged with a snapshot of it that has lost its blocks: so there is no moment without a head, nor one with
 * a revision of what is wiped. */
int
virStorageThinWipe(virStorageRevContext *ctx,
                   virStorageRevFamily *family)
{
    g_autofree char *stage = virStorageThinNameFormat(VIR_STORAGE_THIN_STAGE, family->volume, 0, NULL);
    g_auto(virStorageThinSwitch) sw = { 0 };
    g_autoptr(virStorageRevState) next = NULL;

    if (virStorageThinCheckNoUpload(ctx, family->volume) < 0 ||
        virStorageThinCheckUnused(ctx, family->head, family->volume) < 0 ||
        virStorageThinSwitchInit(&sw, ctx, family, NULL, false) < 0)
        return -1;
    sw.keeps = false;
    if (virStorageThinSnapshot(ctx, family->head->file, stage, &sw.meta, NULL, true) < 0)
        return -1;
    next = virStorageThinStateNew(VIR_STORAGE_REV_HEAD, g_steal_pointer(&stage), family->head->capacity, &sw.meta);
    next->origin = g_strdup(family->head->file);

    if (virStorageThinZeroLV(ctx, next->file, next->capacity, family->volume) < 0 ||
        virStorageThinCheckUnused(ctx, next, family->volume) < 0 ||
        virStorageThinCheckUnused(ctx, family->head, family->volume) < 0 ||
        virStorageThinReadNext(ctx, next) < 0 ||
        virStorageThinWipeSwitch(&sw, next) < 0) {
        virStorageThinUndo(ctx, next->file);
        return -1;
    }
    return 0;
}


int
virStorageThinPrune(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    size_t count)
{
    g_autoptr(GPtrArray) doomed = g_ptr_array_new();
    size_t i;

    for (i = 0; i < MIN(count, family->revisions->len); i++) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (state->kind != VIR_STORAGE_REV_NUMBERED)
            break;
        if (state->inUse || virStorageThinIsOpen(ctx, state->file))
            VIR_INFO("a revision of volume '%s' is in use, and removed later", family->volume);
        else
            g_ptr_array_add(doomed, state);
    }
    return virStorageThinRemoveRevisions(ctx, family, doomed);
}
