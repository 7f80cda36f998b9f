/*
 * storage_fspool_tree_attr.c: owner, mode, times and extended attributes of what is in a tree
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "storage_fspool_tree_entry.h"

#include "viralloc.h"

/* A descriptor, and where that is one of O_PATH, which the calls for extended attributes do not take, a path to it. */
typedef struct _virStorageFspoolTreePlace virStorageFspoolTreePlace;
struct _virStorageFspoolTreePlace {
    int fd;
    char *path;
};


static ssize_t
virStorageFspoolTreeAttrList(const virStorageFspoolTreePlace *place,
                             char *names,
                             size_t size)
{
    return place->path ? listxattr(place->path, names, size) : flistxattr(place->fd, names, size);
}


static ssize_t
virStorageFspoolTreeAttrGet(const virStorageFspoolTreePlace *place,
                            const char *attr,
                            char *value,
                            size_t size)
{
    return place->path ? getxattr(place->path, attr, value, size) : fgetxattr(place->fd, attr, value, size);
}


static int
virStorageFspoolTreeAttrSet(const virStorageFspoolTreePlace *place,
                            const char *attr,
                            const char *value,
                            size_t size)
{
    return place->path ? setxattr(place->path, attr, value, size, 0) : fsetxattr(place->fd, attr, value, size, 0);
}


static bool
virStorageFspoolTreeIsPrivileged(void)
{
    return geteuid() == 0;
}


/* May a copy do without an attribute that cannot be set for reason @err? */
static bool
virStorageFspoolTreeAttrIsDispensable(const char *attr,
                                      int err)
{
    bool security = STRPREFIX(attr, "security.");

    /* such as "btrfs.compression", "system.nfs4_acl": they are of the file system, not of the file */
    if (!security &&
        !STRPREFIX(attr, "user.") &&
        !STRPREFIX(attr, "trusted.") &&
        !STRPREFIX(attr, "system.posix_acl_"))
        return true;

    if (STREQ(attr, "security.selinux") && err == EOPNOTSUPP) /* the mount has one label for all */
        return true;
    return err == EPERM && security && !virStorageFspoolTreeIsPrivileged();
}


/* What is left out: the signature that ties a file's attributes to its inode, and would be wrong for another. */
static bool
virStorageFspoolTreeAttrIsCopied(const char *attr,
                                 const char *except)
{
    return STRNEQ(attr, "security.evm") && STRNEQ_NULLABLE(attr, except);
}


static int
virStorageFspoolTreeCopyAttr(virStorageFspoolTreeAttrs *attrs,
                             const virStorageFspoolTreePlace *from,
                             const virStorageFspoolTreePlace *to,
                             const char *attr)
{
    ssize_t len;

    if (!attrs->value)
        attrs->value = g_new0(char, XATTR_SIZE_MAX);

    attrs->failed = attr;
    if ((len = virStorageFspoolTreeAttrGet(from, attr, attrs->value, XATTR_SIZE_MAX)) < 0) {
        if (errno != ENODATA) /* removed since it was listed */
            return -1;
    } else if (virStorageFspoolTreeAttrSet(to, attr, attrs->value, len) < 0 &&
               !virStorageFspoolTreeAttrIsDispensable(attr, errno)) {
        return -1;
    }
    attrs->failed = NULL;
    return 0;
}


static int
virStorageFspoolTreeCopyXattrs(virStorageFspoolTreeAttrs *attrs,
                               const virStorageFspoolTreePlace *from,
                               const virStorageFspoolTreePlace *to,
                               const char *except)
{
    const char *attr;
    ssize_t len;

    if (!attrs->names)
        attrs->names = g_new0(char, XATTR_LIST_MAX);

    len = virStorageFspoolTreeAttrList(from, attrs->names, XATTR_LIST_MAX);
    if (len < 0)
        return errno == EOPNOTSUPP ? 0 : -1;

    for (attr = attrs->names; attr < attrs->names + len; attr += strlen(attr) + 1) {
        if (virStorageFspoolTreeAttrIsCopied(attr, except) &&
            virStorageFspoolTreeCopyAttr(attrs, from, to, attr) < 0)
            return -1;
    }
    return 0;
}


/* Sets *@mode to what the copy may have: an unprivileged daemon owns all that it makes, and must not lend that power to
 * whoever runs a program that was another's. */
static int
virStorageFspoolTreeCopyOwner(int to,
                              const struct statx *sx,
                              mode_t *mode)
{
    *mode = sx->stx_mode & 07777;
    if (fchownat(to, "", sx->stx_uid, sx->stx_gid, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno != EPERM || virStorageFspoolTreeIsPrivileged())
        return -1;

    *mode &= ~(S_ISUID | S_ISGID);
    return 0;
}


static int
virStorageFspoolTreeCopyTimes(int to,
                              const struct statx *sx)
{
    struct timespec times[2] = {
        { .tv_sec = sx->stx_atime.tv_sec, .tv_nsec = sx->stx_atime.tv_nsec },
        { .tv_sec = sx->stx_mtime.tv_sec, .tv_nsec = sx->stx_mtime.tv_nsec },
    };

    return utimensat(to, "", times, AT_EMPTY_PATH);
}


/**
 * virStorageFspoolTreeCopyAttrs:
 * @attrs: zeroed; can be used for many, and is to be cleared
 * @from: regular file or directory, or anything else opened with O_PATH
 * @to: its copy, which is complete, and as yet has a mode that gives nothing to others; likewise
 * @sx: of @from, before it was read
 * @except: extended attribute that is left out, or NULL
 *
 * The order matters: a change of owner takes capabilities (an attribute) and set-user-id bits away, attributes are
 * allowed to the owner only as long as the mode is not final, an access list changes the mode, and all of it changes
 * times.
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolTreeCopyAttrs(virStorageFspoolTreeAttrs *attrs,
                              int from,
                              int to,
                              const struct statx *sx,
                              const char *except)
{
    bool opened = S_ISREG(sx->stx_mode) || S_ISDIR(sx->stx_mode);
    g_autofree char *fromPath = opened ? NULL : virStorageFspoolTreeProcPath(from);
    g_autofree char *toPath = opened ? NULL : virStorageFspoolTreeProcPath(to);
    virStorageFspoolTreePlace source = { .fd = from, .path = fromPath };
    virStorageFspoolTreePlace copy = { .fd = to, .path = toPath };
    mode_t mode;

    attrs->failed = NULL;
    if (virStorageFspoolTreeCopyOwner(to, sx, &mode) < 0 ||
        virStorageFspoolTreeCopyXattrs(attrs, &source, &copy, except) < 0)
        return -1;

    if (!S_ISLNK(sx->stx_mode) &&
        (toPath ? chmod(toPath, mode) : fchmod(to, mode)) < 0)
        return -1;

    return virStorageFspoolTreeCopyTimes(to, sx);
}


void
virStorageFspoolTreeAttrsClear(virStorageFspoolTreeAttrs *attrs)
{
    VIR_FREE(attrs->names);
    VIR_FREE(attrs->value);
    attrs->failed = NULL;
}
