/*
 * storage_revision_domain_live.c: the live copies that a domain names
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_domain_live.h"

#include "driver.h"
#include "storage_revision_conf.h"
#include "viralloc.h"
#include "virerror.h"
#include "virlog.h"
#include "virstring.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("conf.storage_revision_domain_live");

/* A transient disk's image lies below an overlay that the hypervisor driver makes, and names so, and removes in the end. */
#define TRANSIENT "transient and contains(source/@file, '.TRANSIENT-')"

static const char *const paths[] = {
    [VIR_STORAGE_REV_DOMAIN_TOP] =
        "./devices/disk[not(readonly) and not(" TRANSIENT ")]/source|"
        "./devices/disk[" TRANSIENT "]/backingStore/source|"
        "./devices/filesystem[not(readonly)]/source",
    [VIR_STORAGE_REV_DOMAIN_BELOW] =
        "./devices/disk[not(" TRANSIENT ")]//backingStore/source",
};


static void
virStorageRevDomainDiskClear(void *opaque)
{
    virStorageRevDomainDisk *disk = opaque;

    g_clear_pointer(&disk->pool, virObjectUnref);
    VIR_FREE(disk->volume);
}


void
virStorageRevDomainFree(virStorageRevDomain *domain)
{
    g_clear_pointer(&domain->disks, g_array_unref);
    virObjectUnref(domain->conn);
    g_free(domain->name);
    g_free(domain->uuid);
    g_free(domain);
}


/* The document of a pool or volume; NULL with an error. */
static xmlDocPtr
virStorageRevDomainParse(char *text,
                         const char *what,
                         xmlXPathContextPtr *ctxt)
{
    g_autofree char *owned = text;

    return owned ? virXMLParseStringCtxt(owned, what, ctxt) : NULL;
}


/* Has the pool live copies? -1 with an error. */
static int
virStorageRevDomainPoolHasLive(virStoragePoolPtr pool)
{
    g_autoptr(xmlDoc) doc = NULL;
    g_autoptr(xmlXPathContext) ctxt = NULL;
    g_autofree char *type = NULL;
    int number;

    if (!(doc = virStorageRevDomainParse(virStoragePoolGetXMLDesc(pool, 0), _("(storage_pool_definition)"), &ctxt)))
        return -1;

    type = virXPathString("string(./@type)", ctxt);
    number = virStoragePoolTypeFromString(type);
    return virStorageRevPoolTypeIs(number) && number != VIR_STORAGE_POOL_FSPOOL;
}


/* Takes over @pool, and copies @len characters of @volume. */
static void
virStorageRevDomainAdd(virStorageRevDomain *domain,
                       virStoragePoolPtr pool,
                       const char *volume,
                       size_t len)
{
    virStorageRevDomainDisk disk = { pool, g_strndup(volume, len) };
    size_t i;

    for (i = 0; i < domain->disks->len; i++) {
        const virStorageRevDomainDisk *other = &g_array_index(domain->disks, virStorageRevDomainDisk, i);

        if (STREQ(other->volume, disk.volume) && STREQ(other->pool->name, pool->name)) {
            virStorageRevDomainDiskClear(&disk);
            return;
        }
    }
    g_array_append_val(domain->disks, disk);
}


static int
virStorageRevDomainConnect(virStorageRevDomain *domain)
{
    if (!domain->conn)
        domain->conn = virGetConnectStorage();
    return domain->conn ? 0 : -1;
}


static int
virStorageRevDomainAddByName(virStorageRevDomain *domain,
                             const char *poolName,
                             const char *name)
{
    g_autoptr(virStoragePool) pool = NULL;
    int rc;

    if (!g_str_has_suffix(name, VIR_STORAGE_REV_LIVE))
        return 0;
    if (virStorageRevDomainConnect(domain) < 0 ||
        !(pool = virStoragePoolLookupByName(domain->conn, poolName)) ||
        (rc = virStorageRevDomainPoolHasLive(pool)) < 0)
        return -1;
    if (rc > 0)
        virStorageRevDomainAdd(domain, g_steal_pointer(&pool), name, strlen(name) - strlen(VIR_STORAGE_REV_LIVE));
    return 0;
}


