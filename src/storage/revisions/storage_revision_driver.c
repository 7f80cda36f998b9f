/*
 * storage_revision_driver.c: the storage driver's calls on volumes with revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_driver.h"

#include "storage_backend_fspool.h"
#include "storage_backend_qubes_thin.h"
#include "storage_backend_reflink.h"
#include "storage_revision_chain.h"
#include "storage_revision_checks.h"
#include "storage_revision_operation.h"
#include "storage_revision_pool.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* Called when libvirt registers its storage backends. */
int
virStorageRevBackendsRegister(void)
{
    if (virStorageBackendReflinkRegister() < 0 ||
        virStorageBackendQubesThinRegister() < 0)
        return -1;
    return virStorageBackendFspoolRegister();
}


/* Returns the operations of a pool type, or NULL when this build has none. */
const virStorageRevOps *
virStorageRevOpsForType(int type)
{
    if (type == VIR_STORAGE_POOL_REFLINK)
        return virStorageBackendReflinkOps();
    if (type == VIR_STORAGE_POOL_QUBES_THIN)
        return virStorageBackendQubesThinOps();
    if (type == VIR_STORAGE_POOL_FSPOOL)
        return virStorageBackendFspoolOps();
    return NULL;
}


/* The capacity may be left out: a clone has that of its source. */
unsigned int
virStorageRevVolParseFlags(virStoragePoolDef *pool)
{
    return virStorageRevPoolTypeIs(pool->type) ? VIR_VOL_XML_PARSE_NO_CAPACITY : 0;
}


/* Does a pool lie on a volume of another one, which has to be active by the time that it is started? */
bool
virStorageRevPoolIsOnVolume(virStoragePoolDef *pool)
{
    return virStorageRevPoolTypeIs(pool->type) && virStorageRevPoolGet(pool)->sourceVolume;
}


/* A backing store is named relative to the pool's directory, as in libvirt's own pools, wherever below it the volume lies. */
static void
virStorageRevCreateResolveBacking(virStoragePoolObj *obj,
                                  virStorageVolDef *def)
{
    g_autofree char *pool = g_strdup_printf("%s/.", virStoragePoolObjGetDef(obj)->target.path);
    char *absolute;

    if (!def->target.backingStore)
        return;

    absolute = virStorageRevChainAbsolute(pool, def->target.backingStore->path);
    g_free(def->target.backingStore->path);
    def->target.backingStore->path = absolute;
}


/* What a new volume without a create-from is made of. */
typedef struct _virStorageRevTemplate virStorageRevTemplate;
struct _virStorageRevTemplate {
    virStorageRevName name;
    bool found;
};


/* A lifecycle's source, or a backing store of the same format in this pool, is cloned. */
static int
virStorageRevCreateTemplate(virStoragePoolObj *obj,
                            virStorageVolDef *def,
                            virStorageRevTemplate *template)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);
    virStorageVolDef *backing;

    if (vol->hasLifecycle && vol->snapOnStart) {
        template->found = true;
        template->name.volume = g_strdup(vol->source);
        return 0;
    }

    if (!def->target.backingStore)
        return 0;

    backing = virStorageVolDefFindByPath(obj, def->target.backingStore->path);
    if (backing && (!vol->hasFormat || backing->target.format == def->target.format)) {
        template->found = true;
        return virStorageRevNameParse(backing->name, &template->name);
    }

    if (def->target.format != VIR_STORAGE_FILE_QCOW2) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' of format '%2$s' cannot have a backing store: only a qcow2 volume can be an overlay of '%3$s'"),
                       def->name, virStorageFileFormatTypeToString(def->target.format),
                       def->target.backingStore->path);
        return -1;
    }
    return 0;
}


static int
virStorageRevCreateRun(virStorageRevOperation *op,
                       virStorageRevTemplate *template,
                       virStorageVolDef *def,
                       unsigned int flags)
{
    virStorageRevSource source = { .family = op->source };
    g_autofree char *name = NULL;
    int ret;

    if (virStorageRevCheckNew(op) < 0)
        return -1;

    if (template->found) {
        if (!(source.state = virStorageRevCheckSource(op->source, &template->name)))
            return -1;
        source.name = name = virStorageRevStateName(op->source, source.state);
        if (virStorageRevCheckContent(def, op->obj, name, source.state->meta.format) < 0)
            return -1;
    }

    virStorageRevOperationUnlock(op);
    if (template->found)
        ret = op->ops->clone(op->ctx, op->family, &source, def);
    else
        ret = op->ops->create(op->ctx, op->family, def, flags);
    virStorageRevOperationLock(op, ret);

    return virStorageRevOperationEnd(op, ret);
}


