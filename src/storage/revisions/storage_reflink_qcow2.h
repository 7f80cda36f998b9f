/*
 * storage_reflink_qcow2.h: images with a header of their own
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_file.h"
#include "storage_revision_ops.h"

int
virStorageReflinkQcow2Read(int fd,
                           virStorageRevState *state);

int
virStorageReflinkQcow2Check(int fd,
                            const char *name);

int
virStorageReflinkQcow2Create(int fd,
                             virStorageVolDef *def,
                             unsigned int flags);

int
virStorageReflinkQcow2Resize(int fd,
                             const virStorageRevState *state,
                             const char *path,
                             unsigned long long capacity,
                             const char *name);

int
virStorageReflinkQcow2KeepBacking(int fd,
                                  const char *from,
                                  const char *to,
                                  const char *name);
