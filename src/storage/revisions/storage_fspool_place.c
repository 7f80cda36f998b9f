/*
 * storage_fspool_place.c: where the directories of a pool lie, and how they get there
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "storage_fspool_place.h"

#include "storage_fspool_folder.h"
#include "storage_fspool_rename.h"
#include "storage_fspool_subvolume.h"
#include "storage_revision_lock.h"
#include "storage_revision_worker.h"
#include "viralloc.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* Nobody but the daemon looks into what is being made, was before, or goes. */
#define OWN_DIR_MODE 0700
/* As libvirt's own directory pools have it: whoever knows a volume's name can pass, nobody can look around. */
#define FOLDER_MODE 0711

#define UNIQUE_TRIES 10000
#define FOLDER_TRIES 100

/* What is in VIR_STORAGE_FSPOOL_DIR. */
static const char *const ownDirs[] = { "revisions", "staging", "trash" };


/* Makes a directory of our own, if it is missing, and opens it; a link that somebody put there is not followed. */
static int
virStorageFspoolOwnDirMake(int dirfd,
                           const char *entry)
{
    if (mkdirat(dirfd, entry, OWN_DIR_MODE) < 0 && errno != EEXIST)
        return -1;
    return virStorageRevOpenAt(dirfd, entry, O_RDONLY | O_DIRECTORY, 0);
}


