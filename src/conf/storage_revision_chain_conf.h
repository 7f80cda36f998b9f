/*
 * storage_revision_chain_conf.h: backing chains of volumes, as XML
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_source_conf.h"
#include "virbuffer.h"
#include "virxml.h"

/* One image that others lie on. */
typedef struct _virStorageRevChainMember virStorageRevChainMember;
struct _virStorageRevChainMember {
    virStorageSource *source; /* where it is, its format; owner, mode and times where they are known */
    char *path;               /* as libvirt prints it: the path, or the text in the image for what has none */
    bool missing;             /* it cannot be opened */
    char *pool;               /* the volume that it is, or NULL */
    char *volume;
};

/* All images that a volume's data needs, nearest first. */
typedef struct _virStorageRevChain virStorageRevChain;
struct _virStorageRevChain {
    GPtrArray *members;       /* of virStorageRevChainMember */
    bool isOpen;              /* nobody knows whether the last one is the end */
    char *problem;            /* why there is none, already translated, or NULL */
};

virStorageRevChain *
virStorageRevChainNew(void);

void
virStorageRevChainFree(virStorageRevChain *chain);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageRevChain, virStorageRevChainFree);

virStorageRevChainMember *
virStorageRevChainAdd(virStorageRevChain *chain,
                      virStorageSource *source,
                      const char *path);

int
virStorageRevChainParseXML(xmlNodePtr node,
                           xmlXPathContextPtr ctxt,
                           virStorageRevChain **chain);

int
virStorageRevChainFormat(virBuffer *buf,
                         const virStorageRevChain *chain,
                         const char *volume);

int
virStorageRevChainCheckSame(const virStorageRevChain *wanted,
                            const virStorageRevChain *found,
                            const char *volume);
