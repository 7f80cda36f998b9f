/*
 * storage_fspool_qgroup.c: quota groups of Btrfs
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each subvolume ID is counted by a group 0/ID, which the kernel makes with it. A group of level 1 counts what its
 * members count. With full quota groups, the limit is that of 0/ID. With simple ones, it is that of a group 1/ID of
 * ours, whose first member is 0/ID: the kernel adds new subvolumes to the groups that the one around them is in.
 *
 * Groups of ours carry a mark, since whose a group is can be told by nothing else once its subvolume is gone. It is in
 * the one limit that the kernel keeps but does not look at.
 */

#include <config.h>

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "storage_fspool_qgroup.h"

#include "virfile.h"

/* Linux 6.7 (include/uapi/linux/btrfs.h) */
#define QUOTA_CTL_ENABLE_SIMPLE 4

/* What takes a limit away: the kernel's word for it. */
#define NO_LIMIT UINT64_MAX

/* How far above a full subvolume one is looked for that is not. */
#define CLIMB_MAX 64


/* Returns the directory above, if it is on the same mount, or -1. */
static int
virStorageFspoolQgroupOpenAbove(int fd)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_NO_XDEV,
    };

    return syscall(SYS_openat2, fd, "..", &how, sizeof(how));
}


/* What changes quota groups needs room for a block of metadata in the subvolume of the descriptor, even if it is to
 * give it room. So a full one is left. Returns 0, or -1 with errno. */
static int
virStorageFspoolQgroupChange(int fd,
                             unsigned long request,
                             void *args)
{
    VIR_AUTOCLOSE above = -1;
    size_t i;

    if (ioctl(fd, request, args) >= 0)
        return 0;

    for (i = 0; errno == EDQUOT && i < CLIMB_MAX; i++) {
        int next = virStorageFspoolQgroupOpenAbove(above < 0 ? fd : above);

        if (next < 0) {
            errno = EDQUOT;
            return -1;
        }
        VIR_FORCE_CLOSE(above);
        above = next;
        if (ioctl(above, request, args) >= 0)
            return 0;
    }
    return -1;
}


/* Sets the one limit of a group, or none, and our mark. */
static int
virStorageFspoolQgroupLimit(int fd,
                            uint64_t group,
                            unsigned long long spaceMax)
{
    struct btrfs_ioctl_qgroup_limit_args args = {
        .qgroupid = group,
        .lim = {
            .flags = BTRFS_QGROUP_LIMIT_MAX_RFER | BTRFS_QGROUP_LIMIT_MAX_EXCL | BTRFS_QGROUP_LIMIT_RSV_EXCL,
            .max_rfer = spaceMax > 0 ? spaceMax : NO_LIMIT,
            .max_excl = NO_LIMIT,
            .rsv_excl = VIR_STORAGE_FSPOOL_QGROUP_MARK,
        },
    };

    return virStorageFspoolQgroupChange(fd, BTRFS_IOC_QGROUP_LIMIT, &args);
}


/* Makes a group; that there is one is success. */
static int
virStorageFspoolQgroupCreate(int fd,
                             uint64_t group)
{
    struct btrfs_ioctl_qgroup_create_args args = { .create = 1, .qgroupid = group };

    if (virStorageFspoolQgroupChange(fd, BTRFS_IOC_QGROUP_CREATE, &args) < 0 && errno != EEXIST)
        return -1;
    return 0;
}


/* Returns 0 when the group is gone, 1 when the kernel needs it still, -1 with errno. */
static int
virStorageFspoolQgroupDestroy(int fd,
                              uint64_t group)
{
    struct btrfs_ioctl_qgroup_create_args args = { .create = 0, .qgroupid = group };

    if (virStorageFspoolQgroupChange(fd, BTRFS_IOC_QGROUP_CREATE, &args) == 0 ||
        errno == ENOENT || errno == ENOTCONN) /* ENOTCONN: quotas were disabled, and all groups with them */
        return 0;
    return errno == EBUSY ? 1 : -1;
}


/* Makes a group a member of another, or no member any more; that it is so already is success. */
static int
virStorageFspoolQgroupAssign(int fd,
                             uint64_t member,
                             uint64_t group,
                             bool assign)
{
    struct btrfs_ioctl_qgroup_assign_args args = { .assign = assign, .src = member, .dst = group };

    if (virStorageFspoolQgroupChange(fd, BTRFS_IOC_QGROUP_ASSIGN, &args) < 0 &&
        errno != (assign ? EEXIST : ENOENT))
        return -1;
    return 0;
}


