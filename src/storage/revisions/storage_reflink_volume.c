/*
 * storage_reflink_volume.c: making and changing the images of a volume
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
#include "storage_reflink_qcow2.h"
#include "storage_reflink_use.h"
#include "storage_revision_facts.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* Returns the path of a file that a volume can have one of only. */
char *
virStorageReflinkFileOf(virStorageReflinkRole role,
                        const char *volume)
{
    return virStorageReflinkNameFormat(role, volume, 0, 0, NULL);
}


/* Returns the name of the state's file in the directory of its volume. */
const char *
virStorageReflinkBaseOf(const virStorageRevState *state)
{
    const char *slash = strrchr(state->file, '/');

    return slash ? slash + 1 : state->file;
}


/* Returns a file descriptor of the file of @state, in the directory of its volume, or -1 with an error. */
int
virStorageReflinkOpenState(virStorageReflinkDir *dir,
                           const virStorageRevState *state,
                           int oflags,
                           const char *volume)
{
    return virStorageReflinkFileOpen(dir, virStorageReflinkBaseOf(state), oflags, volume);
}


/**
 * virStorageReflinkOpenExcluding:
 * @dir: directory of the volume
 * @state: what to open
 * @exclude: whom to keep out while the descriptor is open
 * @name: of the volume, for errors
 *
 * Returns a file descriptor for reading and writing, or -1 with an error when the image is in use
 */
int
virStorageReflinkOpenExcluding(virStorageReflinkDir *dir,
                               const virStorageRevState *state,
                               virStorageReflinkExclude exclude,
                               const char *name)
{
    VIR_STORAGE_REV_AUTOUNLOCK fd = virStorageReflinkOpenState(dir, state, O_RDWR, name);
    int ret;

    if (fd < 0 || virStorageReflinkExcludeUse(fd, exclude, name) < 0)
        return -1;

    ret = fd;
    fd = -1;
    return ret;
}


/**
 * virStorageReflinkOpenToRemove:
 * @dir: directory of the volume
 * @state: what to open
 * @name: of the volume, for errors
 * @fd: set to a file descriptor for reading and writing, -1 for what has gone already
 *
 * Returns 0, or -1 with an error
 */
int
virStorageReflinkOpenToRemove(virStorageReflinkDir *dir,
                              const virStorageRevState *state,
                              const char *name,
                              int *fd)
{
    if ((*fd = virStorageReflinkOpenState(dir, state, O_RDWR, name)) >= 0)
        return 0;
    if (errno != ENOENT)
        return -1;

    virResetLastError();
    return 0;
}


/* Opens an image to clone it. Where nothing can be cloned, a copy of an image that is being written to would be torn, so
 * that it is refused. */
static int
virStorageReflinkOpenToRead(virStorageRevContext *ctx,
                            virStorageReflinkDir *dir,
                            const virStorageRevState *state,
                            const char *name)
{
    if (ctx->cloneRequired)
        return virStorageReflinkOpenState(dir, state, O_RDONLY, name);
    return virStorageReflinkOpenExcluding(dir, state, VIR_STORAGE_REFLINK_EXCLUDE_CHANGES, name);
}


/* Reads a state anew from its file, which is open as @fd: what is known of it is as old as the last refresh. */
int
virStorageReflinkReadState(virStorageRevContext *ctx,
                           virStorageRevState *state,
                           int fd,
                           const char *name)
{
    if (virStorageReflinkStateRead(ctx, fd, state) == 0)
        return 0;

    virReportSystemError(errno, _("cannot read the attributes of volume '%1$s'"), name);
    return -1;
}


/* Reads a file that has just got its name, and puts @state, which it takes over, into the family. */
int
virStorageReflinkPublish(virStorageRevContext *ctx,
                         virStorageRevFamily *family,
                         virStorageRevState *state,
                         int fd)
{
    g_autoptr(virStorageRevState) owned = state;

    if (virStorageReflinkReadState(ctx, owned, fd, family->volume) < 0)
        return -1;
    virStorageRevFamilyAdd(family, g_steal_pointer(&owned));
    virStorageRevFamilySort(family);
    return 0;
}


