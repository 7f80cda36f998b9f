/*
 * storage_fspool_archive_dirs.h: the directories of a tree that comes out of an archive
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_archive_apply.h"

typedef struct _virStorageFspoolArchiveDirs virStorageFspoolArchiveDirs;
struct _virStorageFspoolArchiveDirs {
    const char *volume;         /* for errors; not owned */
    int top;                    /* not owned */
    GHashTable *made;           /* path -> what is known of a directory; "" is the top */
    unsigned long long size;    /* about the memory that this takes */
    char *lastPath;             /* the directory that is open: the next entry is mostly in the same */
    int lastFd;
};

void
virStorageFspoolArchiveDirsInit(virStorageFspoolArchiveDirs *dirs,
                                int top,
                                const char *volume);

void
virStorageFspoolArchiveDirsClear(virStorageFspoolArchiveDirs *dirs);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolArchiveDirs, virStorageFspoolArchiveDirsClear);

int
virStorageFspoolArchiveDirsEnter(virStorageFspoolArchiveDirs *dirs,
                                 const char *path);

int
virStorageFspoolArchiveDirsMake(virStorageFspoolArchiveDirs *dirs,
                                int dirfd,
                                const char *path,
                                const char *base);

int
virStorageFspoolArchiveDirsRemember(virStorageFspoolArchiveDirs *dirs,
                                    const char *path,
                                    int fd,
                                    virStorageFspoolArchiveFacts *facts);

int
virStorageFspoolArchiveDirsFinish(virStorageFspoolArchiveDirs *dirs);
