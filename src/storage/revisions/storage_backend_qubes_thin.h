/*
 * storage_backend_qubes_thin.h: storage backend for thin logical volumes as Qubes OS keeps them
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"

int
virStorageBackendQubesThinRegister(void);

const virStorageRevOps *
virStorageBackendQubesThinOps(void);
