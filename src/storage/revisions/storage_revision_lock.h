/*
 * storage_revision_lock.h: locks on volumes, by pool and name
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* How long a caller waits for another operation that is expected to be short. */
#define VIR_STORAGE_REV_LOCK_WAIT_MS (30 * 1000)

typedef struct _virStorageRevLocks virStorageRevLocks;

virStorageRevLocks *
virStorageRevLocksAcquire(const unsigned char *targetPool,
                          const char *target,
                          const unsigned char *sourcePool,
                          const char *source,
                          const char *kept,
                          bool slow);

virStorageRevLocks *
virStorageRevLocksTry(const unsigned char *pool,
                      const char *volume);

bool
virStorageRevLocksAreHeld(const unsigned char *pool,
                          const char *volume);

void
virStorageRevLocksRelease(virStorageRevLocks *locks);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageRevLocks, virStorageRevLocksRelease);
