/*
 * storage_revision_link.c: which volumes the members of a backing chain are
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_driver.h"

#include "driver.h"
#include "viralloc.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

static void
virStorageRevLinkSet(virStorageRevChainMember *member,
                     const char *pool,
                     const char *volume)
{
    g_free(member->pool);
    g_free(member->volume);
    member->pool = g_strdup(pool);
    member->volume = g_strdup(volume);
}


/* Names the members that are volumes of this pool. Returns the paths of those that are not. */
static GPtrArray *
virStorageRevLinkOwn(virStoragePoolObj *obj,
                     virStorageRevChain *chain)
{
    g_autoptr(GPtrArray) others = g_ptr_array_new_with_free_func(g_free);
    size_t i;

    for (i = 0; i < chain->members->len; i++) {
        virStorageRevChainMember *member = g_ptr_array_index(chain->members, i);
        virStorageVolDef *def;

        virStorageRevLinkSet(member, NULL, NULL);
        if (member->source->type == VIR_STORAGE_TYPE_NETWORK)
            continue;
        if ((def = virStorageVolDefFindByPath(obj, member->path)))
            virStorageRevLinkSet(member, virStoragePoolObjGetDef(obj)->name, def->name);
        else
            g_ptr_array_add(others, g_strdup(member->path));
    }
    return g_steal_pointer(&others);
}


/* Looks for volumes in all pools, as the caller of the API could do himself. Returns path → virStorageVol. */
static GHashTable *
virStorageRevLinkFind(GPtrArray *paths)
{
    g_autoptr(GHashTable) found = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, virObjectUnref);
    g_autoptr(virConnect) conn = virGetConnectStorage();
    size_t i;

    for (i = 0; conn && i < paths->len; i++) {
        char *path = g_ptr_array_index(paths, i);
        virStorageVolPtr vol = virStorageVolLookupByPath(conn, path);

        if (vol)
            g_hash_table_insert(found, path, vol);
    }
    virResetLastError();
    return g_steal_pointer(&found);
}


static void
virStorageRevLinkOthers(virStorageRevChain *chain,
                        GHashTable *found)
{
    size_t i;

    for (i = 0; i < chain->members->len; i++) {
        virStorageRevChainMember *member = g_ptr_array_index(chain->members, i);
        virStorageVolPtr vol = g_hash_table_lookup(found, member->path);

        if (vol)
            virStorageRevLinkSet(member, vol->pool, vol->name);
    }
}


/**
 * virStorageRevVolLinkChain:
 * @vol: volume
 * @obj: its pool, which is locked, but may not be meanwhile: no two pools are ever locked at once
 * @def: its definition
 *
 * Finds out which volumes the members of a volume's backing chain are, in whatever pools.
 *
 * Returns the volume's definition, which may be another one, or NULL with VIR_ERR_NO_STORAGE_VOL: it is gone
 */
virStorageVolDef *
virStorageRevVolLinkChain(virStorageVolPtr vol,
                          virStoragePoolObj *obj,
                          virStorageVolDef *def)
{
    virStorageRevVol *rev = virStorageRevVolGet(def);
    g_autoptr(GPtrArray) others = NULL;
    g_autoptr(GHashTable) found = NULL;

    if (!rev || !rev->chain)
        return def;
    others = virStorageRevLinkOwn(obj, rev->chain);
    if (others->len == 0)
        return def;

    virObjectUnlock(obj);
    found = virStorageRevLinkFind(others);
    virObjectLock(obj);

    if (!(def = virStorageVolDefFindByName(obj, vol->name))) {
        virReportError(VIR_ERR_NO_STORAGE_VOL, _("no storage vol with matching name '%1$s'"), vol->name);
        return NULL;
    }
    if ((rev = virStorageRevVolGet(def)) && rev->chain)
        virStorageRevLinkOthers(rev->chain, found);
    return def;
}
