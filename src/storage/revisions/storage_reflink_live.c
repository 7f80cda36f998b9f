/*
 * storage_reflink_live.c: live copies
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_reflink_volume.h"

#include "storage_reflink_content.h"
#include "storage_revision_facts.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* Fills a live copy from the own head, open as @head; @stamp is that of a precache, or NULL. */
int
virStorageReflinkLiveImage(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           int head,
                           int fd,
                           const char *stamp)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevFactsLive(family, NULL, &meta);
    meta.headStamp = g_strdup(stamp);

    if (virStorageReflinkFill(ctx, head, fd, family->volume) < 0 ||
        virStorageRevPermsCopy(head, fd, family->volume) < 0 ||
        virStorageRevMetaWriteFile(fd, &meta, family->volume) < 0)
        return -1;
    return virStorageReflinkMarkUnwritten(fd, family->volume);
}


/* Is the precache a clone of the head as it is now? */
bool
virStorageReflinkPrecacheMatches(int head,
                                 const virStorageRevState *state,
                                 int precache,
                                 const char *volume)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *stamp = NULL;
    struct stat sb;
    struct stat clone;
    bool whole;

    virStorageRevMetaInit(&meta);
    if (fstat(head, &sb) < 0 || fstat(precache, &clone) < 0 ||
        virStorageRevMetaReadFile(precache, &meta, &whole) < 0 || !whole)
        return false;

    stamp = virStorageReflinkStamp(&sb, virStorageRevMetaGeneration(&state->meta));
    return virStorageRevMetaIsOf(&meta, volume) &&
        STREQ_NULLABLE(meta.headStamp, stamp) &&
        clone.st_nlink == 1 &&
        clone.st_size == sb.st_size &&
        clone.st_uid == sb.st_uid && clone.st_gid == sb.st_gid && clone.st_mode == sb.st_mode &&
        clone.st_mtim.tv_sec == VIR_STORAGE_REV_UNWRITTEN_MTIME && clone.st_mtim.tv_nsec == 0;
}


/* Removes a precache, durably: what comes next changes the head. */
int
virStorageReflinkDropPrecache(virStorageReflinkDir *dir,
                              const char *volume)
{
    g_autofree char *file = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_PRECACHE, dir->base);

    if (unlinkat(dir->fd, file, 0) == 0)
        return virStorageReflinkDirSync(dir, volume);
    if (errno == ENOENT)
        return 0;

    virReportSystemError(errno, _("cannot remove the prepared live copy of volume '%1$s'"), volume);
    return -1;
}


/* Starts by renaming the clone that was made ahead. Returns 1 when that is done, 0 when there is none that fits, or -1
 * with an error. */
static int
virStorageReflinkStartPrecache(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               virStorageReflinkDir *dir,
                               int head)
{
    g_autofree char *precache = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_PRECACHE, dir->base);
    g_autofree char *live = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_LIVE, dir->base);
    VIR_AUTOCLOSE fd = virStorageRevOpenAt(dir->fd, precache, O_RDWR, 0);
    g_autoptr(virStorageRevState) state = NULL;

    if (fd < 0)
        return 0;
    if (!virStorageReflinkPrecacheMatches(head, family->head, fd, family->volume))
        return virStorageReflinkDropPrecache(dir, family->volume);

    state = virStorageReflinkStateOf(VIR_STORAGE_REV_LIVE, VIR_STORAGE_REFLINK_LIVE, family->volume);
    if (virStorageReflinkStateRead(ctx, fd, state) < 0)
        return 0;

    /* made before the host was started anew: say that this copy was not */
    if (state->meta.boot != virStorageRevMetaBoot()) {
        state->meta.boot = virStorageRevMetaBoot();
        if (virStorageRevMetaWriteFile(fd, &state->meta, family->volume) < 0 ||
            virStorageRevSync(fd, family->volume) < 0)
            return -1;
    }

    if (renameat2(dir->fd, precache, dir->fd, live, RENAME_NOREPLACE) < 0) {
        virReportSystemError(errno, _("cannot make the live copy of volume '%1$s'"), family->volume);
        return -1;
    }
    virStorageRevFamilyAdd(family, g_steal_pointer(&state));
    return virStorageReflinkDirSync(dir, family->volume) < 0 ? -1 : 1;
}


