/*
 * storage_thin_volume.c: making and changing the logical volumes of a volume
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>

#include "storage_thin_volume.h"

#include "storage_revision_copy.h"
#include "storage_revision_facts.h"
#include "storage_thin_device.h"
#include "storage_thin_room.h"
#include "storage_thin_scan.h"
#include "storage_thin_tag.h"
#include "storage_thin_use.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* Returns an LV that has just been made, with @lv, which it takes over, as its name. */
virStorageRevState *
virStorageThinStateNew(virStorageRevKind kind,
                       char *lv,
                       unsigned long long capacity,
                       const virStorageRevMeta *meta)
{
    virStorageRevState *state = virStorageRevStateNew(kind);

    state->file = lv;
    state->capacity = capacity;
    state->hasMeta = true;
    virStorageRevMetaCopy(&state->meta, meta);
    state->tags = g_new0(char *, 2);
    state->tags[0] = virStorageThinTagFormat(meta);
    return state;
}


/* Puts @state, which it takes over, into the family, with what the kernel knows about it. */
void
virStorageThinPublish(virStorageRevContext *ctx,
                      virStorageRevFamily *family,
                      virStorageRevState *state)
{
    VIR_AUTOCLOSE control = virStorageThinControlOpen();

    if (control >= 0)
        virStorageThinStateReadDevice(ctx, control, state);
    virStorageRevFamilyAdd(family, state);
    virStorageRevFamilySort(family);
}


int
virStorageThinRemoveLV(virStorageRevContext *ctx,
                       const char *lv,
                       const char *name)
{
    const char *lvs[] = { lv, NULL };

    if (virStorageThinCheckRemoval(ctx, name) < 0)
        return -1;
    return virStorageThinRemove(ctx, lvs, name);
}


/* Takes back what an operation that failed has made, and keeps its error. */
void
virStorageThinUndo(virStorageRevContext *ctx,
                   const char *lv)
{
    virErrorPtr err = NULL;

    virErrorPreserveLast(&err);
    ignore_value(virStorageThinRemoveLV(ctx, lv, lv));
    virErrorRestore(&err);
}


/* Opens the device of an LV, which is activated if need be. */
int
virStorageThinOpen(virStorageRevContext *ctx,
                   const char *lv,
                   int oflags,
                   const char *name)
{
    const char *lvs[] = { lv, NULL };
    int fd = virStorageThinOpenDevice(ctx, lv, oflags);

    if (fd < 0 && errno == ENOENT) {
        if (virStorageThinActivate(ctx, lvs, true, name) < 0)
            return -1;
        fd = virStorageThinOpenDevice(ctx, lv, oflags);
    }
    if (fd < 0)
        virReportSystemError(errno, _("cannot open the device of volume '%1$s'"), name);
    return fd;
}


/* LVs consist of whole extents, which LVM counts in 32 bits. Sets @capacity to that of a volume @name for which @size is
 * asked. Returns 0, or -1 with an error when no LV is that large. */
int
virStorageThinRoundUp(const virStorageRevContext *ctx,
                      const char *name,
                      unsigned long long size,
                      unsigned long long *capacity)
{
    unsigned long long extent = ctx->vgExtentSize;
    unsigned long long largest = extent ? MIN(LLONG_MAX / extent, UINT32_MAX) * extent : LLONG_MAX;

    if (size > largest) {
        virReportError(VIR_ERR_INVALID_ARG, _("volume '%1$s' can have %2$llu bytes at most"), name, largest);
        return -1;
    }
    *capacity = extent ? VIR_ROUND_UP(MAX(size, 1), extent) : size;
    return 0;
}


static int
virStorageThinCheckDef(virStorageVolDef *def)
{
    if (def->target.format == VIR_STORAGE_FILE_RAW && !def->target.encryption && !def->target.backingStore)
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("volume '%1$s' can have the format raw only, unencrypted, without a backing store in another pool"),
                   def->name);
    return -1;
}


int
virStorageThinCreate(virStorageRevContext *ctx,
                     virStorageRevFamily *family,
                     virStorageVolDef *def,
                     unsigned int flags)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    unsigned long long capacity;

    if (flags & VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("metadata of volume '%1$s' cannot be preallocated"), def->name);
        return -1;
    }
    if (!virStorageRevVolGet(def)->hasCapacity || def->target.capacity == 0) {
        virReportError(VIR_ERR_XML_ERROR, _("missing capacity of volume '%1$s'"), def->name);
        return -1;
    }

    virStorageRevMetaInit(&meta);
    virStorageRevFactsNewHead(family->volume, def, NULL, &meta);
    if (virStorageThinCheckDef(def) < 0 ||
        virStorageThinRoundUp(ctx, def->name, def->target.capacity, &capacity) < 0 ||
        virStorageThinCheckRoom(ctx, family->volume) < 0 ||
        virStorageThinBlank(ctx, family->volume, capacity, &meta, ctx->headsActive) < 0)
        return -1;

    virStorageThinPublish(ctx, family,
                          virStorageThinStateNew(VIR_STORAGE_REV_HEAD, g_strdup(family->volume), capacity, &meta));
    return 0;
}


