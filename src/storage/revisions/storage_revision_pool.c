/*
 * storage_revision_pool.c: the volumes of a pool, as families and as definitions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_pool.h"

#include "storage_revision_chain.h"
#include "storage_revision_facts.h"
#include "storage_revision_lock.h"
#include "viralloc.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_revision_pool");

/* The pool's runtime data. libvirt's own list of definitions is what clients see; the families are what it is made
 * from, so that no operation has to read a directory or the whole VG to learn what a volume consists of. */
typedef struct _virStorageRevTable virStorageRevTable;
struct _virStorageRevTable {
    GHashTable *families;   /* name of the volume → virStorageRevFamily */
    GHashTable *held;       /* names of definitions of what is gone, which a copy into another pool still reads */
    size_t listed;
    bool stopping;
};


static void
virStorageRevTableFree(void *opaque)
{
    virStorageRevTable *table = opaque;

    g_hash_table_unref(table->families);
    g_hash_table_unref(table->held);
    g_free(table);
}


static virStorageRevTable *
virStorageRevPoolTable(virStoragePoolObj *obj)
{
    virStorageRevPool *pool = virStorageRevPoolGet(virStoragePoolObjGetDef(obj));

    if (!pool->runtime) {
        virStorageRevTable *table = g_new0(virStorageRevTable, 1);

        table->families = virStorageRevFamiliesNew();
        table->held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        pool->runtime = table;
        pool->runtimeFree = virStorageRevTableFree;
    }
    return pool->runtime;
}


/* Forgets all volumes, when libvirt has dropped its definitions of them. */
void
virStorageRevPoolReset(virStoragePoolObj *obj)
{
    virStorageRevTable *table = virStorageRevPoolTable(obj);

    g_hash_table_remove_all(table->families);
    g_hash_table_remove_all(table->held);
    table->listed = 0;
}


/**
 * virStorageRevPoolBeginStop:
 * @obj: pool that is being stopped, and about to be unlocked for a while
 * @before: filled for virStorageRevPoolEndStop()
 *
 * To everybody else it is stopped already, and keeps its definition as when it starts. What is under way still tells it
 * what has become of the volumes: the stop can fail, and the pool goes on.
 */
void
virStorageRevPoolBeginStop(virStoragePoolObj *obj,
                           virStorageRevPoolSeen *before)
{
    before->active = virStoragePoolObjIsActive(obj);
    before->starting = virStoragePoolObjIsStarting(obj);

    virStorageRevPoolTable(obj)->stopping = before->active;
    virStoragePoolObjSetActive(obj, false);
    virStoragePoolObjSetStarting(obj, true);
}


/* The pool is locked again, and as it was before. */
void
virStorageRevPoolEndStop(virStoragePoolObj *obj,
                         const virStorageRevPoolSeen *before)
{
    virStoragePoolObjSetStarting(obj, before->starting);
    virStoragePoolObjSetActive(obj, before->active);
    virStorageRevPoolTable(obj)->stopping = false;
}


/* Is somebody just between the two? */
bool
virStorageRevPoolIsStopping(virStoragePoolObj *obj)
{
    return virStorageRevPoolTable(obj)->stopping;
}


/* Returns the family of @volume, owned by the pool, or NULL. */
virStorageRevFamily *
virStorageRevPoolFind(virStoragePoolObj *obj,
                      const char *volume)
{
    return g_hash_table_lookup(virStorageRevPoolTable(obj)->families, volume);
}


/* Returns what the pool knows: name of a volume → virStorageRevFamily. */
GHashTable *
virStorageRevPoolFamilies(virStoragePoolObj *obj)
{
    return virStorageRevPoolTable(obj)->families;
}


/* Is there a volume, live copy or revision called @name, or one in the making? */
bool
virStorageRevPoolHas(virStoragePoolObj *obj,
                     const char *name)
{
    return virStorageVolDefFindByName(obj, name) &&
        !g_hash_table_contains(virStorageRevPoolTable(obj)->held, name);
}


static bool
virStorageRevPoolHides(virStoragePoolObj *obj,
                       virStorageRevKind kind)
{
    virStorageRevPool *pool = virStorageRevPoolGet(virStoragePoolObjGetDef(obj));

    return pool->list == VIR_TRISTATE_BOOL_NO &&
        (kind == VIR_STORAGE_REV_NUMBERED || kind == VIR_STORAGE_REV_PINNED);
}


