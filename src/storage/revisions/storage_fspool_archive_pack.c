/*
 * storage_fspool_archive_pack.c: a directory tree becomes a tar archive
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

#include "storage_fspool_archive.h"

#include "storage_fspool_archive_attr.h"
#include "storage_fspool_archive_node.h"
#include "storage_fspool_archive_output.h"
#include "storage_fspool_name.h"
#include "storage_fspool_tree_entry.h"
#include "storage_revision_file.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_archive_pack");

/*
 * The tree is walked without recursion, with two descriptors at any depth: that of the current directory, and that of
 * what is being packed. On the way back up a directory is opened anew, and has to be the same as before. Everything is
 * held by O_PATH before it is looked at, and only files and directories are opened, by what is held: neither can a
 * symbolic link take their place, nor a FIFO make us wait.
 */

/* All extended attributes of an entry: libarchive reads no header of more than 1 MiB, and there is more in it. */
#define ATTRS_MAX (512 * 1024)

/* The names of all files that have more than one, until all are packed. */
#define LINKS_MAX (512ULL * 1024 * 1024)

/* A directory on the way to the current one. */
typedef struct _virStorageFspoolPackDir virStorageFspoolPackDir;
struct _virStorageFspoolPackDir {
    dev_t dev;
    ino_t ino;
    size_t pathLen;         /* of its path */
    GPtrArray *names;       /* what is in it, in order */
    size_t next;
};

/* A file that has more than one name. */
typedef struct _virStorageFspoolPackLink virStorageFspoolPackLink;
struct _virStorageFspoolPackLink {
    guint64 ino;            /* the key of its table; must be first. A tree is on one device. */
    struct statx_timestamp born; /* inode numbers are used again */
    nlink_t left;           /* names that were not found yet */
    char *path;
};

typedef struct _virStorageFspoolPack virStorageFspoolPack;
struct _virStorageFspoolPack {
    const char *volume;
    int top;
    struct stat topStat;
    virStorageFspoolArchiveOutput *output;
    struct archive_entry *entry;
    GHashTable *links;
    unsigned long long linksSize;
    GPtrArray *dirs;        /* virStorageFspoolPackDir; the last one is the current directory */
    GString *path;          /* of what is being packed; "" is the top */
    int dirfd;              /* the current directory */
};


static void
virStorageFspoolPackDirFree(void *opaque)
{
    virStorageFspoolPackDir *dir = opaque;

    g_clear_pointer(&dir->names, g_ptr_array_unref);
    g_free(dir);
}


static void
virStorageFspoolPackLinkFree(void *opaque)
{
    virStorageFspoolPackLink *link = opaque;

    g_free(link->path);
    g_free(link);
}


static void
virStorageFspoolPackClear(virStorageFspoolPack *pack)
{
    virStorageFspoolArchiveOutputFree(pack->output);
    archive_entry_free(pack->entry);
    g_clear_pointer(&pack->links, g_hash_table_unref);
    g_clear_pointer(&pack->dirs, g_ptr_array_unref);
    if (pack->path)
        g_string_free(pack->path, true);
    VIR_FORCE_CLOSE(pack->dirfd);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolPack, virStorageFspoolPackClear);


/* Returns -1, with an error. */
static int
virStorageFspoolPackFail(virStorageFspoolPack *pack,
                         int err)
{
    g_autofree char *shown = virStorageFspoolArchiveShow(pack->path->len > 0 ? pack->path->str : ".");

    virReportSystemError(err, _("cannot read '%2$s' of volume '%1$s'"), pack->volume, shown);
    return -1;
}


/* @why has to be marked for translation. Returns -1, with an error. */
static int
virStorageFspoolPackRefuse(virStorageFspoolPack *pack,
                           int code,
                           const char *why)
{
    g_autofree char *shown = virStorageFspoolArchiveShow(pack->path->len > 0 ? pack->path->str : ".");

    virReportError(code, _("cannot make an archive of volume '%1$s' because of '%2$s': %3$s"),
                   pack->volume, shown, _(why));
    return -1;
}


static int
virStorageFspoolPackCompare(const void *a,
                            const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}


