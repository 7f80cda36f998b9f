/*
 * unit.h: what all unit tests need
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

void
unitInit(int *argc,
         char ***argv);

void
unitExpectError(int code,
                const char *part);

void
unitExpectNoError(void);
