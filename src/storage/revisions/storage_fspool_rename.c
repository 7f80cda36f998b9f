/*
 * storage_fspool_rename.c: moving directories, where nothing is and for one another
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "storage_fspool_rename.h"


/**
 * virStorageFspoolRenameNew:
 * @fromdir: directory
 * @from: what moves
 * @todir: directory
 * @to: where it moves to, and nothing is
 *
 * NFS has no such call (RFC 8881, section 18.26). There the names are looked at before: what comes in between is not
 * replaced either, but for a directory that is empty.
 *
 * Returns 0, or -1 with errno; EEXIST: something is there
 */
int
virStorageFspoolRenameNew(int fromdir,
                          const char *from,
                          int todir,
                          const char *to)
{
    struct stat sb;

    if (renameat2(fromdir, from, todir, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL)
        return -1;

    if (fstatat(todir, to, &sb, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    if (errno != ENOENT)
        return -1;
    return renameat(fromdir, from, todir, to);
}


/**
 * virStorageFspoolCanExchange:
 * @dirfd: directory
 *
 * Can two directories in its file system change places? Those of other machines, and of user space, cannot, or not all
 * of them; the only way to ask one would be to do it.
 */
bool
virStorageFspoolCanExchange(int dirfd)
{
    struct statfs sb;

    if (fstatfs(dirfd, &sb) < 0)
        return false;

    switch ((uint32_t) sb.f_type) {
    case NFS_SUPER_MAGIC:
    case CIFS_SUPER_MAGIC:
    case SMB2_SUPER_MAGIC:
    case CEPH_SUPER_MAGIC:
    case V9FS_MAGIC:
    case FUSE_SUPER_MAGIC:
        return false;
    default:
        return true;
    }
}