static int
virStorageThinCopyInto(virStorageRevContext *ctx,
                       const virStorageRevSource *source,
                       const char *stage)
{
    VIR_AUTOCLOSE control = virStorageThinControlOpen();
    VIR_AUTOCLOSE from = open(source->content, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    VIR_AUTOCLOSE to = -1;
    virStorageThinPoolTable table;

    if (control < 0)
        return -1;
    if (from < 0) {
        virReportSystemError(errno, _("cannot open volume '%1$s'"), source->name);
        return -1;
    }
    if ((to = virStorageThinOpen(ctx, stage, O_RDWR, source->name)) < 0 ||
        virStorageThinPoolReadTable(control, ctx->vg, ctx->thinPool, &table) < 0)
        return -1;
    if (virStorageRevCopyData(from, to, table.zeroes ? 0 : table.blockSize) < 0 || fsync(to) < 0) {
        virReportSystemError(errno, _("cannot copy volume '%1$s'"), source->name);
        return -1;
    }
    return 0;
}


/**
 * virStorageThinImport:
 * @ctx: pool
 * @source: volume of another pool
 * @volume: what its content is for
 * @lv: name of the LV to make
 * @capacity: of that, at least that of the source
 * @meta: of that
 *
 * Copies under the name of staging, so that the LV is whole as soon as it has its own.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageThinImport(virStorageRevContext *ctx,
                     const virStorageRevSource *source,
                     const char *volume,
                     const char *lv,
                     unsigned long long capacity,
                     const virStorageRevMeta *meta)
{
    g_autofree char *stage = virStorageThinNameFormat(VIR_STORAGE_THIN_STAGE, volume, 0, NULL);

    if (source->format != VIR_STORAGE_FILE_RAW) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' has the format '%2$s': only raw images can be copied to logical volumes"),
                       source->name, virStorageFileFormatTypeToString(source->format));
        return -1;
    }
    if (virStorageThinCheckNoUpload(ctx, volume) < 0 ||
        virStorageThinBlank(ctx, stage, capacity, meta, true) < 0)
        return -1;
    if (virStorageThinCopyInto(ctx, source, stage) < 0 ||
        virStorageThinRename(ctx, stage, lv) < 0) {
        virStorageThinUndo(ctx, stage);
        return -1;
    }
    return 0;
}


/* A clone that is to be larger than its source gets its name when it is. */
static int
virStorageThinCloneSnapshot(virStorageRevContext *ctx,
                            const virStorageRevSource *source,
                            const char *volume,
                            unsigned long long capacity,
                            const virStorageRevMeta *meta)
{
    g_autofree char *stage = virStorageThinNameFormat(VIR_STORAGE_THIN_STAGE, volume, 0, NULL);
    bool larger = capacity > source->state->capacity;

    if (virStorageThinSync(ctx, source->state->file, source->name) < 0 ||
        virStorageThinSnapshot(ctx, source->state->file, larger ? stage : volume, meta, NULL, ctx->headsActive) < 0)
        return -1;
    if (larger &&
        (virStorageThinResize(ctx, stage, source->state->capacity, capacity) < 0 ||
         virStorageThinRename(ctx, stage, volume) < 0)) {
        virStorageThinUndo(ctx, stage);
        return -1;
    }
    return 0;
}


int
virStorageThinClone(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    const virStorageRevSource *source,
                    virStorageVolDef *def)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    unsigned long long capacity = source->family ? source->state->capacity : source->capacity;
    int rc;

    virStorageRevMetaInit(&meta);
    virStorageRevFactsNewHead(family->volume, def, source, &meta);

    if (virStorageThinRoundUp(ctx, def->name, MAX(capacity, def->target.capacity), &capacity) < 0 ||
        virStorageThinCheckRoom(ctx, family->volume) < 0)
        return -1;
    if (source->family)
        rc = virStorageThinCloneSnapshot(ctx, source, family->volume, capacity, &meta);
    else
        rc = virStorageThinImport(ctx, source, family->volume, family->volume, capacity, &meta);
    if (rc < 0)
        return -1;

    virStorageThinPublish(ctx, family,
                          virStorageThinStateNew(VIR_STORAGE_REV_HEAD, g_strdup(family->volume), capacity, &meta));
    return 0;
}


