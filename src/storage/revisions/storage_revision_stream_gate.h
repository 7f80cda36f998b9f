/*
 * storage_revision_stream_gate.h: keeps clients from sending ahead of what takes long
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "datatypes.h"

/* In front of a stream to a volume whose thread makes holes, and that would meanwhile queue all that comes. */
typedef struct _virStorageRevStreamGate virStorageRevStreamGate;
struct _virStorageRevStreamGate {
    GMutex lock;                /* protects what follows; taken before the stream's own */
    virStreamPtr stream;        /* which outlives the gate */
    virStreamDriver *driver;    /* the stream's own */
    int events;                 /* what the stream's owner waits for */
    unsigned long long pending; /* bytes of holes still to be made; while there are any, the gate is closed */
};

void
virStorageRevStreamGateInit(virStorageRevStreamGate *gate);

void
virStorageRevStreamGateClear(virStorageRevStreamGate *gate);

void
virStorageRevStreamGateAttach(virStorageRevStreamGate *gate,
                              virStreamPtr stream);

int
virStorageRevStreamGateAddCallback(virStorageRevStreamGate *gate,
                                   int events,
                                   virStreamEventCallback callback,
                                   void *opaque,
                                   virFreeCallback ff);

int
virStorageRevStreamGateUpdateCallback(virStorageRevStreamGate *gate,
                                      int events);

bool
virStorageRevStreamGateIsClosed(virStorageRevStreamGate *gate);

void
virStorageRevStreamGateClose(virStorageRevStreamGate *gate,
                             unsigned long long bytes);

void
virStorageRevStreamGateOpen(virStorageRevStreamGate *gate,
                            unsigned long long bytes);
