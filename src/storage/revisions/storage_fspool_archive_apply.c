/*
 * storage_fspool_archive_apply.c: owner, mode, attributes and times of what comes out of an archive
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "storage_fspool_archive_apply.h"

#include "storage_fspool_archive_attr.h"
#include "storage_fspool_archive_node.h"
#include "virerror.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/*
 * The order, for what others may see at any time: content, attributes, owner (which takes set-user-id and
 * capabilities away), capabilities, mode, access control list (which has its own idea of the mode), times. All go to the
 * very inode that was made, by its descriptor, or by the kernel's name for that.
 */


void
virStorageFspoolArchiveFactsClear(virStorageFspoolArchiveFacts *facts)
{
    g_clear_pointer(&facts->acl, g_byte_array_unref);
    g_clear_pointer(&facts->aclDefault, g_byte_array_unref);
}


/* An access control list is in an archive as text, or, from tools that know no such, as the attribute that it is. Sets it
 * to NULL when there is none. Returns false when it cannot be read. */
static bool
virStorageFspoolArchiveFactsAcl(GByteArray **acl,
                                struct archive_entry *entry,
                                const char *text,
                                bool isDefault)
{
    const char *wanted = isDefault ? VIR_STORAGE_FSPOOL_ARCHIVE_ACL_DEFAULT : VIR_STORAGE_FSPOOL_ARCHIVE_ACL;
    const char *name;
    const void *value;
    size_t size;

    if (text) {
        *acl = virStorageFspoolArchiveAclParse(text, isDefault ? ARCHIVE_ENTRY_ACL_TYPE_DEFAULT
                                               : ARCHIVE_ENTRY_ACL_TYPE_ACCESS);
        if (*acl && (*acl)->len == 0)
            g_clear_pointer(acl, g_byte_array_unref);
        else if (!*acl)
            return false;
        return true;
    }

    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
        if (STREQ(name, wanted) && !*acl) {
            *acl = g_byte_array_new();
            g_byte_array_append(*acl, value, size);
        }
    }
    return true;
}


/* -1 would mean "leave as it is". */
static bool
virStorageFspoolArchiveIsId(long long id)
{
    return id >= 0 && id < UINT32_MAX;
}


/**
 * virStorageFspoolArchiveFactsRead:
 * @facts: empty; filled, and to be cleared in any case
 * @entry: from libarchive
 * @header: the same entry's
 *
 * Returns NULL, or a message that is to be translated: what is wrong with the entry
 */
const char *
virStorageFspoolArchiveFactsRead(virStorageFspoolArchiveFacts *facts,
                                 struct archive_entry *entry,
                                 const virStorageFspoolArchiveHeader *header)
{
    if (!virStorageFspoolArchiveIsId(archive_entry_uid(entry)) || !virStorageFspoolArchiveIsId(archive_entry_gid(entry)))
        return N_("its owner or group is not a possible one");
    if (!virStorageFspoolArchiveFactsAcl(&facts->acl, entry, header->acl, false) ||
        !virStorageFspoolArchiveFactsAcl(&facts->aclDefault, entry, header->aclDefault, true))
        return N_("its access control list is not one of users and groups by number");

    facts->mode = archive_entry_perm(entry) & 07777;
    facts->uid = archive_entry_uid(entry);
    facts->gid = archive_entry_gid(entry);
    facts->mtime.tv_sec = archive_entry_mtime(entry);
    facts->mtime.tv_nsec = archive_entry_mtime_nsec(entry);
    return NULL;
}


/**
 * virStorageFspoolArchiveFail:
 * @volume: for the message
 * @path: entry of the archive
 * @err: errno
 *
 * Returns -1, with an error
 */
int
virStorageFspoolArchiveFail(const char *volume,
                            const char *path,
                            int err)
{
    g_autofree char *shown = virStorageFspoolArchiveShow(path);

    if (err == ENOSPC || err == EDQUOT) {
        virReportSystemError(err,
                             _("cannot unpack '%2$s' into volume '%1$s': the limit of the volume or the space of its pool is used up"),
                             volume, shown);
    } else {
        virReportSystemError(err, _("cannot unpack '%2$s' into volume '%1$s'"), volume, shown);
    }
    return -1;
}


/**
 * virStorageFspoolArchiveRefuse:
 * @volume: for the message
 * @path: entry of the archive
 * @why: marked for translation
 *
 * Returns -1, with an error
 */
int
virStorageFspoolArchiveRefuse(const char *volume,
                              const char *path,
                              const char *why)
{
    g_autofree char *shown = virStorageFspoolArchiveShow(path);

    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("the archive for volume '%1$s' has an entry '%2$s' that cannot be unpacked: %3$s"),
                   volume, shown, _(why));
    return -1;
}


