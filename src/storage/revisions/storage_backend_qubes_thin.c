/*
 * storage_backend_qubes_thin.c: storage backend for thin logical volumes as Qubes OS keeps them
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/stat.h>

#include "storage_backend_qubes_thin.h"

#include "storage_backend.h"
#include "storage_revision_pool.h"
#include "storage_revision_worker.h"
#include "storage_thin_device.h"
#include "storage_thin_pool.h"
#include "storage_thin_recover.h"
#include "storage_thin_scan.h"
#include "storage_thin_volume.h"
#include "storage_thin_zero.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_backend_qubes_thin");

/* Of the kernel's ABI. */
#define METADATA_BLOCK 4096


/* Called when the daemon starts. A pool that was active before is so again, as long as its thin pool is. */
static int
virStorageBackendQubesThinCheck(virStoragePoolObj *obj,
                                bool *active)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    virStorageRevPool *pool = virStorageRevPoolGet(def);
    VIR_AUTOCLOSE control = -1;
    virStorageThinPoolStatus status;

    *active = virStoragePoolObjIsActive(obj) &&
        (control = virStorageThinControlOpen()) >= 0 &&
        virStorageThinPoolRead(control, def->source.name, pool->thinPool, &status) > 0;
    virResetLastError();

    /* The daemon may have died while the pool was being started: what that leaves out is done now. */
    pool->starting = *active;
    return 0;
}


/* All that can fail does so in the refresh that follows. */
static int
virStorageBackendQubesThinStart(virStoragePoolObj *obj)
{
    virStorageRevPool *pool = virStorageRevPoolGet(virStoragePoolObjGetDef(obj));

    g_clear_pointer(&pool->pvs, g_strfreev);
    pool->starting = true;
    return 0;
}


static int
virStorageBackendQubesThinBuild(virStoragePoolObj *obj,
                                unsigned int flags)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    g_autoptr(virStorageRevContext) ctx = virStorageRevContextNew(def);

    virCheckFlags(VIR_STORAGE_POOL_BUILD_OVERWRITE |
                  VIR_STORAGE_POOL_BUILD_NO_OVERWRITE, -1);
    VIR_EXCLUSIVE_FLAGS_RET(VIR_STORAGE_POOL_BUILD_OVERWRITE,
                            VIR_STORAGE_POOL_BUILD_NO_OVERWRITE, -1);

    return virStorageThinPoolBuild(ctx, &def->source, flags & VIR_STORAGE_POOL_BUILD_OVERWRITE);
}


static int
virStorageBackendQubesThinDelete(virStoragePoolObj *obj,
                                 unsigned int flags)
{
    g_autoptr(virStorageRevContext) ctx = virStorageRevContextNew(virStoragePoolObjGetDef(obj));

    virCheckFlags(0, -1);
    return virStorageThinPoolDelete(ctx);
}


/* Reads how full the thin pool is: no process is needed for that, nor a lock of LVM's. */
static int
virStorageBackendQubesThinUpdatePool(virStoragePoolObj *obj)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    virStorageRevPool *pool = virStorageRevPoolGet(def);
    VIR_AUTOCLOSE control = virStorageThinControlOpen();
    virStorageThinPoolStatus status;
    virStorageThinPoolTable table;
    int active;

    if (control < 0 ||
        (active = virStorageThinPoolRead(control, def->source.name, pool->thinPool, &status)) < 0)
        return -1;
    if (!active || status.dataTotal == 0)
        return 0;
    if (virStorageThinPoolReadTable(control, def->source.name, pool->thinPool, &table) < 0)
        return -1;

    pool->hasThinUse = true;
    pool->thinUse.dataSize = status.dataTotal * table.blockSize;
    pool->thinUse.dataUsed = status.dataUsed * table.blockSize;
    pool->thinUse.metadataSize = status.metadataTotal * METADATA_BLOCK;
    pool->thinUse.metadataUsed = status.metadataUsed * METADATA_BLOCK;
    def->capacity = pool->thinUse.dataSize;
    def->allocation = pool->thinUse.dataUsed;
    def->available = def->capacity - def->allocation;
    return 0;
}


