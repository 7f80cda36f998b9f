/*
 * remote_daemon_stream_end.h: the end of streams that may have to wait for storage
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "remote_daemon.h"

int
daemonStreamEndInit(void);

bool
daemonStreamEndLater(virNetServerClient *client,
                     virNetServerProgram *prog,
                     virStreamPtr st,
                     virNetMessage *msg);

void
daemonStreamEndGiveUp(virNetServerProgram *prog,
                      int procedure,
                      virStreamPtr st);
