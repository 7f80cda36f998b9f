/*
 * storage_fspool_tree_entry.c: what copying and removing directory trees have in common
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage_fspool_tree_entry.h"

#include "viralloc.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* One system call tells of some thousand entries. */
#define READER_SIZE (64 * 1024)

/* Of a directory that others move, until it is taken for a mount point. */
#define OPEN_TRIES 16

/* Of a path in an error message: more does not help, and whoever makes names may make them long. */
#define NAME_TEXT_MAX 80
#define PATH_TEXT_MAX 200


virStorageFspoolTreeNode *
virStorageFspoolTreeNodeNew(virStorageFspoolTreeNode *parent,
                            const char *name)
{
    virStorageFspoolTreeNode *node = g_new0(virStorageFspoolTreeNode, 1);

    node->parent = parent ? virStorageFspoolTreeNodeRef(parent) : NULL;
    node->name = g_strdup(name);
    node->refs = 1;
    return node;
}


virStorageFspoolTreeNode *
virStorageFspoolTreeNodeRef(virStorageFspoolTreeNode *node)
{
    node->refs++;
    return node;
}


/* A loop: paths have no limit, the stack has. */
void
virStorageFspoolTreeNodeUnref(virStorageFspoolTreeNode *node)
{
    while (node && --node->refs == 0) {
        virStorageFspoolTreeNode *parent = node->parent;

        g_free(node->name);
        g_free(node);
        node = parent;
    }
}


static char *
virStorageFspoolTreeNameText(const char *name)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    while (*name) {
        gunichar c = g_utf8_get_char_validated(name, -1);
        size_t len = 1;

        if (virBufferUse(&buf) >= NAME_TEXT_MAX) {
            virBufferAddLit(&buf, "...");
            break;
        }
        /* what is no valid character is none that could be printed, either */
        if (g_unichar_isprint(c) && c != '\\' && c != '\'') {
            len = g_utf8_next_char(name) - name;
            virBufferAdd(&buf, name, len);
        } else {
            virBufferAsprintf(&buf, "\\x%02x", (unsigned char) *name);
        }
        name += len;
    }
    return virBufferContentAndReset(&buf);
}


/**
 * virStorageFspoolTreeText:
 * @node: directory, or NULL: the top
 * @name: entry of it, or NULL: the directory itself is meant
 *
 * Returns the path below the top, which is "/", for a message: its end, if it is long, and nothing that could not be
 * printed
 */
char *
virStorageFspoolTreeText(const virStorageFspoolTreeNode *node,
                         const char *name)
{
    g_autofree char *text = name ? virStorageFspoolTreeNameText(name) : NULL;

    for (; node && node->parent; node = node->parent) {
        g_autofree char *parent = virStorageFspoolTreeNameText(node->name);
        char *longer;

        if (text && strlen(text) > PATH_TEXT_MAX)
            return g_strconcat(".../", text, NULL);
        longer = text ? g_strconcat(parent, "/", text, NULL) : g_steal_pointer(&parent);
        g_free(text);
        text = longer;
    }
    return g_strconcat("/", text, NULL);
}


void
virStorageFspoolTreeIdOf(virStorageFspoolTreeId *id,
                         const struct statx *sx)
{
    memset(id, 0, sizeof(*id));
    id->ino = sx->stx_ino;
    id->devMajor = sx->stx_dev_major;
    id->devMinor = sx->stx_dev_minor;
    if (sx->stx_mask & STATX_BTIME) {
        id->born = sx->stx_btime.tv_sec;
        id->bornNsec = sx->stx_btime.tv_nsec;
    }
}


bool
virStorageFspoolTreeIdEqual(const virStorageFspoolTreeId *a,
                            const virStorageFspoolTreeId *b)
{
    return a->ino == b->ino &&
        a->devMajor == b->devMajor &&
        a->devMinor == b->devMinor &&
        a->born == b->born &&
        a->bornNsec == b->bornNsec;
}


/* Of what is open, be it with O_PATH. Returns 0, or -1 with errno. */
int
virStorageFspoolTreeStat(int fd,
                         struct statx *sx)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME, sx);
}


