/*
 * storage_revision_create_from.c: all that "create a volume from a volume" can mean
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_driver.h"

#include "storage_revision_checks.h"
#include "storage_revision_facts.h"
#include "storage_revision_file.h"
#include "storage_revision_mark.h"
#include "storage_revision_pool.h"
#include "storage_revision_worker.h"
#include "viraccessapicheck.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* The arguments of a create-from, parsed. */
typedef struct _virStorageRevRequest virStorageRevRequest;
struct _virStorageRevRequest {
    virStorageRevAction action;
    virStorageVolDef *def;
    virStorageRevName target;
    const char *sourceText;
    virStorageRevName source;  /* only of the same pool */
};


static void
virStorageRevRequestClear(virStorageRevRequest *request)
{
    virStorageRevNameClear(&request->target);
    virStorageRevNameClear(&request->source);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageRevRequest, virStorageRevRequestClear);


/* Directories are written to as they are. */
static int
virStorageRevRequestCheckLive(virStoragePoolObj *obj,
                              const virStorageRevName *name)
{
    if (name->kind != VIR_STORAGE_REV_LIVE ||
        virStorageRevOpsForType(virStoragePoolObjGetDef(obj)->type)->start)
        return 0;

    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("volume '%1$s' is a directory, which has no live copies: a machine uses it as it is, and nothing is started or committed"),
                   name->volume);
    return -1;
}


static int
virStorageRevRequestParse(virStorageRevRequest *request,
                          virStoragePoolObj *obj,
                          const char *source,
                          bool samePool,
                          virStorageVolDef *def)
{
    bool exists = virStorageRevPoolHas(obj, def->name);

    request->def = def;
    request->sourceText = source;
    if (virStorageRevNameParse(def->name, &request->target) < 0 ||
        (samePool && virStorageRevNameParse(source, &request->source) < 0) ||
        virStorageRevRequestCheckLive(obj, &request->target) < 0 ||
        (samePool && virStorageRevRequestCheckLive(obj, &request->source) < 0))
        return -1;
    if (!exists && virStorageRevCheckTargetName(virStoragePoolObjGetDef(obj), &request->target) < 0)
        return -1;

    request->action = virStorageRevActionDecide(samePool ? &request->source : NULL, samePool,
                                                &request->target, exists);
    if (request->action == VIR_STORAGE_REV_ACTION_MARK && !virStorageRevVolGet(def)->hasDomain)
        request->action = VIR_STORAGE_REV_ACTION_INVALID;
    if (request->action != VIR_STORAGE_REV_ACTION_INVALID)
        return 0;

    if (exists)
        virReportError(VIR_ERR_STORAGE_VOL_EXIST, _("'%1$s'"), def->name);
    else
        virReportError(VIR_ERR_INVALID_ARG,
                       _("'%1$s' cannot be created from '%2$s': a revision is made by commits, or recorded under a word from its own volume"),
                       def->name, source);
    return -1;
}


/* The permission to create is not enough to change or remove what is there. */
static int
virStorageRevRequestCheckACL(virStorageRevRequest *request,
                             virConnectPtr conn,
                             virStoragePoolObj *obj)
{
    virStoragePoolDef *pool = virStoragePoolObjGetDef(obj);
    virStorageVolDef *head = virStorageVolDefFindByName(obj, request->target.volume);
    virStorageRevVol *vol = virStorageRevVolGet(request->def);
    bool prunes = request->action == VIR_STORAGE_REV_ACTION_COMMIT ||
        (request->action == VIR_STORAGE_REV_ACTION_REDEFINE && vol->keep != VIR_STORAGE_REV_KEEP_UNSET);

    switch (request->action) {
    case VIR_STORAGE_REV_ACTION_STAGE:
    case VIR_STORAGE_REV_ACTION_COMMIT:
    case VIR_STORAGE_REV_ACTION_REVERT:
    case VIR_STORAGE_REV_ACTION_REDEFINE:
    case VIR_STORAGE_REV_ACTION_MARK:
        break;
    case VIR_STORAGE_REV_ACTION_INVALID:
    case VIR_STORAGE_REV_ACTION_CLONE:
    case VIR_STORAGE_REV_ACTION_COPY:
    case VIR_STORAGE_REV_ACTION_START:
    case VIR_STORAGE_REV_ACTION_PIN:
    case VIR_STORAGE_REV_ACTION_LAST:
        return 0;
    }

    if (!head)
        head = request->def;
    if (virStorageVolUploadEnsureACL(conn, pool, head) < 0 ||
        (prunes && virStorageVolDeleteEnsureACL(conn, pool, head) < 0))
        return -1;
    return 0;
}


