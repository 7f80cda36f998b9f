/*
 * storage_fspool_archive_dirs.c: the directories of a tree that comes out of an archive
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_fspool_archive_dirs.h"

#include "storage_fspool_archive_node.h"
#include "storage_revision_file.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/*
 * Directories are ours alone (0700) until everything is in them. Then they get what the archive says, the deepest first,
 * if they still are the ones that were made: each is known by its inode.
 */

/* Of a directory that an archive uses, but does not have. */
#define IMPLIED_MODE 0755

/* All that is to be remembered of directories: a few million of them. */
#define SIZE_MAX_ALL (512ULL * 1024 * 1024)

/* What one takes beside its path. */
#define SIZE_OF_ONE (sizeof(virStorageFspoolArchiveDir) + 100)

/* A directory that was made. */
typedef struct _virStorageFspoolArchiveDir virStorageFspoolArchiveDir;
struct _virStorageFspoolArchiveDir {
    dev_t dev;
    ino_t ino;
    bool given;     /* the archive has an entry for it */
    virStorageFspoolArchiveFacts facts;
};


static void
virStorageFspoolArchiveDirFree(void *opaque)
{
    virStorageFspoolArchiveDir *dir = opaque;

    virStorageFspoolArchiveFactsClear(&dir->facts);
    g_free(dir);
}


/* @top: an empty directory, open for reading. Both stay the caller's. */
void
virStorageFspoolArchiveDirsInit(virStorageFspoolArchiveDirs *dirs,
                                int top,
                                const char *volume)
{
    dirs->volume = volume;
    dirs->top = top;
    dirs->lastFd = -1;
    dirs->made = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, virStorageFspoolArchiveDirFree);
}


void
virStorageFspoolArchiveDirsClear(virStorageFspoolArchiveDirs *dirs)
{
    if (!dirs->made)
        return;

    g_clear_pointer(&dirs->made, g_hash_table_unref);
    VIR_FREE(dirs->lastPath);
    VIR_FORCE_CLOSE(dirs->lastFd);
}


/* Errors that say that what was on the way to an entry is not a directory that we made. Returns -1, with an error. */
static int
virStorageFspoolArchiveDirsFail(virStorageFspoolArchiveDirs *dirs,
                                const char *path,
                                int err)
{
    if (err == ELOOP || err == ENOTDIR || err == EXDEV)
        return virStorageFspoolArchiveRefuse(dirs->volume, path,
                                             N_("it leads through something that is not a directory"));
    if (err == ESTALE)
        return virStorageFspoolArchiveRefuse(dirs->volume, path, N_("something else has taken its place"));
    return virStorageFspoolArchiveFail(dirs->volume, path, err);
}


static unsigned long long
virStorageFspoolArchiveDirSize(const char *path,
                               const virStorageFspoolArchiveFacts *facts)
{
    return SIZE_OF_ONE + strlen(path) +
        (facts && facts->acl ? facts->acl->len : 0) +
        (facts && facts->aclDefault ? facts->aclDefault->len : 0);
}


/**
 * virStorageFspoolArchiveDirsRemember:
 * @dirs: directories
 * @path: of one, which was made or is the top
 * @fd: the same
 * @facts: what the archive has of it; taken over. NULL: nothing
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolArchiveDirsRemember(virStorageFspoolArchiveDirs *dirs,
                                    const char *path,
                                    int fd,
                                    virStorageFspoolArchiveFacts *facts)
{
    virStorageFspoolArchiveDir *old = g_hash_table_lookup(dirs->made, path);
    g_autofree virStorageFspoolArchiveDir *dir = g_new0(virStorageFspoolArchiveDir, 1);
    struct stat sb;

    if (fstat(fd, &sb) < 0)
        return virStorageFspoolArchiveFail(dirs->volume, path, errno);

    if (old)
        dirs->size -= virStorageFspoolArchiveDirSize(path, &old->facts);
    dirs->size += virStorageFspoolArchiveDirSize(path, facts);
    if (dirs->size > SIZE_MAX_ALL)
        return virStorageFspoolArchiveRefuse(dirs->volume, path, N_("there are too many directories"));

    dir->dev = sb.st_dev;
    dir->ino = sb.st_ino;
    dir->facts.mode = IMPLIED_MODE;
    if (facts) {
        dir->given = true;
        dir->facts = *facts;
        memset(facts, 0, sizeof(*facts));
    }
    g_hash_table_replace(dirs->made, g_strdup(path), g_steal_pointer(&dir));
    return 0;
}


/**
 * virStorageFspoolArchiveDirsMake:
 * @dirs: directories
 * @dirfd: the one that it goes into
 * @path: of the new one
 * @base: its name in @dirfd
 *
 * Makes a directory, or opens the one that was made before.
 *
 * Returns a descriptor, or -1 with an error
 */
int
virStorageFspoolArchiveDirsMake(virStorageFspoolArchiveDirs *dirs,
                                int dirfd,
                                const char *path,
                                const char *base)
{
    virStorageFspoolArchiveDir *known = g_hash_table_lookup(dirs->made, path);
    VIR_AUTOCLOSE fd = -1;
    struct stat sb;
    int ret;

    if (!known && mkdirat(dirfd, base, 0700) < 0) {
        if (errno == EEXIST)
            return virStorageFspoolArchiveRefuse(dirs->volume, path, N_("there is something else of that name"));
        return virStorageFspoolArchiveFail(dirs->volume, path, errno);
    }
    if ((fd = virStorageRevOpenAt(dirfd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)) < 0)
        return virStorageFspoolArchiveDirsFail(dirs, path, errno);
    if (!known && virStorageFspoolArchiveDirsRemember(dirs, path, fd, NULL) < 0)
        return -1;
    if (known && (fstat(fd, &sb) < 0 || sb.st_dev != known->dev || sb.st_ino != known->ino))
        return virStorageFspoolArchiveDirsFail(dirs, path, ESTALE);

    ret = fd;
    fd = -1;
    return ret;
}


