/*
 * storage_fspool_archive_input.h: reading a tar archive, to its very end
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <archive_entry.h>

#include "storage_fspool_archive_header.h"

typedef struct _virStorageFspoolArchiveInput virStorageFspoolArchiveInput;

virStorageFspoolArchiveInput *
virStorageFspoolArchiveInputNew(int fd,
                                const char *volume,
                                const int *cancelled);

void
virStorageFspoolArchiveInputFree(virStorageFspoolArchiveInput *input);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageFspoolArchiveInput, virStorageFspoolArchiveInputFree);

int
virStorageFspoolArchiveInputNext(virStorageFspoolArchiveInput *input,
                                 struct archive_entry **entry,
                                 virStorageFspoolArchiveHeader *header);

int
virStorageFspoolArchiveInputData(virStorageFspoolArchiveInput *input,
                                 const void **data,
                                 size_t *len,
                                 long long *offset);
