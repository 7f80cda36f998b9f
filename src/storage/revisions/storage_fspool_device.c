/*
 * storage_fspool_device.c: volumes of other pools that hold file systems of directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "storage_fspool_device.h"

#include "datatypes.h"
#include "driver.h"
#include "storage_reflink_use.h"
#include "storage_revision_conf.h"
#include "storage_revision_name.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virstring.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

#define DETACH_SECONDS 5
#define DETACH_POLL_USEC (10 * 1000)

/* So often somebody else may be faster in taking a loop device that was free. */
#define LOOP_TRIES 64

#define UEVENT_MAX 4096

/* A block of all disks there are. */
#define DIRECT_SIZE 4096

/* The kernel counts sizes of block devices in these, whatever the device's own are. */
#define SECTOR 512


void
virStorageFspoolVolumeClear(virStorageFspoolVolume *volume)
{
    VIR_FREE(volume->name);
    VIR_FREE(volume->path);
    VIR_FREE(volume->format);
}


/* What only the XML tells. */
static int
virStorageFspoolVolumeReadXML(virStorageFspoolVolume *volume,
                              virStoragePoolPtr pool,
                              virStorageVolPtr vol)
{
    g_autofree char *poolXML = virStoragePoolGetXMLDesc(pool, 0);
    g_autofree char *volXML = virStorageVolGetXMLDesc(vol, 0);
    g_autoptr(xmlDoc) poolDoc = NULL;
    g_autoptr(xmlDoc) volDoc = NULL;
    g_autoptr(xmlXPathContext) poolCtxt = NULL;
    g_autoptr(xmlXPathContext) volCtxt = NULL;
    g_autofree char *type = NULL;
    g_autofree char *dirty = NULL;

    if (!poolXML || !volXML ||
        !(poolDoc = virXMLParseStringCtxt(poolXML, "pool.xml", &poolCtxt)) ||
        !(volDoc = virXMLParseStringCtxt(volXML, "volume.xml", &volCtxt)))
        return -1;

    type = virXPathString("string(/pool/@type)", poolCtxt);
    volume->poolType = type ? virStoragePoolTypeFromString(type) : -1;
    volume->format = virXPathString("string(/volume/target/format/@type)", volCtxt);
    dirty = virXPathString("string(/volume/state/@dirty)", volCtxt);
    volume->dirty = STREQ_NULLABLE(dirty, "yes");
    return 0;
}


/**
 * virStorageFspoolVolumeFind:
 * @volume: filled; to be cleared
 * @pool: name of the pool that lies on the volume, for errors
 * @sourcePool: name of the pool that the volume is in
 * @sourceVolume: name of the volume
 *
 * Asks the storage driver for it as any client of libvirt would, with the rights of who has called. So it must not be
 * called with a pool locked.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolVolumeFind(virStorageFspoolVolume *volume,
                           const char *pool,
                           const char *sourcePool,
                           const char *sourceVolume)
{
    g_autoptr(virConnect) conn = virGetConnectStorage();
    g_autoptr(virStoragePool) from = NULL;
    g_autoptr(virStorageVol) vol = NULL;
    virStorageVolInfo info;
    int active;

    if (!conn)
        return -1;

    if (!(from = virStoragePoolLookupByName(conn, sourcePool))) {
        if (virGetLastErrorCode() == VIR_ERR_NO_STORAGE_POOL)
            virReportError(VIR_ERR_NO_STORAGE_POOL,
                           _("pool '%1$s' lies on volume '%2$s' of pool '%3$s', and there is no pool of that name"),
                           pool, sourceVolume, sourcePool);
        return -1;
    }
    if ((active = virStoragePoolIsActive(from)) < 0)
        return -1;
    if (!active) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("pool '%1$s' lies on volume '%2$s' of pool '%3$s', which is not active: start pool '%3$s' first"),
                       pool, sourceVolume, sourcePool);
        return -1;
    }

    if (!(vol = virStorageVolLookupByName(from, sourceVolume))) {
        if (virGetLastErrorCode() == VIR_ERR_NO_STORAGE_VOL)
            virReportError(VIR_ERR_NO_STORAGE_VOL,
                           _("pool '%1$s' lies on volume '%2$s' of pool '%3$s', which has no volume of that name"),
                           pool, sourceVolume, sourcePool);
        return -1;
    }
    if (virStorageVolGetInfo(vol, &info) < 0 ||
        !(volume->path = virStorageVolGetPath(vol)))
        return -1;

    volume->name = g_strdup(sourceVolume);
    volume->type = info.type;
    return virStorageFspoolVolumeReadXML(volume, from, vol);
}


/* A state that is going to be replaced, or must not change, is nothing to write to. */
static int
virStorageFspoolVolumeCheckState(const virStorageFspoolVolume *volume)
{
    g_auto(virStorageRevName) name = { 0 };

    if (!virStorageRevPoolTypeIs(volume->poolType))
        return 0;
    if (virStorageRevNameParse(volume->name, &name) < 0)
        return -1;

    if (name.kind == VIR_STORAGE_REV_NUMBERED || name.kind == VIR_STORAGE_REV_PINNED) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("'%1$s' is a revision, which a file system in use would change: clone it, and take the clone"),
                       volume->name);
        return -1;
    }
    if (name.kind == VIR_STORAGE_REV_HEAD && volume->dirty) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' has a live copy, which is going to replace it: commit or discard that first, or take '%1$s@live'"),
                       volume->name);
        return -1;
    }
    return 0;
}


