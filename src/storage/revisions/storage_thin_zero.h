/*
 * storage_thin_zero.h: zeros in a thin volume
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

int
virStorageThinZero(int fd,
                   unsigned long long offset,
                   unsigned long long length);
