/*
 * storage_revision_family.c: all states of one volume, as last read or written
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_family.h"

#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_revision_family");

static virClass *virStorageRevFamilyClass;

static void
virStorageRevFamilyDispose(void *opaque)
{
    virStorageRevFamily *family = opaque;

    g_free(family->volume);
    virStorageRevStateFree(family->head);
    virStorageRevStateFree(family->live);
    g_ptr_array_unref(family->revisions);
}


static int
virStorageRevFamilyOnceInit(void)
{
    if (!VIR_CLASS_NEW(virStorageRevFamily, virClassForObject()))
        return -1;
    return 0;
}

VIR_ONCE_GLOBAL_INIT(virStorageRevFamily);


/* Returns a state without a file; owner, group and mode are unset. */
virStorageRevState *
virStorageRevStateNew(virStorageRevKind kind)
{
    virStorageRevState *state = g_new0(virStorageRevState, 1);

    state->kind = kind;
    state->perms.mode = (mode_t) -1;
    state->perms.uid = (uid_t) -1;
    state->perms.gid = (gid_t) -1;
    virStorageRevMetaInit(&state->meta);
    return state;
}


/* Replaces what is known of the head that followed a revision by a copy of @next, or by nothing. */
void
virStorageRevStateSetNext(virStorageRevState *state,
                          const virStorageRevMeta *next)
{
    if (state->next)
        virStorageRevMetaClear(state->next);
    g_clear_pointer(&state->next, g_free);
    if (!next)
        return;

    state->next = g_new0(virStorageRevMeta, 1);
    virStorageRevMetaInit(state->next);
    virStorageRevMetaCopy(state->next, next);
}


virStorageRevState *
virStorageRevStateCopy(const virStorageRevState *state)
{
    virStorageRevState *copy;

    if (!state)
        return NULL;

    copy = g_new0(virStorageRevState, 1);
    *copy = *state;
    copy->word = g_strdup(state->word);
    copy->file = g_strdup(state->file);
    copy->backing = g_strdup(state->backing);
    copy->origin = g_strdup(state->origin);
    copy->tags = g_strdupv(state->tags);
    copy->next = NULL;
    if (state->next)
        virStorageRevStateSetNext(copy, state->next);
    copy->perms.label = g_strdup(state->perms.label);
    virStorageRevMetaInit(&copy->meta);
    virStorageRevMetaCopy(&copy->meta, &state->meta);
    return copy;
}


void
virStorageRevStateFree(virStorageRevState *state)
{
    if (!state)
        return;

    g_free(state->word);
    g_free(state->file);
    g_free(state->backing);
    g_free(state->origin);
    g_strfreev(state->tags);
    virStorageRevStateSetNext(state, NULL);
    g_free(state->perms.label);
    virStorageRevMetaClear(&state->meta);
    g_free(state);
}


/* Tells of @target what is known of @state: owner, mode, label and times. */
void
virStorageRevStateDescribe(const virStorageRevState *state,
                           virStorageSource *target)
{
    if (!target->perms)
        target->perms = g_new0(virStoragePerms, 1);
    g_free(target->perms->label);
    *target->perms = state->perms;
    target->perms->label = g_strdup(state->perms.label);

    if (!target->timestamps)
        target->timestamps = g_new0(virStorageTimestamps, 1);
    target->timestamps->atime = state->atime;
    target->timestamps->mtime = state->mtime;
    target->timestamps->ctime = state->ctime;
    target->timestamps->btime.tv_nsec = -1;
}


/**
 * virStorageRevFamilyNew:
 * @volume: name of the volume, without what follows an '@'
 *
 * Returns a family without any state, or NULL with an error
 */
virStorageRevFamily *
virStorageRevFamilyNew(const char *volume)
{
    virStorageRevFamily *family;

    if (virStorageRevFamilyInitialize() < 0 ||
        !(family = virObjectNew(virStorageRevFamilyClass)))
        return NULL;

    family->volume = g_strdup(volume);
    family->revisions = g_ptr_array_new_with_free_func((GDestroyNotify) virStorageRevStateFree);
    return family;
}


/* Returns a table: name of a volume → virStorageRevFamily. */
GHashTable *
virStorageRevFamiliesNew(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, NULL, virObjectUnref);
}


/* Returns the family of @volume, owned by the table, which gets one when it has none; NULL with an error. */
virStorageRevFamily *
virStorageRevFamiliesGet(GHashTable *families,
                         const char *volume)
{
    virStorageRevFamily *family = g_hash_table_lookup(families, volume);

    if (!family && (family = virStorageRevFamilyNew(volume)))
        g_hash_table_insert(families, family->volume, family);
    return family;
}


