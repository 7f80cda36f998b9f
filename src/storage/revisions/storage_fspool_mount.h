/*
 * storage_fspool_mount.h: mounting the file systems that hold directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_mountinfo.h"
#include "storage_revision_conf.h"
#include "vircommand.h"

/* A directory that a file system is mounted on, or is to be. Its parent is resolved once, when it is opened. */
typedef struct _virStorageFspoolPoint virStorageFspoolPoint;
struct _virStorageFspoolPoint {
    int parent;       /* descriptor of the parent directory, which nothing can be read through */
    int parentMount;  /* the mount that this lies on */
    char *name;       /* in the parent directory */
    char *path;       /* without symbolic links */
};

#define VIR_STORAGE_FSPOOL_POINT_INIT { .parent = -1 }

int
virStorageFspoolPointMake(const char *target,
                          const char *pool);

int
virStorageFspoolPointOpen(virStorageFspoolPoint *point,
                          const char *target,
                          const char *pool);

void
virStorageFspoolPointClear(virStorageFspoolPoint *point);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolPoint, virStorageFspoolPointClear);

int
virStorageFspoolPointRead(const virStorageFspoolPoint *point,
                          virStorageFspoolMount **mount);

int
virStorageFspoolPointOpenRoot(const virStorageFspoolPoint *point,
                              const virStorageFspoolMount *mount,
                              const char *pool);

char *
virStorageFspoolMountOptions(int format,
                             bool quota,
                             char **extra);

char *
virStorageFspoolNetworkOptions(const char *version,
                               int port,
                               char **extra);

char *
virStorageFspoolNetworkSource(const char *host,
                              const char *dir);

bool
virStorageFspoolNetworkIs(const virStorageFspoolMount *mount,
                          const char *source);

int
virStorageFspoolMountRun(const virStorageFspoolPoint *point,
                         int format,
                         const char *source,
                         const char *options,
                         const char *pool);

int
virStorageFspoolUnmountRun(const virStorageFspoolPoint *point,
                           const char *pool);

int
virStorageFspoolToolCheck(const char *tool);

int
virStorageFspoolToolRun(virCommand *cmd,
                        char **complaint);
