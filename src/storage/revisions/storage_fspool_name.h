/*
 * storage_fspool_name.h: names of the directories that hold volumes and their revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_name.h"

/* The directory at the pool's root that is ours, and what is in it. */
#define VIR_STORAGE_FSPOOL_DIR ".fspool"
#define VIR_STORAGE_FSPOOL_REVISIONS VIR_STORAGE_FSPOOL_DIR "/revisions"
#define VIR_STORAGE_FSPOOL_STAGING VIR_STORAGE_FSPOOL_DIR "/staging"
#define VIR_STORAGE_FSPOOL_TRASH VIR_STORAGE_FSPOOL_DIR "/trash"

/* Longest path that a call of the kernel takes, and longest target of a symbolic link, with what ends it. */
#define VIR_STORAGE_FSPOOL_PATH_MAX 4096

char *
virStorageFspoolNameEncode(const char *volume);

char *
virStorageFspoolNameDecode(const char *entry);

char *
virStorageFspoolRevisionFormat(const char *volume,
                               virStorageRevKind kind,
                               unsigned long long id,
                               const char *word);

int
virStorageFspoolRevisionParse(const char *entry,
                              virStorageRevName *name);

int
virStorageFspoolNameCheck(const virStorageRevName *name);

const char *
virStorageFspoolPathProblem(const char *path);

char *
virStorageFspoolPathBelow(const char *poolPath,
                          const char *path);
