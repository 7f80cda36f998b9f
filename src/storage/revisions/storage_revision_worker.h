/*
 * storage_revision_worker.h: work that no client waits for
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"

/* No precache is made of a head that is younger, since a coarse clock could hide a write to it; and by then XFS has
 * freed the blocks of removed files, which it does in the background. */
#define VIR_STORAGE_REV_WORKER_DELAY_MS 2500

void
virStorageRevWorkerClose(int *fd,
                         const virStorageRevContext *ctx);

void
virStorageRevWorkerTidy(const unsigned char *pool,
                        const char *temporary);

void
virStorageRevWorkerStop(virStoragePoolObj *obj);

bool
virStorageRevWorkerIsCancelled(void);

void
virStorageRevWorkerSettle(const virStorageRevContext *ctx);

void
virStorageRevWorkerEnsureSettle(const virStorageRevContext *ctx);

void
virStorageRevWorkerPrecache(const virStorageRevOps *ops,
                            const unsigned char *pool,
                            const char *volume);
