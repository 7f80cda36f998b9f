/*
 * storage_fspool_archive_unpack.c: a tar archive becomes a directory tree
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "storage_fspool_archive.h"

#include "storage_fspool_archive_dirs.h"
#include "storage_fspool_archive_input.h"
#include "storage_fspool_archive_node.h"
#include "storage_fspool_tree_entry.h"
#include "storage_revision_file.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/*
 * Nothing is ever reached by a path that somebody else could turn: what an entry lies in is opened part by part below
 * the tree's top, without following symbolic links (openat2), and the entry is made in that, or not at all. What was
 * made is changed by its descriptor.
 */

/* Devices that lead nowhere, which every container has. 0:0 is what overlay file systems mark removed files with. */
static const struct {
    unsigned int major;
    unsigned int minor;
} devices[] = {
    { 0, 0 }, /* whiteout */
    { 1, 3 }, /* null */
    { 1, 5 }, /* zero */
    { 1, 7 }, /* full */
    { 1, 8 }, /* random */
    { 1, 9 }, /* urandom */
    { 5, 0 }, /* tty */
    { 5, 1 }, /* console */
    { 5, 2 }, /* ptmx */
};

/* After so many bytes all is written out, so that the sync at the end does not take long: the client waits for that. */
#define WRITE_OUT_BYTES (32ULL * 1024 * 1024)
/* What an entry counts for, whatever is in it. */
#define ENTRY_BYTES (4 * 1024)

typedef struct _virStorageFspoolUnpack virStorageFspoolUnpack;
struct _virStorageFspoolUnpack {
    const char *volume;
    int top;
    unsigned long long unwritten;
    virStorageFspoolArchiveInput *input;
    virStorageFspoolArchiveDirs dirs;
};

/* An entry, and where it goes. */
typedef struct _virStorageFspoolUnpackItem virStorageFspoolUnpackItem;
struct _virStorageFspoolUnpackItem {
    struct archive_entry *entry;
    virStorageFspoolArchiveHeader header;
    virStorageFspoolArchiveFacts facts;
    char *path;         /* below the top; "" is the top */
    const char *base;   /* its last part */
    int dirfd;          /* the directory that it goes into; not owned */
};


static void
virStorageFspoolUnpackClear(virStorageFspoolUnpack *unpack)
{
    virStorageFspoolArchiveInputFree(unpack->input);
    virStorageFspoolArchiveDirsClear(&unpack->dirs);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolUnpack, virStorageFspoolUnpackClear);


static void
virStorageFspoolUnpackItemClear(virStorageFspoolUnpackItem *item)
{
    virStorageFspoolArchiveHeaderClear(&item->header);
    virStorageFspoolArchiveFactsClear(&item->facts);
    VIR_FREE(item->path);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolUnpackItem, virStorageFspoolUnpackItemClear);


/* Makes "./a//b/" to "a/b". Sets @clean, or returns what is wrong with a name. */
static const char *
virStorageFspoolUnpackCleanPath(const char *path,
                                char **clean)
{
    g_autoptr(GString) kept = g_string_new("");

    if (*path == '\0')
        return N_("it has no name");
    if (*path == '/')
        return N_("its name is absolute");
    if (strlen(path) > VIR_STORAGE_FSPOOL_ARCHIVE_PATH_MAX)
        return N_("its name is too long");

    for (; *path; path += strspn(path, "/")) {
        size_t len = strcspn(path, "/");

        if (len == 2 && STRPREFIX(path, ".."))
            return N_("its name has '..' in it");
        if (len > NAME_MAX)
            return N_("its name is too long");
        if (len != 1 || *path != '.') {
            if (kept->len > 0)
                g_string_append_c(kept, '/');
            g_string_append_len(kept, path, len);
        }
        path += len;
    }
    *clean = g_strdup(kept->str);
    return NULL;
}


/* A later entry replaces an earlier one, as with tar, but only a file a file. Returns 0 when the name is free then. */
static int
virStorageFspoolUnpackMakeRoom(virStorageFspoolUnpack *unpack,
                               virStorageFspoolUnpackItem *item)
{
    struct stat sb;

    if (fstatat(item->dirfd, item->base, &sb, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT)
            return 0;
        return virStorageFspoolArchiveFail(unpack->volume, item->path, errno);
    }
    if (!S_ISREG(sb.st_mode))
        return virStorageFspoolArchiveRefuse(unpack->volume, item->path, N_("there is something else of that name"));
    if (unlinkat(item->dirfd, item->base, 0) < 0 && errno != ENOENT)
        return virStorageFspoolArchiveFail(unpack->volume, item->path, errno);
    return 0;
}


