/*
 * storage_thin_volume.h: operations on the logical volumes of a volume
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"
#include "storage_thin_name.h"

/* The operations of virStorageRevOps, which documents them. */

int
virStorageThinCreate(virStorageRevContext *ctx,
                     virStorageRevFamily *family,
                     virStorageVolDef *def,
                     unsigned int flags);

int
virStorageThinClone(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    const virStorageRevSource *source,
                    virStorageVolDef *def);

int
virStorageThinStart(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    const virStorageRevSource *source);

int
virStorageThinStage(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    const virStorageRevSource *source);

int
virStorageThinDiscard(virStorageRevContext *ctx,
                      virStorageRevFamily *family);

int
virStorageThinPin(virStorageRevContext *ctx,
                  virStorageRevFamily *family,
                  const char *word);

int
virStorageThinMark(virStorageRevContext *ctx,
                   virStorageRevFamily *family,
                   const virStorageRevMeta *meta);

int
virStorageThinRedefine(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevMeta *facts);

int
virStorageThinResizeState(virStorageRevContext *ctx,
                          virStorageRevFamily *family,
                          virStorageRevKind kind,
                          unsigned long long capacity,
                          unsigned int flags);

int
virStorageThinDeleteVolume(virStorageRevContext *ctx,
                           virStorageRevFamily *family);

int
virStorageThinDeleteRevision(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             const virStorageRevState *revision);

int
virStorageThinCommit(virStorageRevContext *ctx,
                     virStorageRevFamily *family);

int
virStorageThinRevert(virStorageRevContext *ctx,
                     virStorageRevFamily *family,
                     const virStorageRevState *revision);

int
virStorageThinWipe(virStorageRevContext *ctx,
                   virStorageRevFamily *family);

int
virStorageThinPrune(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    size_t count);

int
virStorageThinOpenForDownload(virStorageRevContext *ctx,
                              virStorageRevFamily *family,
                              const virStorageRevState *state,
                              char **temporary);

void
virStorageThinTidy(virStorageRevContext *ctx,
                   const char *temporary);

int
virStorageThinOpenLive(virStorageRevContext *ctx,
                       virStorageRevFamily *family);

virStorageRevStaging *
virStorageThinStagingBegin(virStorageRevContext *ctx,
                           virStorageRevFamily *family);

int
virStorageThinStagingFd(virStorageRevStaging *staging);

int
virStorageThinStagingCommit(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            virStorageRevStaging *staging);

void
virStorageThinStagingEnd(virStorageRevStaging *staging);

bool
virStorageThinStagingIsHeld(const virStorageRevContext *ctx,
                            const char *lv);

bool
virStorageThinIsUploadedTo(const virStorageRevContext *ctx,
                           const char *volume);

int
virStorageThinCheckNoUpload(const virStorageRevContext *ctx,
                            const char *volume);

/* Steps that the operations share. */

virStorageRevState *
virStorageThinStateNew(virStorageRevKind kind,
                       char *lv,
                       unsigned long long capacity,
                       const virStorageRevMeta *meta);

void
virStorageThinPublish(virStorageRevContext *ctx,
                      virStorageRevFamily *family,
                      virStorageRevState *state);

int
virStorageThinRoundUp(const virStorageRevContext *ctx,
                      const char *name,
                      unsigned long long size,
                      unsigned long long *capacity);

int
virStorageThinRemoveLV(virStorageRevContext *ctx,
                       const char *lv,
                       const char *name);

bool
virStorageThinHasMetaAs(const virStorageRevState *head,
                        unsigned int thinId);

int
virStorageThinRewriteHeadMeta(virStorageRevContext *ctx,
                              virStorageRevState *head,
                              virStorageRevMeta *meta);

int
virStorageThinKeepHeadMeta(virStorageRevContext *ctx,
                           virStorageRevState *head,
                           const virStorageRevState *revision);

int
virStorageThinRemoveRevisions(virStorageRevContext *ctx,
                              virStorageRevFamily *family,
                              GPtrArray *revisions);

void
virStorageThinUndo(virStorageRevContext *ctx,
                   const char *lv);

int
virStorageThinOpen(virStorageRevContext *ctx,
                   const char *lv,
                   int oflags,
                   const char *name);

int
virStorageThinImport(virStorageRevContext *ctx,
                     const virStorageRevSource *source,
                     const char *volume,
                     const char *lv,
                     unsigned long long capacity,
                     const virStorageRevMeta *meta);

int
virStorageThinSwitchHead(virStorageRevContext *ctx,
                         virStorageRevFamily *family,
                         virStorageRevState *next,
                         const virStorageRevMeta *content);

unsigned long long
virStorageThinNextId(virStorageRevFamily *family);
