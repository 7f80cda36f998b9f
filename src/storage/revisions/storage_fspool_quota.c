/*
 * storage_fspool_quota.c: space and file limits of directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_fspool_quota.h"

#include "storage_fspool_project.h"
#include "storage_fspool_qgroup.h"
#include "storage_fspool_subvolume.h"
#include "viralloc.h"


void
virStorageFspoolQuotaClear(virStorageFspoolQuota *quota)
{
    g_free(quota->device);
    memset(quota, 0, sizeof(*quota));
}


GHashTable *
virStorageFspoolQuotaTableNew(void)
{
    return g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
}


/* Returns the row of @id, which is made when it is missing. */
virStorageFspoolQuotaEntry *
virStorageFspoolQuotaTableGet(GHashTable *table,
                              uint64_t id)
{
    virStorageFspoolQuotaEntry *entry = g_hash_table_lookup(table, &id);

    if (!entry) {
        entry = g_new0(virStorageFspoolQuotaEntry, 1);
        entry->id = id;
        g_hash_table_insert(table, &entry->id, entry);
    }
    return entry;
}


/**
 * virStorageFspoolQuotaLookup:
 * @table: from virStorageFspoolQuotaReadAll()
 * @id: of an item
 *
 * Returns its record, owned by the table; all zero when the kernel has none
 */
const virStorageFspoolQuotaRecord *
virStorageFspoolQuotaLookup(GHashTable *table,
                            uint64_t id)
{
    static const virStorageFspoolQuotaRecord none;
    const virStorageFspoolQuotaRecord *record = g_hash_table_lookup(table, &id);

    return record ? record : &none;
}


static bool
virStorageFspoolQuotaIsQgroup(const virStorageFspoolQuota *quota)
{
    return quota->kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL ||
        quota->kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE;
}


/**
 * virStorageFspoolQuotaDetect:
 * @quota: filled; to be cleared
 * @dirfd: directory of the pool
 *
 * Finds out what the file system enforces now; a remount or an administrator can change that.
 *
 * Returns 0, also when there are no quotas, or -1 with errno
 */
int
virStorageFspoolQuotaDetect(virStorageFspoolQuota *quota,
                            int dirfd)
{
    virStorageFspoolQuotaClear(quota);

    if (virStorageFspoolIsBtrfs(dirfd))
        return virStorageFspoolQgroupDetect(quota, dirfd);
    return virStorageFspoolProjectDetect(quota, dirfd);
}


/* Can the number of files be limited? */
bool
virStorageFspoolQuotaCountsFiles(const virStorageFspoolQuota *quota)
{
    return quota->kind == VIR_STORAGE_FSPOOL_QUOTA_PROJECT;
}


/**
 * virStorageFspoolQuotaIdOf:
 * @quota: of the file system
 * @itemfd: directory of an item
 * @id: set to its subvolume's or project's id; 0: it is not counted on its own
 *
 * Two items share an id, a record and a limit when somebody has moved a directory out of an item, or copied one with
 * its project.
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolQuotaIdOf(const virStorageFspoolQuota *quota,
                          int itemfd,
                          uint64_t *id)
{
    *id = 0;
    if (virStorageFspoolQuotaIsQgroup(quota))
        return virStorageFspoolQgroupIdOf(itemfd, id);
    if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_PROJECT)
        return virStorageFspoolProjectIdOf(itemfd, id);
    return 0;
}


/**
 * virStorageFspoolQuotaIsOurs:
 * @quota: of the file system
 * @id: of an item, by virStorageFspoolQuotaIdOf()
 *
 * A subvolume's id is its own. A project that somebody else gave a directory (/etc/projects, see xfs_quota(8)) may be
 * on others as well, anywhere on the file system: the item is shown with its limit, which is theirs to change.
 *
 * Returns whether the item's limit may be set; also true for 0, an item that has none
 */
bool
virStorageFspoolQuotaIsOurs(const virStorageFspoolQuota *quota,
                            uint64_t id)
{
    return id == 0 || quota->kind != VIR_STORAGE_FSPOOL_QUOTA_PROJECT || virStorageFspoolProjectIsOurs(id);
}


