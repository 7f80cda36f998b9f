/*
 * storage_revision_facts.c: the metadata of states that are about to be made
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_facts.h"

#include "storage_revision_checks.h"
#include "viralloc.h"


static int
virStorageRevSourceFormat(const virStorageRevSource *source)
{
    return source->family ? source->state->meta.format : source->format;
}


/**
 * virStorageRevFactsNewHead:
 * @volume: name of a volume that does not exist yet
 * @def: what the user asks for
 * @source: what it is a clone or copy of, or NULL
 *
 * Only what @def says is not the default.
 */
void
virStorageRevFactsNewHead(const char *volume,
                          virStorageVolDef *def,
                          const virStorageRevSource *source,
                          virStorageRevMeta *meta)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);

    meta->format = source ? virStorageRevSourceFormat(source) : def->target.format;
    meta->generation = 1;
    meta->created = g_get_real_time() / G_USEC_PER_SEC;
    meta->volumeHash = virStorageRevMetaHash(volume);
    meta->nextId = 1;
    if (vol->hasLifecycle) {
        meta->snapOnStart = vol->snapOnStart;
        meta->saveOnStop = vol->saveOnStop;
        meta->onCrash = vol->onCrash;
        meta->source = g_strdup(vol->source);
    }
    meta->keep = vol->keep;
    if (source && source->family)
        virStorageRevMetaSetOrigin(meta, source->family->volume, &source->state->meta);
}


/**
 * virStorageRevFactsOfVolume:
 * @family: volume
 * @meta: given what the volume is, if that is known
 *
 * What an earlier prune had to remove, the head alone can say: where facts come from a sibling, another tool has written
 * the head, and may have used ids again.
 */
void
virStorageRevFactsOfVolume(virStorageRevFamily *family,
                           virStorageRevMeta *meta)
{
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(family);

    if (!facts)
        return;
    virStorageRevMetaCopyVolumeFacts(meta, facts);
    if (!family->head || facts != &family->head->meta)
        meta->pruneUpTo = 0;
}


/**
 * virStorageRevFactsLive:
 * @family: volume with a head
 * @source: what its live copy is made of, or NULL for its own head
 */
void
virStorageRevFactsLive(virStorageRevFamily *family,
                       const virStorageRevSource *source,
                       virStorageRevMeta *meta)
{
    if (!source) {
        virStorageRevMetaCopy(meta, &family->head->meta);
        virStorageRevMetaDropVolumeFacts(meta);
        virStorageRevMetaDropMarks(meta);
        meta->base = virStorageRevMetaGeneration(&family->head->meta);
    } else {
        meta->format = virStorageRevSourceFormat(source);
        if (source->family)
            virStorageRevMetaSetOrigin(meta, source->family->volume, &source->state->meta);
    }
    meta->volumeHash = virStorageRevMetaHash(family->volume);
    meta->boot = virStorageRevMetaBoot();
}


/* As virStorageRevFactsLive, for the live copy of a volatile volume, which is made of nothing. */
void
virStorageRevFactsLiveBlank(virStorageRevFamily *family,
                            virStorageRevMeta *meta)
{
    meta->format = family->head->meta.format;
    meta->volumeHash = virStorageRevMetaHash(family->volume);
    meta->boot = virStorageRevMetaBoot();
}


/**
 * virStorageRevFactsNextHead:
 * @ctx: pool
 * @family: volume, before the change
 * @content: whose content facts the next head has, or NULL
 * @id: of the revision that the present head becomes, or 0
 * @prunes: whether retention prunes afterwards
 */
void
virStorageRevFactsNextHead(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           const virStorageRevMeta *content,
                           unsigned long long id,
                           bool prunes,
                           virStorageRevMeta *meta)
{
    int keep = virStorageRevKeepOf(ctx, family);

    if (content)
        virStorageRevMetaCopy(meta, content);
    virStorageRevMetaDropVolumeFacts(meta);
    virStorageRevMetaDropMarks(meta);
    virStorageRevFactsOfVolume(family, meta);
    if (!meta->volumeHash)
        meta->volumeHash = virStorageRevMetaHash(family->volume);

    meta->generation = family->head ? virStorageRevMetaGeneration(&family->head->meta) + 1 : 1;
    meta->created = g_get_real_time() / G_USEC_PER_SEC;
    meta->nextId = id ? id + 1 : virStorageRevFamilyNextId(family);
    /* What an earlier prune has not come to may be what a revert has just brought back: the next prune decides anew. */
    meta->pruneUpTo = prunes ? MAX(meta->pruneUpTo, virStorageRevFamilyPruneUpTo(family, keep, id)) : 0;
}


