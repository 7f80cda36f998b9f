/*
 * storage_fspool_archive_attr.c: extended attributes and access control lists in archives
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <archive.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "storage_fspool_archive_attr.h"

#include "virstring.h"

/* How often a value, or the list, may grow between asking for its size and reading it. */
#define READ_TRIES 8

/* The tags of an access control list: ours are the kernel's, in the order in which the kernel wants them. */
static const struct {
    int kernel;
    int archive;
    bool qualified;
} tags[] = {
    { ACL_USER_OBJ, ARCHIVE_ENTRY_ACL_USER_OBJ, false },
    { ACL_USER, ARCHIVE_ENTRY_ACL_USER, true },
    { ACL_GROUP_OBJ, ARCHIVE_ENTRY_ACL_GROUP_OBJ, false },
    { ACL_GROUP, ARCHIVE_ENTRY_ACL_GROUP, true },
    { ACL_MASK, ARCHIVE_ENTRY_ACL_MASK, false },
    { ACL_OTHER, ARCHIVE_ENTRY_ACL_OTHER, false },
};


/* Metadata of a volume, by either of its names: it says what a tree is, and is no part of it. */
bool
virStorageFspoolArchiveAttrIsOurs(const char *attr)
{
    return STREQ(attr, "trusted.libvirt.storage") || STREQ(attr, "user.libvirt.storage");
}


/**
 * virStorageFspoolArchiveAttrJudge:
 * @attr: extended attribute that an archive has
 *
 * Of "security.", capabilities only: labels of files are for the policy of this host to give, and an archive that could
 * would get around it. Whoever is not root can only set "user.".
 */
virStorageFspoolArchiveAttrKind
virStorageFspoolArchiveAttrJudge(const char *attr)
{
    bool root = geteuid() == 0;

    if (virStorageFspoolArchiveAttrIsOurs(attr))
        return VIR_STORAGE_FSPOOL_ARCHIVE_ATTR_IGNORE;
    if (STREQ(attr, "security.capability") && root)
        return VIR_STORAGE_FSPOOL_ARCHIVE_ATTR_AFTER_OWNER;
    if (STRPREFIX(attr, "user.") || (STRPREFIX(attr, "trusted.") && root))
        return VIR_STORAGE_FSPOOL_ARCHIVE_ATTR_SET;
    return VIR_STORAGE_FSPOOL_ARCHIVE_ATTR_IGNORE;
}


/* Archives have "%3D" for "=" in the name of an attribute, and the like. Returns NULL when it is none. */
char *
virStorageFspoolArchiveAttrDecode(const char *key)
{
    g_autofree char *name = g_new0(char, strlen(key) + 1);
    char *to = name;

    for (; *key; key++) {
        if (*key == '%' && g_ascii_isxdigit(key[1]) && g_ascii_isxdigit(key[2])) {
            *to = g_ascii_xdigit_value(key[1]) << 4 | g_ascii_xdigit_value(key[2]);
            key += 2;
        } else {
            *to = *key;
        }
        if (!*to++)
            return NULL;
    }
    return *name ? g_steal_pointer(&name) : NULL;
}


/**
 * virStorageFspoolArchiveAttrRead:
 * @path: as of virStorageFspoolArchiveProcPath()
 * @attr: extended attribute, NULL for the list of their names
 * @value: set to its value, or to NULL when there is none
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolArchiveAttrRead(const char *path,
                                const char *attr,
                                GByteArray **value)
{
    size_t tries;

    *value = NULL;
    for (tries = 0; tries < READ_TRIES; tries++) {
        g_autoptr(GByteArray) buf = g_byte_array_new();
        ssize_t len = attr ? getxattr(path, attr, NULL, 0) : listxattr(path, NULL, 0);

        if (len > 0) {
            g_byte_array_set_size(buf, len);
            len = attr ? getxattr(path, attr, buf->data, len) : listxattr(path, (char *) buf->data, len);
        }
        if (len < 0 && (errno == ENODATA || errno == EOPNOTSUPP))
            return 0;
        if (len < 0 && errno != ERANGE)
            return -1;
        if (len >= 0) {
            g_byte_array_set_size(buf, len);
            *value = g_steal_pointer(&buf);
            return 0;
        }
    }
    errno = EBUSY;
    return -1;
}


/* The names of all extended attributes, each with its NUL. Returns 0, or -1 with errno. */
int
virStorageFspoolArchiveAttrList(const char *path,
                                GByteArray **names)
{
    return virStorageFspoolArchiveAttrRead(path, NULL, names);
}


static ssize_t
virStorageFspoolArchiveAclTag(int kernel,
                              int archive)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(tags); i++) {
        if (tags[i].kernel == kernel || tags[i].archive == archive)
            return i;
    }
    return -1;
}


/**
 * virStorageFspoolArchiveAclAdd:
 * @entry: of an archive, which has its mode already
 * @type: ARCHIVE_ENTRY_ACL_TYPE_ACCESS or ARCHIVE_ENTRY_ACL_TYPE_DEFAULT
 * @acl: the list as the kernel has it
 *
 * The permission bits are the same in both forms.
 *
 * Returns 0, or -1 with errno: EINVAL for what cannot be read, EOVERFLOW for an owner that archives cannot name
 */