/* Compares the backing chain that the document describes with the images. */
static int
virStorageRevCreateCheckChain(virStoragePoolObj *obj,
                              virStorageVolDef *def)
{
    const virStorageRevChain *wanted = virStorageRevVolGet(def)->wantedChain;
    g_autofree char *path = g_strdup_printf("%s/%s", virStoragePoolObjGetDef(obj)->target.path, def->name);
    g_autoptr(virStorageRevChain) found = NULL;
    const virStorageRevChainMember *first;
    virStorageVolDef *backing;
    int format;

    if (!wanted || wanted->members->len == 0)
        return 0;

    first = g_ptr_array_index(wanted->members, 0);
    backing = virStorageVolDefFindByPath(obj, first->path);
    format = backing ? backing->target.format : first->source->format;
    found = virStorageRevChainRead(path, first->path, format);
    return virStorageRevChainCheckSame(wanted, found, def->name);
}


static int
virStorageRevCreate(virStoragePoolObj *obj,
                    virStorageVolDef *def,
                    unsigned int flags)
{
    g_auto(virStorageRevOperation) op = { 0 };
    g_auto(virStorageRevName) name = { 0 };
    virStorageRevTemplate template = { 0 };
    int ret = -1;

    if (virStorageRevNameParse(def->name, &name) < 0)
        return -1;

    if (virStorageRevPoolHas(obj, def->name)) {
        virReportError(VIR_ERR_STORAGE_VOL_EXIST, _("'%1$s'"), def->name);
        return -1;
    }
    if (name.kind != VIR_STORAGE_REV_HEAD) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("'%1$s' cannot be created blank: live copies and revisions are created from a volume, with vol-clone or vol-create-from"),
                       def->name);
        return -1;
    }
    if (virStorageRevCheckTargetName(virStoragePoolObjGetDef(obj), &name) < 0)
        return -1;
    virStorageRevCreateResolveBacking(obj, def);
    if ((flags & VIR_STORAGE_VOL_CREATE_VALIDATE) && virStorageRevCreateCheckChain(obj, def) < 0)
        return -1;

    if (virStorageRevCreateTemplate(obj, def, &template) == 0 &&
        virStorageRevCheckOptions(def, !template.found, flags) == 0 &&
        virStorageRevOperationBegin(&op, obj, name.volume, template.name.volume,
                                    template.found && virStorageRevPoolCopies(obj)) == 0)
        ret = virStorageRevCreateRun(&op, &template, def, flags);

    virStorageRevNameClear(&template.name);
    return ret;
}


bool
virStorageRevVolCreateXML(virConnectPtr conn,
                          virStoragePoolObj *obj,
                          virStorageVolDef *def,
                          unsigned int flags,
                          virStorageVolPtr *vol)
{
    if (!virStorageRevPoolTypeIs(virStoragePoolObjGetDef(obj)->type))
        return false;

    if (virStorageRevCreate(obj, def, flags) == 0)
        *vol = virStorageRevVolLookup(conn, obj, def->name);
    return true;
}


static int
virStorageRevDeleteHead(virStorageRevOperation *op,
                        unsigned int flags)
{
    const char *dependent = virStorageRevPoolFindDependent(op->obj, op->family->volume);

    if (virStorageRevCheckClean(op) < 0)
        return -1;
    if (dependent) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' is the source that volume '%2$s' starts from"), op->family->volume, dependent);
        return -1;
    }
    if (virStorageRevFamilyPinnedCount(op->family) > 0 && !(flags & VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' has pinned revisions: delete those first, or delete it with its snapshots"),
                       op->family->volume);
        return -1;
    }
    return 0;
}