/* Returns a deep copy that the caller may change. */
virStorageRevFamily *
virStorageRevFamilyCopy(virStorageRevFamily *family)
{
    virStorageRevFamily *copy;
    size_t i;

    if (!(copy = virStorageRevFamilyNew(family->volume)))
        return NULL;

    copy->head = virStorageRevStateCopy(family->head);
    copy->live = virStorageRevStateCopy(family->live);
    for (i = 0; i < family->revisions->len; i++)
        g_ptr_array_add(copy->revisions, virStorageRevStateCopy(g_ptr_array_index(family->revisions, i)));
    return copy;
}


/* Is @family, as a refresh has made it, all reused from @before, and nothing of that missing? */
bool
virStorageRevFamilyIsUnchanged(virStorageRevFamily *family,
                               virStorageRevFamily *before)
{
    size_t i;

    if (!before ||
        !family->head != !before->head || (family->head && !family->head->reused) ||
        !family->live != !before->live || (family->live && !family->live->reused) ||
        family->revisions->len != before->revisions->len)
        return false;

    for (i = 0; i < family->revisions->len; i++) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (!state->reused)
            return false;
    }
    return true;
}


bool
virStorageRevFamilyIsEmpty(virStorageRevFamily *family)
{
    return !family->head && !family->live && family->revisions->len == 0;
}


/* Puts @state, which it takes over, in its place; a head or live copy that was there goes. */
void
virStorageRevFamilyAdd(virStorageRevFamily *family,
                       virStorageRevState *state)
{
    switch (state->kind) {
    case VIR_STORAGE_REV_HEAD:
        virStorageRevStateFree(family->head);
        family->head = state;
        break;

    case VIR_STORAGE_REV_LIVE:
        virStorageRevStateFree(family->live);
        family->live = state;
        break;

    case VIR_STORAGE_REV_NUMBERED:
    case VIR_STORAGE_REV_PINNED:
        g_ptr_array_add(family->revisions, state);
        break;
    }
}


static virStorageRevRetained
virStorageRevStateRetained(const virStorageRevState *state)
{
    virStorageRevRetained retained = {
        .id = state->id,
        .legacy = state->legacy,
        .pinned = state->kind == VIR_STORAGE_REV_PINNED,
    };

    return retained;
}


static int
virStorageRevStateCompare(const void *a,
                          const void *b)
{
    const virStorageRevState *one = *(virStorageRevState * const *) a;
    const virStorageRevState *other = *(virStorageRevState * const *) b;
    virStorageRevRetained oneRetained = virStorageRevStateRetained(one);
    virStorageRevRetained otherRetained = virStorageRevStateRetained(other);

    if (one->kind != other->kind)
        return one->kind == VIR_STORAGE_REV_NUMBERED ? -1 : 1;
    if (one->kind == VIR_STORAGE_REV_PINNED)
        return strcmp(one->word, other->word);
    return virStorageRevCompare(&oneRetained, &otherRetained);
}


/* Brings the revisions in order, after states were added. */
void
virStorageRevFamilySort(virStorageRevFamily *family)
{
    g_ptr_array_sort(family->revisions, virStorageRevStateCompare);
}


/* Returns the state that @name means, or NULL when the volume has none such; owned by the family. */
virStorageRevState *
virStorageRevFamilyFind(virStorageRevFamily *family,
                        const virStorageRevName *name)
{
    size_t i;

    if (name->kind == VIR_STORAGE_REV_HEAD)
        return family->head;
    if (name->kind == VIR_STORAGE_REV_LIVE)
        return family->live;

    for (i = 0; i < family->revisions->len; i++) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (state->kind == name->kind &&
            state->id == name->id &&
            STREQ_NULLABLE(state->word, name->word))
            return state;
    }
    return NULL;
}


/* Returns the revisions as retention sees them, in the family's order. */
virStorageRevRetained *
virStorageRevFamilyRetained(virStorageRevFamily *family,
                            size_t *nretained)
{
    virStorageRevRetained *retained = g_new0(virStorageRevRetained, family->revisions->len + 1);
    size_t i;

    for (i = 0; i < family->revisions->len; i++)
        retained[i] = virStorageRevStateRetained(g_ptr_array_index(family->revisions, i));

    *nretained = family->revisions->len;
    return retained;
}


/* Returns the id of the next revision; no revision of the volume ever had it. */
unsigned long long
virStorageRevFamilyNextId(virStorageRevFamily *family)
{
    size_t n;
    g_autofree virStorageRevRetained *retained = virStorageRevFamilyRetained(family, &n);
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(family);

    return virStorageRevNextId(facts ? facts->nextId : 0, retained, n);
}


size_t
virStorageRevFamilyPinnedCount(virStorageRevFamily *family)
{
    size_t pinned = 0;
    size_t i;

    for (i = 0; i < family->revisions->len; i++) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (state->kind == VIR_STORAGE_REV_PINNED)
            pinned++;
    }
    return pinned;
}


