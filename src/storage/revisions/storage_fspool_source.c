/*
 * storage_fspool_source.c: the file systems of fspools that lie on a volume of another pool, or on an NFS server
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <glib/gstdio.h>
#include <sys/stat.h>

#include "storage_fspool_source.h"

#include "storage_fspool_alive.h"
#include "storage_fspool_device.h"
#include "storage_fspool_mkfs.h"
#include "storage_fspool_mount.h"
#include "storage_fspool_quota.h"
#include "storage_fspool_record.h"
#include "storage_revision_pool.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_source");

/* What the functions below need of a pool, while it is unlocked. */
typedef struct _virStorageFspoolSource virStorageFspoolSource;
struct _virStorageFspoolSource {
    char *pool;
    char *target;
    unsigned char uuid[VIR_UUID_BUFLEN];
    int format;         /* virStorageRevFspoolFormat */
    char *sourcePool;   /* of a volume */
    char *sourceVolume;
    char *network;      /* of a server: "host:dir" */
    char *version;
    int port;
    char **options;
    mode_t mode;        /* of the pool's root: -1, as the two others, where it stays as it is */
    uid_t uid;
    gid_t gid;
    virStorageFspoolQuotaKind quota;
};


static void
virStorageFspoolSourceFree(virStorageFspoolSource *source)
{
    if (!source)
        return;

    g_free(source->pool);
    g_free(source->target);
    g_free(source->sourcePool);
    g_free(source->sourceVolume);
    g_free(source->network);
    g_free(source->version);
    g_strfreev(source->options);
    g_free(source);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageFspoolSource, virStorageFspoolSourceFree);


/* The quotas that a new file system is to have. Those of Btrfs cost time even where no volume has a limit. */
static virStorageFspoolQuotaKind
virStorageFspoolSourceQuota(int format,
                            const virStorageRevPool *pool)
{
    if (format != VIR_STORAGE_REV_FSPOOL_BTRFS)
        return VIR_STORAGE_FSPOOL_QUOTA_PROJECT;
    if (pool->hasQuotaMode && pool->quotaMode == VIR_STORAGE_REV_QUOTA_SIMPLE)
        return VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE;
    if (!pool->hasQuotaMode && pool->quotaRequired == VIR_TRISTATE_BOOL_NO)
        return VIR_STORAGE_FSPOOL_QUOTA_NONE;
    return VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL;
}


/* Returns NULL with an error when what the pool names as its server is nothing that can be mounted. */
static virStorageFspoolSource *
virStorageFspoolSourceNew(virStoragePoolDef *def)
{
    virStorageRevPool *pool = virStorageRevPoolGet(def);
    g_autoptr(virStorageFspoolSource) source = g_new0(virStorageFspoolSource, 1);

    memcpy(source->uuid, def->uuid, VIR_UUID_BUFLEN);
    source->pool = g_strdup(def->name);
    source->target = g_strdup(def->target.path);
    source->format = def->source.format;
    source->sourcePool = g_strdup(pool->sourcePool);
    source->sourceVolume = g_strdup(pool->sourceVolume);
    source->version = g_strdup(def->source.protocolVer);
    source->options = g_strdupv(pool->mountOptions);
    source->mode = def->target.perms.mode;
    source->uid = def->target.perms.uid;
    source->gid = def->target.perms.gid;
    source->quota = virStorageFspoolSourceQuota(source->format, pool);

    if (!source->sourceVolume) {
        source->format = VIR_STORAGE_REV_FSPOOL_NFS;
        source->port = def->source.hosts[0].port;
        if (!(source->network = virStorageFspoolNetworkSource(def->source.hosts[0].name, def->source.dir)))
            return NULL;
    }
    return g_steal_pointer(&source);
}


static void
virStorageFspoolSourceUnlock(virStoragePoolObj *obj)
{
    virStoragePoolObjIncrAsyncjobs(obj);
    virObjectUnlock(obj);
}


static void
virStorageFspoolSourceLock(virStoragePoolObj *obj)
{
    virObjectLock(obj);
    virStoragePoolObjDecrAsyncjobs(obj);
}


