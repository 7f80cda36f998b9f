/*
 * storage_thin_status.h: what the kernel says about thin pools and thin volumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

typedef enum {
    VIR_STORAGE_THIN_POOL_RW,
    VIR_STORAGE_THIN_POOL_RO,           /* the metadata could not be written */
    VIR_STORAGE_THIN_POOL_OUT_OF_SPACE, /* no data block is left */
    VIR_STORAGE_THIN_POOL_FAILED,
} virStorageThinPoolMode;

/* Status of a thin pool. Metadata blocks have 4096 bytes. */
typedef struct _virStorageThinPoolStatus virStorageThinPoolStatus;
struct _virStorageThinPoolStatus {
    virStorageThinPoolMode mode;
    bool needsCheck;
    unsigned long long transactionId;
    unsigned long long metadataUsed;
    unsigned long long metadataTotal;
    unsigned long long dataUsed;
    unsigned long long dataTotal;
};

/* What a thin pool is told once. */
typedef struct _virStorageThinPoolTable virStorageThinPoolTable;
struct _virStorageThinPoolTable {
    size_t blockSize; /* bytes */
    bool zeroes;      /* a volume does not get a block with what another one has left in it */
};

/* What tells whether an LV has been written to since. */
typedef struct _virStorageThinSight virStorageThinSight;
struct _virStorageThinSight {
    bool active;
    unsigned long long sequence; /* of the device among all that the kernel has made, or 0 */
    unsigned long long changed;  /* sectors written and discarded since the device was made */
};

int
virStorageThinPoolStatusParse(const char *params,
                              virStorageThinPoolStatus *status);

int
virStorageThinPoolTableParse(const char *params,
                             virStorageThinPoolTable *table);

int
virStorageThinVolumeStatusParse(const char *params,
                                unsigned long long *mapped);

int
virStorageThinVolumeTableParse(const char *params,
                               unsigned int *thinId);

bool
virStorageThinSightDiffers(const virStorageThinSight *before,
                           const virStorageThinSight *now,
                           bool stays);
