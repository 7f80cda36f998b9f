/*
 * storage_fspool_project.c: project quotas of XFS, ext4 and other file systems
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A directory has a project id, which what is made in it inherits; the kernel counts by these ids. The generic commands
 * (Q_GETQUOTA and so on) serve all file systems, XFS among them.
 */

#include <config.h>

#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "storage_fspool_project.h"

#include "storage_fspool_mountinfo.h"
#include "viralloc.h"
#include "virfile.h"
#include "virthread.h"

/* Linux 5.14; the number is the same on all architectures that libvirt's users have (asm-generic/unistd.h). */
#ifndef SYS_quotactl_fd
# define SYS_quotactl_fd 443
#endif

/* "LV", far from what others use: from 1 on by hand, 10000 on by Incus, 2^20 on by Kubernetes, 2^31 on by systemd. */
#define ID_FIRST 0x4C560000U
#define ID_LAST 0x4CFFFFFFU

/* Within this daemon, what is read of an id still holds when it is claimed or given back. */
static virMutex claiming = VIR_MUTEX_INITIALIZER;

/* How often somebody else may have chosen the same id in the same moment. */
#define TRIES_MAX 16

#define MOUNTINFO "/proc/self/mountinfo"
#define MOUNTINFO_MAX (16 * 1024 * 1024)


/**
 * virStorageFspoolProjectChoose:
 * @first: of the ids
 * @last: of the ids
 * @isFree: asked about single ids
 * @opaque: for @isFree
 * @id: set to a free one
 *
 * Used ids are mostly a block that begins at @first: so @id follows a used one, and is found in as many steps as its
 * distance from @first has bits. Ids close together share blocks of the kernel's tables.
 *
 * Returns 0, or -1 with errno, EUSERS when there seem to be none left
 */
int
virStorageFspoolProjectChoose(uint32_t first,
                              uint32_t last,
                              virStorageFspoolProjectIsFree isFree,
                              void *opaque,
                              uint32_t *id)
{
    uint32_t used = first;
    uint32_t step = 1;
    uint32_t middle;
    int rc;

    *id = first;
    if ((rc = isFree(first, opaque)) != 0)
        return rc < 0 ? -1 : 0;

    while (rc == 0) {
        if (used == last) {
            errno = EUSERS;
            return -1;
        }
        *id = last - used > step ? used + step : last;
        if ((rc = isFree(*id, opaque)) < 0)
            return -1;
        if (rc == 0)
            used = *id;
        step *= 2;
    }

    while (*id - used > 1) {
        middle = used + (*id - used) / 2;
        if ((rc = isFree(middle, opaque)) < 0)
            return -1;
        if (rc == 0)
            used = middle;
        else
            *id = middle;
    }
    return 0;
}


/**
 * virStorageFspoolProjectBlocks:
 * @bytes: a limit
 * @blocks: set to it in the kernel's unit, rounded up
 *
 * Returns 0, or -1 with errno ERANGE: the kernel would lose its upper bits, and take the limit for none
 */
int
virStorageFspoolProjectBlocks(unsigned long long bytes,
                              uint64_t *blocks)
{
    if (bytes > INT64_MAX) {
        errno = ERANGE;
        return -1;
    }
    *blocks = VIR_DIV_UP(bytes, QIF_DQBLKSIZE);
    return 0;
}


static bool
virStorageFspoolProjectIsDevice(const char *path,
                                dev_t device)
{
    struct stat sb;

    return stat(path, &sb) == 0 && S_ISBLK(sb.st_mode) && sb.st_rdev == device;
}


/* Sets the device of a kernel that wants its name instead of a file descriptor, if there is one. Returns 0, or -1 with
 * errno. */
