/*
 * storage_reflink_volume.c: making, resizing and removing the images of a volume
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
#include "storage_reflink_extents.h"
#include "storage_reflink_use.h"
#include "storage_revision_worker.h"
#include "viralloc.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_reflink_volume");


/* Returns the path of a file that a volume can have one of only. */
char *
virStorageReflinkFileOf(virStorageReflinkRole role,
                        const char *volume)
{
    return virStorageReflinkNameFormat(role, volume, 0, 0, NULL);
}


/* Returns a file descriptor of the file of @state, in the directory of its volume, or -1 with an error. */
int
virStorageReflinkOpenState(virStorageReflinkDir *dir,
                           const virStorageRevState *state,
                           int flags,
                           const char *volume)
{
    const char *slash = strrchr(state->file, '/');

    return virStorageReflinkFileOpen(dir, slash ? slash + 1 : state->file, flags, volume);
}


/* Reads a file that has just got its name, and puts @state, which it takes over, into the family. */
int
virStorageReflinkPublish(virStorageRevContext *ctx,
                         virStorageRevFamily *family,
                         virStorageRevState *state,
                         int fd)
{
    g_autoptr(virStorageRevState) owned = state;

    if (virStorageReflinkStateRead(fd, owned, ctx->allocationIsCapacity) < 0) {
        virReportSystemError(errno, _("cannot read the attributes of volume '%1$s'"), family->volume);
        return -1;
    }
    virStorageRevFamilyAdd(family, g_steal_pointer(&owned));
    virStorageRevFamilySort(family);
    return 0;
}


static virStorageRevState *
virStorageReflinkStateOf(virStorageRevKind kind,
                         virStorageReflinkRole role,
                         const char *volume)
{
    virStorageRevState *state = virStorageRevStateNew(kind);

    state->file = virStorageReflinkFileOf(role, volume);
    return state;
}


/* Makes image, name and directory durable, in that order, and puts the new state into the family. */
static int
virStorageReflinkFinishNew(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           virStorageReflinkDir *dir,
                           virStorageReflinkImage *image,
                           virStorageRevState *state)
{
    g_autoptr(virStorageRevState) owned = state;
    const char *slash = strrchr(owned->file, '/');

    if (virStorageReflinkSync(image->fd, family->volume) < 0 ||
        virStorageReflinkImageInstall(image, dir, slash ? slash + 1 : owned->file, family->volume) < 0)
        return -1;

    if (virStorageReflinkPublish(ctx, family, g_steal_pointer(&owned), image->fd) < 0)
        return -1;
    return virStorageReflinkDirSync(dir, family->volume);
}


/* The metadata of a new volume's head; only what @def says is not the default. */
static void
virStorageReflinkNewHeadMeta(virStorageVolDef *def,
                             const char *volume,
                             virStorageRevMeta *meta)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);

    meta->generation = 1;
    meta->created = g_get_real_time() / G_USEC_PER_SEC;
    meta->volumeHash = virStorageRevMetaHash(volume);
    meta->nextId = 1;
    if (vol->hasLifecycle) {
        meta->snapOnStart = vol->snapOnStart;
        meta->saveOnStop = vol->saveOnStop;
        meta->source = g_strdup(vol->source);
    }
    meta->keep = vol->keep;
}


static int
virStorageReflinkFillBlank(int fd,
                           virStorageVolDef *def,
                           unsigned int flags)
{
    if (def->target.format == VIR_STORAGE_FILE_QCOW2)
        return virStorageReflinkQcow2Create(fd, def, flags);

    if (def->target.format != VIR_STORAGE_FILE_RAW || def->target.encryption) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' can have the formats raw and qcow2, unencrypted"), def->name);
        return -1;
    }
    return virStorageReflinkSetCapacity(fd, VIR_STORAGE_FILE_RAW, def->target.capacity, def->name);
}


