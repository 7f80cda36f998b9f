/*
 * storage_revision_domain_live.h: the live copies that a domain names
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "datatypes.h"
#include "storage_revision_domain_policy.h"

/* What follows the name of a volume in that of its live copy. */
#define VIR_STORAGE_REV_LIVE "@live"

/* Which images of a domain. */
typedef enum {
    VIR_STORAGE_REV_DOMAIN_TOP,   /* those that it writes to */
    VIR_STORAGE_REV_DOMAIN_BELOW, /* those that others lie on */
} virStorageRevDomainImages;

/* A live copy, which may not be there, that an image of a domain is. */
typedef struct _virStorageRevDomainDisk virStorageRevDomainDisk;
struct _virStorageRevDomainDisk {
    virStoragePoolPtr pool;
    char *volume; /* without VIR_STORAGE_REV_LIVE */
};

typedef struct _virStorageRevDomain virStorageRevDomain;
struct _virStorageRevDomain {
    virConnectPtr conn; /* NULL until it is needed: most domains have nothing to do with it */
    char *name;
    char *uuid;
    GArray *disks; /* virStorageRevDomainDisk */
    bool leavesNobodys; /* live copies that no domain owns are another tool's */
};

virStorageRevDomain *
virStorageRevDomainNew(const char *xml,
                       virStorageRevDomainImages images,
                       bool all);

void
virStorageRevDomainFree(virStorageRevDomain *domain);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageRevDomain, virStorageRevDomainFree);

int
virStorageRevDomainReadLive(virStorageRevDomain *domain,
                            const virStorageRevDomainDisk *disk,
                            virStorageRevDomainLive *live,
                            virStorageVolPtr *vol);

int
virStorageRevDomainRead(virStorageRevDomain *domain,
                        const virStorageRevDomainDisk *disk,
                        virStorageRevDomainLive *live,
                        virStorageVolPtr *vol);