/**
 * virStorageRevFactsRedefined:
 * @family: volume with a head
 * @facts: its volume facts from now on
 */
void
virStorageRevFactsRedefined(virStorageRevFamily *family,
                            const virStorageRevMeta *facts,
                            virStorageRevMeta *meta)
{
    virStorageRevMetaCopy(meta, &family->head->meta);
    virStorageRevMetaCopyVolumeFacts(meta, facts);
    if (!meta->volumeHash)
        meta->volumeHash = virStorageRevMetaHash(family->volume);
    meta->nextId = virStorageRevFamilyNextId(family);
    if (!meta->generation)
        meta->generation = 1;
}


/**
 * virStorageRevFactsToRemember:
 * @family: volume
 * @revision: one that is about to be removed
 * @facts: filled with what a redefine of the head is to record before
 *
 * Ids are never used again: before the highest goes, the head remembers it.
 *
 * Returns false when it does so already
 */
bool
virStorageRevFactsToRemember(virStorageRevFamily *family,
                             const virStorageRevState *revision,
                             virStorageRevMeta *facts)
{
    virStorageRevMetaInit(facts);
    if (!family->head || revision->kind != VIR_STORAGE_REV_NUMBERED || revision->legacy ||
        (virStorageRevMetaIsOf(&family->head->meta, family->volume) && family->head->meta.nextId > revision->id))
        return false;

    virStorageRevFactsOfVolume(family, facts);
    return true;
}


/* Was the live copy made in this boot of the host's, from the head as it is now, and has it kept its size? Then it has
 * nothing to commit unless it was written to. */
bool
virStorageRevFactsLiveIsOfHead(virStorageRevFamily *family)
{
    const virStorageRevMeta *live = &family->live->meta;

    return family->head &&
        virStorageRevMetaIsOf(live, family->volume) &&
        live->base == virStorageRevMetaGeneration(&family->head->meta) &&
        live->boot == virStorageRevMetaBoot() &&
        !live->staged &&
        family->live->capacity == family->head->capacity;
}


/**
 * virStorageRevFactsLiveIsOfEarlierBoot:
 * @family: volume
 *
 * Is its live copy a leftover: made before the host was started, by a machine that starts afresh every time? What was
 * imported is not, nor what goes with the memory of a saved machine.
 */
bool
virStorageRevFactsLiveIsOfEarlierBoot(virStorageRevFamily *family)
{
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(family);
    const virStorageRevMeta *live = family->live ? &family->live->meta : NULL;

    if (!family->head || !live || !facts || facts->saveOnStop ||
        !virStorageRevMetaIsOf(live, family->volume) ||
        live->boot == 0 || live->boot == virStorageRevMetaBoot())
        return false;
    return !live->staged && !virStorageRevUseHasMemory(live->use);
}


/**
 * virStorageRevFactsUse:
 * @family: volume with a live copy
 *
 * Returns how far the domain that owns the live copy is with it; a file that was copied is nobody's
 */
virStorageRevUse
virStorageRevFactsUse(virStorageRevFamily *family)
{
    const virStorageRevMeta *live = &family->live->meta;

    return virStorageRevMetaIsOf(live, family->volume) ? live->use : VIR_STORAGE_REV_USE_NONE;
}


/**
 * virStorageRevFactsMarked:
 * @family: volume with a live copy
 * @vol: says whose that is from now on
 */
void
virStorageRevFactsMarked(virStorageRevFamily *family,
                         const virStorageRevVol *vol,
                         virStorageRevMeta *meta)
{
    virStorageRevMetaCopy(meta, &family->live->meta);
    VIR_FREE(meta->headStamp); /* of the precache that it was */
    if (!virStorageRevMetaIsOf(meta, family->volume)) {
        virStorageRevMetaDropVolumeFacts(meta);
        meta->volumeHash = virStorageRevMetaHash(family->volume);
    }
    meta->use = vol->use;
    memcpy(meta->domain, vol->domain, VIR_UUID_BUFLEN);
}
