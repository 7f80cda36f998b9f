/*
 * storage_fspool_replace.c: giving a volume another tree where directories cannot change places
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_fspool_replace.h"

#include "storage_fspool_rename.h"
#include "storage_fspool_volume.h"
#include "viralloc.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_replace");

/*
 * NFS can only rename. The new tree is built aside, and the head has a mark when it moves that says where it was:
 *
 *   NAME gets the mark                    nothing has happened yet: a refresh takes it off
 *   NAME      →  revisions/NAME@7         there is no head: a refresh puts it back
 *   staging/… →  NAME                     the switch
 *   NAME@7 loses the mark, or goes        a refresh does that, too
 *
 * Whatever of it is durable after a crash, the tree that leaves is the head as long as there is no other. A client sees,
 * for a moment, that the directory is missing; what it has open stays open.
 */


/* The path of a volume that lies at its name, which is recorded elsewhere and can be long. */
#define AT_ITS_NAME "."


/* Marks a tree as leaving @path, or as staying when that is NULL. A revision that is pending as well is to be removed. */
static int
virStorageFspoolReplaceMark(int fd,
                            const virStorageRevMeta *facts,
                            const char *path,
                            bool removes,
                            const char *volume)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevMetaCopy(&meta, facts);
    g_free(meta.leaving);
    meta.leaving = g_strdup(path);
    meta.pending = removes;
    if (virStorageRevMetaWriteFile(fd, &meta, volume) < 0)
        return -1;
    return virStorageRevSync(fd, volume);
}


static int
virStorageFspoolReplaceMove(const virStorageFspoolPlace *from,
                            const virStorageFspoolPlace *to,
                            const char *volume)
{
    if (virStorageFspoolRenameNew(from->dirfd, from->entry, to->dirfd, to->entry) < 0 ||
        fsync(from->dirfd) < 0 || fsync(to->dirfd) < 0) {
        virReportSystemError(errno, _("cannot switch volume '%1$s' to its new content"), volume);
        return -1;
    }
    return 0;
}


/* Moves the tree that was the head back to where it was. Folders go as soon as they are empty, and this one may have been
 * the last in its own. */
static int
virStorageFspoolReplaceMoveBack(virStorageFspoolPool *pool,
                                const virStorageFspoolPlace *revision,
                                const char *path,
                                const char *volume)
{
    g_auto(virStorageFspoolPlace) head = VIR_STORAGE_FSPOOL_PLACE_INIT;

    if (virStorageFspoolPlaceMake(&head, &pool->root, path, volume) < 0)
        return -1;
    return virStorageFspoolReplaceMove(revision, &head, volume);
}


/* Takes back what was begun; what cannot be is left to the next refresh. */
static void
virStorageFspoolReplaceUndo(virStorageFspoolPool *pool,
                            virStorageRevFamily *family,
                            const virStorageFspoolPlace *revision,
                            int fd)
{
    virErrorPtr err = NULL;
    struct stat sb;
    bool left;

    virErrorPreserveLast(&err);
    left = fstatat(revision->dirfd, revision->entry, &sb, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
    if (left && virStorageFspoolReplaceMoveBack(pool, revision, family->head->file, family->volume) < 0)
        VIR_WARN("the next refresh brings volume '%s' back: %s", family->volume, virGetLastErrorMessage());
    else
        ignore_value(virStorageFspoolReplaceMark(fd, &family->head->meta, NULL, false, family->volume));
    virErrorRestore(&err);
}


/**
 * virStorageFspoolReplace:
 * @pool: pool, in whose file system two directories cannot change places
 * @family: volume, whose lock is held
 * @stage: the new tree, complete and durable
 * @head: where the head is
 * @revision: where the former head goes, and nothing is
 * @removes: whether the former head is not to be kept there
 *
 * Returns 0, or -1 with an error; then the head is the former one, or will be after a refresh
 */
int
virStorageFspoolReplace(virStorageFspoolPool *pool,
                        virStorageRevFamily *family,
                        virStorageFspoolStage *stage,
                        const virStorageFspoolPlace *head,
                        const virStorageFspoolPlace *revision,
                        bool removes)
{
    const virStorageRevState *state = family->head;
    const char *path = STREQ(state->file, family->volume) ? AT_ITS_NAME : state->file;
    VIR_AUTOCLOSE fd = virStorageFspoolPlaceOpen(head, family->volume);
    int rc;

    if (fd < 0 ||
        virStorageFspoolReplaceMark(fd, &state->meta, path, removes, family->volume) < 0)
        return -1;

    if (virStorageFspoolReplaceMove(head, revision, family->volume) < 0 ||
        virStorageFspoolStageInstallHead(stage, state->file, family->volume) < 0) {
        virStorageFspoolReplaceUndo(pool, family, revision, fd);
        return -1;
    }

    if (removes)
        rc = virStorageFspoolItemRemove(pool, revision, family->volume);
    else
        rc = virStorageFspoolReplaceMark(fd, &state->meta, NULL, false, family->volume);
    if (rc < 0)
        virStorageFspoolSwitchLater(family);
    return 0;
}


/* The head goes back to where it was: at its name, too, when what the mark says is no path of a volume's. */
static int
virStorageFspoolReplaceBack(virStorageFspoolPool *pool,
                            virStorageRevFamily *family,
                            const virStorageFspoolPlace *revision,
                            const virStorageRevState *state,
                            int fd)
{
    const char *path = virStorageFspoolPathProblem(state->meta.leaving) ? family->volume : state->meta.leaving;

    if (virStorageFspoolReplaceMoveBack(pool, revision, path, family->volume) < 0 ||
        virStorageFspoolReplaceMark(fd, &state->meta, NULL, false, family->volume) < 0)
        return -1;

    VIR_INFO("undid an unfinished switch of volume '%s'", family->volume);
    return virStorageFspoolPublishHead(pool, family, fd, path);
}


/* Returns 1 when the revision is none any more, 0 when it is one, -1 with an error. */
static int
virStorageFspoolReplaceRecoverRevision(virStorageFspoolPool *pool,
                                       virStorageRevFamily *family,
                                       virStorageRevState *state)
{
    g_auto(virStorageFspoolPlace) place = VIR_STORAGE_FSPOOL_PLACE_INIT;
    VIR_AUTOCLOSE fd = -1;

    if (virStorageFspoolPlaceOfState(&place, &pool->root, state, family->volume) < 0 ||
        (fd = virStorageFspoolPlaceOpen(&place, family->volume)) < 0)
        return -1;

    if (!family->head)
        return virStorageFspoolReplaceBack(pool, family, &place, state, fd) < 0 ? -1 : 1;
    if (state->meta.pending)
        return virStorageFspoolItemRemove(pool, &place, family->volume) < 0 ? -1 : 1;

    if (virStorageFspoolReplaceMark(fd, &state->meta, NULL, false, family->volume) < 0)
        return -1;
    VIR_FREE(state->meta.leaving);
    state->reused = false;
    return 0;
}


/**
 * virStorageFspoolReplaceRecover:
 * @pool: pool
 * @family: volume, whose lock is held; brought in line with what is changed
 *
 * Undoes or finishes a replacement that was interrupted.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolReplaceRecover(virStorageFspoolPool *pool,
                               virStorageRevFamily *family)
{
    size_t i = family->revisions->len;

    while (i-- > 0) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);
        int rc;

        if (!state->meta.leaving)
            continue;
        if ((rc = virStorageFspoolReplaceRecoverRevision(pool, family, state)) < 0)
            return -1;
        if (rc > 0)
            g_ptr_array_remove(family->revisions, state);
    }
    return 0;
}
