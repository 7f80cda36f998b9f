/*
 * storage_thin_staging.c: uploads and downloads
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
#include "storage_thin_scan.h"
#include "storage_thin_use.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virthread.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_thin_staging");

/* Stands before the name of an LV that is to be deactivated when it has been read. No name of an LV has a colon. */
#define ACTIVATED "activated:"

/* The LVs of uploads under way, as "VG/LV": a refresh must not take them for what a crash has left. A crash leaves this
 * empty. */
static virMutex mutex = VIR_MUTEX_INITIALIZER;
static GHashTable *held;

struct _virStorageRevStaging {
    virStorageRevContext *ctx;
    char *volume;
    char *key;                /* in the table above; NULL: not there */
    virStorageRevState *state;
    int fd;
    unsigned long long generation; /* of the head that the upload began with */
    virStorageThinSight head;      /* of that, no later than the snapshot */
};


static char *
virStorageThinStagingKey(const virStorageRevContext *ctx,
                         const char *lv)
{
    return g_strdup_printf("%s/%s", ctx->vg, lv);
}


/* Is an upload to the staging LV @lv under way in this process? */
bool
virStorageThinStagingIsHeld(const virStorageRevContext *ctx,
                            const char *lv)
{
    g_autofree char *key = virStorageThinStagingKey(ctx, lv);
    bool ret = false;

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        ret = held && g_hash_table_contains(held, key);
    }
    return ret;
}


bool
virStorageThinIsUploadedTo(const virStorageRevContext *ctx,
                           const char *volume)
{
    g_autofree char *stage = virStorageThinNameFormat(VIR_STORAGE_THIN_STAGE, volume, 0, NULL);

    return virStorageThinStagingIsHeld(ctx, stage);
}


/* Returns 0, or -1 with an error while the volume is uploaded to: that has its staging LV. */
int
virStorageThinCheckNoUpload(const virStorageRevContext *ctx,
                            const char *volume)
{
    if (!virStorageThinIsUploadedTo(ctx, volume))
        return 0;
    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("volume '%1$s' is being uploaded to: wait for the end of that, or abort it"), volume);
    return -1;
}


static int
virStorageThinStagingHold(virStorageRevStaging *staging,
                          const char *lv)
{
    g_autofree char *key = virStorageThinStagingKey(staging->ctx, lv);
    bool taken = false;

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        if (!held)
            held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        if (!g_hash_table_contains(held, key))
            taken = g_hash_table_add(held, g_strdup(key));
    }
    if (!taken) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("volume '%1$s' is being uploaded to already"), staging->volume);
        return -1;
    }
    staging->key = g_steal_pointer(&key);
    return 0;
}


/* What an upload that was interrupted has left, the next refresh removes, unless this is earlier. */
static int
virStorageThinStagingMake(virStorageRevStaging *staging,
                          virStorageRevFamily *family,
                          const char *lv)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    meta.volumeHash = virStorageRevMetaHash(family->volume);
    meta.staged = true;
    if (virStorageThinNameCheckRevision(staging->ctx->vg, family->volume) < 0 ||
        virStorageThinCheckUnwritten(staging->ctx, family->head, family->volume) < 0 ||
        virStorageThinCheckRoom(staging->ctx, family->volume) < 0 ||
        virStorageThinLook(staging->ctx, family->head->file, family->volume, &staging->head) < 0 ||
        virStorageThinSnapshot(staging->ctx, family->head->file, lv, &meta, NULL, true) < 0)
        return -1;

    staging->state = virStorageThinStateNew(VIR_STORAGE_REV_HEAD, g_strdup(lv), family->head->capacity, &meta);
    staging->state->origin = g_strdup(family->head->file);
    staging->fd = virStorageThinOpen(staging->ctx, lv, O_RDWR, family->volume);
    return staging->fd < 0 ? -1 : 0;
}


/* An upload goes to a snapshot of the head, since it may change a part of it only. */
virStorageRevStaging *
virStorageThinStagingBegin(virStorageRevContext *ctx,
                           virStorageRevFamily *family)
{
    virStorageRevStaging *staging = g_new0(virStorageRevStaging, 1);
    g_autofree char *lv = virStorageThinNameFormat(VIR_STORAGE_THIN_STAGE, family->volume, 0, NULL);

    staging->fd = -1;
    staging->ctx = virStorageRevContextCopy(ctx);
    staging->volume = g_strdup(family->volume);
    staging->generation = virStorageRevMetaGeneration(&family->head->meta);

    if (virStorageThinStagingHold(staging, lv) < 0 ||
        virStorageThinStagingMake(staging, family, lv) < 0) {
        virErrorPtr err = NULL;

        virErrorPreserveLast(&err);
        virStorageThinStagingEnd(staging);
        virErrorRestore(&err);
        return NULL;
    }
    return staging;
}


int
virStorageThinStagingFd(virStorageRevStaging *staging)
{
    return staging->fd;
}