int
virStorageFspoolArchiveAclAdd(struct archive_entry *entry,
                              int type,
                              const GByteArray *acl)
{
    struct posix_acl_xattr_header header;
    struct posix_acl_xattr_entry item;
    size_t at;

    if (acl->len < sizeof(header) || (acl->len - sizeof(header)) % sizeof(item) != 0) {
        errno = EINVAL;
        return -1;
    }
    memcpy(&header, acl->data, sizeof(header));
    if (GUINT32_FROM_LE(header.a_version) != POSIX_ACL_XATTR_VERSION) {
        errno = EINVAL;
        return -1;
    }

    for (at = sizeof(header); at < acl->len; at += sizeof(item)) {
        ssize_t tag;
        guint32 id;

        memcpy(&item, acl->data + at, sizeof(item));
        id = GUINT32_FROM_LE(item.e_id);
        tag = virStorageFspoolArchiveAclTag(GUINT16_FROM_LE(item.e_tag), -1);
        if (tag < 0) {
            errno = EINVAL;
            return -1;
        }
        /* libarchive has an int, and would write 0, which is root, for what does not fit */
        if (tags[tag].qualified && id >= INT_MAX) {
            errno = EOVERFLOW;
            return -1;
        }
        if (archive_entry_acl_add_entry(entry, type, GUINT16_FROM_LE(item.e_perm) & 7, tags[tag].archive,
                                        tags[tag].qualified ? (int) id : -1, NULL) != ARCHIVE_OK) {
            errno = EINVAL;
            return -1;
        }
    }
    return 0;
}


static int
virStorageFspoolArchiveAclCompare(const void *a,
                                  const void *b)
{
    const struct posix_acl_xattr_entry *one = a;
    const struct posix_acl_xattr_entry *other = b;
    int tag = GUINT16_FROM_LE(one->e_tag);
    int otherTag = GUINT16_FROM_LE(other->e_tag);
    guint32 id = GUINT32_FROM_LE(one->e_id);
    guint32 otherId = GUINT32_FROM_LE(other->e_id);

    return tag != otherTag ? tag - otherTag : (id > otherId) - (id < otherId);
}


/* Gathers the entries of one type. A user or group that has a name only is no one in particular: archives come from
 * other systems. */
static int
virStorageFspoolArchiveAclGather(struct archive_entry *from,
                                 int type,
                                 GArray *items)
{
    int entryType;
    int perm;
    int archiveTag;
    int id;
    const char *name;
    int rc;

    archive_entry_acl_reset(from, type);
    while ((rc = archive_entry_acl_next(from, type, &entryType, &perm, &archiveTag, &id, &name)) == ARCHIVE_OK) {
        struct posix_acl_xattr_entry item = { 0 };
        ssize_t tag = virStorageFspoolArchiveAclTag(-1, archiveTag);

        if (tag < 0 || (tags[tag].qualified && (id < 0 || id == INT_MAX)))
            return -1;
        item.e_tag = GUINT16_TO_LE(tags[tag].kernel);
        item.e_perm = GUINT16_TO_LE(perm & 7);
        item.e_id = GUINT32_TO_LE(tags[tag].qualified ? (guint32) id : (guint32) ACL_UNDEFINED_ID);
        g_array_append_val(items, item);
    }
    return rc == ARCHIVE_EOF || rc == ARCHIVE_WARN ? 0 : -1;
}


/**
 * virStorageFspoolArchiveAclParse:
 * @text: as archives have it, "user::rw-,user:1000:r--,..."
 * @type: ARCHIVE_ENTRY_ACL_TYPE_ACCESS or ARCHIVE_ENTRY_ACL_TYPE_DEFAULT
 *
 * libarchive parses it, too, when it reads an entry, but leaves out silently what it does not understand, which can be
 * what keeps somebody from reading.
 *
 * Returns the list as the kernel has it; an empty one when it says no more than a mode does; NULL when it is not a list
 * of users and groups by number
 */
GByteArray *
virStorageFspoolArchiveAclParse(const char *text,
                                int type)
{
    struct archive_entry *scratch = archive_entry_new();
    struct posix_acl_xattr_header header = { .a_version = GUINT32_TO_LE(POSIX_ACL_XATTR_VERSION) };
    g_autoptr(GArray) items = g_array_new(false, false, sizeof(struct posix_acl_xattr_entry));
    g_autoptr(GByteArray) acl = g_byte_array_new();
    bool good;

    good = scratch &&
        archive_entry_acl_from_text(scratch, text, type) == ARCHIVE_OK &&
        (archive_entry_acl_types(scratch) & ~type) == 0 &&
        virStorageFspoolArchiveAclGather(scratch, type, items) == 0;
    archive_entry_free(scratch);
    if (!good)
        return NULL;

    if (items->len > 0) {
        g_array_sort(items, virStorageFspoolArchiveAclCompare);
        g_byte_array_append(acl, (const guint8 *) &header, sizeof(header));
        g_byte_array_append(acl, (const guint8 *) items->data, items->len * sizeof(struct posix_acl_xattr_entry));
    }
    return g_steal_pointer(&acl);
}