/**
 * virStorageFspoolVolumeCheck:
 * @volume: volume
 *
 * Can it hold a file system? Other formats than raw have data of their own, which a file system would destroy.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolVolumeCheck(const virStorageFspoolVolume *volume)
{
    int format = volume->format ? virStorageFileFormatTypeFromString(volume->format) : -1;

    if (volume->type != VIR_STORAGE_VOL_FILE && volume->type != VIR_STORAGE_VOL_BLOCK) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' can hold no file system: it is neither an image nor a block device"),
                       volume->name);
        return -1;
    }

    /* block devices may have formats of partition tables, and none at all */
    if (format == VIR_STORAGE_FILE_RAW ||
        (volume->type == VIR_STORAGE_VOL_BLOCK && (format < 0 || format == VIR_STORAGE_FILE_NONE)))
        return virStorageFspoolVolumeCheckState(volume);

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("volume '%1$s' can hold no file system: its format is '%2$s' and not raw"),
                   volume->name, NULLSTR(volume->format));
    return -1;
}


/* Returns the path of a block device's node, or NULL with an error. The kernel's name is also that of the node. */
char *
virStorageFspoolDeviceNode(dev_t device)
{
    g_autofree char *path = g_strdup_printf("/sys/dev/block/%u:%u/uevent", major(device), minor(device));
    g_autofree char *text = NULL;
    g_autofree char *node = NULL;
    const char *name;
    struct stat sb;
    int rc;

    if ((rc = virFileReadAllQuiet(path, UEVENT_MAX, &text)) < 0) {
        virReportSystemError(-rc, _("cannot read '%1$s'"), path);
        return NULL;
    }
    if ((name = strstr(text, "DEVNAME="))) {
        name += strlen("DEVNAME=");
        node = g_strdup_printf("/dev/%.*s", (int) strcspn(name, "\n"), name);
        if (stat(node, &sb) == 0 && S_ISBLK(sb.st_mode) && sb.st_rdev == device)
            return g_steal_pointer(&node);
    }
    virReportError(VIR_ERR_OPERATION_FAILED, _("block device %1$u:%2$u has no node below /dev"),
                   major(device), minor(device));
    return NULL;
}


/* Returns a descriptor of a loop device that is in use, or -1 with an error. */
static int
virStorageFspoolLoopOpen(dev_t device,
                         struct loop_info64 *info)
{
    g_autofree char *node = virStorageFspoolDeviceNode(device);
    VIR_AUTOCLOSE fd = -1;
    int ret;