/* Makes what the pool keeps beside its volumes, as far as it is missing. Returns 0, or -1 with errno. */
int
virStorageFspoolRootMake(const char *poolPath)
{
    VIR_AUTOCLOSE fd = open(poolPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    VIR_AUTOCLOSE own = -1;
    size_t i;

    if (fd < 0 || (own = virStorageFspoolOwnDirMake(fd, VIR_STORAGE_FSPOOL_DIR)) < 0)
        return -1;

    for (i = 0; i < G_N_ELEMENTS(ownDirs); i++) {
        VIR_AUTOCLOSE made = virStorageFspoolOwnDirMake(own, ownDirs[i]);

        if (made < 0)
            return -1;
    }
    return fsync(own) < 0 || fsync(fd) < 0 ? -1 : 0;
}


/* Removes what the pool keeps beside its volumes, if there is nothing in it. Returns 0, or -1 with errno. */
int
virStorageFspoolRootRemove(const char *poolPath)
{
    VIR_AUTOCLOSE fd = open(poolPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    VIR_AUTOCLOSE own = -1;
    size_t i;

    if (fd < 0)
        return -1;
    if ((own = virStorageRevOpenAt(fd, VIR_STORAGE_FSPOOL_DIR, O_RDONLY | O_DIRECTORY, 0)) < 0)
        return errno == ENOENT ? 0 : -1;

    for (i = 0; i < G_N_ELEMENTS(ownDirs); i++) {
        if (unlinkat(own, ownDirs[i], AT_REMOVEDIR) < 0 && errno != ENOENT)
            return -1;
    }
    return unlinkat(fd, VIR_STORAGE_FSPOOL_DIR, AT_REMOVEDIR);
}


/**
 * virStorageFspoolRootOpen:
 * @root: filled; to be cleared
 * @ctx: pool; has to live as long as @root
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolRootOpen(virStorageFspoolRoot *root,
                         virStorageRevContext *ctx)
{
    root->ctx = ctx;
    if ((root->fd = open(ctx->poolPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
        (root->revisions = virStorageRevOpenAt(root->fd, VIR_STORAGE_FSPOOL_REVISIONS, O_RDONLY | O_DIRECTORY, 0)) < 0 ||
        (root->staging = virStorageRevOpenAt(root->fd, VIR_STORAGE_FSPOOL_STAGING, O_RDONLY | O_DIRECTORY, 0)) < 0 ||
        (root->trash = virStorageRevOpenAt(root->fd, VIR_STORAGE_FSPOOL_TRASH, O_RDONLY | O_DIRECTORY, 0)) < 0) {
        virReportSystemError(errno, _("cannot open the pool's directory '%1$s', or '%2$s' in it: start the pool anew"),
                             ctx->poolPath, VIR_STORAGE_FSPOOL_DIR);
        return -1;
    }
    return 0;
}


void
virStorageFspoolRootClear(virStorageFspoolRoot *root)
{
    VIR_FORCE_CLOSE(root->trash);
    VIR_FORCE_CLOSE(root->staging);
    VIR_FORCE_CLOSE(root->revisions);
    VIR_FORCE_CLOSE(root->fd);
}


/* Makes an entry of staging or trash that nobody else uses, by @try, which fails with EEXIST for one that is there. */
static char *
virStorageFspoolUnique(virStorageFspoolRoot *root,
                       const char *volume,
                       int (*try)(virStorageFspoolRoot *root, const char *entry, const void *opaque),
                       const void *opaque)
{
    g_autofree char *encoded = virStorageFspoolNameEncode(volume);
    size_t i;

    for (i = 0; i < UNIQUE_TRIES; i++) {
        g_autofree char *entry = g_strdup_printf("%s~%zu", encoded, i);

        if (try(root, entry, opaque) == 0)
            return g_steal_pointer(&entry);
        if (errno != EEXIST && errno != ENOTEMPTY)
            return NULL;
    }
    return NULL;
}


static int
virStorageFspoolTryMake(virStorageFspoolRoot *root,
                        const char *entry,
                        const void *opaque G_GNUC_UNUSED)
{
    if (virStorageFspoolIsBtrfs(root->staging))
        return virStorageFspoolSubvolumeCreate(root->staging, entry, 0);
    return mkdirat(root->staging, entry, OWN_DIR_MODE);
}


static int
virStorageFspoolTryMakeFolder(virStorageFspoolRoot *root,
                              const char *entry,
                              const void *opaque G_GNUC_UNUSED)
{
    return mkdirat(root->staging, entry, FOLDER_MODE);
}


static int
virStorageFspoolTrySnapshot(virStorageFspoolRoot *root,
                            const char *entry,
                            const void *opaque)
{
    const int *from = opaque;

    return virStorageFspoolSubvolumeSnapshot(root->staging, entry, *from, false);
}


static int
virStorageFspoolTryTrash(virStorageFspoolRoot *root,
                         const char *entry,
                         const void *opaque)
{
    const virStorageFspoolPlace *place = opaque;

    return virStorageFspoolRenameNew(place->dirfd, place->entry, root->trash, entry);
}


/**
 * virStorageFspoolReadNames:
 * @dirfd: directory
 * @all: whether to read the names of all that is there, and not just of directories
 * @names: filled
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolReadNames(int dirfd,
                          bool all,
                          GPtrArray *names)
{
    int fd = virStorageRevOpenAt(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int err;

    if (!dir) {
        VIR_FORCE_CLOSE(fd);
        return -1;
    }
    while ((errno = 0, entry = readdir(dir))) {
        if ((all || entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN) &&
            STRNEQ(entry->d_name, ".") && STRNEQ(entry->d_name, ".."))
            g_ptr_array_add(names, g_strdup(entry->d_name));
    }
    err = errno;
    closedir(dir);
    errno = err;
    return err == 0 ? 0 : -1;
}


/* Says whether somebody is making what is staged as @entry; one that is gone is nobody's. Returns -1 with errno. */
int
virStorageFspoolStageIsHeld(virStorageFspoolRoot *root,
                            const char *entry,
                            bool *held)
{
    VIR_AUTOCLOSE fd = virStorageRevOpenAt(root->staging, entry, O_RDONLY | O_DIRECTORY, 0);

    *held = false;
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    *held = errno == EWOULDBLOCK;
    return *held ? 0 : -1;
}


/**
 * virStorageFspoolStageCheckFree:
 * @root: pool
 * @volume: volume, whose lock is held
 *
 * Who makes something for a volume holds its lock, but for an upload, which takes as long as the client likes: what it
 * brings would replace something else than what it was begun for.
 *
 * Returns 0, or -1 with VIR_ERR_OPERATION_INVALID
 */
int
virStorageFspoolStageCheckFree(virStorageFspoolRoot *root,
                               const char *volume)
{
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(g_free);
    size_t i;

    if (virStorageFspoolReadNames(root->staging, false, entries) < 0) {
        virReportSystemError(errno, _("cannot tell whether volume '%1$s' is being uploaded to"), volume);
        return -1;
    }

    for (i = 0; i < entries->len; i++) {
        g_autofree char *owner = virStorageFspoolNameDecode(g_ptr_array_index(entries, i));
        bool held;

        if (STRNEQ_NULLABLE(owner, volume) ||
            virStorageFspoolStageIsHeld(root, g_ptr_array_index(entries, i), &held) < 0 || !held)
            continue;
        virReportError(VIR_ERR_OPERATION_INVALID, _("volume '%1$s' is being uploaded to"), volume);
        return -1;
    }
    return 0;
}


/* The lock is that of the open file: it goes with the daemon, whatever becomes of that. On NFS other hosts know nothing of
 * it. */
static int
virStorageFspoolStageOpen(virStorageFspoolStage *stage,
                          virStorageFspoolRoot *root,
                          const char *volume)
{
    stage->root = root;
    if (stage->entry &&
        (stage->fd = virStorageRevOpenAt(root->staging, stage->entry, O_RDONLY | O_DIRECTORY, 0)) >= 0 &&
        flock(stage->fd, LOCK_EX | LOCK_NB) == 0)
        return 0;

    virReportSystemError(errno, _("cannot make a directory for volume '%1$s'"), volume);
    return -1;
}


/**
 * virStorageFspoolStageNew:
 * @stage: filled; to be cleared
 * @root: pool; has to live as long as @stage
 * @volume: what it is made for, whose lock is held, or "" when it is made for nothing that is to be changed
 *
 * Makes an empty tree; on Btrfs a subvolume.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolStageNew(virStorageFspoolStage *stage,
                         virStorageFspoolRoot *root,
                         const char *volume)
{
    if (virStorageFspoolStageCheckFree(root, volume) < 0)
        return -1;
    stage->entry = virStorageFspoolUnique(root, volume, virStorageFspoolTryMake, NULL);
    return virStorageFspoolStageOpen(stage, root, volume);
}


/* As virStorageFspoolStageNew, with the content of the subvolume @from, and @name for errors. Returns 1 when that is of
 * another file system. */
int
virStorageFspoolStageSnapshot(virStorageFspoolStage *stage,
                              virStorageFspoolRoot *root,
                              int from,
                              const char *volume,
                              const char *name)
{
    g_autoptr(virStorageRevLocks) locks = NULL;

    if (*volume && virStorageFspoolStageCheckFree(root, volume) < 0)
        return -1;
    /* A refresh leaves alone what is of a locked volume, as long as nobody can hold it yet. What is of none has a lock
     * of its own for that, which those who make such things share. */
    if (!*volume && !(locks = virStorageRevLocksAcquire(root->ctx->uuid, NULL, root->ctx->uuid, "", NULL, false)))
        return -1;
    stage->entry = virStorageFspoolUnique(root, volume, virStorageFspoolTrySnapshot, &from);
    if (!stage->entry && errno == EXDEV)
        return 1;
    return virStorageFspoolStageOpen(stage, root, name);
}


/* Moves a tree to where nothing is. Returns 0, or -1 with errno. */
static int
virStorageFspoolStageMove(virStorageFspoolStage *stage,
                          const virStorageFspoolPlace *place)
{
    if (virStorageFspoolRenameNew(stage->root->staging, stage->entry, place->dirfd, place->entry) < 0)
        return -1;
    VIR_FREE(stage->entry);
    return fsync(place->dirfd);
}


static void
virStorageFspoolStageReport(const char *name)
{
    if (errno == EEXIST)
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("'%1$s' cannot be created: there is something of that name, or other volumes lie below it"),
                       name);
    else
        virReportSystemError(errno, _("cannot put the directory of '%1$s' in its place"), name);
}


/**
 * virStorageFspoolStageInstall:
 * @stage: tree, durable
 * @place: where it goes, and nothing is
 * @name: for errors
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolStageInstall(virStorageFspoolStage *stage,
                             const virStorageFspoolPlace *place,
                             const char *name)
{
    if (virStorageFspoolStageMove(stage, place) == 0)
        return 0;
    virStorageFspoolStageReport(name);
    return -1;
}


/* What is not going to be installed is in nobody's way any more, whoever is still at work in it. */
void
virStorageFspoolStageGiveUp(virStorageFspoolStage *stage)
{
    virStorageFspoolPlace place = { .entry = stage->entry };

    if (!stage->entry || !stage->root)
        return;
    place.dirfd = stage->root->staging;
    stage->trashed = virStorageFspoolUnique(stage->root, "", virStorageFspoolTryTrash, &place);
    VIR_FREE(stage->entry);
}


/* What was not installed goes: into the trash at once, and then in the background. */
void
virStorageFspoolStageClear(virStorageFspoolStage *stage)
{
    virStorageFspoolStageGiveUp(stage);
    if (stage->trashed)
        virStorageRevWorkerTidy(stage->root->ctx->uuid, stage->trashed);
    VIR_FREE(stage->trashed);
    VIR_FREE(stage->entry);
    VIR_FORCE_CLOSE(stage->fd);
}


/* Makes one folder: under its name it is a folder from the first instant on. */
static int
virStorageFspoolFolderMake(virStorageFspoolRoot *root,
                           int dirfd,
                           const char *entry,
                           const char *volume)
{
    g_auto(virStorageFspoolStage) stage = VIR_STORAGE_FSPOOL_STAGE_INIT;
    virStorageFspoolPlace place = { .dirfd = dirfd, .entry = (char *) entry };
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    meta.folder = true;

    stage.entry = virStorageFspoolUnique(root, volume, virStorageFspoolTryMakeFolder, NULL);
    if (virStorageFspoolStageOpen(&stage, root, volume) < 0)
        return -1;
    if (fchmod(stage.fd, FOLDER_MODE) < 0) {
        virReportSystemError(errno, _("cannot make a directory for volume '%1$s'"), volume);
        return -1;
    }
    if (virStorageRevMetaWriteFile(stage.fd, &meta, volume) < 0 ||
        virStorageRevSync(stage.fd, volume) < 0)
        return -1;
    /* somebody else may have made it meanwhile, or removed what it was to be in: who opens it sees */
    if (virStorageFspoolStageMove(&stage, &place) < 0 && errno != EEXIST && errno != ENOENT) {
        virStorageFspoolStageReport(volume);
        return -1;
    }
    return 0;
}


/* Opens a folder of a nested path, and says no to what is a volume of its own. */
static int
virStorageFspoolFolderOpen(int dirfd,
                           const char *entry,
                           const char *volume)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    VIR_AUTOCLOSE fd = virStorageRevOpenAt(dirfd, entry, O_RDONLY | O_DIRECTORY, 0);
    bool whole;
    int ret;

    if (fd < 0)
        return -1;

    virStorageRevMetaInit(&meta);
    if (virStorageRevMetaReadFile(fd, &meta, &whole) < 0)
        return -1;
    if (!virStorageFspoolIsFolder(fd, &meta)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' would lie in the directory of another one, '%2$s'"), volume, entry);
        return -2;
    }

    ret = fd;
    fd = -1;
    return ret;
}


