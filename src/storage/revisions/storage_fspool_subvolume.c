/*
 * storage_fspool_subvolume.c: Btrfs subvolumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "storage_fspool_subvolume.h"

/* The arguments of these calls are pages: they lie on the heap. */


/**
 * virStorageFspoolIsBtrfs:
 * @fd: of anything, O_PATH is enough
 */
bool
virStorageFspoolIsBtrfs(int fd)
{
    struct statfs sfs;

    return fstatfs(fd, &sfs) == 0 && (uint32_t) sfs.f_type == BTRFS_SUPER_MAGIC;
}


/**
 * virStorageFspoolIsSubvolume:
 * @fd: directory, O_PATH is enough
 *
 * Returns whether it is the top of a subvolume. An empty directory that stands in a snapshot for a subvolume of what it
 * was taken from is none.
 */
bool
virStorageFspoolIsSubvolume(int fd)
{
    struct stat sb;

    return fstat(fd, &sb) == 0 &&
        S_ISDIR(sb.st_mode) &&
        sb.st_ino == BTRFS_FIRST_FREE_OBJECTID &&
        virStorageFspoolIsBtrfs(fd);
}


/* Copies an entry's name; the kernel refuses those with a slash, and would cut longer ones without a word. */
static int
virStorageFspoolSubvolumeName(char *to,
                              const char *name)
{
    if (strlen(name) > BTRFS_VOL_NAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(to, name, strlen(name) + 1);
    return 0;
}


/**
 * virStorageFspoolSubvolumeCreate:
 * @dirfd: directory on Btrfs
 * @name: of the new subvolume in it
 * @qgroup: quota group that counts it from its first byte on, 0: none
 *
 * What is made has the mode that the umask leaves: nobody else should be able to enter @dirfd.
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolSubvolumeCreate(int dirfd,
                                const char *name,
                                unsigned long long qgroup)
{
    g_autofree struct btrfs_ioctl_vol_args_v2 *args = g_new0(struct btrfs_ioctl_vol_args_v2, 1);
    size_t size = sizeof(struct btrfs_qgroup_inherit) + sizeof(__u64);
    g_autofree struct btrfs_qgroup_inherit *inherit = g_malloc0(size);

    if (virStorageFspoolSubvolumeName(args->name, name) < 0)
        return -1;

    if (qgroup) {
        inherit->num_qgroups = 1;
        inherit->qgroups[0] = qgroup;
        args->flags = BTRFS_SUBVOL_QGROUP_INHERIT;
        args->size = size;
        args->qgroup_inherit = inherit;
    }
    return ioctl(dirfd, BTRFS_IOC_SUBVOL_CREATE_V2, args);
}


/**
 * virStorageFspoolSubvolumeSnapshot:
 * @dirfd: directory on Btrfs
 * @name: of the new subvolume in it
 * @sourcefd: top of a subvolume of the same file system
 * @readonly: whether nothing can be changed in it from the first instant on; it cannot be moved then, either
 *
 * Subvolumes below the source are empty directories in the snapshot.
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolSubvolumeSnapshot(int dirfd,
                                  const char *name,
                                  int sourcefd,
                                  bool readonly)
{
    g_autofree struct btrfs_ioctl_vol_args_v2 *args = g_new0(struct btrfs_ioctl_vol_args_v2, 1);

    if (virStorageFspoolSubvolumeName(args->name, name) < 0)
        return -1;

    args->fd = sourcefd;
    args->flags = readonly ? BTRFS_SUBVOL_RDONLY : 0;
    return ioctl(dirfd, BTRFS_IOC_SNAP_CREATE_V2, args);
}


/**
 * virStorageFspoolSubvolumeSetReadonly:
 * @fd: top of a subvolume
 * @readonly: whether it shall be read-only
 *
 * Returns 0, also where it is so already, or -1 with errno
 */
int
virStorageFspoolSubvolumeSetReadonly(int fd,
                                     bool readonly)
{
    uint64_t had = 0;
    uint64_t flags;

    if (ioctl(fd, BTRFS_IOC_SUBVOL_GETFLAGS, &had) < 0)
        return -1;

    flags = readonly ? had | BTRFS_SUBVOL_RDONLY : had & ~BTRFS_SUBVOL_RDONLY;
    if (flags == had)
        return 0;
    return ioctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, &flags);
}


/* Whether the subvolume that @fd is the top of is read-only. */
bool
virStorageFspoolSubvolumeIsReadonly(int fd)
{
    uint64_t flags = 0;

    return ioctl(fd, BTRFS_IOC_SUBVOL_GETFLAGS, &flags) == 0 && (flags & BTRFS_SUBVOL_RDONLY);
}


/**
 * virStorageFspoolSubvolumeId:
 * @fd: anything open in the subvolume
 * @id: set to its id
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolSubvolumeId(int fd,
                            uint64_t *id)
{
    g_autofree struct btrfs_ioctl_ino_lookup_args *args = g_new0(struct btrfs_ioctl_ino_lookup_args, 1);

    args->objectid = BTRFS_FIRST_FREE_OBJECTID; /* asked for the top's path, it needs no privilege */
    if (ioctl(fd, BTRFS_IOC_INO_LOOKUP, args) < 0)
        return -1;

    *id = args->treeid;
    return 0;
}


/**
 * virStorageFspoolSubvolumeDestroy:
 * @dirfd: directory that holds it
 * @name: of the subvolume, which may be read-only
 *
 * The kernel silently detaches whatever is mounted on or in it, in all namespaces: look for that before.
 *
 * Returns 0, or -1 with errno; ENOTEMPTY when there are subvolumes in it
 */
int
virStorageFspoolSubvolumeDestroy(int dirfd,
                                 const char *name)
{
    g_autofree struct btrfs_ioctl_vol_args *args = g_new0(struct btrfs_ioctl_vol_args, 1);

    if (virStorageFspoolSubvolumeName(args->name, name) < 0)
        return -1;
    return ioctl(dirfd, BTRFS_IOC_SNAP_DESTROY, args);
}


/**
 * virStorageFspoolSubvolumeHasNested:
 * @fd: anything open in the subvolume
 * @nested: set to whether there are subvolumes in it, however deep
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolSubvolumeHasNested(int fd,
                                   bool *nested)
{
    g_autofree struct btrfs_ioctl_get_subvol_rootref_args *args = g_new0(struct btrfs_ioctl_get_subvol_rootref_args, 1);

    /* EOVERFLOW: there are more than it can tell of at once */
    if (ioctl(fd, BTRFS_IOC_GET_SUBVOL_ROOTREF, args) < 0 && errno != EOVERFLOW)
        return -1;

    *nested = args->num_items > 0;
    return 0;
}
