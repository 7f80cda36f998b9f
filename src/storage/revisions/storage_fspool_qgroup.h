/*
 * storage_fspool_qgroup.h: quota groups of Btrfs
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_quota.h"

/* Subvolume ID is counted by the group 0/ID, whose number is ID, and can be counted by 1/ID, too. */
#define VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(id) ((1ULL << 48) | (id))
#define VIR_STORAGE_FSPOOL_QGROUP_ID_OF(group) ((group) & ((1ULL << 48) - 1))

/* What a group of ours has as its limit of the kind "reserved, exclusive": "fspool" and a version. */
#define VIR_STORAGE_FSPOOL_QGROUP_MARK 0x6673706f6f6c0001ULL

/* Where an item stands in a tree: trees are sorted by these, the first field first. */
typedef struct _virStorageFspoolQgroupKey virStorageFspoolQgroupKey;
struct _virStorageFspoolQgroupKey {
    uint64_t objectid;
    uint32_t type;
    uint64_t offset;
};

/* One item of a tree, as a search returns it. */
typedef struct _virStorageFspoolQgroupItem virStorageFspoolQgroupItem;
struct _virStorageFspoolQgroupItem {
    virStorageFspoolQgroupKey key;
    const uint8_t *data; /* little endian, and not aligned */
    size_t len;
};

bool
virStorageFspoolQgroupNext(const uint8_t *found,
                           size_t len,
                           size_t *pos,
                           virStorageFspoolQgroupItem *item);

bool
virStorageFspoolQgroupKeyAfter(virStorageFspoolQgroupKey *key);

void
virStorageFspoolQgroupStatus(const virStorageFspoolQgroupItem *item,
                             virStorageFspoolQuota *quota);

void
virStorageFspoolQgroupTake(const virStorageFspoolQgroupItem *item,
                           GHashTable *table);

void
virStorageFspoolQgroupFold(GHashTable *table,
                           bool simple);

int
virStorageFspoolQgroupDetect(virStorageFspoolQuota *quota,
                             int dirfd);

int
virStorageFspoolQgroupReadGroups(int fd,
                                 GHashTable *table);

int
virStorageFspoolQgroupList(int fd,
                           uint64_t tree,
                           uint64_t objectid,
                           uint32_t type,
                           uint64_t last,
                           GArray *found);

int
virStorageFspoolQgroupIsAlive(int fd,
                              uint64_t id,
                              bool *alive);

int
virStorageFspoolQgroupLook(int fd,
                           uint64_t group,
                           virStorageFspoolQuotaEntry *entry,
                           GArray *members);

int
virStorageFspoolQgroupIdOf(int itemfd,
                           uint64_t *id);

int
virStorageFspoolQgroupReadAll(const virStorageFspoolQuota *quota,
                              int dirfd,
                              GHashTable *table);

int
virStorageFspoolQgroupRead(const virStorageFspoolQuota *quota,
                           int itemfd,
                           uint64_t id,
                           virStorageFspoolQuotaRecord *record);

int
virStorageFspoolQgroupClaim(const virStorageFspoolQuota *quota,
                            int itemfd,
                            uint64_t *id);

int
virStorageFspoolQgroupSetLimits(const virStorageFspoolQuota *quota,
                                int itemfd,
                                uint64_t id,
                                unsigned long long spaceMax);

int
virStorageFspoolQgroupRelease(const virStorageFspoolQuota *quota,
                              int poolfd,
                              uint64_t id);

int
virStorageFspoolQgroupSweep(const virStorageFspoolQuota *quota,
                            int poolfd);

int
virStorageFspoolQgroupEnable(int mountfd,
                             virStorageFspoolQuotaKind kind);

int
virStorageFspoolQgroupRescan(int dirfd);
