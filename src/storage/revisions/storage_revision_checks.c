/*
 * storage_revision_checks.c: what has to hold before a volume is changed
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_checks.h"

#include "storage_revision_pool.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* Returns the API's object for the volume named @name, which an operation has just made or changed. */
virStorageVolPtr
virStorageRevVolLookup(virConnectPtr conn,
                       virStoragePoolObj *obj,
                       const char *name)
{
    virStoragePoolDef *pool = virStoragePoolObjGetDef(obj);
    virStorageVolDef *def = virStorageVolDefFindByName(obj, name);

    if (!def && !virStoragePoolObjIsActive(obj)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("storage pool '%1$s' was stopped meanwhile: what was asked for has been done, and '%2$s' is there when it starts"),
                       pool->name, name);
        return NULL;
    }
    if (!def) {
        virReportError(VIR_ERR_NO_STORAGE_VOL, _("no storage vol with matching name '%1$s'"), name);
        return NULL;
    }
    return virGetStorageVol(conn, pool->name, def->name, def->key, NULL, NULL);
}


/* Can a new volume, live copy or revision of @pool be called @name? */
int
virStorageRevCheckTargetName(virStoragePoolDef *pool,
                             const virStorageRevName *name)
{
    const virStorageRevOps *ops = virStorageRevOpsForType(pool->type);

    if (virStorageRevVolumeNameCheck(name->volume, ops->nestedNames) < 0)
        return -1;
    return ops->checkName(pool, name);
}


/* Is there no volume of somebody else's that would be taken for a live copy or revision of the new one? */
static int
virStorageRevCheckNoStates(virStorageRevOperation *op)
{
    GHashTableIter iter;
    void *name;

    if (!op->ops->stateOf)
        return 0;

    g_hash_table_iter_init(&iter, virStorageRevPoolFamilies(op->obj));
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        g_autofree char *volume = op->ops->stateOf(name);

        if (STRNEQ_NULLABLE(volume, op->family->volume))
            continue;
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("'%1$s' cannot be created while there is a volume '%2$s', which would be taken for a live copy or a revision of it"),
                       volume, (const char *) name);
        return -1;
    }
    return 0;
}


/* Is the operation's volume one that does not exist yet, and is there room for it? */
int
virStorageRevCheckNew(virStorageRevOperation *op)
{
    if (op->family->head) {
        virReportError(VIR_ERR_STORAGE_VOL_EXIST, _("'%1$s'"), op->family->volume);
        return -1;
    }
    if (!virStorageRevFamilyIsEmpty(op->family)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("'%1$s' cannot be created while revisions or a live copy of a former volume of that name remain: commit, revert to or delete those first"),
                       op->family->volume);
        return -1;
    }
    if (virStorageRevCheckNoStates(op) < 0)
        return -1;
    return virStorageRevPoolCheckRoom(op->obj, VIR_STORAGE_REV_HEAD);
}


/* Is there no live copy, whose changes would be lost or be in the way? */
int
virStorageRevCheckClean(virStorageRevOperation *op)
{
    if (!op->family->live)
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("volume '%1$s' has a live copy: commit or delete '%1$s@live' first"), op->family->volume);
    return -1;
}


/* Does nothing in this process read @state? */
int
virStorageRevCheckUnused(virStorageRevFamily *family,
                         const virStorageRevState *state)
{
    g_autofree char *name = NULL;

    if (!state->inUse)
        return 0;

    name = virStorageRevStateName(family, state);
    virReportError(VIR_ERR_OPERATION_INVALID, _("volume '%1$s' is still in use."), name);
    return -1;
}


/* Returns the state to read from, owned by @family, which may be NULL. */
virStorageRevState *
virStorageRevCheckSource(virStorageRevFamily *family,
                         const virStorageRevName *name)
{
    g_autofree char *text = NULL;
    virStorageRevState *state;

    /* What was locked may not be what is asked for any more, when a lifecycle was changed meanwhile. */
    if (family && STREQ(family->volume, name->volume) &&
        (state = virStorageRevFamilyFind(family, name)))
        return state;

    text = virStorageRevNameFormat(name->volume, name->kind, name->id, name->word);
    virReportError(VIR_ERR_NO_STORAGE_VOL, _("no storage vol with matching name '%1$s'"), text);
    return NULL;
}


