/*
 * storage_revision_directory.h: pools that are a directory of a mounted file system
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <mntent.h>

#include "storage_revision_ops.h"

int
virStorageRevDirectoryBuild(virStoragePoolObj *obj,
                            unsigned int flags);

bool
virStorageRevDirectoryIsBtrfs(const char *path);

int
virStorageRevDirectoryUpdatePool(virStoragePoolObj *obj);

int
virStorageRevDirectoryReadPerms(virStoragePoolDef *def);

char *
virStorageRevDirectoryFindSources(bool (*isSource)(const struct mntent *mount));
