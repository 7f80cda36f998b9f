/*
 * storage_thin_lvm.h: running LVM's commands
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"
#include "storage_thin_report.h"
#include "vircommand.h"

virCommand *
virStorageThinCommand(const virStorageRevContext *ctx,
                      const char *subcommand);

virCommand *
virStorageThinReportCommand(const virStorageRevContext *ctx,
                            const char *subcommand);

int
virStorageThinAwaitOrphans(const virStorageRevContext *ctx);

void
virStorageThinCommandAddLV(virCommand *cmd,
                           const virStorageRevContext *ctx,
                           const char *lv);

int
virStorageThinCommandRun(virCommand *cmd,
                         const char *subject);

virStorageThinReport *
virStorageThinReportRead(virStorageRevContext *ctx);

int
virStorageThinCheckDisks(const virStorageRevContext *ctx,
                         const char *subject);

int
virStorageThinSnapshot(const virStorageRevContext *ctx,
                       const char *origin,
                       const char *lv,
                       const virStorageRevMeta *meta,
                       const virStorageRevMeta *next,
                       bool active);

int
virStorageThinBlank(const virStorageRevContext *ctx,
                    const char *lv,
                    unsigned long long size,
                    const virStorageRevMeta *meta,
                    bool active);

int
virStorageThinRename(const virStorageRevContext *ctx,
                     const char *from,
                     const char *to);

int
virStorageThinRemove(const virStorageRevContext *ctx,
                     const char * const *lvs,
                     const char *subject);

int
virStorageThinMerge(const virStorageRevContext *ctx,
                    const char *lv);

int
virStorageThinActivate(const virStorageRevContext *ctx,
                       const char * const *lvs,
                       bool active,
                       const char *subject);

int
virStorageThinResize(const virStorageRevContext *ctx,
                     const char *lv,
                     unsigned long long from,
                     unsigned long long to);

int
virStorageThinTag(const virStorageRevContext *ctx,
                  virStorageRevState *state,
                  const virStorageRevMeta * const *metas);
