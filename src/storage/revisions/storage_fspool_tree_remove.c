/*
 * storage_fspool_tree_remove.c: removing a directory tree
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "storage_fspool_tree_entry.h"

#include "storage_fspool_subvolume.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virrandom.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_tree_remove");

/*
 * All levels that are being worked on are open, and there are no more than DEPTH_MAX of them. A directory that lies
 * deeper, and is not empty, is moved up into the top of the tree, under a name of its own, and removed from there. So
 * the way back up never is a path or "..", which others could have changed. After an interruption what was moved is an
 * entry like any other.
 *
 * A subvolume of Btrfs goes by one call of the kernel, unless there are others in it. Nothing but a subvolume can be
 * moved from one to another: so those that have others in them are moved up into the top, too, and what lies too deep
 * in them, into theirs.
 */
#define DEPTH_MAX 32

/* Directories in one that are noted before the first of them is removed. */
#define NOTED_MAX 4096

/* How often a directory may turn out to have entries again after all were removed, before we give up: somebody makes
 * new ones. */
#define RETRIES_MAX 1000

/* Names in the top that others might have made, too. */
#define MOVE_TRIES 16

typedef struct _virStorageFspoolTreeLevel virStorageFspoolTreeLevel;
struct _virStorageFspoolTreeLevel {
    virStorageFspoolTreeNode *node;
    int fd;
    GQueue dirs; /* directories in it that were found, and not removed yet */
    bool subvolume;
    bool read;   /* has been read at least once */
    bool found;  /* whether anything was in it when it was read last */
};

typedef struct _virStorageFspoolTreeRemover virStorageFspoolTreeRemover;
struct _virStorageFspoolTreeRemover {
    const char *item;
    virStorageFspoolTreeCancelled cancelled; /* or NULL */
    virStorageFspoolTreeLevel levels[DEPTH_MAX];
    size_t depth;
    virStorageFspoolTreeReader reader;
    unsigned int retries;
    unsigned int moves;
};


static virStorageFspoolTreeLevel *
virStorageFspoolTreeRemoverLevel(virStorageFspoolTreeRemover *remover)
{
    return &remover->levels[remover->depth - 1];
}


/* Goes on in a directory, and takes over its descriptor. */
static void
virStorageFspoolTreeDescend(virStorageFspoolTreeRemover *remover,
                            const char *name,
                            int *fd,
                            bool subvolume)
{
    virStorageFspoolTreeNode *parent = remover->depth > 0 ? virStorageFspoolTreeRemoverLevel(remover)->node : NULL;
    virStorageFspoolTreeLevel *level = &remover->levels[remover->depth++];

    memset(level, 0, sizeof(*level));
    level->node = virStorageFspoolTreeNodeNew(parent, name);
    level->subvolume = subvolume;
    g_queue_init(&level->dirs);
    level->fd = *fd;
    *fd = -1;
}


static void
virStorageFspoolTreeAscend(virStorageFspoolTreeRemover *remover)
{
    virStorageFspoolTreeLevel *level = &remover->levels[--remover->depth];
    char *name;

    while ((name = g_queue_pop_head(&level->dirs)))
        g_free(name);
    VIR_FORCE_CLOSE(level->fd);
    g_clear_pointer(&level->node, virStorageFspoolTreeNodeUnref);
}


static void
virStorageFspoolTreeRemoverClear(virStorageFspoolTreeRemover *remover)
{
    while (remover->depth > 0)
        virStorageFspoolTreeAscend(remover);
    virStorageFspoolTreeReaderClear(&remover->reader);
}


/* Is what is open marked so that it, or what is in it, cannot be removed? */
static bool
virStorageFspoolTreeIsImmutable(int fd)
{
    struct statx sx;

    return virStorageFspoolTreeStat(fd, &sx) == 0 &&
        (sx.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) != 0;
}


static int
virStorageFspoolTreeReportImmutable(const char *item,
                                    const virStorageFspoolTreeNode *node,
                                    const char *name)
{
    g_autofree char *text = virStorageFspoolTreeText(node, name);

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("'%1$s' in volume '%2$s' is marked immutable or append-only: see chattr(1)"),
                   text, item);
    return -1;
}