/* Returns the names in the directory that @fd is, in an order that depends on nothing else, or NULL with an error. */
static GPtrArray *
virStorageFspoolPackList(virStorageFspoolPack *pack,
                         int fd)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(DIR) dir = NULL;
    VIR_AUTOCLOSE own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *ent;
    int rc;

    if (own < 0 || !(dir = fdopendir(own))) {
        virStorageFspoolPackFail(pack, errno);
        return NULL;
    }
    own = -1;

    while ((rc = virDirRead(dir, &ent, pack->volume)) > 0)
        g_ptr_array_add(names, g_strdup(ent->d_name));
    if (rc < 0)
        return NULL;
    g_ptr_array_sort(names, virStorageFspoolPackCompare);
    return g_steal_pointer(&names);
}


/* Makes the directory that @fd is the current one. Takes over @fd. */
static int
virStorageFspoolPackPush(virStorageFspoolPack *pack,
                         int *fd,
                         const struct stat *sb)
{
    g_autoptr(GPtrArray) names = virStorageFspoolPackList(pack, *fd);
    virStorageFspoolPackDir *dir;

    if (!names)
        return -1;

    dir = g_new0(virStorageFspoolPackDir, 1);
    dir->dev = sb->st_dev;
    dir->ino = sb->st_ino;
    dir->pathLen = pack->path->len;
    dir->names = g_steal_pointer(&names);
    g_ptr_array_add(pack->dirs, dir);

    VIR_FORCE_CLOSE(pack->dirfd);
    pack->dirfd = *fd;
    *fd = -1;
    return 0;
}


/* Goes back to the directory above, if there is one. */
static int
virStorageFspoolPackPop(virStorageFspoolPack *pack)
{
    VIR_AUTOCLOSE below = pack->dirfd;
    virStorageFspoolPackDir *dir;

    pack->dirfd = -1;
    g_ptr_array_set_size(pack->dirs, pack->dirs->len - 1);
    if (pack->dirs->len == 0)
        return 0;

    dir = g_ptr_array_index(pack->dirs, pack->dirs->len - 1);
    g_string_truncate(pack->path, dir->pathLen);
    pack->dirfd = virStorageFspoolArchiveReopenDir(pack->top, pack->path->str, below, dir->dev, dir->ino);
    if (pack->dirfd < 0)
        return virStorageFspoolPackRefuse(pack, VIR_ERR_OPERATION_FAILED,
                                          N_("it was moved or removed while it was being read"));
    return 0;
}


static int
virStorageFspoolPackAcl(virStorageFspoolPack *pack,
                        const char *proc,
                        const char *attr,
                        int type)
{
    g_autoptr(GByteArray) acl = NULL;

    if (virStorageFspoolArchiveAttrRead(proc, attr, &acl) < 0)
        return virStorageFspoolPackFail(pack, errno);
    if (acl && virStorageFspoolArchiveAclAdd(pack->entry, type, acl) < 0)
        return virStorageFspoolPackRefuse(pack, VIR_ERR_OPERATION_FAILED,
                                          N_("its access control list cannot be put into an archive"));
    return 0;
}


/* What the metadata of the volume says belongs to the volume, not to the tree. Of "system.", what has a meaning
 * elsewhere goes another way. */
static bool
virStorageFspoolPackHasAttr(virStorageFspoolPack *pack,
                            const char *attr)
{
    if (STRPREFIX(attr, "system."))
        return false;
    return pack->path->len > 0 || !virStorageFspoolArchiveAttrIsOurs(attr);
}


