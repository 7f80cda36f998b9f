/*
 * storage_revision_stream_event.c: what a stream tells its client when it cannot go on
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_stream_event.h"

#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* Gives the last error, of a stream of libvirt's, the names that its user knows: to the stream, the file is a number. */
void
virStorageRevStreamNameError(const char *volume,
                             const char *pool)
{
    virErrorPtr err = virGetLastError();

    if (err && err->code == VIR_ERR_SYSTEM_ERROR)
        virReportSystemError(err->int1, _("cannot write to volume '%1$s' in pool '%2$s'"), volume, pool);
}


virStorageRevStreamEvents *
virStorageRevStreamEventsNew(const char *volume,
                             const char *pool,
                             virStreamEventCallback callback,
                             void *opaque,
                             virFreeCallback ff)
{
    virStorageRevStreamEvents *events = g_new0(virStorageRevStreamEvents, 1);

    events->volume = g_strdup(volume);
    events->pool = g_strdup(pool);
    events->callback = callback;
    events->opaque = opaque;
    events->ff = ff;
    return events;
}


void
virStorageRevStreamEventsFree(void *opaque)
{
    virStorageRevStreamEvents *events = opaque;

    if (events->ff)
        events->ff(events->opaque);
    g_free(events->volume);
    g_free(events->pool);
    g_free(events);
}


/* The stream calls this, with its thread's error as the last one. */
void
virStorageRevStreamEvent(virStreamPtr st,
                         int events,
                         void *opaque)
{
    virStorageRevStreamEvents *named = opaque;

    if (events & VIR_STREAM_EVENT_ERROR)
        virStorageRevStreamNameError(named->volume, named->pool);
    named->callback(st, events, named->opaque);
}
