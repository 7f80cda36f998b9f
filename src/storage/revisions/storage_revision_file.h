/*
 * storage_revision_file.h: files and directories of volumes, and what is written on them
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_family.h"
#include "virfile.h"

int
virStorageRevOpenAt(int dirfd,
                    const char *path,
                    int oflags,
                    mode_t mode);

const char *
virStorageRevAttrName(void);

int
virStorageRevCloneFile(int from,
                       int to);

int
virStorageRevMetaReadFile(int fd,
                          virStorageRevMeta *meta,
                          bool *whole);

int
virStorageRevMetaWriteFile(int fd,
                           const virStorageRevMeta *meta,
                           const char *name);

void
virStorageRevUnlockAndClose(int *fd);

/* As VIR_AUTOCLOSE, of an image that may be locked. */
#define VIR_STORAGE_REV_AUTOUNLOCK __attribute__((cleanup(virStorageRevUnlockAndClose))) int

int
virStorageRevSync(int fd,
                  const char *name);

int
virStorageRevPermsCopy(int from,
                       int to,
                       const char *name);

int
virStorageRevPermsSet(int fd,
                      const virStoragePerms *perms,
                      const char *name);

void
virStorageRevStateFromStat(int fd,
                           const struct stat *sb,
                           virStorageRevState *state);

virStorageRevState *
virStorageRevStateReuse(GHashTable *known,
                        const virStorageRevName *name,
                        int dirfd,
                        const char *entry,
                        mode_t type,
                        const char *file);