/* Returns the name that the storage API knows @state by. */
char *
virStorageRevStateName(virStorageRevFamily *family,
                       const virStorageRevState *state)
{
    return virStorageRevNameFormat(family->volume, state->kind, state->id, state->word);
}


/* Returns how many of the oldest unpinned revisions retention gives up. */
size_t
virStorageRevFamilyPruneCount(virStorageRevFamily *family,
                              int keep)
{
    size_t n;
    g_autofree virStorageRevRetained *retained = virStorageRevFamilyRetained(family, &n);

    return virStorageRevRetentionDrop(retained, n, keep);
}


/**
 * virStorageRevFamilyPruneUpTo:
 * @family: volume
 * @keep: how many unpinned revisions may stay
 * @next: id of a revision that is about to join them, or 0
 *
 * We never use ids again, so that "unpinned ones up to this id are to go" stays true as long as we write the heads.
 * Recorded in the head, it lets an interrupted prune be finished, and never takes what a later revert or a lower default
 * leaves.
 *
 * Returns that id, or 0 when none is to go
 */
unsigned long long
virStorageRevFamilyPruneUpTo(virStorageRevFamily *family,
                             int keep,
                             unsigned long long next)
{
    size_t n;
    g_autofree virStorageRevRetained *retained = virStorageRevFamilyRetained(family, &n);
    unsigned long long upTo = 0;
    size_t drop;
    size_t i;

    n -= virStorageRevFamilyPinnedCount(family);
    if (next) /* the array has room for one more */
        retained[n++] = (virStorageRevRetained) { .id = next };

    drop = virStorageRevRetentionDrop(retained, n, keep);
    for (i = 0; i < drop; i++) {
        if (!retained[i].legacy)
            upTo = MAX(upTo, retained[i].id);
    }
    return upTo;
}


/**
 * virStorageRevFamilyPruneLeft:
 * @family: volume
 * @keep: how many unpinned revisions may stay by now, which can be more than when the prune was recorded in the head
 *
 * Returns how many of the oldest unpinned revisions that prune still has to remove
 */
size_t
virStorageRevFamilyPruneLeft(virStorageRevFamily *family,
                             int keep)
{
    size_t left = 0;
    size_t i;

    if (!family->head)
        return 0;

    for (i = 0; i < family->revisions->len; i++) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (state->kind == VIR_STORAGE_REV_NUMBERED && !state->legacy &&
            virStorageRevMetaIsOf(&family->head->meta, family->volume) &&
            state->id <= family->head->meta.pruneUpTo)
            left = i + 1;
    }
    return left > 0 ? MIN(left, virStorageRevFamilyPruneCount(family, keep)) : 0;
}


/* Does the metadata say what the volume is, and not just to which one a live copy belongs? */
static bool
virStorageRevMetaHasFacts(const virStorageRevMeta *meta,
                          const char *volume)
{
    return virStorageRevMetaIsOf(meta, volume) && meta->nextId > 0;
}


/* Are the volume facts of @meta newer than those of @other? The next id only grows, whoever else writes heads meanwhile;
 * the generation begins anew then. A pin is as old as the revision that it was made beside, which comes first. */
static bool
virStorageRevMetaIsNewer(const virStorageRevMeta *meta,
                         const virStorageRevMeta *other)
{
    if (meta->nextId != other->nextId)
        return meta->nextId > other->nextId;
    return meta->generation > other->generation;
}


/**
 * virStorageRevFamilyVolumeFacts:
 *
 * The head's own metadata, or else that of the newest sibling that has any: a tool that knows nothing of the metadata
 * may have written the head anew, and what the volume is must not turn into a default then.
 *
 * Returns NULL when no state has volume facts
 */
const virStorageRevMeta *
virStorageRevFamilyVolumeFacts(virStorageRevFamily *family)
{
    const virStorageRevMeta *newest = NULL;
    size_t i;

    if (family->head && virStorageRevMetaHasFacts(&family->head->meta, family->volume))
        return &family->head->meta;
    if (family->live && virStorageRevMetaHasFacts(&family->live->meta, family->volume))
        newest = &family->live->meta;

    for (i = 0; i < family->revisions->len; i++) {
        const virStorageRevState *state = g_ptr_array_index(family->revisions, i);

        if (virStorageRevMetaHasFacts(&state->meta, family->volume) &&
            (!newest || virStorageRevMetaIsNewer(&state->meta, newest)))
            newest = &state->meta;
    }
    return newest;
}


/* Warns of a head that has lost its metadata, and what the volume is with it. */
void
virStorageRevFamilyWarnForgotten(virStorageRevFamily *family,
                                 const char *pool)
{
    if (family->head && !virStorageRevMetaIsOf(&family->head->meta, family->volume) &&
        virStorageRevFamilyVolumeFacts(family))
        VIR_WARN("the head of volume '%s' of pool '%s' has been replaced by something that keeps no metadata: its lifecycle and retention are taken from its newest other state",
                 family->volume, pool);
}