/* Adds extended attributes and access control lists. */
static int
virStorageFspoolPackAttrs(virStorageFspoolPack *pack,
                          int node,
                          const struct stat *sb)
{
    g_autoptr(GByteArray) names = NULL;
    virStorageFspoolArchiveProc proc;
    size_t total = 0;
    size_t at;

    virStorageFspoolArchiveProcPath(proc, node);
    if (virStorageFspoolArchiveAttrList(proc, &names) < 0)
        return virStorageFspoolPackFail(pack, errno);

    for (at = 0; names && at < names->len; at += strlen((const char *) names->data + at) + 1) {
        const char *attr = (const char *) names->data + at;
        g_autoptr(GByteArray) value = NULL;

        if (!virStorageFspoolPackHasAttr(pack, attr))
            continue;
        if (virStorageFspoolArchiveAttrRead(proc, attr, &value) < 0)
            return virStorageFspoolPackFail(pack, errno);
        if (!value)
            continue;
        total += strlen(attr) + value->len;
        if (total > ATTRS_MAX)
            return virStorageFspoolPackRefuse(pack, VIR_ERR_OPERATION_FAILED,
                                              N_("its extended attributes are too large for an archive"));
        archive_entry_xattr_add_entry(pack->entry, attr, value->data, value->len);
    }

    if (S_ISLNK(sb->st_mode))
        return 0;
    if (virStorageFspoolPackAcl(pack, proc, VIR_STORAGE_FSPOOL_ARCHIVE_ACL, ARCHIVE_ENTRY_ACL_TYPE_ACCESS) < 0)
        return -1;
    if (!S_ISDIR(sb->st_mode))
        return 0;
    return virStorageFspoolPackAcl(pack, proc, VIR_STORAGE_FSPOOL_ARCHIVE_ACL_DEFAULT, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT);
}


/* Begins an entry with what all of them have. Names of users and groups are left out: they are this host's. */
static int
virStorageFspoolPackBegin(virStorageFspoolPack *pack,
                          int node,
                          const struct stat *sb)
{
    archive_entry_clear(pack->entry);
    archive_entry_copy_pathname(pack->entry, pack->path->len > 0 ? pack->path->str : ".");
    archive_entry_set_mode(pack->entry, sb->st_mode);
    archive_entry_set_uid(pack->entry, sb->st_uid);
    archive_entry_set_gid(pack->entry, sb->st_gid);
    archive_entry_set_mtime(pack->entry, sb->st_mtim.tv_sec, sb->st_mtim.tv_nsec);
    archive_entry_set_size(pack->entry, S_ISREG(sb->st_mode) ? sb->st_size : 0);
    return virStorageFspoolPackAttrs(pack, node, sb);
}


static bool
virStorageFspoolPackIsLink(const virStorageFspoolPackLink *link,
                           const struct statx *stx)
{
    return link && link->born.tv_sec == stx->stx_btime.tv_sec && link->born.tv_nsec == stx->stx_btime.tv_nsec;
}


/* Sets the name under which a file was packed before; remembers it, when it was not, but has other names. */
static int
virStorageFspoolPackFindLink(virStorageFspoolPack *pack,
                             int node,
                             const struct stat *sb,
                             virStorageFspoolPackLink **found)
{
    guint64 ino = sb->st_ino;
    virStorageFspoolPackLink *link = NULL;
    struct statx stx;

    *found = NULL;
    if (sb->st_nlink < 2)
        return 0;
    if (statx(node, "", AT_EMPTY_PATH, STATX_BTIME, &stx) < 0)
        return virStorageFspoolPackFail(pack, errno);
    if (!(stx.stx_mask & STATX_BTIME))
        memset(&stx.stx_btime, 0, sizeof(stx.stx_btime));

    link = g_hash_table_lookup(pack->links, &ino);
    if (virStorageFspoolPackIsLink(link, &stx)) {
        *found = link;
        return 0;
    }

    pack->linksSize += sizeof(*link) + pack->path->len + 100;
    if (pack->linksSize > LINKS_MAX)
        return virStorageFspoolPackRefuse(pack, VIR_ERR_OPERATION_FAILED, N_("there are too many files with several names"));

    link = g_new0(virStorageFspoolPackLink, 1);
    link->ino = ino;
    link->born = stx.stx_btime;
    link->left = sb->st_nlink - 1;
    link->path = g_strdup(pack->path->str);
    g_hash_table_replace(pack->links, link, link);
    return 0;
}


