/*
 * storage_thin_pool.h: volume groups and thin pools
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_thin_scan.h"
#include "virstorageobj.h"

int
virStorageThinPoolBuild(virStorageRevContext *ctx,
                        const virStoragePoolSource *source,
                        bool overwrite);

int
virStorageThinPoolDelete(virStorageRevContext *ctx);

int
virStorageThinPoolBringUp(virStorageRevContext *ctx,
                          virStorageThinScan *scan);

void
virStorageThinPoolSettle(virStorageRevContext *ctx,
                         GHashTable *families);

void
virStorageThinPoolLetDown(virStorageRevContext *ctx,
                          GHashTable *families);

char *
virStorageThinPoolFindSources(void);