int
virStorageReflinkCreate(virStorageRevContext *ctx,
                        virStorageRevFamily *family,
                        virStorageVolDef *def,
                        unsigned int flags)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    g_auto(virStorageRevMeta) meta = { 0 };

    if (!virStorageRevVolGet(def)->hasCapacity && !def->target.backingStore) {
        virReportError(VIR_ERR_XML_ERROR, _("missing capacity element of volume '%1$s'"), def->name);
        return -1;
    }

    virStorageRevMetaInit(&meta);
    meta.format = def->target.format;
    virStorageReflinkNewHeadMeta(def, family->volume, &meta);

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, true) < 0 ||
        virStorageReflinkImageCreate(&image, &dir, false, family->volume) < 0 ||
        virStorageReflinkFillBlank(image.fd, def, flags) < 0)
        return -1;

    if (def->target.has_allocation &&
        virStorageReflinkAllocate(image.fd, MIN(def->target.allocation, def->target.capacity), def->name) < 0)
        return -1;

    if (virStorageReflinkPermsSet(image.fd, def->target.perms, def->name) < 0 ||
        virStorageReflinkMetaWrite(image.fd, &meta, def->name) < 0)
        return -1;

    return virStorageReflinkFinishNew(ctx, family, &dir, &image,
                                      virStorageReflinkStateOf(VIR_STORAGE_REV_HEAD, VIR_STORAGE_REFLINK_HEAD,
                                                               family->volume));
}


/* Opens what a clone or copy reads. Where nothing can be cloned, a copy of an image that is being written to would be
 * torn, so that it is refused. */
static int
virStorageReflinkSourceOpen(virStorageRevContext *ctx,
                            const virStorageRevSource *source)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    VIR_AUTOCLOSE fd = -1;
    struct stat sb;
    int ret;

    if (source->family) {
        if (virStorageReflinkDirOpen(&dir, ctx->poolPath, source->family->volume, false) < 0)
            return -1;
        fd = virStorageReflinkOpenState(&dir, source->state, ctx->cloneRequired ? O_RDONLY : O_RDWR, source->name);
        if (fd < 0 ||
            (!ctx->cloneRequired &&
             virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_WRITERS, source->name) < 0))
            return -1;
    } else {
        fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &sb) < 0) {
            virReportSystemError(errno, _("cannot open volume '%1$s'"), source->name);
            return -1;
        }
        if (!S_ISREG(sb.st_mode) && !S_ISBLK(sb.st_mode)) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("volume '%1$s' is neither a file nor a block device"), source->name);
            return -1;
        }
    }

    ret = fd;
    fd = -1;
    return ret;
}


static int
virStorageReflinkSourceFormat(const virStorageRevSource *source)
{
    return source->family ? source->state->meta.format : source->format;
}


/* Another pool's volume is a copy by whatever means are quickest: within one file system that is a clone. */
static int
virStorageReflinkSourceFill(virStorageRevContext *ctx,
                            const virStorageRevSource *source,
                            int fd)
{
    VIR_AUTOCLOSE from = virStorageReflinkSourceOpen(ctx, source);
    virStorageRevContext anyMeans = *ctx;

    if (!source->family)
        anyMeans.cloneRequired = false;
    return from < 0 ? -1 : virStorageReflinkFill(&anyMeans, from, fd, source->name);
}


int
virStorageReflinkClone(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevSource *source,
                       virStorageVolDef *def)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    g_auto(virStorageRevMeta) meta = { 0 };
    unsigned long long capacity = source->family ? source->state->capacity : source->capacity;

    virStorageRevMetaInit(&meta);
    meta.format = virStorageReflinkSourceFormat(source);
    virStorageReflinkNewHeadMeta(def, family->volume, &meta);
    if (source->family)
        virStorageRevMetaSetOrigin(&meta, source->family->volume, &source->state->meta);

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, true) < 0 ||
        virStorageReflinkImageCreate(&image, &dir, !source->family, family->volume) < 0 ||
        virStorageReflinkSourceFill(ctx, source, image.fd) < 0)
        return -1;

    if (def->target.capacity > capacity &&
        virStorageReflinkSetCapacity(image.fd, meta.format, def->target.capacity, def->name) < 0)
        return -1;

    if (virStorageReflinkPermsSet(image.fd, def->target.perms, def->name) < 0 ||
        virStorageReflinkMetaWrite(image.fd, &meta, def->name) < 0)
        return -1;

    return virStorageReflinkFinishNew(ctx, family, &dir, &image,
                                      virStorageReflinkStateOf(VIR_STORAGE_REV_HEAD, VIR_STORAGE_REFLINK_HEAD,
                                                               family->volume));
}


