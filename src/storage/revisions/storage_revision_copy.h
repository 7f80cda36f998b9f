/*
 * storage_revision_copy.h: copying images without their holes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

bool
virStorageRevIsZero(const char *buf,
                    size_t len);

int
virStorageRevCopyData(int from,
                      int to,
                      size_t unit);