virStorageRevState *
virStorageReflinkStateOf(virStorageRevKind kind,
                         virStorageReflinkRole role,
                         const char *volume)
{
    virStorageRevState *state = virStorageRevStateNew(kind);

    state->file = virStorageReflinkFileOf(role, volume);
    return state;
}


/* Makes image, name and directory durable, in that order, and puts the new state into the family. */
int
virStorageReflinkFinishNew(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           virStorageReflinkDir *dir,
                           virStorageReflinkImage *image,
                           virStorageRevState *state)
{
    g_autoptr(virStorageRevState) owned = state;

    if (virStorageReflinkImageSync(image, dir, ctx->poolPath, family->volume) < 0 ||
        virStorageReflinkImageInstall(image, dir, virStorageReflinkBaseOf(owned), family->volume) < 0)
        return -1;

    if (virStorageReflinkPublish(ctx, family, g_steal_pointer(&owned), image->fd) < 0)
        return -1;
    return virStorageReflinkDirSync(dir, family->volume);
}


/* Returns the path of what has that name below the pool's directory. */
static char *
virStorageReflinkPathOf(virStorageRevContext *ctx,
                        const char *name)
{
    return g_strdup_printf("%s/%s", ctx->poolPath, name);
}


/* Gives an image, open as @fd and read into @state, another capacity. */
static int
virStorageReflinkSetCapacity(virStorageRevContext *ctx,
                             const virStorageRevState *state,
                             int fd,
                             unsigned long long capacity,
                             const char *name)
{
    g_autofree char *path = virStorageReflinkPathOf(ctx, state->file);

    if (state->meta.format == VIR_STORAGE_FILE_RAW)
        return virStorageReflinkSetSize(fd, capacity, name);
    return virStorageReflinkQcow2Resize(fd, state, path, capacity, name);
}


int
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
    return virStorageReflinkSetSize(fd, def->target.capacity, def->name);
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
    virStorageRevFactsNewHead(family->volume, def, NULL, &meta);

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, true) < 0 ||
        virStorageReflinkImageCreate(&image, &dir, false, family->volume) < 0 ||
        virStorageReflinkFillBlank(image.fd, def, flags) < 0)
        return -1;

    if (def->target.has_allocation &&
        virStorageReflinkAllocate(image.fd, MIN(def->target.allocation, def->target.capacity), def->name) < 0)
        return -1;

    if (virStorageRevPermsSet(image.fd, def->target.perms, def->name) < 0 ||
        virStorageRevMetaWriteFile(image.fd, &meta, def->name) < 0)
        return -1;

    return virStorageReflinkFinishNew(ctx, family, &dir, &image,
                                      virStorageReflinkStateOf(VIR_STORAGE_REV_HEAD, VIR_STORAGE_REFLINK_HEAD,
                                                               family->volume));
}


/* Opens what a clone or copy reads. */
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
        return virStorageReflinkOpenToRead(ctx, &dir, source->state, source->name);
    }

    fd = open(source->content, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &sb) < 0) {
        virReportSystemError(errno, _("cannot open volume '%1$s'"), source->name);
        return -1;
    }
    if (!S_ISREG(sb.st_mode) && !S_ISBLK(sb.st_mode)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("volume '%1$s' is neither a file nor a block device"), source->name);
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


/* Another pool's volume is a copy by whatever means are quickest: within one file system that is a clone. An image of
 * @volume may lie in another folder than its source. */
