/*
 * storage_fspool_place.h: where the directories of a pool lie, and how they get there
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_name.h"
#include "storage_revision_file.h"
#include "storage_revision_ops.h"

/* A pool's directories, open. */
typedef struct _virStorageFspoolRoot virStorageFspoolRoot;
struct _virStorageFspoolRoot {
    virStorageRevContext *ctx; /* not owned */
    int fd;
    int revisions;
    int staging;
    int trash;
};

#define VIR_STORAGE_FSPOOL_ROOT_INIT { .fd = -1, .revisions = -1, .staging = -1, .trash = -1 }

int
virStorageFspoolRootMake(const char *poolPath);

int
virStorageFspoolRootRemove(const char *poolPath);

int
virStorageFspoolRootOpen(virStorageFspoolRoot *root,
                         virStorageRevContext *ctx);

void
virStorageFspoolRootClear(virStorageFspoolRoot *root);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolRoot, virStorageFspoolRootClear);

/* A directory by its parent and its name there; one step of a path may be swapped by somebody, two would be raced. */
typedef struct _virStorageFspoolPlace virStorageFspoolPlace;
struct _virStorageFspoolPlace {
    int dirfd;
    bool owned;       /* whether @dirfd is closed with the place */
    char *entry;
};

#define VIR_STORAGE_FSPOOL_PLACE_INIT { .dirfd = -1 }

int
virStorageFspoolPlaceOfState(virStorageFspoolPlace *place,
                             virStorageFspoolRoot *root,
                             const virStorageRevState *state,
                             const char *name);

void
virStorageFspoolPlaceOfRevision(virStorageFspoolPlace *place,
                                virStorageFspoolRoot *root,
                                const char *entry);

int
virStorageFspoolPlaceMake(virStorageFspoolPlace *place,
                          virStorageFspoolRoot *root,
                          const char *path,
                          const char *volume);

int
virStorageFspoolPlaceOpen(const virStorageFspoolPlace *place,
                          const char *name);

void
virStorageFspoolPlaceClear(virStorageFspoolPlace *place);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolPlace, virStorageFspoolPlaceClear);

/* A tree that is being made; whoever has it open holds the lock that keeps it from being taken for a leftover. */
typedef struct _virStorageFspoolStage virStorageFspoolStage;
struct _virStorageFspoolStage {
    virStorageFspoolRoot *root; /* not owned */
    char *entry;                /* below the staging directory; NULL: it is where it belongs, or there is none */
    char *trashed;              /* below the trash, when it was given up */
    int fd;
};

#define VIR_STORAGE_FSPOOL_STAGE_INIT { .fd = -1 }

int
virStorageFspoolReadNames(int dirfd,
                          bool all,
                          GPtrArray *names);

int
virStorageFspoolStageCheckFree(virStorageFspoolRoot *root,
                               const char *volume);

int
virStorageFspoolStageNew(virStorageFspoolStage *stage,
                         virStorageFspoolRoot *root,
                         const char *volume);

int
virStorageFspoolStageSnapshot(virStorageFspoolStage *stage,
                              virStorageFspoolRoot *root,
                              int from,
                              const char *volume,
                              const char *name);

int
virStorageFspoolStageInstall(virStorageFspoolStage *stage,
                             const virStorageFspoolPlace *place,
                             const char *name);

int
virStorageFspoolStageInstallHead(virStorageFspoolStage *stage,
                                 const char *path,
                                 const char *volume);

int
virStorageFspoolStageIsHeld(virStorageFspoolRoot *root,
                            const char *entry,
                            bool *held);

void
virStorageFspoolStageGiveUp(virStorageFspoolStage *stage);

void
virStorageFspoolStageClear(virStorageFspoolStage *stage);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolStage, virStorageFspoolStageClear);

int
virStorageFspoolExchange(const virStorageFspoolPlace *one,
                         const virStorageFspoolPlace *other,
                         const char *name);

int
virStorageFspoolTrash(virStorageFspoolRoot *root,
                      const virStorageFspoolPlace *place,
                      const char *volume,
                      char **trashed);
