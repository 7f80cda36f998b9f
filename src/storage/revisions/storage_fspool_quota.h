/*
 * storage_fspool_quota.h: space and file limits of directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

/* The kernel's records are the only store of limits. These functions set errno and report no error: the caller knows
 * the item's name.
 *
 * What gets around a limit, and what does not, as seen on Linux 6.18 and 6.1. It takes a process that runs on this
 * kernel and may write to the tree, as those of containers.
 *
 * Btrfs: A full tree says EDQUOT. Hard links and renames of files and directories end at its border (EXDEV). A whole
 * subvolume can be moved across it, and is counted where it was made.
 * - Full groups count what the tree refers to, so that a clone takes what a copy would. Whoever may write can make
 *   subvolumes in it: they have no limit; a snapshot of the tree in itself has the same limit once more.
 * - Simple groups count what was written in the tree for as long as that exists anywhere, so that a clone takes
 *   nothing. Subvolumes and snapshots made in it are counted with it. But the ioctl that makes them has a list of
 *   groups, and if an empty one is passed, the new subvolume is not counted: that needs no privilege.
 * - With full groups, the removal of a large tree that shares blocks with a snapshot can make the kernel stop
 *   counting (see "qgroups/drop_subtree_threshold" in sysfs): they are inexact then, and no limit of the file system
 *   holds until a rescan.
 *
 * Projects: A full tree says ENOSPC on XFS, EDQUOT on ext4. A clone takes what a copy would. Hard links and renames
 * into the tree fail (EXDEV), also of other items; out of it, to a directory without a project, they work, and the
 * file stays counted by the tree. The owner of a file can give it another project, and so another limit or none; not
 * from within a user namespace (EINVAL). ext4, but not XFS, sets no limit to who has CAP_SYS_RESOURCE outside of all
 * user namespaces, as this daemon has. */

#include "internal.h"

typedef enum {
    VIR_STORAGE_FSPOOL_QUOTA_NONE,
    VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL,   /* Btrfs: what a tree refers to */
    VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE, /* Btrfs, Linux 6.7: what was written in a tree */
    VIR_STORAGE_FSPOOL_QUOTA_PROJECT,       /* XFS, ext4 and others: what lies in a tree */
} virStorageFspoolQuotaKind;

/* How a file system limits directory trees. Not changed by any function but Detect and Clear. */
typedef struct _virStorageFspoolQuota virStorageFspoolQuota;
struct _virStorageFspoolQuota {
    virStorageFspoolQuotaKind kind;
    bool inexact;       /* Btrfs: the numbers are wrong, and limits with them, until a rescan has ended */
    const char *reason; /* why there are none, or inexact ones: not translated yet; NULL: no need to say */
    char *device;       /* block device, where the kernel has no quotactl_fd(2); else NULL */
};

void
virStorageFspoolQuotaClear(virStorageFspoolQuota *quota);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolQuota, virStorageFspoolQuotaClear);

/* What the kernel holds about one tree. */
typedef struct _virStorageFspoolQuotaRecord virStorageFspoolQuotaRecord;
struct _virStorageFspoolQuotaRecord {
    unsigned long long spaceMax;  /* bytes; 0: no limit */
    unsigned long long spaceUsed; /* bytes */
    unsigned long long filesMax;  /* inodes; 0: no limit */
    unsigned long long filesUsed; /* inodes; 0 where they are not counted */
};

int
virStorageFspoolQuotaDetect(virStorageFspoolQuota *quota,
                            int dirfd);

bool
virStorageFspoolQuotaCountsFiles(const virStorageFspoolQuota *quota);

int
virStorageFspoolQuotaIdOf(const virStorageFspoolQuota *quota,
                          int itemfd,
                          uint64_t *id);

bool
virStorageFspoolQuotaIsOurs(const virStorageFspoolQuota *quota,
                            uint64_t id);

GHashTable *
virStorageFspoolQuotaReadAll(const virStorageFspoolQuota *quota,
                             int dirfd);

const virStorageFspoolQuotaRecord *
virStorageFspoolQuotaLookup(GHashTable *table,
                            uint64_t id);

int
virStorageFspoolQuotaRead(const virStorageFspoolQuota *quota,
                          int itemfd,
                          uint64_t id,
                          virStorageFspoolQuotaRecord *record);

int
virStorageFspoolQuotaClaim(const virStorageFspoolQuota *quota,
                           int poolfd,
                           int itemfd,
                           uint64_t *id);

int
virStorageFspoolQuotaSetLimits(const virStorageFspoolQuota *quota,
                               int itemfd,
                               uint64_t id,
                               unsigned long long spaceMax,
                               unsigned long long filesMax);

int
virStorageFspoolQuotaRelease(const virStorageFspoolQuota *quota,
                             int poolfd,
                             uint64_t id);

int
virStorageFspoolQuotaSweep(const virStorageFspoolQuota *quota,
                           int poolfd);

int
virStorageFspoolQuotaEnable(int mountfd,
                            virStorageFspoolQuotaKind kind);

int
virStorageFspoolQuotaRescan(int dirfd);

/* A row of the table that ReadAll makes. */
typedef struct _virStorageFspoolQuotaEntry virStorageFspoolQuotaEntry;
struct _virStorageFspoolQuotaEntry {
    virStorageFspoolQuotaRecord record; /* first: the table's values are records */
    uint64_t id;
    bool ours; /* Btrfs: the group carries our mark */
};

GHashTable *
virStorageFspoolQuotaTableNew(void);

virStorageFspoolQuotaEntry *
virStorageFspoolQuotaTableGet(GHashTable *table,
                              uint64_t id);
