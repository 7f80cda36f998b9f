/*
 * storage_fspool_volume.c: operations on volumes that are directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_fspool_volume.h"

#include "storage_fspool_folder.h"
#include "storage_fspool_subvolume.h"
#include "storage_revision_facts.h"
#include "storage_revision_worker.h"
#include "viralloc.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* Everybody may enter: unlike an image, a tree says itself who may see what is in it. */
#define ITEM_MODE 0755


/* Opens the tree of a state that was found in the pool. */
int
virStorageFspoolOpenState(virStorageFspoolPool *pool,
                          const virStorageRevState *state,
                          const char *name)
{
    g_auto(virStorageFspoolPlace) place = VIR_STORAGE_FSPOOL_PLACE_INIT;

    if (virStorageFspoolPlaceOfState(&place, &pool->root, state, name) < 0)
        return -1;
    return virStorageFspoolPlaceOpen(&place, name);
}


/* As virStorageFspoolLimitsRead, of a state. */
int
virStorageFspoolLimitsOf(virStorageFspoolPool *pool,
                         const virStorageRevState *state,
                         const char *name,
                         virStorageFspoolLimits *limits)
{
    VIR_AUTOCLOSE fd = virStorageFspoolOpenState(pool, state, name);

    return fd < 0 ? -1 : virStorageFspoolLimitsRead(pool, fd, name, limits);
}


int
virStorageFspoolReread(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       virStorageRevState *state)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    virStorageFspoolLimits limits;

    if (virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        virStorageFspoolLimitsOf(&pool, state, family->volume, &limits) < 0)
        return -1;
    state->capacity = limits.space;
    state->filesMax = limits.files;
    return 0;
}


/**
 * virStorageFspoolPublish:
 * @pool: pool
 * @family: volume
 * @fd: the tree of @state
 * @state: state with kind, name and file; taken over
 *
 * Reads all else that is known of it, and makes it one of the volume's states.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolPublish(virStorageFspoolPool *pool,
                        virStorageRevFamily *family,
                        int fd,
                        virStorageRevState *state)
{
    g_autoptr(virStorageRevState) owned = state;
    virStorageFspoolQuotaRecord record = { 0 };

    if (virStorageFspoolStateRead(pool, fd, owned) < 0 ||
        virStorageFspoolQuotaRead(&pool->quota, fd, owned->quotaId, &record) < 0) {
        virReportSystemError(errno, _("cannot read the attributes of volume '%1$s'"), family->volume);
        return -1;
    }
    virStorageFspoolStateCount(owned, &record);
    if (family->head && family->head->quotaId == owned->quotaId)
        owned->quotaShared = family->head->quotaShared;
    virStorageRevFamilyAdd(family, g_steal_pointer(&owned));
    virStorageRevFamilySort(family);
    return 0;
}


/* As virStorageFspoolPublish, for the head, at @path below the pool. */
int
virStorageFspoolPublishHead(virStorageFspoolPool *pool,
                            virStorageRevFamily *family,
                            int fd,
                            const char *path)
{
    virStorageRevState *state = virStorageRevStateNew(VIR_STORAGE_REV_HEAD);

    state->file = g_strdup(path);
    return virStorageFspoolPublish(pool, family, fd, state);
}


/* Is the path in the document only that of the source, which the document was printed for? */
static bool
virStorageFspoolPathIsOfSource(virStorageFspoolPool *pool,
                               const char *path,
                               const virStorageRevSource *source)
{
    g_autofree char *own = NULL;

    if (!source)
        return false;
    if (!source->family)
        return STREQ(path, source->path);
    own = g_strdup_printf("%s/%s", pool->ctx->poolPath, source->state->file);
    return STREQ(path, own);
}