/* A new head is worth preparing the next start for, unless that starts from somewhere else. */
static void
virStorageRevSchedulePrecache(virStorageRevOperation *op)
{
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(op->family);

    if (!op->ops->precache || !op->ctx->cloneRequired ||
        (facts && virStorageRevStartDecide(facts->snapOnStart, facts->saveOnStop) != VIR_STORAGE_REV_START_OWN))
        return;
    virStorageRevWorkerPrecache(op->ops, op->ctx->uuid, op->family->volume);
}


static int
virStorageRevRunStart(virStorageRevOperation *op,
                      virStorageRevRequest *request)
{
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(op->family);
    virStorageRevName name = { .volume = facts ? facts->source : NULL };
    virStorageRevSource source = { .name = name.volume, .family = op->source };
    bool snapshot = facts && virStorageRevStartDecide(facts->snapOnStart, facts->saveOnStop) == VIR_STORAGE_REV_START_SOURCE;
    int ret;

    if (!virStorageRevCheckSource(op->family, &request->source) ||
        virStorageRevPoolCheckRoom(op->obj, VIR_STORAGE_REV_LIVE) < 0)
        return -1;
    if (op->family->live) {
        virReportError(VIR_ERR_STORAGE_VOL_EXIST, _("'%1$s'"), request->def->name);
        return -1;
    }
    if (snapshot && !(source.state = virStorageRevCheckSource(op->source, &name)))
        return -1;

    virStorageRevOperationUnlock(op);
    if ((ret = op->ops->start(op->ctx, op->family, snapshot ? &source : NULL)) == 0)
        ret = virStorageRevMarkNew(op, virStorageRevVolGet(request->def));
    virStorageRevOperationLock(op, ret);
    return ret;
}


static int
virStorageRevRunCommit(virStorageRevOperation *op,
                       virStorageRevRequest *request)
{
    virStorageRevState *live = virStorageRevCheckSource(op->family, &request->source);
    int ret;

    if (!live || virStorageRevCheckUnused(op->family, live) < 0 ||
        virStorageRevCheckSupersede(op) < 0)
        return -1;

    virStorageRevOperationUnlock(op);
    if ((ret = op->ops->commit(op->ctx, op->family)) == 0) {
        virStorageRevOperationPrune(op);
        virStorageRevSchedulePrecache(op);
    }
    virStorageRevOperationLock(op, ret);
    return ret;
}


static int
virStorageRevRunRevert(virStorageRevOperation *op,
                       virStorageRevRequest *request)
{
    virStorageRevState *revision = virStorageRevCheckSource(op->family, &request->source);
    int ret;

    if (!revision || virStorageRevCheckClean(op) < 0 ||
        virStorageRevPoolCheckRoom(op->obj, VIR_STORAGE_REV_NUMBERED) < 0)
        return -1;

    virStorageRevOperationUnlock(op);
    if ((ret = op->ops->revert(op->ctx, op->family, revision)) == 0)
        virStorageRevSchedulePrecache(op);
    virStorageRevOperationLock(op, ret);
    return ret;
}


static int
virStorageRevRunPin(virStorageRevOperation *op,
                    virStorageRevRequest *request)
{
    int ret;

    if (!virStorageRevCheckSource(op->family, &request->source) ||
        virStorageRevPoolCheckRoom(op->obj, VIR_STORAGE_REV_PINNED) < 0)
        return -1;
    if (virStorageRevFamilyFind(op->family, &request->target)) {
        virReportError(VIR_ERR_STORAGE_VOL_EXIST, _("'%1$s'"), request->def->name);
        return -1;
    }

    virStorageRevOperationUnlock(op);
    ret = op->ops->pin(op->ctx, op->family, request->target.word);
    virStorageRevOperationLock(op, ret);
    return ret;
}


/* Is a volume to keep fewer revisions than it does? What a revert has left beyond them stays until then. */
static bool
virStorageRevRedefinePrunes(virStorageRevOperation *op,
                            const virStorageRevVol *vol)
{
    return vol->keep != VIR_STORAGE_REV_KEEP_UNSET && vol->keep < virStorageRevKeepOf(op->ctx, op->family);
}


