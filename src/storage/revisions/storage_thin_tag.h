/*
 * storage_thin_tag.h: metadata as tags of logical volumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_meta.h"

char *
virStorageThinTagFormat(const virStorageRevMeta *meta);

char *
virStorageThinTagFormatNext(const virStorageRevMeta *meta);

bool
virStorageThinTagIsOurs(const char *tag);

bool
virStorageThinTagsParse(const char * const *tags,
                        unsigned int thinId,
                        virStorageRevMeta *meta);

bool
virStorageThinTagsParseNext(const char * const *tags,
                            virStorageRevMeta *meta);
