/*
 * storage_fspool_tree_copy.c: copying a directory tree
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "storage_fspool_tree_entry.h"

#include "storage_fspool_subvolume.h"
#include "storage_fspool_name.h"
#include "storage_revision_file.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* Directories of the way down that stay open; those above are opened anew, from below, on the way up. */
#define WINDOW 32

/* Directories in one that are noted before the first of them is copied. */
#define NOTED_MAX 4096

/* How long a file is waited for whose user has a lease on it, and has been told to give it up. */
#define LEASE_TRIES 50
#define LEASE_WAIT (100 * 1000)

/* A directory that is being copied. First all in it that is no directory is copied while it is read, and the
 * directories are noted; then these, one by one. What it is itself it gets last: as long as others may be made in
 * it, it has no access list that they would inherit, nobody else may enter it, and its times change. */
typedef struct _virStorageFspoolTreeFrame virStorageFspoolTreeFrame;
struct _virStorageFspoolTreeFrame {
    virStorageFspoolTreeNode *node;
    struct statx sx; /* before it was read */
    virStorageFspoolTreeId fromId;
    virStorageFspoolTreeId toId;
    int from; /* -1: closed for now */
    int to;
    GQueue dirs;
    int64_t offset; /* where reading goes on */
    bool more;
};

typedef struct _virStorageFspoolTreeCopier virStorageFspoolTreeCopier;
struct _virStorageFspoolTreeCopier {
    const char *item;
    virStorageFspoolProgress *progress;
    GPtrArray *frames; /* from the top down */
    virStorageFspoolTreeReader reader;
    virStorageFspoolTreeLinks links;
    virStorageFspoolTreeAttrs attrs;
    char *buf;
};


static void
virStorageFspoolTreeFrameFree(gpointer opaque)
{
    virStorageFspoolTreeFrame *frame = opaque;
    char *name;

    while ((name = g_queue_pop_head(&frame->dirs)))
        g_free(name);
    VIR_FORCE_CLOSE(frame->from);
    VIR_FORCE_CLOSE(frame->to);
    virStorageFspoolTreeNodeUnref(frame->node);
    g_free(frame);
}


static void
virStorageFspoolTreeCopierInit(virStorageFspoolTreeCopier *copier)
{
    copier->frames = g_ptr_array_new_with_free_func(virStorageFspoolTreeFrameFree);
    virStorageFspoolTreeLinksInit(&copier->links);
}


static void
virStorageFspoolTreeCopierClear(virStorageFspoolTreeCopier *copier)
{
    g_clear_pointer(&copier->frames, g_ptr_array_unref);
    virStorageFspoolTreeReaderClear(&copier->reader);
    virStorageFspoolTreeLinksClear(&copier->links);
    virStorageFspoolTreeAttrsClear(&copier->attrs);
    VIR_FREE(copier->buf);
}


/* @above: 0 is the directory that is being copied, 1 the one that it lies in. */
static virStorageFspoolTreeFrame *
virStorageFspoolTreeCopierFrame(virStorageFspoolTreeCopier *copier,
                                size_t above)
{
    return g_ptr_array_index(copier->frames, copier->frames->len - 1 - above);
}


/* Reports why entry @name of @node, NULL for the directory itself, cannot be copied: that is in errno. */
static int
virStorageFspoolTreeReportCopy(virStorageFspoolTreeCopier *copier,
                               const virStorageFspoolTreeNode *node,
                               const char *name)
{
    int err = errno;
    g_autofree char *text = virStorageFspoolTreeText(node, name);

    if (err == ECANCELED)
        virReportError(VIR_ERR_OPERATION_ABORTED, _("the copy of volume '%1$s' was cancelled"), copier->item);
    else if (copier->attrs.failed)
        virReportSystemError(err, _("cannot keep the extended attribute '%1$s' of '%2$s' in a copy of volume '%3$s'"),
                             copier->attrs.failed, text, copier->item);
    else
        virReportSystemError(err, _("cannot copy '%1$s' of volume '%2$s'"), text, copier->item);

    copier->attrs.failed = NULL;
    return -1;
}


/* What has a name in the copy already was copied before: while others change a directory, one entry can turn up twice.
 * But if nobody has changed it, two names are one for the file system of the copy, and one of them would be lost. */
