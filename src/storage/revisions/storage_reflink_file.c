/*
 * storage_reflink_file.c: image files below a pool's directory
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "storage_reflink_file.h"

#include "storage_reflink_name.h"
#include "viralloc.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* As libvirt's own directory pools have it: an emulator can pass, nobody can look. */
#define VOLUME_DIR_MODE 0711


/* Makes the directories of a nested name that are missing; each is durable before the next is made in it. */
static int
virStorageReflinkDirMake(int poolfd,
                         const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", 0);
    g_autofree char *prefix = NULL;
    size_t i;

    for (i = 0; parts[i]; i++) {
        g_autofree char *parent = g_strdup(prefix ? prefix : ".");
        VIR_AUTOCLOSE parentfd = -1;
        char *next = prefix ? g_strdup_printf("%s/%s", prefix, parts[i]) : g_strdup(parts[i]);

        g_free(prefix);
        prefix = next;

        if ((parentfd = virStorageRevOpenAt(poolfd, parent, O_RDONLY | O_DIRECTORY, 0)) < 0)
            return -1;
        if (mkdirat(parentfd, parts[i], VOLUME_DIR_MODE) < 0) {
            if (errno == EEXIST)
                continue;
            return -1;
        }
        if (fsync(parentfd) < 0)
            return -1;
    }
    return 0;
}


/**
 * virStorageReflinkDirOpen:
 * @dir: filled; to be cleared
 * @poolPath: the pool's directory
 * @volume: name of a volume
 * @create: whether to make directories that are missing
 *
 * Returns 0, or -1 with an error
 */
int
virStorageReflinkDirOpen(virStorageReflinkDir *dir,
                         const char *poolPath,
                         const char *volume,
                         bool create)
{
    const char *slash = strrchr(volume, '/');
    g_autofree char *path = slash ? g_strndup(volume, slash - volume) : g_strdup(".");
    VIR_AUTOCLOSE poolfd = -1;

    dir->base = slash ? slash + 1 : volume;

    if ((poolfd = open(poolPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
        virReportSystemError(errno, _("cannot open the pool's directory '%1$s'"), poolPath);
        return -1;
    }

    dir->fd = virStorageRevOpenAt(poolfd, path, O_RDONLY | O_DIRECTORY, 0);
    if (dir->fd < 0 && errno == ENOENT && create) {
        if (virStorageReflinkDirMake(poolfd, path) < 0) {
            virReportSystemError(errno, _("cannot make the directory of volume '%1$s'"), volume);
            return -1;
        }
        dir->fd = virStorageRevOpenAt(poolfd, path, O_RDONLY | O_DIRECTORY, 0);
    }
    if (dir->fd < 0) {
        virReportSystemError(errno,
                             _("cannot open the directory of volume '%1$s', which may not be or contain a symbolic link or a mount point"),
                             volume);
        return -1;
    }
    return 0;
}


int
virStorageReflinkDirSync(virStorageReflinkDir *dir,
                         const char *volume)
{
    if (fsync(dir->fd) == 0)
        return 0;

    virReportSystemError(errno, _("cannot make a change of volume '%1$s' durable"), volume);
    return -1;
}


/* Removes the directories of a nested name that have become empty; that they have not is no error. */
void
virStorageReflinkDirPrune(const char *poolPath,
                          const char *volume)
{
    g_autofree char *path = g_strdup(volume);
    VIR_AUTOCLOSE poolfd = open(poolPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *slash;

    while (poolfd >= 0 && (slash = strrchr(path, '/'))) {
        VIR_AUTOCLOSE parentfd = -1;
        char *name;

        *slash = '\0';
        name = strrchr(path, '/');
        if (name)
            *name++ = '\0';
        parentfd = virStorageRevOpenAt(poolfd, name ? path : ".", O_RDONLY | O_DIRECTORY, 0);
        if (parentfd < 0 || unlinkat(parentfd, name ? name : path, AT_REMOVEDIR) < 0)
            break;
        if (name)
            name[-1] = '/';
    }
}


void
virStorageReflinkDirClear(virStorageReflinkDir *dir)
{
    VIR_FORCE_CLOSE(dir->fd);
}


/**
 * virStorageReflinkFileOpen:
 * @dir: directory of the volume
 * @file: name of the file in it
 * @oflags: of open(2)
 * @name: of the volume, for errors
 *
 * Returns a file descriptor of a regular file, or -1 with an error
 */
int
virStorageReflinkFileOpen(virStorageReflinkDir *dir,
                          const char *file,
                          int oflags,
                          const char *name)
{
    VIR_AUTOCLOSE fd = virStorageRevOpenAt(dir->fd, file, oflags, 0);
    struct stat sb;
    int ret;

    if (fd < 0 || fstat(fd, &sb) < 0) {
        virReportSystemError(errno, _("cannot open volume '%1$s'"), name);
        return -1;
    }
    if (!S_ISREG(sb.st_mode)) {
        virReportError(VIR_ERR_OPERATION_FAILED, _("volume '%1$s' is not a regular file any more: refresh the pool"), name);
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


/* Removes a file; that it is gone already is no error. */
int
virStorageReflinkFileRemove(virStorageReflinkDir *dir,
                            const char *file,
                            const char *name)
{
    if (unlinkat(dir->fd, file, 0) == 0 || errno == ENOENT)
        return 0;

    virReportSystemError(errno, _("cannot remove volume '%1$s'"), name);
    return -1;
}


/**
 * virStorageReflinkStageLock:
 * @fd: staging file
 *
 * The lock is that of flock(2), and lives as long as the open file: it tells staging in use, by whatever process, from
 * what a process that died has left.
 *
 * Returns 0, or -1 with errno; EWOULDBLOCK when a living process holds it
 */
int
virStorageReflinkStageLock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB);
}


/**
 * virStorageReflinkStageClear:
 * @dir: directory of the volume, whose lock is held
 * @volume: volume
 *
 * Removes staging of a process that died.
 *
 * Returns 0, or -1 with VIR_ERR_OPERATION_INVALID when an upload is under way
 */
int
virStorageReflinkStageClear(virStorageReflinkDir *dir,
                            const char *volume)
{
    g_autofree char *stage = virStorageReflinkNameFormat(VIR_STORAGE_REFLINK_STAGE, dir->base, 0, 0, NULL);
    VIR_AUTOCLOSE fd = virStorageRevOpenAt(dir->fd, stage, O_RDWR, 0);

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd >= 0 && virStorageReflinkStageLock(fd) < 0) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("an upload to volume '%1$s' is under way"), volume);
        return -1;
    }
    return virStorageReflinkFileRemove(dir, stage, volume);
}


