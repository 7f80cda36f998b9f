/*
 * storage_reflink_extents.h: whether two files are clones of each other still
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

bool
virStorageReflinkSharesAll(int one,
                           int other);
