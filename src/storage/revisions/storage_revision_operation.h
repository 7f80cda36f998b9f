/*
 * storage_revision_operation.h: the frame of an operation on a volume with revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_lock.h"
#include "storage_revision_ops.h"

/*
 * An operation goes through these steps:
 *
 *   Begin    the volume's locks are taken, and a private copy of its family is made     pool locked before and after
 *            … checks, which may read the pool …
 *   Unlock   the pool is unlocked                                                        pool unlocked from here
 *            … the backend changes storage and family …
 *   Lock     the pool is locked again
 *   End      the family is put into the pool, the pool's sizes are read anew, locks are released
 */
typedef struct _virStorageRevOperation virStorageRevOperation;
struct _virStorageRevOperation {
    virStoragePoolObj *obj;
    virStoragePoolObj *sourceObj;  /* another pool, or NULL */
    const virStorageRevOps *ops;
    virStorageRevContext *ctx;
    virStorageRevLocks *locks;

    virStorageRevFamily *family;   /* of the target; a private copy */
    virStorageRevFamily *source;   /* of the source in the same pool; not to be changed */
    bool slow;
    bool unlocked;
};

bool
virStorageRevPoolCopies(virStoragePoolObj *obj);

int
virStorageRevOperationBegin(virStorageRevOperation *op,
                            virStoragePoolObj *obj,
                            const char *volume,
                            const char *source,
                            bool slow);

int
virStorageRevOperationBeginFrom(virStorageRevOperation *op,
                                virStoragePoolObj *obj,
                                virStoragePoolObj *sourceObj,
                                const char *volume,
                                const char *source,
                                const char *kept,
                                bool slow);

void
virStorageRevOperationUnlock(virStorageRevOperation *op);

void
virStorageRevOperationLock(virStorageRevOperation *op,
                           int result);

void
virStorageRevOperationReread(virStorageRevOperation *op);

int
virStorageRevOperationEnd(virStorageRevOperation *op,
                          int result);

void
virStorageRevOperationClear(virStorageRevOperation *op);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageRevOperation, virStorageRevOperationClear);
