/*
 * storage_fspool_archive.h: directory trees as tar archives
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

int
virStorageFspoolArchivePack(int dirfd,
                            int out,
                            const char *name);

int
virStorageFspoolArchiveUnpack(int in,
                              int dirfd,
                              const char *name,
                              const int *cancelled);
