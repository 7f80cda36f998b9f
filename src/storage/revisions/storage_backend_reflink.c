/*
 * storage_backend_reflink.c: storage backend for image files that the file system clones
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "storage_backend_reflink.h"

#include "storage_backend.h"
#include "storage_reflink_content.h"
#include "storage_reflink_file.h"
#include "storage_reflink_name.h"
#include "storage_reflink_scan.h"
#include "storage_reflink_volume.h"
#include "storage_revision_directory.h"
#include "storage_revision_pool.h"
#include "storage_revision_worker.h"
#include "storage_util.h"
#include "virerror.h"
#include "virfile.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* One block of whatever file system: less lies inside the inode of some, which share nothing of it. */
#define PROBE_SIZE (64 * 1024)


/* Called when the daemon starts. A pool that was active before is so again, as long as its directory is there; that a
 * directory exists is no reason to start one, which would pass by the probes and the clean-up of a start. */
static int
virStorageBackendReflinkCheck(virStoragePoolObj *obj,
                              bool *active)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);

    *active = virStoragePoolObjIsActive(obj) && virFileIsDir(def->target.path);

    /* The daemon may have died while the pool was being started: what that leaves out is done now. */
    virStorageRevPoolGet(def)->starting = *active;
    return 0;
}


/* Tries what the pool relies on, on files without names. Returns 0, or -1 with errno and the name of what failed. */
static int
virStorageBackendReflinkProbe(int dirfd,
                              bool cloneRequired,
                              const char **missing)
{
    VIR_AUTOCLOSE from = virStorageRevOpenAt(dirfd, ".", O_TMPFILE | O_RDWR, 0600);
    VIR_AUTOCLOSE to = virStorageRevOpenAt(dirfd, ".", O_TMPFILE | O_RDWR, 0600);
    g_autofree char *block = g_strnfill(PROBE_SIZE, 'x');
    g_autofree char *link = virStorageReflinkNameFormat(VIR_STORAGE_REFLINK_NEW, "libvirt-probe", 0, 0, NULL);

    *missing = N_("unnamed files");
    if (from < 0 || to < 0)
        return -1;

    *missing = N_("extended attributes");
    if (fsetxattr(from, virStorageRevAttrName(), "1", 1, 0) < 0)
        return -1;

    *missing = N_("writing");
    if (safewrite(from, block, PROBE_SIZE) < 0)
        return -1;

    *missing = N_("cloning");
    if (cloneRequired && virStorageRevCloneFile(from, to) < 0)
        return -1;

    /* Commits keep the former head by one. It is gone in the next moment, or, after a kill, with the next refresh. */
    *missing = N_("hard links");
    if (virStorageReflinkFileLink(to, dirfd, link) < 0)
        return -1;
    return unlinkat(dirfd, link, 0);
}


/* Takes errno of what failed. */
static void
virStorageBackendReflinkReportMissing(virStoragePoolDef *def,
                                      bool cloneRequired,
                                      const char *missing)
{
    if (cloneRequired && STREQ(missing, "cloning") &&
        (errno == EOPNOTSUPP || errno == ENOTTY || errno == EINVAL || errno == EXDEV)) {
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the file system of '%1$s' cannot clone files: use Btrfs or XFS for pool '%2$s', or let it make full copies, which take time and space, with <features><reflink required='no'/></features>"),
                       def->target.path, def->name);
    } else if (STREQ(missing, "hard links") && errno == ENOENT) {
        /* to AppArmor a file without a name is a deleted one */
        virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                       _("the daemon may not link files for pool '%1$s': add the flag mediate_deleted to its AppArmor profile, usr.sbin.libvirtd"),
                       def->name);
    } else {
        virReportSystemError(errno, _("pool '%1$s' needs a directory whose file system can do this: %2$s"),
                             def->name, _(missing));
    }
}


