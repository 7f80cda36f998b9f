/*
 * storage_fspool_archive_apply.h: owner, mode, attributes and times of what comes out of an archive
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <sys/types.h>
#include <time.h>

#include "storage_fspool_archive_attr.h"
#include "storage_fspool_archive_header.h"

/* What an entry is given, apart from its content and its extended attributes. */
typedef struct _virStorageFspoolArchiveFacts virStorageFspoolArchiveFacts;
struct _virStorageFspoolArchiveFacts {
    mode_t mode;
    uid_t uid;
    gid_t gid;
    struct timespec mtime;
    GByteArray *acl;        /* as the kernel has it; NULL: none */
    GByteArray *aclDefault;
};

const char *
virStorageFspoolArchiveFactsRead(virStorageFspoolArchiveFacts *facts,
                                 struct archive_entry *entry,
                                 const virStorageFspoolArchiveHeader *header);

void
virStorageFspoolArchiveFactsClear(virStorageFspoolArchiveFacts *facts);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolArchiveFacts, virStorageFspoolArchiveFactsClear);

int
virStorageFspoolArchiveFail(const char *volume,
                            const char *path,
                            int err);

int
virStorageFspoolArchiveRefuse(const char *volume,
                              const char *path,
                              const char *why);

int
virStorageFspoolArchiveApplyAttrs(int fd,
                                  struct archive_entry *entry,
                                  virStorageFspoolArchiveAttrKind kind,
                                  const char *volume,
                                  const char *path);

int
virStorageFspoolArchiveApplyOwner(int fd,
                                  const virStorageFspoolArchiveFacts *facts,
                                  const char *volume,
                                  const char *path);

int
virStorageFspoolArchiveApplyMode(int fd,
                                 const virStorageFspoolArchiveFacts *facts,
                                 const char *volume,
                                 const char *path);
