/*
 * storage_fspool_alive.h: does a server answer?
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

typedef int (*virStorageFspoolAliveAsk)(const char *path);

int
virStorageFspoolAliveWait(const char *path,
                          unsigned int seconds);

int
virStorageFspoolAliveWaitFor(const char *path,
                             unsigned int seconds,
                             virStorageFspoolAliveAsk ask);