static int
virStorageBackendReflinkStart(virStoragePoolObj *obj)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    virStorageRevPool *pool = virStorageRevPoolGet(def);
    bool cloneRequired = pool->reflinkRequired != VIR_TRISTATE_BOOL_NO;
    VIR_AUTOCLOSE dirfd = open(def->target.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *missing;

    if (dirfd < 0) {
        virReportSystemError(errno, _("cannot open the directory '%1$s' of pool '%2$s'"), def->target.path, def->name);
        return -1;
    }

    if (virStorageBackendReflinkProbe(dirfd, cloneRequired, &missing) < 0) {
        virStorageBackendReflinkReportMissing(def, cloneRequired, missing);
        return -1;
    }
    pool->starting = true;
    return 0;
}


/* Called with the pool locked. Its definitions are those of the last refresh, unlike those of other pool types: what has
 * not changed since is neither read nor made anew. */
static int
virStorageBackendReflinkRefresh(virStoragePoolObj *obj)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    virStorageRevPool *pool = virStorageRevPoolGet(def);
    g_autoptr(virStorageRevContext) ctx = virStorageRevContextNew(def);
    g_autoptr(virStorageReflinkScan) scan = NULL;

    if (!(scan = virStorageReflinkScanPool(ctx, virStorageRevPoolFamilies(obj))))
        return -1;

    virStorageReflinkRecover(ctx, scan, pool->starting);
    pool->starting = false;
    virStorageRevPoolReplace(obj, scan->families);

    if (virStorageRevDirectoryUpdatePool(obj) < 0 ||
        virStorageRevDirectoryReadPerms(def) < 0)
        return -1;
    return 0;
}


/* Called when libvirt drops its definitions. */
static int
virStorageBackendReflinkStop(virStoragePoolObj *obj)
{
    virStorageRevWorkerStop(obj);
    virStorageRevPoolReset(obj);
    return 0;
}


/* Refreshes one volume's sizes, with a single stat(2). Also called for volumes of other pools, which stay as they are,
 * and while an image is being copied, which is found under its staging name then. */
static int
virStorageBackendReflinkRefreshVol(virStoragePoolObj *obj,
                                   virStorageVolDef *vol)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);
    g_autofree char *stage = NULL;
    struct stat sb;

    if (!virStorageRevVolGet(vol) || !STRPREFIX(vol->target.path, def->target.path))
        return 0;

    if (vol->building) {
        g_auto(virStorageRevName) name = { 0 };
        g_autofree char *file = NULL;

        if (virStorageRevNameParse(vol->name, &name) < 0)
            return -1;
        file = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_STAGE, name.volume);
        stage = g_strdup_printf("%s/%s", def->target.path, file);
    }
    if (lstat(stage ? stage : vol->target.path, &sb) < 0 || !S_ISREG(sb.st_mode))
        return 0; /* gone by another hand: the next refresh tells */

    if (vol->target.format == VIR_STORAGE_FILE_RAW && !vol->building)
        vol->target.capacity = vol->target.physical = sb.st_size;
    vol->target.allocation = sb.st_blocks * 512ULL;
    if (vol->target.timestamps) {
        vol->target.timestamps->atime = sb.st_atim;
        vol->target.timestamps->mtime = sb.st_mtim;
        vol->target.timestamps->ctime = sb.st_ctim;
    }
    if (def->refresh && def->refresh->volume.allocation == VIR_STORAGE_VOL_DEF_REFRESH_ALLOCATION_CAPACITY)
        vol->target.allocation = vol->target.capacity;

    virStorageRevPoolUpdateVol(obj, vol);
    return 0;
}