/* Is the pool just a directory, so that there is nothing to mount? */
bool
virStorageFspoolSourceIsDirectory(virStoragePoolDef *def)
{
    return !virStorageRevPoolGet(def)->sourceVolume && def->source.nhost == 0;
}


/* Is @mount what the pool has mounted? */
static bool
virStorageFspoolSourceIs(const virStorageFspoolSource *source,
                         const virStorageFspoolMount *mount)
{
    if (source->network)
        return virStorageFspoolNetworkIs(mount, source->network);

    return STREQ(mount->type, virStorageRevFspoolFormatTypeToString(source->format)) &&
        virStorageFspoolRecordIs(source->uuid, mount);
}


/* Called when something is mounted already, and not by this pool. */
static int
virStorageFspoolSourceReportOther(const virStorageFspoolSource *source,
                                  const virStorageFspoolMount *mount)
{
    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("'%1$s' of type %2$s is mounted on '%3$s', where pool '%4$s' is to be: unmount that first"),
                   mount->source, mount->type, mount->path, source->pool);
    return -1;
}


/* A daemon that ended while it built the pool has left the new file system mounted. */
static int
virStorageFspoolSourceTidy(const virStorageFspoolSource *source)
{
    g_autofree char *path = virStorageFspoolBuildDirPath(source->uuid);
    g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;
    g_autoptr(virStorageFspoolMount) mount = NULL;

    if (!virFileExists(path))
        return 0;
    if (virStorageFspoolPointOpen(&point, path, source->pool) < 0 ||
        virStorageFspoolPointRead(&point, &mount) < 0 ||
        (mount && virStorageFspoolUnmountRun(&point, source->pool) < 0))
        return -1;
    g_rmdir(path);
    return 0;
}


/* Looks up and opens the volume of the pool. */
static int
virStorageFspoolSourceOpen(const virStorageFspoolSource *source,
                           const virStorageFspoolPoint *point,
                           virStorageFspoolVolume *volume,
                           virStorageFspoolDevice *device)
{
    if (STREQ(source->sourcePool, source->pool)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("pool '%1$s' cannot lie on a volume of its own"), source->pool);
        return -1;
    }
    if (virStorageFspoolSourceTidy(source) < 0 ||
        virStorageFspoolVolumeFind(volume, source->pool, source->sourcePool, source->sourceVolume) < 0 ||
        virStorageFspoolVolumeCheck(volume) < 0)
        return -1;
    return virStorageFspoolDeviceOpen(device, volume, point->path);
}


/* Mounts a local file system. Quotas that it has are never left out: without them their limits would not hold, and XFS
 * would drop its counts. Where it may have none yet, it is up to the kernel whether it can. */
static int
virStorageFspoolSourceMountNode(const virStorageFspoolSource *source,
                                const virStorageFspoolPoint *point,
                                const char *node)
{
    virStorageFspoolSuperblock sb;
    g_autofree char *with = NULL;
    g_autofree char *without = NULL;
    bool never;

    if (virStorageFspoolSuperblockRead(source->format, node, &sb) < 0)
        return -1;
    if (!sb.known) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("there is no file system of type %1$s on volume '%2$s': build pool '%3$s' first"),
                       virStorageRevFspoolFormatTypeToString(source->format), source->sourceVolume, source->pool);
        return -1;
    }

    never = source->format == VIR_STORAGE_REV_FSPOOL_EXT4 && !sb.quota;
    if (!(with = virStorageFspoolMountOptions(source->format, !never, source->options)) ||
        !(without = virStorageFspoolMountOptions(source->format, false, source->options)))
        return -1;

    if (virStorageFspoolMountRun(point, source->format, node, with, source->pool) == 0)
        return 0;
    if (sb.quota || STREQ(with, without))
        return -1;

    virResetLastError();
    if (virStorageFspoolMountRun(point, source->format, node, without, source->pool) < 0)
        return -1;
    VIR_WARN("pool '%s' is mounted without quotas, which the kernel seems not to have", source->pool);
    return 0;
}