static int
virStorageReflinkImageCreateStaged(virStorageReflinkImage *image,
                                   virStorageReflinkDir *dir,
                                   const char *name)
{
    g_autofree char *stage = virStorageReflinkNameFormat(VIR_STORAGE_REFLINK_STAGE, dir->base, 0, 0, NULL);

    image->fd = virStorageRevOpenAt(dir->fd, stage, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (image->fd < 0 && errno == EEXIST) {
        if (virStorageReflinkStageClear(dir, name) < 0)
            return -1;
        image->fd = virStorageRevOpenAt(dir->fd, stage, O_RDWR | O_CREAT | O_EXCL, 0600);
    }
    if (image->fd < 0) {
        virReportSystemError(errno, _("cannot create an image for volume '%1$s'"), name);
        return -1;
    }

    image->stage = g_steal_pointer(&stage);
    if (virStorageReflinkStageLock(image->fd) < 0) {
        virReportSystemError(errno, _("cannot lock the staging of volume '%1$s'"), name);
        return -1;
    }
    return 0;
}


/**
 * virStorageReflinkImageCreate:
 * @image: filled; to be cleared, which removes what was not installed
 * @dir: directory of the volume
 * @staged: whether the image needs a name before it is complete, since it takes long or replaces another
 * @name: of the volume, for errors
 *
 * Makes an empty image that nobody else can read (0600). Without a name it leaves nothing behind, whenever the process
 * dies.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageReflinkImageCreate(virStorageReflinkImage *image,
                             virStorageReflinkDir *dir,
                             bool staged,
                             const char *name)
{
    image->dirfd = dir->fd;

    if (!staged) {
        image->fd = virStorageRevOpenAt(dir->fd, ".", O_TMPFILE | O_RDWR, 0600);
        if (image->fd >= 0)
            return 0;
        if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT) {
            virReportSystemError(errno, _("cannot create an image for volume '%1$s'"), name);
            return -1;
        }
    }
    return virStorageReflinkImageCreateStaged(image, dir, name);
}


/**
 * virStorageReflinkFileLink:
 * @fd: file without a name
 * @dirfd: directory
 * @file: name that is no state's
 *
 * What has that name already is removed: the file keeps nobody from making another one, the volume's lock does, so that
 * it is what a process that died has left.
 *
 * Returns 0, or -1 with errno
 */
int
virStorageReflinkFileLink(int fd,
                          int dirfd,
                          const char *file)
{
    /* AT_EMPTY_PATH would need a capability that a session daemon has not */
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);

    if (linkat(AT_FDCWD, path, dirfd, file, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno != EEXIST || unlinkat(dirfd, file, 0) < 0)
        return -1;
    return linkat(AT_FDCWD, path, dirfd, file, AT_SYMLINK_FOLLOW);
}


/* A file without a name keeps nobody from removing its directory, when that is left empty by a volume's deletion. */
static int
virStorageReflinkImageRelink(virStorageReflinkImage *image,
                             virStorageReflinkDir *dir,
                             const char *poolPath,
                             const char *volume,
                             const char *stage)
{
    VIR_FORCE_CLOSE(dir->fd);
    if (virStorageReflinkDirOpen(dir, poolPath, volume, true) < 0)
        return -1;
    image->dirfd = dir->fd;
    return virStorageReflinkFileLink(image->fd, dir->fd, stage);
}


static int
virStorageReflinkImageLink(virStorageReflinkImage *image,
                           virStorageReflinkDir *dir,
                           const char *poolPath,
                           const char *volume)
{
    g_autofree char *stage = virStorageReflinkNameFormat(VIR_STORAGE_REFLINK_NEW, dir->base, 0, 0, NULL);
    int rc = virStorageReflinkStageLock(image->fd);

    if (rc == 0)
        rc = virStorageReflinkFileLink(image->fd, dir->fd, stage);
    if (rc < 0 && errno == ENOENT)
        rc = virStorageReflinkImageRelink(image, dir, poolPath, volume, stage);
    if (rc < 0) {
        virReportSystemError(errno, _("cannot create an image for volume '%1$s'"), volume);
        return -1;
    }
    image->stage = g_steal_pointer(&stage);
    return 0;
}


/**
 * virStorageReflinkImageSync:
 * @image: complete
 * @dir: directory of the volume
 * @poolPath: the pool's directory
 * @volume: volume
 *
 * Makes it durable. To Btrfs, fsync(2) of a file without any name means nothing, and one of the directory makes a new
 * name durable without what it names: the image gets a name that is no state's first.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageReflinkImageSync(virStorageReflinkImage *image,
                           virStorageReflinkDir *dir,
                           const char *poolPath,
                           const char *volume)
{
    if (!image->stage && virStorageReflinkImageLink(image, dir, poolPath, volume) < 0)
        return -1;
    return virStorageRevSync(image->fd, volume);
}


/**
 * virStorageReflinkImageInstall:
 * @image: complete and durable
 * @dir: directory of the volume
 * @file: name of a file that does not exist
 * @name: of the volume, for errors
 *
 * Returns 0, or -1 with an error, when a file of that name came into being among others
 */
int
virStorageReflinkImageInstall(virStorageReflinkImage *image,
                              virStorageReflinkDir *dir,
                              const char *file,
                              const char *name)
{
    if (renameat2(dir->fd, image->stage, dir->fd, file, RENAME_NOREPLACE) < 0) {
        virReportSystemError(errno, _("cannot create volume '%1$s'"), name);
        return -1;
    }
    VIR_FREE(image->stage);
    return 0;
}


/* Puts a staged image, complete and durable, in the place of @file. */
int
virStorageReflinkImageReplace(virStorageReflinkImage *image,
                              virStorageReflinkDir *dir,
                              const char *file,
                              const char *name)
{
    if (renameat(dir->fd, image->stage, dir->fd, file) < 0) {
        virReportSystemError(errno, _("cannot replace volume '%1$s'"), name);
        return -1;
    }
    VIR_FREE(image->stage);
    return 0;
}


/* Closes an image; one that has got no name of its own is removed. */
void
virStorageReflinkImageClear(virStorageReflinkImage *image)
{
    if (image->stage)
        unlinkat(image->dirfd, image->stage, 0);
    VIR_FREE(image->stage);
    VIR_FORCE_CLOSE(image->fd);
}
