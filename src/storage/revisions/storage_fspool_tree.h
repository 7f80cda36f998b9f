/*
 * storage_fspool_tree.h: copying and removing directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/*
 * Other processes may change a tree at any time, also in bad faith, while it is copied or removed. So no path is ever
 * resolved twice: everything is reached from an open directory by one name, no symbolic link is followed, no mount
 * point crossed, and no FIFO or device opened. Trees may be of any depth: neither stack nor open descriptors grow with
 * it.
 */

/* How far a copy has come, and whether it shall end. Other threads may use the functions below at any time. */
typedef struct _virStorageFspoolProgress virStorageFspoolProgress;
struct _virStorageFspoolProgress {
    unsigned long long entries; /* files, directories and others that are done */
    unsigned long long bytes;   /* of data, without holes, that are copied or shared */
    int cancel;
};

void
virStorageFspoolProgressRead(virStorageFspoolProgress *progress,
                             unsigned long long *entries,
                             unsigned long long *bytes);

void
virStorageFspoolProgressCancel(virStorageFspoolProgress *progress);

int
virStorageFspoolTreeCopy(int from,
                         int to,
                         const char *name,
                         virStorageFspoolProgress *progress);

typedef bool (*virStorageFspoolTreeCancelled)(void);

int
virStorageFspoolTreeRemove(int dirfd,
                           const char *entry,
                           const char *name,
                           virStorageFspoolTreeCancelled cancelled);

int
virStorageFspoolTreeEmpty(int fd,
                          const char *name);