static int
virStorageFspoolUnpackWrite(int fd,
                            const char *data,
                            size_t len,
                            off_t offset)
{
    while (len > 0) {
        ssize_t put = pwrite(fd, data, len, offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        data += put;
        len -= put;
        offset += put;
    }
    return 0;
}


static int
virStorageFspoolUnpackWriteOut(virStorageFspoolUnpack *unpack,
                               size_t more)
{
    if ((unpack->unwritten += more) < WRITE_OUT_BYTES)
        return 0;
    unpack->unwritten = 0;
    if (syncfs(unpack->top) == 0)
        return 0;
    virReportSystemError(errno, _("cannot make volume '%1$s' durable"), unpack->volume);
    return -1;
}


/* Holes are what nothing is written to. */
static int
virStorageFspoolUnpackContent(virStorageFspoolUnpack *unpack,
                              virStorageFspoolUnpackItem *item,
                              int fd)
{
    long long size = archive_entry_size(item->entry);
    long long end = 0;
    long long offset;
    const void *data;
    size_t len;
    int rc;

    while ((rc = virStorageFspoolArchiveInputData(unpack->input, &data, &len, &offset)) > 0) {
        if (offset < end || offset > size || len > (unsigned long long) (size - offset))
            return virStorageFspoolArchiveRefuse(unpack->volume, item->path, N_("its content does not fit its size"));
        if (virStorageFspoolUnpackWrite(fd, data, len, offset) < 0)
            return virStorageFspoolArchiveFail(unpack->volume, item->path, errno);
        if (virStorageFspoolUnpackWriteOut(unpack, len) < 0)
            return -1;
        end = offset + len;
    }
    if (rc < 0)
        return -1;
    if (end < size && ftruncate(fd, size) < 0)
        return virStorageFspoolArchiveFail(unpack->volume, item->path, errno);
    return 0;
}


static int
virStorageFspoolUnpackApply(virStorageFspoolUnpack *unpack,
                            virStorageFspoolUnpackItem *item,
                            int fd)
{
    if (virStorageFspoolArchiveApplyAttrs(fd, item->entry, VIR_STORAGE_FSPOOL_ARCHIVE_ATTR_SET,
                                          unpack->volume, item->path) < 0 ||
        virStorageFspoolArchiveApplyOwner(fd, &item->facts, unpack->volume, item->path) < 0 ||
        virStorageFspoolArchiveApplyAttrs(fd, item->entry, VIR_STORAGE_FSPOOL_ARCHIVE_ATTR_AFTER_OWNER,
                                          unpack->volume, item->path) < 0)
        return -1;
    return virStorageFspoolArchiveApplyMode(fd, &item->facts, unpack->volume, item->path);
}


static int
virStorageFspoolUnpackFile(virStorageFspoolUnpack *unpack,
                           virStorageFspoolUnpackItem *item)
{
    int oflags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    VIR_AUTOCLOSE fd = -1;

    if (archive_entry_filetype(item->entry) != AE_IFREG || archive_entry_size(item->entry) < 0)
        return virStorageFspoolArchiveRefuse(unpack->volume, item->path, N_("its headers contradict each other"));

    fd = virStorageRevOpenAt(item->dirfd, item->base, oflags, 0600);
    if (fd < 0 && errno == EEXIST) {
        if (virStorageFspoolUnpackMakeRoom(unpack, item) < 0)
            return -1;
        fd = virStorageRevOpenAt(item->dirfd, item->base, oflags, 0600);
    }
    if (fd < 0)
        return virStorageFspoolArchiveFail(unpack->volume, item->path, errno);

    if (virStorageFspoolUnpackContent(unpack, item, fd) < 0)
        return -1;
    return virStorageFspoolUnpackApply(unpack, item, fd);
}


/* Owner and mode come at the end. */
static int
virStorageFspoolUnpackDir(virStorageFspoolUnpack *unpack,
                          virStorageFspoolUnpackItem *item)
{
    VIR_AUTOCLOSE fd = -1;

    if (*item->path == '\0')
        fd = virStorageFspoolArchiveOpenDir(unpack->top, "");
    else if ((fd = virStorageFspoolArchiveDirsMake(&unpack->dirs, item->dirfd, item->path, item->base)) < 0)
        return -1;
    if (fd < 0)
        return virStorageFspoolArchiveFail(unpack->volume, item->header.path, errno);

    if (virStorageFspoolArchiveApplyAttrs(fd, item->entry, VIR_STORAGE_FSPOOL_ARCHIVE_ATTR_SET,
                                          unpack->volume, item->header.path) < 0)
        return -1;
    return virStorageFspoolArchiveDirsRemember(&unpack->dirs, item->path, fd, &item->facts);
}


/* Links to what the archive has had before, and to nothing else: the tree was empty. A symbolic link gets another name,
 * wherever it leads. */
static int
virStorageFspoolUnpackHardLink(virStorageFspoolUnpack *unpack,
                               virStorageFspoolUnpackItem *item)
{
    g_autofree char *target = NULL;
    g_autofree char *parent = NULL;
    const char *base;
    VIR_AUTOCLOSE dirfd = -1;
    VIR_AUTOCLOSE node = -1;
    virStorageFspoolArchiveProc proc;
    struct stat sb;
    struct stat old;

    if (archive_entry_size(item->entry) > 0)
        return virStorageFspoolArchiveRefuse(unpack->volume, item->path, N_("it is a hard link with content"));
    if (virStorageFspoolUnpackCleanPath(item->header.link, &target) || *target == '\0')
        return virStorageFspoolArchiveRefuse(unpack->volume, item->path, N_("it is a hard link to a name that cannot be"));

    parent = virStorageFspoolArchiveParent(target, &base);
    if ((dirfd = virStorageFspoolArchiveOpenDir(unpack->top, parent)) < 0 ||
        (node = virStorageFspoolTreeOpen(dirfd, base, O_PATH | O_NOFOLLOW)) < 0 ||
        fstat(node, &sb) < 0 || S_ISDIR(sb.st_mode))
        return virStorageFspoolArchiveRefuse(unpack->volume, item->path,
                                             N_("it is a hard link to something that is not a file of the archive"));

    if (fstatat(item->dirfd, item->base, &old, AT_SYMLINK_NOFOLLOW) == 0 &&
        old.st_dev == sb.st_dev && old.st_ino == sb.st_ino)
        return 0;
    if (virStorageFspoolUnpackMakeRoom(unpack, item) < 0)
        return -1;

    virStorageFspoolArchiveProcPath(proc, node);
    if (linkat(AT_FDCWD, proc, item->dirfd, item->base, AT_SYMLINK_FOLLOW) < 0)
        return virStorageFspoolArchiveFail(unpack->volume, item->path, errno);
    return 0;
}


/* What has no content. The type is checked again, since what has a name only could be replaced at once. */
static int
virStorageFspoolUnpackFinishNode(virStorageFspoolUnpack *unpack,
                                 virStorageFspoolUnpackItem *item,
                                 mode_t type)
{
    VIR_AUTOCLOSE node = virStorageFspoolTreeOpen(item->dirfd, item->base, O_PATH | O_NOFOLLOW);
    struct stat sb;

    if (node < 0 || fstat(node, &sb) < 0)
        return virStorageFspoolArchiveFail(unpack->volume, item->path, errno);
    if ((sb.st_mode & S_IFMT) != type || sb.st_nlink != 1)
        return virStorageFspoolArchiveRefuse(unpack->volume, item->path, N_("something else has taken its place"));
    return virStorageFspoolUnpackApply(unpack, item, node);
}


static int
virStorageFspoolUnpackSymlink(virStorageFspoolUnpack *unpack,
                              virStorageFspoolUnpackItem *item)
{
    if (*item->header.link == '\0')
        return virStorageFspoolArchiveRefuse(unpack->volume, item->path, N_("it is a symbolic link to nothing"));
    if (symlinkat(item->header.link, item->dirfd, item->base) < 0) {
        if (errno == EEXIST)
            return virStorageFspoolArchiveRefuse(unpack->volume, item->path, N_("there is something else of that name"));
        return virStorageFspoolArchiveFail(unpack->volume, item->path, errno);
    }
    return virStorageFspoolUnpackFinishNode(unpack, item, S_IFLNK);
}


static bool
virStorageFspoolUnpackIsHarmless(unsigned long long devMajor,
                                 unsigned long long devMinor)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(devices); i++) {
        if (devices[i].major == devMajor && devices[i].minor == devMinor)
            return true;
    }
    return false;
}


