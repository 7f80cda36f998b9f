/*
 * storage_revision_operation.c: the frame of an operation on a volume with revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_operation.h"

#include "storage_revision_driver.h"
#include "storage_revision_pool.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* Returns a copy of what an operation needs of @def. */
virStorageRevContext *
virStorageRevContextNew(virStoragePoolDef *def)
{
    virStorageRevContext *ctx = g_new0(virStorageRevContext, 1);
    virStorageRevPool *pool = virStorageRevPoolGet(def);

    memcpy(ctx->uuid, def->uuid, VIR_UUID_BUFLEN);
    ctx->poolName = g_strdup(def->name);
    ctx->poolPath = g_strdup(def->target.path);
    ctx->poolKeep = virStorageRevPoolKeep(def);
    ctx->cloneRequired = pool->reflinkRequired != VIR_TRISTATE_BOOL_NO;
    ctx->allocationIsCapacity = def->refresh &&
        def->refresh->volume.allocation == VIR_STORAGE_VOL_DEF_REFRESH_ALLOCATION_CAPACITY;

    ctx->quotaRequired = pool->quotaRequired != VIR_TRISTATE_BOOL_NO;

    ctx->vg = g_strdup(def->source.name);
    ctx->thinPool = g_strdup(pool->thinPool);
    ctx->pvs = g_strdupv(pool->pvs);
    ctx->vgPartial = pool->vgPartial;
    ctx->headsActive = pool->activation == VIR_STORAGE_REV_ACTIVATION_ALL;
    ctx->vgExtentSize = pool->vgExtentSize;
    return ctx;
}


virStorageRevContext *
virStorageRevContextCopy(const virStorageRevContext *ctx)
{
    virStorageRevContext *copy = g_new0(virStorageRevContext, 1);

    *copy = *ctx;
    copy->poolName = g_strdup(ctx->poolName);
    copy->poolPath = g_strdup(ctx->poolPath);
    copy->vg = g_strdup(ctx->vg);
    copy->thinPool = g_strdup(ctx->thinPool);
    copy->pvs = g_strdupv(ctx->pvs);
    return copy;
}


void
virStorageRevContextFree(virStorageRevContext *ctx)
{
    if (!ctx)
        return;

    g_free(ctx->poolName);
    g_free(ctx->poolPath);
    g_free(ctx->vg);
    g_free(ctx->thinPool);
    g_strfreev(ctx->pvs);
    g_free(ctx);
}


/* Does a clone within the pool copy data, which takes its time? */
bool
virStorageRevPoolCopies(virStoragePoolObj *obj)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    const virStorageRevOps *ops = virStorageRevOpsForType(def->type);

    return ops->copiesData && ops->copiesData(def);
}


/**
 * virStorageRevPoolLockToo:
 * @locked: pool that is locked, or NULL
 * @other: pool to lock as well, or NULL
 *
 * Whoever waits for a pool while holding another holds the one with the lower address, so that no two wait for each
 * other. @locked may have been unlocked meanwhile.
 */
void
virStorageRevPoolLockToo(virStoragePoolObj *locked,
                         virStoragePoolObj *other)
{
    if (!other)
        return;
    if (!locked || locked < other) {
        virObjectLock(other);
        return;
    }

    virObjectUnlock(locked);
    virObjectLock(other);
    virObjectLock(locked);
}


static void
virStorageRevOperationLockPools(virStorageRevOperation *op)
{
    virObjectLock(op->obj);
    virStorageRevPoolLockToo(op->obj, op->sourceObj);
}


/* Takes the volume's locks with the pools unlocked, since it may have to wait for them. */
static int
virStorageRevOperationTakeLocks(virStorageRevOperation *op,
                                const char *volume,
                                const char *source,
                                const char *kept)
{
    unsigned char sourcePool[VIR_UUID_BUFLEN];

    memcpy(sourcePool,
           virStoragePoolObjGetDef(op->sourceObj ? op->sourceObj : op->obj)->uuid,
           VIR_UUID_BUFLEN);

    virObjectUnlock(op->obj);
    if (op->sourceObj)
        virObjectUnlock(op->sourceObj);

    op->locks = virStorageRevLocksAcquire(op->ctx->uuid, volume, sourcePool, source, kept, op->slow);

    virStorageRevOperationLockPools(op);
    return op->locks ? 0 : -1;
}


static int
virStorageRevOperationCheckActive(virStoragePoolObj *obj)
{
    if (!obj || virStoragePoolObjIsActive(obj))
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID, _("storage pool '%1$s' is not active"),
                   virStoragePoolObjGetDef(obj)->name);
    return -1;
}


static void
virStorageRevOperationMarkUse(virStorageRevOperation *op)
{
    size_t i;

    if (op->family->head)
        op->family->head->inUse = virStorageRevPoolStateInUse(op->obj, op->family, op->family->head);
    if (op->family->live)
        op->family->live->inUse = virStorageRevPoolStateInUse(op->obj, op->family, op->family->live);
    for (i = 0; i < op->family->revisions->len; i++) {
        virStorageRevState *state = g_ptr_array_index(op->family->revisions, i);

        state->inUse = virStorageRevPoolStateInUse(op->obj, op->family, state);
    }
}