static int
virStorageFspoolPackHardLink(virStorageFspoolPack *pack,
                             const struct stat *sb,
                             virStorageFspoolPackLink *link)
{
    archive_entry_clear(pack->entry);
    archive_entry_copy_pathname(pack->entry, pack->path->str);
    archive_entry_set_mode(pack->entry, sb->st_mode);
    archive_entry_set_uid(pack->entry, sb->st_uid);
    archive_entry_set_gid(pack->entry, sb->st_gid);
    archive_entry_set_mtime(pack->entry, sb->st_mtim.tv_sec, sb->st_mtim.tv_nsec);
    archive_entry_copy_hardlink(pack->entry, link->path);

    if (--link->left == 0) {
        pack->linksSize -= sizeof(*link) + strlen(link->path) + 100;
        g_hash_table_remove(pack->links, link);
    }
    return virStorageFspoolArchiveOutputEntry(pack->output, pack->entry);
}


static int
virStorageFspoolPackFile(virStorageFspoolPack *pack,
                         int node,
                         const struct stat *sb)
{
    virStorageFspoolArchiveProc proc;
    VIR_AUTOCLOSE fd = -1;

    virStorageFspoolArchiveProcPath(proc, node);
    if ((fd = open(proc, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)) < 0)
        return virStorageFspoolPackFail(pack, errno);
    if (virStorageFspoolPackBegin(pack, node, sb) < 0)
        return -1;
    return virStorageFspoolArchiveOutputFile(pack->output, pack->entry, fd, sb->st_blocks * 512LL);
}


