/*
 * storage_reflink_delete.c: removing volumes and revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "storage_reflink_volume.h"

#include "storage_reflink_extents.h"
#include "storage_reflink_use.h"
#include "storage_revision_facts.h"
#include "storage_revision_worker.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* Closes a removed image, which frees its extents: where there are many the worker does that. */
void
virStorageReflinkLetGo(virStorageRevContext *ctx,
                       int *fd)
{
    if (*fd >= 0 && virStorageReflinkHasFewExtents(*fd))
        VIR_FORCE_CLOSE(*fd);
    else
        virStorageRevWorkerClose(fd, ctx);
    virStorageRevWorkerSettle(ctx);
}


/* Removes the live copy, which is open in @fd with everybody kept from using it until it is gone. */
int
virStorageReflinkRemoveLive(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            virStorageReflinkDir *dir,
                            int *fd)
{
    g_autofree char *name = virStorageRevStateName(family, family->live);

    if (virStorageReflinkFileRemove(dir, virStorageReflinkBaseOf(family->live), name) < 0)
        return -1;

    virStorageReflinkLetGo(ctx, fd);
    g_clear_pointer(&family->live, virStorageRevStateFree);
    return virStorageReflinkDirSync(dir, family->volume);
}


/* Can every file of the volume be removed? Asked before the first is; the answer holds as long as @claims are open. What
 * has gone already need not be. */
static int
virStorageReflinkClaimAll(virStorageRevFamily *family,
                          virStorageReflinkDir *dir,
                          GPtrArray *names,
                          GArray *claims)
{
    size_t i;

    for (i = 0; i <= family->revisions->len; i++) {
        virStorageRevState *state = i < family->revisions->len ? g_ptr_array_index(family->revisions, i) : family->head;
        virStorageReflinkClaim claim = { .name = virStorageRevStateName(family, state) };

        g_ptr_array_add(names, (void *) claim.name);
        if (virStorageReflinkOpenToRemove(dir, state, claim.name, &claim.fd) < 0)
            return -1;
        if (claim.fd >= 0)
            g_array_append_val(claims, claim);
        if (state->inUse) {
            virReportError(VIR_ERR_OPERATION_INVALID, _("volume '%1$s' is still in use."), claim.name);
            return -1;
        }
    }
    return virStorageReflinkExcludeAll((void *) claims->data, claims->len,
                                       VIR_STORAGE_REFLINK_EXCLUDE_USERS);
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

        if (virStorageReflinkFileRemove(dir, virStorageReflinkBaseOf(state), family->volume) < 0)
            return -1;
        g_ptr_array_remove_index(family->revisions, 0);
    }
    if (virStorageReflinkDirSync(dir, family->volume) < 0)
        return -1;

    if (virStorageReflinkFileRemove(dir, virStorageReflinkBaseOf(family->head), family->volume) < 0)
        return -1;
    g_clear_pointer(&family->head, virStorageRevStateFree);
    return virStorageReflinkDirSync(dir, family->volume);
}


/* Opens the volume's directory. Returns 1, 0 when that has gone with all that was in it, or -1 with an error. */
static int
virStorageReflinkOpenDirToRemove(virStorageRevContext *ctx,
                                 virStorageRevFamily *family,
                                 virStorageReflinkDir *dir)
{
    if (virStorageReflinkDirOpen(dir, ctx->poolPath, family->volume, false) == 0)
        return 1;
    if (errno != ENOENT || access(ctx->poolPath, F_OK) < 0)
        return -1;

    virResetLastError();
    g_ptr_array_set_size(family->revisions, 0);
    g_clear_pointer(&family->head, virStorageRevStateFree);
    return 0;
}


int
virStorageReflinkDeleteVolume(virStorageRevContext *ctx,
                              virStorageRevFamily *family)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) claims = g_array_new(false, false, sizeof(virStorageReflinkClaim));
    int rc;
    int ret = -1;
    size_t i;

    if ((rc = virStorageReflinkOpenDirToRemove(ctx, family, &dir)) <= 0)
        return rc;

    if (virStorageReflinkStageClear(&dir, family->volume) == 0 &&
        virStorageReflinkClaimAll(family, &dir, names, claims) == 0)
        ret = virStorageReflinkDeleteFiles(family, &dir);

    for (i = 0; i < claims->len; i++) {
        int fd = g_array_index(claims, virStorageReflinkClaim, i).fd;

        if (ret == 0)
            virStorageReflinkLetGo(ctx, &fd);
        virStorageRevUnlockAndClose(&fd);
    }
    if (ret == 0)
        virStorageReflinkDirPrune(ctx->poolPath, family->volume);
    return ret;
}


static int
virStorageReflinkRememberNextId(virStorageRevContext *ctx,
                                virStorageRevFamily *family,
                                const virStorageRevState *revision)
{
    g_auto(virStorageRevMeta) facts = { 0 };

    if (!virStorageRevFactsToRemember(family, revision, &facts))
        return 0;
    return virStorageReflinkRedefine(ctx, family, &facts);
}


int
virStorageReflinkDeleteRevision(virStorageRevContext *ctx,
                                virStorageRevFamily *family,
                                const virStorageRevState *revision)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autofree char *name = virStorageRevStateName(family, revision);
    VIR_STORAGE_REV_AUTOUNLOCK fd = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        virStorageReflinkRememberNextId(ctx, family, revision) < 0 ||
        virStorageReflinkOpenToRemove(&dir, revision, name, &fd) < 0 ||
        (fd >= 0 && virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_USERS, name) < 0) ||
        virStorageReflinkFileRemove(&dir, virStorageReflinkBaseOf(revision), name) < 0)
        return -1;

    virStorageReflinkLetGo(ctx, &fd);
    g_ptr_array_remove(family->revisions, (void *) revision);
    if (virStorageReflinkDirSync(&dir, family->volume) < 0)
        return -1;
    if (virStorageRevFamilyIsEmpty(family))
        virStorageReflinkDirPrune(ctx->poolPath, family->volume);
    return 0;
}