static int
virStorageFspoolProjectFindDevice(virStorageFspoolQuota *quota,
                                  int dirfd)
{
    g_autoptr(GPtrArray) mounts = NULL;
    g_autofree char *text = NULL;
    g_autofree char *path = NULL;
    struct stat sb;
    size_t i;
    int rc;

    if (syscall(SYS_quotactl_fd, -1, 0, 0, NULL) < 0 && errno != ENOSYS)
        return 0;

    if (fstat(dirfd, &sb) < 0)
        return -1;
    if ((rc = virFileReadAllQuiet(MOUNTINFO, MOUNTINFO_MAX, &text)) < 0) {
        errno = -rc;
        return -1;
    }

    mounts = virStorageFspoolMountsParse(text);
    for (i = 0; i < mounts->len; i++) {
        const virStorageFspoolMount *mount = g_ptr_array_index(mounts, i);

        if (mount->device == sb.st_dev && virStorageFspoolProjectIsDevice(mount->source, sb.st_dev)) {
            quota->device = g_strdup(mount->source);
            return 0;
        }
    }

    /* the kernel's root file system has "/dev/root" there; these names are udev's */
    path = g_strdup_printf("/dev/block/%u:%u", major(sb.st_dev), minor(sb.st_dev));
    if (virStorageFspoolProjectIsDevice(path, sb.st_dev))
        quota->device = g_steal_pointer(&path);
    return 0;
}


static int
virStorageFspoolProjectCall(const virStorageFspoolQuota *quota,
                            int fd,
                            unsigned int command,
                            uint32_t id,
                            void *data)
{
    unsigned int what = QCMD(command, PRJQUOTA);

    if (quota->device)
        return syscall(SYS_quotactl, what, quota->device, id, data);
    return syscall(SYS_quotactl_fd, fd, what, id, data);
}


/* Is that what a file system, or a kernel, without quotas says? */
static bool
virStorageFspoolProjectIsUnknown(int error)
{
    return error == ENOSYS || error == EOPNOTSUPP || error == EINVAL || error == ESRCH ||
        error == ENOTTY || error == ENODEV || error == ENOTBLK;
}


int
virStorageFspoolProjectDetect(virStorageFspoolQuota *quota,
                              int dirfd)
{
    struct fs_quota_statv state = { .qs_version = FS_QSTATV_VERSION1 };
    struct fsxattr attr = { 0 };
    struct if_dqblk record = { 0 };

    if (virStorageFspoolProjectFindDevice(quota, dirfd) < 0)
        return -1;

    if (virStorageFspoolProjectCall(quota, dirfd, Q_XGETQSTATV, 0, &state) < 0 ||
        ioctl(dirfd, FS_IOC_FSGETXATTR, &attr) < 0) {
        if (!virStorageFspoolProjectIsUnknown(errno))
            return -1;
        quota->reason = N_("the file system has no project quotas, or they are not switched on");
    } else if (!(state.qs_flags & FS_QUOTA_PDQ_ENFD)) {
        quota->reason = state.qs_flags & FS_QUOTA_PDQ_ACCT ?
            N_("the file system counts projects, but enforces no limits: it was not mounted with 'prjquota'") :
            N_("the file system was not mounted with 'prjquota'");
    } else if (attr.fsx_projid != 0 && attr.fsx_xflags & FS_XFLAG_PROJINHERIT) {
        /* Nothing of another project could be renamed into it. */
        quota->reason = N_("the pool's directory belongs to a project itself");
    } else if (virStorageFspoolProjectCall(quota, dirfd, Q_GETQUOTA, 0, &record) < 0 && errno != ENOENT) {
        if (errno != EPERM && errno != EROFS)
            return -1;
        quota->reason = errno == EROFS ? N_("the file system is read-only") : N_("only root may read and set limits");
    } else {
        quota->kind = VIR_STORAGE_FSPOOL_QUOTA_PROJECT;
    }
    return 0;
}


bool
virStorageFspoolProjectIsOurs(uint64_t id)
{
    return id >= ID_FIRST && id <= ID_LAST;
}


