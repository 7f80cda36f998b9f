/*
 * storage_fspool_progress.h: how far the copies of trees under way have come
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_tree.h"

typedef struct _virStorageFspoolProgressEntry virStorageFspoolProgressEntry;

virStorageFspoolProgressEntry *
virStorageFspoolProgressBegin(const unsigned char *pool,
                              const char *volume);

virStorageFspoolProgress *
virStorageFspoolProgressOf(virStorageFspoolProgressEntry *entry);

void
virStorageFspoolProgressEnd(virStorageFspoolProgressEntry *entry);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageFspoolProgressEntry, virStorageFspoolProgressEnd);

bool
virStorageFspoolProgressFind(const unsigned char *pool,
                             const char *volume,
                             unsigned long long *bytes);
