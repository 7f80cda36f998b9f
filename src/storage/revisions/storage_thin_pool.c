/*
 * storage_thin_pool.c: volume groups and thin pools
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>

#include "storage_thin_pool.h"

#include "storage_revision_lock.h"
#include "storage_thin_device.h"
#include "storage_thin_room.h"
#include "storage_thin_use.h"
#include "storage_thin_volume.h"
#include "storage_util.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virfile.h"
#include "virjson.h"
#include "virlog.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_thin_pool");

#define MIB (1024ULL * 1024)
#define GIB (1024 * MIB)

/* LVM's default has room for about 1,500 LVs: this one has for 30,000. */
#define VG_METADATA_SIZE "64m"

/* What LVM wants to see at the begin of a disk that is to become a physical volume. */
#define ZERO_SIZE (1024 * 1024)

/* For each block of 64 KiB the pool keeps some 50 bytes, once for all volumes that share it. So much of the volume group
 * is left to the pool's metadata, with limits of the kernel's. */
#define POOL_METADATA_SHARE 500
#define POOL_METADATA_MIN (4 * MIB)
#define POOL_METADATA_MAX (15 * GIB)

/* So many LVs are named on one command line. */
#define ACTIVATE_MAX 500


static int
virStorageThinInitialize(virStorageRevContext *ctx,
                         const char *path)
{
    /* # lvm pvcreate -qq --yes --metadatasize 64m /dev/sdb */
    g_autoptr(virCommand) cmd = virStorageThinCommand(ctx, "pvcreate");

    if (virStorageBackendZeroPartitionTable(path, ZERO_SIZE) < 0)
        return -1;
    virCommandAddArgList(cmd, "-qq", "--yes", "--metadatasize", VG_METADATA_SIZE, path, NULL);
    return virStorageThinCommandRun(cmd, ctx->poolName);
}


static void
virStorageThinUninitialize(virStorageRevContext *ctx,
                           const char *path)
{
    g_autoptr(virCommand) cmd = virStorageThinCommand(ctx, "pvremove");
    virErrorPtr err = NULL;

    virErrorPreserveLast(&err);
    virCommandAddArgList(cmd, "-qq", "--yes", path, NULL);
    ignore_value(virStorageThinCommandRun(cmd, ctx->poolName));
    virErrorRestore(&err);
}


/* May the device be lost? Never one that a file system is mounted from or another device lies on, whatever is asked. */
static int
virStorageThinCheckDevice(const char *path,
                          bool overwrite)
{
    VIR_AUTOCLOSE fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);

    if (fd < 0) {
        virReportSystemError(errno, _("cannot use device '%1$s' for a volume group"), path);
        return -1;
    }
    return overwrite || virStorageBackendDeviceIsEmpty(path, "LVM2_member", true) ? 0 : -1;
}


static int
virStorageThinCreateGroup(virStorageRevContext *ctx,
                          const virStoragePoolSource *source,
                          bool overwrite)
{
    /* # lvm vgcreate -qq --yes vg /dev/sdb /dev/sdc */
    g_autoptr(virCommand) cmd = virStorageThinCommand(ctx, "vgcreate");
    size_t done;
    size_t i;

    virCommandAddArgList(cmd, "-qq", "--yes", ctx->vg, NULL);
    for (i = 0; i < source->ndevice; i++) {
        virCommandAddArg(cmd, source->devices[i].path);
        if (virStorageThinCheckDevice(source->devices[i].path, overwrite) < 0)
            return -1;
    }

    for (done = 0; done < source->ndevice; done++) {
        if (virStorageThinInitialize(ctx, source->devices[done].path) < 0)
            break;
    }
    if (done == source->ndevice && virStorageThinCommandRun(cmd, ctx->poolName) == 0)
        return 0;

    for (i = 0; i < done; i++)
        virStorageThinUninitialize(ctx, source->devices[i].path);
    return -1;
}