/* An absent element leaves what is. */
static void
virStorageRevRedefineFacts(virStorageRevOperation *op,
                           virStorageRevVol *vol,
                           virStorageRevMeta *facts)
{
    virStorageRevMetaInit(facts);
    virStorageRevFactsOfVolume(op->family, facts);

    if (vol->hasLifecycle) {
        facts->snapOnStart = vol->snapOnStart;
        facts->saveOnStop = vol->saveOnStop;
        facts->onCrash = vol->onCrash;
        g_free(facts->source);
        facts->source = g_strdup(vol->source);
    }
    if (vol->keep != VIR_STORAGE_REV_KEEP_UNSET)
        facts->keep = vol->keep;
    if (virStorageRevRedefinePrunes(op, vol))
        facts->pruneUpTo = MAX(facts->pruneUpTo, virStorageRevFamilyPruneUpTo(op->family, vol->keep, 0));
}


static int
virStorageRevRunRedefine(virStorageRevOperation *op,
                         virStorageRevRequest *request)
{
    g_auto(virStorageRevMeta) facts = { 0 };
    virStorageRevVol *vol = virStorageRevVolGet(request->def);
    bool prunes = virStorageRevRedefinePrunes(op, vol);
    int ret;

    if (!virStorageRevCheckSource(op->family, &request->source) ||
        virStorageRevCheckLifecycle(op, vol) < 0)
        return -1;
    virStorageRevRedefineFacts(op, vol, &facts);

    virStorageRevOperationUnlock(op);
    if ((ret = op->ops->redefine(op->ctx, op->family, &facts)) == 0 && prunes)
        virStorageRevOperationPrune(op);
    virStorageRevOperationLock(op, ret);
    return ret;
}


static int
virStorageRevRunMark(virStorageRevOperation *op,
                     virStorageRevRequest *request)
{
    const virStorageRevState *live = virStorageRevCheckSource(op->family, &request->source);
    const virStorageRevVol *vol = virStorageRevVolGet(request->def);
    int ret;

    if (!live || virStorageRevMarkCheck(op->family, live, vol) < 0)
        return -1;

    virStorageRevOperationUnlock(op);
    ret = virStorageRevMark(op, vol);
    virStorageRevOperationLock(op, ret);
    return ret;
}


/* Another pool's volume while it is read. Of a pool of ours it is not the image itself, which may be in use, but what a
 * download would read. */
typedef struct _virStorageRevForeign virStorageRevForeign;
struct _virStorageRevForeign {
    char *path;

    const virStorageRevOps *ops;   /* NULL: it is read where it lies */
    virStorageRevContext *ctx;
    virStorageRevFamily *family;
    virStorageRevState *state;
    int fd;
    char *content; /* path of that */
    char *temporary;
};


static void
virStorageRevForeignClear(virStorageRevForeign *foreign)
{
    virStorageRevUnlockAndClose(&foreign->fd);
    if (foreign->temporary)
        virStorageRevWorkerTidy(foreign->ctx->uuid, foreign->temporary);
    g_clear_pointer(&foreign->ctx, virStorageRevContextFree);
    g_clear_pointer(&foreign->family, virObjectUnref);
    VIR_FREE(foreign->temporary);
    VIR_FREE(foreign->content);
    VIR_FREE(foreign->path);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageRevForeign, virStorageRevForeignClear);


/* Called with the pools locked. */
static int
virStorageRevForeignFind(virStorageRevForeign *foreign,
                         virStorageRevOperation *op,
                         virStorageRevRequest *request)
{
    virStoragePoolDef *pool = virStoragePoolObjGetDef(op->sourceObj);
    g_auto(virStorageRevName) name = { 0 };
    virStorageRevFamily *family;

    if (!virStorageRevPoolTypeIs(pool->type) || !virStorageRevOpsForType(pool->type)->openForDownload)
        return 0;

    if (virStorageRevNameParse(request->sourceText, &name) < 0)
        return -1;
    family = virStorageRevPoolFind(op->sourceObj, name.volume);
    if (!(foreign->state = virStorageRevCheckSource(family, &name)))
        return -1;

    foreign->family = virObjectRef(family);
    foreign->ops = virStorageRevOpsForType(pool->type);
    foreign->ctx = virStorageRevContextNew(pool);
    return 0;
}


