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
#include "virstring.h"
#include "virthread.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_reflink_use");

/*
 * QEMU's image locks (block/file-posix.c of QEMU 2.10 and later): whoever has an image open holds a shared lock on one
 * byte for each permission that it uses, from byte 100 on, and on one for each that it grants to nobody else, from byte
 * 200 on. The permission to write is number 1, that to resize number 3. So a reader whose image is not to change holds
 * the second kind, shared, as others may read too.
 */
#define QEMU_PERM_BASE 100
#define QEMU_SHARED_BASE 200
#define QEMU_PERM_WRITE 1
#define QEMU_PERM_RESIZE 3
#define QEMU_PERM_COUNT 8

/* Of some ten thousand disks and partitions. */
#define DISK_LIST_MAX (1024 * 1024)


/* Takes a lock, for as long as @fd is open; it belongs to the open file, not to the process. */
static int
virStorageReflinkLockBytes(int fd,
                           short type,
                           off_t start,
                           off_t len,
                           bool *used)
{
    struct flock lock = {
        .l_type = type,
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


/* Does anybody else have a lock on that byte? */
static int
virStorageReflinkTestByte(int fd,
                          off_t byte,
                          bool *used)
{
    struct flock lock = {
        .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = byte,
        .l_len = 1,
    };

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0) {
        virReportSystemError(errno, "%s", _("cannot look for the locks of an image"));
        return -1;
    }
    if (lock.l_type != F_UNLCK)
        *used = true;
    return 0;
}


/* As QEMU does: first it is said what nobody may do, and then looked whether somebody does, so that of two who come at
 * the same time one sees the other. */
static int
virStorageReflinkLockToRead(int fd,
                            bool *used)
{
    if (virStorageReflinkLockBytes(fd, F_RDLCK, QEMU_SHARED_BASE + QEMU_PERM_WRITE, 1, used) < 0 ||
        virStorageReflinkLockBytes(fd, F_RDLCK, QEMU_SHARED_BASE + QEMU_PERM_RESIZE, 1, used) < 0 ||
        virStorageReflinkTestByte(fd, QEMU_PERM_BASE + QEMU_PERM_WRITE, used) < 0)
        return -1;
    return virStorageReflinkTestByte(fd, QEMU_PERM_BASE + QEMU_PERM_RESIZE, used);
}


static int
virStorageReflinkLockImage(int fd,
                           virStorageReflinkExclude exclude,
                           bool *used)
{
    if (exclude == VIR_STORAGE_REFLINK_EXCLUDE_CHANGES)
        return virStorageReflinkLockToRead(fd, used);

    if (exclude == VIR_STORAGE_REFLINK_EXCLUDE_USERS) {
        if (virStorageReflinkLockBytes(fd, F_WRLCK, QEMU_PERM_BASE, QEMU_PERM_COUNT, used) < 0)
            return -1;
        return virStorageReflinkLockBytes(fd, F_WRLCK, QEMU_SHARED_BASE, QEMU_PERM_COUNT, used);
    }

    /* who lets nobody write, and who lets nobody resize */
    if (exclude == VIR_STORAGE_REFLINK_EXCLUDE_READERS &&
        virStorageReflinkLockBytes(fd, F_WRLCK, QEMU_SHARED_BASE + QEMU_PERM_WRITE, 1, used) < 0)
        return -1;
    if (exclude != VIR_STORAGE_REFLINK_EXCLUDE_WRITERS &&
        virStorageReflinkLockBytes(fd, F_WRLCK, QEMU_SHARED_BASE + QEMU_PERM_RESIZE, 1, used) < 0)
        return -1;

    if (virStorageReflinkLockBytes(fd, F_WRLCK, QEMU_PERM_BASE + QEMU_PERM_WRITE, 1, used) < 0)
        return -1;
    return virStorageReflinkLockBytes(fd, F_WRLCK, QEMU_PERM_BASE + QEMU_PERM_RESIZE, 1, used);
}


/**
 * virStorageReflinkExcludeEmulators:
 * @fd: image that virStorageReflinkExcludeUse() has found to be used by nobody
 *
 * Goes on keeping virtual machines out, which ask whether others grant them to write, but no more claims to write to the
 * image: a loop device does, which is found by itself, and lets the image grow.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageReflinkExcludeEmulators(int fd)
{
    bool used = false;

    if (virStorageReflinkLockBytes(fd, F_UNLCK, QEMU_PERM_BASE, QEMU_PERM_COUNT, &used) < 0)
        return -1;
    return virStorageReflinkLockBytes(fd, F_UNLCK, QEMU_SHARED_BASE + QEMU_PERM_RESIZE, 1, &used);
}


/* What a loop device has open. */
typedef struct _virStorageReflinkLoop virStorageReflinkLoop;
struct _virStorageReflinkLoop {
    dev_t dev;
    ino_t ino;
    bool readOnly;
};

/* What is known of a loop device: to open one can take milliseconds while others use it. The kernel gives a disk a new
 * sequence number whenever its medium changes, which a loop device's file is, and the number costs one system call. */
typedef struct _virStorageReflinkKnownLoop virStorageReflinkKnownLoop;
struct _virStorageReflinkKnownLoop {
    int fd;                      /* of the number in sysfs, or -1 */
    unsigned long long sequence; /* 0: nothing is known */
    virStorageReflinkLoop loop;  /* as of that number */
};

static virMutex mutex = VIR_MUTEX_INITIALIZER;
static GHashTable *known; /* name → virStorageReflinkKnownLoop */


static void
virStorageReflinkKnownLoopFree(void *opaque)
{
    virStorageReflinkKnownLoop *device = opaque;

    VIR_FORCE_CLOSE(device->fd);
    g_free(device);
}


/* Called with the mutex held. */
static virStorageReflinkKnownLoop *
virStorageReflinkKnownLoopGet(const char *name)
{
    virStorageReflinkKnownLoop *device;

    if (!known)
        known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, virStorageReflinkKnownLoopFree);

    if (!(device = g_hash_table_lookup(known, name))) {
        device = g_new0(virStorageReflinkKnownLoop, 1);
        device->fd = -1;
        g_hash_table_insert(known, g_strdup(name), device);
    }
    return device;
}


