/*
 * storage_thin_room.h: what a thin pool can take
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"
#include "storage_thin_status.h"

const char *
virStorageThinBreakage(const virStorageThinPoolStatus *status);

const char *
virStorageThinRoomProblem(const virStorageThinPoolStatus *status,
                          unsigned long long vgMetadataFree);

void
virStorageThinRoomSetArea(const char *vg,
                          unsigned long long metadataFree);

int
virStorageThinFindProblem(virStorageRevContext *ctx,
                          const char **problem);

int
virStorageThinCheckRoom(virStorageRevContext *ctx,
                        const char *name);

int
virStorageThinFindBreakage(virStorageRevContext *ctx,
                           const char **breakage);

int
virStorageThinCheckRemoval(virStorageRevContext *ctx,
                           const char *name);