/* Finds out how many bytes of a volume group are free. What LVM cannot tell is no group that is absent: it would be
 * overwritten. Returns whether there is such a group, or -1 with an error. */
static int
virStorageThinGroupFind(virStorageRevContext *ctx,
                        unsigned long long *available)
{
    /* Other hosts' groups, and all that have the name. An empty list is the only answer that says that there is none.
     *
     * # lvm vgs --foreign --shared --noheadings --units b --nosuffix -o vg_free --select 'vg_name="vg"'
     *   1069547520 */
    g_autoptr(virCommand) cmd = virStorageThinReportCommand(ctx, "vgs");
    g_autofree char *output = NULL;

    virCommandAddArgList(cmd, "--foreign", "--shared", "--noheadings", "--units", "b", "--nosuffix", "-o", "vg_free",
                         "--select", NULL);
    virCommandAddArgFormat(cmd, "vg_name=\"%s\"", ctx->vg);
    virCommandSetOutputBuffer(cmd, &output);
    if (virStorageThinCommandRun(cmd, ctx->poolName) < 0)
        return -1;

    *available = 0;
    if (!*g_strstrip(output))
        return 0;
    if (virStrToLong_ull(output, NULL, 10, available) == 0)
        return 1;
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("cannot tell which volume group '%1$s' is, which pool '%2$s' is to use: 'vgs -o +vg_uuid' shows all of that name"),
                   ctx->vg, ctx->poolName);
    return -1;
}


static int
virStorageThinCreatePool(virStorageRevContext *ctx,
                         unsigned long long available)
{
    /* # lvm lvcreate -qq --yes --type thin-pool --zero y --chunksize 64k --poolmetadatasize 8388608b
     *       --extents 100%FREE --name vm-pool vg */
    g_autoptr(virCommand) cmd = virStorageThinCommand(ctx, "lvcreate");
    unsigned long long metadata = CLAMP(VIR_ROUND_UP(available / POOL_METADATA_SHARE, MIB),
                                        POOL_METADATA_MIN, POOL_METADATA_MAX);

    /* blocks are zeroed when a volume gets them: they may have been another machine's */
    virCommandAddArgList(cmd, "-qq", "--yes", "--type", "thin-pool", "--zero", "y", "--chunksize", "64k",
                         "--poolmetadatasize", NULL);
    virCommandAddArgFormat(cmd, "%llub", metadata);
    virCommandAddArgList(cmd, "--extents", "100%FREE", "--name", ctx->thinPool, ctx->vg, NULL);
    return virStorageThinCommandRun(cmd, ctx->poolName);
}


/**
 * virStorageThinPoolBuild:
 * @ctx: pool
 * @source: where it names devices, a volume group is made on them
 * @overwrite: whether whatever is on them may be lost
 *
 * Makes the volume group unless it is there, and the thin pool in all of its free space. What is there is never changed.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageThinPoolBuild(virStorageRevContext *ctx,
                        const virStoragePoolSource *source,
                        bool overwrite)
{
    g_autoptr(virStorageThinReport) report = NULL;
    unsigned long long available;
    int found;

    g_clear_pointer(&ctx->pvs, g_strfreev);
    if ((found = virStorageThinGroupFind(ctx, &available)) < 0)
        return -1;
    if (!found) {
        if (source->ndevice == 0) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("there is no volume group '%1$s', and pool '%2$s' names no device to make it on"),
                           ctx->vg, ctx->poolName);
            return -1;
        }
        if (virStorageThinCreateGroup(ctx, source, overwrite) < 0 ||
            virStorageThinGroupFind(ctx, &available) < 0)
            return -1;
    }

    if (!(report = virStorageThinReportRead(ctx)))
        return -1;
    if (report->hasPool) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume group '%1$s' has a thin pool '%2$s' already: pool '%3$s' can be started"),
                       ctx->vg, ctx->thinPool, ctx->poolName);
        return -1;
    }
    return virStorageThinCreatePool(ctx, available);
}


static int
virStorageThinRemoveGroup(virStorageRevContext *ctx,
                          char **pvs)
{
    /* # lvm vgremove -qq --yes vg; without --force it keeps what has LVs */
    g_autoptr(virCommand) cmd = virStorageThinCommand(ctx, "vgremove");

    virCommandAddArgList(cmd, "-qq", ctx->vg, NULL);
    if (virStorageThinCommandRun(cmd, ctx->poolName) < 0) {
        VIR_INFO("volume group '%s' has other logical volumes, and stays", ctx->vg);
        virResetLastError();
        return 0;
    }
    for (; pvs && *pvs; pvs++)
        virStorageThinUninitialize(ctx, *pvs);
    return 0;
}