/* Reads anew what is in the pool, unless that fails: @scan is NULL then. */
static bool
virStorageBackendQubesThinRescan(virStorageRevContext *ctx,
                                 virStorageThinScan **scan)
{
    g_clear_pointer(scan, virStorageThinScanFree);
    *scan = virStorageThinScanPool(ctx);
    return *scan != NULL;
}


/* Activates what is to be active; once more without what a loss of power has left unmade, if there is such an LV. */
static int
virStorageBackendQubesThinBringUp(virStorageRevContext *ctx,
                                  virStorageThinScan **scan)
{
    virErrorPtr err = NULL;
    int ret = virStorageThinPoolBringUp(ctx, *scan);

    virErrorPreserveLast(&err);
    if (virStorageThinRecoverUnmade(ctx, *scan)) {
        g_clear_pointer(&err, virFreeError);
        ret = virStorageBackendQubesThinRescan(ctx, scan) ? virStorageThinPoolBringUp(ctx, *scan) : -1;
        virErrorPreserveLast(&err);
    }
    virErrorRestore(&err);
    return ret;
}


/* Returns what is in the pool once recovery is through with it. */
static virStorageThinScan *
virStorageBackendQubesThinScan(virStorageRevContext *ctx,
                               bool poolStart)
{
    g_autoptr(virStorageThinScan) scan = virStorageThinScanPool(ctx);

    if (!scan || (poolStart && virStorageBackendQubesThinBringUp(ctx, &scan) < 0))
        return NULL;

    if (virStorageThinRecover(ctx, scan, poolStart)) {
        if (!virStorageBackendQubesThinRescan(ctx, &scan))
            return NULL;
        /* what was out of sight behind an exchange that was not finished */
        virStorageThinRecover(ctx, scan, poolStart);
    }
    virStorageThinPoolSettle(ctx, scan->families);
    return g_steal_pointer(&scan);
}


/* Called with the pool locked. */
static int
virStorageBackendQubesThinRefresh(virStoragePoolObj *obj)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    virStorageRevPool *pool = virStorageRevPoolGet(def);
    g_autoptr(virStorageRevContext) ctx = virStorageRevContextNew(def);
    g_autoptr(virStorageThinScan) scan = NULL;

    if (virStorageThinAwaitOrphans(ctx) < 0 ||
        !(scan = virStorageBackendQubesThinScan(ctx, pool->starting)))
        return -1;

    pool->starting = false;
    g_strfreev(pool->pvs);
    pool->pvs = g_strdupv(ctx->pvs);
    pool->vgPartial = ctx->vgPartial;
    pool->vgExtentSize = scan->report->extentSize;
    def->capacity = scan->report->poolSize;

    virStorageRevPoolReplace(obj, scan->families);
    return virStorageBackendQubesThinUpdatePool(obj);
}


/* Called when libvirt drops its definitions. */
static int
virStorageBackendQubesThinStop(virStoragePoolObj *obj)
{
    g_autoptr(virStorageRevContext) ctx = virStorageRevContextNew(virStoragePoolObjGetDef(obj));

    virStorageRevWorkerStop(obj);
    virStorageThinPoolLetDown(ctx, virStorageRevPoolFamilies(obj));
    virStorageRevPoolReset(obj);
    return 0;
}


/* Refreshes what is in use of one volume. Also called for volumes of other pools, which stay as they are. */
static int
virStorageBackendQubesThinRefreshVol(virStoragePoolObj *obj,
                                     virStorageVolDef *vol)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    const char *lv = STRSKIP(vol->target.path, def->target.path);
    g_auto(virStorageRevName) name = { 0 };
    g_autofree char *stage = NULL;
    VIR_AUTOCLOSE control = -1;
    virStorageThinDevice device;

    if (!virStorageRevVolGet(vol) || !lv || *lv++ != '/')
        return 0;
    if (vol->building) {
        if (virStorageRevNameParse(vol->name, &name) < 0)
            return -1;
        lv = stage = virStorageThinNameFormat(VIR_STORAGE_THIN_STAGE, name.volume, 0, NULL);
    }

    if ((control = virStorageThinControlOpen()) < 0 ||
        virStorageThinDeviceRead(control, def->source.name, lv, &device) < 0)
        return -1;
    if (device.active)
        vol->target.allocation = device.mapped;
    if (def->refresh && def->refresh->volume.allocation == VIR_STORAGE_VOL_DEF_REFRESH_ALLOCATION_CAPACITY)
        vol->target.allocation = vol->target.capacity;

    virStorageRevPoolUpdateVol(obj, vol);
    return 0;
}


