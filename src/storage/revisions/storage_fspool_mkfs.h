/*
 * storage_fspool_mkfs.h: making and growing the file systems that hold directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_conf.h"
#include "vircommand.h"

#define VIR_STORAGE_FSPOOL_SUPERBLOCK_SIZE 1536

/* What a file system's superblock tells. */
typedef struct _virStorageFspoolSuperblock virStorageFspoolSuperblock;
struct _virStorageFspoolSuperblock {
    bool known;
    bool quota;                /* it counts what projects use: XFS once it was mounted so, ext4 as it was made */
    unsigned int blockSize;    /* ext4 only */
    unsigned long long blocks; /* ext4 only */
};

void
virStorageFspoolSuperblockParse(int format,
                                const unsigned char *data,
                                virStorageFspoolSuperblock *sb);

int
virStorageFspoolSuperblockRead(int format,
                               const char *node,
                               virStorageFspoolSuperblock *sb);

virCommand *
virStorageFspoolMkfsCommand(int format,
                            const char *node,
                            bool quota);

int
virStorageFspoolMkfs(int format,
                     const char *node,
                     bool quota,
                     const char *volume);

int
virStorageFspoolMkfsCheckEmpty(int format,
                               const char *node,
                               const char *volume);

int
virStorageFspoolGrow(int format,
                     int fd,
                     const char *node,
                     unsigned long long size,
                     const char *pool);
