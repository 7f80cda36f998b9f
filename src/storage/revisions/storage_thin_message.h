/*
 * storage_thin_message.h: LVM's complaints
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"
#include "virerror.h"

char *
virStorageThinMessage(const char *output);

const char *
virStorageThinHint(const char *message,
                   virErrorNumber *code);

const char *
virStorageThinNeedsCheck(void);