int
virStorageFspoolProjectIdOf(int itemfd,
                            uint64_t *id)
{
    struct fsxattr attr = { 0 };

    if (ioctl(itemfd, FS_IOC_FSGETXATTR, &attr) < 0)
        return -1;

    /* without the flag, the directory is counted, but not what will be in it */
    *id = attr.fsx_xflags & FS_XFLAG_PROJINHERIT ? attr.fsx_projid : 0;
    return 0;
}


/* Reads the first record from @id on. Returns 1, or 0 when there is none, or -1 with errno. */
static int
virStorageFspoolProjectNext(const virStorageFspoolQuota *quota,
                            int fd,
                            uint64_t id,
                            struct if_nextdqblk *next)
{
    if (id > UINT32_MAX)
        return 0;
    if (virStorageFspoolProjectCall(quota, fd, Q_GETNEXTQUOTA, id, next) < 0)
        return errno == ENOENT ? 0 : -1;
    return next->dqb_id >= id;
}


int
virStorageFspoolProjectReadAll(const virStorageFspoolQuota *quota,
                               int dirfd,
                               GHashTable *table)
{
    struct if_nextdqblk next = { 0 };
    uint64_t id = 1; /* 0 is everything without a project */
    int rc;

    while ((rc = virStorageFspoolProjectNext(quota, dirfd, id, &next)) > 0) {
        virStorageFspoolQuotaRecord *record = &virStorageFspoolQuotaTableGet(table, next.dqb_id)->record;

        record->spaceMax = next.dqb_bhardlimit * QIF_DQBLKSIZE;
        record->spaceUsed = next.dqb_curspace;
        record->filesMax = next.dqb_ihardlimit;
        record->filesUsed = next.dqb_curinodes;
        id = (uint64_t) next.dqb_id + 1;
    }
    return rc;
}


int
virStorageFspoolProjectRead(const virStorageFspoolQuota *quota,
                            int fd,
                            uint64_t id,
                            virStorageFspoolQuotaRecord *record)
{
    struct if_dqblk found = { 0 };

    if (virStorageFspoolProjectCall(quota, fd, Q_GETQUOTA, id, &found) < 0)
        return errno == ENOENT ? 0 : -1;

    record->spaceMax = found.dqb_bhardlimit * QIF_DQBLKSIZE;
    record->spaceUsed = found.dqb_curspace;
    record->filesMax = found.dqb_ihardlimit;
    record->filesUsed = found.dqb_curinodes;
    return 0;
}


typedef struct _virStorageFspoolProjectTable virStorageFspoolProjectTable;
struct _virStorageFspoolProjectTable {
    const virStorageFspoolQuota *quota;
    int fd;
};


/* Every inode counts: an id of which the kernel knows nothing is on no file, here or elsewhere. */
static int
virStorageFspoolProjectIsUnused(uint32_t id,
                                void *opaque)
{
    virStorageFspoolProjectTable *table = opaque;
    virStorageFspoolQuotaRecord record = { 0 };

    if (virStorageFspoolProjectRead(table->quota, table->fd, id, &record) < 0)
        return -1;
    return record.spaceMax == 0 && record.spaceUsed == 0 && record.filesMax == 0 && record.filesUsed == 0;
}


/* Gives a directory an id. Returns 1; 0 when somebody else did so with theirs in the same moment; -1 with errno. */
static int
virStorageFspoolProjectTry(const virStorageFspoolQuota *quota,
                           int itemfd,
                           uint32_t id)
{
    virStorageFspoolQuotaRecord record = { 0 };
    struct fsxattr attr = { 0 };

    if (ioctl(itemfd, FS_IOC_FSGETXATTR, &attr) < 0)
        return -1;
    attr.fsx_projid = id;
    attr.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    if (ioctl(itemfd, FS_IOC_FSSETXATTR, &attr) < 0 ||
        ioctl(itemfd, FS_IOC_FSGETXATTR, &attr) < 0 ||
        virStorageFspoolProjectRead(quota, itemfd, id, &record) < 0)
        return -1;

    if (attr.fsx_projid != id || !(attr.fsx_xflags & FS_XFLAG_PROJINHERIT)) {
        errno = ENOTSUP;
        return -1;
    }
    return record.filesUsed == 1;
}