/* Where a new volume lies below the pool: where the document says, or at its name. */
static char *
virStorageFspoolPathOf(virStorageFspoolPool *pool,
                       virStorageVolDef *def,
                       const char *volume,
                       const virStorageRevSource *source)
{
    g_autofree char *path = NULL;
    const char *problem;

    if (!def->target.path || virStorageFspoolPathIsOfSource(pool, def->target.path, source))
        return g_strdup(volume);

    if (!(path = virStorageFspoolPathBelow(pool->ctx->poolPath, def->target.path))) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("path '%1$s' of volume '%2$s' is not below that of its pool, '%3$s'"),
                       def->target.path, volume, pool->ctx->poolPath);
        return NULL;
    }
    if ((problem = virStorageFspoolPathProblem(path))) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("path '%1$s' of volume '%2$s' cannot be used: %3$s"), path, volume, problem);
        return NULL;
    }
    return g_steal_pointer(&path);
}


/* A directory has no live copy, which is all that the other lifecycles are about. */
static int
virStorageFspoolCheckLifecycle(const char *volume,
                               bool snapOnStart,
                               bool saveOnStop)
{
    if (!snapOnStart && saveOnStop)
        return 0;

    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("volume '%1$s' is a directory, which has no live copies: its lifecycle is always persistent"),
                   volume);
    return -1;
}


/* Is it the document of a directory, and of nothing else? */
static int
virStorageFspoolCheckDef(virStorageVolDef *def)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);

    if (vol->hasLifecycle &&
        virStorageFspoolCheckLifecycle(def->name, vol->snapOnStart, vol->saveOnStop) < 0)
        return -1;
    if ((vol->hasFormat && def->target.format != VIR_STORAGE_FILE_DIR) || def->target.encryption) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' is a directory: its format is 'dir', unencrypted"), def->name);
        return -1;
    }
    if (def->target.backingStore) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' is a directory, and cannot have a backing store"), def->name);
        return -1;
    }
    return 0;
}


/* Puts a new volume in its place, for all to see. */
static int
virStorageFspoolPublishNew(virStorageFspoolPool *pool,
                           virStorageRevFamily *family,
                           virStorageFspoolStage *stage,
                           const char *path,
                           const virStorageRevMeta *meta,
                           const virStorageFspoolLimits *limits)
{
    if (virStorageFspoolItemFinish(pool, stage, meta, limits, family->volume) < 0 ||
        virStorageFspoolStageInstallHead(stage, path, family->volume) < 0)
        return -1;

    return virStorageFspoolPublishHead(pool, family, stage->fd, path);
}


/* The facts of a new volume; its name is recorded where the path does not tell it. */
static void
virStorageFspoolFactsNew(const char *volume,
                         const char *path,
                         virStorageVolDef *def,
                         const virStorageRevSource *source,
                         virStorageRevMeta *meta)
{
    virStorageRevMetaInit(meta);
    virStorageRevFactsNewHead(volume, def, source, meta);
    meta->format = VIR_STORAGE_FILE_DIR;
    if (STRNEQ(path, volume))
        meta->name = g_strdup(volume);
}


int
virStorageFspoolCreate(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       virStorageVolDef *def,
                       unsigned int flags)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_auto(virStorageFspoolStage) stage = VIR_STORAGE_FSPOOL_STAGE_INIT;
    virStorageFspoolLimits limits = { def->target.capacity, virStorageRevVolGet(def)->filesMax };
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *path = NULL;

    virCheckFlags(VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA |
                  VIR_STORAGE_VOL_CREATE_VALIDATE, -1);

    if (virStorageFspoolCheckDef(def) < 0 ||
        virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        virStorageFspoolLimitsCheck(&pool, &limits, def->name) < 0 ||
        !(path = virStorageFspoolPathOf(&pool, def, family->volume, NULL)) ||
        virStorageFspoolItemMake(&pool, &stage, &limits, family->volume) < 0)
        return -1;

    if (fchmod(stage.fd, ITEM_MODE) < 0) {
        virReportSystemError(errno, _("cannot set owner and mode of volume '%1$s'"), def->name);
        return -1;
    }
    virStorageFspoolFactsNew(family->volume, path, def, NULL, &meta);
    if (virStorageFspoolItemPerms(stage.fd, def->target.perms, def->name) < 0)
        return -1;
    return virStorageFspoolPublishNew(&pool, family, &stage, path, &meta, &limits);
}


