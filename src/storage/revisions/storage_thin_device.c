/*
 * storage_thin_device.c: the devices of thin pools and thin volumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The kernel is asked by ioctls of its ABI (linux/dm-ioctl.h), since LVM's own tools take tens of milliseconds for what
 * they do in microseconds, and round what they print.
 */

#include <config.h>

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "storage_thin_device.h"

#include "storage_thin_name.h"
#include "virerror.h"
#include "virfile.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

#define CONTROL "/dev/mapper/control"

/* Thin targets have tables of one line. */
#define ANSWER_MAX 1024

typedef union _virStorageThinRequest virStorageThinRequest;
union _virStorageThinRequest {
    struct dm_ioctl dm;
    char bytes[ANSWER_MAX];
};


/**
 * virStorageThinControlOpen:
 *
 * Returns a file descriptor for the other functions here, or -1 with an error
 */
int
virStorageThinControlOpen(void)
{
    int fd = open(CONTROL, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        virReportSystemError(errno, _("cannot open '%1$s': is the kernel's device mapper loaded?"), CONTROL);
    return fd;
}


/* Returns 0, or -1 with errno, which is ENXIO when there is no such device. */
static int
virStorageThinAsk(int control,
                  unsigned long command,
                  const char *device,
                  unsigned int flags,
                  virStorageThinRequest *request)
{
    memset(request, 0, sizeof(*request));
    request->dm.version[0] = DM_VERSION_MAJOR;
    request->dm.data_size = sizeof(*request);
    request->dm.data_start = sizeof(request->dm);
    request->dm.flags = flags;
    if (virStrcpyStatic(request->dm.name, device) < 0) {
        errno = ENXIO;
        return -1;
    }
    return ioctl(control, command, request);
}


/* Returns the parameters of the only target of a device, of the type asked for; NULL with errno. */
static const char *
virStorageThinAskTarget(int control,
                        const char *device,
                        const char *type,
                        unsigned int flags,
                        virStorageThinRequest *request)
{
    struct dm_target_spec target;
    size_t params;

    /* no flush: what is asked for is not worth a commit of the pool's metadata */
    if (virStorageThinAsk(control, DM_TABLE_STATUS, device, flags | DM_NOFLUSH_FLAG, request) < 0)
        return NULL;

    /* that LVM is just making: it is not active yet */
    if (request->dm.target_count == 0) {
        errno = ENXIO;
        return NULL;
    }

    params = request->dm.data_start + sizeof(target);
    if (request->dm.flags & DM_BUFFER_FULL_FLAG || request->dm.target_count != 1 || params >= sizeof(*request)) {
        errno = EINVAL;
        return NULL;
    }
    memcpy(&target, request->bytes + request->dm.data_start, sizeof(target));
    if (STRNEQ(target.target_type, type)) {
        errno = EINVAL;
        return NULL;
    }
    request->bytes[sizeof(*request) - 1] = '\0';
    return request->bytes + params;
}


/**
 * virStorageThinDeviceRead:
 * @control: from virStorageThinControlOpen()
 * @vg: volume group
 * @lv: thin volume
 * @device: filled
 *
 * Returns 0, also when the volume is not active, or -1 with an error
 */
int
virStorageThinDeviceRead(int control,
                         const char *vg,
                         const char *lv,
                         virStorageThinDevice *device)
{
    g_autofree char *name = virStorageThinDeviceName(vg, lv);
    virStorageThinRequest request;
    const char *params;

    memset(device, 0, sizeof(*device));
    if (!(params = virStorageThinAskTarget(control, name, "thin", 0, &request))) {
        if (errno == ENXIO)
            return 0;
        virReportSystemError(errno, _("cannot read the status of logical volume '%1$s/%2$s'"), vg, lv);
        return -1;
    }

    device->active = true;
    device->dev = makedev(major(request.dm.dev), minor(request.dm.dev));
    device->openCount = request.dm.open_count;
    /* that of a failed pool has no numbers */
    ignore_value(virStorageThinVolumeStatusParse(params, &device->mapped));
    return 0;
}


/**
 * virStorageThinDeviceId:
 *
 * Sets @thinId to the number of the thin device that an active volume is. Returns 0, or -1 with an error.
 */
int
virStorageThinDeviceId(int control,
                       const char *vg,
                       const char *lv,
                       unsigned int *thinId)
{
    g_autofree char *name = virStorageThinDeviceName(vg, lv);
    virStorageThinRequest request;
    const char *params = virStorageThinAskTarget(control, name, "thin", DM_STATUS_TABLE_FLAG, &request);

    if (params && virStorageThinVolumeTableParse(params, thinId) == 0)
        return 0;
    virReportSystemError(params ? EINVAL : errno, _("cannot read the table of logical volume '%1$s/%2$s'"), vg, lv);
    return -1;
}


/* Asks the target of a pool, of which the LV's own device is only a part. */
static const char *
virStorageThinAskPool(int control,
                      const char *vg,
                      const char *thinPool,
                      unsigned int flags,
                      virStorageThinRequest *request)
{
    /* the target itself is behind a device of its own, which has the name of the LV with "-tpool" behind it, from the
     * first volume on */
    g_autofree char *lv = virStorageThinDeviceName(vg, thinPool);
    g_autofree char *name = g_strconcat(lv, "-tpool", NULL);
    const char *params = virStorageThinAskTarget(control, name, "thin-pool", flags, request);

    if (!params && errno == ENXIO)
        params = virStorageThinAskTarget(control, lv, "thin-pool", flags, request);
    return params;
}


/**
 * virStorageThinPoolRead:
 * @control: from virStorageThinControlOpen()
 * @vg: volume group
 * @thinPool: thin pool
 * @status: filled
 *
 * Returns 1, or 0 when the pool is not active, since none of its volumes is, or -1 with an error
 */
int
virStorageThinPoolRead(int control,
                       const char *vg,
                       const char *thinPool,
                       virStorageThinPoolStatus *status)
{
    virStorageThinRequest request;
    const char *params;

    memset(status, 0, sizeof(*status));
    if (!(params = virStorageThinAskPool(control, vg, thinPool, 0, &request)) && errno == ENXIO)
        return 0;
    if (params && virStorageThinPoolStatusParse(params, status) == 0)
        return 1;

    virReportSystemError(params ? EINVAL : errno, _("cannot read the status of thin pool '%1$s/%2$s'"), vg, thinPool);
    return -1;
}


/**
 * virStorageThinPoolReadTable:
 *
 * Sets @table to what virStorageThinPoolTableParse() says of an active pool. Returns 0, or -1 with an error.
 */
int
virStorageThinPoolReadTable(int control,
                            const char *vg,
                            const char *thinPool,
                            virStorageThinPoolTable *table)
{
    virStorageThinRequest request;
    const char *params = virStorageThinAskPool(control, vg, thinPool, DM_STATUS_TABLE_FLAG, &request);

    if (params && virStorageThinPoolTableParse(params, table) == 0)
        return 0;
    virReportSystemError(params ? EINVAL : errno, _("cannot read the table of thin pool '%1$s/%2$s'"), vg, thinPool);
    return -1;
}
