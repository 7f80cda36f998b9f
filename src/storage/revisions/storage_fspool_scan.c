/*
 * storage_fspool_scan.c: reading the directories of a pool
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Only the pool's own directories are read, and those that were made for nested names: never a volume's.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_fspool_scan.h"

#include "storage_fspool_folder.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_scan");

/* Nobody nests names that deep, but a loop of bind mounts could. */
#define SCAN_DEPTH_MAX 32


void
virStorageFspoolScanFree(virStorageFspoolScan *scan)
{
    if (!scan)
        return;

    g_clear_pointer(&scan->families, g_hash_table_unref);
    g_clear_pointer(&scan->records, g_hash_table_unref);
    g_ptr_array_unref(scan->unfinished);
    g_ptr_array_unref(scan->staged);
    g_ptr_array_unref(scan->folders);
    g_free(scan);
}


static virStorageFspoolScan *
virStorageFspoolScanNew(GHashTable *known)
{
    virStorageFspoolScan *scan = g_new0(virStorageFspoolScan, 1);

    scan->known = known;
    scan->families = virStorageRevFamiliesNew();
    scan->unfinished = g_ptr_array_new_with_free_func(g_free);
    scan->staged = g_ptr_array_new_with_free_func(g_free);
    scan->folders = g_ptr_array_new_with_free_func(g_free);
    return scan;
}


static void
virStorageFspoolScanCount(virStorageFspoolScan *scan,
                          virStorageRevState *state)
{
    const virStorageFspoolQuotaRecord *record = NULL;
    unsigned long long capacity = state->capacity;
    unsigned long long allocation = state->allocation;
    unsigned long long filesMax = state->filesMax;

    if (state->quotaId != 0)
        record = virStorageFspoolQuotaLookup(scan->records, state->quotaId);
    virStorageFspoolStateCount(state, record);

    /* what is written in a tree changes nothing at its top */
    if (capacity != state->capacity || allocation != state->allocation || filesMax != state->filesMax)
        state->reused = false;
}


/* Reads a directory of the pool's; NULL for what is skipped. */
static virStorageRevState *
virStorageFspoolScanTree(virStorageFspoolPool *pool,
                         int fd,
                         const char *file,
                         virStorageRevKind kind)
{
    virStorageRevState *state = virStorageRevStateNew(kind);

    state->file = g_strdup(file);
    if (fd >= 0 && virStorageFspoolStateRead(pool, fd, state) == 0)
        return state;

    VIR_WARN("skipping '%s' in pool '%s': %s", file, pool->ctx->poolName, g_strerror(errno));
    virStorageRevStateFree(state);
    return NULL;
}


/* Two directories can claim to be the same volume, when one is a copy of the other: the first one found is. */
static void
virStorageFspoolScanAdd(virStorageFspoolPool *pool,
                        virStorageFspoolScan *scan,
                        const char *volume,
                        virStorageRevState *state)
{
    virStorageRevFamily *family = virStorageRevFamiliesGet(scan->families, volume);
    virStorageRevName name = { .kind = state->kind, .id = state->id, .word = state->word };
    virStorageRevState *known = family ? virStorageRevFamilyFind(family, &name) : NULL;

    /* who may write the attributes of one volume shall not take the name of another */
    if (known && state->kind == VIR_STORAGE_REV_HEAD && STREQ(state->file, volume) && STRNEQ(known->file, volume)) {
        VIR_WARN("skipping '%s' in pool '%s', which claims to be '%s'", known->file, pool->ctx->poolName, volume);
        known = NULL;
    }
    if (!family || known) {
        VIR_WARN("skipping '%s' in pool '%s': there is another directory of that name", state->file, pool->ctx->poolName);
        virStorageRevStateFree(state);
        return;
    }
    virStorageFspoolScanCount(scan, state);
    virStorageRevFamilyAdd(family, state);
}