/**
 * virStorageFspoolQuotaReadAll:
 * @quota: of the file system
 * @dirfd: any directory of it
 *
 * Reads the kernel's tables once, whomever their records belong to. On Btrfs they are as of its last commit, up to 30
 * seconds ago: who has to know sooner calls syncfs(2) before.
 *
 * Returns a table of all records for virStorageFspoolQuotaLookup(), or NULL with errno
 */
GHashTable *
virStorageFspoolQuotaReadAll(const virStorageFspoolQuota *quota,
                             int dirfd)
{
    g_autoptr(GHashTable) table = virStorageFspoolQuotaTableNew();
    int rc = 0;

    if (virStorageFspoolQuotaIsQgroup(quota))
        rc = virStorageFspoolQgroupReadAll(quota, dirfd, table);
    else if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_PROJECT)
        rc = virStorageFspoolProjectReadAll(quota, dirfd, table);

    return rc < 0 ? NULL : g_steal_pointer(&table);
}


/**
 * virStorageFspoolQuotaRead:
 * @quota: of the file system
 * @itemfd: any directory of it
 * @id: of an item
 * @record: filled; all zero when the kernel has none, or @id is 0
 *
 * As virStorageFspoolQuotaReadAll(), for one item: two system calls at most, four on Btrfs with simple quotas.
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolQuotaRead(const virStorageFspoolQuota *quota,
                          int itemfd,
                          uint64_t id,
                          virStorageFspoolQuotaRecord *record)
{
    memset(record, 0, sizeof(*record));
    if (id == 0)
        return 0;

    if (virStorageFspoolQuotaIsQgroup(quota))
        return virStorageFspoolQgroupRead(quota, itemfd, id, record);
    if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_PROJECT)
        return virStorageFspoolProjectRead(quota, itemfd, id, record);
    return 0;
}


/**
 * virStorageFspoolQuotaClaim:
 * @quota: of the file system
 * @poolfd: directory of the pool
 * @itemfd: new directory: a Btrfs subvolume or snapshot, else an empty directory, since what lies in it already would
 *          not be counted
 * @id: set to its id; 0 where there are no quotas
 *
 * Makes the kernel count what will be in it, without a limit, whatever the directory or its id had before: a Btrfs
 * snapshot begins with the limit of its origin, and the id may be that of a subvolume that is gone.
 *
 * Returns 0, or -1 with errno: ENOTSUP for what can have no id (on Btrfs a directory that is no subvolume), EEXIST when
 * somebody else uses the quota group that it needs, EUSERS when no project id is left
 */
int
virStorageFspoolQuotaClaim(const virStorageFspoolQuota *quota,
                           int poolfd G_GNUC_UNUSED,
                           int itemfd,
                           uint64_t *id)
{
    *id = 0;
    if (virStorageFspoolQuotaIsQgroup(quota))
        return virStorageFspoolQgroupClaim(quota, itemfd, id);
    if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_PROJECT)
        return virStorageFspoolProjectClaim(quota, itemfd, id);
    return 0;
}


/**
 * virStorageFspoolQuotaSetLimits:
 * @quota: of the file system
 * @itemfd: any directory of it
 * @id: of the item
 * @spaceMax: bytes, 0: no limit; the kernel's unit is at most a block of the file system, and the limit is rounded up
 * @filesMax: inodes, 0: no limit
 *
 * A limit below what is used is set, and lets nothing be written. It is durable after syncfs(2). With simple quota
 * groups, a first limit also takes in the subvolumes that are in the item already.
 *
 * Returns 0, or -1 with errno: ENOTSUP for a limit that the file system cannot set, ERANGE for one over 2^63, EINVAL
 * for one of an item without an id, EEXIST when somebody else uses the quota group that it needs
 */
