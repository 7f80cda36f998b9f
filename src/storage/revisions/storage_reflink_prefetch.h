/*
 * storage_reflink_prefetch.h: reading the inodes of a directory side by side
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

void
virStorageReflinkPrefetch(int dirfd,
                          const char **names,
                          size_t nnames);