/* Returns the device's sequence number as it is now, or 0 when the kernel has none (before Linux 5.15). The file stays
 * open, until the device of that name is another one. */
static unsigned long long
virStorageReflinkLoopSequence(virStorageReflinkKnownLoop *device,
                              const char *name)
{
    g_autofree char *path = NULL;
    unsigned long long sequence;
    char text[32];
    ssize_t len = -1;

    if (device->fd >= 0 && (len = pread(device->fd, text, sizeof(text) - 1, 0)) <= 0)
        VIR_FORCE_CLOSE(device->fd);
    if (device->fd < 0) {
        path = g_strdup_printf("/sys/block/%s/diskseq", name);
        if ((device->fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0)
            len = pread(device->fd, text, sizeof(text) - 1, 0);
    }

    if (len <= 0)
        return 0;
    text[len] = '\0';
    virStringTrimOptionalNewline(text);
    return virStrToLong_ull(text, NULL, 10, &sequence) < 0 ? 0 : sequence;
}


/* Asks the device what it has open: the path in sysfs may lead to another file here than in the namespace that the
 * device was set up in. Returns a file descriptor of the device, or -1 when it has nothing open, or does not tell us. */
static int
virStorageReflinkLoopOpen(const char *name,
                          virStorageReflinkLoop *loop)
{
    g_autofree char *device = g_strdup_printf("/dev/%s", name);
    int fd = open(device, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct loop_info64 info = { 0 };

    if (fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
        VIR_FORCE_CLOSE(fd);

    loop->dev = info.lo_device;
    loop->ino = info.lo_inode;
    loop->readOnly = info.lo_flags & LO_FLAGS_READ_ONLY;
    return fd;
}


/* Called with the mutex held. */
static bool
virStorageReflinkLoopRead(const char *name,
                          virStorageReflinkLoop *loop)
{
    virStorageReflinkKnownLoop *device = virStorageReflinkKnownLoopGet(name);
    /* before the device is asked: what happens in between makes what is known too old, but never wrong */
    unsigned long long sequence = virStorageReflinkLoopSequence(device, name);
    VIR_AUTOCLOSE fd = -1;

    if (sequence == 0 || sequence != device->sequence) {
        device->sequence = 0;
        if ((fd = virStorageReflinkLoopOpen(name, &device->loop)) < 0)
            return false;
        device->sequence = sequence;
    }
    *loop = device->loop;
    return true;
}


/* Returns what all loop devices have open. The kernel's list has what has a size, which a device without a file has
 * not; one whose file has no sector can neither read nor write. Only root can ask the devices, and without that nothing
 * is known of them. */
static GArray *
virStorageReflinkLoopsRead(void)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);
    GArray *loops = g_array_new(false, false, sizeof(virStorageReflinkLoop));
    g_autofree char *disks = NULL;
    char *next;

    if (virFileReadAllQuiet("/proc/partitions", DISK_LIST_MAX, &disks) < 0)
        return loops;

    next = disks;
    while ((next = strstr(next, " loop"))) {
        size_t len = strlen("loop") + strspn(next + 1 + strlen("loop"), "0123456789");
        g_autofree char *name = g_strndup(next + 1, len);
        virStorageReflinkLoop loop;

        next += 1 + len;
        if (*next == '\n' && virStorageReflinkLoopRead(name, &loop)) /* and not a partition of it */
            g_array_append_val(loops, loop);
    }
    return loops;
}


/* Returns one of the images that a loop device uses, or NULL. */
static const virStorageReflinkClaim *
virStorageReflinkFindLooped(const virStorageReflinkClaim *claims,
                            size_t nclaims,
                            virStorageReflinkExclude exclude)
{
    g_autoptr(GArray) loops = NULL;
    size_t i;
    size_t j;

    if (exclude == VIR_STORAGE_REFLINK_EXCLUDE_MACHINES)
        return NULL;
    loops = virStorageReflinkLoopsRead();

    for (i = 0; loops->len > 0 && i < nclaims; i++) {
        struct stat file;

        if (fstat(claims[i].fd, &file) < 0)
            continue;

        for (j = 0; j < loops->len; j++) {
            const virStorageReflinkLoop *loop = &g_array_index(loops, virStorageReflinkLoop, j);

            if (loop->dev == file.st_dev && loop->ino == file.st_ino &&
                (exclude == VIR_STORAGE_REFLINK_EXCLUDE_USERS || !loop->readOnly))
                return &claims[i];
        }
    }
    return NULL;
}


/* Locks all images, and then looks for loop devices: that is done once, since it takes its time where there are many. */
static int
virStorageReflinkExcludeImages(const virStorageReflinkClaim *claims,
                               size_t nclaims,
                               virStorageReflinkExclude exclude,
                               const virStorageReflinkClaim **used)
{
    size_t i;

    *used = NULL;
    for (i = 0; i < nclaims; i++) {
        bool taken = false;

        if (virStorageReflinkLockImage(claims[i].fd, exclude, &taken) < 0)
            return -1;
        if (taken) {
            *used = &claims[i];
            return 0;
        }
    }
    *used = virStorageReflinkFindLooped(claims, nclaims, exclude);
    return 0;
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
    const virStorageReflinkClaim claim = { .fd = fd };
    const virStorageReflinkClaim *found;

    if (virStorageReflinkExcludeImages(&claim, 1, exclude, &found) < 0)
        return -1;
    *used = found != NULL;
    return 0;
}


/**
 * virStorageReflinkExcludeAll:
 * @claims: images
 * @nclaims: how many
 * @exclude: whom to keep out
 *
 * As virStorageReflinkExcludeTry, of several images together.
 *
 * Returns 0, or -1 with an error, which names the image that is in use
 */
int
virStorageReflinkExcludeAll(const virStorageReflinkClaim *claims,
                            size_t nclaims,
                            virStorageReflinkExclude exclude)
{
    const virStorageReflinkClaim *used;

    if (virStorageReflinkExcludeImages(claims, nclaims, exclude, &used) < 0)
        return -1;
    if (!used)
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("volume '%1$s' is in use by a virtual machine or a loop device: stop or detach that first"),
                   used->name);
    return -1;
}