/* The marks of a live copy that is a clone of the family's own head. */
void
virStorageReflinkLiveMeta(virStorageRevFamily *family,
                          virStorageRevMeta *meta)
{
    virStorageRevMetaCopy(meta, &family->head->meta);
    virStorageRevMetaDropVolumeFacts(meta);
    meta->volumeHash = virStorageRevMetaHash(family->volume);
    meta->base = virStorageRevMetaGeneration(&family->head->meta);
    meta->boot = virStorageRevMetaBoot();
}


/* Fills a live copy from the own head, open as @head, up to being durable; @stamp is that of a precache, or NULL. */
int
virStorageReflinkLiveImage(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           int head,
                           int fd,
                           const char *stamp)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageReflinkLiveMeta(family, &meta);
    meta.headStamp = g_strdup(stamp);

    if (virStorageReflinkFill(ctx, head, fd, family->volume) < 0 ||
        virStorageReflinkPermsCopy(head, fd, family->volume) < 0 ||
        virStorageReflinkMetaWrite(fd, &meta, family->volume) < 0 ||
        virStorageReflinkMarkUnwritten(fd, family->volume) < 0)
        return -1;
    return virStorageReflinkSync(fd, family->volume);
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
        virStorageReflinkMetaRead(precache, &meta, &whole) < 0 || !whole)
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
    VIR_AUTOCLOSE fd = virStorageReflinkOpenAt(dir->fd, precache, O_RDWR, 0);
    g_autoptr(virStorageRevState) state = NULL;

    if (fd < 0)
        return 0;
    if (!virStorageReflinkPrecacheMatches(head, family->head, fd, family->volume))
        return virStorageReflinkDropPrecache(dir, family->volume);

    state = virStorageReflinkStateOf(VIR_STORAGE_REV_LIVE, VIR_STORAGE_REFLINK_LIVE, family->volume);
    if (virStorageReflinkStateRead(fd, state, ctx->allocationIsCapacity) < 0)
        return 0;

    /* made before the host was started anew: say that this copy was not */
    if (state->meta.boot != virStorageRevMetaBoot()) {
        state->meta.boot = virStorageRevMetaBoot();
        if (virStorageReflinkMetaWrite(fd, &state->meta, family->volume) < 0 ||
            virStorageReflinkSync(fd, family->volume) < 0)
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

    /* LiveImage has made it durable already, and a second sync finds nothing to do */
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

    meta->volumeHash = virStorageRevMetaHash(family->volume);
    meta->boot = virStorageRevMetaBoot();
    if (source && source->family)
        virStorageRevMetaSetOrigin(meta, source->family->volume, &source->state->meta);

    if (virStorageReflinkImageCreate(&image, dir, source && !source->family, family->volume) < 0)
        return -1;

    if (source) {
        if (virStorageReflinkSourceFill(ctx, source, image.fd) < 0)
            return -1;
    } else {
        blank->name = g_strdup(family->volume);
        blank->target.format = meta->format;
        blank->target.capacity = family->head->capacity;
        if (virStorageReflinkFillBlank(image.fd, blank, 0) < 0)
            return -1;
    }

    if (virStorageReflinkPermsCopy(head, image.fd, family->volume) < 0 ||
        virStorageReflinkMetaWrite(image.fd, meta, family->volume) < 0)
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
    VIR_AUTOCLOSE head = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (head = virStorageReflinkOpenState(&dir, family->head, O_RDWR, family->volume)) < 0 ||
        virStorageReflinkExcludeUse(head, VIR_STORAGE_REFLINK_EXCLUDE_WRITERS, family->volume) < 0)
        return -1;

    virStorageRevMetaInit(&meta);
    if (source) {
        meta.format = virStorageReflinkSourceFormat(source);
        return virStorageReflinkStartOther(ctx, family, &dir, head, source, &meta);
    }
    if (facts && !facts->saveOnStop) {
        meta.format = family->head->meta.format;
        return virStorageReflinkStartOther(ctx, family, &dir, head, NULL, &meta);
    }
    return virStorageReflinkStartOwn(ctx, family, &dir, head);
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
    meta.format = virStorageReflinkSourceFormat(source);
    meta.staged = true;
    return virStorageReflinkStartOther(ctx, family, &dir, head, source, &meta);
}