int
virStorageFspoolQuotaSetLimits(const virStorageFspoolQuota *quota,
                               int itemfd,
                               uint64_t id,
                               unsigned long long spaceMax,
                               unsigned long long filesMax)
{
    bool limited = spaceMax != 0 || filesMax != 0;

    if (spaceMax > INT64_MAX || filesMax > INT64_MAX) {
        errno = ERANGE;
        return -1;
    }
    if ((quota->kind == VIR_STORAGE_FSPOOL_QUOTA_NONE && limited) ||
        (filesMax != 0 && !virStorageFspoolQuotaCountsFiles(quota))) {
        errno = ENOTSUP;
        return -1;
    }
    if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_NONE || (id == 0 && !limited))
        return 0;
    if (id == 0) {
        errno = EINVAL;
        return -1;
    }

    if (virStorageFspoolQuotaIsQgroup(quota))
        return virStorageFspoolQgroupSetLimits(quota, itemfd, id, spaceMax);
    return virStorageFspoolProjectSetLimits(quota, itemfd, id, spaceMax, filesMax);
}


/**
 * virStorageFspoolQuotaRelease:
 * @quota: of the file system
 * @poolfd: any directory of it
 * @id: of an item that has been removed; 0 is success
 *
 * Removes what the kernel holds about it; that it holds nothing is success, and so is that it is not ours.
 *
 * Returns 0; 1 when the kernel needs some of it until it has freed the space, or files elsewhere have the project, so
 * that virStorageFspoolQuotaSweep() has to come later; or -1 with errno, EBUSY when the subvolume is still there
 */
int
virStorageFspoolQuotaRelease(const virStorageFspoolQuota *quota,
                             int poolfd,
                             uint64_t id)
{
    if (id == 0)
        return 0;

    if (virStorageFspoolQuotaIsQgroup(quota))
        return virStorageFspoolQgroupRelease(quota, poolfd, id);
    if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_PROJECT)
        return virStorageFspoolProjectRelease(quota, poolfd, id);
    return 0;
}


/**
 * virStorageFspoolQuotaSweep:
 * @quota: of the file system
 * @poolfd: any directory of it
 *
 * Does what virStorageFspoolQuotaRelease() could not do yet, or a crash kept it from: for every subvolume that is gone
 * and had been claimed or limited here, and every project of ours that no file has any more. What others made stays.
 *
 * Returns 0; 1 when some subvolumes have to wait again; or -1 with errno
 */
int
virStorageFspoolQuotaSweep(const virStorageFspoolQuota *quota,
                           int poolfd)
{
    if (virStorageFspoolQuotaIsQgroup(quota))
        return virStorageFspoolQgroupSweep(quota, poolfd);
    if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_PROJECT)
        return virStorageFspoolProjectSweep(quota, poolfd);
    return 0;
}


/**
 * virStorageFspoolQuotaEnable:
 * @mountfd: a directory of a Btrfs file system that was just made
 * @kind: full or simple quota groups; none is success
 *
 * Simple ones shut out kernels before 6.7 for ever, also after they were disabled.
 *
 * Returns 0, or -1 with errno: ENOTSUP when the kernel or the file system has no such, EEXIST when the other kind is
 * enabled
 */
int
virStorageFspoolQuotaEnable(int mountfd,
                            virStorageFspoolQuotaKind kind)
{
    if (kind == VIR_STORAGE_FSPOOL_QUOTA_NONE)
        return 0;
    if (kind == VIR_STORAGE_FSPOOL_QUOTA_PROJECT || !virStorageFspoolIsBtrfs(mountfd)) {
        errno = ENOTSUP;
        return -1;
    }
    return virStorageFspoolQgroupEnable(mountfd, kind);
}


/**
 * virStorageFspoolQuotaRescan:
 * @dirfd: directory of a file system whose quotas are inexact
 *
 * Begins to count anew, in the background: it reads all metadata of the file system, and meanwhile numbers are too low.
 *
 * Returns 0, also when that is going on already, or -1 with errno
 */
int
virStorageFspoolQuotaRescan(int dirfd)
{
    return virStorageFspoolQgroupRescan(dirfd);
}
