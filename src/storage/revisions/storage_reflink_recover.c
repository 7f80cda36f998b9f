/*
 * storage_reflink_recover.c: finishing or undoing what a crash left
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>

#include "storage_reflink_scan.h"

#include "storage_reflink_content.h"
#include "storage_reflink_file.h"
#include "storage_reflink_name.h"
#include "storage_reflink_use.h"
#include "storage_reflink_volume.h"
#include "storage_revision_checks.h"
#include "storage_revision_facts.h"
#include "storage_revision_lock.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_reflink_recover");

/*
 * All of this is done with the pool locked, and the volume's lock held: a volume that somebody is working on is left
 * alone. It rolls back, or finishes removals: that is safe even while a virtual machine runs on the live copy. What
 * fails is logged, and tried again by the next refresh.
 */


static void
virStorageReflinkRecoverFailed(virStorageRevContext *ctx,
                               const char *volume)
{
    VIR_WARN("volume '%s' of pool '%s' is not cleaned up: %s", volume, ctx->poolName, virGetLastErrorMessage());
    virResetLastError();
}


/* Removes an image without a name of its own that no living process holds. */
static int
virStorageReflinkRecoverImage(virStorageReflinkDir *dir,
                              virStorageReflinkRole role,
                              const char *volume)
{
    g_autofree char *file = virStorageReflinkFileOf(role, dir->base);
    VIR_AUTOCLOSE fd = virStorageRevOpenAt(dir->fd, file, O_RDWR, 0);

    if (fd < 0 || virStorageReflinkStageLock(fd) < 0)
        return 0;
    return virStorageReflinkFileRemove(dir, file, volume);
}


static int
virStorageReflinkRecoverStage(virStorageReflinkDir *dir,
                              const char *volume)
{
    if (virStorageReflinkRecoverImage(dir, VIR_STORAGE_REFLINK_STAGE, volume) < 0)
        return -1;
    return virStorageReflinkRecoverImage(dir, VIR_STORAGE_REFLINK_NEW, volume);
}


static bool
virStorageReflinkIsSameFile(const virStorageRevState *one,
                            const virStorageRevState *other)
{
    return one->dev == other->dev && one->ino == other->ino;
}


/* A revision that is the head's inode: the switch that it was linked for never came. */
static bool
virStorageReflinkIsUnfinished(virStorageRevFamily *family,
                              const virStorageRevState *revision)
{
    const virStorageRevMeta *head = &family->head->meta;

    return revision->kind == VIR_STORAGE_REV_NUMBERED && !revision->legacy &&
        virStorageRevMetaIsOf(head, family->volume) &&
        head->nextId > 0 && revision->id >= head->nextId;
}


/* Gives a revision, linked by somebody to the head, an inode of its own: the two have to be able to differ. */
static int
virStorageReflinkUnshareRevision(virStorageRevContext *ctx,
                                 virStorageRevFamily *family,
                                 virStorageReflinkDir *dir,
                                 virStorageRevState *revision)
{
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    VIR_AUTOCLOSE fd = virStorageReflinkOpenState(dir, revision, O_RDONLY, family->volume);

    if (fd < 0 ||
        virStorageReflinkImageCreate(&image, dir, true, family->volume) < 0 ||
        virStorageReflinkFill(ctx, fd, image.fd, family->volume) < 0 ||
        virStorageRevPermsCopy(fd, image.fd, family->volume) < 0 ||
        (revision->hasMeta && virStorageRevMetaWriteFile(image.fd, &revision->meta, family->volume) < 0) ||
        virStorageRevSync(image.fd, family->volume) < 0 ||
        virStorageReflinkImageReplace(&image, dir, virStorageReflinkBaseOf(revision), family->volume) < 0)
        return -1;

    if (virStorageReflinkStateRead(ctx, image.fd, revision) < 0) {
        virReportSystemError(errno, _("cannot read the attributes of volume '%1$s'"), family->volume);
        return -1;
    }
    return virStorageReflinkDirSync(dir, family->volume);
}


static int
virStorageReflinkRecoverRevisions(virStorageRevContext *ctx,
                                  virStorageRevFamily *family,
                                  virStorageReflinkDir *dir)
{
    bool changed = false;
    size_t i = 0;

    while (family->head && i < family->revisions->len) {
        virStorageRevState *revision = g_ptr_array_index(family->revisions, i);

        if (!virStorageReflinkIsSameFile(revision, family->head)) {
            i++;
        } else if (virStorageReflinkIsUnfinished(family, revision)) {
            if (virStorageReflinkFileRemove(dir, virStorageReflinkBaseOf(revision), family->volume) < 0)
                return -1;
            VIR_INFO("undid an unfinished switch of volume '%s'", family->volume);
            g_ptr_array_remove_index(family->revisions, i);
            changed = true;
        } else {
            if (virStorageReflinkUnshareRevision(ctx, family, dir, revision) < 0)
                return -1;
            i++;
        }
    }
    return changed ? virStorageReflinkDirSync(dir, family->volume) : 0;
}


