/*
 * storage_fspool_archive_header.h: what the headers of a tar archive say
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

#define VIR_STORAGE_FSPOOL_ARCHIVE_BLOCK 512

/* Kinds of entries, as tar writes them. */
typedef enum {
    VIR_STORAGE_FSPOOL_ARCHIVE_FILE = '0',
    VIR_STORAGE_FSPOOL_ARCHIVE_HARDLINK = '1',
    VIR_STORAGE_FSPOOL_ARCHIVE_SYMLINK = '2',
    VIR_STORAGE_FSPOOL_ARCHIVE_CHARDEV = '3',
    VIR_STORAGE_FSPOOL_ARCHIVE_BLOCKDEV = '4',
    VIR_STORAGE_FSPOOL_ARCHIVE_DIR = '5',
    VIR_STORAGE_FSPOOL_ARCHIVE_FIFO = '6',
} virStorageFspoolArchiveKind;

/* What is read here, and not by libarchive. All are as the archive has them, whatever their bytes. */
typedef struct _virStorageFspoolArchiveHeader virStorageFspoolArchiveHeader;
struct _virStorageFspoolArchiveHeader {
    virStorageFspoolArchiveKind kind;
    char *path;
    char *link;         /* target; "" for none */
    char *acl;          /* NULL: none */
    char *aclDefault;
};

void
virStorageFspoolArchiveHeaderClear(virStorageFspoolArchiveHeader *header);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolArchiveHeader, virStorageFspoolArchiveHeaderClear);

const char *
virStorageFspoolArchiveHeaderParse(const char *data,
                                   size_t len,
                                   virStorageFspoolArchiveHeader *header);