/* Can the file system at @path clone? Leaves nothing behind. */
static bool
virStorageBackendReflinkIsSource(const struct mntent *mount)
{
    VIR_AUTOCLOSE dirfd = -1;
    const char *missing;

    if (hasmntopt(mount, MNTOPT_RO) ||
        (STRNEQ(mount->mnt_type, "btrfs") && STRNEQ(mount->mnt_type, "xfs") && STRNEQ(mount->mnt_type, "bcachefs")))
        return false;

    dirfd = open(mount->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dirfd >= 0 && virStorageBackendReflinkProbe(dirfd, true, &missing) == 0;
}


/* Lists mounted file systems that can clone, each as a directory below which a pool can be made. */
static char *
virStorageBackendReflinkFindPoolSources(const char *srcSpec G_GNUC_UNUSED,
                                        unsigned int flags)
{
    virCheckFlags(0, NULL);

    return virStorageRevDirectoryFindSources(virStorageBackendReflinkIsSource);
}


static char *
virStorageBackendReflinkFileOf(const virStorageRevName *name)
{
    return virStorageReflinkFileOf(name->kind == VIR_STORAGE_REV_LIVE ? VIR_STORAGE_REFLINK_LIVE
                                   : VIR_STORAGE_REFLINK_HEAD, name->volume);
}


static bool
virStorageBackendReflinkCopiesData(virStoragePoolDef *pool)
{
    return virStorageRevPoolGet(pool)->reflinkRequired == VIR_TRISTATE_BOOL_NO;
}


static int
virStorageBackendReflinkMakeHole(int fd,
                                 unsigned long long offset,
                                 unsigned long long length)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}


static int
virStorageBackendReflinkCheckName(virStoragePoolDef *pool G_GNUC_UNUSED,
                                  const virStorageRevName *name)
{
    return virStorageReflinkNameCheck(name);
}


static const virStorageRevOps virStorageReflinkOps = {
    .type = VIR_STORAGE_POOL_REFLINK,
    .volType = VIR_STORAGE_VOL_FILE,
    .nestedNames = true,
    .copiesData = virStorageBackendReflinkCopiesData,
    .checkName = virStorageBackendReflinkCheckName,
    .fileOf = virStorageBackendReflinkFileOf,
    .create = virStorageReflinkCreate,
    .clone = virStorageReflinkClone,
    .start = virStorageReflinkStart,
    .stage = virStorageReflinkStage,
    .commit = virStorageReflinkCommit,
    .discard = virStorageReflinkDiscard,
    .revert = virStorageReflinkRevert,
    .pin = virStorageReflinkPin,
    .redefine = virStorageReflinkRedefine,
    .mark = virStorageReflinkMark,
    .reread = virStorageReflinkReread,
    .resize = virStorageReflinkResize,
    .wipe = virStorageReflinkWipe,
    .deleteVolume = virStorageReflinkDeleteVolume,
    .deleteRevision = virStorageReflinkDeleteRevision,
    .prune = virStorageReflinkPrune,
    .precache = virStorageReflinkPrecache,
    .openForDownload = virStorageReflinkOpenForDownload,
    .openLive = virStorageReflinkOpenLive,
    .makeHole = virStorageBackendReflinkMakeHole,
    .stagingBegin = virStorageReflinkStagingBegin,
    .stagingFd = virStorageReflinkStagingFd,
    .stagingCommit = virStorageReflinkStagingCommit,
    .stagingEnd = virStorageReflinkStagingEnd,
    .read = virStorageReflinkScanVolume,
    .updatePool = virStorageRevDirectoryUpdatePool,
};


const virStorageRevOps *
virStorageBackendReflinkOps(void)
{
    return &virStorageReflinkOps;
}


static virStorageBackend virStorageBackendReflink = {
    .type = VIR_STORAGE_POOL_REFLINK,

    .findPoolSources = virStorageBackendReflinkFindPoolSources,
    .checkPool = virStorageBackendReflinkCheck,
    .startPool = virStorageBackendReflinkStart,
    .buildPool = virStorageRevDirectoryBuild,
    .refreshPool = virStorageBackendReflinkRefresh,
    .stopPool = virStorageBackendReflinkStop,
    .deletePool = virStorageBackendDeleteLocal,
    .refreshVol = virStorageBackendReflinkRefreshVol,
};


int
virStorageBackendReflinkRegister(void)
{
    return virStorageBackendRegister(&virStorageBackendReflink);
}