static int
virStorageFspoolTreeCopyExists(virStorageFspoolTreeCopier *copier,
                               virStorageFspoolTreeFrame *frame,
                               const char *name)
{
    const struct statx *old = &frame->sx;
    g_autofree char *text = NULL;
    struct statx now;

    if (virStorageFspoolTreeStat(frame->from, &now) < 0)
        return virStorageFspoolTreeReportCopy(copier, frame->node, name);

    if (now.stx_mtime.tv_sec != old->stx_mtime.tv_sec || now.stx_mtime.tv_nsec != old->stx_mtime.tv_nsec)
        return 0;

    text = virStorageFspoolTreeText(frame->node, name);
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("'%1$s' of volume '%2$s' has the name of another entry where it is copied to"),
                   text, copier->item);
    return -1;
}


/* Ends the copy of an entry: @rc is 0, 1 when it was not there any more, or -1 when it failed with errno. */
static int
virStorageFspoolTreeCopied(virStorageFspoolTreeCopier *copier,
                           virStorageFspoolTreeFrame *frame,
                           const char *name,
                           int rc)
{
    if (rc < 0)
        return errno == EEXIST ? virStorageFspoolTreeCopyExists(copier, frame, name)
            : virStorageFspoolTreeReportCopy(copier, frame->node, name);

    if (rc == 0)
        virStorageFspoolProgressAdd(copier->progress, 1, 0);
    return 0;
}


/* Opens for reading the regular file that @pin stands for. */
static int
virStorageFspoolTreeOpenPinned(int pin)
{
    g_autofree char *path = virStorageFspoolTreeProcPath(pin);
    size_t i;
    int fd = -1;

    for (i = 0; i < LEASE_TRIES; i++) {
        fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0 || errno != EWOULDBLOCK)
            break;
        g_usleep(LEASE_WAIT);
    }
    return fd;
}


/* Returns 0, 1 when the file is not there any more, or -1 with errno. */
static int
virStorageFspoolTreeCopyFile(virStorageFspoolTreeCopier *copier,
                             virStorageFspoolTreeFrame *frame,
                             const char *name,
                             int pin,
                             const struct statx *sx)
{
    VIR_AUTOCLOSE from = virStorageFspoolTreeOpenPinned(pin);
    VIR_AUTOCLOSE to = -1;

    if (from < 0) /* of a server: what is open on a disk stays */
        return errno == ENOENT || errno == ESTALE ? 1 : -1;
    if ((to = virStorageRevOpenAt(frame->to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600)) < 0)
        return -1;
    if (virStorageFspoolTreeCopyData(from, to, sx, copier->progress, &copier->buf) < 0)
        return -1;
    return virStorageFspoolTreeCopyAttrs(&copier->attrs, from, to, sx, NULL);
}


/* Returns 0, or -1 with errno. */
static int
virStorageFspoolTreeMakeSymlink(virStorageFspoolTreeFrame *frame,
                                const char *name,
                                int pin)
{
    g_autofree char *target = g_new0(char, VIR_STORAGE_FSPOOL_PATH_MAX + 1);

    if (readlinkat(pin, "", target, VIR_STORAGE_FSPOOL_PATH_MAX) < 0)
        return -1;
    return symlinkat(target, frame->to, name);
}


/* A symbolic link, FIFO, socket or device node. Returns 0, or -1 with errno. */
static int
virStorageFspoolTreeCopySpecial(virStorageFspoolTreeCopier *copier,
                                virStorageFspoolTreeFrame *frame,
                                const char *name,
                                int pin,
                                const struct statx *sx)
{
    VIR_AUTOCLOSE made = -1;
    dev_t device = makedev(sx->stx_rdev_major, sx->stx_rdev_minor);
    int rc;

    if (S_ISLNK(sx->stx_mode))
        rc = virStorageFspoolTreeMakeSymlink(frame, name, pin);
    else
        rc = mknodat(frame->to, name, (sx->stx_mode & S_IFMT) | 0600, device);

    if (rc < 0 || (made = virStorageFspoolTreeOpen(frame->to, name, O_PATH | O_NOFOLLOW)) < 0)
        return -1;
    return virStorageFspoolTreeCopyAttrs(&copier->attrs, pin, made, sx, NULL);
}


