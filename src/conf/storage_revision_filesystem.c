/*
 * storage_revision_filesystem.c: directory volumes as file systems of domains
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_filesystem.h"

#include "datatypes.h"
#include "driver.h"
#include "storage_conf.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


static char *
virStorageRevFilesystemPath(virConnectPtr conn,
                            const virStorageSourcePoolDef *source)
{
    g_autoptr(virStoragePool) pool = virStoragePoolLookupByName(conn, source->pool);
    g_autoptr(virStorageVol) vol = NULL;
    virStorageVolInfo info;

    if (!pool)
        return NULL;
    if (virStoragePoolIsActive(pool) != 1) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("storage pool '%1$s' containing volume '%2$s' is not active"),
                       source->pool, source->volume);
        return NULL;
    }
    if (!(vol = virStorageVolLookupByName(pool, source->volume)) ||
        virStorageVolGetInfo(vol, &info) < 0)
        return NULL;
    if (info.type != VIR_STORAGE_VOL_DIR) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' of storage pool '%2$s' is not a directory: give it to the domain as <disk>"),
                       source->volume, source->pool);
        return NULL;
    }
    return virStorageVolGetPath(vol);
}


/**
 * virStorageRevFilesystemTranslate:
 * @fs: file system of a domain that is about to get it
 *
 * What is described by pool and volume becomes a mount of the volume's directory, which hypervisor drivers know. For other
 * file systems it does nothing.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageRevFilesystemTranslate(virDomainFSDef *fs)
{
    g_autoptr(virConnect) conn = NULL;
    char *path;

    if (fs->type != VIR_DOMAIN_FS_TYPE_VOLUME || !fs->src->srcpool)
        return 0;

    if (!(conn = virGetConnectStorage()) ||
        !(path = virStorageRevFilesystemPath(conn, fs->src->srcpool)))
        return -1;

    g_free(fs->src->path);
    fs->src->path = path;
    fs->src->type = VIR_STORAGE_TYPE_DIR;
    g_clear_pointer(&fs->src->srcpool, virStorageSourcePoolDefFree);
    fs->type = VIR_DOMAIN_FS_TYPE_MOUNT;
    return 0;
}


/* As virStorageRevFilesystemTranslate, for all file systems of a domain that is about to start. */
int
virStorageRevFilesystemsTranslate(virDomainDef *def)
{
    size_t i;

    for (i = 0; i < def->nfss; i++) {
        if (virStorageRevFilesystemTranslate(def->fss[i]) < 0)
            return -1;
    }
    return 0;
}