/* Is it the pool's file system that is seen now? Then it is recorded. */
static int
virStorageFspoolSourceConfirm(const virStorageFspoolSource *source,
                              const virStorageFspoolPoint *point,
                              const virStorageFspoolDevice *device)
{
    g_autoptr(virStorageFspoolMount) mount = NULL;
    virErrorPtr err = NULL;

    if (virStorageFspoolPointRead(point, &mount) < 0)
        return -1;

    if (!mount || !(device ? virStorageFspoolDeviceIs(device, mount)
                    : virStorageFspoolNetworkIs(mount, source->network))) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("what is mounted on '%1$s' is not what pool '%2$s' wanted to mount there"),
                       point->path, source->pool);
        return -1;
    }
    if (!device || virStorageFspoolRecordWrite(source->uuid, mount, source->pool) == 0)
        return 0;

    virErrorPreserveLast(&err);
    ignore_value(virStorageFspoolUnmountRun(point, source->pool));
    virErrorRestore(&err);
    return -1;
}


static int
virStorageFspoolSourceMountVolume(const virStorageFspoolSource *source,
                                  const virStorageFspoolPoint *point,
                                  const virStorageFspoolMount *mount)
{
    g_auto(virStorageFspoolVolume) volume = { 0 };
    g_auto(virStorageFspoolDevice) device = VIR_STORAGE_FSPOOL_DEVICE_INIT;

    if (virStorageFspoolSourceOpen(source, point, &volume, &device) < 0)
        return -1;

    if (mount) {
        if (STRNEQ(mount->type, virStorageRevFspoolFormatTypeToString(source->format)) ||
            (source->format != VIR_STORAGE_REV_FSPOOL_BTRFS && STRNEQ(mount->root, "/")) ||
            !virStorageFspoolDeviceIs(&device, mount))
            return virStorageFspoolSourceReportOther(source, mount);
        return virStorageFspoolRecordWrite(source->uuid, mount, source->pool);
    }

    if (virStorageFspoolDeviceClaim(&device) < 0 ||
        virStorageFspoolDeviceAttach(&device) < 0 ||
        virStorageFspoolSourceMountNode(source, point, device.node) < 0 ||
        virStorageFspoolSourceConfirm(source, point, &device) < 0)
        return -1;
    device.mounted = true;
    return 0;
}


static int
virStorageFspoolSourceMountNetwork(const virStorageFspoolSource *source,
                                   const virStorageFspoolPoint *point,
                                   const virStorageFspoolMount *mount)
{
    g_autofree char *options = NULL;

    if (mount)
        return virStorageFspoolNetworkIs(mount, source->network) ? 0 : virStorageFspoolSourceReportOther(source, mount);

    if (!(options = virStorageFspoolNetworkOptions(source->version, source->port, source->options)) ||
        virStorageFspoolMountRun(point, source->format, source->network, options, source->pool) < 0)
        return -1;
    return virStorageFspoolSourceConfirm(source, point, NULL);
}


static int
virStorageFspoolSourceMountUnlocked(const virStorageFspoolSource *source)
{
    g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;
    g_autoptr(virStorageFspoolMount) mount = NULL;

    if (virStorageFspoolPointOpen(&point, source->target, source->pool) < 0 ||
        virStorageFspoolPointRead(&point, &mount) < 0)
        return -1;

    if (source->network)
        return virStorageFspoolSourceMountNetwork(source, &point, mount);
    return virStorageFspoolSourceMountVolume(source, &point, mount);
}


