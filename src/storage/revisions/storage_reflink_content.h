/*
 * storage_reflink_content.h: what is in an image file, and what is known of it
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_file.h"
#include "storage_revision_ops.h"

int
virStorageReflinkFill(virStorageRevContext *ctx,
                      int from,
                      int to,
                      const char *name);

int
virStorageReflinkStateRead(const virStorageRevContext *ctx,
                           int fd,
                           virStorageRevState *state);

int
virStorageReflinkSetSize(int fd,
                         unsigned long long size,
                         const char *name);

int
virStorageReflinkAllocate(int fd,
                          unsigned long long bytes,
                          const char *name);

char *
virStorageReflinkStamp(const struct stat *sb,
                       unsigned long long generation);

int
virStorageReflinkMarkUnwritten(int fd,
                               const char *name);

bool
virStorageReflinkIsUnwritten(const virStorageRevState *state);
