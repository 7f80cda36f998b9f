/*
 * storage_fspool_archive_attr.h: extended attributes and access control lists in archives
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <archive_entry.h>

#include "internal.h"

#define VIR_STORAGE_FSPOOL_ARCHIVE_ACL "system.posix_acl_access"
#define VIR_STORAGE_FSPOOL_ARCHIVE_ACL_DEFAULT "system.posix_acl_default"

typedef enum {
    VIR_STORAGE_FSPOOL_ARCHIVE_ATTR_IGNORE,     /* not for an archive to decide */
    VIR_STORAGE_FSPOOL_ARCHIVE_ATTR_SET,
    VIR_STORAGE_FSPOOL_ARCHIVE_ATTR_AFTER_OWNER /* a change of the owner would remove it */
} virStorageFspoolArchiveAttrKind;

bool
virStorageFspoolArchiveAttrIsOurs(const char *attr);

virStorageFspoolArchiveAttrKind
virStorageFspoolArchiveAttrJudge(const char *attr);

char *
virStorageFspoolArchiveAttrDecode(const char *key);

int
virStorageFspoolArchiveAttrRead(const char *path,
                                const char *attr,
                                GByteArray **value);

int
virStorageFspoolArchiveAttrList(const char *path,
                                GByteArray **names);

int
virStorageFspoolArchiveAclAdd(struct archive_entry *entry,
                              int type,
                              const GByteArray *acl);

GByteArray *
virStorageFspoolArchiveAclParse(const char *text,
                                int type);