/* As virStorageFspoolFolderOpen, of one that is made if it is missing. */
static int
virStorageFspoolFolderEnsure(virStorageFspoolRoot *root,
                             int dirfd,
                             const char *entry,
                             const char *volume)
{
    int fd = virStorageFspoolFolderOpen(dirfd, entry, volume);

    if (fd != -1 || errno != ENOENT)
        return fd;
    if (virStorageFspoolFolderMake(root, dirfd, entry, volume) < 0)
        return -2;
    return virStorageFspoolFolderOpen(dirfd, entry, volume);
}


/**
 * virStorageFspoolPlaceOfHead:
 * @place: filled; to be cleared
 * @root: pool
 * @path: path of the head below the pool
 * @make: whether to make the folders of a nested path that are missing
 * @volume: for errors
 *
 * Returns 0, 1 if a folder that was made has gone meanwhile, or -1 with an error
 */
static int
virStorageFspoolPlaceOfHead(virStorageFspoolPlace *place,
                            virStorageFspoolRoot *root,
                            const char *path,
                            bool make,
                            const char *volume)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", 0);
    size_t i;

    place->dirfd = root->fd;
    for (i = 0; parts[i + 1]; i++) {
        int fd = make ? virStorageFspoolFolderEnsure(root, place->dirfd, parts[i], volume)
            : virStorageFspoolFolderOpen(place->dirfd, parts[i], volume);

        if (fd == -1 && errno == ENOENT && make)
            return 1;
        if (fd == -1)
            virReportSystemError(errno, _("cannot open '%1$s', on the way to volume '%2$s'"), parts[i], volume);
        if (fd < 0)
            return -1;
        if (place->owned)
            VIR_FORCE_CLOSE(place->dirfd);
        place->dirfd = fd;
        place->owned = true;
    }
    place->entry = g_strdup(parts[i]);
    return 0;
}