/* Copies what is no directory. Returns 0, 1 when it is not there any more, or -1 with errno. */
static int
virStorageFspoolTreeCopyOther(virStorageFspoolTreeCopier *copier,
                              virStorageFspoolTreeFrame *frame,
                              const char *name,
                              int pin,
                              const struct statx *sx)
{
    virStorageFspoolTreeFrame *top = g_ptr_array_index(copier->frames, 0);
    int rc;

    if (sx->stx_nlink > 1 &&
        (rc = virStorageFspoolTreeLinksMake(&copier->links, sx, top->to, frame->to, name)) != 0)
        return MIN(rc, 0);

    if (S_ISREG(sx->stx_mode))
        rc = virStorageFspoolTreeCopyFile(copier, frame, name, pin, sx);
    else
        rc = virStorageFspoolTreeCopySpecial(copier, frame, name, pin, sx);

    if (rc == 0 && sx->stx_nlink > 1)
        virStorageFspoolTreeLinksAdd(&copier->links, sx, frame->node, name);
    return rc;
}


/* Takes what is open as @from and @to, both directories, as the next to be copied. Returns 0, or -1 with errno. */
static int
virStorageFspoolTreePush(virStorageFspoolTreeCopier *copier,
                         const char *name,
                         int *from,
                         int *to)
{
    virStorageFspoolTreeNode *parent = NULL;
    virStorageFspoolTreeFrame *frame;
    struct statx fromSx;
    struct statx toSx;

    if (virStorageFspoolTreeStat(*from, &fromSx) < 0 || virStorageFspoolTreeStat(*to, &toSx) < 0)
        return -1;

    if (copier->frames->len > 0)
        parent = virStorageFspoolTreeCopierFrame(copier, 0)->node;
    if (copier->frames->len > WINDOW) { /* the top one stays open */
        frame = virStorageFspoolTreeCopierFrame(copier, WINDOW - 1);
        VIR_FORCE_CLOSE(frame->from);
        VIR_FORCE_CLOSE(frame->to);
    }

    frame = g_new0(virStorageFspoolTreeFrame, 1);
    frame->node = virStorageFspoolTreeNodeNew(parent, name);
    frame->sx = fromSx;
    virStorageFspoolTreeIdOf(&frame->fromId, &fromSx);
    virStorageFspoolTreeIdOf(&frame->toId, &toSx);
    g_queue_init(&frame->dirs);
    frame->more = true;
    frame->from = *from;
    frame->to = *to;
    *from = -1;
    *to = -1;
    g_ptr_array_add(copier->frames, frame);
    return 0;
}


/* A directory with another device number than the top, though no mount point was crossed, is a subvolume of Btrfs. */
static int
virStorageFspoolTreeCheckDirectory(virStorageFspoolTreeCopier *copier,
                                   virStorageFspoolTreeFrame *frame,
                                   const char *name,
                                   int pin,
                                   const struct statx *sx)
{
    virStorageFspoolTreeFrame *top = g_ptr_array_index(copier->frames, 0);
    g_autofree char *text = NULL;
    virStorageFspoolTreeId id;

    virStorageFspoolTreeIdOf(&id, sx);
    if (id.devMajor != top->fromId.devMajor || id.devMinor != top->fromId.devMinor) {
        if (!virStorageFspoolIsBtrfs(pin))
            return virStorageFspoolTreeReportMount(copier->item, frame->node, name);

        text = virStorageFspoolTreeText(frame->node, name);
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("'%1$s' in volume '%2$s' is a Btrfs subvolume of its own: delete it first"),
                       text, copier->item);
        return -1;
    }

    if (virStorageFspoolTreeIdEqual(&id, &top->toId)) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("volume '%1$s' cannot be copied into itself"), copier->item);
        return -1;
    }
    return 0;
}


/* Makes a directory in the copy, and goes on in it. */
static int
virStorageFspoolTreeEnter(virStorageFspoolTreeCopier *copier,
                          virStorageFspoolTreeFrame *frame,
                          const char *name,
                          int pin,
                          const struct statx *sx)
{
    VIR_AUTOCLOSE from = -1;
    VIR_AUTOCLOSE to = -1;

    if (virStorageFspoolTreeCheckDirectory(copier, frame, name, pin, sx) < 0)
        return -1;

    if ((from = virStorageFspoolTreeOpen(pin, ".", O_RDONLY | O_DIRECTORY)) < 0) {
        if (errno == ENOENT || errno == ESTALE) /* removed meanwhile */
            return 0;
        return virStorageFspoolTreeReportCopy(copier, frame->node, name);
    }

    if (mkdirat(frame->to, name, 0700) < 0)
        return virStorageFspoolTreeCopied(copier, frame, name, -1);

    if ((to = virStorageRevOpenAt(frame->to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)) < 0 ||
        virStorageFspoolTreePush(copier, name, &from, &to) < 0)
        return virStorageFspoolTreeReportCopy(copier, frame->node, name);
    return 0;
}


