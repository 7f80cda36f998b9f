/*
 * storage_thin_report.h: LVM's report of a volume group
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* The columns that virStorageThinReportParse() reads. None of them makes LVM ask the kernel about a single LV, which it
 * would do for each of them. */
#define VIR_STORAGE_THIN_REPORT_VG "vg_extent_size,vg_mda_free"
#define VIR_STORAGE_THIN_REPORT_PV "pv_name"
#define VIR_STORAGE_THIN_REPORT_SEG \
    "lv_name,lv_uuid,lv_size,origin,pool_lv,lv_tags,segtype,thin_id,transaction_id,lv_merging,lv_metadata_size"

/* A thin volume. */
typedef struct _virStorageThinLV virStorageThinLV;
struct _virStorageThinLV {
    char *name;
    char *uuid;
    char *origin;            /* what it is a snapshot of, or NULL */
    char **tags;
    unsigned long long size; /* bytes */
    unsigned int thinId;     /* number of the thin device in its pool */
    unsigned long long transactionId; /* of the pool, before this one was made */
    bool merging;            /* replaces its origin as soon as neither is open */
};

/* A volume group, as far as one of its thin pools is concerned. Sizes are in bytes. */
typedef struct _virStorageThinReport virStorageThinReport;
struct _virStorageThinReport {
    unsigned long long extentSize;
    unsigned long long metadataFree; /* in LVM's own metadata area */
    char **pvs;                      /* NULL when one is missing */
    bool hasPool;
    unsigned long long poolSize;
    unsigned long long poolMetadataSize;
    unsigned long long poolTransactionId; /* that the kernel's thin pool has, too, unless LVM was interrupted */
    GPtrArray *lvs;                  /* of virStorageThinLV: the pool's thin volumes */
};

virStorageThinReport *
virStorageThinReportParse(const char *text,
                          const char *thinPool);

void
virStorageThinReportFree(virStorageThinReport *report);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageThinReport, virStorageThinReportFree);