/* Is the head what the upload began with? Whoever wrote to it may have closed it again. */
static int
virStorageThinStagingCheckHead(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               virStorageRevStaging *staging)
{
    virStorageThinSight now;

    if (family->head && !family->live &&
        virStorageRevMetaGeneration(&family->head->meta) == staging->generation) {
        if (virStorageThinCheckUnwritten(ctx, family->head, family->volume) < 0 ||
            virStorageThinLook(ctx, family->head->file, family->volume, &now) < 0)
            return -1;
        if (!virStorageThinSightDiffers(&staging->head, &now, ctx->headsActive))
            return 0;
    }

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("volume '%1$s' has changed since its upload began: upload it again"), staging->volume);
    return -1;
}


int
virStorageThinStagingCommit(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            virStorageRevStaging *staging)
{
    g_auto(virStorageRevMeta) content = { 0 };

    if (fsync(staging->fd) < 0) {
        virReportSystemError(errno, _("cannot make volume '%1$s' durable"), staging->volume);
        return -1;
    }
    VIR_FORCE_CLOSE(staging->fd);

    virStorageRevMetaInit(&content);
    if (virStorageThinCheckUnused(ctx, staging->state, staging->volume) < 0 ||
        virStorageThinStagingCheckHead(ctx, family, staging) < 0 ||
        virStorageThinSwitchHead(ctx, family, staging->state, &content) < 0)
        return -1;

    g_clear_pointer(&staging->state, virStorageRevStateFree);
    return 0;
}


void
virStorageThinStagingEnd(virStorageRevStaging *staging)
{
    VIR_FORCE_CLOSE(staging->fd);
    if (staging->state) {
        /* udev may still be looking into what has just been closed */
        if (virStorageThinCheckUnused(staging->ctx, staging->state, staging->volume) == 0)
            virStorageThinUndo(staging->ctx, staging->state->file);
        virStorageRevStateFree(staging->state);
    }
    if (staging->key) {
        VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
            g_hash_table_remove(held, staging->key);
        }
    }
    virStorageRevContextFree(staging->ctx);
    g_free(staging->key);
    g_free(staging->volume);
    g_free(staging);
}


/* A live copy is read from a snapshot, which shows one moment. */
static int
virStorageThinOpenSnapshot(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           const virStorageRevState *state,
                           const char *name,
                           char **temporary)
{
    g_autofree char *lv = virStorageThinNameTemporary(family->volume);
    g_auto(virStorageRevMeta) meta = { 0 };
    int fd;

    virStorageRevMetaInit(&meta);
    meta.volumeHash = virStorageRevMetaHash(family->volume);
    meta.staged = true;
    if (virStorageThinCheckRoom(ctx, name) < 0 ||
        virStorageThinSync(ctx, state->file, name) < 0 ||
        virStorageThinSnapshot(ctx, state->file, lv, &meta, NULL, true) < 0)
        return -1;
    if ((fd = virStorageThinOpen(ctx, lv, O_RDONLY, name)) < 0)
        virStorageThinUndo(ctx, lv);
    else
        *temporary = g_steal_pointer(&lv);
    return fd;
}


/* Removes a snapshot that was made to be read; what was activated to be read is inactive again. Where somebody still has
 * it open, the next refresh that finds it closed, or the stop of the pool, does so. */
void
virStorageThinTidy(virStorageRevContext *ctx,
                   const char *temporary)
{
    g_autoptr(virStorageRevState) state = virStorageRevStateNew(VIR_STORAGE_REV_HEAD);
    const char *activated = STRSKIP(temporary, ACTIVATED);
    const char *lv = activated ? activated : temporary;
    const char *lvs[] = { lv, NULL };
    int rc;

    state->file = g_strdup(lv);
    if ((rc = virStorageThinCheckUnused(ctx, state, lv)) == 0) {
        if (activated)
            rc = virStorageThinActivate(ctx, lvs, false, lv);
        else
            rc = virStorageThinRemoveLV(ctx, lv, lv);
    }
    if (rc < 0)
        VIR_INFO("'%s' is tidied up later: %s", lv, virGetLastErrorMessage());
    virResetLastError();
}


/* Is the LV to be inactive when it has been read? That of another tool is left as it was found, by the first of those who
 * read it at the same time. */
static bool
virStorageThinIsToRest(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevState *state)
{
    VIR_AUTOCLOSE active = -1;

    if (virStorageThinIsManaged(family))
        return !ctx->headsActive;
    active = virStorageThinOpenDevice(ctx, state->file, O_RDONLY);
    return active < 0 ? errno == ENOENT : virStorageThinIsActivated(ctx, state->file);
}


/* A head and a revision stay what they are under their readers: a head that is open is replaced by renames. */
int
virStorageThinOpenForDownload(virStorageRevContext *ctx,
                              virStorageRevFamily *family,
                              const virStorageRevState *state,
                              char **temporary)
{
    g_autofree char *name = virStorageRevStateName(family, state);
    int fd;

    if (state->kind == VIR_STORAGE_REV_LIVE)
        return virStorageThinOpenSnapshot(ctx, family, state, name, temporary);

    if (virStorageThinIsToRest(ctx, family, state))
        *temporary = g_strconcat(ACTIVATED, state->file, NULL);
    fd = virStorageThinOpen(ctx, state->file, O_RDONLY, name);
    if (fd >= 0 && *temporary)
        virStorageThinMarkActivated(fd, state->file);
    return fd;
}
