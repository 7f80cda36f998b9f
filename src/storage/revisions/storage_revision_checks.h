/*
 * storage_revision_checks.h: what has to hold before a volume is changed
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "datatypes.h"
#include "storage_revision_operation.h"

/* Each reports an error when it returns -1 or NULL. */

virStorageVolPtr
virStorageRevVolLookup(virConnectPtr conn,
                       virStoragePoolObj *obj,
                       const char *name);

int
virStorageRevCheckTargetName(virStoragePoolDef *pool,
                             const virStorageRevName *name);

int
virStorageRevCheckNew(virStorageRevOperation *op);

int
virStorageRevCheckClean(virStorageRevOperation *op);

int
virStorageRevCheckUnused(virStorageRevFamily *family,
                         const virStorageRevState *state);

virStorageRevState *
virStorageRevCheckSource(virStorageRevFamily *family,
                         const virStorageRevName *name);

int
virStorageRevCheckLifecycle(virStorageRevOperation *op,
                            const virStorageRevVol *vol);

int
virStorageRevCheckOptions(virStorageVolDef *def,
                          bool blank,
                          unsigned int flags);

int
virStorageRevCheckContent(virStorageVolDef *def,
                          virStoragePoolObj *obj,
                          const char *name,
                          int format);

int
virStorageRevCheckSupersede(virStorageRevOperation *op);

int
virStorageRevKeepOf(virStorageRevContext *ctx,
                    virStorageRevFamily *family);

size_t
virStorageRevPruneLeft(virStorageRevContext *ctx,
                       virStorageRevFamily *family);

void
virStorageRevOperationPrune(virStorageRevOperation *op);