/**
 * virStorageFspoolTreeOpen:
 * @dirfd: directory
 * @path: below it
 * @oflags: of open(2); with O_PATH | O_NOFOLLOW anything can be opened, a symbolic link too, and nothing happens to it
 *
 * virStorageRevOpenAt() adds flags that do not go together with O_PATH.
 *
 * What is moved out of the directory at just this moment is EXDEV to the kernel too (complete_walk() in fs/namei.c): tried
 * again, it is not there any more, while a mount point stays one.
 *
 * Returns a file descriptor, or -1 with errno; EXDEV when there is a mount point
 */
int
virStorageFspoolTreeOpen(int dirfd,
                         const char *path,
                         int oflags)
{
    struct open_how how = {
        .flags = oflags | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
    };
    size_t tries;
    int fd = -1;

    for (tries = 0; tries < OPEN_TRIES; tries++) {
        if ((fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how))) >= 0 || errno != EXDEV)
            break;
    }
    return fd;
}


/**
 * virStorageFspoolTreeOpenParent:
 * @fd: directory
 * @id: of the directory that it was found in
 *
 * Returns a file descriptor of that, or -1 with errno; ESTALE when the directory has been moved elsewhere
 */
int
virStorageFspoolTreeOpenParent(int fd,
                               const virStorageFspoolTreeId *id)
{
    VIR_AUTOCLOSE parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    virStorageFspoolTreeId found;
    struct statx sx;
    int ret;

    if (parent < 0 || virStorageFspoolTreeStat(parent, &sx) < 0)
        return -1;

    virStorageFspoolTreeIdOf(&found, &sx);
    if (!virStorageFspoolTreeIdEqual(&found, id)) {
        errno = ESTALE;
        return -1;
    }

    ret = parent;
    parent = -1;
    return ret;
}


/* A path that leads to what is open, whatever has happened to its name since, for calls that take no such
 * descriptor. To a symbolic link it leads, too, and not further. */
char *
virStorageFspoolTreeProcPath(int fd)
{
    return g_strdup_printf("/proc/self/fd/%d", fd);
}


/* @offset: 0, or d_off of the last entry that was seen. Returns 0, or -1 with errno. */
int
virStorageFspoolTreeReaderStart(virStorageFspoolTreeReader *reader,
                                int fd,
                                int64_t offset)
{
    reader->pos = 0;
    reader->len = 0;
    return lseek(fd, offset, SEEK_SET) < 0 ? -1 : 0;
}


/* Returns 1, 0 when there are no more, or -1 with errno. */
static int
virStorageFspoolTreeReaderFill(virStorageFspoolTreeReader *reader,
                               int fd)
{
    ssize_t len;

    if (!reader->buf)
        reader->buf = g_new0(char, READER_SIZE);

    len = getdents64(fd, reader->buf, READER_SIZE);
    if (len < 0 && errno == ENOENT)
        len = 0; /* the directory has been removed */
    if (len <= 0)
        return len;

    reader->pos = 0;
    reader->len = len;
    return 1;
}


/**
 * virStorageFspoolTreeReaderNext:
 * @reader: started for @fd
 * @fd: directory
 * @entry: set to the next entry but "." and "..", valid until the next call
 *
 * Returns 1, 0 at the end, or -1 with errno
 */
int
virStorageFspoolTreeReaderNext(virStorageFspoolTreeReader *reader,
                               int fd,
                               const struct dirent64 **entry)
{
    for (;;) {
        const struct dirent64 *found;
        int rc;

        if (reader->pos >= reader->len && (rc = virStorageFspoolTreeReaderFill(reader, fd)) <= 0)
            return rc;

        found = (const void *) (reader->buf + reader->pos);
        reader->pos += found->d_reclen;
        if (STREQ(found->d_name, ".") || STREQ(found->d_name, ".."))
            continue;
        if (strchr(found->d_name, '/')) { /* only a broken file system has such */
            errno = EIO;
            return -1;
        }
        *entry = found;
        return 1;
    }
}


void
virStorageFspoolTreeReaderClear(virStorageFspoolTreeReader *reader)
{
    VIR_FREE(reader->buf);
}


int
virStorageFspoolTreeReportMount(const char *item,
                                const virStorageFspoolTreeNode *node,
                                const char *name)
{
    g_autofree char *text = virStorageFspoolTreeText(node, name);

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("'%1$s' in volume '%2$s' is a mount point: unmount it first"), text, item);
    return -1;
}