/* Reports why entry @name of directory @dirfd, which is @node, or NULL when the entry is the tree itself, cannot be
 * removed: that is in errno. A mark that forbids it is somebody's will, and stays. */
static int
virStorageFspoolTreeReportRemove(const char *item,
                                 const virStorageFspoolTreeNode *node,
                                 int dirfd,
                                 const char *name)
{
    int err = errno;
    const char *shown = node ? name : NULL;
    VIR_AUTOCLOSE pin = virStorageFspoolTreeOpen(dirfd, name, O_PATH | O_NOFOLLOW);
    g_autofree char *text = NULL;

    if (pin < 0 && errno == EXDEV)
        return virStorageFspoolTreeReportMount(item, node, shown);
    if (err == EPERM && pin >= 0 && virStorageFspoolTreeIsImmutable(pin))
        return virStorageFspoolTreeReportImmutable(item, node, shown);
    if (err == EPERM && virStorageFspoolTreeIsImmutable(dirfd))
        return virStorageFspoolTreeReportImmutable(item, node, NULL);

    text = virStorageFspoolTreeText(node, shown);
    virReportSystemError(err, _("cannot remove '%1$s' of volume '%2$s'"), text, item);
    return -1;
}


/* Something is there again, or still. Returns 0 when that may be tried once more, or -1 with an error. */
static int
virStorageFspoolTreeRetry(virStorageFspoolTreeRemover *remover,
                          const virStorageFspoolTreeNode *node)
{
    g_autofree char *text = NULL;

    if (++remover->retries <= RETRIES_MAX)
        return 0;

    text = virStorageFspoolTreeText(node, NULL);
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("'%1$s' of volume '%2$s' cannot be removed, since it is being written to"), text, remover->item);
    return -1;
}


/* With quotas of projects, a directory can only be moved to where new ones get the same project. Returns whether the
 * one that is open as @fd has been given that of @topfd. */
static bool
virStorageFspoolTreeTakeProject(int fd,
                                int topfd)
{
    struct fsxattr have;
    struct fsxattr want;

    if (ioctl(fd, FS_IOC_FSGETXATTR, &have) < 0 ||
        ioctl(topfd, FS_IOC_FSGETXATTR, &want) < 0 ||
        have.fsx_projid == want.fsx_projid)
        return false;

    have.fsx_projid = want.fsx_projid;
    return ioctl(fd, FS_IOC_FSSETXATTR, &have) == 0;
}


/* Moves directory @name of the deepest level, which is open as @fd, up into @top. */
static int
virStorageFspoolTreeMoveUp(virStorageFspoolTreeRemover *remover,
                           const char *name,
                           int fd,
                           virStorageFspoolTreeLevel *top)
{
    virStorageFspoolTreeLevel *level = virStorageFspoolTreeRemoverLevel(remover);
    size_t i;

    for (i = 0; i < MOVE_TRIES; i++) {
        g_autofree char *moved = g_strdup_printf(".removed-%016llx", (unsigned long long) virRandomBits(64));

        /* replaces nothing but, at worst, an empty directory */
        if (renameat(level->fd, name, top->fd, moved) == 0) {
            g_queue_push_tail(&top->dirs, g_steal_pointer(&moved));
            remover->moves++;
            return 0;
        }
        if (errno == ENOENT)
            return 0;
        if (errno == EXDEV && virStorageFspoolTreeTakeProject(fd, top->fd))
            continue;
        if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR && errno != EISDIR)
            break;
    }
    return virStorageFspoolTreeReportRemove(remover->item, level->node, level->fd, name);
}