int
virStorageThinPin(virStorageRevContext *ctx,
                  virStorageRevFamily *family,
                  const char *word)
{
    g_autofree char *lv = virStorageThinNameFormat(VIR_STORAGE_THIN_PINNED, family->volume, 0, word);
    g_auto(virStorageRevMeta) meta = { 0 };
    virStorageRevState *state;

    virStorageRevMetaInit(&meta);
    virStorageRevMetaCopy(&meta, &family->head->meta);
    virStorageRevMetaDropMarks(&meta);
    if (!meta.volumeHash)
        meta.volumeHash = virStorageRevMetaHash(family->volume);

    if (virStorageThinCheckRoom(ctx, lv) < 0 ||
        virStorageThinSync(ctx, family->head->file, family->volume) < 0 ||
        virStorageThinSnapshot(ctx, family->head->file, lv, &meta, NULL, ctx->headsActive) < 0)
        return -1;

    state = virStorageThinStateNew(VIR_STORAGE_REV_PINNED, g_steal_pointer(&lv), family->head->capacity, &meta);
    state->word = g_strdup(word);
    virStorageThinPublish(ctx, family, state);
    return 0;
}


/* Replaces the metadata of the head. Where that can be, it says about which device it is, and goes before what the last
 * revision says of it. */
int
virStorageThinRewriteHeadMeta(virStorageRevContext *ctx,
                              virStorageRevState *head,
                              virStorageRevMeta *meta)
{
    const virStorageRevMeta *metas[] = { meta, NULL };

    virStorageRevMetaDropMarks(meta);
    meta->thinId = head->thinId;
    if (virStorageThinTag(ctx, head, metas) < 0)
        return -1;
    virStorageRevMetaCopy(&head->meta, meta);
    head->hasMeta = true;
    return 0;
}


/* Does a tag of the head's own say what it is as that thin device? Otherwise the last revision does. */
bool
virStorageThinHasMetaAs(const virStorageRevState *head,
                        unsigned int thinId)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    return virStorageThinTagsParse((const char * const *) head->tags, thinId, &meta) && meta.thinId == thinId;
}


/**
 * virStorageThinKeepHeadMeta:
 * @ctx: pool
 * @head: may be NULL
 * @revision: a revision that is to go, or not to be the last one any more
 *
 * Writes to the head what the revision says about it, if that is where it is.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageThinKeepHeadMeta(virStorageRevContext *ctx,
                           virStorageRevState *head,
                           const virStorageRevState *revision)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    if (!head || !revision->next || revision->next->thinId != head->thinId ||
        virStorageThinHasMetaAs(head, head->thinId))
        return 0;

    virStorageRevMetaInit(&meta);
    virStorageRevMetaCopy(&meta, &head->meta);
    return virStorageThinRewriteHeadMeta(ctx, head, &meta);
}


int
virStorageThinRedefine(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevMeta *facts)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *before = virStorageRevMetaFormat(&family->head->meta);
    g_autofree char *after = NULL;

    virStorageRevMetaInit(&meta);
    virStorageRevFactsRedefined(family, facts, &meta);
    if (!(after = virStorageRevMetaFormat(&meta)))
        return -1;
    if (family->head->hasMeta && STREQ_NULLABLE(before, after))
        return 0;
    return virStorageThinRewriteHeadMeta(ctx, family->head, &meta);
}


int
virStorageThinMark(virStorageRevContext *ctx,
                   virStorageRevFamily *family,
                   const virStorageRevMeta *meta)
{
    const virStorageRevMeta *metas[] = { meta, NULL };

    if (virStorageThinTag(ctx, family->live, metas) < 0)
        return -1;
    virStorageRevMetaCopy(&family->live->meta, meta);
    family->live->hasMeta = true;
    return 0;
}


/* The generation of a head goes ahead of its size: one that is too high makes a copy look outdated, one that is too low
 * would make it look up to date. */
