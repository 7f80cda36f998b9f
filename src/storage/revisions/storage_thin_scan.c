/*
 * storage_thin_scan.c: reading the volumes of a thin pool
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/stat.h>

#include "storage_thin_scan.h"

#include "storage_thin_device.h"
#include "storage_thin_name.h"
#include "storage_thin_tag.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_thin_scan");

/* What Qubes OS calls the LVs of its machines begins like that. */
#define QUBES_PREFIX "vm-"


void
virStorageThinScanFree(virStorageThinScan *scan)
{
    if (!scan)
        return;

    virStorageThinReportFree(scan->report);
    g_hash_table_unref(scan->families);
    g_ptr_array_unref(scan->staged);
    g_ptr_array_unref(scan->merging);
    g_free(scan);
}


static char **
virStorageThinScanTags(const virStorageThinLV *lv)
{
    g_autoptr(GPtrArray) tags = g_ptr_array_new_with_free_func(g_free);
    size_t i;

    for (i = 0; lv->tags[i]; i++) {
        if (virStorageThinTagIsOurs(lv->tags[i]))
            g_ptr_array_add(tags, g_strdup(lv->tags[i]));
    }
    g_ptr_array_add(tags, NULL);
    return (char **) g_ptr_array_free(g_steal_pointer(&tags), false);
}


/* Reads what the kernel knows about an LV: how much of it is in use, who may use it, and which thin device it is, unless
 * LVM has told. Of one that is not active nothing is known. */
void
virStorageThinStateReadDevice(virStorageRevContext *ctx,
                              int control,
                              virStorageRevState *state)
{
    g_autofree char *path = g_strdup_printf("%s/%s", ctx->poolPath, state->file);
    virStorageThinDevice device;
    struct stat sb;

    if (virStorageThinDeviceRead(control, ctx->vg, state->file, &device) < 0) {
        VIR_WARN("nothing is known about the use of '%s': %s", path, virGetLastErrorMessage());
        virResetLastError();
        return;
    }

    if (device.active)
        state->allocation = device.mapped;
    if (device.active && state->thinId == 0 &&
        virStorageThinDeviceId(control, ctx->vg, state->file, &state->thinId) < 0)
        virResetLastError();
    if (ctx->allocationIsCapacity)
        state->allocation = state->capacity;

    if (device.active && stat(path, &sb) == 0) {
        state->perms.mode = sb.st_mode & 0777;
        state->perms.uid = sb.st_uid;
        state->perms.gid = sb.st_gid;
        state->atime = sb.st_atim;
        state->mtime = sb.st_mtim;
        state->ctime = sb.st_ctim;
    }
}


static virStorageRevKind
virStorageThinKindOf(virStorageThinRole role)
{
    switch (role) {
    case VIR_STORAGE_THIN_LIVE:
        return VIR_STORAGE_REV_LIVE;
    case VIR_STORAGE_THIN_NUMBERED:
        return VIR_STORAGE_REV_NUMBERED;
    case VIR_STORAGE_THIN_PINNED:
        return VIR_STORAGE_REV_PINNED;
    case VIR_STORAGE_THIN_HEAD:
    case VIR_STORAGE_THIN_STAGE:
    case VIR_STORAGE_THIN_IMPORT:
        break;
    }
    return VIR_STORAGE_REV_HEAD;
}


static virStorageRevState *
virStorageThinScanState(const virStorageThinLV *lv,
                        const virStorageThinName *name,
                        const virStorageRevMeta *meta,
                        bool hasMeta)
{
    virStorageRevState *state = virStorageRevStateNew(virStorageThinKindOf(name->role));
    g_auto(virStorageRevMeta) next = { 0 };

    state->id = name->id;
    state->word = g_strdup(name->word);
    state->superseded = name->id; /* the id is the time at which it was, or a little later */
    state->file = g_strdup(lv->name);
    state->capacity = lv->size;
    state->origin = g_strdup(lv->origin);
    state->tags = virStorageThinScanTags(lv);
    state->thinId = lv->thinId;
    state->hasMeta = hasMeta;
    virStorageRevMetaCopy(&state->meta, meta);
    if (state->kind != VIR_STORAGE_REV_LIVE)
        virStorageRevMetaDropLiveMarks(&state->meta);
    virStorageRevMetaInit(&next);
    if (name->role == VIR_STORAGE_THIN_NUMBERED &&
        virStorageThinTagsParseNext((const char * const *) lv->tags, &next))
        virStorageRevStateSetNext(state, &next);
    return state;
}


/* Is the volume ours, or Qubes', and not just somebody's in the same thin pool? */
bool
virStorageThinIsManaged(const virStorageRevFamily *family)
{
    return STRPREFIX(family->volume, QUBES_PREFIX) || (family->head && family->head->hasMeta) || family->live;
}


/* The metadata of a head that is another device since its last commit is at the revision that was made then. */
static void
virStorageThinScanHeadMeta(virStorageRevFamily *family)
{
    virStorageRevState *head = family->head;
    size_t i;

    if (!head || head->thinId == 0 || head->meta.thinId == head->thinId)
        return;
    for (i = 0; i < family->revisions->len; i++) {
        const virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (state->next && state->next->thinId == head->thinId) {
            virStorageRevMetaCopy(&head->meta, state->next);
            head->hasMeta = true;
        }
    }
}


/* An LV whose name could be that of a live copy or a revision may as well be somebody's volume: it is a state of another
 * one if that exists, if Qubes gives such names, or if we have said so. */
