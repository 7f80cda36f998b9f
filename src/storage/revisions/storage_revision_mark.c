/*
 * storage_revision_mark.c: whose live copies are
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_mark.h"

#include "storage_revision_facts.h"
#include "virerror.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


/**
 * virStorageRevMarkCheck:
 * @family: volume
 * @live: its live copy
 * @vol: says whose it is to be from now on
 *
 * A live copy is one machine's: another one may have it once that has let it go. An import into a volume that starts
 * afresh every time has no machine, which would replace it.
 *
 * Returns 0, or -1 with an error when it cannot be that one's
 */
int
virStorageRevMarkCheck(virStorageRevFamily *family,
                       const virStorageRevState *live,
                       const virStorageRevVol *vol)
{
    const virStorageRevMeta *facts = virStorageRevFamilyVolumeFacts(family);
    g_autofree char *name = virStorageRevStateName(family, live);
    char owner[VIR_UUID_STRING_BUFLEN];

    if (vol->use == VIR_STORAGE_REV_USE_NONE)
        return 0;

    if (virStorageRevFactsUse(family) != VIR_STORAGE_REV_USE_NONE &&
        memcmp(vol->domain, live->meta.domain, VIR_UUID_BUFLEN) != 0) {
        virUUIDFormat(live->meta.domain, owner);
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' belongs to the domain with uuid %2$s: stop that first, or free the volume of it"),
                       name, owner);
        return -1;
    }
    if (live->meta.staged && facts && !facts->saveOnStop) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' holds what was imported into '%2$s': commit or delete it first"),
                       name, family->volume);
        return -1;
    }
    return 0;
}


/**
 * virStorageRevMark:
 * @op: operation on a volume with a live copy; the volume's lock is held, and the pool is not locked
 * @vol: says whose that is from now on
 *
 * Returns 0, or -1 with an error
 */
int
virStorageRevMark(virStorageRevOperation *op,
                  const virStorageRevVol *vol)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevFactsMarked(op->family, vol, &meta);
    return op->ops->mark(op->ctx, op->family, &meta);
}


/**
 * virStorageRevMarkNew:
 * @op: operation that has just made a live copy, as for virStorageRevMark()
 * @vol: says whose it is, if anybody's
 *
 * A live copy that starts for a machine is that one's from the beginning, or is not made.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageRevMarkNew(virStorageRevOperation *op,
                     const virStorageRevVol *vol)
{
    virErrorPtr err = NULL;

    if (vol->use == VIR_STORAGE_REV_USE_NONE || virStorageRevMark(op, vol) == 0)
        return 0;

    virErrorPreserveLast(&err);
    ignore_value(op->ops->discard(op->ctx, op->family));
    virErrorRestore(&err);
    return -1;
}