/* Others that use the file system do not share our locks: so the kernel's count tells whether an id is ours alone. */
static int
virStorageFspoolProjectTake(const virStorageFspoolQuota *quota,
                            int itemfd,
                            uint64_t *id)
{
    virStorageFspoolProjectTable table = { .quota = quota, .fd = itemfd };
    uint32_t first = ID_FIRST;
    uint32_t choice;
    size_t i;
    int rc;

    for (i = 0; i < TRIES_MAX; i++) {
        if (virStorageFspoolProjectChoose(first, ID_LAST, virStorageFspoolProjectIsUnused, &table, &choice) < 0 ||
            (rc = virStorageFspoolProjectTry(quota, itemfd, choice)) < 0)
            return -1;
        if (rc > 0) {
            *id = choice;
            return 0;
        }
        first = ID_FIRST + g_random_int_range(0, 16 << i); /* not the one that the other will take now */
    }
    errno = EBUSY;
    return -1;
}


int
virStorageFspoolProjectClaim(const virStorageFspoolQuota *quota,
                             int itemfd,
                             uint64_t *id)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&claiming);
    struct fsxattr before = { 0 };
    int error;

    if (ioctl(itemfd, FS_IOC_FSGETXATTR, &before) < 0)
        return -1;

    if (virStorageFspoolProjectTake(quota, itemfd, id) < 0) {
        error = errno;
        ignore_value(ioctl(itemfd, FS_IOC_FSSETXATTR, &before)); /* the first error is the one to tell */
        errno = error;
        return -1;
    }
    return 0;
}


int
virStorageFspoolProjectSetLimits(const virStorageFspoolQuota *quota,
                                 int fd,
                                 uint64_t id,
                                 unsigned long long spaceMax,
                                 unsigned long long filesMax)
{
    struct if_dqblk limits = { .dqb_ihardlimit = filesMax, .dqb_valid = QIF_LIMITS };
    uint64_t blocks;

    if (virStorageFspoolProjectBlocks(spaceMax, &blocks) < 0)
        return -1;
    limits.dqb_bhardlimit = blocks;
    return virStorageFspoolProjectCall(quota, fd, Q_SETQUOTA, id, &limits);
}


/* Files that have the id may be on their way out, or have been moved out of the item: then it limits those. */
int
virStorageFspoolProjectRelease(const virStorageFspoolQuota *quota,
                               int poolfd,
                               uint64_t id)
{
    VIR_LOCK_GUARD lock = virLockGuardLock(&claiming);
    virStorageFspoolQuotaRecord record = { 0 };

    if (!virStorageFspoolProjectIsOurs(id))
        return 0; /* whose it is keeps its limit, also while it has no files */
    if (virStorageFspoolProjectRead(quota, poolfd, id, &record) < 0)
        return -1;
    if (record.spaceMax == 0 && record.filesMax == 0)
        return 0; /* to set none would make a record where there is none */
    if (record.filesUsed > 0)
        return 1;
    return virStorageFspoolProjectSetLimits(quota, poolfd, id, 0, 0);
}


/* Of our ids, one that is limited is an item's, whose own directory has it, or was one's. While files have it, it may be
 * either, so that nothing is known to wait: the next refresh has it looked at again. */
int
virStorageFspoolProjectSweep(const virStorageFspoolQuota *quota,
                             int poolfd)
{
    struct if_nextdqblk next = { 0 };
    uint64_t id = ID_FIRST;
    int rc;

    while ((rc = virStorageFspoolProjectNext(quota, poolfd, id, &next)) > 0 && next.dqb_id <= ID_LAST) {
        if (next.dqb_curinodes == 0 && virStorageFspoolProjectRelease(quota, poolfd, next.dqb_id) < 0)
            return -1;
        id = (uint64_t) next.dqb_id + 1;
    }
    return MIN(rc, 0);
}