/**
 * virStorageRevPoolCheckRoom:
 * @obj: pool
 * @kind: what is about to be made
 *
 * One volume more than the wire can carry would make the whole list fail, so that it is refused.
 *
 * Returns 0, or -1 with VIR_ERR_OPERATION_INVALID
 */
int
virStorageRevPoolCheckRoom(virStoragePoolObj *obj,
                           virStorageRevKind kind)
{
    if (virStorageRevPoolHides(obj, kind) ||
        virStorageRevPoolTable(obj)->listed < VIR_STORAGE_REV_LIST_MAX)
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("pool '%1$s' already lists %2$d volumes, live copies and revisions, which is all that libvirt can list: remove some, or define the pool with <revisions list='no'/>"),
                   virStoragePoolObjGetDef(obj)->name, VIR_STORAGE_REV_LIST_MAX);
    return -1;
}


/* Is a definition of @state held by a copy that runs with the pool unlocked? */
bool
virStorageRevPoolStateInUse(virStoragePoolObj *obj,
                            virStorageRevFamily *family,
                            const virStorageRevState *state)
{
    g_autofree char *name = virStorageRevStateName(family, state);
    virStorageVolDef *def = virStorageVolDefFindByName(obj, name);

    return def && def->in_use > 0;
}


bool
virStorageRevPoolStateIsListed(virStoragePoolObj *obj,
                               virStorageRevFamily *family,
                               const virStorageRevState *state)
{
    g_autofree char *name = virStorageRevStateName(family, state);
    virStorageVolDef *def = virStorageVolDefFindByName(obj, name);

    return def && !virStorageRevVolIsHidden(def);
}


/* Returns the name of a volume whose lifecycle starts from @volume, or NULL. */
const char *
virStorageRevPoolFindDependent(virStoragePoolObj *obj,
                               const char *volume)
{
    GHashTableIter iter;
    void *value;

    g_hash_table_iter_init(&iter, virStorageRevPoolTable(obj)->families);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        virStorageRevFamily *family = value;
        const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(family);

        if (facts && STREQ_NULLABLE(facts->source, volume))
            return family->volume;
    }
    return NULL;
}


static void
virStorageRevVolSetRevisions(virStorageRevVol *vol,
                             virStorageRevFamily *family)
{
    size_t i;

    virStorageRevVolClearRevisions(vol);
    vol->nrevisions = family->revisions->len;
    vol->revisions = g_new0(virStorageRevEntry, vol->nrevisions);

    for (i = 0; i < vol->nrevisions; i++) {
        const virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        vol->revisions[i].name = virStorageRevStateName(family, state);
        vol->revisions[i].id = state->id;
        vol->revisions[i].created = state->meta.created;
        vol->revisions[i].superseded = state->superseded;
        vol->revisions[i].pinned = state->kind == VIR_STORAGE_REV_PINNED;
    }
}


static void
virStorageRevVolSetOrigins(virStorageRevVol *vol,
                           const virStorageRevMeta *meta)
{
    size_t i;

    virStorageRevVolClearOrigins(vol);
    vol->norigins = meta->norigins;
    vol->origins = g_new0(virStorageRevOrigin, vol->norigins);
    for (i = 0; i < vol->norigins; i++) {
        vol->origins[i].volume = g_strdup(meta->origins[i].volume);
        vol->origins[i].generation = meta->origins[i].generation;
    }
}


/* Was the live copy of a snapshot volume made from a state that its source has left behind? */
static bool
virStorageRevFamilyIsOutdated(virStoragePoolObj *obj,
                              virStorageRevFamily *family,
                              const virStorageRevMeta *facts)
{
    virStorageRevFamily *source;

    if (!family->live || !facts || !facts->snapOnStart || !facts->source ||
        family->live->meta.norigins == 0 ||
        !(source = virStorageRevPoolFind(obj, facts->source)) ||
        !source->head)
        return false;

    return STRNEQ(family->live->meta.origins[0].volume, facts->source) ||
        family->live->meta.origins[0].generation != virStorageRevMetaGeneration(&source->head->meta);
}


