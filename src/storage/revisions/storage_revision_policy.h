/*
 * storage_revision_policy.h: decisions about volumes with revisions, without I/O
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_name.h"
#include "virenum.h"

/* What "create TARGET from SOURCE" asks for. */
typedef enum {
    VIR_STORAGE_REV_ACTION_INVALID, /* nothing the pool can do: the target exists, or may not be made */
    VIR_STORAGE_REV_ACTION_CLONE,   /* X → B, a new volume, from the same pool */
    VIR_STORAGE_REV_ACTION_COPY,    /* X → B, a new volume, from another pool */
    VIR_STORAGE_REV_ACTION_START,   /* A → A@live */
    VIR_STORAGE_REV_ACTION_STAGE,   /* X → A@live */
    VIR_STORAGE_REV_ACTION_COMMIT,  /* A@live → A */
    VIR_STORAGE_REV_ACTION_REVERT,  /* A@ID → A */
    VIR_STORAGE_REV_ACTION_PIN,     /* A → A@word */
    VIR_STORAGE_REV_ACTION_REDEFINE, /* A → A */
    VIR_STORAGE_REV_ACTION_MARK,    /* A@live → A@live */

    VIR_STORAGE_REV_ACTION_LAST,
} virStorageRevAction;

VIR_ENUM_DECL(virStorageRevAction);

virStorageRevAction
virStorageRevActionDecide(const virStorageRevName *source,
                          bool samePool,
                          const virStorageRevName *target,
                          bool targetExists);

/* What a start makes the live copy from. */
typedef enum {
    VIR_STORAGE_REV_START_OWN,    /* persistent: the volume's own head */
    VIR_STORAGE_REV_START_SOURCE, /* snapshot: the head of its source */
    VIR_STORAGE_REV_START_BLANK,  /* volatile: nothing */
} virStorageRevStart;

virStorageRevStart
virStorageRevStartDecide(bool snapOnStart,
                         bool saveOnStop);

/* One revision as retention sees it. */
typedef struct _virStorageRevRetained virStorageRevRetained;
struct _virStorageRevRetained {
    unsigned long long id;
    bool legacy; /* the id is made from a time stamp: older than every numbered one */
    bool pinned;
};

int
virStorageRevCompare(const virStorageRevRetained *a,
                     const virStorageRevRetained *b);

size_t
virStorageRevRetentionDrop(const virStorageRevRetained *revisions,
                           size_t nrevisions,
                           int keep);

unsigned long long
virStorageRevNextId(unsigned long long recorded,
                    const virStorageRevRetained *revisions,
                    size_t nrevisions);

int
virStorageRevKeepEffective(int volumeKeep,
                           int poolKeep);