    if (!node)
        return -1;
    if ((fd = open(node, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0 ||
        ioctl(fd, LOOP_GET_STATUS64, info) < 0) {
        virReportSystemError(errno, _("cannot read which file is behind '%1$s'"), node);
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


/**
 * virStorageFspoolIdentityRead:
 * @mount: a mounted file system
 * @identity: filled; all 0 where it lies on no block device
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolIdentityRead(const virStorageFspoolMount *mount,
                             virStorageFspoolIdentity *identity)
{
    struct loop_info64 info = { 0 };
    VIR_AUTOCLOSE fd = -1;

    memset(identity, 0, sizeof(*identity));
    identity->device = virStorageFspoolMountDevice(mount);
    if (major(identity->device) != LOOP_MAJOR)
        return 0;

    if ((fd = virStorageFspoolLoopOpen(identity->device, &info)) < 0)
        return -1;
    identity->fileDevice = info.lo_device;
    identity->fileInode = info.lo_inode;
    return 0;
}


char *
virStorageFspoolIdentityFormat(const virStorageFspoolIdentity *identity)
{
    return g_strdup_printf("%llu %llu %llu",
                           (unsigned long long) identity->device,
                           (unsigned long long) identity->fileDevice,
                           (unsigned long long) identity->fileInode);
}


/* Returns 0, or -1 when @text is not what virStorageFspoolIdentityFormat() makes. */
int
virStorageFspoolIdentityParse(const char *text,
                              virStorageFspoolIdentity *identity)
{
    unsigned long long values[3];
    const char *next = text;
    char *end;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(values); i++) {
        if (!g_ascii_isdigit(*next) || virStrToLong_ull(next, &end, 10, &values[i]) < 0 ||
            *end != (i + 1 < G_N_ELEMENTS(values) ? ' ' : '\0'))
            return -1;
        next = end + 1;
    }
    if (values[0] == 0)
        return -1;

    identity->device = values[0];
    identity->fileDevice = values[1];
    identity->fileInode = values[2];
    return 0;
}


bool
virStorageFspoolIdentityEqual(const virStorageFspoolIdentity *a,
                              const virStorageFspoolIdentity *b)
{
    return a->device == b->device && a->fileDevice == b->fileDevice && a->fileInode == b->fileInode;
}


/* Would the volume disappear below the mount point? */
static int
virStorageFspoolDeviceCheckPlace(virStorageFspoolDevice *device,
                                 const char *mountPath)
{
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", device->fd);
    g_autofree char *path = g_file_read_link(link, NULL);
    const char *below = path ? STRSKIP(path, mountPath) : NULL;

    if (!device->isImage || !below || *below != '/')
        return 0;

    virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                   _("volume '%1$s' lies below '%2$s', where it is to be mounted"), device->name, mountPath);
    return -1;
}


/**
 * virStorageFspoolDeviceOpen:
 * @device: filled; to be cleared before @volume
 * @volume: volume, which virStorageFspoolVolumeCheck() has passed
 * @mountPath: where its file system is to be mounted, without symbolic links
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolDeviceOpen(virStorageFspoolDevice *device,
                           const virStorageFspoolVolume *volume,
                           const char *mountPath)
{
    /* names of block devices often are symbolic links of udev's */
    int oflags = O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (volume->type == VIR_STORAGE_VOL_FILE ? O_NOFOLLOW : 0);
    struct stat sb;

    device->name = volume->name;
    device->path = volume->path;
    device->isImage = volume->type == VIR_STORAGE_VOL_FILE;

    if ((device->fd = open(device->path, oflags)) < 0 || fstat(device->fd, &sb) < 0) {
        virReportSystemError(errno, _("cannot open volume '%1$s' at '%2$s'"), device->name, device->path);
        return -1;
    }
    if (device->isImage ? !S_ISREG(sb.st_mode) : !S_ISBLK(sb.st_mode)) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("volume '%1$s' is something else now than it was: refresh its pool"), device->name);
        return -1;
    }

    if (device->isImage) {
        device->identity.fileDevice = sb.st_dev;
        device->identity.fileInode = sb.st_ino;
    } else {
        device->identity.device = sb.st_rdev;
    }
    return virStorageFspoolDeviceCheckPlace(device, mountPath);
}