/**
 * virStorageFspoolSourceMount:
 * @obj: pool that is being started, with a source
 *
 * Mounts the pool's file system at its target; that it is mounted there already is fine, and anything else that is, an
 * error. Nothing stays mounted, and no loop device, where it fails.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolSourceMount(virStoragePoolObj *obj)
{
    g_autoptr(virStorageFspoolSource) source = virStorageFspoolSourceNew(virStoragePoolObjGetDef(obj));
    int ret;

    if (!source)
        return -1;

    virStorageFspoolSourceUnlock(obj);
    ret = virStorageFspoolSourceMountUnlocked(source);
    virStorageFspoolSourceLock(obj);
    return ret;
}


static int
virStorageFspoolSourceUnmountUnlocked(const virStorageFspoolSource *source)
{
    g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;
    g_autoptr(virStorageFspoolMount) mount = NULL;
    virStorageFspoolIdentity identity = { 0 };

    if (virStorageFspoolPointOpen(&point, source->target, source->pool) < 0 ||
        virStorageFspoolPointRead(&point, &mount) < 0)
        return -1;

    if (mount && !virStorageFspoolSourceIs(source, mount))
        return virStorageFspoolSourceReportOther(source, mount);

    /* it would wait for the server, and the daemon with it, when that is why the pool is stopped at its start */
    if (mount && source->network &&
        virStorageFspoolAliveWait(point.path, VIR_STORAGE_FSPOOL_ALIVE_SECONDS) == ETIMEDOUT) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("pool '%1$s' stays mounted on '%2$s', since it cannot be unmounted before its server answers again"),
                       source->pool, point.path);
        return -1;
    }
    if (mount && !source->network && virStorageFspoolIdentityRead(mount, &identity) < 0)
        virResetLastError(); /* there is no more to it than a little patience */
    if (mount && virStorageFspoolUnmountRun(&point, source->pool) < 0)
        return -1;
    virStorageFspoolDeviceAwaitDetach(&identity);
    virStorageFspoolRecordRemove(source->uuid);
    return 0;
}


/**
 * virStorageFspoolSourceUnmount:
 * @obj: pool that is being stopped, with a source
 *
 * Unmounts the pool's file system; that nothing is mounted is fine. What is in use stays mounted, and is refused with
 * VIR_ERR_OPERATION_INVALID; so are what is not the pool's, and what lies on a server that does not answer.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolSourceUnmount(virStoragePoolObj *obj)
{
    g_autoptr(virStorageFspoolSource) source = virStorageFspoolSourceNew(virStoragePoolObjGetDef(obj));
    virStorageRevPoolSeen before;
    int ret;

    if (!source)
        return -1;

    virStorageRevPoolBeginStop(obj, &before);
    virStorageFspoolSourceUnlock(obj);
    ret = virStorageFspoolSourceUnmountUnlocked(source);
    virStorageFspoolSourceLock(obj);
    virStorageRevPoolEndStop(obj, &before);
    return ret;
}


/**
 * virStorageFspoolSourceIsMounted:
 * @def: pool with a source
 * @mounted: set
 *
 * Is what the pool has mounted still what is seen at its target? Neither the file system nor its volume are asked.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolSourceIsMounted(virStoragePoolDef *def,
                                bool *mounted)
{
    g_autoptr(virStorageFspoolSource) source = virStorageFspoolSourceNew(def);
    g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;
    g_autoptr(virStorageFspoolMount) mount = NULL;

    *mounted = false;
    if (!source)
        return -1;

    if (virStorageFspoolPointOpen(&point, source->target, source->pool) < 0) {
        virResetLastError(); /* there is no such directory */
        return 0;
    }
    if (virStorageFspoolPointRead(&point, &mount) < 0)
        return -1;

    *mounted = mount && virStorageFspoolSourceIs(source, mount);
    return 0;
}


static int
virStorageFspoolSourceGrowMount(const virStorageFspoolSource *source,
                                const virStorageFspoolPoint *point,
                                const virStorageFspoolMount *mount)
{
    VIR_AUTOCLOSE fd = virStorageFspoolPointOpenRoot(point, mount, source->pool);
    virStorageFspoolIdentity identity;
    unsigned long long size;
    g_autofree char *node = NULL;

    if (fd < 0 ||
        virStorageFspoolIdentityRead(mount, &identity) < 0 ||
        virStorageFspoolDeviceUpdateSize(&identity, &size) < 0 ||
        !(node = virStorageFspoolDeviceNode(identity.device)))
        return -1;
    return virStorageFspoolGrow(source->format, fd, node, size, source->pool);
}