/* The name of the volume at @path: its path, unless its metadata says otherwise. */
static const char *
virStorageFspoolVolumeAt(const char *path,
                         const virStorageRevMeta *meta)
{
    if (meta->name && virStorageRevMetaIsOf(meta, meta->name) &&
        !virStorageRevVolumeNameProblem(meta->name, true))
        return meta->name;
    return path;
}


static int
virStorageFspoolScanFolder(virStorageFspoolPool *pool,
                           virStorageFspoolScan *scan,
                           int dirfd,
                           const char *prefix,
                           unsigned int depth);


/* What nothing has counted before can have been given a limit since, and its directory does not tell. */
static virStorageRevState *
virStorageFspoolScanReuse(virStorageFspoolPool *pool,
                          virStorageFspoolScan *scan,
                          const virStorageRevName *name,
                          int dirfd,
                          const char *entry)
{
    virStorageRevState *state = virStorageRevStateReuse(scan->known, name, dirfd, entry, S_IFDIR, name->volume);

    if (state && state->quotaId == 0 && pool->quota.kind != VIR_STORAGE_FSPOOL_QUOTA_NONE)
        g_clear_pointer(&state, virStorageRevStateFree);
    return state;
}


/* A directory below the pool is a volume, or a folder of such. */
static void
virStorageFspoolScanEntry(virStorageFspoolPool *pool,
                          virStorageFspoolScan *scan,
                          int dirfd,
                          const char *prefix,
                          const char *entry,
                          unsigned int depth)
{
    g_autofree char *path = g_strconcat(prefix, entry, NULL);
    virStorageRevName name = { .volume = path, .kind = VIR_STORAGE_REV_HEAD };
    virStorageRevState *state;
    VIR_AUTOCLOSE fd = -1;

    if (virStorageFspoolPathProblem(path)) {
        g_autofree char *shown = g_strescape(path, NULL);

        if (STRNEQ(path, VIR_STORAGE_FSPOOL_DIR))
            VIR_INFO("skipping directory '%s' in pool '%s': no volume can have that name", shown, pool->ctx->poolName);
        return;
    }
    if ((state = virStorageFspoolScanReuse(pool, scan, &name, dirfd, entry))) {
        virStorageFspoolScanAdd(pool, scan, path, state);
        return;
    }

    fd = virStorageRevOpenAt(dirfd, entry, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 && errno == ENOTDIR)
        return;
    if (!(state = virStorageFspoolScanTree(pool, fd, path, VIR_STORAGE_REV_HEAD)))
        return;

    if (!virStorageFspoolIsFolder(fd, &state->meta)) {
        g_autofree char *volume = g_strdup(virStorageFspoolVolumeAt(path, &state->meta));

        virStorageFspoolScanAdd(pool, scan, volume, state);
        return;
    }

    virStorageRevStateFree(state);
    if (depth >= SCAN_DEPTH_MAX || virStorageFspoolScanFolder(pool, scan, fd, path, depth + 1) < 0)
        VIR_WARN("skipping directory '%s' of pool '%s'", path, pool->ctx->poolName);
}


static int
virStorageFspoolScanFolder(virStorageFspoolPool *pool,
                           virStorageFspoolScan *scan,
                           int dirfd,
                           const char *prefix,
                           unsigned int depth)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *below = *prefix ? g_strconcat(prefix, "/", NULL) : g_strdup("");
    size_t i;

    if (virStorageFspoolReadNames(dirfd, false, names) < 0)
        return -1;

    if (names->len == 0 && *prefix)
        g_ptr_array_add(scan->folders, g_strdup(prefix));
    for (i = 0; i < names->len; i++)
        virStorageFspoolScanEntry(pool, scan, dirfd, below, g_ptr_array_index(names, i), depth);
    return 0;
}