static int
virStorageFspoolUnpackSpecial(virStorageFspoolUnpack *unpack,
                              virStorageFspoolUnpackItem *item)
{
    bool fifo = item->header.kind == VIR_STORAGE_FSPOOL_ARCHIVE_FIFO;
    mode_t type = fifo ? S_IFIFO : S_IFCHR;
    dev_t dev = 0;

    if (!fifo) {
        unsigned long long devMajor = archive_entry_rdevmajor(item->entry);
        unsigned long long devMinor = archive_entry_rdevminor(item->entry);

        if (item->header.kind != VIR_STORAGE_FSPOOL_ARCHIVE_CHARDEV ||
            !virStorageFspoolUnpackIsHarmless(devMajor, devMinor))
            return virStorageFspoolArchiveRefuse(unpack->volume, item->path, N_("it is a device of this host"));
        dev = makedev(devMajor, devMinor);
    }

    if (mknodat(item->dirfd, item->base, type | 0600, dev) < 0) {
        if (errno == EEXIST)
            return virStorageFspoolArchiveRefuse(unpack->volume, item->path, N_("there is something else of that name"));
        return virStorageFspoolArchiveFail(unpack->volume, item->path, errno);
    }
    return virStorageFspoolUnpackFinishNode(unpack, item, type);
}