/* Is it the volume's file system that is mounted? Errors count as no. */
bool
virStorageFspoolDeviceIs(const virStorageFspoolDevice *device,
                         const virStorageFspoolMount *mount)
{
    virStorageFspoolIdentity identity;

    if (virStorageFspoolIdentityRead(mount, &identity) < 0) {
        virResetLastError();
        return false;
    }
    if (!device->isImage)
        return identity.device == device->identity.device;

    return identity.fileDevice == device->identity.fileDevice && identity.fileInode == device->identity.fileInode;
}


/* Does a name of a volume still lead to what was opened? */
static bool
virStorageFspoolDeviceIsCurrent(const virStorageFspoolDevice *device)
{
    struct stat sb;

    if (stat(device->path, &sb) < 0)
        return false;
    if (!device->isImage)
        return S_ISBLK(sb.st_mode) && sb.st_rdev == device->identity.device;
    return sb.st_dev == device->identity.fileDevice && sb.st_ino == device->identity.fileInode;
}


/**
 * virStorageFspoolDeviceClaim:
 * @device: open, and not attached yet
 *
 * Refuses what is in use: by a virtual machine, a loop device, a mount, or a device that lies on it. An image stays
 * locked against virtual machines for as long as its loop device lives, even if the daemon ends, since that keeps the
 * open file and its locks. A block device is safe from another mount and from device-mapper only, once it is mounted.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolDeviceClaim(virStorageFspoolDevice *device)
{
    if (!device->isImage) {
        VIR_AUTOCLOSE fd = open(device->path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);

        if (fd < 0 && errno == EBUSY) {
            virReportError(VIR_ERR_OPERATION_INVALID,
                           _("volume '%1$s' is mounted already, or another device lies on it"), device->name);
            return -1;
        }
        if (fd < 0) {
            virReportSystemError(errno, _("cannot open volume '%1$s' at '%2$s'"), device->name, device->path);
            return -1;
        }
    }

    if (virStorageReflinkExcludeUse(device->fd, VIR_STORAGE_REFLINK_EXCLUDE_USERS, device->name) < 0 ||
        (device->isImage && virStorageReflinkExcludeEmulators(device->fd) < 0))
        return -1;

    if (!virStorageFspoolDeviceIsCurrent(device)) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("volume '%1$s' is being replaced"), device->name);
        return -1;
    }
    return 0;
}


/* Can the file system of an image read past its cache? Some kernels take its word for that, and fail later. */
static bool
virStorageFspoolCanReadDirectly(int image)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", image);
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    g_autofree char *memory = g_new0(char, 2 * DIRECT_SIZE);
    char *block = (char *) VIR_ROUND_UP((uintptr_t) memory, (uintptr_t) DIRECT_SIZE);

    return fd >= 0 && pread(fd, block, DIRECT_SIZE, 0) >= 0;
}


/* Direct I/O saves a second copy in memory. The loop device keeps sectors of 512 bytes, so that a file system can go
 * with its image to another disk; on one with larger sectors the kernel does without direct I/O. */
static int
virStorageFspoolLoopConfigure(int loop,
                              int image)
{
    struct loop_config config = {
        .fd = image,
        .info.lo_flags = LO_FLAGS_AUTOCLEAR,
    };

    if (virStorageFspoolCanReadDirectly(image)) {
        config.info.lo_flags |= LO_FLAGS_DIRECT_IO;
        if (ioctl(loop, LOOP_CONFIGURE, &config) == 0)
            return 0;
        if (errno != EINVAL)
            return -1;
    }

    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    return ioctl(loop, LOOP_CONFIGURE, &config);
}