/* Removes what is no directory; a directory is noted. */
static int
virStorageFspoolTreeRemoveOther(virStorageFspoolTreeRemover *remover,
                                virStorageFspoolTreeLevel *level,
                                const char *name)
{
    if (unlinkat(level->fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return virStorageFspoolTreeReportRemove(remover->item, level->node, level->fd, name);

    g_queue_push_tail(&level->dirs, g_strdup(name));
    return 0;
}


/* Destroys the subvolume that is open as @fd. Returns 1 when it is gone, 0 when what is in it has to be removed
 * first, or -1 with errno. */
static int
virStorageFspoolTreeDestroy(int dirfd,
                            const char *name,
                            int fd)
{
    if (virStorageFspoolSubvolumeDestroy(dirfd, name) == 0 || errno == ENOENT)
        return 1;

    /* Without privileges it can only be removed as a directory, when it is empty. */
    if (errno != ENOTEMPTY && !(errno == EPERM && geteuid() != 0))
        return -1;

    if (virStorageFspoolSubvolumeIsReadonly(fd))
        return virStorageFspoolSubvolumeSetReadonly(fd, false);
    return 0;
}


/**
 * virStorageFspoolTreeRemoveOne:
 * @dirfd: directory
 * @name: entry of it
 * @fd: set to the open directory, when it is one that is not empty
 * @subvolume: set to whether that is a subvolume
 *
 * Removes what can be removed by a single call.
 *
 * Returns 1 when the entry is gone, 0 when @fd is set, 2 when it has changed meanwhile, or -1 with errno
 */
static int
virStorageFspoolTreeRemoveOne(int dirfd,
                              const char *name,
                              int *fd,
                              bool *subvolume)
{
    int rc;

    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 1;
    if (errno == ENOTDIR) {
        if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
            return 1;
        return errno == EISDIR ? 2 : -1;
    }
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -1;

    if ((*fd = virStorageFspoolTreeOpen(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)) < 0) {
        if (errno == ENOENT)
            return 1;
        return errno == ENOTDIR || errno == ELOOP ? 2 : -1;
    }

    if (!(*subvolume = virStorageFspoolIsSubvolume(*fd)))
        return 0;
    if ((rc = virStorageFspoolTreeDestroy(dirfd, name, *fd)) != 0)
        VIR_FORCE_CLOSE(*fd);
    return rc;
}


/* Removes a directory of the deepest level, or goes on in it. */
static int
virStorageFspoolTreeRemoveDirectory(virStorageFspoolTreeRemover *remover,
                                    virStorageFspoolTreeLevel *level,
                                    const char *name)
{
    virStorageFspoolTreeLevel *top = &remover->levels[0];
    VIR_AUTOCLOSE fd = -1;
    bool subvolume = false;
    int rc = virStorageFspoolTreeRemoveOne(level->fd, name, &fd, &subvolume);

    if (rc < 0)
        return virStorageFspoolTreeReportRemove(remover->item, level->node, level->fd, name);
    if (rc == 1)
        return 0;
    if (rc == 2) {
        g_queue_push_tail(&level->dirs, g_strdup(name));
        return virStorageFspoolTreeRetry(remover, level->node);
    }

    if (subvolume && level != top)
        return virStorageFspoolTreeMoveUp(remover, name, fd, top);
    if (remover->depth == DEPTH_MAX)
        return virStorageFspoolTreeMoveUp(remover, name, fd, remover->levels[1].subvolume ? &remover->levels[1] : top);

    virStorageFspoolTreeDescend(remover, name, &fd, subvolume);
    return 0;
}


/* Asked for each entry: one directory can have millions. */
static int
virStorageFspoolTreeCheckWanted(virStorageFspoolTreeRemover *remover)
{
    if (!remover->cancelled || !remover->cancelled())
        return 0;

    virReportError(VIR_ERR_OPERATION_ABORTED, _("the removal of volume '%1$s' was interrupted"), remover->item);
    return -1;
}


/* Removes what is no directory, and notes what is. */
static int
virStorageFspoolTreeRemoveRead(virStorageFspoolTreeRemover *remover,
                               virStorageFspoolTreeLevel *level)
{
    const struct dirent64 *entry;
    int rc = virStorageFspoolTreeReaderStart(&remover->reader, level->fd, 0);

    level->read = true;
    level->found = false;
    while (rc == 0 && (rc = virStorageFspoolTreeReaderNext(&remover->reader, level->fd, &entry)) > 0) {
        level->found = true;
        if (entry->d_type == DT_DIR)
            g_queue_push_tail(&level->dirs, g_strdup(entry->d_name));
        else if (virStorageFspoolTreeCheckWanted(remover) < 0 ||
                 virStorageFspoolTreeRemoveOther(remover, level, entry->d_name) < 0)
            return -1;

        if (level->dirs.length >= NOTED_MAX) {
            level->read = false; /* there is more */
            return 0;
        }
        rc = 0;
    }

    if (rc < 0) {
        g_autofree char *text = virStorageFspoolTreeText(level->node, NULL);

        virReportSystemError(errno, _("cannot read '%1$s' of volume '%2$s'"), text, remover->item);
    }
    return rc;
}


/* The deepest level was read, and all that was found is gone: so it can go, too. If it cannot, it is a directory
 * like any other again, to be found under whatever its name stands for by now. */
static int
virStorageFspoolTreeRemoveLevel(virStorageFspoolTreeRemover *remover)
{
    virStorageFspoolTreeLevel *level = virStorageFspoolTreeRemoverLevel(remover);
    virStorageFspoolTreeLevel *parent = level - 1;
    g_autofree char *name = g_strdup(level->node->name);
    bool gone = (level->subvolume && virStorageFspoolSubvolumeDestroy(parent->fd, name) == 0) ||
        unlinkat(parent->fd, name, AT_REMOVEDIR) == 0 ||
        errno == ENOENT;
    int err = errno;

    virStorageFspoolTreeAscend(remover);
    if (gone)
        return 0;

    if (err != ENOTEMPTY && err != EEXIST && err != ENOTDIR) {
        errno = err;
        return virStorageFspoolTreeReportRemove(remover->item, parent->node, parent->fd, name);
    }
    g_queue_push_tail(&parent->dirs, g_steal_pointer(&name));
    return virStorageFspoolTreeRetry(remover, parent->node);
}


static int
virStorageFspoolTreeRemoveStep(virStorageFspoolTreeRemover *remover,
                               bool *done)
{
    virStorageFspoolTreeLevel *level = virStorageFspoolTreeRemoverLevel(remover);
    g_autofree char *name = g_queue_pop_head(&level->dirs);

    if (virStorageFspoolTreeCheckWanted(remover) < 0)
        return -1;
    if (name)
        return virStorageFspoolTreeRemoveDirectory(remover, level, name);
    if (!level->read)
        return virStorageFspoolTreeRemoveRead(remover, level);
    if (remover->depth > 1)
        return virStorageFspoolTreeRemoveLevel(remover);

    /* That the top is empty nobody will say but itself. */
    if (!level->found) {
        *done = true;
        return 0;
    }
    if (virStorageFspoolTreeRetry(remover, level->node) < 0)
        return -1;
    return virStorageFspoolTreeRemoveRead(remover, level);
}


/* Removes all that is in directory @fd, which is closed. */
static int
virStorageFspoolTreeRemoveContent(virStorageFspoolTreeRemover *remover,
                                  int *fd)
{
    bool done = false;
    int rc = 0;

    virStorageFspoolTreeDescend(remover, "", fd, false);
    while (rc == 0 && !done)
        rc = virStorageFspoolTreeRemoveStep(remover, &done);

    while (remover->depth > 0)
        virStorageFspoolTreeAscend(remover);
    if (rc == 0 && remover->moves > 0)
        VIR_INFO("the tree of volume '%s' was deep: %u directories were moved up", remover->item, remover->moves);
    return rc;
}


/* Looks for mount points below what is open. Each step would meet them, but some only after much had been removed, and
 * those in a subvolume never: the kernel detaches them. */
static int
virStorageFspoolTreeCheckMounts(int fd,
                                const char *item)
{
    g_autofree char *link = virStorageFspoolTreeProcPath(fd);
    g_autofree char *path = g_file_read_link(link, NULL);
    g_auto(GStrv) mounts = NULL;
    size_t nmounts = 0;
    size_t i;

    if (!path) {
        virReportSystemError(errno, _("cannot find out where volume '%1$s' lies"), item);
        return -1;
    }
    if (virFileGetMountSubtree("/proc/self/mounts", path, &mounts, &nmounts) < 0)
        return -1;

    for (i = 0; i < nmounts; i++) {
        if (STRNEQ(mounts[i], path))
            return virStorageFspoolTreeReportMount(item, NULL, mounts[i] + strlen(path) + 1);
    }
    return 0;
}


/* Returns 1 when there is something to remove, 0 when there is not, or -1 with an error. */
static int
virStorageFspoolTreeRemoveCheck(int dirfd,
                                const char *entry,
                                const char *item)
{
    VIR_AUTOCLOSE pin = -1;
    struct statx sx;

    if (!*entry || STREQ(entry, ".") || STREQ(entry, "..") || strchr(entry, '/')) {
        virReportError(VIR_ERR_INTERNAL_ERROR,
                       _("what is to be removed of volume '%1$s' is no entry of a directory"), item);
        return -1;
    }

    pin = virStorageFspoolTreeOpen(dirfd, entry, O_PATH | O_NOFOLLOW);
    if (pin < 0 && errno == ENOENT)
        return 0;
    if (pin < 0 && errno == EXDEV)
        return virStorageFspoolTreeReportMount(item, NULL, NULL);
    if (pin < 0 || virStorageFspoolTreeStat(pin, &sx) < 0) {
        virReportSystemError(errno, _("cannot remove volume '%1$s'"), item);
        return -1;
    }
    if (S_ISDIR(sx.stx_mode) && virStorageFspoolTreeCheckMounts(pin, item) < 0)
        return -1;
    return 1;
}


/**
 * virStorageFspoolTreeRemove:
 * @dirfd: directory
 * @entry: of it, of whatever kind; that it is missing is no error
 * @name: of the volume, for errors
 * @cancelled: whether to leave the rest to another call, asked again and again; or NULL
 *
 * Removes a directory, with all in it. It can be interrupted at any time, and is finished by another call then. A
 * subvolume of Btrfs without others in it takes one call of the kernel; quota groups stay. What somebody moves out of
 * the tree while its content is being removed may lose that. Nothing is durable before a sync of the directory.
 *
 * Returns 0, or -1 with an error: VIR_ERR_OPERATION_INVALID when there is a mount point, or something immutable,
 * VIR_ERR_OPERATION_ABORTED when it was cancelled
 */
int
virStorageFspoolTreeRemove(int dirfd,
                           const char *entry,
                           const char *name,
                           virStorageFspoolTreeCancelled cancelled)
{
    virStorageFspoolTreeRemover remover = { .item = name, .cancelled = cancelled };
    int rc = virStorageFspoolTreeRemoveCheck(dirfd, entry, name);

    while (rc > 0) {
        VIR_AUTOCLOSE fd = -1;
        bool subvolume = false;
        int one = virStorageFspoolTreeRemoveOne(dirfd, entry, &fd, &subvolume);

        if (one == 1)
            rc = 0;
        else if (one < 0)
            rc = virStorageFspoolTreeReportRemove(name, NULL, dirfd, entry);
        else if (virStorageFspoolTreeRetry(&remover, NULL) < 0 ||
                 (one == 0 && virStorageFspoolTreeRemoveContent(&remover, &fd) < 0))
            rc = -1;
    }
    virStorageFspoolTreeRemoverClear(&remover);
    return rc;
}


/**
 * virStorageFspoolTreeEmpty:
 * @fd: directory, which may be a mount point itself
 * @name: of the volume, for errors
 *
 * As virStorageFspoolTreeRemove(), but the directory itself stays as it is.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolTreeEmpty(int fd,
                          const char *name)
{
    virStorageFspoolTreeRemover remover = { .item = name };
    VIR_AUTOCLOSE own = virStorageFspoolTreeOpen(fd, ".", O_RDONLY | O_DIRECTORY);
    int rc;

    if (own < 0) {
        virReportSystemError(errno, _("cannot read volume '%1$s'"), name);
        return -1;
    }
    if (virStorageFspoolTreeCheckMounts(own, name) < 0)
        return -1;

    rc = virStorageFspoolTreeRemoveContent(&remover, &own);
    virStorageFspoolTreeRemoverClear(&remover);
    return rc;
}