static char *
virStorageBackendQubesThinFindPoolSources(const char *srcSpec G_GNUC_UNUSED,
                                          unsigned int flags)
{
    virCheckFlags(0, NULL);
    return virStorageThinPoolFindSources();
}


static int
virStorageBackendQubesThinCheckName(virStoragePoolDef *pool,
                                    const virStorageRevName *name)
{
    return virStorageThinNameCheck(pool->source.name, name);
}


static char *
virStorageBackendQubesThinStateOf(const char *name)
{
    g_auto(virStorageThinName) parts = { 0 };

    virStorageThinNameParse(name, &parts);
    return parts.role == VIR_STORAGE_THIN_HEAD ? NULL : g_steal_pointer(&parts.volume);
}


static char *
virStorageBackendQubesThinFileOf(const virStorageRevName *name)
{
    return virStorageThinNameFormat(name->kind == VIR_STORAGE_REV_LIVE ? VIR_STORAGE_THIN_LIVE
                                    : VIR_STORAGE_THIN_HEAD, name->volume, 0, NULL);
}


static const virStorageRevOps virStorageThinOps = {
    .type = VIR_STORAGE_POOL_QUBES_THIN,
    .volType = VIR_STORAGE_VOL_BLOCK,
    .nestedNames = false,
    .checkName = virStorageBackendQubesThinCheckName,
    .stateOf = virStorageBackendQubesThinStateOf,
    .fileOf = virStorageBackendQubesThinFileOf,
    .create = virStorageThinCreate,
    .clone = virStorageThinClone,
    .start = virStorageThinStart,
    .stage = virStorageThinStage,
    .commit = virStorageThinCommit,
    .discard = virStorageThinDiscard,
    .revert = virStorageThinRevert,
    .pin = virStorageThinPin,
    .redefine = virStorageThinRedefine,
    .mark = virStorageThinMark,
    .resize = virStorageThinResizeState,
    .wipe = virStorageThinWipe,
    .deleteVolume = virStorageThinDeleteVolume,
    .deleteRevision = virStorageThinDeleteRevision,
    .prune = virStorageThinPrune,
    .openForDownload = virStorageThinOpenForDownload,
    .tidy = virStorageThinTidy,
    .openLive = virStorageThinOpenLive,
    .makeHole = virStorageThinZero,
    .stagingBegin = virStorageThinStagingBegin,
    .stagingFd = virStorageThinStagingFd,
    .stagingCommit = virStorageThinStagingCommit,
    .stagingEnd = virStorageThinStagingEnd,
    .read = virStorageThinRecoverVolume,
    .updatePool = virStorageBackendQubesThinUpdatePool,
};


const virStorageRevOps *
virStorageBackendQubesThinOps(void)
{
    return &virStorageThinOps;
}


static virStorageBackend virStorageBackendQubesThin = {
    .type = VIR_STORAGE_POOL_QUBES_THIN,

    .findPoolSources = virStorageBackendQubesThinFindPoolSources,
    .checkPool = virStorageBackendQubesThinCheck,
    .startPool = virStorageBackendQubesThinStart,
    .buildPool = virStorageBackendQubesThinBuild,
    .refreshPool = virStorageBackendQubesThinRefresh,
    .stopPool = virStorageBackendQubesThinStop,
    .deletePool = virStorageBackendQubesThinDelete,
    .refreshVol = virStorageBackendQubesThinRefreshVol,
};


int
virStorageBackendQubesThinRegister(void)
{
    return virStorageBackendRegister(&virStorageBackendQubesThin);
}
