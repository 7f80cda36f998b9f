/*
 * storage_backend_fspool.c: storage backend for directory trees with a size
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "storage_backend_fspool.h"

#include "storage_backend.h"
#include "storage_fspool_progress.h"
#include "storage_fspool_scan.h"
#include "storage_fspool_source.h"
#include "storage_fspool_stream.h"
#include "storage_fspool_subvolume.h"
#include "storage_revision_directory.h"
#include "storage_revision_pool.h"
#include "storage_revision_worker.h"
#include "storage_util.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_backend_fspool");

/* As libvirt makes the directory of a pool that does not say it. */
#define POOL_MODE 0711


/* Called when the daemon starts. A file system that is mounted where the pool wants it is the pool's state; a directory
 * may be there without anybody wanting it, and only what was active before is so again. */
static int
virStorageBackendFspoolCheck(virStoragePoolObj *obj,
                             bool *active)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);

    if (!virStorageFspoolSourceIsDirectory(def))
        return virStorageFspoolSourceIsMounted(def, active);

    *active = virStoragePoolObjIsActive(obj);
    if (virStorageFspoolSourceIsAlive(def) < 0)
        virResetLastError(); /* the refresh that comes next tells */
    else if (!virFileIsDir(def->target.path))
        *active = false;
    return 0;
}


/* Takes errno of what could not be written. */
static void
virStorageBackendFspoolReportUnfit(virStoragePoolDef *def)
{
    if (errno == EOPNOTSUPP || errno == EPERM)
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("pool '%1$s' needs a directory whose file system keeps extended attributes, which that of '%2$s' does not"),
                       def->name, def->target.path);
    else
        virReportSystemError(errno, _("cannot write extended attributes in the directory '%1$s' of pool '%2$s'"),
                             def->target.path, def->name);
}


/* What a pool keeps beside its volumes is made, and shows whether it can be written to and keep attributes. */
static int
virStorageBackendFspoolPrepare(virStoragePoolDef *def)
{
    g_autoptr(virStorageRevContext) ctx = virStorageRevContextNew(def);
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_auto(virStorageRevMeta) meta = { 0 };

    if (virStorageFspoolRootMake(def->target.path) < 0) {
        virReportSystemError(errno, _("cannot make '%1$s' in the directory '%2$s' of pool '%3$s'"),
                             VIR_STORAGE_FSPOOL_DIR, def->target.path, def->name);
        return -1;
    }

    virStorageRevMetaInit(&meta);
    if (virStorageFspoolPoolOpen(&pool, ctx) < 0)
        return -1;
    if (virStorageRevMetaWriteFile(pool.root.staging, &meta, VIR_STORAGE_FSPOOL_STAGING) < 0) {
        virStorageBackendFspoolReportUnfit(def);
        return -1;
    }
    if (pool.quota.kind == VIR_STORAGE_FSPOOL_QUOTA_NONE)
        VIR_INFO("nothing limits the volumes of pool '%s': %s", def->name, NULLSTR(pool.quota.reason));
    return 0;
}


static int
virStorageBackendFspoolStart(virStoragePoolObj *obj)
{
    bool directory = virStorageFspoolSourceIsDirectory(virStoragePoolObjGetDef(obj));
    virErrorPtr err = NULL;

    /* A refresh that failed has left these if the pool could not be unmounted, but libvirt has dropped its own. */
    virStorageRevPoolReset(obj);
    if (!directory && virStorageFspoolSourceMount(obj) < 0)
        return -1;
    /* a server that was mounted before may not answer any more */
    if (virStorageFspoolSourceIsAlive(virStoragePoolObjGetDef(obj)) == 0 &&
        virStorageBackendFspoolPrepare(virStoragePoolObjGetDef(obj)) == 0)
        return 0;

    virErrorPreserveLast(&err);
    if (!directory)
        ignore_value(virStorageFspoolSourceUnmount(obj));
    virErrorRestore(&err);
    return -1;
}


/* On Btrfs a new pool is a subvolume: snapshots that somebody makes of what is above leave it out. */
static int
virStorageBackendFspoolBuildSubvolume(const char *path)
{
    g_autofree char *parent = g_path_get_dirname(path);
    g_autofree char *base = g_path_get_basename(path);
    VIR_AUTOCLOSE fd = -1;

    if (virFileExists(path) || !virStorageRevDirectoryIsBtrfs(path))
        return 0;

    if (g_mkdir_with_parents(parent, 0755) < 0 ||
        (fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
        (virStorageFspoolSubvolumeCreate(fd, base, 0) < 0 && errno != EEXIST) ||
        fchmodat(fd, base, POOL_MODE, 0) < 0) {
        virReportSystemError(errno, _("cannot create path '%1$s'"), path);
        return -1;
    }
    return 0;
}


static int
virStorageBackendFspoolBuild(virStoragePoolObj *obj,
                             unsigned int flags)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);

    virCheckFlags(VIR_STORAGE_POOL_BUILD_OVERWRITE |
                  VIR_STORAGE_POOL_BUILD_NO_OVERWRITE, -1);
    VIR_EXCLUSIVE_FLAGS_RET(VIR_STORAGE_POOL_BUILD_OVERWRITE,
                            VIR_STORAGE_POOL_BUILD_NO_OVERWRITE, -1);

    if (!virStorageFspoolSourceIsDirectory(def))
        return virStorageFspoolSourceBuild(obj, flags);
    if (virStorageBackendFspoolBuildSubvolume(def->target.path) < 0)
        return -1;
    return virStorageRevDirectoryBuild(obj, flags);
}