/* Removes a thin pool without volumes, and the volume group and its physical volumes if nothing else is there. */
int
virStorageThinPoolDelete(virStorageRevContext *ctx)
{
    g_autoptr(virStorageThinReport) report = NULL;
    const char *lvs[] = { ctx->thinPool, NULL };

    g_clear_pointer(&ctx->pvs, g_strfreev);
    if (!(report = virStorageThinReportRead(ctx)))
        return -1;
    if (report->lvs->len > 0) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("pool '%1$s' still has %2$u volumes, live copies and revisions: delete those first"),
                       ctx->poolName, report->lvs->len);
        return -1;
    }
    if (report->hasPool && virStorageThinRemove(ctx, lvs, ctx->poolName) < 0)
        return -1;
    g_clear_pointer(&ctx->pvs, g_strfreev);
    return virStorageThinRemoveGroup(ctx, report->pvs);
}


static void
virStorageThinAddWhere(virStorageRevContext *ctx,
                       int control,
                       const virStorageRevState *state,
                       bool active,
                       GPtrArray *lvs)
{
    virStorageThinDevice device;

    if (!state || virStorageThinDeviceRead(control, ctx->vg, state->file, &device) < 0 ||
        device.active != active || device.openCount > 0)
        return;
    g_ptr_array_add(lvs, state->file);
}


static void
virStorageThinAddOthers(virStorageRevContext *ctx,
                        int control,
                        virStorageRevFamily *family,
                        bool active,
                        GPtrArray *lvs)
{
    size_t i;

    virStorageThinAddWhere(ctx, control, family->head, active, lvs);
    for (i = 0; i < family->revisions->len; i++)
        virStorageThinAddWhere(ctx, control, g_ptr_array_index(family->revisions, i), active, lvs);
}


/* Returns the LVs of managed volumes that are active, or not, and not open: live copies, and where asked for all others. */
static GPtrArray *
virStorageThinCollect(virStorageRevContext *ctx,
                      GHashTable *families,
                      bool active,
                      bool live,
                      bool others)
{
    g_autoptr(GPtrArray) lvs = g_ptr_array_new();
    VIR_AUTOCLOSE control = virStorageThinControlOpen();
    GHashTableIter iter;
    void *value;

    g_hash_table_iter_init(&iter, families);
    while (control >= 0 && g_hash_table_iter_next(&iter, NULL, &value)) {
        virStorageRevFamily *family = value;

        if (!virStorageThinIsManaged(family))
            continue;
        if (live)
            virStorageThinAddWhere(ctx, control, family->live, active, lvs);
        if (others)
            virStorageThinAddOthers(ctx, control, family, active, lvs);
    }
    virResetLastError();
    return g_steal_pointer(&lvs);
}


static int
virStorageThinActivateAll(virStorageRevContext *ctx,
                          GPtrArray *lvs,
                          bool active)
{
    size_t i;
    int ret = 0;

    for (i = 0; i < lvs->len; i += ACTIVATE_MAX) {
        size_t n = MIN(ACTIVATE_MAX, lvs->len - i);
        g_autofree const char **some = g_new0(const char *, n + 1);

        memcpy(some, lvs->pdata + i, n * sizeof(*some));
        if (virStorageThinActivate(ctx, some, active, ctx->poolName) < 0)
            ret = -1; /* LVM goes on with the next one, too */
    }
    return ret;
}


