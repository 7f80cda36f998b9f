/*
 * storage_fspool_archive_output.h: writing a tar archive
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <archive_entry.h>

#include "internal.h"

typedef struct _virStorageFspoolArchiveOutput virStorageFspoolArchiveOutput;

virStorageFspoolArchiveOutput *
virStorageFspoolArchiveOutputNew(int fd,
                                 const char *volume);

void
virStorageFspoolArchiveOutputFree(virStorageFspoolArchiveOutput *output);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageFspoolArchiveOutput, virStorageFspoolArchiveOutputFree);

int
virStorageFspoolArchiveOutputEntry(virStorageFspoolArchiveOutput *output,
                                   struct archive_entry *entry);

int
virStorageFspoolArchiveOutputFile(virStorageFspoolArchiveOutput *output,
                                  struct archive_entry *entry,
                                  int fd,
                                  long long allocated);

int
virStorageFspoolArchiveOutputEnd(virStorageFspoolArchiveOutput *output);