/* Closes a removed image, which frees its extents: where there are many the worker does that. */
void
virStorageReflinkLetGo(virStorageRevContext *ctx,
                       int *fd)
{
    if (*fd >= 0 && virStorageReflinkHasFewExtents(*fd))
        VIR_FORCE_CLOSE(*fd);
    else
        virStorageRevWorkerClose(fd, ctx);
}


/* Removes the file of a state that nobody may use. */
static int
virStorageReflinkRemoveState(virStorageRevContext *ctx,
                             virStorageReflinkDir *dir,
                             const virStorageRevState *state,
                             const char *name)
{
    const char *slash = strrchr(state->file, '/');
    VIR_AUTOCLOSE fd = virStorageReflinkOpenState(dir, state, O_RDWR, name);

    if (fd < 0 ||
        virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_USERS, name) < 0 ||
        virStorageReflinkFileRemove(dir, slash ? slash + 1 : state->file, name) < 0)
        return -1;
    virStorageReflinkLetGo(ctx, &fd);
    return 0;
}


int
virStorageReflinkDiscard(virStorageRevContext *ctx,
                         virStorageRevFamily *family)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autofree char *name = virStorageRevStateName(family, family->live);

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        virStorageReflinkRemoveState(ctx, &dir, family->live, name) < 0)
        return -1;

    g_clear_pointer(&family->live, virStorageRevStateFree);
    return virStorageReflinkDirSync(&dir, family->volume);
}


int
virStorageReflinkPin(virStorageRevContext *ctx,
                     virStorageRevFamily *family,
                     const char *word)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    g_auto(virStorageRevMeta) meta = { 0 };
    VIR_AUTOCLOSE head = -1;
    virStorageRevState *state;

    /* a clone, never a link: a virtual machine may write to a head directly */
    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (head = virStorageReflinkOpenState(&dir, family->head, ctx->cloneRequired ? O_RDONLY : O_RDWR, family->volume)) < 0 ||
        (!ctx->cloneRequired &&
         virStorageReflinkExcludeUse(head, VIR_STORAGE_REFLINK_EXCLUDE_WRITERS, family->volume) < 0))
        return -1;

    virStorageRevMetaInit(&meta);
    virStorageRevMetaCopy(&meta, &family->head->meta);

    if (virStorageReflinkImageCreate(&image, &dir, false, family->volume) < 0 ||
        virStorageReflinkFill(ctx, head, image.fd, family->volume) < 0 ||
        virStorageReflinkPermsCopy(head, image.fd, family->volume) < 0 ||
        virStorageReflinkMetaWrite(image.fd, &meta, family->volume) < 0)
        return -1;

    state = virStorageRevStateNew(VIR_STORAGE_REV_PINNED);
    state->word = g_strdup(word);
    state->file = virStorageReflinkNameFormat(VIR_STORAGE_REFLINK_PINNED, family->volume, 0, 0, word);
    return virStorageReflinkFinishNew(ctx, family, &dir, &image, state);
}