/* A pool that is broken starts, since what is in it can be read, and be given other names. */
static void
virStorageThinWarnOfBreakage(virStorageRevContext *ctx)
{
    const char *breakage = NULL;

    if (virStorageThinFindBreakage(ctx, &breakage) < 0)
        virResetLastError();
    if (breakage)
        VIR_WARN("nothing can be made or removed in pool '%s': %s", ctx->poolName, breakage);
}


/**
 * virStorageThinPoolBringUp:
 * @ctx: pool that is being started
 * @scan: what is in it
 *
 * Activates the thin pool, the live copies, and all others where the pool says so. One volume that cannot be activated
 * does not keep the others from their machines.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageThinPoolBringUp(virStorageRevContext *ctx,
                          virStorageThinScan *scan)
{
    g_autoptr(GPtrArray) lvs = virStorageThinCollect(ctx, scan->families, false, true, ctx->headsActive);
    VIR_AUTOCLOSE control = virStorageThinControlOpen();
    virStorageThinPoolStatus status;
    virErrorPtr err = NULL;
    int active;

    if (control < 0 || (active = virStorageThinPoolRead(control, ctx->vg, ctx->thinPool, &status)) < 0)
        return -1;
    if (!active)
        g_ptr_array_insert(lvs, 0, ctx->thinPool);
    if (virStorageThinActivateAll(ctx, lvs, true) == 0) {
        virStorageThinWarnOfBreakage(ctx);
        return 0;
    }

    virErrorPreserveLast(&err);
    if (virStorageThinPoolRead(control, ctx->vg, ctx->thinPool, &status) > 0) {
        VIR_WARN("some volumes of pool '%s' are not active: %s", ctx->poolName, err->message);
        g_clear_pointer(&err, virFreeError);
        virResetLastError();
        return 0;
    }
    virErrorRestore(&err);
    return -1;
}


/* Adds the heads and revisions of a volume that are active, and are not to be while nobody has them open. Of those of other
 * tools that are the ones that were activated here. */
static void
virStorageThinAddRestless(virStorageRevContext *ctx,
                          int control,
                          virStorageRevFamily *family,
                          GPtrArray *lvs)
{
    bool managed = virStorageThinIsManaged(family);
    size_t before = lvs->len;
    size_t i;

    /* the device of a head counts what others write during an upload */
    if ((managed && ctx->headsActive) || virStorageThinIsUploadedTo(ctx, family->volume))
        return;
    virStorageThinAddOthers(ctx, control, family, true, lvs);
    for (i = lvs->len; !managed && i-- > before;) {
        if (!virStorageThinIsActivated(ctx, g_ptr_array_index(lvs, i)))
            g_ptr_array_remove_index(lvs, i);
    }
}


/* As virStorageThinCollect(), for the heads and revisions that are to be inactive, without those of volumes that somebody
 * changes, or is about to read. All others are locked as long as there is @locks. */
static GPtrArray *
virStorageThinCollectIdle(virStorageRevContext *ctx,
                          GHashTable *families,
                          GPtrArray *locks)
{
    g_autoptr(GPtrArray) lvs = g_ptr_array_new();
    VIR_AUTOCLOSE control = virStorageThinControlOpen();
    GHashTableIter iter;
    void *value;

    g_hash_table_iter_init(&iter, families);
    while (control >= 0 && g_hash_table_iter_next(&iter, NULL, &value)) {
        virStorageRevFamily *family = value;
        virStorageRevLocks *lock;
        size_t before = lvs->len;

        virStorageThinAddRestless(ctx, control, family, lvs);
        if (lvs->len == before)
            continue;
        if ((lock = virStorageRevLocksTry(ctx->uuid, family->volume)))
            g_ptr_array_add(locks, lock);
        else
            g_ptr_array_set_size(lvs, before);
    }
    virResetLastError();
    return g_steal_pointer(&lvs);
}


