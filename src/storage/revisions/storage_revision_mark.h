/*
 * storage_revision_mark.h: whose live copies are
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_operation.h"

int
virStorageRevMarkCheck(virStorageRevFamily *family,
                       const virStorageRevState *live,
                       const virStorageRevVol *vol);

int
virStorageRevMark(virStorageRevOperation *op,
                  const virStorageRevVol *vol);

int
virStorageRevMarkNew(virStorageRevOperation *op,
                     const virStorageRevVol *vol);