/* Copies an entry: its kind is asked of an open descriptor, and cannot change after that. While the directory is
 * being read, directories in it are only noted. */
static int
virStorageFspoolTreeCopyEntry(virStorageFspoolTreeCopier *copier,
                              virStorageFspoolTreeFrame *frame,
                              const char *name,
                              bool reading)
{
    VIR_AUTOCLOSE pin = virStorageFspoolTreeOpen(frame->from, name, O_PATH | O_NOFOLLOW);
    struct statx sx;

    if (pin < 0 && errno == EXDEV)
        return virStorageFspoolTreeReportMount(copier->item, frame->node, name);
    if (pin < 0 || virStorageFspoolTreeStat(pin, &sx) < 0) {
        if (errno == ENOENT || errno == ESTALE) /* removed meanwhile */
            return 0;
        return virStorageFspoolTreeReportCopy(copier, frame->node, name);
    }

    if (S_ISDIR(sx.stx_mode) && reading) {
        g_queue_push_tail(&frame->dirs, g_strdup(name));
        return 0;
    }
    if (S_ISDIR(sx.stx_mode))
        return virStorageFspoolTreeEnter(copier, frame, name, pin, &sx);

    return virStorageFspoolTreeCopied(copier, frame, name,
                                      virStorageFspoolTreeCopyOther(copier, frame, name, pin, &sx));
}


/* Copies what is no directory, and notes what is. */
static int
virStorageFspoolTreeRead(virStorageFspoolTreeCopier *copier,
                         virStorageFspoolTreeFrame *frame)
{
    const struct dirent64 *entry;
    int rc = virStorageFspoolTreeReaderStart(&copier->reader, frame->from, frame->offset);

    while (rc == 0 && (rc = virStorageFspoolTreeReaderNext(&copier->reader, frame->from, &entry)) > 0) {
        if (virStorageFspoolProgressIsCancelled(copier->progress)) {
            errno = ECANCELED;
            rc = -1;
            break;
        }

        if (entry->d_type == DT_DIR)
            g_queue_push_tail(&frame->dirs, g_strdup(entry->d_name));
        else if (virStorageFspoolTreeCopyEntry(copier, frame, entry->d_name, true) < 0)
            return -1;

        frame->offset = entry->d_off;
        if (frame->dirs.length >= NOTED_MAX)
            return 0;
        rc = 0;
    }

    if (rc < 0)
        return virStorageFspoolTreeReportCopy(copier, frame->node, NULL);
    frame->more = false;
    return 0;
}


/* Opens the directory above, if it was closed. */
static int
virStorageFspoolTreeReopen(virStorageFspoolTreeCopier *copier,
                           virStorageFspoolTreeFrame *frame,
                           virStorageFspoolTreeFrame *parent)
{
    g_autofree char *text = NULL;

    if (parent->from >= 0)
        return 0;

    if ((parent->from = virStorageFspoolTreeOpenParent(frame->from, &parent->fromId)) >= 0 &&
        (parent->to = virStorageFspoolTreeOpenParent(frame->to, &parent->toId)) >= 0)
        return 0;

    if (errno != ESTALE)
        return virStorageFspoolTreeReportCopy(copier, parent->node, NULL);

    text = virStorageFspoolTreeText(frame->node, NULL);
    virReportError(VIR_ERR_OPERATION_FAILED, _("'%1$s' of volume '%2$s' was moved while it was copied: try again"),
                   text, copier->item);
    return -1;
}