/* As virStorageReflinkExcludeAll, of one image. */
int
virStorageReflinkExcludeUse(int fd,
                            virStorageReflinkExclude exclude,
                            const char *name)
{
    const virStorageReflinkClaim claim = { .fd = fd, .name = name };

    return virStorageReflinkExcludeAll(&claim, 1, exclude);
}


/* Tells the loop devices on an image that its size has changed; also one that had no size, and is in no list of disks
 * therefore. */
void
virStorageReflinkLoopsResize(int fd)
{
    g_autoptr(DIR) dir = NULL;
    struct dirent *entry;
    struct stat file;

    if (fstat(fd, &file) < 0 || virDirOpenQuiet(&dir, "/sys/block") < 0)
        return;

    while (virDirRead(dir, &entry, NULL) > 0) {
        virStorageReflinkLoop loop;
        VIR_AUTOCLOSE device = -1;

        if (!STRPREFIX(entry->d_name, "loop") ||
            (device = virStorageReflinkLoopOpen(entry->d_name, &loop)) < 0 ||
            loop.dev != file.st_dev || loop.ino != file.st_ino)
            continue;
        if (ioctl(device, LOOP_SET_CAPACITY, 0) < 0)
            VIR_WARN("cannot tell /dev/%s its new size: %s", entry->d_name, g_strerror(errno));
    }
}