/* Makes whatever of a directory's path is missing. Returns a descriptor, or -1 with an error. */
static int
virStorageFspoolArchiveDirsMakePath(virStorageFspoolArchiveDirs *dirs,
                                    const char *path)
{
    VIR_AUTOCLOSE fd = virStorageFspoolArchiveOpenDir(dirs->top, "");
    g_auto(GStrv) parts = g_strsplit(path, "/", 0);
    g_autoptr(GString) done = g_string_new("");
    size_t i;
    int ret;

    if (fd < 0)
        return virStorageFspoolArchiveFail(dirs->volume, path, errno);

    for (i = 0; parts[i]; i++) {
        VIR_AUTOCLOSE next = -1;

        g_string_append_printf(done, "%s%s", i > 0 ? "/" : "", parts[i]);
        if ((next = virStorageFspoolArchiveDirsMake(dirs, fd, done->str, parts[i])) < 0)
            return -1;
        VIR_FORCE_CLOSE(fd);
        fd = next;
        next = -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


/* What is left of @path below the directory that is open, if it is below that, else NULL. */
static const char *
virStorageFspoolArchiveDirsBelowLast(virStorageFspoolArchiveDirs *dirs,
                                     const char *path)
{
    const char *rest;

    if (dirs->lastFd < 0)
        return NULL;
    if (*dirs->lastPath == '\0')
        return path;
    if (!(rest = STRSKIP(path, dirs->lastPath)) || *rest != '/')
        return NULL;
    return rest + 1;
}


/* Opens a directory, which is made if it is missing. Returns a descriptor, or -1 with an error. */
static int
virStorageFspoolArchiveDirsOpen(virStorageFspoolArchiveDirs *dirs,
                                const char *path)
{
    const char *rest = virStorageFspoolArchiveDirsBelowLast(dirs, path);
    virStorageFspoolArchiveDir *dir = g_hash_table_lookup(dirs->made, path);
    int fd;

    if (rest)
        fd = virStorageFspoolArchiveOpenDir(dirs->lastFd, rest);
    else if (dir)
        fd = virStorageFspoolArchiveReopenDir(dirs->top, path, dirs->lastFd, dir->dev, dir->ino);
    else
        fd = virStorageFspoolArchiveOpenDir(dirs->top, path);

    if (fd < 0 && errno == ENOENT)
        return virStorageFspoolArchiveDirsMakePath(dirs, path);
    if (fd < 0)
        return virStorageFspoolArchiveDirsFail(dirs, path, errno);
    return fd;
}


/**
 * virStorageFspoolArchiveDirsEnter:
 * @dirs: directories
 * @path: the one that the next entry goes into; it is made if it is missing
 *
 * Returns a descriptor, which stays ours, and is good until the next call, or -1 with an error
 */
int
virStorageFspoolArchiveDirsEnter(virStorageFspoolArchiveDirs *dirs,
                                 const char *path)
{
    if (dirs->lastFd < 0 || STRNEQ(dirs->lastPath, path)) {
        int fd = virStorageFspoolArchiveDirsOpen(dirs, path);

        if (fd < 0)
            return -1;
        VIR_FORCE_CLOSE(dirs->lastFd);
        dirs->lastFd = fd;
        g_free(dirs->lastPath);
        dirs->lastPath = g_strdup(path);
    }
    return dirs->lastFd;
}


static int
virStorageFspoolArchiveDirsFinishOne(virStorageFspoolArchiveDirs *dirs,
                                     const char *path,
                                     virStorageFspoolArchiveDir *dir)
{
    const char *shown = *path ? path : ".";
    int fd = virStorageFspoolArchiveReopenDir(dirs->top, path, dirs->lastFd, dir->dev, dir->ino);
    struct stat sb;

    if (fd < 0)
        return virStorageFspoolArchiveDirsFail(dirs, shown, errno);
    VIR_FORCE_CLOSE(dirs->lastFd);
    dirs->lastFd = fd;

    if (!dir->given) {
        if (fstat(fd, &sb) < 0)
            return virStorageFspoolArchiveFail(dirs->volume, shown, errno);
        dir->facts.mtime = sb.st_mtim;
    } else if (virStorageFspoolArchiveApplyOwner(fd, &dir->facts, dirs->volume, shown) < 0) {
        return -1;
    }
    return virStorageFspoolArchiveApplyMode(fd, &dir->facts, dirs->volume, shown);
}


static int
virStorageFspoolArchiveDirsCompare(const void *a,
                                   const void *b)
{
    return -strcmp(*(const char *const *) a, *(const char *const *) b);
}


/**
 * virStorageFspoolArchiveDirsFinish:
 * @dirs: directories, with all that is in them
 *
 * Gives them owners, modes and times, each after all that are below it. There is no entering any of them any more.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolArchiveDirsFinish(virStorageFspoolArchiveDirs *dirs)
{
    guint count;
    g_autofree char **paths = (char **) g_hash_table_get_keys_as_array(dirs->made, &count);
    size_t i;

    qsort(paths, count, sizeof(*paths), virStorageFspoolArchiveDirsCompare);
    for (i = 0; i < count; i++) {
        if (virStorageFspoolArchiveDirsFinishOne(dirs, paths[i], g_hash_table_lookup(dirs->made, paths[i])) < 0)
            return -1;
    }
    return 0;
}
