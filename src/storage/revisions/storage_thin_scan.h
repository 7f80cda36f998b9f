/*
 * storage_thin_scan.h: reading the volumes of a thin pool
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_family.h"
#include "storage_thin_lvm.h"

typedef struct _virStorageThinScan virStorageThinScan;
struct _virStorageThinScan {
    virStorageThinReport *report;
    GHashTable *families;  /* name of the volume → virStorageRevFamily */
    GPtrArray *staged;     /* LVs that an operation under way, or one that was interrupted, has made */
    GPtrArray *merging;    /* LVs that a snapshot replaces as soon as they are not open any more */
};

virStorageThinScan *
virStorageThinScanPool(virStorageRevContext *ctx);

void
virStorageThinScanFree(virStorageThinScan *scan);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageThinScan, virStorageThinScanFree);

virStorageRevFamily *
virStorageThinScanVolume(virStorageRevContext *ctx,
                         const char *volume,
                         bool *merging);

void
virStorageThinStateReadDevice(virStorageRevContext *ctx,
                              int control,
                              virStorageRevState *state);

bool
virStorageThinIsManaged(const virStorageRevFamily *family);