static void
virStorageFspoolScanRevision(virStorageFspoolPool *pool,
                             virStorageFspoolScan *scan,
                             const char *entry)
{
    g_auto(virStorageRevName) name = { 0 };
    g_autofree char *file = g_strdup_printf("%s/%s", VIR_STORAGE_FSPOOL_REVISIONS, entry);
    virStorageRevState *state;
    VIR_AUTOCLOSE fd = -1;

    if (virStorageFspoolRevisionParse(entry, &name) < 0) {
        VIR_WARN("skipping '%s' in pool '%s', which is not the name of a revision", file, pool->ctx->poolName);
        return;
    }

    if (!(state = virStorageRevStateReuse(scan->known, &name, pool->root.revisions, entry, S_IFDIR, file))) {
        fd = virStorageRevOpenAt(pool->root.revisions, entry, O_RDONLY | O_DIRECTORY, 0);
        if (!(state = virStorageFspoolScanTree(pool, fd, file, name.kind)))
            return;
        if (state->meta.pending && !state->meta.leaving) {
            g_ptr_array_add(scan->unfinished, g_strdup(entry));
            virStorageRevStateFree(state);
            return;
        }
        state->id = name.id;
        state->word = g_steal_pointer(&name.word);
    }
    virStorageFspoolScanAdd(pool, scan, name.volume, state);
}


/* Nothing tells when a state was superseded, but when the next one was made. */
static void
virStorageFspoolScanTimes(virStorageRevFamily *family)
{
    size_t i;

    for (i = 0; i < family->revisions->len; i++) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);
        virStorageRevState *next = i + 1 < family->revisions->len ? g_ptr_array_index(family->revisions, i + 1) : NULL;

        if (state->kind != VIR_STORAGE_REV_NUMBERED || state->superseded != 0)
            continue;
        if (!next || next->kind != VIR_STORAGE_REV_NUMBERED)
            next = family->head;
        if (next)
            state->superseded = next->meta.created;
    }
}


static int
virStorageFspoolScanRevisions(virStorageFspoolPool *pool,
                              virStorageFspoolScan *scan)
{
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(g_free);
    size_t i;

    if (virStorageFspoolReadNames(pool->root.revisions, false, entries) < 0)
        return -1;
    for (i = 0; i < entries->len; i++)
        virStorageFspoolScanRevision(pool, scan, g_ptr_array_index(entries, i));
    return 0;
}


/* Who has which project: a directory that was moved out of an item keeps it, and what changes the limit of one would
 * change that of the other, too. */
typedef struct _virStorageFspoolShares virStorageFspoolShares;
struct _virStorageFspoolShares {
    virStorageFspoolPool *pool;
    GHashTable *owners; /* quota id → the first virStorageRevState that has it */
    GHashTable *shared; /* quota ids that others have as well */
};

typedef void (*virStorageFspoolShareFunc)(virStorageFspoolShares *shares, virStorageRevState *state);


static void
virStorageFspoolShareFind(virStorageFspoolShares *shares,
                          virStorageRevState *state)
{
    virStorageRevState *other;

    if (state->quotaId == 0)
        return;
    if (!(other = g_hash_table_lookup(shares->owners, &state->quotaId))) {
        g_hash_table_insert(shares->owners, &state->quotaId, state);
        return;
    }
    g_hash_table_add(shares->shared, &state->quotaId);
    VIR_WARN("'%s' and '%s' in pool '%s' have the same project, and so one limit for both: clone one, and delete it",
             other->file, state->file, shares->pool->ctx->poolName);
}


/* Who shares a project now, or does no more, is another tree to the pool, though nothing in it has changed. With whom a
 * project is shared that somebody else made, is not known. */
static void
virStorageFspoolShareMark(virStorageFspoolShares *shares,
                          virStorageRevState *state)
{
    bool shared = g_hash_table_contains(shares->shared, &state->quotaId) ||
        !virStorageFspoolQuotaIsOurs(&shares->pool->quota, state->quotaId);

    if (shared != state->quotaShared)
        state->reused = false;
    state->quotaShared = shared;
}