static void
virStorageRevVolSetHead(virStoragePoolObj *obj,
                        virStorageRevVol *vol,
                        virStorageRevFamily *family)
{
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(family);

    vol->hasLifecycle = true;
    vol->snapOnStart = facts && facts->snapOnStart;
    vol->saveOnStop = !facts || facts->saveOnStop;
    vol->onCrash = facts ? facts->onCrash : VIR_STORAGE_REV_ON_CRASH_COMMIT;
    vol->keep = facts ? facts->keep : VIR_STORAGE_REV_KEEP_UNSET;
    g_free(vol->source);
    vol->source = g_strdup(facts ? facts->source : NULL);

    vol->hasState = true;
    vol->dirty = family->live != NULL;
    vol->outdated = virStorageRevFamilyIsOutdated(obj, family, facts);
    vol->generation = virStorageRevMetaGeneration(&family->head->meta);
    vol->filesMax = family->head->filesMax;
    virStorageRevVolSetRevisions(vol, family);
}


/* What an image lies on is of nobody's making here, and can have changed since it was last read. */
static void
virStorageRevDefReadChain(virStorageVolDef *def,
                          const virStorageRevState *state)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);

    g_clear_pointer(&vol->chain, virStorageRevChainFree);
    if (state->backing)
        vol->chain = virStorageRevChainRead(def->target.path, state->backing, state->backingFormat);
}


/* Brings @def, which may be new, in line with @state. */
static void
virStorageRevDefUpdate(virStoragePoolObj *obj,
                       virStorageVolDef *def,
                       virStorageRevFamily *family,
                       const virStorageRevState *state)
{
    virStorageSource *target = &def->target;
    virStorageRevVol *vol = virStorageRevVolGet(def);

    def->building = false;
    target->format = state->meta.format;
    target->capacity = state->capacity;
    target->allocation = state->allocation;
    target->physical = state->capacity;

    virStorageRevStateDescribe(state, target);
    virStorageRevDefReadChain(def, state);
    virStorageRevVolSetOrigins(vol, &state->meta);
    if (state->kind == VIR_STORAGE_REV_HEAD)
        virStorageRevVolSetHead(obj, vol, family);
    if (state->kind == VIR_STORAGE_REV_LIVE) {
        vol->use = virStorageRevFactsUse(family);
        memcpy(vol->domain, state->meta.domain, VIR_UUID_BUFLEN);
    }
}


/* What a volume is to whoever uses it. */
virStorageType
virStorageRevSourceType(virStorageVolType type)
{
    if (type == VIR_STORAGE_VOL_BLOCK)
        return VIR_STORAGE_TYPE_BLOCK;
    return type == VIR_STORAGE_VOL_DIR ? VIR_STORAGE_TYPE_DIR : VIR_STORAGE_TYPE_FILE;
}


/* Lists @def, unless the pool hides what is of @kind, or lists as many as it can. */
static void
virStorageRevDefList(virStoragePoolObj *obj,
                     virStorageVolDef *def,
                     virStorageRevKind kind)
{
    virStorageRevTable *table = virStorageRevPoolTable(obj);
    virStorageRevVol *vol = virStorageRevVolGet(def);

    vol->hidden = virStorageRevPoolHides(obj, kind);
    if (!vol->hidden && table->listed >= VIR_STORAGE_REV_LIST_MAX) {
        VIR_WARN("pool '%s' has more volumes than can be listed: '%s' is found by its name only",
                 virStoragePoolObjGetDef(obj)->name, def->name);
        vol->hidden = true;
    }
    if (!vol->hidden)
        table->listed++;
}


static void
virStorageRevDefUnlist(virStoragePoolObj *obj,
                       virStorageVolDef *def)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);

    if (!vol->hidden)
        virStorageRevPoolTable(obj)->listed--;
    vol->hidden = true;
}


static int
virStorageRevDefAdd(virStoragePoolObj *obj,
                    virStorageRevFamily *family,
                    const virStorageRevState *state,
                    const char *name)
{
    virStoragePoolDef *pool = virStoragePoolObjGetDef(obj);
    g_autoptr(virStorageVolDef) def = g_new0(virStorageVolDef, 1);
    virStorageRevVol *vol;

    if (!(vol = virStorageRevVolNew()))
        return -1;

    def->name = g_strdup(name);
    def->type = virStorageRevOpsForType(pool->type)->volType;
    def->target.type = virStorageRevSourceType(def->type);
    def->target.path = g_strdup_printf("%s/%s", pool->target.path, state->file);
    def->target.privateData = (virObject *) vol;
    def->key = g_strdup(def->target.path);

    virStorageRevDefUpdate(obj, def, family, state);
    if (virStoragePoolObjAddVol(obj, def) < 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("cannot add volume '%1$s' to pool '%2$s'"), name, pool->name);
        return -1;
    }
    virStorageRevDefList(obj, g_steal_pointer(&def), state->kind);
    return 0;
}