/**
 * virStorageReflinkUnshareHead:
 *
 * Gives the head an inode of its own before it is changed in place: Qubes' snapshot volumes are hard links to their
 * template's image, and anybody can make such links.
 */
int
virStorageReflinkUnshareHead(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             virStorageReflinkDir *dir)
{
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    g_autofree char *file = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_HEAD, dir->base);
    VIR_AUTOCLOSE head = virStorageReflinkFileOpen(dir, file, O_RDONLY, family->volume);
    g_autoptr(virStorageRevState) state = NULL;
    struct stat sb;

    if (head < 0 || fstat(head, &sb) < 0)
        return -1;
    if (sb.st_nlink == 1)
        return 0;

    if (virStorageReflinkDropPrecache(dir, family->volume) < 0 ||
        virStorageReflinkImageCreate(&image, dir, true, family->volume) < 0 ||
        virStorageReflinkFill(ctx, head, image.fd, family->volume) < 0 ||
        virStorageReflinkPermsCopy(head, image.fd, family->volume) < 0 ||
        (family->head->hasMeta &&
         virStorageReflinkMetaWrite(image.fd, &family->head->meta, family->volume) < 0) ||
        virStorageReflinkSync(image.fd, family->volume) < 0 ||
        virStorageReflinkImageReplace(&image, dir, file, family->volume) < 0 ||
        virStorageReflinkDirSync(dir, family->volume) < 0)
        return -1;

    state = virStorageReflinkStateOf(VIR_STORAGE_REV_HEAD, VIR_STORAGE_REFLINK_HEAD, family->volume);
    return virStorageReflinkPublish(ctx, family, g_steal_pointer(&state), image.fd);
}


/* Writes what has changed of the head's metadata, in place, and reads the head anew. */
static int
virStorageReflinkRewriteHeadMeta(virStorageRevContext *ctx,
                                 virStorageRevFamily *family,
                                 int head,
                                 const virStorageRevMeta *meta)
{
    if (virStorageReflinkMetaWrite(head, meta, family->volume) < 0 ||
        virStorageReflinkSync(head, family->volume) < 0)
        return -1;
    return virStorageReflinkPublish(ctx, family,
                                    virStorageReflinkStateOf(VIR_STORAGE_REV_HEAD, VIR_STORAGE_REFLINK_HEAD,
                                                             family->volume),
                                    head);
}


int
virStorageReflinkRedefine(virStorageRevContext *ctx,
                          virStorageRevFamily *family,
                          const virStorageRevMeta *facts)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_auto(virStorageRevMeta) meta = { 0 };
    VIR_AUTOCLOSE head = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        virStorageReflinkUnshareHead(ctx, family, &dir) < 0 ||
        (head = virStorageReflinkOpenState(&dir, family->head, O_RDWR, family->volume)) < 0)
        return -1;

    virStorageRevMetaInit(&meta);
    virStorageRevMetaCopy(&meta, &family->head->meta);
    virStorageRevMetaCopyVolumeFacts(&meta, facts);
    if (!meta.volumeHash)
        meta.volumeHash = virStorageRevMetaHash(family->volume);
    meta.nextId = virStorageRevFamilyNextId(family);
    if (!meta.generation)
        meta.generation = 1;

    return virStorageReflinkRewriteHeadMeta(ctx, family, head, &meta);
}


/* Replaces an image by a clone of it that has the new size: what a qcow2 image needs, whose header and tables cannot be
 * changed at once. */