/* Removes the directory, as long as there is nothing in it but what is the pool's own. */
static int
virStorageBackendFspoolDelete(virStoragePoolObj *obj,
                              unsigned int flags)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);

    virCheckFlags(0, -1);

    if (virStorageFspoolSourceIsAlive(def) < 0)
        return -1;
    if (virStorageFspoolRootRemove(def->target.path) < 0) {
        virReportSystemError(errno, _("pool '%1$s' still has volumes, revisions, or what is being removed of them"), def->name);
        return -1;
    }
    return virStorageBackendDeleteLocal(obj, flags);
}


/* Called with the pool locked after every operation: where a disk lies below, there is nobody to be asked. */
static int
virStorageBackendFspoolUpdatePool(virStoragePoolObj *obj)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);

    if (virStorageRevPoolGet(def)->remote && virStorageFspoolSourceIsAlive(def) < 0)
        return -1;
    return virStorageRevDirectoryUpdatePool(obj);
}


/* Servers, and programs of user space, show file systems without a block device; as Btrfs does for other reasons. */
static bool
virStorageBackendFspoolIsRemote(int fd)
{
    struct stat sb;

    return fstat(fd, &sb) == 0 && major(sb.st_dev) == 0 && !virStorageFspoolIsBtrfs(fd);
}


/* What the kernel still counted when a tree was removed, by a file that was open, may be free by now: the worker looks. */
static int
virStorageBackendFspoolScan(virStoragePoolObj *obj)
{
    g_autoptr(virStorageRevContext) ctx = virStorageRevContextNew(virStoragePoolObjGetDef(obj));
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_autoptr(virStorageFspoolScan) scan = NULL;
    virStorageRevPool *known = virStorageRevPoolGet(virStoragePoolObjGetDef(obj));

    if (virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        !(scan = virStorageFspoolScanPool(&pool, virStorageRevPoolFamilies(obj))))
        return -1;

    virStorageFspoolRecover(&pool, scan);
    virStorageRevPoolReplace(obj, scan->families);
    known->snapshots = virStorageFspoolIsBtrfs(pool.root.fd);
    known->remote = virStorageBackendFspoolIsRemote(pool.root.fd);

    virStorageRevWorkerEnsureSettle(ctx);
    return 0;
}


/* Called with the pool locked. A server that does not answer fails it within seconds, and keeps no other pool waiting. */
static int
virStorageBackendFspoolRefresh(virStoragePoolObj *obj)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);

    if (virStorageFspoolSourceIsAlive(def) < 0 ||
        virStorageFspoolSourceGrow(obj) < 0 ||
        virStorageBackendFspoolScan(obj) < 0 ||
        virStorageRevDirectoryUpdatePool(obj) < 0)
        return -1;
    return virStorageRevDirectoryReadPerms(def);
}


static int
virStorageBackendFspoolStop(virStoragePoolObj *obj)
{
    virStorageRevWorkerStop(obj);
    if (!virStorageFspoolSourceIsDirectory(virStoragePoolObjGetDef(obj)) &&
        virStorageFspoolSourceUnmount(obj) < 0)
        return -1;
    virStorageRevPoolReset(obj);
    return 0;
}


/* Reads one volume's use and limits, with one look at the quota records. */
static int
virStorageBackendFspoolReadUse(virStoragePoolDef *def,
                               const virStorageRevState *state,
                               virStorageVolDef *vol)
{
    g_auto(virStorageFspoolQuota) quota = { 0 };
    virStorageFspoolQuotaRecord record = { 0 };
    VIR_AUTOCLOSE fd = open(def->target.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || virStorageFspoolQuotaDetect(&quota, fd) < 0 ||
        virStorageFspoolQuotaRead(&quota, fd, state->quotaId, &record) < 0)
        return 0; /* gone by another hand: the next refresh tells */

    vol->target.capacity = vol->target.physical = record.spaceMax;
    vol->target.allocation = record.spaceUsed;
    return 0;
}


