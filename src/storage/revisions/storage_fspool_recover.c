/*
 * storage_fspool_recover.c: finishing or undoing what a crash left
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>

#include "storage_fspool_scan.h"

#include "storage_fspool_folder.h"
#include "storage_fspool_replace.h"
#include "storage_fspool_subvolume.h"
#include "storage_fspool_volume.h"
#include "storage_revision_checks.h"
#include "storage_revision_lock.h"
#include "storage_revision_worker.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_recover");

/*
 * All of this is done with the pool locked, and the volume's lock held: a volume that somebody is working on is left
 * alone. What takes long is only renamed here. What fails is logged, and tried again by the next refresh.
 */


static void
virStorageFspoolRecoverFailed(virStorageFspoolPool *pool,
                              const char *volume)
{
    VIR_WARN("volume '%s' of pool '%s' is not cleaned up: %s", volume, pool->ctx->poolName, virGetLastErrorMessage());
    virResetLastError();
}


/* Removes staging that no living process holds. */
static void
virStorageFspoolRecoverStage(virStorageFspoolPool *pool,
                             virStorageFspoolScan *scan,
                             const char *entry)
{
    g_autofree char *volume = virStorageFspoolNameDecode(entry);
    virStorageFspoolPlace place = { .dirfd = pool->root.staging, .entry = (char *) entry };
    g_autoptr(virStorageRevLocks) locks = NULL;
    g_autofree char *trashed = NULL;
    bool held;

    if (!(locks = virStorageRevLocksTry(pool->ctx->uuid, volume ? volume : "")))
        return;
    if (virStorageFspoolStageIsHeld(&pool->root, entry, &held) < 0 || held)
        return;
    if (virStorageFspoolTrash(&pool->root, &place, volume ? volume : entry, &trashed) < 0)
        virStorageFspoolRecoverFailed(pool, volume ? volume : entry);
    else
        scan->hasTrash = true;
}


/* Removes what was about to be switched to. */
static void
virStorageFspoolRecoverUnfinished(virStorageFspoolPool *pool,
                                  const char *entry)
{
    g_autofree char *volume = virStorageFspoolNameDecode(entry);
    virStorageFspoolPlace place = { .dirfd = pool->root.revisions, .entry = (char *) entry };
    g_autoptr(virStorageRevLocks) locks = virStorageRevLocksTry(pool->ctx->uuid, volume);
    int rc;

    if (!locks)
        return;
    if ((rc = virStorageFspoolUndoPending(pool, &place, volume)) < 0)
        virStorageFspoolRecoverFailed(pool, volume);
    else if (rc > 0)
        VIR_INFO("undid an unfinished switch of volume '%s'", volume);
}


/* A revision that was read anew may not be frozen yet: the daemon ended before. */
static int
virStorageFspoolRecoverRevision(virStorageFspoolPool *pool,
                                virStorageRevFamily *family,
                                const virStorageRevState *state)
{
    g_auto(virStorageFspoolPlace) place = VIR_STORAGE_FSPOOL_PLACE_INIT;
    g_autofree char *name = virStorageRevStateName(family, state);

    if (virStorageFspoolPlaceOfState(&place, &pool->root, state, name) < 0)
        return -1;
    return virStorageFspoolItemFreeze(pool, &place, state->quotaShared, name);
}


static bool
virStorageFspoolIsFrozen(virStorageFspoolPool *pool,
                         const virStorageRevState *state)
{
    VIR_AUTOCLOSE fd = -1;

    if (!state->quotaShared && (state->capacity > 0 || state->filesMax > 0))
        return false;
    if (state->reused || !virStorageFspoolIsBtrfs(pool->root.fd))
        return true;
    fd = virStorageRevOpenAt(pool->root.fd, state->file, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 || !virStorageFspoolIsSubvolume(fd) || virStorageFspoolSubvolumeIsReadonly(fd);
}


static int
virStorageFspoolRecoverRevisions(virStorageFspoolPool *pool,
                                 virStorageRevFamily *family)
{
    size_t i;

    for (i = 0; i < family->revisions->len; i++) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (virStorageFspoolIsFrozen(pool, state))
            continue;
        if (virStorageFspoolRecoverRevision(pool, family, state) < 0)
            return -1;
        state->capacity = 0;
        state->filesMax = 0;
    }
    return 0;
}


static bool
virStorageFspoolNeedsRecovery(virStorageFspoolPool *pool,
                              virStorageRevFamily *family)
{
    size_t i;

    if (virStorageRevPruneLeft(pool->ctx, family) > 0 ||
        (family->head && (family->head->meta.pending || family->head->meta.leaving)))
        return true;
    for (i = 0; i < family->revisions->len; i++) {
        const virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (state->meta.leaving || !virStorageFspoolIsFrozen(pool, state))
            return true;
    }
    return false;
}


static void
virStorageFspoolRecoverFamily(virStorageFspoolPool *pool,
                              virStorageRevFamily *family)
{
    g_autoptr(virStorageRevLocks) locks = NULL;
    size_t left;

    if (!virStorageFspoolNeedsRecovery(pool, family) ||
        !(locks = virStorageRevLocksTry(pool->ctx->uuid, family->volume)))
        return;

    if (virStorageFspoolReplaceRecover(pool, family) < 0 ||
        virStorageFspoolSettleHead(pool, family) < 0 ||
        virStorageFspoolRecoverRevisions(pool, family) < 0 ||
        ((left = virStorageRevPruneLeft(pool->ctx, family)) > 0 &&
         virStorageFspoolPrune(pool->ctx, family, left) < 0))
        virStorageFspoolRecoverFailed(pool, family->volume);

    /* whatever has been changed, it is not what the pool knows */
    if (family->head)
        family->head->reused = false;
}


/* Removes folders that a crash, or somebody else, has left without a volume: they would keep their names taken. Who is
 * putting a volume there just now makes them anew. */
static void
virStorageFspoolRecoverFolder(virStorageFspoolPool *pool,
                              const char *folder)
{
    g_autofree char *inside = g_strconcat(folder, "/", NULL);

    virStorageFspoolFoldersPrune(&pool->root, inside);
}


/**
 * virStorageFspoolRecover:
 * @pool: pool, which is locked
 * @scan: what lies in it; brought in line with what is changed
 */
void
virStorageFspoolRecover(virStorageFspoolPool *pool,
                        virStorageFspoolScan *scan)
{
    GHashTableIter iter;
    void *family;
    size_t i;

    for (i = 0; i < scan->staged->len; i++)
        virStorageFspoolRecoverStage(pool, scan, g_ptr_array_index(scan->staged, i));
    for (i = 0; i < scan->unfinished->len; i++)
        virStorageFspoolRecoverUnfinished(pool, g_ptr_array_index(scan->unfinished, i));

    g_hash_table_iter_init(&iter, scan->families);
    while (g_hash_table_iter_next(&iter, NULL, &family))
        virStorageFspoolRecoverFamily(pool, family);
    for (i = 0; i < scan->folders->len; i++)
        virStorageFspoolRecoverFolder(pool, g_ptr_array_index(scan->folders, i));

    if (scan->hasTrash)
        virStorageRevWorkerTidy(pool->ctx->uuid, "");
}
