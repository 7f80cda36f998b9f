/*
 * storage_revision_filesystem.h: directory volumes as file systems of domains
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "domain_conf.h"

int
virStorageRevFilesystemTranslate(virDomainFSDef *fs);

int
virStorageRevFilesystemsTranslate(virDomainDef *def);