static int
virStorageFspoolUnpackItemMake(virStorageFspoolUnpack *unpack,
                               virStorageFspoolUnpackItem *item)
{
    const char *wrong = virStorageFspoolUnpackCleanPath(item->header.path, &item->path);

    if (!wrong && item->header.kind != VIR_STORAGE_FSPOOL_ARCHIVE_HARDLINK)
        wrong = virStorageFspoolArchiveFactsRead(&item->facts, item->entry, &item->header);
    if (!wrong && *item->path == '\0' && item->header.kind != VIR_STORAGE_FSPOOL_ARCHIVE_DIR)
        wrong = N_("it would replace the volume itself");
    if (wrong)
        return virStorageFspoolArchiveRefuse(unpack->volume, item->header.path, wrong);

    if (*item->path) {
        g_autofree char *parent = virStorageFspoolArchiveParent(item->path, &item->base);

        if ((item->dirfd = virStorageFspoolArchiveDirsEnter(&unpack->dirs, parent)) < 0)
            return -1;
    }

    switch (item->header.kind) {
    case VIR_STORAGE_FSPOOL_ARCHIVE_FILE:
        return virStorageFspoolUnpackFile(unpack, item);
    case VIR_STORAGE_FSPOOL_ARCHIVE_DIR:
        return virStorageFspoolUnpackDir(unpack, item);
    case VIR_STORAGE_FSPOOL_ARCHIVE_HARDLINK:
        return virStorageFspoolUnpackHardLink(unpack, item);
    case VIR_STORAGE_FSPOOL_ARCHIVE_SYMLINK:
        return virStorageFspoolUnpackSymlink(unpack, item);
    case VIR_STORAGE_FSPOOL_ARCHIVE_CHARDEV:
    case VIR_STORAGE_FSPOOL_ARCHIVE_BLOCKDEV:
    case VIR_STORAGE_FSPOOL_ARCHIVE_FIFO:
        break;
    }
    return virStorageFspoolUnpackSpecial(unpack, item);
}


/**
 * virStorageFspoolArchiveUnpack:
 * @in: to read the archive from; blocking; stays open
 * @dirfd: an empty directory, open for reading; stays open
 * @name: of the volume, for errors
 * @cancelled: NULL, or set by somebody else, atomically, to have it end with an error
 *
 * Makes in @dirfd what a tar archive (ustar, pax, GNU; plain, or compressed by gzip, xz or zstd) has. The directory
 * itself gets owner, mode and times of the archive's entry ".", if there is one. The last of it is not synced.
 *
 * An archive that is cut off anywhere, damaged, or followed by something, is an error, as is every entry that would lie
 * outside, or be something that a volume may not bring along. What was made until then stays, and is to be removed.
 *
 * Owners are taken by number, by root only. Not taken from archives: our own metadata, and security labels.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolArchiveUnpack(int in,
                              int dirfd,
                              const char *name,
                              const int *cancelled)
{
    g_auto(virStorageFspoolUnpack) unpack = { .volume = name, .top = dirfd };
    int rc;

    virStorageFspoolArchiveDirsInit(&unpack.dirs, dirfd, name);
    if (!(unpack.input = virStorageFspoolArchiveInputNew(in, name, cancelled)))
        return -1;

    do {
        g_auto(virStorageFspoolUnpackItem) item = { .dirfd = -1 };

        rc = virStorageFspoolArchiveInputNext(unpack.input, &item.entry, &item.header);
        if (rc > 0 &&
            (virStorageFspoolUnpackItemMake(&unpack, &item) < 0 ||
             virStorageFspoolUnpackWriteOut(&unpack, ENTRY_BYTES) < 0))
            return -1;
    } while (rc > 0);

    if (rc < 0)
        return -1;
    return virStorageFspoolArchiveDirsFinish(&unpack.dirs);
}
