/*
 * storage_revision_family.h: all states of one volume, as last read or written
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_meta.h"
#include "storage_revision_policy.h"

/* One state of a volume: its head, its live copy or a revision. */
typedef struct _virStorageRevState virStorageRevState;
struct _virStorageRevState {
    virStorageRevKind kind;
    unsigned long long id;   /* numbered revisions */
    bool legacy;             /* numbered by an old-style time stamp */
    char *word;              /* pinned revisions */
    long long superseded;    /* seconds since 1970, 0 where unknown */

    char *file;              /* path below the pool */
    virStorageRevMeta meta;
    bool hasMeta;            /* the metadata was there, and whole */

    unsigned long long capacity;
    unsigned long long allocation;
    char *backing;           /* what a qcow2 image is an overlay of, as its header says */
    int backingFormat;
    virStoragePerms perms;
    struct timespec atime;
    struct timespec mtime;
    struct timespec ctime;

    /* LVs */
    char *origin;            /* LV that this one is a snapshot of, as LVM knows it; NULL: none, or not known */
    char **tags;             /* those of ours, as they are written */
    unsigned int thinId;     /* number of the thin device in its pool; 0 where unknown */
    virStorageRevMeta *next; /* revisions: metadata of the head that followed, as long as it is the device named there */

    /* directories */
    uint64_t quotaId;        /* what the file system counts it under; 0: not on its own */
    bool quotaShared;        /* others have that id, or may: what limits one limits all of them */
    unsigned long long filesMax;

    /* identity of files, to tell shared inodes and replaced files */
    dev_t dev;
    ino_t ino;
    nlink_t nlink;

    long long readAt;        /* when all this was read, seconds since 1970 */
    bool reused;             /* by a refresh, which found the file as it was */

    bool inUse;              /* something in this process reads it while the pool is unlocked */
};

/* Immutable once it is in a pool's table: who changes a volume, under its lock, changes a copy and puts that in. */
typedef struct _virStorageRevFamily virStorageRevFamily;
struct _virStorageRevFamily {
    virObject parent;

    char *volume;
    virStorageRevState *head;  /* NULL: there is none */
    virStorageRevState *live;
    GPtrArray *revisions;      /* of virStorageRevState, oldest first, the pinned ones behind the numbered ones */
};

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageRevFamily, virObjectUnref);

virStorageRevState *
virStorageRevStateNew(virStorageRevKind kind);

void
virStorageRevStateSetNext(virStorageRevState *state,
                          const virStorageRevMeta *next);

virStorageRevState *
virStorageRevStateCopy(const virStorageRevState *state);

void
virStorageRevStateFree(virStorageRevState *state);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageRevState, virStorageRevStateFree);

void
virStorageRevStateDescribe(const virStorageRevState *state,
                           virStorageSource *target);

virStorageRevFamily *
virStorageRevFamilyNew(const char *volume);

GHashTable *
virStorageRevFamiliesNew(void);

virStorageRevFamily *
virStorageRevFamiliesGet(GHashTable *families,
                         const char *volume);

virStorageRevFamily *
virStorageRevFamilyCopy(virStorageRevFamily *family);

bool
virStorageRevFamilyIsUnchanged(virStorageRevFamily *family,
                               virStorageRevFamily *before);

bool
virStorageRevFamilyIsEmpty(virStorageRevFamily *family);

void
virStorageRevFamilyAdd(virStorageRevFamily *family,
                       virStorageRevState *state);

void
virStorageRevFamilySort(virStorageRevFamily *family);

virStorageRevState *
virStorageRevFamilyFind(virStorageRevFamily *family,
                        const virStorageRevName *name);

virStorageRevRetained *
virStorageRevFamilyRetained(virStorageRevFamily *family,
                            size_t *nretained);

unsigned long long
virStorageRevFamilyNextId(virStorageRevFamily *family);

size_t
virStorageRevFamilyPinnedCount(virStorageRevFamily *family);

char *
virStorageRevStateName(virStorageRevFamily *family,
                       const virStorageRevState *state);

size_t
virStorageRevFamilyPruneCount(virStorageRevFamily *family,
                              int keep);

size_t
virStorageRevFamilyPruneLeft(virStorageRevFamily *family,
                             int keep);

unsigned long long
virStorageRevFamilyPruneUpTo(virStorageRevFamily *family,
                             int keep,
                             unsigned long long next);

const virStorageRevMeta *
virStorageRevFamilyVolumeFacts(virStorageRevFamily *family);

void
virStorageRevFamilyWarnForgotten(virStorageRevFamily *family,
                                 const char *pool);