static int
virStorageFspoolSourceGrowUnlocked(const virStorageFspoolSource *source)
{
    g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;
    g_autoptr(virStorageFspoolMount) mount = NULL;

    if (virStorageFspoolPointOpen(&point, source->target, source->pool) < 0 ||
        virStorageFspoolPointRead(&point, &mount) < 0)
        return -1;

    if (!mount || !virStorageFspoolSourceIs(source, mount)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("the file system of pool '%1$s' is not mounted on '%2$s' any more: stop and start the pool"),
                       source->pool, point.path);
        return -1;
    }
    if (!source->network && !mount->readOnly &&
        virStorageFspoolSourceGrowMount(source, &point, mount) < 0) {
        VIR_WARN("pool '%s' stays as large as it is: %s", source->pool, virGetLastErrorMessage());
        virResetLastError();
    }
    return 0;
}


/**
 * virStorageFspoolSourceGrow:
 * @obj: pool that is being refreshed
 *
 * Gives the file system all of its volume, when that has grown. That it cannot grow is logged: it is no reason to stop
 * the pool, which is what libvirt does when a refresh fails. That it is not mounted any more is one, since what is seen
 * then is the bare directory, or somebody else's.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolSourceGrow(virStoragePoolObj *obj)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    g_autoptr(virStorageFspoolSource) source = NULL;
    int ret;

    if (virStorageFspoolSourceIsDirectory(def))
        return 0;
    if (!(source = virStorageFspoolSourceNew(def)))
        return -1;

    virStorageFspoolSourceUnlock(obj);
    ret = virStorageFspoolSourceGrowUnlocked(source);
    virStorageFspoolSourceLock(obj);
    return ret;
}


/* What is to be done in a new file system, whose root @fd is. */
static int
virStorageFspoolSourceFinish(const virStorageFspoolSource *source,
                             int fd)
{
    if (((source->uid != (uid_t) -1 || source->gid != (gid_t) -1) && fchown(fd, source->uid, source->gid) < 0) ||
        (source->mode != (mode_t) -1 && fchmod(fd, source->mode) < 0)) {
        virReportSystemError(errno, _("cannot set owner and mode of the directory of pool '%1$s'"), source->pool);
        return -1;
    }
    if ((source->quota == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL ||
         source->quota == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE) &&
        virStorageFspoolQuotaEnable(fd, source->quota) < 0) {
        virReportSystemError(errno, _("cannot enable the quotas of pool '%1$s'"), source->pool);
        return -1;
    }
    return 0;
}


/* Mounts a new file system where nobody else goes, finishes it, and unmounts it again. */
static int
virStorageFspoolSourceFinishAside(const virStorageFspoolSource *source,
                                  const char *node)
{
    g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;
    g_autoptr(virStorageFspoolMount) mount = NULL;
    g_autofree char *path = virStorageFspoolBuildDirPath(source->uuid);
    VIR_AUTOCLOSE fd = -1;
    virErrorPtr err = NULL;
    int ret = -1;

    if (virStorageFspoolBuildDirMake(path, source->pool) < 0)
        return -1;

    if (virStorageFspoolPointOpen(&point, path, source->pool) == 0 &&
        virStorageFspoolSourceMountNode(source, &point, node) == 0) {
        if (virStorageFspoolPointRead(&point, &mount) == 0 && mount &&
            (fd = virStorageFspoolPointOpenRoot(&point, mount, source->pool)) >= 0)
            ret = virStorageFspoolSourceFinish(source, fd);
        VIR_FORCE_CLOSE(fd);

        virErrorPreserveLast(&err);
        if (virStorageFspoolUnmountRun(&point, source->pool) < 0 && ret == 0) {
            ret = -1;
            virErrorPreserveLast(&err);
        }
        virErrorRestore(&err);
    }
    g_rmdir(path);
    return ret;
}


