/*
 * storage_reflink_extents.h: whether two files are clones of each other still
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* Freeing the extents of a file that has no more takes less than a flush of the disk. */
#define VIR_STORAGE_REFLINK_FEW_EXTENTS 256

bool
virStorageReflinkSharesAll(int one,
                           int other);

bool
virStorageReflinkHasFewExtents(int fd);
