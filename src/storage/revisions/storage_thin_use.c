/*
 * storage_thin_use.c: who uses a thin volume
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "storage_thin_use.h"

#include "storage_thin_device.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_thin_use");

/* udev looks into each device that has just been made, or closed by somebody who could write to it. */
#define UDEV_PATIENCE_MS 3000
#define UDEV_PAUSE_MS 20

#define FDINFO_MAX 1024
#define ATTRIBUTE_MAX 1024
#define COMM_MAX 64

/* No sector is larger. */
#define BLOCK 4096

/* On the device's node, which is gone with the device: it says that all that was written since the LV was made was
 * written to this device, and is counted in its statistics. */
#define FRESH_MARK "trusted.libvirt.storage"

/* There, too: that the LV was inactive, and is to be so again when it has been read. */
#define ACTIVATED_MARK "trusted.libvirt.storage.activated"


/* Who has a device open, beside udev, which does not stay. */
typedef struct _virStorageThinOpeners virStorageThinOpeners;
struct _virStorageThinOpeners {
    unsigned int files;  /* open files of processes */
    bool writes;         /* one of them can be written to */
};


static int
virStorageThinReadOne(virStorageRevContext *ctx,
                      const char *lv,
                      virStorageThinDevice *device)
{
    VIR_AUTOCLOSE control = virStorageThinControlOpen();

    return control < 0 ? -1 : virStorageThinDeviceRead(control, ctx->vg, lv, device);
}


/* The kernel's own node. udev's links follow what happens to an LV, and may be behind it. */
static int
virStorageThinOpenNode(dev_t dev,
                       int oflags)
{
    g_autofree char *path = g_strdup_printf("/dev/dm-%u", minor(dev));
    VIR_AUTOCLOSE fd = open(path, oflags | O_CLOEXEC);
    struct stat sb;
    int ret = fd;

    if (fd < 0 || fstat(fd, &sb) < 0)
        return -1;
    if (!S_ISBLK(sb.st_mode) || sb.st_rdev != dev) {
        errno = ENODEV;
        return -1;
    }
    fd = -1;
    return ret;
}


/**
 * virStorageThinOpenDevice:
 * @ctx: pool
 * @lv: LV
 * @oflags: for open(2)
 *
 * Returns a file descriptor of the device that the LV is now, or -1 with errno, which is ENOENT when it is not active
 */
int
virStorageThinOpenDevice(virStorageRevContext *ctx,
                         const char *lv,
                         int oflags)
{
    virStorageThinDevice device;

    if (virStorageThinReadOne(ctx, lv, &device) < 0) {
        virResetLastError();
        errno = EIO;
        return -1;
    }
    if (!device.active) {
        errno = ENOENT;
        return -1;
    }
    return virStorageThinOpenNode(device.dev, oflags);
}


/* Can the open file @fd of the process in @procfd be written to? */
static bool
virStorageThinFdWrites(int procfd,
                       const char *fd)
{
    g_autofree char *name = g_strdup_printf("fdinfo/%s", fd);
    VIR_AUTOCLOSE info = openat(procfd, name, O_RDONLY | O_CLOEXEC);
    char text[FDINFO_MAX] = "";
    const char *flags;
    char *rest = NULL;
    unsigned long long value = O_RDWR;

    if (info >= 0 && saferead(info, text, sizeof(text) - 1) > 0 && (flags = strstr(text, "flags:")))
        ignore_value(virStrToLong_ull(flags + strlen("flags:"), &rest, 8, &value));
    return (value & O_ACCMODE) != O_RDONLY;
}


static bool
virStorageThinIsUdev(int procfd)
{
    VIR_AUTOCLOSE fd = openat(procfd, "comm", O_RDONLY | O_CLOEXEC);
    char comm[COMM_MAX] = "";

    return fd >= 0 && saferead(fd, comm, sizeof(comm) - 1) > 0 && strstr(comm, "udev");
}


/* Adds what one process has open. */
static void
virStorageThinAddProcess(const char *pid,
                         dev_t dev,
                         virStorageThinOpeners *openers)
{
    g_autofree char *path = g_strdup_printf("/proc/%s", pid);
    g_autofree char *fds = g_strdup_printf("/proc/%s/fd", pid);
    VIR_AUTOCLOSE procfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;
    struct stat sb;

    if (procfd < 0 || virDirOpenQuiet(&dir, fds) < 0)
        return; /* it has ended */
    if (virStorageThinIsUdev(procfd))
        return;

    while (virDirRead(dir, &entry, NULL) > 0) {
        if (fstatat(dirfd(dir), entry->d_name, &sb, 0) < 0 || !S_ISBLK(sb.st_mode) || sb.st_rdev != dev)
            continue;
        openers->files++;
        if (virStorageThinFdWrites(procfd, entry->d_name))
            openers->writes = true;
    }
}