/* Called with the pools unlocked, and the source's lock held. */
static int
virStorageRevForeignOpen(virStorageRevForeign *foreign,
                         virStorageRevSource *source)
{
    if (!foreign->ops)
        return 0;

    foreign->fd = foreign->ops->openForDownload(foreign->ctx, foreign->family, foreign->state, &foreign->temporary);
    if (foreign->fd < 0)
        return -1;

    source->content = foreign->content = g_strdup_printf("/proc/self/fd/%d", foreign->fd);
    return 0;
}


/* Another pool's volume, looked up anew since the pools were unlocked. */
static virStorageVolDef *
virStorageRevForeignSource(virStorageRevOperation *op,
                           virStorageRevRequest *request,
                           virStorageRevSource *source,
                           virStorageRevForeign *foreign)
{
    virStorageVolDef *def = virStorageVolDefFindByName(op->sourceObj, request->sourceText);

    if (!def) {
        virReportError(VIR_ERR_NO_STORAGE_VOL, _("no storage vol with matching name '%1$s'"), request->sourceText);
        return NULL;
    }
    if (def->building) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("volume '%1$s' is still being allocated."), def->name);
        return NULL;
    }
    if ((def->type == VIR_STORAGE_VOL_DIR) != (op->ops->volType == VIR_STORAGE_VOL_DIR)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' cannot be copied to pool '%2$s': one holds a directory, the other an image"),
                       def->name, op->ctx->poolName);
        return NULL;
    }
    if (def->type != VIR_STORAGE_VOL_FILE && def->type != VIR_STORAGE_VOL_BLOCK && def->type != VIR_STORAGE_VOL_DIR) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("volume '%1$s' is neither a file nor a block device"), def->name);
        return NULL;
    }

    source->name = request->sourceText;
    source->path = source->content = foreign->path = g_strdup(def->target.path);
    source->capacity = def->target.capacity;
    if (def->type == VIR_STORAGE_VOL_DIR) {
        source->format = VIR_STORAGE_FILE_DIR;
        return def;
    }
    source->format = def->target.format == VIR_STORAGE_FILE_QCOW2 ? VIR_STORAGE_FILE_QCOW2 : VIR_STORAGE_FILE_RAW;
    if (def->type == VIR_STORAGE_VOL_FILE && def->target.format != source->format) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' has the format '%2$s': only raw and qcow2 images can be copied"),
                       def->name, virStorageFileFormatTypeToString(def->target.format));
        return NULL;
    }
    return def;
}


/* A definition of its own shows the progress of a copy, as allocation. */
static virStorageVolDef *
virStorageRevShowBuilding(virStorageRevOperation *op,
                          virStorageRevRequest *request,
                          const virStorageRevSource *source)
{
    g_autoptr(virStorageVolDef) def = g_new0(virStorageVolDef, 1);
    g_autofree char *file = NULL;

    def->name = g_strdup(request->def->name);
    def->type = op->ops->volType;
    def->target.type = virStorageRevSourceType(def->type);
    def->target.format = source->format;
    def->target.capacity = source->capacity;
    file = op->ops->fileOf(&request->target);
    def->target.path = g_strdup_printf("%s/%s", op->ctx->poolPath, file);
    def->key = g_strdup(def->target.path);
    def->building = true;
    if (!(def->target.privateData = (virObject *) virStorageRevVolNew()) ||
        virStoragePoolObjAddVol(op->obj, def) < 0)
        return NULL;

    return g_steal_pointer(&def);
}


static int
virStorageRevRunClone(virStorageRevOperation *op,
                      virStorageRevRequest *request)
{
    virStorageRevSource source = {
        .name = request->sourceText,
        .family = op->source,
        .state = virStorageRevCheckSource(op->source, &request->source),
    };
    virStorageVolDef *building = NULL;
    int ret;

    if (!source.state || virStorageRevCheckNew(op) < 0 ||
        virStorageRevCheckLifecycle(op, virStorageRevVolGet(request->def)) < 0 ||
        virStorageRevCheckContent(request->def, op->obj, source.name, source.state->meta.format) < 0)
        return -1;

    source.format = source.state->meta.format;
    source.capacity = source.state->capacity;
    if (op->slow && !(building = virStorageRevShowBuilding(op, request, &source)))
        return -1;

    virStorageRevOperationUnlock(op);
    ret = op->ops->clone(op->ctx, op->family, &source, request->def);
    virStorageRevOperationLock(op, ret);

    if (building)
        virStoragePoolObjRemoveVol(op->obj, building);
    return ret;
}


