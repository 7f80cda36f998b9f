/*
 * storage_fspool_mkfs.c: making and growing the file systems that hold directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>

#include "storage_fspool_mkfs.h"

#include "storage_fspool_mount.h"
#include "storage_util.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/*
 * File systems grow by ioctl(2), and not by resize2fs(8) and its like: those look up in lists of mounts what they were
 * told by path, and then do the same ioctl, while a descriptor cannot lead to another file system. Nor is a process
 * started at each refresh only to find that nothing has grown. The kernel does all of it in transactions of its journal.
 */

/* fs/ext4/ext4.h: the new number of blocks. Only since Linux 6.2 in a header for programs. */
#define FSPOOL_EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

/* fs/xfs/libxfs/xfs_fs.h, which Linux does not install: its first geometry, which all versions know. */
typedef struct _virStorageFspoolXfsGeometry virStorageFspoolXfsGeometry;
struct _virStorageFspoolXfsGeometry {
    uint32_t blocksize;
    uint32_t rtextsize;
    uint32_t agblocks;
    uint32_t agcount;
    uint32_t logblocks;
    uint32_t sectsize;
    uint32_t inodesize;
    uint32_t imaxpct;
    uint64_t datablocks;
    uint64_t rtblocks;
    uint64_t rtextents;
    uint64_t logstart;
    unsigned char uuid[16];
    uint32_t sunit;
    uint32_t swidth;
    int32_t version;
    uint32_t flags;
    uint32_t logsectsize;
    uint32_t rtsectsize;
    uint32_t dirblocksize;
};

typedef struct _virStorageFspoolXfsGrow virStorageFspoolXfsGrow;
struct _virStorageFspoolXfsGrow {
    uint64_t newblocks;
    uint32_t imaxpct;
};

G_STATIC_ASSERT(sizeof(virStorageFspoolXfsGeometry) == 112);
G_STATIC_ASSERT(sizeof(virStorageFspoolXfsGrow) == 16);

#define FSPOOL_XFS_IOC_FSGEOMETRY_V1 _IOR('X', 100, virStorageFspoolXfsGeometry)
#define FSPOOL_XFS_IOC_FSGROWFSDATA _IOW('X', 110, virStorageFspoolXfsGrow)

/* fs/xfs/libxfs/xfs_ag.h: XFS makes no allocation group that is smaller, and leaves what does not fill one. */
#define XFS_MIN_AG_BLOCKS 64


/* fs/ext4/ext4.h, struct ext4_super_block, which begins here; all numbers are little-endian. */
#define EXT4_SUPERBLOCK 1024
#define EXT4_BLOCKS_LOW 0x4
#define EXT4_LOG_BLOCK_SIZE 0x18
#define EXT4_MAGIC 0x38
#define EXT4_INCOMPAT 0x60
#define EXT4_RO_COMPAT 0x64
#define EXT4_BLOCKS_HIGH 0x150
#define EXT4_MAGIC_VALUE 0xEF53
#define EXT4_INCOMPAT_64BIT 0x80
#define EXT4_RO_COMPAT_QUOTA 0x100
#define EXT4_RO_COMPAT_PROJECT 0x2000

/* include/uapi/linux/btrfs_tree.h, struct btrfs_super_block. */
#define BTRFS_MAGIC 0x10040
#define BTRFS_MAGIC_VALUE "_BHRfS_M"

/* fs/xfs/libxfs/xfs_format.h, struct xfs_dsb; all numbers are big-endian. */
#define XFS_MAGIC 0
#define XFS_QFLAGS 176
#define XFS_MAGIC_VALUE 0x58465342
#define XFS_PQUOTA_ACCT 0x8


static uint32_t
virStorageFspoolLittle32(const unsigned char *data)
{
    uint32_t value;

    memcpy(&value, data, sizeof(value));
    return GUINT32_FROM_LE(value);
}


static void
virStorageFspoolSuperblockParseExt4(const unsigned char *data,
                                    virStorageFspoolSuperblock *sb)
{
    uint32_t features;

    data += EXT4_SUPERBLOCK;
    if ((virStorageFspoolLittle32(data + EXT4_MAGIC) & 0xFFFF) != EXT4_MAGIC_VALUE)
        return;

    features = virStorageFspoolLittle32(data + EXT4_RO_COMPAT);
    sb->known = true;
    sb->quota = features & EXT4_RO_COMPAT_QUOTA && features & EXT4_RO_COMPAT_PROJECT;
    sb->blockSize = 1024 << (virStorageFspoolLittle32(data + EXT4_LOG_BLOCK_SIZE) & 0x7);
    sb->blocks = virStorageFspoolLittle32(data + EXT4_BLOCKS_LOW);
    if (virStorageFspoolLittle32(data + EXT4_INCOMPAT) & EXT4_INCOMPAT_64BIT)
        sb->blocks |= (unsigned long long) virStorageFspoolLittle32(data + EXT4_BLOCKS_HIGH) << 32;
}