static int
virStorageFspoolSourceMakeFileSystem(const virStorageFspoolSource *source,
                                     const virStorageFspoolDevice *device)
{
    if (virStorageFspoolMkfs(source->format, device->node, true, device->name) < 0)
        return -1;
    if (virStorageFspoolSourceFinishAside(source, device->node) == 0)
        return 0;

    /* a kernel without quotas does not mount an ext4 that can have some */
    if (source->format != VIR_STORAGE_REV_FSPOOL_EXT4)
        return -1;
    virResetLastError();
    if (virStorageFspoolMkfs(source->format, device->node, false, device->name) < 0 ||
        virStorageFspoolSourceFinishAside(source, device->node) < 0)
        return -1;
    VIR_WARN("pool '%s' is made without quotas, which the kernel seems not to have", source->pool);
    return 0;
}


static int
virStorageFspoolSourceBuildUnlocked(const virStorageFspoolSource *source,
                                    bool overwrite)
{
    g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;
    g_auto(virStorageFspoolVolume) volume = { 0 };
    g_auto(virStorageFspoolDevice) device = VIR_STORAGE_FSPOOL_DEVICE_INIT;

    if (virStorageFspoolPointMake(source->target, source->pool) < 0)
        return -1;
    if (source->network)
        return 0;

    if (virStorageFspoolPointOpen(&point, source->target, source->pool) < 0 ||
        virStorageFspoolSourceOpen(source, &point, &volume, &device) < 0 ||
        virStorageFspoolDeviceClaim(&device) < 0 ||
        virStorageFspoolDeviceAttach(&device) < 0)
        return -1;

    if (!overwrite && virStorageFspoolMkfsCheckEmpty(source->format, device.node, device.name) < 0)
        return -1;
    return virStorageFspoolSourceMakeFileSystem(source, &device);
}


/**
 * virStorageFspoolSourceBuild:
 * @obj: pool with a source
 * @flags: VIR_STORAGE_POOL_BUILD_OVERWRITE to destroy whatever is on the volume
 *
 * Makes the directory to mount on, and on a volume the file system. Without the flag a volume on which anything is
 * found is left as it is, and an error; one that is in use always is.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolSourceBuild(virStoragePoolObj *obj,
                            unsigned int flags)
{
    g_autoptr(virStorageFspoolSource) source = NULL;
    int ret;

    virCheckFlags(VIR_STORAGE_POOL_BUILD_OVERWRITE |
                  VIR_STORAGE_POOL_BUILD_NO_OVERWRITE, -1);
    VIR_EXCLUSIVE_FLAGS_RET(VIR_STORAGE_POOL_BUILD_OVERWRITE,
                            VIR_STORAGE_POOL_BUILD_NO_OVERWRITE, -1);

    if (!(source = virStorageFspoolSourceNew(virStoragePoolObjGetDef(obj))))
        return -1;

    virStorageFspoolSourceUnlock(obj);
    ret = virStorageFspoolSourceBuildUnlocked(source, flags & VIR_STORAGE_POOL_BUILD_OVERWRITE);
    virStorageFspoolSourceLock(obj);
    return ret;
}


/**
 * virStorageFspoolSourceIsAlive:
 * @def: pool
 *
 * Does the server of a pool that lies on one answer? A directory may be on one that somebody else has mounted.
 *
 * Returns 0, or -1 with an error; at once where the pool has mounted a volume
 */
int
virStorageFspoolSourceIsAlive(virStoragePoolDef *def)
{
    bool directory = virStorageFspoolSourceIsDirectory(def);
    int rc;

    if (def->source.nhost == 0 && !directory)
        return 0;
    rc = virStorageFspoolAliveWait(def->target.path, VIR_STORAGE_FSPOOL_ALIVE_SECONDS);
    if (rc == 0 || (directory && rc != ETIMEDOUT)) /* what is wrong with a directory tells who uses it */
        return 0;

    if (directory)
        virReportSystemError(rc, _("the file system of the directory '%1$s' of pool '%2$s' does not answer"),
                             def->target.path, def->name);
    else
        virReportSystemError(rc, _("server '%1$s' of pool '%2$s' does not answer"),
                             def->source.hosts[0].name, def->name);
    return -1;
}
