/*
 * storage_reflink_use.c: who uses an image
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "storage_reflink_use.h"

#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_reflink_use");

/*
 * QEMU's image locks (block/file-posix.c of QEMU 2.10 and later): whoever has an image open holds a shared lock on one
 * byte for each permission that it uses, from byte 100 on, and on one for each that it grants to nobody else, from byte
 * 200 on. The permission to write is number 1, that to resize number 3.
 */
#define QEMU_PERM_BASE 100
#define QEMU_SHARED_BASE 200
#define QEMU_PERM_WRITE 1
#define QEMU_PERM_RESIZE 3
#define QEMU_PERM_COUNT 8

/* A file in sysfs is one page. */
#define SYSFS_FILE_MAX 4096


/* Takes an exclusive lock, for as long as @fd is open; it belongs to the open file, not to the process. */
static int
virStorageReflinkLockBytes(int fd,
                           off_t start,
                           off_t len,
                           bool *used)
{
    struct flock lock = {
        .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = start,
        .l_len = len,
    };

    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    if (errno != EAGAIN && errno != EACCES) {
        virReportSystemError(errno, "%s", _("cannot lock an image"));
        return -1;
    }
    *used = true;
    return 0;
}


static int
virStorageReflinkLockImage(int fd,
                           virStorageReflinkExclude exclude,
                           bool *used)
{
    if (exclude == VIR_STORAGE_REFLINK_EXCLUDE_USERS) {
        if (virStorageReflinkLockBytes(fd, QEMU_PERM_BASE, QEMU_PERM_COUNT, used) < 0)
            return -1;
        return virStorageReflinkLockBytes(fd, QEMU_SHARED_BASE, QEMU_PERM_COUNT, used);
    }

    if (virStorageReflinkLockBytes(fd, QEMU_PERM_BASE + QEMU_PERM_WRITE, 1, used) < 0)
        return -1;
    return virStorageReflinkLockBytes(fd, QEMU_PERM_BASE + QEMU_PERM_RESIZE, 1, used);
}


typedef int (*virStorageReflinkLoopFunc)(int loop,
                                         const struct loop_info64 *info,
                                         void *opaque);

/* Could the loop device have @file open? Its path tells, without opening the device, which can take milliseconds; where
 * there is nothing at that path, since the file was removed or is seen by another namespace, the device has to tell. */
static bool
virStorageReflinkLoopMayBe(const char *device,
                           const struct stat *file)
{
    g_autofree char *backing = g_strdup_printf("/sys/block/%s/loop/backing_file", device);
    g_autofree char *path = NULL;
    struct stat sb;

    if (virFileReadAllQuiet(backing, SYSFS_FILE_MAX, &path) < 0)
        return false;
    g_strchomp(path);
    return stat(path, &sb) < 0 || (sb.st_dev == file->st_dev && sb.st_ino == file->st_ino);
}


/* Calls @func for each loop device on the file of @fd, until it returns non-zero. Only root can open the devices, and
 * without that nothing is known of them. */
static int
virStorageReflinkForEachLoop(int fd,
                             virStorageReflinkLoopFunc func,
                             void *opaque)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;
    struct stat file;
    int ret = 0;

    if (fstat(fd, &file) < 0 || virDirOpenQuiet(&dir, "/sys/block") < 0)
        return 0;

    while (ret == 0 && virDirRead(dir, &entry, NULL) > 0) {
        g_autofree char *device = g_strdup_printf("/dev/%s", entry->d_name);
        struct loop_info64 info = { 0 };
        VIR_AUTOCLOSE loop = -1;

        if (!STRPREFIX(entry->d_name, "loop") || !virStorageReflinkLoopMayBe(entry->d_name, &file))
            continue;

        if ((loop = open(device, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0 ||
            ioctl(loop, LOOP_GET_STATUS64, &info) < 0 ||
            info.lo_device != file.st_dev || info.lo_inode != file.st_ino)
            continue;

        ret = func(loop, &info, opaque);
    }
    return ret;
}


static int
virStorageReflinkLoopIsUse(int loop G_GNUC_UNUSED,
                           const struct loop_info64 *info,
                           void *opaque)
{
    const virStorageReflinkExclude *exclude = opaque;

    return *exclude == VIR_STORAGE_REFLINK_EXCLUDE_USERS || !(info->lo_flags & LO_FLAGS_READ_ONLY);
}


/**
 * virStorageReflinkExcludeTry:
 * @fd: image, open for reading and writing
 * @exclude: whom to keep out
 * @used: set when somebody is in already
 *
 * Keeps a QEMU that would use the image out until @fd is closed, so that nothing changes between the test and what it
 * is made for. Loop devices can only be looked for. A QEMU with locking=off, and vhost-user back ends, are not seen.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageReflinkExcludeTry(int fd,
                            virStorageReflinkExclude exclude,
                            bool *used)
{
    *used = false;
    if (virStorageReflinkLockImage(fd, exclude, used) < 0)
        return -1;
    if (!*used)
        *used = virStorageReflinkForEachLoop(fd, virStorageReflinkLoopIsUse, &exclude) > 0;
    return 0;
}


/* As virStorageReflinkExcludeTry; an image in use is an error, which names @name. */
int
virStorageReflinkExcludeUse(int fd,
                            virStorageReflinkExclude exclude,
                            const char *name)
{
    bool used;

    if (virStorageReflinkExcludeTry(fd, exclude, &used) < 0)
        return -1;
    if (!used)
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("volume '%1$s' is in use by a virtual machine or a loop device: stop or detach that first"), name);
    return -1;
}


static int
virStorageReflinkLoopResize(int loop,
                            const struct loop_info64 *info,
                            void *opaque G_GNUC_UNUSED)
{
    if (ioctl(loop, LOOP_SET_CAPACITY, 0) < 0)
        VIR_WARN("cannot tell /dev/loop%u its new size: %s", info->lo_number, g_strerror(errno));
    return 0;
}


/* Tells the loop devices on an image that its size has changed. */
void
virStorageReflinkLoopsResize(int fd)
{
    virStorageReflinkForEachLoop(fd, virStorageReflinkLoopResize, NULL);
}
