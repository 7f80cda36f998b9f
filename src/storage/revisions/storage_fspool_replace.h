/*
 * storage_fspool_replace.h: giving a volume another tree where directories cannot change places
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_item.h"

int
virStorageFspoolReplace(virStorageFspoolPool *pool,
                        virStorageRevFamily *family,
                        virStorageFspoolStage *stage,
                        const virStorageFspoolPlace *head,
                        const virStorageFspoolPlace *revision,
                        bool removes);

int
virStorageFspoolReplaceRecover(virStorageFspoolPool *pool,
                               virStorageRevFamily *family);
