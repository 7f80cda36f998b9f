/*
 * storage_thin_room.h: is there room for one volume more?
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"
#include "storage_thin_status.h"

const char *
virStorageThinRoomProblem(const virStorageThinPoolStatus *status,
                          unsigned long long vgMetadataFree);

int
virStorageThinFindProblem(virStorageRevContext *ctx,
                          const char **problem);

int
virStorageThinCheckRoom(virStorageRevContext *ctx,
                        const char *name);