static int
virStorageReflinkRecoverPrecache(virStorageRevFamily *family,
                                 virStorageReflinkDir *dir,
                                 const char *volume)
{
    g_autofree char *file = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_PRECACHE, dir->base);
    VIR_AUTOCLOSE precache = virStorageRevOpenAt(dir->fd, file, O_RDONLY, 0);
    VIR_AUTOCLOSE head = -1;
    g_auto(virStorageRevMeta) meta = { 0 };
    bool whole;

    if (precache < 0)
        return 0;

    if (family && family->head &&
        (head = virStorageReflinkOpenState(dir, family->head, O_RDONLY, volume)) >= 0 &&
        virStorageReflinkPrecacheMatches(head, family->head, precache, volume))
        return 0;

    /* Qubes makes them too: one that is not ours goes when the head changes, as it is there for. */
    virStorageRevMetaInit(&meta);
    if (virStorageRevMetaReadFile(precache, &meta, &whole) < 0 || !whole)
        return 0;
    return virStorageReflinkDropPrecache(dir, volume);
}


/* A live copy of an earlier boot, of a volume that starts afresh every time, is of no use to anybody. One without our
 * mark may be all that there is of somebody's data. */
static int
virStorageReflinkRecoverLive(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             virStorageReflinkDir *dir)
{
    VIR_STORAGE_REV_AUTOUNLOCK fd = -1;
    bool used;

    if (!virStorageRevFactsLiveIsOfEarlierBoot(family))
        return 0;

    if ((fd = virStorageReflinkOpenState(dir, family->live, O_RDWR, family->volume)) < 0 ||
        virStorageReflinkExcludeTry(fd, VIR_STORAGE_REFLINK_EXCLUDE_USERS, &used) < 0)
        return -1;
    virStorageRevUnlockAndClose(&fd);
    return used ? 0 : virStorageReflinkDiscard(ctx, family);
}


/* Is there anything to look at that needs the directory? Nearly always there is not, and a refresh is cheap. */
static bool
virStorageReflinkNeedsRecovery(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               bool poolStart)
{
    size_t i;

    if (virStorageRevPruneLeft(ctx, family) > 0 || (poolStart && family->live))
        return true;

    for (i = 0; family->head && i < family->revisions->len; i++) {
        if (virStorageReflinkIsSameFile(g_ptr_array_index(family->revisions, i), family->head))
            return true;
    }
    return false;
}


static void
virStorageReflinkRecoverFamily(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               bool poolStart)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autoptr(virStorageRevLocks) locks = NULL;
    size_t left;

    if (!virStorageReflinkNeedsRecovery(ctx, family, poolStart) ||
        !(locks = virStorageRevLocksTry(ctx->uuid, family->volume)))
        return;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        virStorageReflinkRecoverRevisions(ctx, family, &dir) < 0 ||
        (poolStart && virStorageReflinkRecoverLive(ctx, family, &dir) < 0) ||
        ((left = virStorageRevPruneLeft(ctx, family)) > 0 &&
         virStorageReflinkPrune(ctx, family, left) < 0))
        virStorageReflinkRecoverFailed(ctx, family->volume);

    /* whatever has been changed, it is not what the pool knows */
    if (family->head)
        family->head->reused = false;
}


/* Staging and precaches are no states of a volume: what a crash left of them is found by their files. */
static void
virStorageReflinkRecoverLeftover(virStorageRevContext *ctx,
                                 virStorageReflinkScan *scan,
                                 const char *volume,
                                 bool stage)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autoptr(virStorageRevLocks) locks = virStorageRevLocksTry(ctx->uuid, volume);
    virStorageRevFamily *family = g_hash_table_lookup(scan->families, volume);

    if (!locks)
        return;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, volume, false) < 0 ||
        (stage ? virStorageReflinkRecoverStage(&dir, volume) :
         virStorageReflinkRecoverPrecache(family, &dir, volume)) < 0)
        virStorageReflinkRecoverFailed(ctx, volume);
    else if (!family)
        virStorageReflinkDirPrune(ctx->poolPath, volume);
}


/**
 * virStorageReflinkRecover:
 * @ctx: pool, which is locked
 * @scan: what lies in its directory; brought in line with what is changed
 * @poolStart: whether the pool is being started, and not just refreshed
 */
void
virStorageReflinkRecover(virStorageRevContext *ctx,
                         virStorageReflinkScan *scan,
                         bool poolStart)
{
    GHashTableIter iter;
    void *family;
    size_t i;

    for (i = 0; i < scan->staged->len; i++)
        virStorageReflinkRecoverLeftover(ctx, scan, g_ptr_array_index(scan->staged, i), true);

    g_hash_table_iter_init(&iter, scan->families);
    while (g_hash_table_iter_next(&iter, NULL, &family))
        virStorageReflinkRecoverFamily(ctx, family, poolStart);

    for (i = 0; i < scan->precached->len; i++)
        virStorageReflinkRecoverLeftover(ctx, scan, g_ptr_array_index(scan->precached, i), false);
}
