/*
 * storage_backend_reflink.h: storage backend for image files that the file system clones
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"

int
virStorageBackendReflinkRegister(void);

const virStorageRevOps *
virStorageBackendReflinkOps(void);
