/*
 * storage_fspool_archive_node.c: what lies in a directory tree that others may change
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_fspool_archive_node.h"
#include "storage_fspool_name.h"

#include "storage_revision_file.h"
#include "virfile.h"

/* How much of a path is resolved at once: a name, and what is left of it, fit into the kernel's limit. */
#define PATH_PIECE (VIR_STORAGE_FSPOOL_PATH_MAX - NAME_MAX - 2)

/* How much of a name a message shows. */
#define SHOW_MAX 160


/* For calls that take no descriptor, or none opened with O_PATH. */
void
virStorageFspoolArchiveProcPath(virStorageFspoolArchiveProc path,
                                int fd)
{
    g_snprintf(path, sizeof(virStorageFspoolArchiveProc), "/proc/self/fd/%d", fd);
}


/**
 * virStorageFspoolArchiveOpenDir:
 * @dirfd: top of the tree
 * @path: directory below it, "" for the top; of any length, without ".." parts
 *
 * Returns a descriptor, or -1 with errno
 */
int
virStorageFspoolArchiveOpenDir(int dirfd,
                               const char *path)
{
    VIR_AUTOCLOSE fd = virStorageRevOpenAt(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
    int ret;

    while (fd >= 0 && *path) {
        size_t len = strlen(path);
        g_autofree char *piece = NULL;
        VIR_AUTOCLOSE next = -1;

        if (len > PATH_PIECE) {
            const char *slash = g_strrstr_len(path, PATH_PIECE, "/");

            if (!slash) {
                errno = ENAMETOOLONG;
                return -1;
            }
            len = slash - path;
        }
        piece = g_strndup(path, len);
        path += path[len] == '/' ? len + 1 : len;

        if ((next = virStorageRevOpenAt(fd, piece, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)) < 0)
            return -1;
        VIR_FORCE_CLOSE(fd);
        fd = next;
        next = -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


static bool
virStorageFspoolArchiveIsDir(int fd,
                             dev_t dev,
                             ino_t ino)
{
    struct stat sb;

    return fd >= 0 && fstat(fd, &sb) == 0 && sb.st_dev == dev && sb.st_ino == ino;
}


/**
 * virStorageFspoolArchiveReopenDir:
 * @dirfd: top of the tree
 * @path: directory below it, "" for the top
 * @below: a directory in that one, if one is open, else -1
 * @dev: what it was
 * @ino: what it was
 *
 * Opens a directory again. One step up from @below is the same as the whole way down, if it leads to the same directory,
 * and is much shorter in a deep tree.
 *
 * Returns a descriptor, or -1 with errno; ESTALE when something else has its name now
 */
int
virStorageFspoolArchiveReopenDir(int dirfd,
                                 const char *path,
                                 int below,
                                 dev_t dev,
                                 ino_t ino)
{
    VIR_AUTOCLOSE fd = -1;
    int ret;

    if (below >= 0)
        fd = openat(below, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (!virStorageFspoolArchiveIsDir(fd, dev, ino)) {
        VIR_FORCE_CLOSE(fd);
        if ((fd = virStorageFspoolArchiveOpenDir(dirfd, path)) < 0)
            return -1;
        if (!virStorageFspoolArchiveIsDir(fd, dev, ino)) {
            errno = ESTALE;
            return -1;
        }
    }

    ret = fd;
    fd = -1;
    return ret;
}


/* A name, which may be of any bytes and length, as a message can show it. */
char *
virStorageFspoolArchiveShow(const char *path)
{
    size_t len = strlen(path);
    g_autofree char *end = g_strndup(path, SHOW_MAX);
    g_autofree char *valid = g_utf8_make_valid(end, -1);
    char *c;

    for (c = valid; *c; c++) {
        if (g_ascii_iscntrl(*c))
            *c = '?';
    }
    return g_strdup_printf("%s%s", valid, len > SHOW_MAX ? "..." : "");
}


/* Returns the directory part of a path, "" for the top, and sets where its last part begins. */
char *
virStorageFspoolArchiveParent(const char *path,
                              const char **base)
{
    const char *slash = strrchr(path, '/');

    *base = slash ? slash + 1 : path;
    return g_strndup(path, slash ? slash - path : 0);
}