static int
virStorageFspoolArchiveFailAttr(const char *volume,
                                const char *path,
                                const char *attr,
                                int err)
{
    g_autofree char *shown = virStorageFspoolArchiveShow(path);
    g_autofree char *shownAttr = virStorageFspoolArchiveShow(attr);

    if (err == ENOSPC || err == EDQUOT)
        return virStorageFspoolArchiveFail(volume, path, err);

    virReportSystemError(err, _("cannot set attribute '%3$s' of '%2$s' in volume '%1$s'"), volume, shown, shownAttr);
    return -1;
}


/**
 * virStorageFspoolArchiveApplyAttrs:
 * @fd: what was made, as of O_PATH or open for something
 * @entry: of the archive
 * @kind: which extended attributes are to be set now
 * @volume: for errors
 * @path: for errors
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolArchiveApplyAttrs(int fd,
                                  struct archive_entry *entry,
                                  virStorageFspoolArchiveAttrKind kind,
                                  const char *volume,
                                  const char *path)
{
    virStorageFspoolArchiveProc proc;
    const char *key;
    const void *value;
    size_t size;

    virStorageFspoolArchiveProcPath(proc, fd);
    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &key, &value, &size) == ARCHIVE_OK) {
        g_autofree char *attr = virStorageFspoolArchiveAttrDecode(key);

        if (!attr)
            return virStorageFspoolArchiveFailAttr(volume, path, key, EINVAL);
        if (virStorageFspoolArchiveAttrJudge(attr) != kind)
            continue;
        if (setxattr(proc, attr, value, size, 0) < 0)
            return virStorageFspoolArchiveFailAttr(volume, path, attr, errno);
    }
    return 0;
}


/* Sets owner and group, if we are root: nobody else can give files away. Returns 0, or -1 with an error. */
int
virStorageFspoolArchiveApplyOwner(int fd,
                                  const virStorageFspoolArchiveFacts *facts,
                                  const char *volume,
                                  const char *path)
{
    if (geteuid() == 0 && fchownat(fd, "", facts->uid, facts->gid, AT_EMPTY_PATH) < 0)
        return virStorageFspoolArchiveFail(volume, path, errno);
    return 0;
}


/* Sets an access control list, or removes what the directory above has left to everything new in it. */
static int
virStorageFspoolArchiveApplyAcl(const char *proc,
                                const char *attr,
                                const GByteArray *acl,
                                const char *volume,
                                const char *path)
{
    if (acl && setxattr(proc, attr, acl->data, acl->len, 0) < 0)
        return virStorageFspoolArchiveFailAttr(volume, path, attr, errno);
    if (!acl && removexattr(proc, attr) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
        return virStorageFspoolArchiveFailAttr(volume, path, attr, errno);
    return 0;
}


/**
 * virStorageFspoolArchiveApplyMode:
 * @fd: what was made, as of O_PATH or open for something
 * @facts: of the entry
 * @volume: for errors
 * @path: for errors
 *
 * Sets mode, access control lists and times: the last that is done to it.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolArchiveApplyMode(int fd,
                                 const virStorageFspoolArchiveFacts *facts,
                                 const char *volume,
                                 const char *path)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, facts->mtime };
    virStorageFspoolArchiveProc proc;
    struct stat sb;

    virStorageFspoolArchiveProcPath(proc, fd);

    if (fstat(fd, &sb) < 0)
        return virStorageFspoolArchiveFail(volume, path, errno);
    if (!S_ISLNK(sb.st_mode)) {
        if (virStorageFspoolArchiveApplyAcl(proc, VIR_STORAGE_FSPOOL_ARCHIVE_ACL, NULL, volume, path) < 0)
            return -1;
        if (chmod(proc, facts->mode) < 0)
            return virStorageFspoolArchiveFail(volume, path, errno);
        if (facts->acl &&
            virStorageFspoolArchiveApplyAcl(proc, VIR_STORAGE_FSPOOL_ARCHIVE_ACL, facts->acl, volume, path) < 0)
            return -1;
    }
    if (S_ISDIR(sb.st_mode) &&
        virStorageFspoolArchiveApplyAcl(proc, VIR_STORAGE_FSPOOL_ARCHIVE_ACL_DEFAULT, facts->aclDefault, volume, path) < 0)
        return -1;

    if (utimensat(AT_FDCWD, proc, times, 0) < 0)
        return virStorageFspoolArchiveFail(volume, path, errno);
    return 0;
}