static bool
virStorageThinIsStateOf(GHashTable *names,
                        const virStorageThinName *name,
                        const virStorageRevMeta *meta)
{
    if (virStorageRevMetaIsOf(meta, name->volume))
        return true;
    if (name->role == VIR_STORAGE_THIN_STAGE) /* ours alone */
        return false;
    return STRPREFIX(name->volume, QUBES_PREFIX) ||
        g_hash_table_contains(names, name->volume);
}


static void
virStorageThinScanLV(virStorageRevContext *ctx,
                     virStorageThinScan *scan,
                     GHashTable *names,
                     const virStorageThinLV *lv)
{
    g_auto(virStorageThinName) name = { 0 };
    g_auto(virStorageRevMeta) meta = { 0 };
    virStorageRevFamily *family;
    bool hasMeta;

    if (lv->merging) {
        g_ptr_array_add(scan->merging, g_strdup(lv->origin));
        return;
    }

    virStorageRevMetaInit(&meta);
    hasMeta = virStorageThinTagsParse((const char * const *) lv->tags, lv->thinId, &meta);
    virStorageThinNameParse(lv->name, &name);
    if (name.role != VIR_STORAGE_THIN_HEAD && !virStorageThinIsStateOf(names, &name, &meta)) {
        virStorageThinNameClear(&name);
        name.role = VIR_STORAGE_THIN_HEAD;
        name.id = 0;
        name.volume = g_strdup(lv->name);
    }

    if (virStorageRevVolumeNameProblem(name.volume, false))
        VIR_WARN("skipping logical volume '%s' of pool '%s': no volume can have that name", lv->name, ctx->poolName);
    else if (name.role == VIR_STORAGE_THIN_STAGE)
        g_ptr_array_add(scan->staged, g_strdup(lv->name));
    else if (name.role != VIR_STORAGE_THIN_IMPORT && (family = virStorageRevFamiliesGet(scan->families, name.volume)))
        virStorageRevFamilyAdd(family, virStorageThinScanState(lv, &name, &meta, hasMeta));
}


static void
virStorageThinScanFinish(virStorageRevContext *ctx,
                         int control,
                         virStorageRevFamily *family)
{
    size_t i;

    virStorageRevFamilySort(family);
    virStorageThinScanHeadMeta(family);
    virStorageRevFamilyWarnForgotten(family, ctx->poolName);
    if (family->head)
        virStorageThinStateReadDevice(ctx, control, family->head);
    if (family->live)
        virStorageThinStateReadDevice(ctx, control, family->live);
    for (i = 0; i < family->revisions->len; i++)
        virStorageThinStateReadDevice(ctx, control, g_ptr_array_index(family->revisions, i));
}


static virStorageThinScan *
virStorageThinScanReport(virStorageRevContext *ctx)
{
    g_autoptr(virStorageThinScan) scan = g_new0(virStorageThinScan, 1);
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    size_t i;

    scan->families = virStorageRevFamiliesNew();
    scan->staged = g_ptr_array_new_with_free_func(g_free);
    scan->merging = g_ptr_array_new_with_free_func(g_free);

    if (!(scan->report = virStorageThinReportRead(ctx)))
        return NULL;
    if (!scan->report->hasPool) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume group '%1$s' has no thin pool '%2$s', which pool '%3$s' is to use"),
                       ctx->vg, ctx->thinPool, ctx->poolName);
        return NULL;
    }

    for (i = 0; i < scan->report->lvs->len; i++) {
        virStorageThinLV *lv = g_ptr_array_index(scan->report->lvs, i);

        g_hash_table_add(names, lv->name);
    }
    for (i = 0; i < scan->report->lvs->len; i++)
        virStorageThinScanLV(ctx, scan, names, g_ptr_array_index(scan->report->lvs, i));
    return g_steal_pointer(&scan);
}


/**
 * virStorageThinScanPool:
 * @ctx: pool
 *
 * Reads the volume group with one process, and asks the kernel about each active LV. Changes nothing.
 *
 * Returns what there is, or NULL with an error
 */
virStorageThinScan *
virStorageThinScanPool(virStorageRevContext *ctx)
{
    g_autoptr(virStorageThinScan) scan = virStorageThinScanReport(ctx);
    VIR_AUTOCLOSE control = -1;
    GHashTableIter iter;
    void *family;

    if (!scan || (control = virStorageThinControlOpen()) < 0)
        return NULL;

    g_hash_table_iter_init(&iter, scan->families);
    while (g_hash_table_iter_next(&iter, NULL, &family))
        virStorageThinScanFinish(ctx, control, family);
    return g_steal_pointer(&scan);
}


/**
 * virStorageThinScanVolume:
 * @ctx: pool
 * @volume: name
 * @merging: set to whether LVM has put off a merge into its head
 *
 * Returns what there is of one volume, which may be nothing at all; NULL with an error
 */
virStorageRevFamily *
virStorageThinScanVolume(virStorageRevContext *ctx,
                         const char *volume,
                         bool *merging)
{
    g_autoptr(virStorageThinScan) scan = virStorageThinScanReport(ctx);
    VIR_AUTOCLOSE control = -1;
    virStorageRevFamily *family;

    if (!scan || (control = virStorageThinControlOpen()) < 0)
        return NULL;
    *merging = g_ptr_array_find_with_equal_func(scan->merging, volume, g_str_equal, NULL);
    if (!(family = g_hash_table_lookup(scan->families, volume)))
        return virStorageRevFamilyNew(volume);

    virStorageThinScanFinish(ctx, control, family);
    return virObjectRef(family);
}