static void
virStorageRevDefRemove(virStoragePoolObj *obj,
                       virStorageRevFamily *family,
                       const virStorageRevState *state)
{
    g_autofree char *name = virStorageRevStateName(family, state);
    virStorageVolDef *def = virStorageVolDefFindByName(obj, name);

    if (!def)
        return;

    virStorageRevDefUnlist(obj, def);
    /* Operations skip and refuse what is in use; but a copy into another pool may have begun since they looked. */
    if (def->in_use > 0) {
        g_hash_table_add(virStorageRevPoolTable(obj)->held, g_steal_pointer(&name));
    } else {
        g_hash_table_remove(virStorageRevPoolTable(obj)->held, name);
        virStoragePoolObjRemoveVol(obj, def);
    }
}


/* Removes the definitions of what is gone that no copy reads any more. */
void
virStorageRevPoolDropHeld(virStoragePoolObj *obj)
{
    GHashTableIter iter;
    void *name;

    g_hash_table_iter_init(&iter, virStorageRevPoolTable(obj)->held);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        virStorageVolDef *def = virStorageVolDefFindByName(obj, name);

        if (def && def->in_use > 0)
            continue;
        if (def)
            virStoragePoolObjRemoveVol(obj, def);
        g_hash_table_iter_remove(&iter);
    }
}


static int
virStorageRevDefPut(virStoragePoolObj *obj,
                    virStorageRevFamily *family,
                    const virStorageRevState *state)
{
    g_autofree char *name = NULL;
    g_autofree char *path = NULL;
    virStorageVolDef *def;

    if (!state)
        return 0;

    name = virStorageRevStateName(family, state);
    path = g_strdup_printf("%s/%s", virStoragePoolObjGetDef(obj)->target.path, state->file);

    /* the time stamp in a revision's file name is not a part of its own: somebody can have changed it */
    if ((def = virStorageVolDefFindByName(obj, name)) && def->in_use == 0 && STRNEQ(def->target.path, path)) {
        virStorageRevDefRemove(obj, family, state);
        def = NULL;
    }
    if (!def)
        return virStorageRevDefAdd(obj, family, state, name);

    if (g_hash_table_remove(virStorageRevPoolTable(obj)->held, name))
        virStorageRevDefList(obj, def, state->kind);
    virStorageRevDefUpdate(obj, def, family, state);
    return 0;
}


static bool
virStorageRevFamilyHas(virStorageRevFamily *family,
                       const virStorageRevState *state)
{
    virStorageRevName name = {
        .kind = state->kind,
        .id = state->id,
        .word = state->word,
    };

    return virStorageRevFamilyFind(family, &name) != NULL;
}


static void
virStorageRevPoolDropMissing(virStoragePoolObj *obj,
                             virStorageRevFamily *before,
                             virStorageRevFamily *after)
{
    size_t i;

    if (before->head && !after->head)
        virStorageRevDefRemove(obj, before, before->head);
    if (before->live && !after->live)
        virStorageRevDefRemove(obj, before, before->live);

    for (i = 0; i < before->revisions->len; i++) {
        virStorageRevState *state = g_ptr_array_index(before->revisions, i);

        if (!virStorageRevFamilyHas(after, state))
            virStorageRevDefRemove(obj, before, state);
    }
}


/**
 * virStorageRevPoolPut:
 * @obj: pool
 * @family: what the volume now consists of; immutable from here on
 *
 * Replaces what the pool knew of the volume, and brings libvirt's definitions in line. Definitions that stay are
 * changed in place, since others may hold them.
 *
 * Returns 0, or -1 with an error when a definition could not be added; all others are in line then
 */