/* Only processes are seen: not a mounted file system, nor another device on top. */
static void
virStorageThinFindOpeners(const virStorageThinDevice *device,
                          virStorageThinOpeners *openers)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;

    memset(openers, 0, sizeof(*openers));
    if (virDirOpenQuiet(&dir, "/proc") < 0)
        return;
    while (virDirRead(dir, &entry, NULL) > 0) {
        if (g_ascii_isdigit(*entry->d_name))
            virStorageThinAddProcess(entry->d_name, device->dev, openers);
    }
}


/* Is the LV open at this moment? What cannot be asked counts as open. */
bool
virStorageThinIsOpen(virStorageRevContext *ctx,
                     const char *lv)
{
    virStorageThinDevice device;

    if (virStorageThinReadOne(ctx, lv, &device) < 0) {
        virResetLastError();
        return true;
    }
    return device.openCount > 0;
}


/* Do all of @openers, found after @device was read, read the LV only? Whoever is no process may write. */
static bool
virStorageThinHasReadersOnly(virStorageRevContext *ctx,
                             const char *lv,
                             const virStorageThinDevice *device,
                             const virStorageThinOpeners *openers)
{
    /* not granted while a file system is mounted from it, or another device lies on it */
    VIR_AUTOCLOSE exclusive = virStorageThinOpenNode(device->dev, O_RDONLY | O_EXCL);
    virStorageThinDevice now;

    /* nobody may have come or gone between the two looks; and there is our own file by now */
    return exclusive >= 0 && !openers->writes && openers->files >= device->openCount &&
        virStorageThinReadOne(ctx, lv, &now) == 0 && openers->files + 1 >= now.openCount;
}


/* Waits until nobody has the LV open, or, with @readers, nobody who can write to it. udev comes and goes, also between
 * the two looks of a round: one in which they do not agree is no refusal yet. */
static int
virStorageThinAwaitUse(virStorageRevContext *ctx,
                       const virStorageRevState *state,
                       const char *name,
                       bool readers)
{
    virStorageThinDevice device;
    virStorageThinOpeners openers = { 0 };
    unsigned int waited;

    for (waited = 0; waited < UDEV_PATIENCE_MS; waited += UDEV_PAUSE_MS) {
        if (waited > 0)
            g_usleep(UDEV_PAUSE_MS * 1000);
        if (virStorageThinReadOne(ctx, state->file, &device) < 0)
            return -1;
        if (device.openCount == 0)
            return 0;

        virStorageThinFindOpeners(&device, &openers);
        if (readers && virStorageThinHasReadersOnly(ctx, state->file, &device, &openers))
            return 0;
        if (openers.writes || (openers.files > 0 && !readers))
            break;
    }

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("volume '%1$s' is in use by a virtual machine or another program: stop or detach that first"), name);
    return -1;
}


/**
 * virStorageThinCheckUnused:
 * @ctx: pool
 * @state: LV
 * @name: of the volume, for errors
 *
 * Waits for udev, but for nobody else.
 *
 * Returns 0 when nobody has the LV open, or -1 with an error
 */
int
virStorageThinCheckUnused(virStorageRevContext *ctx,
                          const virStorageRevState *state,
                          const char *name)
{
    return virStorageThinAwaitUse(ctx, state, name, false);
}


/**
 * virStorageThinCheckUnwritten:
 * @ctx: pool
 * @state: LV
 * @name: of the volume, for errors
 *
 * Returns 0 when nobody can write to the LV at this moment, or -1 with an error
 */
int
virStorageThinCheckUnwritten(virStorageRevContext *ctx,
                             const virStorageRevState *state,
                             const char *name)
{
    return virStorageThinAwaitUse(ctx, state, name, true);
}


/**
 * virStorageThinSync:
 * @ctx: pool
 * @lv: LV, which is active or has never been written to
 * @name: of the volume, for errors
 *
 * Makes what was written to an LV durable: that LVM changes its name, or makes a snapshot of it, does not.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageThinSync(virStorageRevContext *ctx,
                   const char *lv,
                   const char *name)
{
    /* not for writing: udev would look into the device when it is closed */
    VIR_AUTOCLOSE fd = virStorageThinOpenDevice(ctx, lv, O_RDONLY);

    if (fd < 0 && errno == ENOENT)
        return 0; /* what is not active has nothing in memory */
    if (fd >= 0 && fsync(fd) == 0)
        return 0;

    virReportSystemError(errno, _("cannot make volume '%1$s' durable"), name);
    return -1;
}


/* What a device has done since it was made. */
typedef struct _virStorageThinTraffic virStorageThinTraffic;
struct _virStorageThinTraffic {
    unsigned long long reads;
    unsigned long long changed; /* sectors written and discarded */
};


/* Returns what the kernel says of a device under that name, or NULL. */
static char *
virStorageThinReadAttribute(int fd,
                            const char *attribute)
{
    g_autofree char *file = NULL;
    g_autofree char *text = NULL;
    struct stat sb;

    if (fstat(fd, &sb) < 0 || !S_ISBLK(sb.st_mode))
        return NULL;
    file = g_strdup_printf("/sys/dev/block/%u:%u/%s", major(sb.st_rdev), minor(sb.st_rdev), attribute);
    if (virFileReadAllQuiet(file, ATTRIBUTE_MAX, &text) < 0)
        return NULL;
    return g_steal_pointer(&text);
}


