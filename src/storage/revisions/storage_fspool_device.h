/*
 * storage_fspool_device.h: volumes of other pools that hold file systems of directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_fspool_mountinfo.h"

/* What the storage API tells of a volume. */
typedef struct _virStorageFspoolVolume virStorageFspoolVolume;
struct _virStorageFspoolVolume {
    char *name;
    char *path;
    int poolType; /* virStoragePoolType */
    int type;     /* virStorageVolType */
    char *format; /* NULL where it has none */
    bool dirty;   /* it has a live copy, which is going to replace it */
};

void
virStorageFspoolVolumeClear(virStorageFspoolVolume *volume);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolVolume, virStorageFspoolVolumeClear);

int
virStorageFspoolVolumeFind(virStorageFspoolVolume *volume,
                           const char *pool,
                           const char *sourcePool,
                           const char *sourceVolume);

int
virStorageFspoolVolumeCheck(const virStorageFspoolVolume *volume);

/* What a file system lies on, as far as the kernel can tell one from another. */
typedef struct _virStorageFspoolIdentity virStorageFspoolIdentity;
struct _virStorageFspoolIdentity {
    dev_t device;
    /* of a loop device: its file; else 0 */
    dev_t fileDevice;
    ino_t fileInode;
};

int
virStorageFspoolIdentityRead(const virStorageFspoolMount *mount,
                             virStorageFspoolIdentity *identity);

char *
virStorageFspoolIdentityFormat(const virStorageFspoolIdentity *identity);

int
virStorageFspoolIdentityParse(const char *text,
                              virStorageFspoolIdentity *identity);

bool
virStorageFspoolIdentityEqual(const virStorageFspoolIdentity *a,
                              const virStorageFspoolIdentity *b);

/* An open volume. */
typedef struct _virStorageFspoolDevice virStorageFspoolDevice;
struct _virStorageFspoolDevice {
    const char *name; /* of the volume, which owns it */
    const char *path;
    bool isImage;     /* and no block device */
    int fd;           /* of the image or block device */
    int loop;         /* of the image's loop device, which lives as long as it is open or mounted */
    char *node;       /* path of the block device that is mounted, once it is attached */
    bool mounted;     /* and stays so: its loop device is not awaited */
    virStorageFspoolIdentity identity; /* device: once it is attached */
};

#define VIR_STORAGE_FSPOOL_DEVICE_INIT { .fd = -1, .loop = -1 }

int
virStorageFspoolDeviceOpen(virStorageFspoolDevice *device,
                           const virStorageFspoolVolume *volume,
                           const char *mountPath);

bool
virStorageFspoolDeviceIs(const virStorageFspoolDevice *device,
                         const virStorageFspoolMount *mount);

int
virStorageFspoolDeviceClaim(virStorageFspoolDevice *device);

int
virStorageFspoolDeviceAttach(virStorageFspoolDevice *device);

void
virStorageFspoolDeviceClear(virStorageFspoolDevice *device);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolDevice, virStorageFspoolDeviceClear);

void
virStorageFspoolDeviceAwaitDetach(const virStorageFspoolIdentity *identity);

int
virStorageFspoolDeviceUpdateSize(const virStorageFspoolIdentity *identity,
                                 unsigned long long *size);

char *
virStorageFspoolDeviceNode(dev_t device);
