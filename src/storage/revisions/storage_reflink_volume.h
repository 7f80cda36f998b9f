/*
 * storage_reflink_volume.h: operations on the image files of a volume
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_reflink_file.h"
#include "storage_reflink_name.h"
#include "storage_reflink_use.h"
#include "storage_revision_ops.h"

/* The operations of virStorageRevOps, which documents them. */

int
virStorageReflinkCreate(virStorageRevContext *ctx,
                        virStorageRevFamily *family,
                        virStorageVolDef *def,
                        unsigned int flags);

int
virStorageReflinkClone(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevSource *source,
                       virStorageVolDef *def);

int
virStorageReflinkStart(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevSource *source);

int
virStorageReflinkStage(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       const virStorageRevSource *source);

int
virStorageReflinkDiscard(virStorageRevContext *ctx,
                         virStorageRevFamily *family);

int
virStorageReflinkPin(virStorageRevContext *ctx,
                     virStorageRevFamily *family,
                     const char *word);

int
virStorageReflinkMark(virStorageRevContext *ctx,
                      virStorageRevFamily *family,
                      const virStorageRevMeta *meta);

int
virStorageReflinkRedefine(virStorageRevContext *ctx,
                          virStorageRevFamily *family,
                          const virStorageRevMeta *facts);

int
virStorageReflinkReread(virStorageRevContext *ctx,
                        virStorageRevFamily *family,
                        virStorageRevState *state);

int
virStorageReflinkResize(virStorageRevContext *ctx,
                        virStorageRevFamily *family,
                        virStorageRevKind kind,
                        unsigned long long capacity,
                        unsigned int flags);

int
virStorageReflinkDeleteVolume(virStorageRevContext *ctx,
                              virStorageRevFamily *family);

int
virStorageReflinkDeleteRevision(virStorageRevContext *ctx,
                                virStorageRevFamily *family,
                                const virStorageRevState *revision);

int
virStorageReflinkCommit(virStorageRevContext *ctx,
                        virStorageRevFamily *family);

int
virStorageReflinkRevert(virStorageRevContext *ctx,
                        virStorageRevFamily *family,
                        const virStorageRevState *revision);

int
virStorageReflinkWipe(virStorageRevContext *ctx,
                      virStorageRevFamily *family);

int
virStorageReflinkPrune(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       size_t count);

void
virStorageReflinkPrecache(virStorageRevContext *ctx,
                          virStorageRevFamily *family);

int
virStorageReflinkOpenForDownload(virStorageRevContext *ctx,
                                 virStorageRevFamily *family,
                                 const virStorageRevState *state,
                                 char **temporary);

int
virStorageReflinkOpenLive(virStorageRevContext *ctx,
                          virStorageRevFamily *family);

virStorageRevStaging *
virStorageReflinkStagingBegin(virStorageRevContext *ctx,
                              virStorageRevFamily *family);

int
virStorageReflinkStagingFd(virStorageRevStaging *staging);

int
virStorageReflinkStagingCommit(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               virStorageRevStaging *staging);

void
virStorageReflinkStagingEnd(virStorageRevStaging *staging);

/* Steps that the operations share. */

char *
virStorageReflinkFileOf(virStorageReflinkRole role,
                        const char *volume);

const char *
virStorageReflinkBaseOf(const virStorageRevState *state);

virStorageRevState *
virStorageReflinkStateOf(virStorageRevKind kind,
                         virStorageReflinkRole role,
                         const char *volume);

int
virStorageReflinkFinishNew(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           virStorageReflinkDir *dir,
                           virStorageReflinkImage *image,
                           virStorageRevState *state);

int
virStorageReflinkFillBlank(int fd,
                           virStorageVolDef *def,
                           unsigned int flags);

int
virStorageReflinkSourceFill(virStorageRevContext *ctx,
                            const virStorageRevSource *source,
                            const char *volume,
                            int fd);

int
virStorageReflinkRemoveLive(virStorageRevContext *ctx,
                            virStorageRevFamily *family,
                            virStorageReflinkDir *dir,
                            int *fd);

int
virStorageReflinkOpenState(virStorageReflinkDir *dir,
                           const virStorageRevState *state,
                           int oflags,
                           const char *volume);

int
virStorageReflinkOpenToRemove(virStorageReflinkDir *dir,
                              const virStorageRevState *state,
                              const char *name,
                              int *fd);

int
virStorageReflinkOpenExcluding(virStorageReflinkDir *dir,
                               const virStorageRevState *state,
                               virStorageReflinkExclude exclude,
                               const char *name);

int
virStorageReflinkReadState(virStorageRevContext *ctx,
                           virStorageRevState *state,
                           int fd,
                           const char *name);

int
virStorageReflinkPublish(virStorageRevContext *ctx,
                         virStorageRevFamily *family,
                         virStorageRevState *state,
                         int fd);

int
virStorageReflinkDropPrecache(virStorageReflinkDir *dir,
                              const char *volume);

void
virStorageReflinkLetGo(virStorageRevContext *ctx,
                       int *fd);

bool
virStorageReflinkPrecacheMatches(int head,
                                 const virStorageRevState *state,
                                 int precache,
                                 const char *volume);

int
virStorageReflinkLiveImage(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           int head,
                           int fd,
                           const char *stamp);

int
virStorageReflinkUnshareHead(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             virStorageReflinkDir *dir);
