/*
 * storage_thin_status.c: what the kernel says about thin pools and thin volumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The formats are the kernel's (Documentation/admin-guide/device-mapper/thin-provisioning.rst).
 */

#include <config.h>

#include "storage_thin_status.h"

#include "virstring.h"

#define SECTOR 512


/* Reads "12/345". */
static int
virStorageThinFractionParse(const char *text,
                            unsigned long long *used,
                            unsigned long long *total)
{
    char *slash = NULL;

    if (virStrToLong_ullp(text, &slash, 10, used) < 0 || *slash != '/' ||
        virStrToLong_ullp(slash + 1, NULL, 10, total) < 0)
        return -1;
    return 0;
}


static virStorageThinPoolMode
virStorageThinPoolModeOf(char **words)
{
    if (g_strv_contains((const char * const *) words, "ro"))
        return VIR_STORAGE_THIN_POOL_RO;
    if (g_strv_contains((const char * const *) words, "out_of_data_space"))
        return VIR_STORAGE_THIN_POOL_OUT_OF_SPACE;
    return VIR_STORAGE_THIN_POOL_RW;
}


/**
 * virStorageThinPoolStatusParse:
 * @params: status of a thin-pool target, such as
 *          "10 222/2048 0/9600 - rw discard_passdown queue_if_no_space - 512"
 * @status: filled
 *
 * Returns 0, or -1 when that is not what it says
 */
int
virStorageThinPoolStatusParse(const char *params,
                              virStorageThinPoolStatus *status)
{
    g_auto(GStrv) words = g_strsplit(params, " ", -1);

    memset(status, 0, sizeof(*status));
    if (STRPREFIX(params, "Fail") || STRPREFIX(params, "Error")) {
        status->mode = VIR_STORAGE_THIN_POOL_FAILED;
        return 0;
    }

    if (g_strv_length(words) < 5 ||
        virStrToLong_ullp(words[0], NULL, 10, &status->transactionId) < 0 ||
        virStorageThinFractionParse(words[1], &status->metadataUsed, &status->metadataTotal) < 0 ||
        virStorageThinFractionParse(words[2], &status->dataUsed, &status->dataTotal) < 0)
        return -1;

    status->mode = virStorageThinPoolModeOf(words + 4);
    status->needsCheck = g_strv_contains((const char * const *) words + 4, "needs_check");
    return 0;
}


/**
 * virStorageThinPoolTableParse:
 * @params: table of a thin-pool target, such as "254:0 254:1 128 0 1 skip_block_zeroing": devices of metadata and data,
 *          sectors of a block, low water mark, number of features and their names
 * @table: filled
 *
 * Returns 0, or -1 when that is not what it says
 */
int
virStorageThinPoolTableParse(const char *params,
                             virStorageThinPoolTable *table)
{
    g_auto(GStrv) words = g_strsplit(params, " ", -1);
    unsigned int sectors;

    if (g_strv_length(words) < 4 || virStrToLong_uip(words[2], NULL, 10, &sectors) < 0)
        return -1;
    table->blockSize = (size_t) sectors * SECTOR;
    table->zeroes = !g_strv_contains((const char * const *) words, "skip_block_zeroing");
    return 0;
}


/**
 * virStorageThinVolumeStatusParse:
 * @params: status of a thin target, such as "2048 4095", or "0 -" for one that is empty
 * @mapped: bytes that the volume has blocks for, shared ones included
 *
 * Returns 0, or -1 when that is not what it says, as for a pool that has failed
 */
int
virStorageThinVolumeStatusParse(const char *params,
                                unsigned long long *mapped)
{
    char *rest = NULL;

    if (virStrToLong_ullp(params, &rest, 10, mapped) < 0 || (*rest && *rest != ' '))
        return -1;
    *mapped *= SECTOR;
    return 0;
}


/**
 * virStorageThinVolumeTableParse:
 * @params: table of a thin target, such as "253:2 10": pool, and number of the thin device in it
 * @thinId: that number
 *
 * Returns 0, or -1 when that is not what it says
 */
int
virStorageThinVolumeTableParse(const char *params,
                               unsigned int *thinId)
{
    const char *number = strchr(params, ' ');
    char *rest = NULL;

    if (!number || virStrToLong_uip(number + 1, &rest, 10, thinId) < 0 || (*rest && *rest != ' '))
        return -1;
    return 0;
}


/**
 * virStorageThinSightDiffers:
 * @before: of an LV
 * @now: of the same
 * @stays: whether the LV is to be active all the time
 *
 * One that is not is activated for each reader, as another device, which has to tell only that it was not written to.
 *
 * Returns whether the LV may have been written to between the two
 */
bool
virStorageThinSightDiffers(const virStorageThinSight *before,
                           const virStorageThinSight *now,
                           bool stays)
{
    if (before->active && now->active && before->sequence == now->sequence)
        return before->changed != now->changed;
    return now->changed > 0 || (stays && (before->active || now->active));
}
