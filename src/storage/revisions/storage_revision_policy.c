/*
 * storage_revision_policy.c: decisions about volumes with revisions, without I/O
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_policy.h"
#include "storage_revision_conf.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_ENUM_IMPL(virStorageRevAction,
              VIR_STORAGE_REV_ACTION_LAST,
              "invalid",
              "clone", "copy",
              "start", "stage", "commit",
              "revert", "pin", "redefine", "mark",
);


/* "create HEAD from @source", where both are of one volume */
static virStorageRevAction
virStorageRevActionDecideOwnHead(const virStorageRevName *source,
                                 bool headExists)
{
    switch (source->kind) {
    case VIR_STORAGE_REV_LIVE:
        /* Also without a head: that is how another tool leaves a volume while it runs. */
        return VIR_STORAGE_REV_ACTION_COMMIT;
    case VIR_STORAGE_REV_NUMBERED:
    case VIR_STORAGE_REV_PINNED:
        return VIR_STORAGE_REV_ACTION_REVERT;
    case VIR_STORAGE_REV_HEAD:
        return headExists ? VIR_STORAGE_REV_ACTION_REDEFINE : VIR_STORAGE_REV_ACTION_INVALID;
    default:
        return VIR_STORAGE_REV_ACTION_INVALID;
    }
}


/**
 * virStorageRevActionDecide:
 * @source: name of what to create from; not looked at, and may be NULL, if it is in another pool
 * @samePool: is the source in the pool of the target?
 * @target: name of what to create
 * @targetExists: is there something of that name?
 *
 * Finds out what "create @target from @source" means. Nothing is said about whether it can be done: the source may be
 * in use, the target's volume may not exist.
 *
 * Returns the action, VIR_STORAGE_REV_ACTION_INVALID if there is none
 */
virStorageRevAction
virStorageRevActionDecide(const virStorageRevName *source,
                          bool samePool,
                          const virStorageRevName *target,
                          bool targetExists)
{
    bool own = samePool && STREQ(source->volume, target->volume);

    switch (target->kind) {
    case VIR_STORAGE_REV_HEAD:
        if (own)
            return virStorageRevActionDecideOwnHead(source, targetExists);
        if (targetExists)
            return VIR_STORAGE_REV_ACTION_INVALID;
        return samePool ? VIR_STORAGE_REV_ACTION_CLONE : VIR_STORAGE_REV_ACTION_COPY;

    case VIR_STORAGE_REV_LIVE:
        if (own && source->kind == VIR_STORAGE_REV_LIVE)
            return targetExists ? VIR_STORAGE_REV_ACTION_MARK : VIR_STORAGE_REV_ACTION_INVALID;
        if (targetExists)
            return VIR_STORAGE_REV_ACTION_INVALID;
        if (own && source->kind == VIR_STORAGE_REV_HEAD)
            return VIR_STORAGE_REV_ACTION_START;
        return VIR_STORAGE_REV_ACTION_STAGE;

    case VIR_STORAGE_REV_PINNED:
        if (own && source->kind == VIR_STORAGE_REV_HEAD && !targetExists)
            return VIR_STORAGE_REV_ACTION_PIN;
        return VIR_STORAGE_REV_ACTION_INVALID;

    case VIR_STORAGE_REV_NUMBERED: /* the pool alone gives out numbers */
    default:
        return VIR_STORAGE_REV_ACTION_INVALID;
    }
}


/**
 * virStorageRevStartDecide:
 * @snapOnStart: does a start make a fresh copy of the source?
 * @saveOnStop: does a stop commit?
 *
 * Returns what the live copy is made from
 */
virStorageRevStart
virStorageRevStartDecide(bool snapOnStart,
                         bool saveOnStop)
{
    if (snapOnStart)
        return VIR_STORAGE_REV_START_SOURCE;
    if (saveOnStop)
        return VIR_STORAGE_REV_START_OWN;
    return VIR_STORAGE_REV_START_BLANK;
}


/**
 * virStorageRevCompare:
 * @a: a revision
 * @b: another of the same volume
 *
 * Puts unpinned revisions into retention's order, oldest first: by id, never by clock; those whose id is made from a
 * time stamp come before all that have a number. Pinned ones, which retention does not look at, come last.
 *
 * Returns less than 0, 0 or more than 0, as for qsort()
 */
int
virStorageRevCompare(const virStorageRevRetained *a,
                     const virStorageRevRetained *b)
{
    if (a->pinned != b->pinned)
        return a->pinned ? 1 : -1;
    if (a->legacy != b->legacy)
        return a->legacy ? -1 : 1;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return 0;
}


/**
 * virStorageRevRetentionDrop:
 * @revisions: all revisions of a volume, oldest first
 * @nrevisions: how many
 * @keep: how many unpinned ones may stay; less than 0: all
 *
 * Returns how many of the unpinned ones, from the oldest on, are to go
 */
size_t
virStorageRevRetentionDrop(const virStorageRevRetained *revisions,
                           size_t nrevisions,
                           int keep)
{
    size_t unpinned = 0;
    size_t i;

    if (keep < 0)
        return 0;

    for (i = 0; i < nrevisions; i++) {
        if (!revisions[i].pinned)
            unpinned++;
    }

    return unpinned > (size_t) keep ? unpinned - keep : 0;
}


/**
 * virStorageRevNextId:
 * @recorded: the next id as the volume's metadata has it, 0 where unknown
 * @revisions: all revisions of the volume
 * @nrevisions: how many
 *
 * An id is never used again, not even that of a removed revision, which the recorded one knows about. A tool that knows
 * nothing of it may have made further revisions, which the list knows about. Ids made from time stamps do not count:
 * they would push all later ones into the billions.
 *
 * Returns the id of the volume's next revision, or 0 if the ids are used up
 */
unsigned long long
virStorageRevNextId(unsigned long long recorded,
                    const virStorageRevRetained *revisions,
                    size_t nrevisions)
{
    unsigned long long next = MAX(recorded, 1);
    size_t i;

    for (i = 0; i < nrevisions; i++) {
        if (revisions[i].legacy || revisions[i].id < next)
            continue;
        if (revisions[i].id == ULLONG_MAX)
            return 0;
        next = revisions[i].id + 1;
    }

    return next;
}


/**
 * virStorageRevKeepEffective:
 * @volumeKeep: the volume's own retention, or VIR_STORAGE_REV_KEEP_UNSET
 * @poolKeep: the pool's, or VIR_STORAGE_REV_KEEP_UNSET
 *
 * Returns how many unpinned revisions of the volume may stay
 */
int
virStorageRevKeepEffective(int volumeKeep,
                           int poolKeep)
{
    if (volumeKeep >= 0)
        return volumeKeep;
    if (poolKeep >= 0)
        return poolKeep;
    return VIR_STORAGE_REV_KEEP_DEFAULT;
}
