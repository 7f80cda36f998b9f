/*
 * storage_fspool_folder.h: the directories that volumes with nested names lie in
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_place.h"

bool
virStorageFspoolIsFolder(int fd,
                         const virStorageRevMeta *meta);

void
virStorageFspoolFoldersPrune(virStorageFspoolRoot *root,
                             const char *path);
