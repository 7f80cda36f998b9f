/*
 * storage_revision_domain_policy.h: what starts and stops of domains mean for live copies
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_conf.h"
#include "domain_conf.h"

/* A live copy that a domain names, as its pool shows it. */
typedef struct _virStorageRevDomainLive virStorageRevDomainLive;
struct _virStorageRevDomainLive {
    bool exists;
    virStorageRevUse use; /* by the domain that owns it */
    bool owned;           /* that is the one in question */
    bool leavesNobodys;   /* what is nobody's is left to the tool that has made it */

    /* of its volume */
    bool hasHead;
    bool saveOnStop;
    virStorageRevOnCrash onCrash;
};

/* What a start does before anything else. */
typedef enum {
    VIR_STORAGE_REV_PREPARE_LEAVE,
    VIR_STORAGE_REV_PREPARE_MAKE,
    VIR_STORAGE_REV_PREPARE_CONTINUE,
    VIR_STORAGE_REV_PREPARE_REPLACE,
    VIR_STORAGE_REV_PREPARE_RESUME, /* it is just what the saved domain goes on with */
    VIR_STORAGE_REV_PREPARE_REFUSE,
} virStorageRevPrepare;

/* What the end of a domain, or of an attempt to start it, does. */
typedef enum {
    VIR_STORAGE_REV_RELEASE_NOTHING,
    VIR_STORAGE_REV_RELEASE_FREE,    /* keep it, as nobody's */
    VIR_STORAGE_REV_RELEASE_SAVE,    /* keep it for the domain */
    VIR_STORAGE_REV_RELEASE_COMMIT,
    VIR_STORAGE_REV_RELEASE_DISCARD,
} virStorageRevRelease;

virStorageRevPrepare
virStorageRevPrepareDecide(const virStorageRevDomainLive *live);

virStorageRevRelease
virStorageRevReleaseDecide(const virStorageRevDomainLive *live,
                           virDomainShutoffReason reason);