/* The path of the head whose live copy has, or would have, this path; NULL for other paths. */
static char *
virStorageRevDomainHeadPath(const char *path)
{
    if (g_str_has_suffix(path, "-dirty.img"))
        return g_strdup_printf("%.*s.img", (int) (strlen(path) - strlen("-dirty.img")), path);
    if (STRPREFIX(path, "/dev/") && g_str_has_suffix(path, "-snap"))
        return g_strndup(path, strlen(path) - strlen("-snap"));
    return NULL;
}


/* Many paths look like that of a live copy: where the storage driver has nothing to say of one, it is not ours. */
static int
virStorageRevDomainAddByPath(virStorageRevDomain *domain,
                             const char *path)
{
    g_autofree char *headPath = virStorageRevDomainHeadPath(path);
    g_autoptr(virStorageVol) head = NULL;
    g_autoptr(virStoragePool) pool = NULL;
    int rc = 0;

    if (!headPath)
        return 0;
    if (virStorageRevDomainConnect(domain) < 0) {
        VIR_WARN("whether '%s' is a live copy is not known: %s", path, virGetLastErrorMessage());
    } else if ((head = virStorageVolLookupByPath(domain->conn, headPath)) && !strchr(head->name, '@')) {
        if (!(pool = virStoragePoolLookupByVolume(head)) || (rc = virStorageRevDomainPoolHasLive(pool)) < 0)
            rc = virGetLastErrorCode() == VIR_ERR_ACCESS_DENIED ? 0 : -1;
    }

    if (rc > 0)
        virStorageRevDomainAdd(domain, g_steal_pointer(&pool), head->name, strlen(head->name));
    else if (rc == 0)
        virResetLastError();
    return MIN(rc, 0);
}


static int
virStorageRevDomainAddSource(virStorageRevDomain *domain,
                             xmlNodePtr source)
{
    const char *places[] = { "file", "dev", "dir" };
    g_autofree char *pool = virXMLPropString(source, "pool");
    g_autofree char *volume = virXMLPropString(source, "volume");
    size_t i;

    if (pool && volume)
        return virStorageRevDomainAddByName(domain, pool, volume);

    for (i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = virXMLPropString(source, places[i]);

        if (path && virStorageRevDomainAddByPath(domain, path) < 0)
            return -1;
    }
    return 0;
}


/**
 * virStorageRevDomainNew:
 * @xml: document of a domain
 * @images: which of its images
 * @all: whether it is an error that a live copy cannot be looked for; of a domain that ends, what is found has to do
 *
 * Returns the domain with those of these images that are live copies, or NULL with an error
 */
virStorageRevDomain *
virStorageRevDomainNew(const char *xml,
                       virStorageRevDomainImages images,
                       bool all)
{
    g_autoptr(virStorageRevDomain) domain = g_new0(virStorageRevDomain, 1);
    g_autoptr(xmlDoc) doc = NULL;
    g_autoptr(xmlXPathContext) ctxt = NULL;
    g_autofree xmlNodePtr *sources = NULL;
    size_t i;
    int n;

    domain->disks = g_array_new(false, false, sizeof(virStorageRevDomainDisk));
    g_array_set_clear_func(domain->disks, virStorageRevDomainDiskClear);

    if (!(doc = virXMLParseStringCtxt(xml, _("(domain_definition)"), &ctxt)) ||
        (n = virXPathNodeSet(paths[images], ctxt, &sources)) < 0)
        return NULL;
    domain->name = virXPathString("string(./name)", ctxt);
    domain->uuid = virXPathString("string(./uuid)", ctxt);

    for (i = 0; i < n; i++) {
        if (virStorageRevDomainAddSource(domain, sources[i]) == 0)
            continue;
        if (all)
            return NULL;
        VIR_WARN("a live copy stays as domain '%s' left it: %s", domain->name, virGetLastErrorMessage());
        virResetLastError();
    }
    return g_steal_pointer(&domain);
}