/**
 * virStorageFspoolPlaceMake:
 * @place: filled; to be cleared
 * @root: pool
 * @path: path of a head below the pool
 * @volume: for errors
 *
 * Makes the folders on the way that are missing. Each goes with the last volume that was in it, which can be before
 * there is another.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolPlaceMake(virStorageFspoolPlace *place,
                          virStorageFspoolRoot *root,
                          const char *path,
                          const char *volume)
{
    size_t i;

    for (i = 0; i < FOLDER_TRIES; i++) {
        int rc = virStorageFspoolPlaceOfHead(place, root, path, true, volume);

        if (rc <= 0)
            return rc;
        virStorageFspoolPlaceClear(place);
    }
    virReportSystemError(ENOENT, _("cannot make the directories on the way to volume '%1$s'"), volume);
    return -1;
}


/**
 * virStorageFspoolStageInstallHead:
 * @stage: tree, durable
 * @path: where it goes below the pool, and nothing is
 * @volume: for errors
 *
 * Folders on the way are made, and go again if it fails.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolStageInstallHead(virStorageFspoolStage *stage,
                                 const char *path,
                                 const char *volume)
{
    bool gone = true;
    size_t i;

    for (i = 0; gone && i < FOLDER_TRIES; i++) {
        g_auto(virStorageFspoolPlace) place = VIR_STORAGE_FSPOOL_PLACE_INIT;

        if (virStorageFspoolPlaceMake(&place, stage->root, path, volume) < 0)
            break;
        if (virStorageFspoolStageMove(stage, &place) == 0)
            return 0;
        gone = errno == ENOENT;
        if (!gone || i + 1 == FOLDER_TRIES)
            virStorageFspoolStageReport(volume);
    }
    virStorageFspoolFoldersPrune(stage->root, path);
    return -1;
}


/* @entry is that of virStorageFspoolRevisionFormat(). */
void
virStorageFspoolPlaceOfRevision(virStorageFspoolPlace *place,
                                virStorageFspoolRoot *root,
                                const char *entry)
{
    place->dirfd = root->revisions;
    place->entry = g_strdup(entry);
}


