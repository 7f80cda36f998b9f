/*
 * storage_reflink_scan.h: reading a pool's directory, and finishing what a crash left
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"

/* What lies below a pool's directory. */
typedef struct _virStorageReflinkScan virStorageReflinkScan;
struct _virStorageReflinkScan {
    GHashTable *known;    /* what the last refresh found; not owned */
    GHashTable *families; /* name of a volume → virStorageRevFamily */
    GPtrArray *staged;    /* names of volumes that have a staging file */
    GPtrArray *precached; /* names of volumes that have a precache */
};

virStorageReflinkScan *
virStorageReflinkScanPool(virStorageRevContext *ctx,
                          GHashTable *known);

virStorageRevFamily *
virStorageReflinkScanVolume(virStorageRevContext *ctx,
                            const char *volume);

void
virStorageReflinkScanFree(virStorageReflinkScan *scan);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageReflinkScan, virStorageReflinkScanFree);

void
virStorageReflinkRecover(virStorageRevContext *ctx,
                         virStorageReflinkScan *scan,
                         bool poolStart);