int
virStorageRevPoolPut(virStoragePoolObj *obj,
                     virStorageRevFamily *family)
{
    virStorageRevTable *table = virStorageRevPoolTable(obj);
    virStorageRevFamily *before = g_hash_table_lookup(table->families, family->volume);
    int ret = 0;
    size_t i;

    if (before)
        virStorageRevPoolDropMissing(obj, before, family);

    if (virStorageRevFamilyIsEmpty(family)) {
        g_hash_table_remove(table->families, family->volume);
        return 0;
    }

    g_hash_table_replace(table->families, family->volume, virObjectRef(family));

    if (virStorageRevDefPut(obj, family, family->head) < 0 ||
        virStorageRevDefPut(obj, family, family->live) < 0)
        ret = -1;
    for (i = 0; i < family->revisions->len; i++) {
        if (virStorageRevDefPut(obj, family, g_ptr_array_index(family->revisions, i)) < 0)
            ret = -1;
    }
    return ret;
}


static void
virStorageRevPoolReadChain(virStoragePoolObj *obj,
                           virStorageRevFamily *family,
                           const virStorageRevState *state)
{
    g_autofree char *name = NULL;
    virStorageVolDef *def;

    if (!state || !state->backing)
        return;
    name = virStorageRevStateName(family, state);
    if ((def = virStorageVolDefFindByName(obj, name)))
        virStorageRevDefReadChain(def, state);
}


/* Reads the chains of a volume that is otherwise as it was. */
static void
virStorageRevPoolReadChains(virStoragePoolObj *obj,
                            virStorageRevFamily *family)
{
    size_t i;

    virStorageRevPoolReadChain(obj, family, family->head);
    virStorageRevPoolReadChain(obj, family, family->live);
    for (i = 0; i < family->revisions->len; i++)
        virStorageRevPoolReadChain(obj, family, g_ptr_array_index(family->revisions, i));
}


/* Removes the volumes that a refresh has not found, but for those that are just being made. */
static void
virStorageRevPoolDropVanished(virStoragePoolObj *obj,
                              GHashTable *found)
{
    const unsigned char *uuid = virStoragePoolObjGetDef(obj)->uuid;
    g_autoptr(GPtrArray) vanished = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    void *volume;
    size_t i;

    g_hash_table_iter_init(&iter, virStorageRevPoolFamilies(obj));
    while (g_hash_table_iter_next(&iter, &volume, NULL)) {
        if (!g_hash_table_contains(found, volume) && !virStorageRevLocksAreHeld(uuid, volume))
            g_ptr_array_add(vanished, g_strdup(volume));
    }

    for (i = 0; i < vanished->len; i++) {
        g_autoptr(virStorageRevFamily) empty = virStorageRevFamilyNew(g_ptr_array_index(vanished, i));

        if (empty)
            ignore_value(virStorageRevPoolPut(obj, empty));
    }
}


/**
 * virStorageRevPoolReplace:
 * @obj: pool
 * @families: all that a refresh has found
 *
 * Volumes that somebody is changing stay as they are known: who changes them puts them right. Definitions of what has
 * not changed are not touched.
 */
void
virStorageRevPoolReplace(virStoragePoolObj *obj,
                         GHashTable *families)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    GHashTableIter iter;
    void *volume;
    void *family;

    virStorageRevPoolDropHeld(obj);
    virStorageRevPoolDropVanished(obj, families);

    g_hash_table_iter_init(&iter, families);
    while (g_hash_table_iter_next(&iter, &volume, &family)) {
        virStorageRevFamily *before = virStorageRevPoolFind(obj, volume);

        if (before && virStorageRevFamilyIsUnchanged(family, before)) {
            virStorageRevPoolReadChains(obj, before);
            continue;
        }
        if (before && virStorageRevLocksAreHeld(def->uuid, volume))
            continue;
        if (virStorageRevPoolPut(obj, family) < 0) {
            VIR_WARN("volume '%s' of pool '%s' is not listed whole: %s",
                     (const char *) volume, def->name, virGetLastErrorMessage());
            virResetLastError();
        }
    }
}


/* Brings what depends on other volumes up to date in @def: whether a live copy is outdated. */
void
virStorageRevPoolUpdateVol(virStoragePoolObj *obj,
                           virStorageVolDef *def)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);
    virStorageRevFamily *family;

    if (vol && vol->hasState && (family = virStorageRevPoolFind(obj, def->name)))
        vol->outdated = virStorageRevFamilyIsOutdated(obj, family, virStorageRevFamilyVolumeFacts(family));
}
