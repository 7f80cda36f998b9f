/*
 * storage_fspool_project.h: project quotas of XFS, ext4 and other file systems
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_quota.h"

/* Returns 1 when nothing uses a project id, 0 when something does, -1 with errno. */
typedef int (*virStorageFspoolProjectIsFree)(uint32_t id,
                                             void *opaque);

int
virStorageFspoolProjectChoose(uint32_t first,
                              uint32_t last,
                              virStorageFspoolProjectIsFree isFree,
                              void *opaque,
                              uint32_t *id);

int
virStorageFspoolProjectBlocks(unsigned long long bytes,
                              uint64_t *blocks);

int
virStorageFspoolProjectDetect(virStorageFspoolQuota *quota,
                              int dirfd);

bool
virStorageFspoolProjectIsOurs(uint64_t id);

int
virStorageFspoolProjectIdOf(int itemfd,
                            uint64_t *id);

int
virStorageFspoolProjectReadAll(const virStorageFspoolQuota *quota,
                               int dirfd,
                               GHashTable *table);

int
virStorageFspoolProjectRead(const virStorageFspoolQuota *quota,
                            int fd,
                            uint64_t id,
                            virStorageFspoolQuotaRecord *record);

int
virStorageFspoolProjectClaim(const virStorageFspoolQuota *quota,
                             int itemfd,
                             uint64_t *id);

int
virStorageFspoolProjectSetLimits(const virStorageFspoolQuota *quota,
                                 int fd,
                                 uint64_t id,
                                 unsigned long long spaceMax,
                                 unsigned long long filesMax);

int
virStorageFspoolProjectRelease(const virStorageFspoolQuota *quota,
                               int poolfd,
                               uint64_t id);

int
virStorageFspoolProjectSweep(const virStorageFspoolQuota *quota,
                             int poolfd);
