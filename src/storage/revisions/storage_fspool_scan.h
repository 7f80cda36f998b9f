/*
 * storage_fspool_scan.h: reading the directories of a pool
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_item.h"

typedef struct _virStorageFspoolScan virStorageFspoolScan;
struct _virStorageFspoolScan {
    GHashTable *known;      /* what the last refresh found; not owned */
    GHashTable *families;   /* name of the volume → virStorageRevFamily */
    GHashTable *records;    /* quota id → virStorageFspoolQuotaRecord */
    GPtrArray *unfinished;  /* entries of revisions that were never switched to */
    GPtrArray *staged;      /* entries of the staging directory */
    GPtrArray *folders;     /* paths of folders that no volume lies in */
    bool hasTrash;
};

virStorageFspoolScan *
virStorageFspoolScanPool(virStorageFspoolPool *pool,
                         GHashTable *known);

void
virStorageFspoolScanFree(virStorageFspoolScan *scan);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageFspoolScan, virStorageFspoolScanFree);

virStorageRevFamily *
virStorageFspoolScanVolume(virStorageRevContext *ctx,
                           const char *volume);

void
virStorageFspoolRecover(virStorageFspoolPool *pool,
                        virStorageFspoolScan *scan);