/* Is there a volume that the operation's own could start from, if @vol asks for one? */
int
virStorageRevCheckLifecycle(virStorageRevOperation *op,
                            const virStorageRevVol *vol)
{
    virStorageRevFamily *source;

    if (!vol->hasLifecycle || !vol->snapOnStart)
        return 0;
    if (STRNEQ(vol->source, op->family->volume) &&
        (source = virStorageRevPoolFind(op->obj, vol->source)) && source->head)
        return 0;

    virReportError(VIR_ERR_NO_STORAGE_VOL,
                   _("no other storage vol with matching name '%1$s' that '%2$s' could start from"),
                   vol->source, op->family->volume);
    return -1;
}


/* Can a volume be made as @def and @flags ask for? One with the content of another, which is not @blank, has the metadata
 * of that. */
int
virStorageRevCheckOptions(virStorageVolDef *def,
                          bool blank,
                          unsigned int flags)
{
    if (def->target.nocow) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' needs copy-on-write, without which it could not be cloned: leave <nocow/> out"),
                       def->name);
        return -1;
    }
    if (flags & VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA &&
        !(blank && def->target.format == VIR_STORAGE_FILE_QCOW2)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("metadata of volume '%1$s' cannot be preallocated: only a new qcow2 image has any"), def->name);
        return -1;
    }
    return 0;
}


/* Returns what a volume lies on, as its document says it, or NULL. */
static const char *
virStorageRevBackingPath(virStorageVolDef *def)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);
    const virStorageRevChainMember *first;

    if (def->target.backingStore)
        return def->target.backingStore->path;
    if (!vol || !vol->chain || vol->chain->members->len == 0)
        return NULL;

    first = g_ptr_array_index(vol->chain->members, 0);
    return first->path;
}


/* Content is taken as it is from volume @name of @obj, whose recorded format is @format: images are neither converted nor
 * encrypted. What a document that was dumped says of its volume is so, and can be fed back. */
int
virStorageRevCheckContent(virStorageVolDef *def,
                          virStoragePoolObj *obj,
                          const char *name,
                          int format)
{
    virStorageVolDef *source = virStorageVolDefFindByName(obj, name);
    virStorageRevVol *vol = virStorageRevVolGet(def);
    const char *backing = virStorageRevBackingPath(def);

    if (!source) {
        virReportError(VIR_ERR_NO_STORAGE_VOL, _("no storage vol with matching name '%1$s'"), name);
        return -1;
    }
    if (vol && vol->hasFormat && def->target.format != format) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' cannot get another format than '%2$s', which '%3$s' has"),
                       def->name, virStorageFileFormatTypeToString(format), source->name);
        return -1;
    }
    if (def->target.encryption && !source->target.encryption) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' cannot be encrypted: it is to have the content of '%2$s', which is not"),
                       def->name, source->name);
        return -1;
    }
    if (backing && STRNEQ(backing, source->target.path) &&
        STRNEQ_NULLABLE(backing, virStorageRevBackingPath(source))) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' cannot lie on '%2$s': it is to have the content of '%3$s', which does not"),
                       def->name, backing, source->name);
        return -1;
    }
    return 0;
}


/* Returns how many unpinned revisions retention keeps of a volume. */
int
virStorageRevKeepOf(virStorageRevContext *ctx,
                    virStorageRevFamily *family)
{
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(family);

    return virStorageRevKeepEffective(facts ? facts->keep : VIR_STORAGE_REV_KEEP_UNSET, ctx->poolKeep);
}


/* Returns how many of the oldest unpinned revisions an interrupted prune has left, unless retention keeps them by now. */
size_t
virStorageRevPruneLeft(virStorageRevContext *ctx,
                       virStorageRevFamily *family)
{
    return virStorageRevFamilyPruneLeft(family, virStorageRevKeepOf(ctx, family));
}


/* Is there room for the revision that a new head may leave behind? The live copy that becomes the head makes some. */
int
virStorageRevCheckSupersede(virStorageRevOperation *op)
{
    virStorageRevFamily *family = op->family;

    if (virStorageRevKeepOf(op->ctx, family) == 0 ||
        (family->live && virStorageRevPoolStateIsListed(op->obj, family, family->live)))
        return 0;
    return virStorageRevPoolCheckRoom(op->obj, VIR_STORAGE_REV_NUMBERED);
}


/* Removes what retention gives up, after the head has changed; the pool is unlocked. That it fails is no failure of the
 * change: what is left goes with the next prune. */
void
virStorageRevOperationPrune(virStorageRevOperation *op)
{
    size_t count = virStorageRevFamilyPruneCount(op->family, virStorageRevKeepOf(op->ctx, op->family));

    if (count > 0 && op->ops->prune(op->ctx, op->family, count) < 0) {
        virStorageRevOperationReread(op); /* some may be gone */
        virResetLastError();
    }
}
