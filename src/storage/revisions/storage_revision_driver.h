/*
 * storage_revision_driver.h: the storage driver's calls on volumes with revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "datatypes.h"
#include "object_event.h"
#include "storage_backend.h"
#include "storage_revision_conf.h"
#include "virstorageobj.h"

/*
 * Each function is called by its namesake in storage_driver.c, after the permission check, with the pools locked, and
 * returns false when the pool is of another type: the driver goes on as ever then. Otherwise the call is done, and its
 * result is in the last argument; the pools are locked again, but were not meanwhile, and no definition that the caller
 * had looked up may be used any more.
 */

int
virStorageRevBackendsRegister(void);

unsigned int
virStorageRevVolParseFlags(virStoragePoolDef *pool);

bool
virStorageRevPoolIsOnVolume(virStoragePoolDef *pool);

void
virStorageRevPoolLockToo(virStoragePoolObj *locked,
                         virStoragePoolObj *other);

bool
virStorageRevVolCreateXML(virConnectPtr conn,
                          virStoragePoolObj *obj,
                          virStorageVolDef *def,
                          unsigned int flags,
                          virStorageVolPtr *vol);

bool
virStorageRevVolCreateXMLFrom(virStorageVolPtr source,
                              virStoragePoolObj *obj,
                              virStoragePoolObj *sourceObj,
                              virStorageVolDef *def,
                              unsigned int flags,
                              virStorageVolPtr *vol);

int
virStorageRevVolBuildFrom(virStorageBackend *backend,
                          virStoragePoolObj *obj,
                          virStoragePoolObj *sourceObj,
                          virStorageVolDef *def,
                          virStorageVolDef *source,
                          unsigned int flags);

bool
virStorageRevVolDelete(virStorageVolPtr vol,
                       virStoragePoolObj *obj,
                       unsigned int flags,
                       int *ret);

bool
virStorageRevVolResize(virStorageVolPtr vol,
                       virStoragePoolObj *obj,
                       unsigned long long capacity,
                       unsigned int flags,
                       int *ret);

bool
virStorageRevVolWipe(virStorageVolPtr vol,
                     virStoragePoolObj *obj,
                     unsigned int algorithm,
                     unsigned int flags,
                     int *ret);

bool
virStorageRevVolUpload(virStorageVolPtr vol,
                       virStoragePoolObj *obj,
                       virStreamPtr stream,
                       unsigned long long offset,
                       unsigned long long length,
                       unsigned int flags,
                       virObjectEventState *events,
                       int *ret);

bool
virStorageRevVolDownload(virStorageVolPtr vol,
                         virStoragePoolObj *obj,
                         virStreamPtr stream,
                         unsigned long long offset,
                         unsigned long long length,
                         unsigned int flags,
                         int *ret);

virStorageVolDef *
virStorageRevVolLinkChain(virStorageVolPtr vol,
                          virStoragePoolObj *obj,
                          virStorageVolDef *def);
