/*
 * storage_fspool_privilege.h: being held to the limits of volumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* Whether this thread was exempt from limits before; to be given back. */
typedef bool virStorageFspoolExemption;

virStorageFspoolExemption
virStorageFspoolExemptionDrop(void);

void
virStorageFspoolExemptionRestore(virStorageFspoolExemption exemption);
