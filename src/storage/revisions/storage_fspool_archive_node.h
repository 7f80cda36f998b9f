/*
 * storage_fspool_archive_node.h: what lies in a directory tree that others may change
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <limits.h>
#include <sys/types.h>

#include "internal.h"

/* The longest path in an archive, in bytes. Paths of the kernel end at 4 KiB, but directories may lie deeper. */
#define VIR_STORAGE_FSPOOL_ARCHIVE_PATH_MAX (32 * 1024)

/* Where the kernel shows an open file: a path to it that nobody can redirect. */
typedef char virStorageFspoolArchiveProc[sizeof("/proc/self/fd/") + 16];

void
virStorageFspoolArchiveProcPath(virStorageFspoolArchiveProc path,
                                int fd);

int
virStorageFspoolArchiveOpenDir(int dirfd,
                               const char *path);

int
virStorageFspoolArchiveReopenDir(int dirfd,
                                 const char *path,
                                 int below,
                                 dev_t dev,
                                 ino_t ino);

char *
virStorageFspoolArchiveShow(const char *path);

char *
virStorageFspoolArchiveParent(const char *path,
                              const char **base);
