/*
 * storage_thin_report.c: LVM's report of a volume group
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_thin_report.h"

#include "virerror.h"
#include "virjson.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


static void
virStorageThinLVFree(virStorageThinLV *lv)
{
    if (!lv)
        return;

    g_free(lv->name);
    g_free(lv->uuid);
    g_free(lv->origin);
    g_strfreev(lv->tags);
    g_free(lv);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageThinLV, virStorageThinLVFree);


void
virStorageThinReportFree(virStorageThinReport *report)
{
    if (!report)
        return;

    g_strfreev(report->pvs);
    g_ptr_array_unref(report->lvs);
    g_free(report);
}


/* Returns the value of a column, which is a string in all of LVM's reports; "" where it is missing. */
static const char *
virStorageThinColumn(virJSONValue *row,
                     const char *name)
{
    const char *value = virJSONValueObjectGetString(row, name);

    return value ? value : "";
}


/* An empty column is 0. */
static int
virStorageThinNumber(virJSONValue *row,
                     const char *name,
                     unsigned long long *number)
{
    const char *value = virStorageThinColumn(row, name);

    *number = 0;
    return *value ? virStrToLong_ullp(value, NULL, 10, number) : 0;
}


/* LVM prints the names of hidden LVs in brackets. */
static char *
virStorageThinPlainName(const char *name)
{
    size_t len = strlen(name);

    if (len > 2 && name[0] == '[' && name[len - 1] == ']')
        return g_strndup(name + 1, len - 2);
    return g_strdup(name);
}


static int
virStorageThinReportParsePool(virStorageThinReport *report,
                              virJSONValue *row)
{
    report->hasPool = true;
    if (virStorageThinNumber(row, "lv_size", &report->poolSize) < 0 ||
        virStorageThinNumber(row, "transaction_id", &report->poolTransactionId) < 0 ||
        virStorageThinNumber(row, "lv_metadata_size", &report->poolMetadataSize) < 0)
        return -1;
    return 0;
}


static int
virStorageThinReportParseLV(virStorageThinReport *report,
                            virJSONValue *row)
{
    g_autoptr(virStorageThinLV) lv = g_new0(virStorageThinLV, 1);
    const char *origin = virStorageThinColumn(row, "origin");
    const char *tags = virStorageThinColumn(row, "lv_tags");
    unsigned long long thinId;

    lv->name = virStorageThinPlainName(virStorageThinColumn(row, "lv_name"));
    lv->uuid = g_strdup(virStorageThinColumn(row, "lv_uuid"));
    lv->origin = *origin ? virStorageThinPlainName(origin) : NULL;
    lv->tags = g_strsplit(tags, ",", -1);
    lv->merging = lv->origin && *virStorageThinColumn(row, "lv_merging") != '\0';

    if (!*lv->name ||
        virStorageThinNumber(row, "lv_size", &lv->size) < 0 ||
        virStorageThinNumber(row, "transaction_id", &lv->transactionId) < 0 ||
        virStorageThinNumber(row, "thin_id", &thinId) < 0 || thinId > UINT_MAX)
        return -1;

    lv->thinId = thinId;
    g_ptr_array_add(report->lvs, g_steal_pointer(&lv));
    return 0;
}


/* LVs of other pools and of other kinds are none of ours. */
static int
virStorageThinReportParseSegment(virStorageThinReport *report,
                                 virJSONValue *row,
                                 const char *thinPool)
{
    const char *segtype = virStorageThinColumn(row, "segtype");

    if (STREQ(segtype, "thin-pool") && STREQ(virStorageThinColumn(row, "lv_name"), thinPool))
        return virStorageThinReportParsePool(report, row);
    if (STREQ(segtype, "thin") && STREQ(virStorageThinColumn(row, "pool_lv"), thinPool))
        return virStorageThinReportParseLV(report, row);
    return 0;
}


/* Which devices the volume group lies on; nothing where one is missing, and LVM has to look for it. */
static void
virStorageThinReportParsePVs(virStorageThinReport *report,
                             virJSONValue *rows)
{
    g_autoptr(GPtrArray) pvs = g_ptr_array_new_with_free_func(g_free);
    size_t i;

    for (i = 0; i < virJSONValueArraySize(rows); i++) {
        const char *name = virStorageThinColumn(virJSONValueArrayGet(rows, i), "pv_name");

        if (*name != '/')
            return;
        g_ptr_array_add(pvs, g_strdup(name));
    }
    g_ptr_array_add(pvs, NULL);
    report->pvs = (char **) g_ptr_array_free(g_steal_pointer(&pvs), false);
}


static int
virStorageThinReportParseParts(virStorageThinReport *report,
                               virJSONValue *parts,
                               const char *thinPool)
{
    virJSONValue *vg = virJSONValueObjectGetArray(parts, "vg");
    virJSONValue *pvs = virJSONValueObjectGetArray(parts, "pv");
    virJSONValue *segments = virJSONValueObjectGetArray(parts, "seg");
    size_t i;

    if (!vg || virJSONValueArraySize(vg) != 1 || !pvs || !segments ||
        virStorageThinNumber(virJSONValueArrayGet(vg, 0), "vg_extent_size", &report->extentSize) < 0 ||
        virStorageThinNumber(virJSONValueArrayGet(vg, 0), "vg_mda_free", &report->metadataFree) < 0)
        return -1;

    virStorageThinReportParsePVs(report, pvs);
    for (i = 0; i < virJSONValueArraySize(segments); i++) {
        if (virStorageThinReportParseSegment(report, virJSONValueArrayGet(segments, i), thinPool) < 0)
            return -1;
    }
    return 0;
}


/**
 * virStorageThinReportParse:
 * @text: what "lvm fullreport --reportformat json --units b --nosuffix" printed about one volume group
 * @thinPool: name of the thin pool
 *
 * Returns the report, or NULL with an error when the text is no such report
 */
virStorageThinReport *
virStorageThinReportParse(const char *text,
                          const char *thinPool)
{
    g_autoptr(virStorageThinReport) report = g_new0(virStorageThinReport, 1);
    g_autoptr(virJSONValue) json = virJSONValueFromString(text);
    virJSONValue *reports = json ? virJSONValueObjectGetArray(json, "report") : NULL;

    report->lvs = g_ptr_array_new_with_free_func((GDestroyNotify) virStorageThinLVFree);
    if (reports && virJSONValueArraySize(reports) == 1 &&
        virStorageThinReportParseParts(report, virJSONValueArrayGet(reports, 0), thinPool) == 0)
        return g_steal_pointer(&report);

    virReportError(VIR_ERR_INTERNAL_ERROR, "%s", _("LVM's report of a volume group cannot be read"));
    return NULL;
}