/* Copies from another pool, for a new volume or a live copy; both pools count a job meanwhile, so that neither
 * definition goes away. */
static int
virStorageRevRunCopy(virStorageRevOperation *op,
                     virStorageRevRequest *request)
{
    virStorageRevSource source = { 0 };
    g_auto(virStorageRevForeign) foreign = { .fd = -1 };
    virStorageVolDef *sourceDef = virStorageRevForeignSource(op, request, &source, &foreign);
    virStorageVolDef *building;
    bool stage = request->action == VIR_STORAGE_REV_ACTION_STAGE;
    int ret;

    if (!sourceDef || virStorageRevForeignFind(&foreign, op, request) < 0 ||
        virStorageRevCheckContent(request->def, op->sourceObj, source.name, source.format) < 0)
        return -1;
    if (!(building = virStorageRevShowBuilding(op, request, &source)))
        return -1;

    sourceDef->in_use++;
    virStorageRevOperationUnlock(op);
    ret = virStorageRevForeignOpen(&foreign, &source);
    if (ret == 0) {
        ret = stage ? op->ops->stage(op->ctx, op->family, &source) :
            op->ops->clone(op->ctx, op->family, &source, request->def);
    }
    virStorageRevOperationLock(op, ret);
    sourceDef->in_use--;

    virStoragePoolObjRemoveVol(op->obj, building);
    return ret;
}


static int
virStorageRevRunStage(virStorageRevOperation *op,
                      virStorageRevRequest *request)
{
    virStorageRevName head = { .volume = request->target.volume };
    virStorageRevSource source = { .name = request->sourceText, .family = op->source };
    int ret;

    if (!virStorageRevCheckSource(op->family, &head) ||
        virStorageRevPoolCheckRoom(op->obj, VIR_STORAGE_REV_LIVE) < 0)
        return -1;
    if (op->family->live) {
        virReportError(VIR_ERR_STORAGE_VOL_EXIST, _("'%1$s'"), request->def->name);
        return -1;
    }
    if (op->sourceObj)
        return virStorageRevRunCopy(op, request);

    if (!op->source) /* one of its own revisions */
        source.family = op->family;
    if (!(source.state = virStorageRevCheckSource(source.family, &request->source)) ||
        virStorageRevCheckContent(request->def, op->obj, source.name, source.state->meta.format) < 0)
        return -1;

    virStorageRevOperationUnlock(op);
    ret = op->ops->stage(op->ctx, op->family, &source);
    virStorageRevOperationLock(op, ret);
    return ret;
}


static int
virStorageRevRun(virStorageRevOperation *op,
                 virStorageRevRequest *request)
{
    switch (request->action) {
    case VIR_STORAGE_REV_ACTION_CLONE:
        return virStorageRevRunClone(op, request);
    case VIR_STORAGE_REV_ACTION_COPY:
        if (virStorageRevCheckNew(op) < 0 ||
            virStorageRevCheckLifecycle(op, virStorageRevVolGet(request->def)) < 0)
            return -1;
        return virStorageRevRunCopy(op, request);
    case VIR_STORAGE_REV_ACTION_START:
        return virStorageRevRunStart(op, request);
    case VIR_STORAGE_REV_ACTION_STAGE:
        return virStorageRevRunStage(op, request);
    case VIR_STORAGE_REV_ACTION_COMMIT:
        return virStorageRevRunCommit(op, request);
    case VIR_STORAGE_REV_ACTION_REVERT:
        return virStorageRevRunRevert(op, request);
    case VIR_STORAGE_REV_ACTION_PIN:
        return virStorageRevRunPin(op, request);
    case VIR_STORAGE_REV_ACTION_REDEFINE:
        return virStorageRevRunRedefine(op, request);
    case VIR_STORAGE_REV_ACTION_MARK:
        return virStorageRevRunMark(op, request);
    case VIR_STORAGE_REV_ACTION_INVALID:
    case VIR_STORAGE_REV_ACTION_LAST:
        break;
    }
    return -1;
}


/* Returns the other volume that an operation relies on, whose lock it has to hold shared. A start reads the lifecycle's
 * source; that it is still the same one is certain only under the volume's lock, and checked then. */
