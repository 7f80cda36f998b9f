/*
 * storage_fspool_volume.h: operations on volumes that are directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_item.h"

/* The operations of virStorageRevOps, which documents them. */

int
virStorageFspoolCreate(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       virStorageVolDef *def,
                       unsigned int flags);

int
virStorageFspoolClone(virStorageRevContext *ctx,
                      virStorageRevFamily *family,
                      const virStorageRevSource *source,
                      virStorageVolDef *def);

int
virStorageFspoolRevert(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevState *revision);

int
virStorageFspoolPin(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    const char *word);

int
virStorageFspoolRedefine(virStorageRevContext *ctx,
                         virStorageRevFamily *family,
                         const virStorageRevMeta *facts);

int
virStorageFspoolResize(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       virStorageRevKind kind,
                       unsigned long long capacity,
                       unsigned int flags);

int
virStorageFspoolWipe(virStorageRevContext *ctx,
                     virStorageRevFamily *family);

int
virStorageFspoolDeleteVolume(virStorageRevContext *ctx,
                             virStorageRevFamily *family);

int
virStorageFspoolDeleteRevision(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               const virStorageRevState *revision);

int
virStorageFspoolPrune(virStorageRevContext *ctx,
                      virStorageRevFamily *family,
                      size_t count);

int
virStorageFspoolOpenForCopy(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            const virStorageRevState *state,
                            char **temporary);

void
virStorageFspoolTidy(virStorageRevContext *ctx,
                     const char *trashed);

void
virStorageFspoolSettle(virStorageRevContext *ctx);

/* Steps that the operations share. */

int
virStorageFspoolOpenState(virStorageFspoolPool *pool,
                          const virStorageRevState *state,
                          const char *name);

int
virStorageFspoolPublish(virStorageFspoolPool *pool,
                        virStorageRevFamily *family,
                        int fd,
                        virStorageRevState *state);

int
virStorageFspoolPublishHead(virStorageFspoolPool *pool,
                            virStorageRevFamily *family,
                            int fd,
                            const char *path);

int
virStorageFspoolLimitsOf(virStorageFspoolPool *pool,
                         const virStorageRevState *state,
                         const char *name,
                         virStorageFspoolLimits *limits);

int
virStorageFspoolReread(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       virStorageRevState *state);

int
virStorageFspoolRewriteMeta(virStorageFspoolPool *pool,
                            virStorageRevFamily *family,
                            const virStorageRevMeta *meta);

int
virStorageFspoolSettleHead(virStorageFspoolPool *pool,
                           virStorageRevFamily *family);

void
virStorageFspoolSwitchLater(const virStorageRevFamily *family);

int
virStorageFspoolUndoPending(virStorageFspoolPool *pool,
                            const virStorageFspoolPlace *place,
                            const char *name);

int
virStorageFspoolSwitch(virStorageFspoolPool *pool,
                       virStorageRevFamily *family,
                       virStorageFspoolStage *stage,
                       const virStorageRevMeta *content,
                       bool prunes);
