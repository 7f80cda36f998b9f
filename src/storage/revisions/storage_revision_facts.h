/*
 * storage_revision_facts.h: the metadata of states that are about to be made
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_ops.h"

/* Each fills @meta, which is initialised. None does I/O. */

void
virStorageRevFactsNewHead(const char *volume,
                          virStorageVolDef *def,
                          const virStorageRevSource *source,
                          virStorageRevMeta *meta);

virStorageRevUse
virStorageRevFactsUse(virStorageRevFamily *family);

void
virStorageRevFactsMarked(virStorageRevFamily *family,
                         const virStorageRevVol *vol,
                         virStorageRevMeta *meta);

void
virStorageRevFactsOfVolume(virStorageRevFamily *family,
                           virStorageRevMeta *meta);

void
virStorageRevFactsLive(virStorageRevFamily *family,
                       const virStorageRevSource *source,
                       virStorageRevMeta *meta);

void
virStorageRevFactsLiveBlank(virStorageRevFamily *family,
                            virStorageRevMeta *meta);

void
virStorageRevFactsNextHead(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           const virStorageRevMeta *content,
                           unsigned long long id,
                           bool prunes,
                           virStorageRevMeta *meta);

void
virStorageRevFactsRedefined(virStorageRevFamily *family,
                            const virStorageRevMeta *facts,
                            virStorageRevMeta *meta);

bool
virStorageRevFactsToRemember(virStorageRevFamily *family,
                             const virStorageRevState *revision,
                             virStorageRevMeta *facts);

bool
virStorageRevFactsLiveIsOfHead(virStorageRevFamily *family);

bool
virStorageRevFactsLiveIsOfEarlierBoot(virStorageRevFamily *family);
