/*
 * storage_thin_room.c: what a thin pool can take
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_thin_room.h"

#include "storage_thin_device.h"
#include "storage_thin_lvm.h"
#include "storage_thin_message.h"
#include "virerror.h"
#include "virfile.h"
#include "virthread.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* What is in use is left this much to write: a machine that finds its disk full loses data. */
#define USE_MAX_PERCENT 95

/* An LV takes about 0.5 KiB of LVM's metadata, of which two generations lie side by side. What is left above this serves
 * commits and clean-up. */
#define VG_METADATA_RESERVE (32 * 1024)

/* More than one with the longest name and tags takes. */
#define LV_METADATA 2048

/* Bytes left in the metadata areas of the volume groups, by name: what LVM has told last, less what was made since. */
static virMutex mutex = VIR_MUTEX_INITIALIZER;
static GHashTable *areas;


static bool
virStorageThinIsNearlyFull(unsigned long long used,
                           unsigned long long total)
{
    return total > 0 && used * 100 >= total * USE_MAX_PERCENT;
}


/**
 * virStorageThinBreakage:
 * @status: of a thin pool that is active
 *
 * LVM notes in the volume group what it is about to have the thin pool make or remove, and would be left with that.
 *
 * Returns why nothing can be added to it, nor removed, not translated yet, or NULL
 */
const char *
virStorageThinBreakage(const virStorageThinPoolStatus *status)
{
    if (status->mode == VIR_STORAGE_THIN_POOL_FAILED)
        return N_("the thin pool has failed: see the kernel's log");
    if (status->needsCheck)
        return virStorageThinNeedsCheck();
    if (status->mode == VIR_STORAGE_THIN_POOL_RO)
        return N_("the thin pool's metadata cannot be written: see the kernel's log");
    return NULL;
}


/**
 * virStorageThinRoomProblem:
 * @status: of a thin pool that is active
 * @vgMetadataFree: bytes left in the metadata area of the volume group
 *
 * Returns why no volume, live copy or revision may be added, not translated yet, or NULL
 */
const char *
virStorageThinRoomProblem(const virStorageThinPoolStatus *status,
                          unsigned long long vgMetadataFree)
{
    const char *breakage = virStorageThinBreakage(status);

    if (breakage)
        return breakage;
    if (status->mode == VIR_STORAGE_THIN_POOL_OUT_OF_SPACE || virStorageThinIsNearlyFull(status->dataUsed, status->dataTotal))
        return N_("the data space of the thin pool is nearly full: extend it, or remove volumes or revisions");
    if (virStorageThinIsNearlyFull(status->metadataUsed, status->metadataTotal))
        return N_("the metadata space of the thin pool is nearly full: extend it with 'lvextend --poolmetadatasize', or remove volumes or revisions");
    if (vgMetadataFree < VG_METADATA_RESERVE)
        return N_("the metadata area of the volume group is nearly full: remove volumes or revisions");
    return NULL;
}


/* Returns as virStorageThinPoolRead() does. */
static int
virStorageThinAskStatus(const virStorageRevContext *ctx,
                        virStorageThinPoolStatus *status)
{
    VIR_AUTOCLOSE control = virStorageThinControlOpen();

    return control < 0 ? -1 : virStorageThinPoolRead(control, ctx->vg, ctx->thinPool, status);
}


/* To be told whenever LVM has told how much is left in the metadata area of a volume group. */
void
virStorageThinRoomSetArea(const char *vg,
                          unsigned long long metadataFree)
{
    unsigned long long *left = g_new0(unsigned long long, 1);

    *left = metadataFree;
    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        if (!areas)
            areas = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        g_hash_table_insert(areas, g_strdup(vg), left);
    }
}


/* Counts one LV more. Returns how much is left in the metadata area at least, which is 0 where nothing is known. */
static unsigned long long
virStorageThinTakeOfArea(const char *vg)
{
    unsigned long long ret = 0;

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        unsigned long long *left = areas ? g_hash_table_lookup(areas, vg) : NULL;

        if (left) {
            *left -= MIN(*left, LV_METADATA);
            ret = *left;
        }
    }
    return ret;
}


/**
 * virStorageThinFindProblem:
 * @ctx: pool
 * @problem: set to why nothing may be added to it, as of virStorageThinRoomProblem(), or to NULL
 *
 * Returns 0, or -1 with an error when that cannot be told
 */
int
virStorageThinFindProblem(virStorageRevContext *ctx,
                          const char **problem)
{
    virStorageThinPoolStatus status;
    unsigned long long left;
    int active;

    *problem = NULL;
    if ((active = virStorageThinAskStatus(ctx, &status)) < 0)
        return -1;
    if (!active) /* LVM looks at it when it activates it */
        return 0;

    /* LVs may be gone since, and most take less than what was counted */
    if ((left = virStorageThinTakeOfArea(ctx->vg)) < VG_METADATA_RESERVE) {
        g_autoptr(virStorageThinReport) report = virStorageThinReportRead(ctx);

        if (!report)
            return -1;
        left = report->metadataFree;
    }
    *problem = virStorageThinRoomProblem(&status, left);
    return 0;
}


/**
 * virStorageThinCheckRoom:
 * @ctx: pool
 * @name: what is to be made, for errors
 *
 * Returns 0, or -1 with an error that says what is full
 */
int
virStorageThinCheckRoom(virStorageRevContext *ctx,
                        const char *name)
{
    const char *problem;

    if (virStorageThinFindProblem(ctx, &problem) < 0)
        return -1;
    if (!problem)
        return 0;

    virReportError(VIR_ERR_OPERATION_FAILED, _("cannot make '%1$s' in pool '%2$s': %3$s"), name, ctx->poolName, _(problem));
    return -1;
}


/**
 * virStorageThinFindBreakage:
 * @ctx: pool
 * @breakage: set to why nothing can be added to it nor removed, as of virStorageThinBreakage(), or to NULL
 *
 * Returns 0, or -1 with an error when that cannot be told
 */
int
virStorageThinFindBreakage(virStorageRevContext *ctx,
                           const char **breakage)
{
    virStorageThinPoolStatus status;
    int active;

    *breakage = NULL;
    if ((active = virStorageThinAskStatus(ctx, &status)) < 0)
        return -1;
    if (active)
        *breakage = virStorageThinBreakage(&status);
    return 0;
}


/**
 * virStorageThinCheckRemoval:
 * @ctx: pool
 * @name: what is to be removed, for errors
 *
 * Returns 0, or -1 with an error that says what is wrong with the pool
 */
int
virStorageThinCheckRemoval(virStorageRevContext *ctx,
                           const char *name)
{
    const char *breakage;

    if (virStorageThinFindBreakage(ctx, &breakage) < 0)
        return -1;
    if (!breakage)
        return 0;

    virReportError(VIR_ERR_OPERATION_FAILED, _("cannot remove '%1$s' from pool '%2$s': %3$s"), name, ctx->poolName,
                   _(breakage));
    return -1;
}
