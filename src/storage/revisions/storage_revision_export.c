/*
 * storage_revision_export.c: copies of volumes with revisions into pools of libvirt's own types
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <unistd.h>

#include "storage_revision_driver.h"

#include "storage_revision_checks.h"
#include "storage_revision_file.h"
#include "storage_revision_operation.h"
#include "storage_revision_worker.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/* Opens what a download of volume @source of pool @obj would read; called with the pool locked. */
static int
virStorageRevExportOpen(virStoragePoolObj *obj,
                        const char *source,
                        char **temporary)
{
    g_auto(virStorageRevOperation) op = { 0 };
    g_auto(virStorageRevName) name = { 0 };
    virStorageRevState *state;
    int fd;

    if (virStorageRevNameParse(source, &name) < 0 ||
        virStorageRevOperationBegin(&op, obj, NULL, name.volume, false) < 0 ||
        !(state = virStorageRevCheckSource(op.source, &name)))
        return -1;

    virStorageRevOperationUnlock(&op);
    fd = op.ops->openForDownload(op.ctx, op.source, state, temporary);
    virStorageRevOperationLock(&op, 0);
    return fd;
}


/**
 * virStorageRevVolBuildFrom:
 * @backend: of the pool, one of libvirt's own
 * @obj: pool
 * @sourceObj: another pool that @source is of, or NULL when it is of the same
 * @def: volume to fill
 * @source: volume to copy
 * @flags: for @backend
 *
 * Called with the pools unlocked, while both count a job.
 *
 * libvirt's own pool types read an image where it lies, though somebody may write to it. Of a raw one of ours they get a
 * stable image instead, so that the copy shows one moment. Other formats are read by QEMU's tools, which refuse what is
 * in use.
 *
 * Returns what @backend does, or -1 with an error
 */
int
virStorageRevVolBuildFrom(virStorageBackend *backend,
                          virStoragePoolObj *obj,
                          virStoragePoolObj *sourceObj,
                          virStorageVolDef *def,
                          virStorageVolDef *source,
                          unsigned int flags)
{
    VIR_STORAGE_REV_AUTOUNLOCK fd = -1;
    g_autofree char *path = NULL;
    g_autofree char *temporary = NULL;
    virStorageVolDef stable = *source;
    int ret;

    if (!sourceObj || !virStorageRevPoolTypeIs(virStoragePoolObjGetDef(sourceObj)->type) ||
        source->target.format != VIR_STORAGE_FILE_RAW)
        return backend->buildVolFrom(obj, def, source, flags);

    virObjectLock(sourceObj);
    fd = virStorageRevExportOpen(sourceObj, source->name, &temporary);
    virObjectUnlock(sourceObj);
    if (fd < 0)
        return -1;

    /* for a tool that the backend runs, too */
    stable.target.path = path = g_strdup_printf("/proc/%lld/fd/%d", (long long) getpid(), fd);
    ret = backend->buildVolFrom(obj, def, &stable, flags);
    virStorageRevUnlockAndClose(&fd);
    if (temporary)
        virStorageRevWorkerTidy(virStoragePoolObjGetDef(sourceObj)->uuid, temporary);
    return ret;
}