/* Assigns all subvolumes inside @id to its group. New ones go there by themselves, as @id is a member already. */
static int
virStorageFspoolQgroupAssignNested(int fd,
                                   uint64_t id)
{
    g_autoptr(GArray) nested = g_array_new(false, false, sizeof(uint64_t));
    uint64_t group = VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(id);
    size_t i;

    if (virStorageFspoolQgroupList(fd, BTRFS_ROOT_TREE_OBJECTID, id, BTRFS_ROOT_REF_KEY,
                                   UINT64_MAX, nested) < 0)
        return -1;
    for (i = 0; i < nested->len; i++) {
        uint64_t inner = g_array_index(nested, uint64_t, i);

        if ((virStorageFspoolQgroupAssign(fd, inner, group, true) < 0 && errno != ENOENT) ||
            virStorageFspoolQgroupList(fd, BTRFS_ROOT_TREE_OBJECTID, inner, BTRFS_ROOT_REF_KEY,
                                       UINT64_MAX, nested) < 0)
            return -1;
    }
    return 0;
}


/* Sees to it that the group 1/ID exists, is ours, and has ID and what is in it as members. After a crash in between,
 * this goes on where it was. */
static int
virStorageFspoolQgroupGather(int fd,
                             uint64_t id)
{
    g_autoptr(GArray) members = g_array_new(false, false, sizeof(uint64_t));
    uint64_t group = VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(id);
    virStorageFspoolQuotaEntry entry = { 0 };

    if (virStorageFspoolQgroupLook(fd, group, &entry, members) < 0)
        return -1;
    if (!entry.ours && (entry.record.spaceMax > 0 || members->len > 0)) {
        errno = EEXIST;
        return -1;
    }

    if (!entry.ours &&
        (virStorageFspoolQgroupCreate(fd, group) < 0 || virStorageFspoolQgroupLimit(fd, group, 0) < 0))
        return -1;
    if (virStorageFspoolQgroupAssign(fd, id, group, true) < 0)
        return -1;
    return virStorageFspoolQgroupAssignNested(fd, id);
}


/* Removes the group 1/ID, if there is one of ours, and appends what were its members. Returns 0, or 1 for later, or -1
 * with errno. */
static int
virStorageFspoolQgroupScatter(int fd,
                              uint64_t id,
                              GArray *members)
{
    uint64_t group = VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(id);
    virStorageFspoolQuotaEntry entry = { 0 };
    size_t first = members->len;
    size_t i;

    if (virStorageFspoolQgroupLook(fd, group, &entry, members) < 0)
        return -1;
    if (!entry.ours) {
        g_array_set_size(members, first);
        return 0;
    }

    for (i = first; i < members->len; i++) {
        if (virStorageFspoolQgroupAssign(fd, g_array_index(members, uint64_t, i), group, false) < 0)
            return -1;
    }
    return virStorageFspoolQgroupDestroy(fd, group);
}


/* Sets the limit of 0/ID, which the kernel made with the subvolume. Old kernels let it be destroyed, and made again,
 * which newer ones refuse. */
static int
virStorageFspoolQgroupLimitSubvolume(const virStorageFspoolQuota *quota,
                                     int fd,
                                     uint64_t id,
                                     unsigned long long spaceMax)
{
    if (virStorageFspoolQgroupLimit(fd, id, spaceMax) == 0)
        return 0;
    if (errno != ENOENT)
        return -1;
    if (virStorageFspoolQgroupCreate(fd, id) < 0) {
        errno = ENOENT;
        return -1;
    }
    if (virStorageFspoolQgroupLimit(fd, id, spaceMax) < 0)
        return -1;
    if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL && spaceMax > 0)
        return virStorageFspoolQgroupRescan(fd);
    return 0;
}


/* The id may be that of a subvolume which is gone, and of which there are remains: after a mount, the kernel gives the
 * highest one again. A snapshot begins with the limits of its origin. */
int
virStorageFspoolQgroupClaim(const virStorageFspoolQuota *quota,
                            int itemfd,
                            uint64_t *id)
{
    g_autoptr(GArray) members = g_array_new(false, false, sizeof(uint64_t));

    if (virStorageFspoolQgroupIdOf(itemfd, id) < 0)
        return -1;
    if (*id < BTRFS_FIRST_FREE_OBJECTID) {
        errno = ENOTSUP;
        return -1;
    }

    if (virStorageFspoolQgroupLimitSubvolume(quota, itemfd, *id, 0) < 0)
        return -1;
    if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE &&
        (virStorageFspoolQgroupScatter(itemfd, *id, members) < 0 ||
         virStorageFspoolQgroupGather(itemfd, *id) < 0))
        return -1;
    return 0;
}


