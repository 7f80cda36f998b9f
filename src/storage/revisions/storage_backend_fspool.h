/*
 * storage_backend_fspool.h: storage backend for directory trees with a size
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"

int
virStorageBackendFspoolRegister(void);

const virStorageRevOps *
virStorageBackendFspoolOps(void);