static int
virStorageRevDeleteRun(virStorageRevOperation *op,
                       const virStorageRevName *name,
                       unsigned int flags)
{
    virStorageRevState *state = virStorageRevFamilyFind(op->family, name);
    int ret = -1;

    if (!state) {
        virReportError(VIR_ERR_NO_STORAGE_VOL, _("volume '%1$s' has no such state any more"), name->volume);
        return -1;
    }
    if (virStorageRevCheckUnused(op->family, state) < 0)
        return -1;
    if (name->kind == VIR_STORAGE_REV_HEAD && virStorageRevDeleteHead(op, flags) < 0)
        return -1;

    virStorageRevOperationUnlock(op);
    switch (name->kind) {
    case VIR_STORAGE_REV_HEAD:
        ret = op->ops->deleteVolume(op->ctx, op->family);
        break;
    case VIR_STORAGE_REV_LIVE:
        ret = op->ops->discard(op->ctx, op->family);
        break;
    case VIR_STORAGE_REV_NUMBERED:
    case VIR_STORAGE_REV_PINNED:
        ret = op->ops->deleteRevision(op->ctx, op->family, state);
        break;
    }
    virStorageRevOperationLock(op, ret);

    return virStorageRevOperationEnd(op, ret);
}


bool
virStorageRevVolDelete(virStorageVolPtr vol,
                       virStoragePoolObj *obj,
                       unsigned int flags,
                       int *ret)
{
    g_auto(virStorageRevOperation) op = { 0 };
    g_auto(virStorageRevName) name = { 0 };

    if (!virStorageRevPoolTypeIs(virStoragePoolObjGetDef(obj)->type))
        return false;

    *ret = -1;
    virCheckFlags(VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS, true);

    if (virStorageRevNameParse(vol->name, &name) == 0 &&
        virStorageRevOperationBegin(&op, obj, name.volume, NULL, false) == 0)
        *ret = virStorageRevDeleteRun(&op, &name, flags);
    return true;
}


/* Returns the state that a resize of @name changes: while there is a live copy that one, so that the change is taken
 * back with it. */
static virStorageRevState *
virStorageRevResizeState(virStorageRevOperation *op,
                         const virStorageRevName *name)
{
    if (name->kind == VIR_STORAGE_REV_NUMBERED || name->kind == VIR_STORAGE_REV_PINNED) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("a revision of volume '%1$s' cannot be resized: revert to it first, or clone it"),
                       name->volume);
        return NULL;
    }
    if (op->family->live)
        return op->family->live;
    if (name->kind == VIR_STORAGE_REV_HEAD && op->family->head)
        return op->family->head;

    virReportError(VIR_ERR_NO_STORAGE_VOL, _("volume '%1$s' has no such state any more"), name->volume);
    return NULL;
}


/* A machine may have been given a larger disk since the last refresh. */
static int
virStorageRevResizeReread(virStorageRevOperation *op,
                          virStorageRevState *state)
{
    int ret;

    if (!op->ops->reread)
        return 0;

    virStorageRevOperationUnlock(op);
    ret = op->ops->reread(op->ctx, op->family, state);
    virStorageRevOperationLock(op, ret);

    return ret < 0 ? virStorageRevOperationEnd(op, ret) : 0;
}


/* No limit at all is written as 0, which is not what a difference arrives at, nor what one is counted from. */
static int
virStorageRevResizeCheckLimit(const virStorageRevState *state,
                              const char *volume,
                              unsigned long long difference,
                              unsigned int flags)
{
    if (!(flags & VIR_STORAGE_VOL_RESIZE_DELTA) || difference == 0)
        return 0;

    if (state->capacity == 0) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("volume '%1$s' has no limit that a difference could change: give the new capacity itself"),
                       volume);
        return -1;
    }
    if (flags & VIR_STORAGE_VOL_RESIZE_SHRINK && difference >= state->capacity) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("the limit of volume '%1$s' is %2$llu bytes, and cannot be lowered by %3$llu: give the new capacity itself, 0 for no limit"),
                       volume, state->capacity, difference);
        return -1;
    }
    return 0;
}


