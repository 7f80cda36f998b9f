/*
 * storage_revision_domain.h: live copies that start and stop with their domains
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

int
virStorageRevDomainHook(int driver,
                        int op,
                        const char *extra,
                        const char *xml);
