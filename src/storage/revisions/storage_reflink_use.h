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
    VIR_STORAGE_REFLINK_EXCLUDE_WRITERS, /* for what goes on existing under another name */
    VIR_STORAGE_REFLINK_EXCLUDE_USERS,   /* for what is going to be removed */
} virStorageReflinkExclude;

int
virStorageReflinkExcludeTry(int fd,
                            virStorageReflinkExclude exclude,
                            bool *used);

int
virStorageReflinkExcludeUse(int fd,
                            virStorageReflinkExclude exclude,
                            const char *name);

void
virStorageReflinkLoopsResize(int fd);
