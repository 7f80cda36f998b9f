/*
 * storage_revision_stream_gate.c: keeps clients from sending ahead of what takes long
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_stream_gate.h"

#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


void
virStorageRevStreamGateInit(virStorageRevStreamGate *gate)
{
    g_mutex_init(&gate->lock);
}


void
virStorageRevStreamGateClear(virStorageRevStreamGate *gate)
{
    g_mutex_clear(&gate->lock);
}


/* Puts it in front of a stream that is open, before anything is sent. */
void
virStorageRevStreamGateAttach(virStorageRevStreamGate *gate,
                              virStreamPtr stream)
{
    gate->stream = stream;
    gate->driver = stream->driver;
}


/* What the stream is to watch for. Called with the gate locked. */
static int
virStorageRevStreamGateEvents(const virStorageRevStreamGate *gate)
{
    return gate->pending > 0 ? gate->events & ~VIR_STREAM_EVENT_WRITABLE : gate->events;
}


/* Called with the gate locked. */
static void
virStorageRevStreamGateApply(virStorageRevStreamGate *gate)
{
    if (gate->driver->streamEventUpdateCallback(gate->stream, virStorageRevStreamGateEvents(gate)) < 0)
        virResetLastError(); /* nobody waits for events any more */
}


/* As the function of a stream's driver. */
int
virStorageRevStreamGateAddCallback(virStorageRevStreamGate *gate,
                                   int events,
                                   virStreamEventCallback callback,
                                   void *opaque,
                                   virFreeCallback ff)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&gate->lock);

    gate->events = events;
    return gate->driver->streamEventAddCallback(gate->stream, virStorageRevStreamGateEvents(gate),
                                                callback, opaque, ff);
}


/* As the function of a stream's driver. */
int
virStorageRevStreamGateUpdateCallback(virStorageRevStreamGate *gate,
                                      int events)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&gate->lock);

    gate->events = events;
    return gate->driver->streamEventUpdateCallback(gate->stream, virStorageRevStreamGateEvents(gate));
}


/* Whether nothing may be sent now: an event tells when. */
bool
virStorageRevStreamGateIsClosed(virStorageRevStreamGate *gate)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&gate->lock);

    return gate->pending > 0;
}


/**
 * virStorageRevStreamGateClose:
 * @gate: gate
 * @bytes: what is to be made, and taken back with virStorageRevStreamGateOpen()
 *
 * Called in the event loop, before the stream's thread hears of it.
 */
void
virStorageRevStreamGateClose(virStorageRevStreamGate *gate,
                             unsigned long long bytes)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&gate->lock);

    gate->pending += bytes;
    virStorageRevStreamGateApply(gate);
}


/* Opens it when these were the last bytes. Called in any thread, with the stream unlocked. */
void
virStorageRevStreamGateOpen(virStorageRevStreamGate *gate,
                            unsigned long long bytes)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&gate->lock);

    gate->pending -= MIN(bytes, gate->pending);
    if (gate->pending == 0)
        virStorageRevStreamGateApply(gate);
}
