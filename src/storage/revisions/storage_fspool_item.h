/*
 * storage_fspool_item.h: one directory tree: making it, limiting it, reading what is known of it
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_place.h"
#include "storage_fspool_quota.h"
#include "storage_revision_ops.h"

/* A pool that an operation works in. */
typedef struct _virStorageFspoolPool virStorageFspoolPool;
struct _virStorageFspoolPool {
    virStorageRevContext *ctx; /* not owned */
    virStorageFspoolRoot root;
    virStorageFspoolQuota quota;
};

#define VIR_STORAGE_FSPOOL_POOL_INIT { .root = VIR_STORAGE_FSPOOL_ROOT_INIT }

int
virStorageFspoolPoolOpen(virStorageFspoolPool *pool,
                         virStorageRevContext *ctx);

void
virStorageFspoolPoolClear(virStorageFspoolPool *pool);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolPool, virStorageFspoolPoolClear);

/* What a tree may take; 0 for no limit. */
typedef struct _virStorageFspoolLimits virStorageFspoolLimits;
struct _virStorageFspoolLimits {
    unsigned long long space;  /* bytes */
    unsigned long long files;
};

int
virStorageFspoolLimitsCheck(virStorageFspoolPool *pool,
                            virStorageFspoolLimits *limits,
                            const char *volume);

int
virStorageFspoolLimitsRead(virStorageFspoolPool *pool,
                           int fd,
                           const char *name,
                           virStorageFspoolLimits *limits);

int
virStorageFspoolLimitsSet(virStorageFspoolPool *pool,
                          int fd,
                          const virStorageFspoolLimits *limits,
                          const char *name);

void
virStorageFspoolLimitsRelease(virStorageFspoolPool *pool,
                              uint64_t id);

int
virStorageFspoolCheckWhole(int fd,
                           const char *name);

int
virStorageFspoolItemMake(virStorageFspoolPool *pool,
                         virStorageFspoolStage *stage,
                         const virStorageFspoolLimits *limits,
                         const char *volume);

int
virStorageFspoolItemCopy(virStorageFspoolPool *pool,
                         virStorageFspoolStage *stage,
                         int from,
                         const virStorageFspoolLimits *limits,
                         const char *volume);

int
virStorageFspoolItemPerms(int fd,
                          const virStoragePerms *perms,
                          const char *name);

int
virStorageFspoolItemWriteMeta(virStorageFspoolPool *pool,
                              int fd,
                              const virStorageRevMeta *meta,
                              const char *name);

int
virStorageFspoolItemFinish(virStorageFspoolPool *pool,
                           virStorageFspoolStage *stage,
                           const virStorageRevMeta *meta,
                           const virStorageFspoolLimits *limits,
                           const char *name);

int
virStorageFspoolItemRemove(virStorageFspoolPool *pool,
                           const virStorageFspoolPlace *place,
                           const char *name);

int
virStorageFspoolItemFreeze(virStorageFspoolPool *pool,
                           const virStorageFspoolPlace *place,
                           bool shared,
                           const char *name);

int
virStorageFspoolStateRead(virStorageFspoolPool *pool,
                          int fd,
                          virStorageRevState *state);

void
virStorageFspoolStateCount(virStorageRevState *state,
                           const virStorageFspoolQuotaRecord *record);