/* Opens a tree that is to be copied to another pool. */
int
virStorageFspoolOpenForCopy(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            const virStorageRevState *state,
                            char **temporary G_GNUC_UNUSED)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_autofree char *name = virStorageRevStateName(family, state);

    if (virStorageFspoolPoolOpen(&pool, ctx) < 0)
        return -1;
    return virStorageFspoolOpenState(&pool, state, name);
}


/* Opens what a clone or copy reads; another pool's directory may lie on a file system of its own. */
static int
virStorageFspoolSourceOpen(virStorageFspoolPool *pool,
                           const virStorageRevSource *source)
{
    int nofollow = source->content == source->path ? O_NOFOLLOW : 0;
    int fd;

    if (source->family)
        return virStorageFspoolOpenState(pool, source->state, source->name);

    if ((fd = open(source->content, O_RDONLY | O_DIRECTORY | O_CLOEXEC | nofollow)) < 0)
        virReportSystemError(errno, _("cannot open volume '%1$s'"), source->name);
    return fd;
}


/* The limits that a clone is to have: what the document says, or else those of the source, when it is of the same pool. */
static int
virStorageFspoolCloneLimits(virStorageFspoolPool *pool,
                            const virStorageRevSource *source,
                            virStorageVolDef *def,
                            virStorageFspoolLimits *limits)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);

    if (source->family && virStorageFspoolLimitsOf(pool, source->state, source->name, limits) < 0)
        return -1;
    if (vol->hasCapacity)
        limits->space = def->target.capacity;
    if (vol->filesMax)
        limits->files = vol->filesMax;
    return virStorageFspoolLimitsCheck(pool, limits, def->name);
}


int
virStorageFspoolClone(virStorageRevContext *ctx,
                      virStorageRevFamily *family,
                      const virStorageRevSource *source,
                      virStorageVolDef *def)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_auto(virStorageFspoolStage) stage = VIR_STORAGE_FSPOOL_STAGE_INIT;
    virStorageFspoolLimits limits = { 0 };
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *path = NULL;
    VIR_AUTOCLOSE from = -1;

    if (virStorageFspoolCheckDef(def) < 0 ||
        virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        virStorageFspoolCloneLimits(&pool, source, def, &limits) < 0 ||
        !(path = virStorageFspoolPathOf(&pool, def, family->volume, source)) ||
        (from = virStorageFspoolSourceOpen(&pool, source)) < 0 ||
        virStorageFspoolItemCopy(&pool, &stage, from, &limits, family->volume) < 0)
        return -1;

    virStorageFspoolFactsNew(family->volume, path, def, source, &meta);
    if (virStorageFspoolItemPerms(stage.fd, def->target.perms, def->name) < 0)
        return -1;
    return virStorageFspoolPublishNew(&pool, family, &stage, path, &meta, &limits);
}


/* Recorded without a limit: it is not written to, and a lower limit of the head's does not reach it. */
int
virStorageFspoolPin(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    const char *word)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_auto(virStorageFspoolStage) stage = VIR_STORAGE_FSPOOL_STAGE_INIT;
    g_auto(virStorageFspoolPlace) place = VIR_STORAGE_FSPOOL_PLACE_INIT;
    g_autofree char *entry = virStorageFspoolRevisionFormat(family->volume, VIR_STORAGE_REV_PINNED, 0, word);
    virStorageFspoolLimits none = { 0 };
    VIR_AUTOCLOSE from = -1;
    virStorageRevState *state;

    if (virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        virStorageFspoolSettleHead(&pool, family) < 0 ||
        (from = virStorageFspoolOpenState(&pool, family->head, family->volume)) < 0 ||
        virStorageFspoolItemCopy(&pool, &stage, from, &none, family->volume) < 0 ||
        virStorageFspoolItemFinish(&pool, &stage, &family->head->meta, &none, family->volume) < 0)
        return -1;

    virStorageFspoolPlaceOfRevision(&place, &pool.root, entry);
    if (virStorageFspoolStageInstall(&stage, &place, family->volume) < 0)
        return -1;

    state = virStorageRevStateNew(VIR_STORAGE_REV_PINNED);
    state->word = g_strdup(word);
    state->file = g_strdup_printf("%s/%s", VIR_STORAGE_FSPOOL_REVISIONS, entry);
    if (virStorageFspoolPublish(&pool, family, stage.fd, state) < 0)
        return -1;
    return virStorageFspoolItemFreeze(&pool, &place, false, family->volume);
}