/* Returns a loop device of the image, which goes when it is neither open nor mounted any more, or -1 with errno. */
static int
virStorageFspoolLoopAttach(int image)
{
    VIR_AUTOCLOSE control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    size_t i;

    if (control < 0)
        return -1;

    for (i = 0; i < LOOP_TRIES; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        g_autofree char *node = g_strdup_printf("/dev/loop%d", number);
        VIR_AUTOCLOSE loop = number < 0 ? -1 : open(node, O_RDWR | O_CLOEXEC);

        if (loop < 0)
            return -1;
        if (virStorageFspoolLoopConfigure(loop, image) == 0) {
            int ret = loop;

            loop = -1;
            return ret;
        }
        if (errno != EBUSY)
            return -1;
    }
    errno = EBUSY;
    return -1;
}


/**
 * virStorageFspoolDeviceAttach:
 * @device: open and claimed
 *
 * Finds the block device that can be mounted: that of an image is made, and goes again with @device, unless it is
 * mounted.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolDeviceAttach(virStorageFspoolDevice *device)
{
    struct stat sb;

    if (device->isImage) {
        if ((device->loop = virStorageFspoolLoopAttach(device->fd)) < 0 ||
            fstat(device->loop, &sb) < 0) {
            virReportSystemError(errno, _("cannot get a loop device for volume '%1$s'"), device->name);
            return -1;
        }
        device->identity.device = sb.st_rdev;
    }
    return (device->node = virStorageFspoolDeviceNode(device->identity.device)) ? 0 : -1;
}


/**
 * virStorageFspoolDeviceUpdateSize:
 * @identity: of a mounted file system
 * @size: set to the size of its device, in bytes
 *
 * A loop device learns of its file's new size.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolDeviceUpdateSize(const virStorageFspoolIdentity *identity,
                                 unsigned long long *size)
{
    g_autofree char *path = g_strdup_printf("/sys/dev/block/%u:%u/size",
                                            major(identity->device), minor(identity->device));
    g_autofree char *text = NULL;
    int rc;

    if (major(identity->device) == LOOP_MAJOR) {
        struct loop_info64 info = { 0 };
        VIR_AUTOCLOSE fd = virStorageFspoolLoopOpen(identity->device, &info);

        if (fd < 0)
            return -1;
        if (ioctl(fd, LOOP_SET_CAPACITY, 0) < 0) {
            virReportSystemError(errno, _("cannot tell loop device %1$u its new size"), minor(identity->device));
            return -1;
        }
    }

    if ((rc = virFileReadAllQuiet(path, UEVENT_MAX, &text)) < 0) {
        virReportSystemError(-rc, _("cannot read '%1$s'"), path);
        return -1;
    }
    virStringTrimOptionalNewline(text);
    if (virStrToLong_ull(text, NULL, 10, size) < 0) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("cannot parse '%1$s'"), path);
        return -1;
    }
    *size *= SECTOR;
    return 0;
}


/**
 * virStorageFspoolDeviceAwaitDetach:
 * @identity: what was mounted, or all zero
 *
 * A loop device lets go of its image when the last one who has it open does, and udev looks at every disk that somebody
 * had open. Who builds or stops a pool may start it, or remove its volume, at once.
 */
void
virStorageFspoolDeviceAwaitDetach(const virStorageFspoolIdentity *identity)
{
    g_autofree char *attached = g_strdup_printf("/sys/dev/block/%u:%u/loop", major(identity->device), minor(identity->device));
    gint64 until = g_get_monotonic_time() + DETACH_SECONDS * G_USEC_PER_SEC;

    if (major(identity->device) != LOOP_MAJOR)
        return;
    while (virFileExists(attached) && g_get_monotonic_time() < until)
        g_usleep(DETACH_POLL_USEC);
}


void
virStorageFspoolDeviceClear(virStorageFspoolDevice *device)
{
    bool goes = device->loop >= 0 && !device->mounted;

    VIR_FORCE_CLOSE(device->loop);
    VIR_FORCE_CLOSE(device->fd);
    VIR_FREE(device->node);
    if (goes)
        virStorageFspoolDeviceAwaitDetach(&device->identity);
}