static int
virStorageFspoolPackDirectory(virStorageFspoolPack *pack,
                              int node,
                              const struct stat *sb)
{
    VIR_AUTOCLOSE fd = -1;

    if (sb->st_dev != pack->topStat.st_dev)
        return virStorageFspoolPackRefuse(pack, VIR_ERR_OPERATION_INVALID,
                                          N_("it is a subvolume of its own, which has to be deleted first"));
    if ((fd = openat(node, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
        if (errno == ENOENT)
            return 0; /* it was removed just now */
        return virStorageFspoolPackFail(pack, errno);
    }
    if (virStorageFspoolPackBegin(pack, node, sb) < 0 ||
        virStorageFspoolArchiveOutputEntry(pack->output, pack->entry) < 0)
        return -1;
    return virStorageFspoolPackPush(pack, &fd, sb);
}


static int
virStorageFspoolPackSymlink(virStorageFspoolPack *pack,
                            int node,
                            const struct stat *sb)
{
    g_autofree char *target = g_new0(char, VIR_STORAGE_FSPOOL_PATH_MAX);
    ssize_t len = readlinkat(node, "", target, VIR_STORAGE_FSPOOL_PATH_MAX - 1);

    if (len < 0)
        return virStorageFspoolPackFail(pack, errno);
    if (virStorageFspoolPackBegin(pack, node, sb) < 0)
        return -1;
    archive_entry_copy_symlink(pack->entry, target);
    return virStorageFspoolArchiveOutputEntry(pack->output, pack->entry);
}


static int
virStorageFspoolPackSpecial(virStorageFspoolPack *pack,
                            int node,
                            const struct stat *sb)
{
    if (virStorageFspoolPackBegin(pack, node, sb) < 0)
        return -1;
    if (!S_ISFIFO(sb->st_mode)) {
        archive_entry_set_rdevmajor(pack->entry, major(sb->st_rdev));
        archive_entry_set_rdevminor(pack->entry, minor(sb->st_rdev));
    }
    return virStorageFspoolArchiveOutputEntry(pack->output, pack->entry);
}


/* Packs what is no directory: by its content, or as another name of what was packed already. */
static int
virStorageFspoolPackLeaf(virStorageFspoolPack *pack,
                         int node,
                         const struct stat *sb)
{
    virStorageFspoolPackLink *link;

    if (S_ISSOCK(sb->st_mode)) {
        g_autofree char *shown = virStorageFspoolArchiveShow(pack->path->str);

        VIR_INFO("socket '%s' of volume '%s' is left out of its archive", shown, pack->volume);
        return 0;
    }

    if (virStorageFspoolPackFindLink(pack, node, sb, &link) < 0)
        return -1;
    if (link)
        return virStorageFspoolPackHardLink(pack, sb, link);
    if (S_ISREG(sb->st_mode))
        return virStorageFspoolPackFile(pack, node, sb);
    if (S_ISLNK(sb->st_mode))
        return virStorageFspoolPackSymlink(pack, node, sb);
    return virStorageFspoolPackSpecial(pack, node, sb);
}


/* Packs what @name is in the current directory, if it still is there. */
static int
virStorageFspoolPackNode(virStorageFspoolPack *pack,
                         const char *name)
{
    VIR_AUTOCLOSE node = virStorageFspoolTreeOpen(pack->dirfd, name, O_PATH | O_NOFOLLOW);
    virStorageFspoolPackDir *dir = g_ptr_array_index(pack->dirs, pack->dirs->len - 1);
    struct stat sb;

    g_string_truncate(pack->path, dir->pathLen);
    g_string_append_printf(pack->path, "%s%s", dir->pathLen > 0 ? "/" : "", name);

    if (node < 0 && errno == ENOENT)
        return 0;
    if (node < 0 && errno == EXDEV)
        return virStorageFspoolPackRefuse(pack, VIR_ERR_OPERATION_INVALID,
                                          N_("something is mounted there, which has to be unmounted first"));
    if (node < 0 || fstat(node, &sb) < 0)
        return virStorageFspoolPackFail(pack, errno);
    if (pack->path->len > VIR_STORAGE_FSPOOL_ARCHIVE_PATH_MAX)
        return virStorageFspoolPackRefuse(pack, VIR_ERR_OPERATION_FAILED, N_("its path is too long"));

    if (S_ISDIR(sb.st_mode))
        return virStorageFspoolPackDirectory(pack, node, &sb);
    return virStorageFspoolPackLeaf(pack, node, &sb);
}


static int
virStorageFspoolPackTree(virStorageFspoolPack *pack)
{
    VIR_AUTOCLOSE node = openat(pack->top, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (node < 0 || fstat(node, &pack->topStat) < 0)
        return virStorageFspoolPackFail(pack, errno);
    if (virStorageFspoolPackDirectory(pack, node, &pack->topStat) < 0)
        return -1;

    while (pack->dirs->len > 0) {
        virStorageFspoolPackDir *dir = g_ptr_array_index(pack->dirs, pack->dirs->len - 1);

        if (dir->next == dir->names->len) {
            if (virStorageFspoolPackPop(pack) < 0)
                return -1;
        } else if (virStorageFspoolPackNode(pack, g_ptr_array_index(dir->names, dir->next++)) < 0) {
            return -1;
        }
    }
    return 0;
}


/**
 * virStorageFspoolArchivePack:
 * @dirfd: a directory, open for reading; stays open
 * @out: to write the archive to; blocking; stays open
 * @name: of the volume, for errors
 *
 * Writes the tree as a tar archive in the pax format: with owners by number, nanoseconds, hard links, holes, extended
 * attributes and access control lists, in the order of its names, so that the same tree makes the same bytes. Not in it
 * are sockets, which tar does not know, and our own metadata at the top.
 *
 * The tree may change meanwhile: what is gone is left out. It has to end where it began, though: a mount point or a
 * subvolume in it is an error (VIR_ERR_OPERATION_INVALID).
 *
 * After an error, that of a pipe that nobody reads any more among them, the archive lacks its end, and cannot be taken
 * for a complete one.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolArchivePack(int dirfd,
                            int out,
                            const char *name)
{
    g_auto(virStorageFspoolPack) pack = { .volume = name, .top = dirfd, .dirfd = -1 };

    pack.links = g_hash_table_new_full(g_int64_hash, g_int64_equal, virStorageFspoolPackLinkFree, NULL);
    pack.dirs = g_ptr_array_new_with_free_func(virStorageFspoolPackDirFree);
    pack.path = g_string_new("");
    if (!(pack.entry = archive_entry_new())) {
        virReportSystemError(ENOMEM, _("cannot write the archive of volume '%1$s'"), name);
        return -1;
    }
    if (!(pack.output = virStorageFspoolArchiveOutputNew(out, name)))
        return -1;

    if (virStorageFspoolPackTree(&pack) < 0)
        return -1;
    return virStorageFspoolArchiveOutputEnd(pack.output);
}
