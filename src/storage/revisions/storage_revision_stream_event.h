/*
 * storage_revision_stream_event.h: what a stream tells its client when it cannot go on
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* A callback of a stream that writes to a volume. */
typedef struct _virStorageRevStreamEvents virStorageRevStreamEvents;
struct _virStorageRevStreamEvents {
    char *volume;
    char *pool;
    virStreamEventCallback callback;
    void *opaque;
    virFreeCallback ff; /* of opaque, or NULL */
};

void
virStorageRevStreamNameError(const char *volume,
                             const char *pool);

virStorageRevStreamEvents *
virStorageRevStreamEventsNew(const char *volume,
                             const char *pool,
                             virStreamEventCallback callback,
                             void *opaque,
                             virFreeCallback ff);

void
virStorageRevStreamEventsFree(void *opaque);

void
virStorageRevStreamEvent(virStreamPtr st,
                         int events,
                         void *opaque);
