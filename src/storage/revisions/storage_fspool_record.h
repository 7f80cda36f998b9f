/*
 * storage_fspool_record.h: what fspools have mounted
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_mountinfo.h"

char *
virStorageFspoolBuildDirPath(const unsigned char *uuid);

int
virStorageFspoolBuildDirMake(const char *path,
                             const char *pool);

int
virStorageFspoolRecordWrite(const unsigned char *uuid,
                            const virStorageFspoolMount *mount,
                            const char *pool);

bool
virStorageFspoolRecordIs(const unsigned char *uuid,
                         const virStorageFspoolMount *mount);

void
virStorageFspoolRecordRemove(const unsigned char *uuid);