static void
virStorageFspoolSuperblockParseXfs(const unsigned char *data,
                                   virStorageFspoolSuperblock *sb)
{
    if (GUINT32_SWAP_LE_BE(virStorageFspoolLittle32(data + XFS_MAGIC)) != XFS_MAGIC_VALUE)
        return;

    sb->known = true;
    sb->quota = data[XFS_QFLAGS + 1] & XFS_PQUOTA_ACCT;
}


/**
 * virStorageFspoolSuperblockParse:
 * @format: virStorageRevFspoolFormat of a local file system
 * @data: the first VIR_STORAGE_FSPOOL_SUPERBLOCK_SIZE bytes of its device
 * @sb: filled; nothing is known where there is another file system, nor of Btrfs, whose superblock lies behind @data
 */
void
virStorageFspoolSuperblockParse(int format,
                                const unsigned char *data,
                                virStorageFspoolSuperblock *sb)
{
    memset(sb, 0, sizeof(*sb));
    if (format == VIR_STORAGE_REV_FSPOOL_EXT4)
        virStorageFspoolSuperblockParseExt4(data, sb);
    else if (format == VIR_STORAGE_REV_FSPOOL_XFS)
        virStorageFspoolSuperblockParseXfs(data, sb);
}


/**
 * virStorageFspoolSuperblockRead:
 * @format: virStorageRevFspoolFormat of a local file system
 * @node: its device; a mounted ext4 keeps what is read there up to date
 * @sb: filled
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolSuperblockRead(int format,
                               const char *node,
                               virStorageFspoolSuperblock *sb)
{
    unsigned char data[VIR_STORAGE_FSPOOL_SUPERBLOCK_SIZE] = { 0 };
    char magic[sizeof(BTRFS_MAGIC_VALUE)] = { 0 };
    VIR_AUTOCLOSE fd = open(node, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || saferead(fd, data, sizeof(data)) < 0 ||
        pread(fd, magic, strlen(BTRFS_MAGIC_VALUE), BTRFS_MAGIC) < 0) {
        virReportSystemError(errno, _("cannot read '%1$s'"), node);
        return -1;
    }

    virStorageFspoolSuperblockParse(format, data, sb);
    if (format == VIR_STORAGE_REV_FSPOOL_BTRFS)
        sb->known = STREQ(magic, BTRFS_MAGIC_VALUE);
    return 0;
}


/**
 * virStorageFspoolMkfsCommand:
 * @format: virStorageRevFspoolFormat of a local file system
 * @node: block device
 * @quota: whether the file system shall be able to count what directory trees use
 *
 * Returns the command that makes the file system, whatever was there before
 */
virCommand *
virStorageFspoolMkfsCommand(int format,
                            const char *node,
                            bool quota)
{
    /*
     * # mkfs.ext4 -q -F -O project,quota -E quotatype=prjquota -- /dev/loop3
     * # mkfs.xfs -q -f -m reflink=1 -- /dev/loop3
     * # mkfs.btrfs -q -f -- /dev/loop3
     * ERROR: '/dev/loop3' is too small to make a usable filesystem
     */
    g_autofree char *tool = g_strdup_printf("mkfs.%s", virStorageRevFspoolFormatTypeToString(format));
    virCommand *cmd = virCommandNewArgList(tool, "-q", format == VIR_STORAGE_REV_FSPOOL_EXT4 ? "-F" : "-f", NULL);

    if (format == VIR_STORAGE_REV_FSPOOL_EXT4 && quota)
        virCommandAddArgList(cmd, "-O", "project,quota", "-E", "quotatype=prjquota", NULL);
    if (format == VIR_STORAGE_REV_FSPOOL_XFS)
        virCommandAddArgList(cmd, "-m", "reflink=1", NULL);

    virCommandAddArgList(cmd, "--", node, NULL);
    return cmd;
}


/**
 * virStorageFspoolMkfs:
 * @format: virStorageRevFspoolFormat of a local file system
 * @node: block device that nobody uses, and whose content may be lost
 * @quota: whether the file system shall be able to count what directory trees use
 * @volume: name of the volume, for errors
 *
 * Takes its time: not to be called with a pool locked.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolMkfs(int format,
                     const char *node,
                     bool quota,
                     const char *volume)
{
    g_autoptr(virCommand) cmd = virStorageFspoolMkfsCommand(format, node, quota);
    g_autofree char *tool = g_strdup_printf("mkfs.%s", virStorageRevFspoolFormatTypeToString(format));
    g_autofree char *complaint = NULL;
    int rc;

    if (virStorageFspoolToolCheck(tool) < 0)
        return -1;
    if ((rc = virStorageFspoolToolRun(cmd, &complaint)) > 0)
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("cannot make a file system on volume '%1$s': %2$s"), volume, complaint);
    return rc == 0 ? 0 : -1;
}


/**
 * virStorageFspoolMkfsCheckEmpty:
 * @format: virStorageRevFspoolFormat of a local file system
 * @node: block device
 * @volume: name of the volume, for errors
 *
 * Returns 0 when nothing that is known has left its mark on the device, or -1 with an error
 */
