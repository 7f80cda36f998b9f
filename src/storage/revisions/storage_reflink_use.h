/*
 * storage_reflink_use.h: who uses an image
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

typedef enum {
    VIR_STORAGE_REFLINK_EXCLUDE_CHANGES, /* for what is read, by others perhaps as well */
    VIR_STORAGE_REFLINK_EXCLUDE_MACHINES, /* for what grows: a loop device is told, a machine cannot be */
    VIR_STORAGE_REFLINK_EXCLUDE_WRITERS, /* for what goes on existing under another name */
    VIR_STORAGE_REFLINK_EXCLUDE_READERS, /* for what changes in place, on which CHANGES relies */
    VIR_STORAGE_REFLINK_EXCLUDE_USERS,   /* for what is going to be removed */
} virStorageReflinkExclude;

int
virStorageReflinkExcludeTry(int fd,
                            virStorageReflinkExclude exclude,
                            bool *used);

/* An image that is to be used by nobody else. */
typedef struct _virStorageReflinkClaim virStorageReflinkClaim;
struct _virStorageReflinkClaim {
    int fd;           /* open for reading and writing */
    const char *name; /* of the volume, for errors */
};

int
virStorageReflinkExcludeAll(const virStorageReflinkClaim *claims,
                            size_t nclaims,
                            virStorageReflinkExclude exclude);

int
virStorageReflinkExcludeUse(int fd,
                            virStorageReflinkExclude exclude,
                            const char *name);

int
virStorageReflinkExcludeEmulators(int fd);

void
virStorageReflinkLoopsResize(int fd);
