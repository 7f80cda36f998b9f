/*
 * storage_revision_pool.h: the volumes of a pool, as families and as definitions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"

/* What libvirt's wire can list: REMOTE_STORAGE_VOL_LIST_MAX. */
#define VIR_STORAGE_REV_LIST_MAX 16384

/* How a pool is seen that somebody stops. */
typedef struct _virStorageRevPoolSeen virStorageRevPoolSeen;
struct _virStorageRevPoolSeen {
    bool active;
    bool starting;
};

/* All functions here are called with the pool locked. */

void
virStorageRevPoolReset(virStoragePoolObj *obj);

void
virStorageRevPoolBeginStop(virStoragePoolObj *obj,
                           virStorageRevPoolSeen *before);

void
virStorageRevPoolEndStop(virStoragePoolObj *obj,
                         const virStorageRevPoolSeen *before);

bool
virStorageRevPoolIsStopping(virStoragePoolObj *obj);

void
virStorageRevPoolReplace(virStoragePoolObj *obj,
                         GHashTable *families);

virStorageRevFamily *
virStorageRevPoolFind(virStoragePoolObj *obj,
                      const char *volume);

bool
virStorageRevPoolHas(virStoragePoolObj *obj,
                     const char *name);

void
virStorageRevPoolDropHeld(virStoragePoolObj *obj);

int
virStorageRevPoolPut(virStoragePoolObj *obj,
                     virStorageRevFamily *family);

int
virStorageRevPoolCheckRoom(virStoragePoolObj *obj,
                           virStorageRevKind kind);

bool
virStorageRevPoolStateIsListed(virStoragePoolObj *obj,
                               virStorageRevFamily *family,
                               const virStorageRevState *state);

const char *
virStorageRevPoolFindDependent(virStoragePoolObj *obj,
                               const char *volume);

void
virStorageRevPoolUpdateVol(virStoragePoolObj *obj,
                           virStorageVolDef *def);

bool
virStorageRevPoolStateInUse(virStoragePoolObj *obj,
                            virStorageRevFamily *family,
                            const virStorageRevState *state);

virStorageType
virStorageRevSourceType(virStorageVolType type);

GHashTable *
virStorageRevPoolFamilies(virStoragePoolObj *obj);
