/*
 * storage_fspool_rename.h: moving directories, where nothing is and for one another
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <stdbool.h>

int
virStorageFspoolRenameNew(int fromdir,
                          const char *from,
                          int todir,
                          const char *to);

bool
virStorageFspoolCanExchange(int dirfd);
