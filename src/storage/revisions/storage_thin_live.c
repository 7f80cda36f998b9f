/*
 * storage_thin_live.c: live copies
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>

#include "storage_thin_volume.h"

#include "storage_revision_facts.h"
#include "storage_thin_lvm.h"
#include "storage_thin_room.h"
#include "storage_thin_use.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


static void
virStorageThinPublishLive(virStorageRevContext *ctx,
                          virStorageRevFamily *family,
                          char *lv,
                          unsigned long long capacity,
                          const virStorageRevMeta *meta,
                          const char *origin)
{
    virStorageRevState *state = virStorageThinStateNew(VIR_STORAGE_REV_LIVE, lv, capacity, meta);

    state->origin = g_strdup(origin);
    virStorageThinPublish(ctx, family, state);
}


/* A live copy that is a snapshot of @origin. */
static int
virStorageThinLiveSnapshot(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           const virStorageRevState *origin,
                           const virStorageRevMeta *meta)
{
    g_autofree char *lv = virStorageThinNameFormat(VIR_STORAGE_THIN_LIVE, family->volume, 0, NULL);

    if (virStorageThinSync(ctx, origin->file, family->volume) < 0 ||
        virStorageThinSnapshot(ctx, origin->file, lv, meta, NULL, true) < 0)
        return -1;

    virStorageThinMarkFresh(ctx, lv);
    virStorageThinPublishLive(ctx, family, g_steal_pointer(&lv), origin->capacity, meta, origin->file);
    return 0;
}


int
virStorageThinStart(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    const virStorageRevSource *source)
{
    g_autofree char *lv = virStorageThinNameFormat(VIR_STORAGE_THIN_LIVE, family->volume, 0, NULL);
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(family);
    g_auto(virStorageRevMeta) meta = { 0 };

    if (virStorageThinCheckUnwritten(ctx, family->head, family->volume) < 0 ||
        virStorageThinCheckRoom(ctx, lv) < 0)
        return -1;

    virStorageRevMetaInit(&meta);
    if (source || !facts || facts->saveOnStop) {
        virStorageRevFactsLive(family, source, &meta);
        return virStorageThinLiveSnapshot(ctx, family, source ? source->state : family->head, &meta);
    }

    virStorageRevFactsLiveBlank(family, &meta);
    if (virStorageThinBlank(ctx, lv, family->head->capacity, &meta, true) < 0)
        return -1;
    virStorageThinPublishLive(ctx, family, g_steal_pointer(&lv), family->head->capacity, &meta, NULL);
    return 0;
}


int
virStorageThinStage(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    const virStorageRevSource *source)
{
    g_autofree char *lv = virStorageThinNameFormat(VIR_STORAGE_THIN_LIVE, family->volume, 0, NULL);
    g_auto(virStorageRevMeta) meta = { 0 };
    unsigned long long capacity;

    virStorageRevMetaInit(&meta);
    virStorageRevFactsLive(family, source, &meta);
    meta.staged = true;

    if (virStorageThinCheckRoom(ctx, lv) < 0)
        return -1;
    if (source->family)
        return virStorageThinLiveSnapshot(ctx, family, source->state, &meta);

    if (virStorageThinRoundUp(ctx, lv, source->capacity, &capacity) < 0 ||
        virStorageThinImport(ctx, source, family->volume, lv, capacity, &meta) < 0)
        return -1;
    virStorageThinPublishLive(ctx, family, g_steal_pointer(&lv), capacity, &meta, NULL);
    return 0;
}


int
virStorageThinDiscard(virStorageRevContext *ctx,
                      virStorageRevFamily *family)
{
    g_autofree char *name = virStorageRevStateName(family, family->live);

    if (virStorageThinCheckUnused(ctx, family->live, name) < 0 ||
        virStorageThinRemoveLV(ctx, family->live->file, name) < 0)
        return -1;

    g_clear_pointer(&family->live, virStorageRevStateFree);
    return 0;
}


int
virStorageThinOpenLive(virStorageRevContext *ctx,
                       virStorageRevFamily *family)
{
    g_autofree char *name = virStorageRevStateName(family, family->live);

    if (virStorageThinCheckUnused(ctx, family->live, name) < 0)
        return -1;
    return virStorageThinOpen(ctx, family->live->file, O_RDWR, name);
}
