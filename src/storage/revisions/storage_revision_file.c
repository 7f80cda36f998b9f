/*
 * storage_revision_file.c: files and directories of volumes, and what is written on them
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#if WITH_SELINUX
# include <selinux/selinux.h>
#endif

#include "storage_revision_file.h"

#include "viralloc.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* "trusted." is out of reach for whoever can only write the image; an unprivileged daemon, and NFS, have no choice. */
#define VIR_STORAGE_REV_ATTR_TRUSTED "trusted.libvirt.storage"
#define VIR_STORAGE_REV_ATTR_USER "user.libvirt.storage"


/**
 * virStorageRevOpenAt:
 * @dirfd: directory
 * @path: path below it
 * @oflags: of open(2); O_CLOEXEC, O_NOCTTY and O_NONBLOCK are added
 * @mode: permissions of a new file, 0 for none
 *
 * Follows no symbolic link, not even in the middle of @path, leaves the directory by no "..", and crosses no mount
 * point (see openat2(2)): whoever can write below the pool cannot lead us elsewhere. O_NONBLOCK keeps a FIFO from
 * blocking the daemon, and is without effect on regular files.
 *
 * Returns a file descriptor, or -1 with errno
 */
int
virStorageRevOpenAt(int dirfd,
                    const char *path,
                    int oflags,
                    mode_t mode)
{
    struct open_how how = {
        .flags = oflags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
    };

    return syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}


/* Asked of the kernel once, not once a file. */
const char *
virStorageRevAttrName(void)
{
    static gsize name;

    if (g_once_init_enter(&name))
        g_once_init_leave(&name, (gsize) (geteuid() == 0 ? VIR_STORAGE_REV_ATTR_TRUSTED
                                          : VIR_STORAGE_REV_ATTR_USER));
    return (const char *) name;
}


static ssize_t
virStorageRevAttrRead(int fd,
                      char *text,
                      size_t size)
{
    ssize_t len = fgetxattr(fd, virStorageRevAttrName(), text, size);

    if (len < 0 && errno == EOPNOTSUPP)
        len = fgetxattr(fd, VIR_STORAGE_REV_ATTR_USER, text, size);
    return len;
}


static int
virStorageRevAttrWrite(int fd,
                       const char *text)
{
    int rc = fsetxattr(fd, virStorageRevAttrName(), text, strlen(text), 0);

    if (rc < 0 && errno == EOPNOTSUPP)
        rc = fsetxattr(fd, VIR_STORAGE_REV_ATTR_USER, text, strlen(text), 0);
    return rc;
}


/**
 * virStorageRevMetaReadFile:
 * @fd: image or directory
 * @meta: initialised; filled where it has metadata
 * @whole: set when it has, and it could be read
 *
 * Returns 0, 1 when what is there is no metadata, or -1 with errno when the attribute cannot be read at all
 */
int
virStorageRevMetaReadFile(int fd,
                          virStorageRevMeta *meta,
                          bool *whole)
{
    char text[4 * VIR_STORAGE_REV_META_MAX];
    ssize_t len = virStorageRevAttrRead(fd, text, sizeof(text));

    *whole = false;
    if (len < 0) {
        if (errno == ENODATA || errno == EOPNOTSUPP)
            return 0;
        if (errno != ERANGE)
            return -1;
        len = 0; /* longer than we ever write */
    }

    *whole = virStorageRevMetaParse(text, len, meta) == 0;
    return *whole ? 0 : 1;
}


/* Writes the metadata; it is durable after a sync of @fd. */
int
virStorageRevMetaWriteFile(int fd,
                           const virStorageRevMeta *meta,
                           const char *name)
{
    g_autofree char *text = virStorageRevMetaFormat(meta);

    if (!text)
        return -1;
    if (virStorageRevAttrWrite(fd, text) == 0)
        return 0;

    virReportSystemError(errno, _("cannot write the metadata of volume '%1$s'"), name);
    return -1;
}


/**
 * virStorageRevUnlockAndClose:
 * @fd: image that may be locked, or -1; set to -1
 *
 * Gives its locks up before it closes it. They belong to the open file, which a process that the daemon has just forked
 * has too, until it executes its program: closed alone, the image would seem to be in use for so long. Keeps errno.
 */
void
virStorageRevUnlockAndClose(int *fd)
{
    struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
    int saved = errno;

    /* Nobody who can open the file needs to hear that it cannot be unlocked: it is about to be closed. */
    if (*fd >= 0)
        ignore_value(fcntl(*fd, F_OFD_SETLK, &lock));
    VIR_FORCE_CLOSE(*fd);
    errno = saved;
}


/* Makes data, size, owner and attributes of a file durable. */
int
virStorageRevSync(int fd,
                  const char *name)
{
    if (fsync(fd) == 0)
        return 0;

    virReportSystemError(errno, _("cannot make volume '%1$s' durable"), name);
    return -1;
}