static int
virStorageRevResizeTarget(const virStorageRevState *state,
                          const char *volume,
                          unsigned long long capacity,
                          unsigned int flags,
                          unsigned long long *target)
{
    *target = capacity;
    if (flags & VIR_STORAGE_VOL_RESIZE_DELTA) {
        if (flags & VIR_STORAGE_VOL_RESIZE_SHRINK)
            *target = state->capacity - MIN(capacity, state->capacity);
        else
            *target = state->capacity + capacity;
    }

    if (*target > LLONG_MAX || *target < (flags & VIR_STORAGE_VOL_RESIZE_DELTA ? 0 : capacity)) {
        virReportError(VIR_ERR_OVERFLOW, _("volume '%1$s' cannot be that large"), volume);
        return -1;
    }
    if (*target < state->capacity && !(flags & VIR_STORAGE_VOL_RESIZE_SHRINK)) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("volume '%1$s' can't shrink below its capacity of %2$llu bytes unless the shrink flag is given"),
                       volume, state->capacity);
        return -1;
    }
    return 0;
}


static int
virStorageRevResizeRun(virStorageRevOperation *op,
                       const virStorageRevName *name,
                       unsigned long long capacity,
                       unsigned int flags)
{
    virStorageRevState *state = virStorageRevResizeState(op, name);
    unsigned long long target;
    int ret;

    if (!state ||
        virStorageRevResizeReread(op, state) < 0 ||
        (op->ops->capacityIsLimit && virStorageRevResizeCheckLimit(state, name->volume, capacity, flags) < 0) ||
        virStorageRevResizeTarget(state, name->volume, capacity, flags, &target) < 0)
        return -1;

    if (target == state->capacity && !(flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE))
        return virStorageRevOperationEnd(op, 0);

    if (flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE && state->meta.format == VIR_STORAGE_FILE_QCOW2) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("no space can be allocated for volume '%1$s': that is possible for raw images only"),
                       name->volume);
        return -1;
    }
    if (flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE &&
        target > state->allocation &&
        target - state->allocation > virStoragePoolObjGetDef(op->obj)->available) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("not enough space left in pool '%1$s' to allocate volume '%2$s'"),
                       op->ctx->poolName, name->volume);
        return -1;
    }

    virStorageRevOperationUnlock(op);
    ret = op->ops->resize(op->ctx, op->family, state->kind, target, flags);
    virStorageRevOperationLock(op, ret);

    return virStorageRevOperationEnd(op, ret);
}


bool
virStorageRevVolResize(virStorageVolPtr vol,
                       virStoragePoolObj *obj,
                       unsigned long long capacity,
                       unsigned int flags,
                       int *ret)
{
    g_auto(virStorageRevOperation) op = { 0 };
    g_auto(virStorageRevName) name = { 0 };

    if (!virStorageRevPoolTypeIs(virStoragePoolObjGetDef(obj)->type))
        return false;

    *ret = -1;
    if (virStorageRevNameParse(vol->name, &name) == 0 &&
        virStorageRevOperationBegin(&op, obj, name.volume, NULL, false) == 0)
        *ret = virStorageRevResizeRun(&op, &name, capacity, flags);
    return true;
}


static int
virStorageRevWipeRun(virStorageRevOperation *op,
                     const virStorageRevName *name)
{
    int ret;

    if (name->kind != VIR_STORAGE_REV_HEAD || op->family->live || !op->family->head) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("only a volume without a live copy can be wiped, which '%1$s' has or is"), name->volume);
        return -1;
    }

    virStorageRevOperationUnlock(op);
    ret = op->ops->wipe(op->ctx, op->family);
    virStorageRevOperationLock(op, ret);

    return virStorageRevOperationEnd(op, ret);
}


bool
virStorageRevVolWipe(virStorageVolPtr vol,
                     virStoragePoolObj *obj,
                     unsigned int algorithm,
                     unsigned int flags,
                     int *ret)
{
    g_auto(virStorageRevOperation) op = { 0 };
    g_auto(virStorageRevName) name = { 0 };

    if (!virStorageRevPoolTypeIs(virStoragePoolObjGetDef(obj)->type))
        return false;

    *ret = -1;
    virCheckFlags(0, true);

    if (algorithm != VIR_STORAGE_VOL_WIPE_ALG_ZERO && algorithm != VIR_STORAGE_VOL_WIPE_ALG_TRIM) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("volume '%1$s' cannot be overwritten in patterns: its blocks are freed; use the algorithm zero or trim"),
                       vol->name);
        return true;
    }

    if (virStorageRevNameParse(vol->name, &name) == 0 &&
        virStorageRevOperationBegin(&op, obj, name.volume, NULL, false) == 0)
        *ret = virStorageRevWipeRun(&op, &name);
    return true;
}