int
virStorageFspoolMkfsCheckEmpty(int format,
                               const char *node,
                               const char *volume)
{
    g_autofree char *reason = NULL;

    if (virStorageBackendDeviceIsEmpty(node, virStorageRevFspoolFormatTypeToString(format), true))
        return 0;

    reason = g_strdup(virGetLastErrorMessage());
    virReportError(VIR_ERR_STORAGE_POOL_BUILT,
                   _("volume '%1$s' is not empty, or cannot be looked at; building with --overwrite destroys what is on it: %2$s"),
                   volume, reason);
    return -1;
}


static int
virStorageFspoolGrowExt4(int fd,
                         const virStorageFspoolSuperblock *sb,
                         unsigned long long size)
{
    uint64_t blocks;

    if (!sb->known) {
        errno = EUCLEAN;
        return -1;
    }
    blocks = size / sb->blockSize;
    return blocks <= sb->blocks ? 0 : ioctl(fd, FSPOOL_EXT4_IOC_RESIZE_FS, &blocks);
}


static int
virStorageFspoolGrowXfs(int fd,
                        unsigned long long size)
{
    virStorageFspoolXfsGeometry geometry = { 0 };
    virStorageFspoolXfsGrow grow = { 0 };

    if (ioctl(fd, FSPOOL_XFS_IOC_FSGEOMETRY_V1, &geometry) < 0)
        return -1;

    grow.newblocks = size / geometry.blocksize;
    grow.imaxpct = geometry.imaxpct;
    if (grow.newblocks % geometry.agblocks < XFS_MIN_AG_BLOCKS)
        grow.newblocks -= grow.newblocks % geometry.agblocks;
    if (grow.newblocks <= geometry.datablocks)
        return 0;
    return ioctl(fd, FSPOOL_XFS_IOC_FSGROWFSDATA, &grow);
}


/* What is to be known of a Btrfs on one device. */
typedef struct _virStorageFspoolBtrfs virStorageFspoolBtrfs;
struct _virStorageFspoolBtrfs {
    unsigned long long device;     /* its number, which depends on its past */
    unsigned long long size;
    unsigned int sectorSize;
};


static int
virStorageFspoolBtrfsRead(int fd,
                          virStorageFspoolBtrfs *btrfs)
{
    g_autofree struct btrfs_ioctl_fs_info_args *fs = g_new0(struct btrfs_ioctl_fs_info_args, 1);
    g_autofree struct btrfs_ioctl_dev_info_args *device = g_new0(struct btrfs_ioctl_dev_info_args, 1);

    if (ioctl(fd, BTRFS_IOC_FS_INFO, fs) < 0)
        return -1;
    if (fs->num_devices != 1) {
        errno = EXDEV;
        return -1;
    }

    for (device->devid = 1; device->devid <= fs->max_id; device->devid++) {
        if (ioctl(fd, BTRFS_IOC_DEV_INFO, device) == 0) {
            btrfs->device = device->devid;
            btrfs->size = device->total_bytes;
            btrfs->sectorSize = fs->sectorsize;
            return 0;
        }
        if (errno != ENODEV)
            return -1;
    }
    errno = ENODEV;
    return -1;
}


/* Told a size that is smaller, Btrfs would shrink: it is compared first. */
static int
virStorageFspoolGrowBtrfs(int fd,
                          unsigned long long size)
{
    g_autofree struct btrfs_ioctl_vol_args *args = g_new0(struct btrfs_ioctl_vol_args, 1);
    virStorageFspoolBtrfs btrfs;
    int rc;

    if (virStorageFspoolBtrfsRead(fd, &btrfs) < 0)
        return -1;

    size -= size % btrfs.sectorSize;
    if (size <= btrfs.size)
        return 0;

    g_snprintf(args->name, sizeof(args->name), "%llu:%llu", btrfs.device, size);
    if ((rc = ioctl(fd, BTRFS_IOC_RESIZE, args)) > 0) {
        errno = EBUSY; /* a balance or the like is under way */
        return -1;
    }
    return rc;
}


/**
 * virStorageFspoolGrow:
 * @format: virStorageRevFspoolFormat of a local file system
 * @fd: root of the file system, which is mounted for writing
 * @node: its device
 * @size: of that, in bytes
 * @pool: name of the pool, for errors
 *
 * Lets the file system use all of its device. Does nothing where it does already; never makes it smaller.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolGrow(int format,
                     int fd,
                     const char *node,
                     unsigned long long size,
                     const char *pool)
{
    virStorageFspoolSuperblock sb;
    int rc;

    switch (format) {
    case VIR_STORAGE_REV_FSPOOL_EXT4:
        if (virStorageFspoolSuperblockRead(format, node, &sb) < 0)
            return -1;
        rc = virStorageFspoolGrowExt4(fd, &sb, size);
        break;
    case VIR_STORAGE_REV_FSPOOL_XFS:
        rc = virStorageFspoolGrowXfs(fd, size);
        break;
    case VIR_STORAGE_REV_FSPOOL_BTRFS:
        rc = virStorageFspoolGrowBtrfs(fd, size);
        break;
    default:
        return 0;
    }

    if (rc < 0)
        virReportSystemError(errno, _("cannot make the file system of pool '%1$s' as large as its volume"), pool);
    return rc;
}