static int
virStorageRevLabelCopy(int from G_GNUC_UNUSED,
                       int to G_GNUC_UNUSED,
                       const char *name G_GNUC_UNUSED)
{
#if WITH_SELINUX
    char *label = NULL;
    int rc;

    if (is_selinux_enabled() <= 0 || fgetfilecon_raw(from, &label) < 0)
        return 0; /* the file system or the kernel has none */

    rc = fsetfilecon_raw(to, label);
    freecon(label);
    if (rc < 0 && errno != EOPNOTSUPP) {
        virReportSystemError(errno, _("cannot set the security label of volume '%1$s'"), name);
        return -1;
    }
#endif
    return 0;
}


/* Gives @to owner, group, mode and security label of @from. */
int
virStorageRevPermsCopy(int from,
                       int to,
                       const char *name)
{
    struct stat want;
    struct stat have;

    if (fstat(from, &want) < 0 || fstat(to, &have) < 0 ||
        ((want.st_uid != have.st_uid || want.st_gid != have.st_gid) &&
         fchown(to, want.st_uid, want.st_gid) < 0) ||
        ((want.st_mode & 07777) != (have.st_mode & 07777) &&
         fchmod(to, want.st_mode & 07777) < 0)) {
        virReportSystemError(errno, _("cannot set owner and mode of volume '%1$s'"), name);
        return -1;
    }
    return virStorageRevLabelCopy(from, to, name);
}


/* Gives a new image or directory owner, group and mode as the XML asks for them; what it leaves out stays as it is. */
int
virStorageRevPermsSet(int fd,
                      const virStoragePerms *perms,
                      const char *name)
{
    if (!perms)
        return 0;

    if (((perms->uid != (uid_t) -1 || perms->gid != (gid_t) -1) && fchown(fd, perms->uid, perms->gid) < 0) ||
        (perms->mode != (mode_t) -1 && fchmod(fd, perms->mode) < 0)) {
        virReportSystemError(errno, _("cannot set owner and mode of volume '%1$s'"), name);
        return -1;
    }
    return 0;
}


/* Reads the security label, where the kernel has such. */
static void
virStorageRevLabelRead(int fd G_GNUC_UNUSED,
                       virStorageRevState *state)
{
#if WITH_SELINUX
    char *label = NULL;

    VIR_FREE(state->perms.label);
    if (is_selinux_enabled() > 0 && fgetfilecon_raw(fd, &label) >= 0) {
        state->perms.label = g_strdup(label);
        freecon(label);
    }
#endif
}


/* Makes @to, which is empty, share all extents of @from. Returns 0, or -1 with errno. */
int
virStorageRevCloneFile(int from,
                       int to)
{
    return ioctl(to, FICLONE, from);
}


/**
 * virStorageRevStateFromStat:
 * @fd: image or directory
 * @sb: what fstat(2) says of it
 * @state: its identity, owner, mode, label and times are filled
 */
void
virStorageRevStateFromStat(int fd,
                           const struct stat *sb,
                           virStorageRevState *state)
{
    state->readAt = g_get_real_time() / G_USEC_PER_SEC;
    state->reused = false;
    state->dev = sb->st_dev;
    state->ino = sb->st_ino;
    state->nlink = sb->st_nlink;
    state->perms.mode = sb->st_mode & 0777;
    state->perms.uid = sb->st_uid;
    state->perms.gid = sb->st_gid;
    state->atime = sb->st_atim;
    state->mtime = sb->st_mtim;
    state->ctime = sb->st_ctim;
    virStorageRevLabelRead(fd, state);
}


/**
 * virStorageRevStateReuse:
 * @known: what the last refresh found, name of a volume → virStorageRevFamily
 * @name: a state, by its name
 * @dirfd: directory
 * @entry: what is in it
 * @type: S_IFREG or S_IFDIR
 * @file: its path below the pool
 *
 * Whatever changes a file or the top of a tree, its attributes or its name, changes its ctime; one that was young when it
 * was read could have been changed once more within a tick of the clock.
 *
 * Returns a copy of what is known of it, or NULL when it has to be read
 */
virStorageRevState *
virStorageRevStateReuse(GHashTable *known,
                        const virStorageRevName *name,
                        int dirfd,
                        const char *entry,
                        mode_t type,
                        const char *file)
{
    virStorageRevFamily *family = g_hash_table_lookup(known, name->volume);
    virStorageRevState *state = family ? virStorageRevFamilyFind(family, name) : NULL;
    struct stat sb;

    if (!state || state->ctime.tv_sec + 2 > state->readAt || STRNEQ(state->file, file) ||
        fstatat(dirfd, entry, &sb, AT_SYMLINK_NOFOLLOW) < 0 || (sb.st_mode & S_IFMT) != type ||
        sb.st_ino != state->ino || sb.st_dev != state->dev ||
        sb.st_ctim.tv_sec != state->ctime.tv_sec || sb.st_ctim.tv_nsec != state->ctime.tv_nsec)
        return NULL;

    state = virStorageRevStateCopy(state);
    state->reused = true;
    state->inUse = false;
    return state;
}
