/*
 * storage_reflink_name.h: names of the files that a volume's states lie in
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_name.h"

/* The names are those of Qubes OS's file-reflink driver, where it has one; pins and staging are ours alone. */
typedef enum {
    VIR_STORAGE_REFLINK_FOREIGN,  /* not ours, or not a name that a volume may have */
    VIR_STORAGE_REFLINK_HEAD,     /* NAME.img */
    VIR_STORAGE_REFLINK_LIVE,     /* NAME-dirty.img */
    VIR_STORAGE_REFLINK_PRECACHE, /* NAME-precache.img: a clone made ahead for the next start */
    VIR_STORAGE_REFLINK_NUMBERED, /* NAME.img.7@2026-11-20T18:00:00Z */
    VIR_STORAGE_REFLINK_LEGACY,   /* NAME.img@2026-11-20T18:00:00Z: of older Qubes releases */
    VIR_STORAGE_REFLINK_PINNED,   /* NAME.img.pin-WORD */
    VIR_STORAGE_REFLINK_STAGE,    /* NAME.img.stage */
    VIR_STORAGE_REFLINK_NEW,      /* NAME.img.new: complete, on its way to a name of the above */
    VIR_STORAGE_REFLINK_IMPORT,   /* NAME-import.img: Qubes' own staging, never touched */
} virStorageReflinkRole;

typedef struct _virStorageReflinkName virStorageReflinkName;
struct _virStorageReflinkName {
    virStorageReflinkRole role;
    char *volume;            /* last part of the volume's name */
    unsigned long long id;   /* numbered: as in the name; legacy: seconds of the time stamp */
    long long stamp;         /* the name's time stamp, seconds since 1970 */
    char *word;              /* pinned */
};

void
virStorageReflinkNameParse(const char *file,
                           virStorageReflinkName *name);

void
virStorageReflinkNameClear(virStorageReflinkName *name);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageReflinkName, virStorageReflinkNameClear);

char *
virStorageReflinkNameFormat(virStorageReflinkRole role,
                            const char *volume,
                            unsigned long long id,
                            long long stamp,
                            const char *word);

int
virStorageReflinkNameCheck(const virStorageRevName *name);