/**
 * virStorageThinPoolSettle:
 * @ctx: pool
 * @families: its volumes
 *
 * Deactivates the heads and revisions of a pool that keeps these inactive, and what was found inactive of other tools,
 * unless somebody has them open: a daemon that was killed had activated them to read them.
 */
void
virStorageThinPoolSettle(virStorageRevContext *ctx,
                         GHashTable *families)
{
    g_autoptr(GPtrArray) locks = g_ptr_array_new_with_free_func((GDestroyNotify) virStorageRevLocksRelease);
    g_autoptr(GPtrArray) lvs = virStorageThinCollectIdle(ctx, families, locks);

    if (virStorageThinActivateAll(ctx, lvs, false) < 0) {
        VIR_WARN("some volumes of pool '%s' stay active: %s", ctx->poolName, virGetLastErrorMessage());
        virResetLastError();
    }
}


/* Deactivates what a pool that keeps its heads inactive has active, and nobody has open. That it fails for some is no
 * reason not to stop. */
void
virStorageThinPoolLetDown(virStorageRevContext *ctx,
                          GHashTable *families)
{
    g_autoptr(GPtrArray) lvs = NULL;

    if (ctx->headsActive)
        return;
    lvs = virStorageThinCollect(ctx, families, true, true, true);
    if (virStorageThinActivateAll(ctx, lvs, false) < 0) {
        VIR_WARN("pool '%s' is stopped with logical volumes active: %s", ctx->poolName, virGetLastErrorMessage());
        virResetLastError();
    }
}


static void
virStorageThinFormatSources(virBuffer *buf,
                            virJSONValue *rows)
{
    size_t i;

    virBufferAddLit(buf, "<sources>\n");
    virBufferAdjustIndent(buf, 2);
    for (i = 0; rows && i < virJSONValueArraySize(rows); i++) {
        virJSONValue *row = virJSONValueArrayGet(rows, i);

        virBufferAddLit(buf, "<source>\n");
        virBufferAdjustIndent(buf, 2);
        virBufferEscapeString(buf, "<name>%s</name>\n", virJSONValueObjectGetString(row, "vg_name"));
        virBufferEscapeString(buf, "<thinPool name='%s'/>\n", virJSONValueObjectGetString(row, "lv_name"));
        virBufferAdjustIndent(buf, -2);
        virBufferAddLit(buf, "</source>\n");
    }
    virBufferAdjustIndent(buf, -2);
    virBufferAddLit(buf, "</sources>\n");
}


/* Lists the thin pools of this host, or returns NULL with an error. */
char *
virStorageThinPoolFindSources(void)
{
    /* # lvm lvs --reportformat json -o vg_name,lv_name -S segtype=thin-pool
     *  {"report": [ {"lv": [ {"vg_name":"qubes_dom0", "lv_name":"vm-pool"} ] } ] } */
    virStorageRevContext host = { 0 };
    g_autoptr(virCommand) cmd = virStorageThinReportCommand(&host, "lvs");
    g_autoptr(virJSONValue) json = NULL;
    g_autofree char *output = NULL;
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    virJSONValue *reports;

    virCommandAddArgList(cmd, "--reportformat", "json", "-o", "vg_name,lv_name", "-S", "segtype=thin-pool", NULL);
    virCommandSetOutputBuffer(cmd, &output);
    if (virStorageThinCommandRun(cmd, "lvs") < 0 ||
        !(json = virJSONValueFromString(output)))
        return NULL;

    reports = virJSONValueObjectGetArray(json, "report");
    virStorageThinFormatSources(&buf, reports && virJSONValueArraySize(reports) == 1 ?
                                virJSONValueObjectGetArray(virJSONValueArrayGet(reports, 0), "lv") : NULL);
    return virBufferContentAndReset(&buf);
}