/* The volume or its live copy; NULL without an error where there is none, which @missing tells from a failure. */
static virStorageVolPtr
virStorageRevDomainLookup(const virStorageRevDomainDisk *disk,
                          bool live,
                          bool *missing)
{
    g_autofree char *name = g_strconcat(disk->volume, live ? VIR_STORAGE_REV_LIVE : "", NULL);
    virStorageVolPtr vol = virStorageVolLookupByName(disk->pool, name);

    *missing = !vol && virGetLastErrorCode() == VIR_ERR_NO_STORAGE_VOL;
    if (*missing)
        virResetLastError();
    return vol;
}


static int
virStorageRevDomainReadUse(virStorageRevDomain *domain,
                           virStorageVolPtr vol,
                           virStorageRevDomainLive *live)
{
    g_autoptr(xmlDoc) doc = NULL;
    g_autoptr(xmlXPathContext) ctxt = NULL;
    g_autofree char *uuid = NULL;
    g_autofree char *use = NULL;

    if (!(doc = virStorageRevDomainParse(virStorageVolGetXMLDesc(vol, 0), _("(storage_volume_definition)"), &ctxt)))
        return -1;

    live->exists = true;
    uuid = virXPathString("string(./domain/@uuid)", ctxt);
    use = virXPathString("string(./domain/@use)", ctxt);
    live->owned = STREQ_NULLABLE(uuid, domain->uuid);
    live->use = use ? virStorageRevUseTypeFromString(use) : VIR_STORAGE_REV_USE_NONE;
    return 0;
}


static int
virStorageRevDomainReadLifecycle(virStorageVolPtr vol,
                                 virStorageRevDomainLive *live)
{
    g_autoptr(xmlDoc) doc = NULL;
    g_autoptr(xmlXPathContext) ctxt = NULL;
    g_autofree char *onCrash = NULL;

    if (!(doc = virStorageRevDomainParse(virStorageVolGetXMLDesc(vol, 0), _("(storage_volume_definition)"), &ctxt)))
        return -1;

    live->hasHead = true;
    live->saveOnStop = virXPathBoolean("boolean(./lifecycle/@saveOnStop = 'yes')", ctxt) > 0;
    onCrash = virXPathString("string(./lifecycle/@onCrash)", ctxt);
    live->onCrash = onCrash ? virStorageRevOnCrashTypeFromString(onCrash) : VIR_STORAGE_REV_ON_CRASH_COMMIT;
    return 0;
}


/**
 * virStorageRevDomainReadLive:
 * @domain: domain that names a live copy
 * @disk: the live copy
 * @live: filled with whose it is
 * @vol: filled with the live copy, or with NULL if there is none
 *
 * Returns 0, or -1 with an error
 */
int
virStorageRevDomainReadLive(virStorageRevDomain *domain,
                            const virStorageRevDomainDisk *disk,
                            virStorageRevDomainLive *live,
                            virStorageVolPtr *vol)
{
    bool missing;

    /* what has no head is kept */
    *live = (virStorageRevDomainLive) { .saveOnStop = true, .leavesNobodys = domain->leavesNobodys };

    *vol = virStorageRevDomainLookup(disk, true, &missing);
    return (*vol ? virStorageRevDomainReadUse(domain, *vol, live) < 0 : !missing) ? -1 : 0;
}


/**
 * virStorageRevDomainRead:
 *
 * As virStorageRevDomainReadLive; @live is also filled with what the live copy's volume wants for it.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageRevDomainRead(virStorageRevDomain *domain,
                        const virStorageRevDomainDisk *disk,
                        virStorageRevDomainLive *live,
                        virStorageVolPtr *vol)
{
    g_autoptr(virStorageVol) head = NULL;
    bool missing;

    if (virStorageRevDomainReadLive(domain, disk, live, vol) < 0)
        return -1;

    head = virStorageRevDomainLookup(disk, false, &missing);
    if (head ? virStorageRevDomainReadLifecycle(head, live) < 0 : !missing)
        return -1;
    return 0;
}