/* Writes the head's metadata anew, in place. */
int
virStorageFspoolRewriteMeta(virStorageFspoolPool *pool,
                            virStorageRevFamily *family,
                            const virStorageRevMeta *meta)
{
    VIR_AUTOCLOSE fd = virStorageFspoolOpenState(pool, family->head, family->volume);

    if (fd < 0 || virStorageFspoolItemWriteMeta(pool, fd, meta, family->volume) < 0 ||
        virStorageRevSync(fd, family->volume) < 0)
        return -1;

    return virStorageFspoolPublishHead(pool, family, fd, family->head->file);
}


static int
virStorageFspoolRedefineHead(virStorageFspoolPool *pool,
                             virStorageRevFamily *family,
                             const virStorageRevMeta *facts)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevFactsRedefined(family, facts, &meta);
    return virStorageFspoolRewriteMeta(pool, family, &meta);
}


int
virStorageFspoolRedefine(virStorageRevContext *ctx,
                         virStorageRevFamily *family,
                         const virStorageRevMeta *facts)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;

    if (virStorageFspoolCheckLifecycle(family->volume, facts->snapOnStart, facts->saveOnStop) < 0 ||
        virStorageFspoolPoolOpen(&pool, ctx) < 0)
        return -1;
    return virStorageFspoolRedefineHead(&pool, family, facts);
}


/* What is in a tree already cannot be given another project at once. */
static int
virStorageFspoolCheckOwnLimits(virStorageFspoolPool *pool,
                               const virStorageRevState *state,
                               const char *volume)
{
    if (!state->quotaShared)
        return 0;
    if (!virStorageFspoolQuotaIsOurs(&pool->quota, state->quotaId)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("the directory of volume '%1$s' in pool '%2$s' has project %3$llu, which others may have, too, and would get the same limit: change that where it was set, or clone the volume, which can have its own limit then"),
                       volume, pool->ctx->poolName, (unsigned long long) state->quotaId);
        return -1;
    }
    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("the directory of volume '%1$s' has the same project as another one in pool '%2$s', which would get the same limit: clone the volume, which can have its own then"),
                   volume, pool->ctx->poolName);
    return -1;
}


/* The limit is a record of the kernel's, and changes at once. */
int
virStorageFspoolResize(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       virStorageRevKind kind G_GNUC_UNUSED,
                       unsigned long long capacity,
                       unsigned int flags)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    virStorageFspoolLimits limits = { capacity, family->head->filesMax };
    VIR_AUTOCLOSE fd = -1;

    if (flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("volume '%1$s' is a directory: its capacity is a limit, and nothing can be allocated ahead"),
                       family->volume);
        return -1;
    }
    if (virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        virStorageFspoolLimitsCheck(&pool, &limits, family->volume) < 0 ||
        virStorageFspoolCheckOwnLimits(&pool, family->head, family->volume) < 0 ||
        (fd = virStorageFspoolOpenState(&pool, family->head, family->volume)) < 0 ||
        virStorageFspoolLimitsSet(&pool, fd, &limits, family->volume) < 0)
        return -1;
    if (syncfs(fd) < 0) {
        virReportSystemError(errno, _("cannot make volume '%1$s' durable"), family->volume);
        return -1;
    }

    return virStorageFspoolPublishHead(&pool, family, fd, family->head->file);
}


/* Opens a tree that is to be removed. Returns 1, 0 when it has gone already, or -1 with an error. */
static int
virStorageFspoolOpenToRemove(virStorageFspoolPool *pool,
                             const virStorageRevState *state,
                             const char *name,
                             int *fd)
{
    if ((*fd = virStorageFspoolOpenState(pool, state, name)) >= 0)
        return 1;
    if (errno != ENOENT)
        return -1;

    virResetLastError();
    return 0;
}