static void
virStorageFspoolSharesVisit(virStorageFspoolShares *shares,
                            GHashTable *families,
                            virStorageFspoolShareFunc func)
{
    GHashTableIter iter;
    void *value;
    size_t i;

    g_hash_table_iter_init(&iter, families);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        virStorageRevFamily *family = value;

        if (family->head)
            func(shares, family->head);
        for (i = 0; i < family->revisions->len; i++)
            func(shares, g_ptr_array_index(family->revisions, i));
    }
}


static void
virStorageFspoolScanShares(virStorageFspoolPool *pool,
                           virStorageFspoolScan *scan)
{
    g_autoptr(GHashTable) owners = g_hash_table_new(g_int64_hash, g_int64_equal);
    g_autoptr(GHashTable) shared = g_hash_table_new(g_int64_hash, g_int64_equal);
    virStorageFspoolShares shares = { pool, owners, shared };

    virStorageFspoolSharesVisit(&shares, scan->families, virStorageFspoolShareFind);
    virStorageFspoolSharesVisit(&shares, scan->families, virStorageFspoolShareMark);
}


static void
virStorageFspoolScanSort(virStorageFspoolPool *pool,
                         virStorageFspoolScan *scan)
{
    GHashTableIter iter;
    void *family;

    g_hash_table_iter_init(&iter, scan->families);
    while (g_hash_table_iter_next(&iter, NULL, &family)) {
        virStorageRevFamilySort(family);
        virStorageFspoolScanTimes(family);
        virStorageRevFamilyWarnForgotten(family, pool->ctx->poolName);
    }
    virStorageFspoolScanShares(pool, scan);
}


/**
 * virStorageFspoolScanPool:
 * @pool: pool
 * @known: what the last refresh found, name of a volume → virStorageRevFamily
 *
 * Reads what lies in the pool, and the quota tables once. Changes nothing. One bad directory never makes it fail.
 *
 * Returns what it found, or NULL with an error when the pool itself cannot be read
 */
virStorageFspoolScan *
virStorageFspoolScanPool(virStorageFspoolPool *pool,
                         GHashTable *known)
{
    g_autoptr(virStorageFspoolScan) scan = virStorageFspoolScanNew(known);
    g_autoptr(GPtrArray) trash = g_ptr_array_new_with_free_func(g_free);

    if (!(scan->records = virStorageFspoolQuotaReadAll(&pool->quota, pool->root.fd))) {
        virReportSystemError(errno, _("cannot read the quotas of pool '%1$s'"), pool->ctx->poolName);
        return NULL;
    }

    if (virStorageFspoolScanRevisions(pool, scan) < 0 ||
        virStorageFspoolScanFolder(pool, scan, pool->root.fd, "", 0) < 0 ||
        virStorageFspoolReadNames(pool->root.staging, true, scan->staged) < 0 ||
        virStorageFspoolReadNames(pool->root.trash, true, trash) < 0) {
        virReportSystemError(errno, _("cannot read the directory '%1$s' of pool '%2$s'"),
                             pool->ctx->poolPath, pool->ctx->poolName);
        return NULL;
    }

    scan->hasTrash = trash->len > 0;
    virStorageFspoolScanSort(pool, scan);
    return g_steal_pointer(&scan);
}


/**
 * virStorageFspoolScanVolume:
 * @ctx: pool
 * @volume: volume
 *
 * Reads what there is of one volume, and trusts nothing that is known of it. A volume can lie at another path than its
 * name, which only a look at all of them tells.
 *
 * Returns it, which may be nothing at all, or NULL with an error
 */
virStorageRevFamily *
virStorageFspoolScanVolume(virStorageRevContext *ctx,
                           const char *volume)
{
    g_autoptr(GHashTable) nothing = g_hash_table_new(g_str_hash, g_str_equal);
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    g_autoptr(virStorageFspoolScan) scan = NULL;
    virStorageRevFamily *family;

    if (virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        !(scan = virStorageFspoolScanPool(&pool, nothing)))
        return NULL;

    if ((family = g_hash_table_lookup(scan->families, volume)))
        return virObjectRef(family);
    return virStorageRevFamilyNew(volume);
}
