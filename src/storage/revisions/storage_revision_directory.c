/*
 * storage_revision_directory.c: pools that are a directory of a mounted file system
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "storage_revision_directory.h"

#include "storage_util.h"
#include "virbuffer.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

#define MOUNT_LINE_MAX (16 * 1024)


/* Is @path, or what of it exists, on Btrfs? */
bool
virStorageRevDirectoryIsBtrfs(const char *path)
{
    g_autofree char *ancestor = g_strdup(path);
    struct statfs fs;

    while (statfs(ancestor, &fs) < 0) {
        char *slash = strrchr(ancestor, '/');

        if (errno != ENOENT || !slash || slash == ancestor)
            return false;
        *slash = '\0';
    }
    return fs.f_type == BTRFS_SUPER_MAGIC;
}


/* The directory is kept with all that is in it, as libvirt's own directory pools keep it: nothing is overwritten. They
 * turn copy-on-write off on Btrfs, though, which would make it impossible to clone what is there already. */
int
virStorageRevDirectoryBuild(virStoragePoolObj *obj,
                            unsigned int flags)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    virTristateBool cow = def->features.cow;
    int ret;

    virCheckFlags(VIR_STORAGE_POOL_BUILD_OVERWRITE |
                  VIR_STORAGE_POOL_BUILD_NO_OVERWRITE, -1);
    VIR_EXCLUSIVE_FLAGS_RET(VIR_STORAGE_POOL_BUILD_OVERWRITE,
                            VIR_STORAGE_POOL_BUILD_NO_OVERWRITE, -1);

    if (virStorageRevDirectoryIsBtrfs(def->target.path))
        def->features.cow = VIR_TRISTATE_BOOL_YES;
    ret = virStorageBackendBuildLocal(obj);
    def->features.cow = cow;
    return ret;
}


int
virStorageRevDirectoryUpdatePool(virStoragePoolObj *obj)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    struct statvfs vfs;

    if (statvfs(def->target.path, &vfs) < 0) {
        virReportSystemError(errno, _("cannot tell the size of the file system of '%1$s'"), def->target.path);
        return -1;
    }
    def->capacity = (unsigned long long) vfs.f_frsize * vfs.f_blocks;
    def->available = (unsigned long long) vfs.f_frsize * vfs.f_bavail;
    def->allocation = def->capacity - (unsigned long long) vfs.f_frsize * vfs.f_bfree;
    return 0;
}


int
virStorageRevDirectoryReadPerms(virStoragePoolDef *def)
{
    struct stat sb;

    if (stat(def->target.path, &sb) < 0) {
        virReportSystemError(errno, _("cannot read the attributes of '%1$s'"), def->target.path);
        return -1;
    }
    def->target.perms.mode = sb.st_mode & 0777;
    def->target.perms.uid = sb.st_uid;
    def->target.perms.gid = sb.st_gid;
    return 0;
}


/**
 * virStorageRevDirectoryFindSources:
 * @isSource: says whether a mounted file system is any good
 *
 * Returns a document of those that are, each as a directory below which a pool can be made, or NULL with an error
 */
char *
virStorageRevDirectoryFindSources(bool (*isSource)(const struct mntent *mount))
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    struct mntent mount;
    g_autofree char *line = g_new0(char, MOUNT_LINE_MAX);
    FILE *mounts;

    if (!(mounts = setmntent("/proc/self/mounts", "r"))) {
        virReportSystemError(errno, "%s", _("cannot read the list of mounted file systems"));
        return NULL;
    }

    virBufferAddLit(&buf, "<sources>\n");
    virBufferAdjustIndent(&buf, 2);
    while (getmntent_r(mounts, &mount, line, MOUNT_LINE_MAX)) {
        if (!isSource(&mount))
            continue;
        virBufferAddLit(&buf, "<source>\n");
        virBufferAdjustIndent(&buf, 2);
        virBufferEscapeString(&buf, "<dir path='%s'/>\n", mount.mnt_dir);
        virBufferEscapeString(&buf, "<format type='%s'/>\n", mount.mnt_type);
        virBufferAdjustIndent(&buf, -2);
        virBufferAddLit(&buf, "</source>\n");
    }
    virBufferAdjustIndent(&buf, -2);
    virBufferAddLit(&buf, "</sources>\n");
    endmntent(mounts);

    return virBufferContentAndReset(&buf);
}