/* As virStorageFspoolPlaceOfHead, for any state that was found in the pool. */
int
virStorageFspoolPlaceOfState(virStorageFspoolPlace *place,
                             virStorageFspoolRoot *root,
                             const virStorageRevState *state,
                             const char *name)
{
    const char *entry;

    if (state->kind == VIR_STORAGE_REV_HEAD)
        return virStorageFspoolPlaceOfHead(place, root, state->file, false, name);

    entry = strrchr(state->file, '/');
    virStorageFspoolPlaceOfRevision(place, root, entry + 1);
    return 0;
}


/* Opens the directory itself. */
int
virStorageFspoolPlaceOpen(const virStorageFspoolPlace *place,
                          const char *name)
{
    int fd = virStorageRevOpenAt(place->dirfd, place->entry, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0)
        virReportSystemError(errno, _("cannot open the directory of '%1$s'"), name);
    return fd;
}


void
virStorageFspoolPlaceClear(virStorageFspoolPlace *place)
{
    if (place->owned)
        VIR_FORCE_CLOSE(place->dirfd);
    place->dirfd = -1;
    place->owned = false;
    VIR_FREE(place->entry);
}


/**
 * virStorageFspoolExchange:
 * @one: directory
 * @other: directory
 * @name: for errors
 *
 * The switch: each of the two gets the other's place, at once and durably.
 *
 * Returns 0, or -1 with an error; what a failure of the last sync leaves is known by the pending mark
 */
int
virStorageFspoolExchange(const virStorageFspoolPlace *one,
                         const virStorageFspoolPlace *other,
                         const char *name)
{
    if (renameat2(one->dirfd, one->entry, other->dirfd, other->entry, RENAME_EXCHANGE) < 0 ||
        fsync(one->dirfd) < 0 || fsync(other->dirfd) < 0) {
        virReportSystemError(errno, _("cannot switch volume '%1$s' to its new content"), name);
        return -1;
    }
    return 0;
}


/**
 * virStorageFspoolTrash:
 * @root: pool
 * @place: directory that goes
 * @volume: for errors
 * @trashed: filled with its entry in the trash
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolTrash(virStorageFspoolRoot *root,
                      const virStorageFspoolPlace *place,
                      const char *volume,
                      char **trashed)
{
    if (!(*trashed = virStorageFspoolUnique(root, volume, virStorageFspoolTryTrash, place)) ||
        fsync(place->dirfd) < 0) {
        virReportSystemError(errno, _("cannot remove the directory of '%1$s'"), volume);
        return -1;
    }
    return 0;
}