/* Returns 0, or -1 where nothing is known. */
static int
virStorageThinReadTraffic(int fd,
                          virStorageThinTraffic *traffic)
{
    g_autofree char *text = virStorageThinReadAttribute(fd, "stat");
    g_auto(GStrv) words = NULL;
    unsigned long long numbers[14];
    size_t n = 0;
    size_t i;

    if (!text)
        return -1;

    words = g_strsplit_set(text, " \n", -1);
    for (i = 0; words[i] && n < G_N_ELEMENTS(numbers); i++) {
        if (*words[i] && virStrToLong_ull(words[i], NULL, 10, &numbers[n++]) < 0)
            return -1;
    }
    if (n < G_N_ELEMENTS(numbers))
        return -1;
    /* Documentation/block/stat.rst. Not the requests that write: a flush is one, too. */
    traffic->reads = numbers[0];
    traffic->changed = numbers[6] + numbers[13];
    return 0;
}


/* Is what is done to the device counted? An administrator may have switched that off; only a read shows what kernels make
 * of the setting. @fd is open with O_DIRECT. */
static bool
virStorageThinCountsRequests(int fd)
{
    g_autofree void *block = NULL;
    virStorageThinTraffic before;
    virStorageThinTraffic after;

    return posix_memalign(&block, BLOCK, BLOCK) == 0 &&
        virStorageThinReadTraffic(fd, &before) == 0 &&
        pread(fd, block, BLOCK, 0) == BLOCK &&
        virStorageThinReadTraffic(fd, &after) == 0 &&
        after.reads > before.reads;
}


/* Marks the device of a live copy that has just been made. Where that cannot be, the live copy counts as written to. */
void
virStorageThinMarkFresh(virStorageRevContext *ctx,
                        const char *lv)
{
    VIR_AUTOCLOSE fd = virStorageThinOpenDevice(ctx, lv, O_RDONLY);
    virStorageThinTraffic traffic;

    if (fd < 0 || virStorageThinReadTraffic(fd, &traffic) < 0 || traffic.changed > 0 ||
        fsetxattr(fd, FRESH_MARK, "fresh", strlen("fresh"), XATTR_CREATE) < 0)
        VIR_INFO("'%s' is not marked as unwritten: %s", lv, g_strerror(errno));
}


/* Is the device the one that the live copy was made as, and has nothing been written to it? */
bool
virStorageThinIsFresh(virStorageRevContext *ctx,
                      const char *lv)
{
    VIR_AUTOCLOSE fd = virStorageThinOpenDevice(ctx, lv, O_RDONLY | O_DIRECT);
    virStorageThinTraffic traffic;

    return fd >= 0 && fgetxattr(fd, FRESH_MARK, NULL, 0) > 0 && virStorageThinCountsRequests(fd) &&
        virStorageThinReadTraffic(fd, &traffic) == 0 && traffic.changed == 0;
}


/* Marks the device of an LV that was activated to be read. */
void
virStorageThinMarkActivated(int fd,
                            const char *lv)
{
    if (fsetxattr(fd, ACTIVATED_MARK, "1", strlen("1"), 0) < 0)
        VIR_INFO("'%s' is not marked as activated: %s", lv, g_strerror(errno));
}


/* Is the LV active for no other reason than that somebody here reads it, or did? */
bool
virStorageThinIsActivated(virStorageRevContext *ctx,
                          const char *lv)
{
    VIR_AUTOCLOSE fd = virStorageThinOpenDevice(ctx, lv, O_RDONLY);

    return fd >= 0 && fgetxattr(fd, ACTIVATED_MARK, NULL, 0) > 0;
}


/* Kernels before 5.15 do not number their devices. */
static unsigned long long
virStorageThinReadSequence(int fd)
{
    g_autofree char *text = virStorageThinReadAttribute(fd, "diskseq");
    unsigned long long sequence = 0;
    char *rest = NULL;

    if (text)
        ignore_value(virStrToLong_ull(text, &rest, 10, &sequence));
    return sequence;
}


/**
 * virStorageThinLook:
 * @ctx: pool
 * @lv: LV
 * @name: of the volume, for errors
 * @sight: filled
 *
 * What was written to the LV is made durable: before, its device has not counted it.
 *
 * Returns 0, also when the LV is not active, or -1 with an error
 */
int
virStorageThinLook(virStorageRevContext *ctx,
                   const char *lv,
                   const char *name,
                   virStorageThinSight *sight)
{
    VIR_AUTOCLOSE fd = -1;
    virStorageThinTraffic traffic = { 0 };

    memset(sight, 0, sizeof(*sight));
    if (virStorageThinSync(ctx, lv, name) < 0)
        return -1;
    if ((fd = virStorageThinOpenDevice(ctx, lv, O_RDONLY)) < 0)
        return 0;

    ignore_value(virStorageThinReadTraffic(fd, &traffic));
    sight->active = true;
    sight->sequence = virStorageThinReadSequence(fd);
    sight->changed = traffic.changed;
    return 0;
}
