/*
 * storage_fspool_mountinfo.h: what is mounted where
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <sys/types.h>

#include "internal.h"

/* A mount, as /proc/self/mountinfo has it, without its escapes. */
typedef struct _virStorageFspoolMount virStorageFspoolMount;
struct _virStorageFspoolMount {
    int id;
    int parent;    /* the mount that it lies on */
    dev_t device;  /* an anonymous one, of major number 0, for Btrfs and NFS */
    char *root;    /* what of the file system is seen */
    char *path;
    char *type;
    char *source;
    bool readOnly;
};

void
virStorageFspoolMountFree(virStorageFspoolMount *mount);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageFspoolMount, virStorageFspoolMountFree);

virStorageFspoolMount *
virStorageFspoolMountCopy(const virStorageFspoolMount *mount);

GPtrArray *
virStorageFspoolMountsParse(const char *text);

GPtrArray *
virStorageFspoolMountsRead(void);

const virStorageFspoolMount *
virStorageFspoolMountsFind(GPtrArray *mounts,
                           int parent,
                           const char *path);

dev_t
virStorageFspoolMountDevice(const virStorageFspoolMount *mount);