int
virStorageReflinkSourceFill(virStorageRevContext *ctx,
                            const virStorageRevSource *source,
                            const char *volume,
                            int fd)
{
    VIR_STORAGE_REV_AUTOUNLOCK from = virStorageReflinkSourceOpen(ctx, source);
    virStorageRevContext anyMeans = *ctx;
    g_autofree char *fromPath = NULL;
    g_autofree char *toPath = NULL;

    if (!source->family)
        anyMeans.cloneRequired = false;
    if (from < 0 || virStorageReflinkFill(&anyMeans, from, fd, source->name) < 0)
        return -1;
    if ((source->family ? source->state->meta.format : source->format) != VIR_STORAGE_FILE_QCOW2)
        return 0;

    fromPath = source->family ? virStorageReflinkPathOf(ctx, source->state->file) : g_strdup(source->path);
    toPath = virStorageReflinkPathOf(ctx, volume);
    return virStorageReflinkQcow2KeepBacking(fd, fromPath, toPath, volume);
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
    g_autoptr(virStorageRevState) head = virStorageReflinkStateOf(VIR_STORAGE_REV_HEAD, VIR_STORAGE_REFLINK_HEAD,
                                                                  family->volume);
    bool staged = !source->family || !ctx->cloneRequired; /* for its progress to be seen */

    virStorageRevMetaInit(&meta);
    virStorageRevFactsNewHead(family->volume, def, source, &meta);

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, true) < 0 ||
        virStorageReflinkImageCreate(&image, &dir, staged, family->volume) < 0 ||
        virStorageReflinkSourceFill(ctx, source, family->volume, image.fd) < 0 ||
        virStorageRevMetaWriteFile(image.fd, &meta, def->name) < 0 ||
        virStorageReflinkReadState(ctx, head, image.fd, def->name) < 0)
        return -1;

    /* larger than the source is now, not than it was when the pool was refreshed */
    if (def->target.capacity > head->capacity &&
        virStorageReflinkSetCapacity(ctx, head, image.fd, def->target.capacity, def->name) < 0)
        return -1;

    if (virStorageRevPermsSet(image.fd, def->target.perms, def->name) < 0)
        return -1;
    return virStorageReflinkFinishNew(ctx, family, &dir, &image, g_steal_pointer(&head));
}


int
virStorageReflinkPin(virStorageRevContext *ctx,
                     virStorageRevFamily *family,
                     const char *word)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    g_auto(virStorageRevMeta) meta = { 0 };
    VIR_STORAGE_REV_AUTOUNLOCK head = -1;
    virStorageRevState *state;

    /* a clone, never a link: a virtual machine may write to a head directly */
    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (head = virStorageReflinkOpenToRead(ctx, &dir, family->head, family->volume)) < 0)
        return -1;

    virStorageRevMetaInit(&meta);
    virStorageRevMetaCopy(&meta, &family->head->meta);

    if (virStorageReflinkImageCreate(&image, &dir, false, family->volume) < 0 ||
        virStorageReflinkFill(ctx, head, image.fd, family->volume) < 0 ||
        virStorageRevPermsCopy(head, image.fd, family->volume) < 0 ||
        virStorageRevMetaWriteFile(image.fd, &meta, family->volume) < 0)
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
 * template's image, and anybody can make such links. Whoever has the former inode open goes on reading what was in it,
 * but would write to what is no head any more.
 */
int
virStorageReflinkUnshareHead(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             virStorageReflinkDir *dir)
{
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    g_autofree char *file = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_HEAD, dir->base);
    VIR_STORAGE_REV_AUTOUNLOCK head = virStorageReflinkFileOpen(dir, file, O_RDWR, family->volume);
    g_autoptr(virStorageRevState) state = NULL;
    struct stat sb;

    if (head < 0)
        return -1;
    if (fstat(head, &sb) < 0) {
        virReportSystemError(errno, _("cannot read the attributes of volume '%1$s'"), family->volume);
        return -1;
    }
    if (sb.st_nlink == 1)
        return 0;

    if (virStorageReflinkExcludeUse(head, VIR_STORAGE_REFLINK_EXCLUDE_WRITERS, family->volume) < 0 ||
        virStorageReflinkDropPrecache(dir, family->volume) < 0 ||
        virStorageReflinkImageCreate(&image, dir, true, family->volume) < 0 ||
        virStorageReflinkFill(ctx, head, image.fd, family->volume) < 0 ||
        virStorageRevPermsCopy(head, image.fd, family->volume) < 0 ||
        (family->head->hasMeta &&
         virStorageRevMetaWriteFile(image.fd, &family->head->meta, family->volume) < 0) ||
        virStorageRevSync(image.fd, family->volume) < 0 ||
        virStorageReflinkImageReplace(&image, dir, file, family->volume) < 0 ||
        virStorageReflinkDirSync(dir, family->volume) < 0)
        return -1;

    state = virStorageReflinkStateOf(VIR_STORAGE_REV_HEAD, VIR_STORAGE_REFLINK_HEAD, family->volume);
    return virStorageReflinkPublish(ctx, family, g_steal_pointer(&state), image.fd);
}


