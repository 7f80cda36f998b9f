/*
 * storage_revision_chain.h: reading backing chains
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_chain_conf.h"

char *
virStorageRevChainAbsolute(const char *path,
                           const char *backing);

virStorageRevChain *
virStorageRevChainRead(const char *path,
                       const char *backing,
                       int format);
