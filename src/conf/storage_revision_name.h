/*
 * storage_revision_name.h: names of volumes, live copies and revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "internal.h"

/* The word that names a live copy, as in NAME@live. */
#define VIR_STORAGE_REV_LIVE_WORD "live"

/* Longest word of a pinned revision, in bytes. */
#define VIR_STORAGE_REV_WORD_MAX 64

typedef enum {
    VIR_STORAGE_REV_HEAD,     /* NAME: the committed state */
    VIR_STORAGE_REV_LIVE,     /* NAME@live: what a running domain writes to */
    VIR_STORAGE_REV_NUMBERED, /* NAME@7: an earlier committed state */
    VIR_STORAGE_REV_PINNED,   /* NAME@word: recorded by the user */
} virStorageRevKind;

/* The parts of a volume's name as the storage API knows it. */
typedef struct _virStorageRevName virStorageRevName;
struct _virStorageRevName {
    char *volume;            /* NAME, without what follows the '@' */
    virStorageRevKind kind;
    unsigned long long id;   /* of a numbered revision, at least 1 */
    char *word;              /* of a pinned revision */
};

int
virStorageRevNameParse(const char *text,
                       virStorageRevName *name);

void
virStorageRevNameClear(virStorageRevName *name);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageRevName, virStorageRevNameClear);

char *
virStorageRevNameFormat(const char *volume,
                        virStorageRevKind kind,
                        unsigned long long id,
                        const char *word);

bool
virStorageRevWordIsValid(const char *word);

bool
virStorageRevTextIsPrintable(const char *text);

const char *
virStorageRevVolumeNameProblem(const char *volume,
                               bool nested);

int
virStorageRevVolumeNameCheck(const char *volume,
                             bool nested);

bool
virStorageRevLVMNameIsValid(const char *name);
