/*
 * storage_reflink_file.h: image files below a pool's directory
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_file.h"
#include "virfile.h"

/* The directory that a volume's files lie in. */
typedef struct _virStorageReflinkDir virStorageReflinkDir;
struct _virStorageReflinkDir {
    int fd;
    const char *base; /* last part of the volume's name; owned by the caller of open */
};

#define VIR_STORAGE_REFLINK_DIR_INIT { .fd = -1 }

int
virStorageReflinkDirOpen(virStorageReflinkDir *dir,
                         const char *poolPath,
                         const char *volume,
                         bool create);

int
virStorageReflinkDirSync(virStorageReflinkDir *dir,
                         const char *volume);

void
virStorageReflinkDirPrune(const char *poolPath,
                          const char *volume);

void
virStorageReflinkDirClear(virStorageReflinkDir *dir);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageReflinkDir, virStorageReflinkDirClear);

int
virStorageReflinkFileOpen(virStorageReflinkDir *dir,
                          const char *file,
                          int oflags,
                          const char *name);

int
virStorageReflinkFileLink(int fd,
                          int dirfd,
                          const char *file);

int
virStorageReflinkFileRemove(virStorageReflinkDir *dir,
                            const char *file,
                            const char *name);

/* An image that is being made, and does not have its name yet. */
typedef struct _virStorageReflinkImage virStorageReflinkImage;
struct _virStorageReflinkImage {
    int fd;
    int dirfd;      /* not owned */
    char *stage;    /* its name while it is staged; NULL: it has none, and goes away by itself */
};

#define VIR_STORAGE_REFLINK_IMAGE_INIT { .fd = -1, .dirfd = -1 }

int
virStorageReflinkImageCreate(virStorageReflinkImage *image,
                             virStorageReflinkDir *dir,
                             bool staged,
                             const char *name);

int
virStorageReflinkImageSync(virStorageReflinkImage *image,
                           virStorageReflinkDir *dir,
                           const char *poolPath,
                           const char *volume);

int
virStorageReflinkImageInstall(virStorageReflinkImage *image,
                              virStorageReflinkDir *dir,
                              const char *file,
                              const char *name);

int
virStorageReflinkImageReplace(virStorageReflinkImage *image,
                              virStorageReflinkDir *dir,
                              const char *file,
                              const char *name);

void
virStorageReflinkImageClear(virStorageReflinkImage *image);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageReflinkImage, virStorageReflinkImageClear);

int
virStorageReflinkStageLock(int fd);

int
virStorageReflinkStageClear(virStorageReflinkDir *dir,
                            const char *volume);