static char *
virStorageRevRequestSourceVolume(virStorageRevRequest *request,
                                 virStoragePoolObj *obj,
                                 virStoragePoolObj *sourceObj)
{
    virStorageRevFamily *family;
    const virStorageRevMeta *facts;

    if (sourceObj) {
        virStorageRevName name = { 0 };

        /* Only a pool of our types knows these locks; for others the name is without meaning, and does no harm. */
        if (!virStorageRevPoolTypeIs(virStoragePoolObjGetDef(sourceObj)->type) ||
            virStorageRevNameParse(request->sourceText, &name) < 0)
            return NULL;
        VIR_FREE(name.word);
        return name.volume;
    }
    if (request->action == VIR_STORAGE_REV_ACTION_START &&
        (family = virStorageRevPoolFind(obj, request->target.volume)) &&
        (facts = virStorageRevFamilyVolumeFacts(family)) && facts->source)
        return g_strdup(facts->source);
    return g_strdup(request->source.volume);
}


/* Returns the volume that the target is to start from, which must not be deleted before that is recorded; or NULL. */
static const char *
virStorageRevRequestKeptVolume(virStorageRevRequest *request)
{
    const virStorageRevVol *vol = virStorageRevVolGet(request->def);
    bool records = request->action == VIR_STORAGE_REV_ACTION_CLONE ||
        request->action == VIR_STORAGE_REV_ACTION_COPY ||
        request->action == VIR_STORAGE_REV_ACTION_REDEFINE;

    return records && vol->hasLifecycle && vol->snapOnStart ? vol->source : NULL;
}


static int
virStorageRevCreateFrom(virConnectPtr conn,
                        virStoragePoolObj *obj,
                        virStoragePoolObj *sourceObj,
                        const char *sourceText,
                        virStorageVolDef *def)
{
    g_auto(virStorageRevOperation) op = { 0 };
    g_auto(virStorageRevRequest) request = { 0 };
    g_autofree char *sourceVolume = NULL;
    bool slow;

    if (virStorageRevRequestParse(&request, obj, sourceText, !sourceObj, def) < 0 ||
        virStorageRevRequestCheckACL(&request, conn, obj) < 0)
        return -1;

    sourceVolume = virStorageRevRequestSourceVolume(&request, obj, sourceObj);
    slow = sourceObj != NULL ||
        (request.action != VIR_STORAGE_REV_ACTION_REDEFINE && request.action != VIR_STORAGE_REV_ACTION_MARK &&
         virStorageRevPoolCopies(obj));

    if (virStorageRevOperationBeginFrom(&op, obj, sourceObj, request.target.volume, sourceVolume,
                                        virStorageRevRequestKeptVolume(&request), slow) < 0)
        return -1;
    return virStorageRevOperationEnd(&op, virStorageRevRun(&op, &request));
}


/* libvirt's own pool types would make an empty image of a directory. */
static bool
virStorageRevIsTreeToImage(virStoragePoolObj *obj,
                           virStoragePoolObj *sourceObj,
                           virStorageVolDef *def)
{
    if (virStoragePoolObjGetDef(sourceObj)->type != VIR_STORAGE_POOL_FSPOOL ||
        virStorageRevPoolTypeIs(virStoragePoolObjGetDef(obj)->type))
        return false;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("volume '%1$s' cannot be made from a directory: only a pool of type fspool can hold one"), def->name);
    return true;
}


bool
virStorageRevVolCreateXMLFrom(virStorageVolPtr source,
                              virStoragePoolObj *obj,
                              virStoragePoolObj *sourceObj,
                              virStorageVolDef *def,
                              unsigned int flags,
                              virStorageVolPtr *vol)
{
    if (sourceObj && virStorageRevIsTreeToImage(obj, sourceObj, def))
        return true;
    if (!virStorageRevPoolTypeIs(virStoragePoolObjGetDef(obj)->type))
        return false;

    virCheckFlags(VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA |
                  VIR_STORAGE_VOL_CREATE_REFLINK |
                  VIR_STORAGE_VOL_CREATE_VALIDATE, true);

    if (virStorageRevCheckOptions(def, false, flags) == 0 &&
        virStorageRevCreateFrom(source->conn, obj, sourceObj, source->name, def) == 0)
        *vol = virStorageRevVolLookup(source->conn, obj, def->name);
    return true;
}