static int
virStorageReflinkResizeCopy(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            virStorageReflinkDir *dir,
                            virStorageRevState *state,
                            int fd,
                            unsigned long long capacity)
{
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    const char *slash = strrchr(state->file, '/');
    g_autoptr(virStorageRevState) after = virStorageRevStateCopy(state);

    if (virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_USERS, family->volume) < 0 ||
        virStorageReflinkImageCreate(&image, dir, true, family->volume) < 0 ||
        virStorageReflinkFill(ctx, fd, image.fd, family->volume) < 0 ||
        virStorageReflinkSetCapacity(image.fd, state->meta.format, capacity, family->volume) < 0 ||
        virStorageReflinkPermsCopy(fd, image.fd, family->volume) < 0)
        return -1;

    if (state->kind == VIR_STORAGE_REV_HEAD)
        after->meta.generation = virStorageRevMetaGeneration(&state->meta) + 1;
    if (virStorageReflinkMetaWrite(image.fd, &after->meta, family->volume) < 0 ||
        virStorageReflinkSync(image.fd, family->volume) < 0 ||
        virStorageReflinkImageReplace(&image, dir, slash ? slash + 1 : state->file, family->volume) < 0 ||
        virStorageReflinkDirSync(dir, family->volume) < 0)
        return -1;
    return virStorageReflinkPublish(ctx, family, g_steal_pointer(&after), image.fd);
}


/* The generation goes ahead of the content: one that is too high makes a copy look outdated, one that is too low would
 * make it look up to date. */
static int
virStorageReflinkResizeInPlace(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               virStorageRevState *state,
                               int fd,
                               unsigned long long capacity)
{
    g_autoptr(virStorageRevState) after = virStorageRevStateCopy(state);

    if (state->kind == VIR_STORAGE_REV_HEAD) {
        after->meta.generation = virStorageRevMetaGeneration(&state->meta) + 1;
        if (!after->meta.volumeHash)
            after->meta.volumeHash = virStorageRevMetaHash(family->volume);
        if (virStorageReflinkMetaWrite(fd, &after->meta, family->volume) < 0)
            return -1;
    }
    if (virStorageReflinkSetCapacity(fd, VIR_STORAGE_FILE_RAW, capacity, family->volume) < 0 ||
        virStorageReflinkSync(fd, family->volume) < 0)
        return -1;

    virStorageReflinkLoopsResize(fd);
    return virStorageReflinkPublish(ctx, family, g_steal_pointer(&after), fd);
}


int
virStorageReflinkResize(virStorageRevContext *ctx,
                        virStorageRevFamily *family,
                        virStorageRevKind kind,
                        unsigned long long capacity,
                        unsigned int flags)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    virStorageRevState *state;
    VIR_AUTOCLOSE fd = -1;
    bool shrink;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (kind == VIR_STORAGE_REV_HEAD &&
         (virStorageReflinkUnshareHead(ctx, family, &dir) < 0 ||
          virStorageReflinkDropPrecache(&dir, family->volume) < 0)))
        return -1;

    state = kind == VIR_STORAGE_REV_HEAD ? family->head : family->live;
    shrink = capacity < state->capacity;
    if ((fd = virStorageReflinkOpenState(&dir, state, O_RDWR, family->volume)) < 0)
        return -1;

    /* A live copy may grow under its machine, which is told; anything else would take the ground from under it. */
    if ((kind == VIR_STORAGE_REV_HEAD || shrink) &&
        virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_WRITERS, family->volume) < 0)
        return -1;

    if (flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE && state->meta.format == VIR_STORAGE_FILE_RAW &&
        virStorageReflinkAllocate(fd, capacity, family->volume) < 0)
        return -1;

    if (state->meta.format != VIR_STORAGE_FILE_RAW)
        return virStorageReflinkResizeCopy(ctx, family, &dir, state, fd, capacity);
    return virStorageReflinkResizeInPlace(ctx, family, state, fd, capacity);
}


