/*
 * storage_thin_device.h: the devices of thin pools and thin volumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_thin_status.h"

/* A logical volume as the kernel has it. Asking costs two ioctls, and starts no process. */
typedef struct _virStorageThinDevice virStorageThinDevice;
struct _virStorageThinDevice {
    bool active;               /* all else is 0 when it is not */
    dev_t dev;
    unsigned int openCount;
    unsigned long long mapped; /* bytes that it has blocks for */
};

int
virStorageThinControlOpen(void);

int
virStorageThinDeviceRead(int control,
                         const char *vg,
                         const char *lv,
                         virStorageThinDevice *device);

int
virStorageThinDeviceId(int control,
                       const char *vg,
                       const char *lv,
                       unsigned int *thinId);

int
virStorageThinPoolRead(int control,
                       const char *vg,
                       const char *thinPool,
                       virStorageThinPoolStatus *status);

int
virStorageThinPoolReadTable(int control,
                            const char *vg,
                            const char *thinPool,
                            virStorageThinPoolTable *table);
