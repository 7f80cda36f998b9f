/*
 * storage_thin_recover.h: what crashes leave in a thin pool
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_thin_scan.h"

bool
virStorageThinRecoverUnmade(virStorageRevContext *ctx,
                            virStorageThinScan *scan);

virStorageRevFamily *
virStorageThinRecoverVolume(virStorageRevContext *ctx,
                            const char *volume);

bool
virStorageThinRecover(virStorageRevContext *ctx,
                      virStorageThinScan *scan,
                      bool poolStart);
