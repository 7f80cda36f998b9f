/*
 * storage_fspool_stream.h: directory trees as tar streams
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_volume.h"

/* The operations of virStorageRevOps, which documents them. */

virStorageRevStaging *
virStorageFspoolStagingBegin(virStorageRevContext *ctx,
                             virStorageRevFamily *family);

int
virStorageFspoolStagingFd(virStorageRevStaging *staging);

int
virStorageFspoolStagingCheck(virStorageRevStaging *staging);

int
virStorageFspoolStagingCommit(virStorageRevContext *ctx,
                              virStorageRevFamily *family,
                              virStorageRevStaging *staging);

void
virStorageFspoolStagingEnd(virStorageRevStaging *staging);

virStorageRevPacking *
virStorageFspoolPackingBegin(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             const virStorageRevState *state,
                             int *fd,
                             bool *lasting);

int
virStorageFspoolPackingEnd(virStorageRevPacking *packing,
                           bool finish);