/* Also called for volumes of other pools, which stay as they are, and while a tree is being copied. */
static int
virStorageBackendFspoolRefreshVol(virStoragePoolObj *obj,
                                  virStorageVolDef *vol)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    g_auto(virStorageRevName) name = { 0 };
    virStorageRevFamily *family;
    virStorageRevState *state;

    if (!virStorageRevVolGet(vol) || !STRPREFIX(vol->target.path, def->target.path) ||
        virStorageRevNameParse(vol->name, &name) < 0) {
        virResetLastError();
        return 0;
    }
    if (vol->building) {
        ignore_value(virStorageFspoolProgressFind(def->uuid, name.volume, &vol->target.allocation));
        return 0;
    }
    if (!(family = virStorageRevPoolFind(obj, name.volume)) ||
        !(state = virStorageRevFamilyFind(family, &name)) || state->quotaId == 0)
        return 0;
    return virStorageBackendFspoolReadUse(def, state, vol);
}


static bool
virStorageBackendFspoolIsSource(const struct mntent *mount)
{
    return !hasmntopt(mount, MNTOPT_RO) &&
        (STREQ(mount->mnt_type, "btrfs") || STREQ(mount->mnt_type, "xfs") || STREQ(mount->mnt_type, "ext4"));
}


/* Lists mounted file systems that can limit directories, each as one below which a pool can be made. */
static char *
virStorageBackendFspoolFindPoolSources(const char *srcSpec G_GNUC_UNUSED,
                                       unsigned int flags)
{
    virCheckFlags(0, NULL);

    return virStorageRevDirectoryFindSources(virStorageBackendFspoolIsSource);
}


static char *
virStorageBackendFspoolFileOf(const virStorageRevName *name)
{
    return g_strdup(name->volume);
}


static int
virStorageBackendFspoolCheckName(virStoragePoolDef *pool G_GNUC_UNUSED,
                                 const virStorageRevName *name)
{
    return virStorageFspoolNameCheck(name);
}


/* Asked with the pool locked, when its server may not answer: what was found at the last refresh says it. */
static bool
virStorageBackendFspoolCopiesData(virStoragePoolDef *pool)
{
    return !virStorageRevPoolGet(pool)->snapshots;
}


static const virStorageRevOps virStorageFspoolOps = {
    .type = VIR_STORAGE_POOL_FSPOOL,
    .volType = VIR_STORAGE_VOL_DIR,
    .nestedNames = true,
    .capacityIsLimit = true,
    .copiesData = virStorageBackendFspoolCopiesData,
    .checkName = virStorageBackendFspoolCheckName,
    .fileOf = virStorageBackendFspoolFileOf,
    .create = virStorageFspoolCreate,
    .clone = virStorageFspoolClone,
    .revert = virStorageFspoolRevert,
    .pin = virStorageFspoolPin,
    .redefine = virStorageFspoolRedefine,
    .reread = virStorageFspoolReread,
    .resize = virStorageFspoolResize,
    .wipe = virStorageFspoolWipe,
    .deleteVolume = virStorageFspoolDeleteVolume,
    .deleteRevision = virStorageFspoolDeleteRevision,
    .prune = virStorageFspoolPrune,
    .openForDownload = virStorageFspoolOpenForCopy,
    .packingBegin = virStorageFspoolPackingBegin,
    .packingEnd = virStorageFspoolPackingEnd,
    .tidy = virStorageFspoolTidy,
    .settle = virStorageFspoolSettle,
    .stagingBegin = virStorageFspoolStagingBegin,
    .stagingFd = virStorageFspoolStagingFd,
    .stagingCheck = virStorageFspoolStagingCheck,
    .stagingCommit = virStorageFspoolStagingCommit,
    .stagingEnd = virStorageFspoolStagingEnd,
    .read = virStorageFspoolScanVolume,
    .updatePool = virStorageBackendFspoolUpdatePool,
};


const virStorageRevOps *
virStorageBackendFspoolOps(void)
{
    return &virStorageFspoolOps;
}


static virStorageBackend virStorageBackendFspool = {
    .type = VIR_STORAGE_POOL_FSPOOL,

    .findPoolSources = virStorageBackendFspoolFindPoolSources,
    .checkPool = virStorageBackendFspoolCheck,
    .startPool = virStorageBackendFspoolStart,
    .buildPool = virStorageBackendFspoolBuild,
    .refreshPool = virStorageBackendFspoolRefresh,
    .stopPool = virStorageBackendFspoolStop,
    .deletePool = virStorageBackendFspoolDelete,
    .refreshVol = virStorageBackendFspoolRefreshVol,
};


int
virStorageBackendFspoolRegister(void)
{
    return virStorageBackendRegister(&virStorageBackendFspool);
}