/* Writes what has changed of an image's metadata, in place, and reads the image anew. */
static int
virStorageReflinkRewriteMeta(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             virStorageRevKind kind,
                             virStorageReflinkRole role,
                             int fd,
                             const virStorageRevMeta *meta)
{
    if (virStorageRevMetaWriteFile(fd, meta, family->volume) < 0 ||
        virStorageRevSync(fd, family->volume) < 0)
        return -1;
    return virStorageReflinkPublish(ctx, family, virStorageReflinkStateOf(kind, role, family->volume), fd);
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
    virStorageRevFactsRedefined(family, facts, &meta);
    return virStorageReflinkRewriteMeta(ctx, family, VIR_STORAGE_REV_HEAD, VIR_STORAGE_REFLINK_HEAD, head, &meta);
}


int
virStorageReflinkMark(virStorageRevContext *ctx,
                      virStorageRevFamily *family,
                      const virStorageRevMeta *meta)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autofree char *name = virStorageRevStateName(family, family->live);
    VIR_AUTOCLOSE live = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (live = virStorageReflinkOpenState(&dir, family->live, O_RDWR, name)) < 0)
        return -1;
    return virStorageReflinkRewriteMeta(ctx, family, VIR_STORAGE_REV_LIVE, VIR_STORAGE_REFLINK_LIVE, live, meta);
}


/* Replaces an image by a clone of it that has the new size: a head's size and generation change at once that way, and so
 * do header and tables of a qcow2 image. */
static int
virStorageReflinkResizeCopy(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            virStorageReflinkDir *dir,
                            virStorageRevState *state,
                            int fd,
                            unsigned long long capacity,
                            unsigned long long allocate)
{
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    g_autoptr(virStorageRevState) after = virStorageRevStateCopy(state);

    if (virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_USERS, family->volume) < 0 ||
        virStorageReflinkImageCreate(&image, dir, true, family->volume) < 0 ||
        virStorageReflinkFill(ctx, fd, image.fd, family->volume) < 0 ||
        virStorageReflinkSetCapacity(ctx, state, image.fd, capacity, family->volume) < 0 ||
        virStorageReflinkAllocate(image.fd, allocate, family->volume) < 0 ||
        virStorageRevPermsCopy(fd, image.fd, family->volume) < 0)
        return -1;

    if (state->kind == VIR_STORAGE_REV_HEAD)
        after->meta.generation = virStorageRevMetaGeneration(&state->meta) + 1;
    if (!after->meta.volumeHash)
        after->meta.volumeHash = virStorageRevMetaHash(family->volume);
    if (virStorageRevMetaWriteFile(image.fd, &after->meta, family->volume) < 0 ||
        virStorageRevSync(image.fd, family->volume) < 0 ||
        virStorageReflinkImageReplace(&image, dir, virStorageReflinkBaseOf(state), family->volume) < 0 ||
        virStorageReflinkDirSync(dir, family->volume) < 0)
        return -1;
    return virStorageReflinkPublish(ctx, family, g_steal_pointer(&after), image.fd);
}


