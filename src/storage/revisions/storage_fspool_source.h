/*
 * storage_fspool_source.h: the file systems of fspools that lie on a volume of another pool, or on an NFS server
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_conf.h"
#include "virstorageobj.h"

/*
 * All are called with the pool locked.
 *
 * Those that take a virStoragePoolObj unlock it while they look up volumes, run commands or touch a file system, and
 * return with it locked again: none of this may keep other pools waiting, and a lookup locks the list of pools, which
 * comes before any pool. What the pool's callbacks know of it, but for its definition, may have changed by then. The
 * pool counts as having an asynchronous job meanwhile, and so can be neither refreshed, stopped, deleted nor undefined,
 * and as libvirt calls startPool and buildPool, it is starting: it can be neither started nor built, and a new
 * definition waits. While it is unmounted, it is made to look inactive and starting, so that nothing can be made in the
 * directory that is bare then.
 *
 * Those that take a virStoragePoolDef do not unlock it. They ask the kernel only, and wait for nothing, except
 * virStorageFspoolSourceIsAlive(), which waits for a server for VIR_STORAGE_FSPOOL_ALIVE_SECONDS at most.
 *
 * Each returns 0, or -1 with an error that has been reported.
 */

#define VIR_STORAGE_FSPOOL_ALIVE_SECONDS 5

bool
virStorageFspoolSourceIsDirectory(virStoragePoolDef *def);

int
virStorageFspoolSourceBuild(virStoragePoolObj *obj,
                            unsigned int flags);

int
virStorageFspoolSourceMount(virStoragePoolObj *obj);

int
virStorageFspoolSourceUnmount(virStoragePoolObj *obj);

int
virStorageFspoolSourceIsMounted(virStoragePoolDef *def,
                                bool *mounted);

int
virStorageFspoolSourceGrow(virStoragePoolObj *obj);

int
virStorageFspoolSourceIsAlive(virStoragePoolDef *def);
