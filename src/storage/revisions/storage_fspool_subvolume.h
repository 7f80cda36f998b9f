/*
 * storage_fspool_subvolume.h: Btrfs subvolumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* These call the kernel, never a tool. What can fail returns -1 with errno, and reports nothing. Names are those of
 * entries of the directory that is given, never paths. */

bool
virStorageFspoolIsBtrfs(int fd);

bool
virStorageFspoolIsSubvolume(int fd);

int
virStorageFspoolSubvolumeCreate(int dirfd,
                                const char *name,
                                unsigned long long qgroup);

int
virStorageFspoolSubvolumeSnapshot(int dirfd,
                                  const char *name,
                                  int sourcefd,
                                  bool readonly);

int
virStorageFspoolSubvolumeSetReadonly(int fd,
                                     bool readonly);

bool
virStorageFspoolSubvolumeIsReadonly(int fd);

int
virStorageFspoolSubvolumeId(int fd,
                            uint64_t *id);

int
virStorageFspoolSubvolumeDestroy(int dirfd,
                                 const char *name);

int
virStorageFspoolSubvolumeHasNested(int fd,
                                   bool *nested);
