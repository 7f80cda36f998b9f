/*
 * storage_thin_name.h: names of the logical volumes that a volume's states are
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_name.h"

/* Ids of revisions have at most ten digits: more would make the names of devices too long. */
#define VIR_STORAGE_THIN_ID_MAX 9999999999ULL

/* What a logical volume is, as far as its name tells. All but PINNED and STAGE are names that Qubes OS gives. */
typedef enum {
    VIR_STORAGE_THIN_HEAD,     /* NAME */
    VIR_STORAGE_THIN_LIVE,     /* NAME-snap */
    VIR_STORAGE_THIN_NUMBERED, /* NAME-<epoch>-back */
    VIR_STORAGE_THIN_PINNED,   /* NAME+pin+WORD */
    VIR_STORAGE_THIN_STAGE,    /* NAME+stage, or NAME+stage7 for one that is only read, and then removed */
    VIR_STORAGE_THIN_IMPORT,   /* NAME-import: Qubes' own staging */
} virStorageThinRole;

typedef struct _virStorageThinName virStorageThinName;
struct _virStorageThinName {
    virStorageThinRole role;
    char *volume;
    unsigned long long id; /* NUMBERED, STAGE */
    char *word;            /* PINNED */
};

void
virStorageThinNameParse(const char *lv,
                        virStorageThinName *name);

void
virStorageThinNameClear(virStorageThinName *name);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageThinName, virStorageThinNameClear);

char *
virStorageThinNameFormat(virStorageThinRole role,
                         const char *volume,
                         unsigned long long id,
                         const char *word);

char *
virStorageThinNameTemporary(const char *volume);

int
virStorageThinNameCheckRevision(const char *vg,
                                const char *volume);

int
virStorageThinNameCheck(const char *vg,
                        const virStorageRevName *name);

char *
virStorageThinDeviceName(const char *vg,
                         const char *lv);