/* A live copy of the own head. */
static int
virStorageReflinkStartOwn(virStorageRevContext *ctx,
                          virStorageRevFamily *family,
                          virStorageReflinkDir *dir,
                          int head)
{
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    int rc = virStorageReflinkStartPrecache(ctx, family, dir, head);

    if (rc != 0)
        return MIN(rc, 0);

    if (virStorageReflinkImageCreate(&image, dir, false, family->volume) < 0 ||
        virStorageReflinkLiveImage(ctx, family, head, image.fd, NULL) < 0)
        return -1;

    return virStorageReflinkFinishNew(ctx, family, dir, &image,
                                      virStorageReflinkStateOf(VIR_STORAGE_REV_LIVE, VIR_STORAGE_REFLINK_LIVE,
                                                               family->volume));
}


/* A live copy of something else than the own head: the source of a snapshot volume, content to be committed, or, where
 * @source is NULL, nothing. */
static int
virStorageReflinkStartOther(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            virStorageReflinkDir *dir,
                            int head,
                            const virStorageRevSource *source,
                            virStorageRevMeta *meta)
{
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    g_autoptr(virStorageVolDef) blank = g_new0(virStorageVolDef, 1);

    if (virStorageReflinkImageCreate(&image, dir, source && !source->family, family->volume) < 0)
        return -1;

    if (source) {
        if (virStorageReflinkSourceFill(ctx, source, family->volume, image.fd) < 0)
            return -1;
    } else {
        if (virStorageReflinkReadState(ctx, family->head, head, family->volume) < 0)
            return -1;
        blank->name = g_strdup(family->volume);
        blank->target.format = meta->format;
        blank->target.capacity = family->head->capacity;
        if (virStorageReflinkFillBlank(image.fd, blank, 0) < 0)
            return -1;
    }

    if (virStorageRevPermsCopy(head, image.fd, family->volume) < 0 ||
        virStorageRevMetaWriteFile(image.fd, meta, family->volume) < 0)
        return -1;
    return virStorageReflinkFinishNew(ctx, family, dir, &image,
                                      virStorageReflinkStateOf(VIR_STORAGE_REV_LIVE, VIR_STORAGE_REFLINK_LIVE,
                                                               family->volume));
}


int
virStorageReflinkStart(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevSource *source)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_auto(virStorageRevMeta) meta = { 0 };
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(family);
    VIR_STORAGE_REV_AUTOUNLOCK head = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (head = virStorageReflinkOpenExcluding(&dir, family->head, VIR_STORAGE_REFLINK_EXCLUDE_WRITERS,
                                               family->volume)) < 0)
        return -1;

    if (!source && (!facts || facts->saveOnStop))
        return virStorageReflinkStartOwn(ctx, family, &dir, head);

    virStorageRevMetaInit(&meta);
    if (source)
        virStorageRevFactsLive(family, source, &meta);
    else
        virStorageRevFactsLiveBlank(family, &meta);
    return virStorageReflinkStartOther(ctx, family, &dir, head, source, &meta);
}


int
virStorageReflinkStage(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevSource *source)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_auto(virStorageRevMeta) meta = { 0 };
    VIR_AUTOCLOSE head = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (head = virStorageReflinkOpenState(&dir, family->head, O_RDONLY, family->volume)) < 0)
        return -1;

    virStorageRevMetaInit(&meta);
    virStorageRevFactsLive(family, source, &meta);
    meta.staged = true;
    return virStorageReflinkStartOther(ctx, family, &dir, head, source, &meta);
}


int
virStorageReflinkDiscard(virStorageRevContext *ctx,
                         virStorageRevFamily *family)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autofree char *name = virStorageRevStateName(family, family->live);
    VIR_STORAGE_REV_AUTOUNLOCK fd = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        virStorageReflinkOpenToRemove(&dir, family->live, name, &fd) < 0 ||
        (fd >= 0 && virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_USERS, name) < 0))
        return -1;
    return virStorageReflinkRemoveLive(ctx, family, &dir, &fd);
}