static int
virStorageFspoolRemoveState(virStorageFspoolPool *pool,
                            const virStorageRevState *state,
                            const char *name)
{
    g_auto(virStorageFspoolPlace) place = VIR_STORAGE_FSPOOL_PLACE_INIT;
    VIR_AUTOCLOSE fd = -1;
    int rc = virStorageFspoolOpenToRemove(pool, state, name, &fd);

    if (rc <= 0)
        return rc;
    if (virStorageFspoolPlaceOfState(&place, &pool->root, state, name) < 0)
        return -1;
    return virStorageFspoolItemRemove(pool, &place, name);
}


static int
virStorageFspoolRemoveOldest(virStorageFspoolPool *pool,
                             virStorageRevFamily *family)
{
    virStorageRevState *state = g_ptr_array_index(family->revisions, 0);
    g_autofree char *name = virStorageRevStateName(family, state);

    if (virStorageFspoolRemoveState(pool, state, name) < 0)
        return -1;
    g_ptr_array_remove_index(family->revisions, 0);
    return 0;
}


/* Can the tree of @state be moved away? What is in it does not matter, since that goes later. */
static int
virStorageFspoolCheckRemovable(virStorageFspoolPool *pool,
                               const virStorageRevState *state,
                               const char *name)
{
    VIR_AUTOCLOSE fd = -1;
    struct statx sx;
    int rc = virStorageFspoolOpenToRemove(pool, state, name, &fd);

    if (rc <= 0)
        return rc;
    if (statx(fd, "", AT_EMPTY_PATH, 0, &sx) == 0 &&
        sx.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("the directory of volume '%1$s' is protected from changes: take that back first (see chattr(1))"),
                       name);
        return -1;
    }
    return 0;
}


/* The head goes last: whenever it is interrupted, what is left is a volume. */
int
virStorageFspoolDeleteVolume(virStorageRevContext *ctx,
                             virStorageRevFamily *family)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;

    if (virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        virStorageFspoolStageCheckFree(&pool.root, family->volume) < 0 ||
        virStorageFspoolCheckRemovable(&pool, family->head, family->volume) < 0)
        return -1;

    while (family->revisions->len > 0) {
        if (virStorageFspoolRemoveOldest(&pool, family) < 0)
            return -1;
    }
    if (virStorageFspoolRemoveState(&pool, family->head, family->volume) < 0)
        return -1;

    virStorageFspoolFoldersPrune(&pool.root, family->head->file);
    g_clear_pointer(&family->head, virStorageRevStateFree);
    virStorageRevWorkerSettle(ctx);
    return 0;
}


static int
virStorageFspoolRememberNextId(virStorageFspoolPool *pool,
                               virStorageRevFamily *family,
                               const virStorageRevState *revision)
{
    g_auto(virStorageRevMeta) facts = { 0 };

    if (!virStorageRevFactsToRemember(family, revision, &facts))
        return 0;
    return virStorageFspoolRedefineHead(pool, family, &facts);
}


int
virStorageFspoolDeleteRevision(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               const virStorageRevState *revision)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_autofree char *name = virStorageRevStateName(family, revision);

    if (virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        virStorageFspoolRememberNextId(&pool, family, revision) < 0 ||
        virStorageFspoolRemoveState(&pool, revision, name) < 0)
        return -1;

    g_ptr_array_remove(family->revisions, (void *) revision);
    virStorageRevWorkerSettle(ctx);
    return 0;
}


int
virStorageFspoolPrune(virStorageRevContext *ctx,
                      virStorageRevFamily *family,
                      size_t count)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;

    if (virStorageFspoolPoolOpen(&pool, ctx) < 0)
        return -1;
    while (count-- > 0 && family->revisions->len > 0) {
        if (virStorageFspoolRemoveOldest(&pool, family) < 0)
            return -1;
    }
    virStorageRevWorkerSettle(ctx);
    return 0;
}
