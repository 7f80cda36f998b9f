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

/* So many files of a volume are open together: a daemon may have 1,024, unless it is told otherwise. */
#define CLAIMS_MAX 64


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


static void
virStorageReflinkClaimClear(virStorageReflinkClaim *claim)
{
    virStorageRevUnlockAndClose(&claim->fd);
    g_free((char *) claim->name);
}


static GArray *
virStorageReflinkClaimsNew(void)
{
    GArray *claims = g_array_new(false, false, sizeof(virStorageReflinkClaim));

    g_array_set_clear_func(claims, (GDestroyNotify) virStorageReflinkClaimClear);
    return claims;
}


static void
virStorageReflinkLetGoAll(virStorageRevContext *ctx,
                          GArray *claims)
{
    size_t i;

    for (i = 0; i < claims->len; i++)
        virStorageReflinkLetGo(ctx, &g_array_index(claims, virStorageReflinkClaim, i).fd);
}


/* Opens a file that is to be removed, unless it has gone already. */
static int
virStorageReflinkClaimOne(virStorageRevFamily *family,
                          virStorageReflinkDir *dir,
                          virStorageRevState *state,
                          GArray *claims)
{
    g_autofree char *name = virStorageRevStateName(family, state);
    virStorageReflinkClaim claim = { 0 };

    if (state->inUse) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("volume '%1$s' is still in use."), name);
        return -1;
    }
    if (virStorageReflinkOpenToRemove(dir, state, name, &claim.fd) < 0)
        return -1;
    if (claim.fd >= 0) {
        claim.name = g_steal_pointer(&name);
        g_array_append_val(claims, claim);
    }
    return 0;
}


/* Keeps everybody from using @count revisions from @first on, and what is in @claims already, as long as there is @claims. */
static int
virStorageReflinkClaimRevisions(virStorageRevFamily *family,
                                virStorageReflinkDir *dir,
                                size_t first,
                                size_t count,
                                GArray *claims)
{
    size_t i;

    for (i = first; i < first + count; i++) {
        if (virStorageReflinkClaimOne(family, dir, g_ptr_array_index(family->revisions, i), claims) < 0)
            return -1;
    }
    return virStorageReflinkExcludeAll((void *) claims->data, claims->len,
                                       VIR_STORAGE_REFLINK_EXCLUDE_USERS);
}


/* Can all revisions be removed? Where there are too many for their files to be open together, that is asked before the
 * first of them is. */
static int
virStorageReflinkCheckRevisions(virStorageRevFamily *family,
                                virStorageReflinkDir *dir)
{
    size_t len = family->revisions->len;
    size_t i;

    for (i = 0; len > CLAIMS_MAX && i < len; i += CLAIMS_MAX) {
        g_autoptr(GArray) claims = virStorageReflinkClaimsNew();

        if (virStorageReflinkClaimRevisions(family, dir, i, MIN(len - i, CLAIMS_MAX), claims) < 0)
            return -1;
    }
    return 0;
}


/* Removes the first @count revisions. */
static int
virStorageReflinkRemoveRevisions(virStorageRevFamily *family,
                                 virStorageReflinkDir *dir,
                                 size_t count)
{
    while (count-- > 0) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, 0);

        if (virStorageReflinkFileRemove(dir, virStorageReflinkBaseOf(state), family->volume) < 0)
            return -1;
        g_ptr_array_remove_index(family->revisions, 0);
    }
    return 0;
}


/* Removes the revisions that are left of so many that it is done by parts. */
static int
virStorageReflinkRemoveRest(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            virStorageReflinkDir *dir)
{
    while (family->revisions->len > 0) {
        size_t count = MIN(family->revisions->len, CLAIMS_MAX);
        g_autoptr(GArray) claims = virStorageReflinkClaimsNew();

        if (virStorageReflinkClaimRevisions(family, dir, 0, count, claims) < 0 ||
            virStorageReflinkRemoveRevisions(family, dir, count) < 0)
            return -1;
        virStorageReflinkLetGoAll(ctx, claims);
    }
    return virStorageReflinkDirSync(dir, family->volume);
}


/* Removes precache, revisions and head, the head last: whenever it is interrupted, what is left is a volume. Nobody can use
 * the head meanwhile. */
static int
virStorageReflinkDeleteFiles(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             virStorageReflinkDir *dir)
{
    g_autoptr(GArray) claims = virStorageReflinkClaimsNew();
    size_t count = MIN(family->revisions->len, CLAIMS_MAX);

    if (virStorageReflinkCheckRevisions(family, dir) < 0 ||
        virStorageReflinkClaimOne(family, dir, family->head, claims) < 0 ||
        virStorageReflinkClaimRevisions(family, dir, 0, count, claims) < 0 ||
        virStorageReflinkDropPrecache(dir, family->volume) < 0 ||
        virStorageReflinkRemoveRevisions(family, dir, count) < 0 ||
        virStorageReflinkRemoveRest(ctx, family, dir) < 0 ||
        virStorageReflinkFileRemove(dir, virStorageReflinkBaseOf(family->head), family->volume) < 0)
        return -1;

    g_clear_pointer(&family->head, virStorageRevStateFree);
    if (virStorageReflinkDirSync(dir, family->volume) < 0)
        return -1;
    virStorageReflinkLetGoAll(ctx, claims);
    return 0;
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
    int rc;

    if ((rc = virStorageReflinkOpenDirToRemove(ctx, family, &dir)) <= 0)
        return rc;

    if (virStorageReflinkStageClear(&dir, family->volume) < 0 ||
        virStorageReflinkDeleteFiles(ctx, family, &dir) < 0)
        return -1;
    virStorageReflinkDirPrune(ctx->poolPath, family->volume);
    return 0;
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