/* For what others have open, and are to see growing. The generation of a head goes ahead of the content: one that is too
 * high makes a copy look outdated, one that is too low would make it look up to date. */
static int
virStorageReflinkResizeInPlace(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               virStorageRevState *state,
                               int fd,
                               unsigned long long capacity,
                               unsigned long long allocate)
{
    g_autoptr(virStorageRevState) after = virStorageRevStateCopy(state);

    if (state->kind == VIR_STORAGE_REV_HEAD) {
        after->meta.generation = virStorageRevMetaGeneration(&state->meta) + 1;
        if (!after->meta.volumeHash)
            after->meta.volumeHash = virStorageRevMetaHash(family->volume);
        if (virStorageRevMetaWriteFile(fd, &after->meta, family->volume) < 0)
            return -1;
    }
    if (virStorageReflinkAllocate(fd, allocate, family->volume) < 0 ||
        virStorageReflinkSetSize(fd, capacity, family->volume) < 0 ||
        virStorageRevSync(fd, family->volume) < 0)
        return -1;

    virStorageReflinkLoopsResize(fd);
    return virStorageReflinkPublish(ctx, family, g_steal_pointer(&after), fd);
}


int
virStorageReflinkReread(virStorageRevContext *ctx,
                        virStorageRevFamily *family,
                        virStorageRevState *state)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    VIR_AUTOCLOSE fd = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (fd = virStorageReflinkOpenState(&dir, state, O_RDONLY, family->volume)) < 0)
        return -1;
    return virStorageReflinkReadState(ctx, state, fd, family->volume);
}


/* Opens what is to be resized, with those kept out who would lose the ground from under them, and reads it anew. A live
 * copy may grow under its machine, and a head under a loop device, which are told. */
static int
virStorageReflinkOpenToResize(virStorageRevContext *ctx,
                              virStorageReflinkDir *dir,
                              virStorageRevState *state,
                              unsigned long long capacity,
                              unsigned int flags,
                              const char *name)
{
    VIR_STORAGE_REV_AUTOUNLOCK fd = virStorageReflinkOpenState(dir, state, O_RDWR, name);
    int ret;

    if (fd < 0 ||
        (state->kind == VIR_STORAGE_REV_HEAD &&
         virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_MACHINES, name) < 0) ||
        virStorageReflinkReadState(ctx, state, fd, name) < 0)
        return -1;

    if (capacity < state->capacity) {
        if (!(flags & VIR_STORAGE_VOL_RESIZE_SHRINK)) {
            virReportError(VIR_ERR_OPERATION_INVALID,
                           _("volume '%1$s' has grown meanwhile, to %2$llu bytes: resize it again"),
                           name, state->capacity);
            return -1;
        }
        if (virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_READERS, name) < 0)
            return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
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
    unsigned long long allocate = 0;
    VIR_STORAGE_REV_AUTOUNLOCK fd = -1;
    bool used = true;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (kind == VIR_STORAGE_REV_HEAD &&
         (virStorageReflinkUnshareHead(ctx, family, &dir) < 0 ||
          virStorageReflinkDropPrecache(&dir, family->volume) < 0)))
        return -1;

    state = kind == VIR_STORAGE_REV_HEAD ? family->head : family->live;
    if ((fd = virStorageReflinkOpenToResize(ctx, &dir, state, capacity, flags, family->volume)) < 0)
        return -1;
    if (flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE)
        allocate = capacity;

    if (kind == VIR_STORAGE_REV_HEAD && ctx->cloneRequired &&
        virStorageReflinkExcludeTry(fd, VIR_STORAGE_REFLINK_EXCLUDE_USERS, &used) < 0)
        return -1;

    if (!used || state->meta.format != VIR_STORAGE_FILE_RAW)
        return virStorageReflinkResizeCopy(ctx, family, &dir, state, fd, capacity, allocate);
    return virStorageReflinkResizeInPlace(ctx, family, state, fd, capacity, allocate);
}
