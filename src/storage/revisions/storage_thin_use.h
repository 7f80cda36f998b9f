/*
 * storage_thin_use.h: who uses a thin volume
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"
#include "storage_thin_status.h"

bool
virStorageThinIsOpen(virStorageRevContext *ctx,
                     const char *lv);

int
virStorageThinCheckUnused(virStorageRevContext *ctx,
                          const virStorageRevState *state,
                          const char *name);

int
virStorageThinCheckUnwritten(virStorageRevContext *ctx,
                             const virStorageRevState *state,
                             const char *name);

int
virStorageThinSync(virStorageRevContext *ctx,
                   const char *lv,
                   const char *name);

int
virStorageThinOpenDevice(virStorageRevContext *ctx,
                         const char *lv,
                         int oflags);

void
virStorageThinMarkFresh(virStorageRevContext *ctx,
                        const char *lv);

bool
virStorageThinIsFresh(virStorageRevContext *ctx,
                      const char *lv);

void
virStorageThinMarkActivated(int fd,
                            const char *lv);

bool
virStorageThinIsActivated(virStorageRevContext *ctx,
                          const char *lv);

int
virStorageThinLook(virStorageRevContext *ctx,
                   const char *lv,
                   const char *name,
                   virStorageThinSight *sight);