/* Can every file of the volume be removed? Asked before the first is; the answer holds as long as @fds are open. */
static int
virStorageReflinkExcludeAll(virStorageRevFamily *family,
                            virStorageReflinkDir *dir,
                            GArray *fds)
{
    size_t i;

    for (i = 0; i <= family->revisions->len; i++) {
        virStorageRevState *state = i < family->revisions->len ? g_ptr_array_index(family->revisions, i) : family->head;
        g_autofree char *name = virStorageRevStateName(family, state);
        int fd = virStorageReflinkOpenState(dir, state, O_RDWR, name);

        if (fd < 0)
            return -1;
        g_array_append_val(fds, fd);
        if (virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_USERS, name) < 0)
            return -1;
        if (state->inUse) {
            virReportError(VIR_ERR_OPERATION_INVALID, _("volume '%1$s' is still in use."), name);
            return -1;
        }
    }
    return 0;
}


/* Removes precache, revisions and head, the head last: whenever it is interrupted, what is left is a volume. */
static int
virStorageReflinkDeleteFiles(virStorageRevFamily *family,
                             virStorageReflinkDir *dir)
{
    if (virStorageReflinkDropPrecache(dir, family->volume) < 0)
        return -1;

    while (family->revisions->len > 0) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, 0);
        const char *slash = strrchr(state->file, '/');

        if (virStorageReflinkFileRemove(dir, slash ? slash + 1 : state->file, family->volume) < 0)
            return -1;
        g_ptr_array_remove_index(family->revisions, 0);
    }
    if (virStorageReflinkDirSync(dir, family->volume) < 0)
        return -1;

    if (virStorageReflinkFileRemove(dir, strrchr(family->head->file, '/') ?
                                    strrchr(family->head->file, '/') + 1 : family->head->file,
                                    family->volume) < 0)
        return -1;
    g_clear_pointer(&family->head, virStorageRevStateFree);
    return virStorageReflinkDirSync(dir, family->volume);
}


int
virStorageReflinkDeleteVolume(virStorageRevContext *ctx,
                              virStorageRevFamily *family)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autoptr(GArray) fds = g_array_new(false, false, sizeof(int));
    int ret = -1;
    size_t i;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0)
        return -1;

    if (virStorageReflinkStageClear(&dir, family->volume) == 0 &&
        virStorageReflinkExcludeAll(family, &dir, fds) == 0)
        ret = virStorageReflinkDeleteFiles(family, &dir);

    for (i = 0; i < fds->len; i++) {
        int fd = g_array_index(fds, int, i);

        if (ret == 0)
            virStorageReflinkLetGo(ctx, &fd);
        VIR_FORCE_CLOSE(fd);
    }
    if (ret == 0)
        virStorageReflinkDirPrune(ctx->poolPath, family->volume);
    return ret;
}


/* Ids are never used again: before the highest goes, the head remembers it. */
static int
virStorageReflinkRememberNextId(virStorageRevContext *ctx,
                                virStorageRevFamily *family,
                                virStorageReflinkDir *dir,
                                const virStorageRevState *revision)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    if (!family->head || revision->kind != VIR_STORAGE_REV_NUMBERED || revision->legacy ||
        (virStorageRevMetaIsOf(&family->head->meta, family->volume) && family->head->meta.nextId > revision->id))
        return 0;

    (void) dir;
    virStorageRevMetaInit(&meta);
    if (virStorageRevFamilyVolumeFacts(family))
        virStorageRevMetaCopyVolumeFacts(&meta, virStorageRevFamilyVolumeFacts(family));
    return virStorageReflinkRedefine(ctx, family, &meta);
}


int
virStorageReflinkDeleteRevision(virStorageRevContext *ctx,
                                virStorageRevFamily *family,
                                const virStorageRevState *revision)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autofree char *name = virStorageRevStateName(family, revision);

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        virStorageReflinkRememberNextId(ctx, family, &dir, revision) < 0 ||
        virStorageReflinkRemoveState(ctx, &dir, revision, name) < 0)
        return -1;

    g_ptr_array_remove(family->revisions, (void *) revision);
    if (virStorageReflinkDirSync(&dir, family->volume) < 0)
        return -1;
    if (virStorageRevFamilyIsEmpty(family))
        virStorageReflinkDirPrune(ctx->poolPath, family->volume);
    return 0;
}