int
virStorageThinResizeState(virStorageRevContext *ctx,
                          virStorageRevFamily *family,
                          virStorageRevKind kind,
                          unsigned long long capacity,
                          unsigned int flags)
{
    virStorageRevState *state = kind == VIR_STORAGE_REV_HEAD ? family->head : family->live;
    g_autofree char *name = virStorageRevStateName(family, state);
    g_auto(virStorageRevMeta) meta = { 0 };

    if (flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED, _("volume '%1$s' cannot be preallocated"), name);
        return -1;
    }
    if (capacity == 0) {
        virReportError(VIR_ERR_INVALID_ARG, _("volume '%1$s' cannot become empty: a logical volume has one extent at least"),
                       name);
        return -1;
    }
    if (virStorageThinRoundUp(ctx, name, capacity, &capacity) < 0)
        return -1;
    if (capacity == state->capacity)
        return 0;

    /* A live copy may grow under its machine; anything else would take the ground from under it. */
    if ((capacity < state->capacity && virStorageThinCheckUnused(ctx, state, name) < 0) ||
        (kind == VIR_STORAGE_REV_HEAD && virStorageThinCheckUnwritten(ctx, state, name) < 0))
        return -1;

    if (kind == VIR_STORAGE_REV_HEAD) {
        virStorageRevMetaInit(&meta);
        virStorageRevMetaCopy(&meta, &state->meta);
        meta.generation = virStorageRevMetaGeneration(&state->meta) + 1;
        if (!meta.volumeHash)
            meta.volumeHash = virStorageRevMetaHash(family->volume);
        if (virStorageThinRewriteHeadMeta(ctx, state, &meta) < 0)
            return -1;
    }
    if (virStorageThinResize(ctx, state->file, state->capacity, capacity) < 0)
        return -1;
    state->capacity = capacity;
    return 0;
}


static int
virStorageThinRememberNextId(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             const virStorageRevState *revision)
{
    g_auto(virStorageRevMeta) facts = { 0 };

    if (!virStorageRevFactsToRemember(family, revision, &facts))
        return 0;
    return virStorageThinRedefine(ctx, family, &facts);
}


int
virStorageThinDeleteRevision(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             const virStorageRevState *revision)
{
    g_autofree char *name = virStorageRevStateName(family, revision);

    if (virStorageThinCheckUnused(ctx, revision, name) < 0 ||
        virStorageThinCheckRemoval(ctx, name) < 0 ||
        virStorageThinRememberNextId(ctx, family, revision) < 0 ||
        virStorageThinKeepHeadMeta(ctx, family->head, revision) < 0 ||
        virStorageThinRemoveLV(ctx, revision->file, name) < 0)
        return -1;

    g_ptr_array_remove(family->revisions, (void *) revision);
    return 0;
}


/**
 * virStorageThinRemoveRevisions:
 * @ctx: pool
 * @family: volume
 * @revisions: some of its revisions, or all
 *
 * Removes them with one process.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageThinRemoveRevisions(virStorageRevContext *ctx,
                              virStorageRevFamily *family,
                              GPtrArray *revisions)
{
    g_autofree const char **lvs = g_new0(const char *, revisions->len + 1);
    size_t i;

    if (revisions->len > 0 && virStorageThinCheckRemoval(ctx, family->volume) < 0)
        return -1;
    for (i = 0; i < revisions->len; i++) {
        const virStorageRevState *revision = g_ptr_array_index(revisions, i);

        if (virStorageThinKeepHeadMeta(ctx, family->head, revision) < 0)
            return -1;
        lvs[i] = revision->file;
    }
    if (i > 0 && virStorageThinRemove(ctx, lvs, family->volume) < 0)
        return -1;

    if (revisions == family->revisions) {
        g_ptr_array_set_size(revisions, 0);
    } else {
        for (i = 0; i < revisions->len; i++)
            g_ptr_array_remove(family->revisions, g_ptr_array_index(revisions, i));
    }
    return 0;
}


/* Can every LV of the volume be removed? */
static int
virStorageThinCheckAllUnused(virStorageRevContext *ctx,
                             virStorageRevFamily *family)
{
    size_t i;

    for (i = 0; i <= family->revisions->len; i++) {
        virStorageRevState *state = i < family->revisions->len ? g_ptr_array_index(family->revisions, i) : family->head;
        g_autofree char *name = virStorageRevStateName(family, state);

        if (virStorageThinCheckUnused(ctx, state, name) < 0)
            return -1;
        if (state->inUse) {
            virReportError(VIR_ERR_OPERATION_INVALID, _("volume '%1$s' is still in use."), name);
            return -1;
        }
    }
    return 0;
}


/* The head goes last: whenever this is interrupted, what is left is a volume. */
int
virStorageThinDeleteVolume(virStorageRevContext *ctx,
                           virStorageRevFamily *family)
{
    if (virStorageThinCheckNoUpload(ctx, family->volume) < 0 ||
        virStorageThinCheckAllUnused(ctx, family) < 0 ||
        virStorageThinRemoveRevisions(ctx, family, family->revisions) < 0 ||
        virStorageThinRemoveLV(ctx, family->head->file, family->volume) < 0)
        return -1;

    g_clear_pointer(&family->head, virStorageRevStateFree);
    return 0;
}