/**
 * virStorageRevOperationBeginFrom:
 * @op: operation, zeroed; clear it in any case
 * @obj: pool of the volume
 * @sourceObj: another pool that @source is of, or NULL when it is of the same
 * @volume: the volume that is to change, without what follows an '@', or NULL when something is only read
 * @source: the volume to read from, likewise, or NULL
 * @kept: a volume of @obj that must not go away meanwhile, likewise, or NULL
 * @slow: whether data is going to be copied
 *
 * Called with the pools locked; they are locked again on return, whatever it returns.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageRevOperationBeginFrom(virStorageRevOperation *op,
                                virStoragePoolObj *obj,
                                virStoragePoolObj *sourceObj,
                                const char *volume,
                                const char *source,
                                const char *kept,
                                bool slow)
{
    virStorageRevFamily *family;

    op->obj = obj;
    op->sourceObj = sourceObj;
    op->slow = slow;
    op->ops = virStorageRevOpsForType(virStoragePoolObjGetDef(obj)->type);
    op->ctx = virStorageRevContextNew(virStoragePoolObjGetDef(obj));

    if (virStorageRevOperationTakeLocks(op, volume, source, kept) < 0 ||
        virStorageRevOperationCheckActive(obj) < 0 ||
        virStorageRevOperationCheckActive(sourceObj) < 0)
        return -1;
    virStorageRevPoolDropHeld(obj);

    if (volume) {
        family = virStorageRevPoolFind(obj, volume);
        if (!(op->family = family ? virStorageRevFamilyCopy(family) : virStorageRevFamilyNew(volume)))
            return -1;
        virStorageRevOperationMarkUse(op);
    }

    if (source && !sourceObj && (family = virStorageRevPoolFind(obj, source)))
        op->source = virObjectRef(family);
    return 0;
}


/* As virStorageRevOperationBeginFrom, within one pool. */
int
virStorageRevOperationBegin(virStorageRevOperation *op,
                            virStoragePoolObj *obj,
                            const char *volume,
                            const char *source,
                            bool slow)
{
    return virStorageRevOperationBeginFrom(op, obj, NULL, volume, source, NULL, slow);
}


/* Unlocks the pools. Only an operation that copies data counts as an asynchronous job: the short ones do not stand in
 * the way of a refresh, which leaves alone the volumes that are locked. */
void
virStorageRevOperationUnlock(virStorageRevOperation *op)
{
    if (op->slow)
        virStoragePoolObjIncrAsyncjobs(op->obj);
    virObjectUnlock(op->obj);

    if (op->sourceObj) {
        virStoragePoolObjIncrAsyncjobs(op->sourceObj);
        virObjectUnlock(op->sourceObj);
    }
    op->unlocked = true;
}


/**
 * virStorageRevOperationReread:
 * @op: operation, with the pools unlocked
 *
 * How far something that failed came, the storage itself knows best. Keeps the error that there is.
 */
void
virStorageRevOperationReread(virStorageRevOperation *op)
{
    virStorageRevFamily *family;
    virErrorPtr err = NULL;

    virErrorPreserveLast(&err);
    if ((family = op->ops->read(op->ctx, op->family->volume))) {
        virObjectUnref(op->family);
        op->family = family;
    }
    virErrorRestore(&err);
}


/* Locks the pools again, after work whose @result is known. */
void
virStorageRevOperationLock(virStorageRevOperation *op,
                           int result)
{
    if (result < 0 && op->family)
        virStorageRevOperationReread(op);

    virStorageRevOperationLockPools(op);
    if (op->slow)
        virStoragePoolObjDecrAsyncjobs(op->obj);
    if (op->sourceObj)
        virStoragePoolObjDecrAsyncjobs(op->sourceObj);
    op->unlocked = false;
}


/**
 * virStorageRevOperationEnd:
 * @op: operation; the pool is locked
 * @result: what the backend returned
 *
 * Shows the pool what the volume now consists of, also one that is just being stopped, and may have to stay. One that
 * was stopped meanwhile reads everything anew when it starts.
 *
 * Returns @result, or -1 with an error
 */
int
virStorageRevOperationEnd(virStorageRevOperation *op,
                          int result)
{
    virErrorPtr err = NULL;

    virErrorPreserveLast(&err);
    if (virStoragePoolObjIsActive(op->obj) || virStorageRevPoolIsStopping(op->obj)) {
        if (virStorageRevPoolPut(op->obj, op->family) < 0 && result == 0) {
            result = -1;
            virFreeError(err);
            virErrorPreserveLast(&err);
        }
        if (op->ops->updatePool(op->obj) < 0)
            virResetLastError();
    }
    virErrorRestore(&err);
    return result;
}


void
virStorageRevOperationClear(virStorageRevOperation *op)
{
    if (op->unlocked)
        virStorageRevOperationLock(op, 0);

    virObjectUnref(op->family);
    virObjectUnref(op->source);
    virStorageRevLocksRelease(op->locks);
    virStorageRevContextFree(op->ctx);
}