int
virStorageFspoolQgroupSetLimits(const virStorageFspoolQuota *quota,
                                int itemfd,
                                uint64_t id,
                                unsigned long long spaceMax)
{
    uint64_t group = VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(id);
    virStorageFspoolQuotaEntry entry = { 0 };

    if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL)
        return virStorageFspoolQgroupLimitSubvolume(quota, itemfd, id, spaceMax);

    /* what has no limit, as a revision, needs no group of ours */
    if (virStorageFspoolQgroupLimitSubvolume(quota, itemfd, id, 0) < 0 ||
        (spaceMax > 0 && virStorageFspoolQgroupGather(itemfd, id) < 0) ||
        virStorageFspoolQgroupLook(itemfd, group, &entry, NULL) < 0)
        return -1;
    return entry.ours ? virStorageFspoolQgroupLimit(itemfd, group, spaceMax) : 0;
}


/* Destroys the group of a subvolume that is gone. What has to wait is marked, so that it will be known. Returns 0, or 1
 * for later, or -1 with errno. */
static int
virStorageFspoolQgroupBury(int fd,
                           uint64_t id)
{
    virStorageFspoolQuotaEntry entry = { 0 };
    int rc = virStorageFspoolQgroupDestroy(fd, id);

    if (rc <= 0)
        return rc;
    if (virStorageFspoolQgroupLook(fd, id, &entry, NULL) < 0)
        return -1;
    if (entry.id == 0)
        return 0;
    if (!entry.ours && virStorageFspoolQgroupLimit(fd, id, 0) < 0)
        return errno == ENOENT ? 0 : -1;
    return 1;
}


int
virStorageFspoolQgroupRelease(const virStorageFspoolQuota *quota,
                              int poolfd,
                              uint64_t id)
{
    g_autoptr(GArray) members = g_array_new(false, false, sizeof(uint64_t));
    bool alive = false;
    int ret = 0;
    int rc;
    size_t i;

    if (virStorageFspoolQgroupIsAlive(poolfd, id, &alive) < 0)
        return -1;
    if (alive || id < BTRFS_FIRST_FREE_OBJECTID) {
        errno = EBUSY;
        return -1;
    }

    g_array_append_val(members, id);
    if (quota->kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE &&
        (ret = virStorageFspoolQgroupScatter(poolfd, id, members)) < 0)
        return -1;

    for (i = 0; i < members->len; i++) {
        uint64_t member = g_array_index(members, uint64_t, i);

        if (virStorageFspoolQgroupIsAlive(poolfd, member, &alive) < 0)
            return -1;
        if (alive) /* it was made in the item, and moved elsewhere */
            continue;
        if ((rc = virStorageFspoolQgroupBury(poolfd, member)) < 0)
            return -1;
        ret |= rc;
    }
    return ret;
}


int
virStorageFspoolQgroupSweep(const virStorageFspoolQuota *quota,
                            int poolfd)
{
    g_autoptr(GHashTable) table = virStorageFspoolQuotaTableNew();
    GHashTableIter iter;
    void *value;
    bool alive;
    int ret = 0;
    int rc;

    if (virStorageFspoolQgroupReadGroups(poolfd, table) < 0)
        return -1;

    g_hash_table_iter_init(&iter, table);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        virStorageFspoolQuotaEntry *entry = value;
        uint64_t id = VIR_STORAGE_FSPOOL_QGROUP_ID_OF(entry->id);

        if (!entry->ours)
            continue;
        if (virStorageFspoolQgroupIsAlive(poolfd, id, &alive) < 0)
            return -1;
        if (alive)
            continue;
        if ((rc = virStorageFspoolQgroupRelease(quota, poolfd, id)) < 0)
            return -1;
        ret |= rc;
    }
    return ret;
}


int
virStorageFspoolQgroupRescan(int dirfd)
{
    struct btrfs_ioctl_quota_rescan_args args = { 0 };

    if (ioctl(dirfd, BTRFS_IOC_QUOTA_RESCAN, &args) >= 0 || errno == EINPROGRESS)
        return 0;
    return -1;
}


int
virStorageFspoolQgroupEnable(int mountfd,
                             virStorageFspoolQuotaKind kind)
{
    bool simple = kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE;
    struct btrfs_ioctl_quota_ctl_args args = { .cmd = simple ? QUOTA_CTL_ENABLE_SIMPLE : BTRFS_QUOTA_CTL_ENABLE };
    g_auto(virStorageFspoolQuota) quota = { 0 };
    int rc;

    if (ioctl(mountfd, BTRFS_IOC_QUOTA_CTL, &args) < 0) {
        if (errno == EINVAL)
            errno = ENOTSUP;
        return -1;
    }
    if (!simple) { /* the kernel has begun to count by itself */
        while ((rc = ioctl(mountfd, BTRFS_IOC_QUOTA_RESCAN_WAIT)) < 0 && errno == EINTR)
            continue;
        if (rc < 0)
            return -1;
    }

    if (virStorageFspoolQgroupDetect(&quota, mountfd) < 0)
        return -1;
    if (quota.kind != kind) { /* that some are enabled already is no error for the kernel */
        errno = EEXIST;
        return -1;
    }
    return 0;
}