/* All that is in a directory is copied: so is what it is itself. */
static int
virStorageFspoolTreeLeave(virStorageFspoolTreeCopier *copier)
{
    virStorageFspoolTreeFrame *frame = virStorageFspoolTreeCopierFrame(copier, 0);
    bool top = copier->frames->len == 1;

    if (virStorageFspoolTreeCopyAttrs(&copier->attrs, frame->from, frame->to, &frame->sx,
                                      top ? virStorageRevAttrName() : NULL) < 0)
        return virStorageFspoolTreeReportCopy(copier, frame->node, NULL);

    virStorageFspoolProgressAdd(copier->progress, 1, 0);
    if (!top && virStorageFspoolTreeReopen(copier, frame, virStorageFspoolTreeCopierFrame(copier, 1)) < 0)
        return -1;

    g_ptr_array_remove_index(copier->frames, copier->frames->len - 1);
    return 0;
}


static int
virStorageFspoolTreeCopyStep(virStorageFspoolTreeCopier *copier)
{
    virStorageFspoolTreeFrame *frame = virStorageFspoolTreeCopierFrame(copier, 0);
    g_autofree char *name = NULL;

    if (virStorageFspoolProgressIsCancelled(copier->progress)) {
        errno = ECANCELED;
        return virStorageFspoolTreeReportCopy(copier, frame->node, NULL);
    }

    if ((name = g_queue_pop_head(&frame->dirs)))
        return virStorageFspoolTreeCopyEntry(copier, frame, name, false);
    if (frame->more)
        return virStorageFspoolTreeRead(copier, frame);
    return virStorageFspoolTreeLeave(copier);
}


/* What is made in a directory inherits its access lists, and may be open to more people then than the original is. */
static int
virStorageFspoolTreeDropAcls(int fd)
{
    const char *attrs[] = { "system.posix_acl_default", "system.posix_acl_access" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(attrs); i++) {
        if (fremovexattr(fd, attrs[i]) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
            return -1;
    }
    return 0;
}


/* Opens both tops anew, since the offsets of what the caller has are not ours, and checks that the copy is empty. */
static int
virStorageFspoolTreeCopyStart(virStorageFspoolTreeCopier *copier,
                              int from,
                              int to)
{
    VIR_AUTOCLOSE ownFrom = virStorageFspoolTreeOpen(from, ".", O_RDONLY | O_DIRECTORY);
    VIR_AUTOCLOSE ownTo = virStorageFspoolTreeOpen(to, ".", O_RDONLY | O_DIRECTORY);
    const struct dirent64 *entry;
    int rc = -1;

    if (ownFrom < 0 || ownTo < 0 ||
        virStorageFspoolTreeReaderStart(&copier->reader, ownTo, 0) < 0 ||
        (rc = virStorageFspoolTreeReaderNext(&copier->reader, ownTo, &entry)) < 0 ||
        virStorageFspoolTreeDropAcls(ownTo) < 0)
        return virStorageFspoolTreeReportCopy(copier, NULL, NULL);

    if (rc > 0) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("the directory for a copy of volume '%1$s' is not empty"), copier->item);
        return -1;
    }

    if (virStorageFspoolTreePush(copier, "", &ownFrom, &ownTo) < 0)
        return virStorageFspoolTreeReportCopy(copier, NULL, NULL);
    return 0;
}


/**
 * virStorageFspoolTreeCopy:
 * @from: directory, which others may go on to change: what vanishes is left out
 * @to: empty directory that nobody else may enter (0700, or in one that is)
 * @name: of the volume, for errors
 * @progress: counts, and can end the copy; or NULL
 *
 * Copies all that is in @from, with hard links, holes, owners, modes, times, extended attributes and access lists, and
 * gives @to itself what @from has of these, but the metadata of ours (virStorageRevAttrName()) that either has. Files
 * share their extents with the originals where the file system can do that.
 *
 * Nothing is durable before a syncfs(2) of @to. After a failure what has been copied is still there.
 *
 * Returns 0, or -1 with an error: VIR_ERR_OPERATION_ABORTED when @progress asked for it, VIR_ERR_OPERATION_INVALID when
 * there is a mount point or a subvolume of Btrfs in @from
 */
int
virStorageFspoolTreeCopy(int from,
                         int to,
                         const char *name,
                         virStorageFspoolProgress *progress)
{
    virStorageFspoolTreeCopier copier = { .item = name, .progress = progress };
    int rc;

    virStorageFspoolTreeCopierInit(&copier);
    rc = virStorageFspoolTreeCopyStart(&copier, from, to);
    while (rc == 0 && copier.frames->len > 0)
        rc = virStorageFspoolTreeCopyStep(&copier);
    virStorageFspoolTreeCopierClear(&copier);
    return rc;
}
