/*
 * storage_reflink_scan.c: reading a pool's directory
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "storage_reflink_scan.h"

#include "storage_reflink_content.h"
#include "storage_reflink_file.h"
#include "storage_reflink_name.h"
#include "storage_reflink_prefetch.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_reflink_scan");

/* Nobody nests names that deep, but a loop of bind mounts could. */
#define SCAN_DEPTH_MAX 32

/* One entry of a directory. */
typedef struct _virStorageReflinkEntry virStorageReflinkEntry;
struct _virStorageReflinkEntry {
    ino_t ino;
    bool directory;
    char *name;
};


static void
virStorageReflinkEntryClear(void *opaque)
{
    virStorageReflinkEntry *entry = opaque;

    g_free(entry->name);
}


/* In the order of inodes a cold disk is read once, from its begin to its end. */
static int
virStorageReflinkEntryCompare(const void *a,
                              const void *b)
{
    const virStorageReflinkEntry *one = a;
    const virStorageReflinkEntry *other = b;

    return one->ino < other->ino ? -1 : one->ino > other->ino;
}


void
virStorageReflinkScanFree(virStorageReflinkScan *scan)
{
    if (!scan)
        return;

    g_hash_table_unref(scan->families);
    g_ptr_array_unref(scan->staged);
    g_ptr_array_unref(scan->precached);
    g_free(scan);
}


static bool
virStorageReflinkIsDirectory(int dirfd,
                             const struct dirent *entry)
{
    struct stat sb;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dirfd, entry->d_name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(sb.st_mode);
}


/* Returns the entries of a directory that could be ours: regular files and directories. */
static GArray *
virStorageReflinkReadDir(int dirfd)
{
    g_autoptr(GArray) entries = g_array_new(false, false, sizeof(virStorageReflinkEntry));
    int fd = dup(dirfd);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    g_array_set_clear_func(entries, virStorageReflinkEntryClear);
    if (!dir) {
        VIR_FORCE_CLOSE(fd);
        return NULL;
    }

    while ((errno = 0, entry = readdir(dir))) {
        virStorageReflinkEntry found = { .ino = entry->d_ino };

        if (STREQ(entry->d_name, ".") || STREQ(entry->d_name, ".."))
            continue;
        if (entry->d_type != DT_REG && entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)
            continue;

        found.directory = virStorageReflinkIsDirectory(dirfd, entry);
        found.name = g_strdup(entry->d_name);
        g_array_append_val(entries, found);
    }
    if (errno != 0) {
        closedir(dir);
        return NULL;
    }
    closedir(dir);

    g_array_sort(entries, virStorageReflinkEntryCompare);
    return g_steal_pointer(&entries);
}


/* Returns a state as far as the name of its file tells, or NULL for a file that is none. */
static virStorageRevState *
virStorageReflinkStateFromName(const virStorageReflinkName *name)
{
    virStorageRevState *state;

    switch (name->role) {
    case VIR_STORAGE_REFLINK_HEAD:
        return virStorageRevStateNew(VIR_STORAGE_REV_HEAD);
    case VIR_STORAGE_REFLINK_LIVE:
        return virStorageRevStateNew(VIR_STORAGE_REV_LIVE);
    case VIR_STORAGE_REFLINK_NUMBERED:
    case VIR_STORAGE_REFLINK_LEGACY:
        state = virStorageRevStateNew(VIR_STORAGE_REV_NUMBERED);
        state->id = name->id;
        state->legacy = name->role == VIR_STORAGE_REFLINK_LEGACY;
        state->superseded = name->stamp;
        return state;
    case VIR_STORAGE_REFLINK_PINNED:
        state = virStorageRevStateNew(VIR_STORAGE_REV_PINNED);
        state->word = g_strdup(name->word);
        return state;
    case VIR_STORAGE_REFLINK_FOREIGN:
    case VIR_STORAGE_REFLINK_PRECACHE:
    case VIR_STORAGE_REFLINK_STAGE:
    case VIR_STORAGE_REFLINK_NEW:
    case VIR_STORAGE_REFLINK_IMPORT:
        break;
    }
    return NULL;
}


/* Qubes names a revision after the time at which its content was written last, and knows of no other. */
static void
virStorageReflinkFixTimes(virStorageRevState *state)
{
    if (state->kind == VIR_STORAGE_REV_NUMBERED && !state->hasMeta) {
        state->meta.created = state->superseded;
        state->superseded = 0;
    } else if (state->meta.created == 0) {
        state->meta.created = state->mtime.tv_sec;
    }
}


/* Reads an image; 0 when it is skipped. A file can be replaced by anything at any time: what it is, is asked of the
 * open file. */
static int
virStorageReflinkScanImage(virStorageRevContext *ctx,
                           int dirfd,
                           const char *file,
                           virStorageRevState *state)
{
    VIR_AUTOCLOSE fd = virStorageRevOpenAt(dirfd, file, O_RDONLY | O_NOFOLLOW, 0);

    if (fd < 0) {
        VIR_WARN("skipping '%s' in pool '%s': %s", state->file, ctx->poolName, g_strerror(errno));
        return 0;
    }
    if (virStorageReflinkStateRead(ctx, fd, state) < 0) {
        VIR_WARN("skipping '%s' in pool '%s', whose attributes cannot be read: %s",
                 state->file, ctx->poolName, g_strerror(errno));
        return 0;
    }
    virStorageReflinkFixTimes(state);
    return 1;
}


/* Two files can claim to be the same revision, with different time stamps: the first one found is. */
static void
virStorageReflinkScanAdd(virStorageRevContext *ctx,
                         virStorageRevFamily *family,
                         virStorageRevState *state)
{
    virStorageRevName name = { .kind = state->kind, .id = state->id, .word = state->word };

    if (virStorageRevFamilyFind(family, &name)) {
        VIR_WARN("skipping '%s' in pool '%s': there is another file of that revision", state->file, ctx->poolName);
        virStorageRevStateFree(state);
        return;
    }
    virStorageRevFamilyAdd(family, state);
}


static void
virStorageReflinkScanFile(virStorageRevContext *ctx,
                          virStorageReflinkScan *scan,
                          int dirfd,
                          const char *prefix,
                          const char *file)
{
    g_auto(virStorageReflinkName) name = { 0 };
    g_autoptr(virStorageRevState) state = NULL;
    g_autofree char *volume = NULL;
    virStorageRevState *known;
    virStorageRevFamily *family;

    virStorageReflinkNameParse(file, &name);
    if (name.role == VIR_STORAGE_REFLINK_FOREIGN || name.role == VIR_STORAGE_REFLINK_IMPORT)
        return;

    volume = g_strconcat(prefix, name.volume, NULL);
    if (virStorageRevVolumeNameProblem(volume, true)) {
        g_autofree char *shown = g_strescape(volume, NULL);

        VIR_WARN("skipping a file of volume '%s' in pool '%s': no volume can have that name", shown, ctx->poolName);
        return;
    }

    if (name.role == VIR_STORAGE_REFLINK_STAGE || name.role == VIR_STORAGE_REFLINK_NEW) {
        g_ptr_array_add(scan->staged, g_steal_pointer(&volume));
    } else if (name.role == VIR_STORAGE_REFLINK_PRECACHE) {
        g_ptr_array_add(scan->precached, g_steal_pointer(&volume));
    } else if ((state = virStorageReflinkStateFromName(&name))) {
        virStorageRevName stateName = { volume, state->kind, state->id, state->word };

        state->file = g_strconcat(prefix, file, NULL);
        if ((known = virStorageRevStateReuse(scan->known, &stateName, dirfd, file, S_IFREG, state->file))) {
            virStorageRevStateFree(state);
            state = known;
        } else if (virStorageReflinkScanImage(ctx, dirfd, file, state) == 0) {
            return;
        }
        if ((family = virStorageRevFamiliesGet(scan->families, volume)))
            virStorageReflinkScanAdd(ctx, family, g_steal_pointer(&state));
    }
}


static void
virStorageReflinkScanAhead(int dirfd,
                           GArray *entries)
{
    g_autofree const char **names = g_new0(const char *, entries->len + 1);
    size_t i;

    for (i = 0; i < entries->len; i++)
        names[i] = g_array_index(entries, virStorageReflinkEntry, i).name;
    virStorageReflinkPrefetch(dirfd, names, entries->len);
}


static int
virStorageReflinkScanDir(virStorageRevContext *ctx,
                         virStorageReflinkScan *scan,
                         int dirfd,
                         const char *prefix,
                         unsigned int depth)
{
    g_autoptr(GArray) entries = virStorageReflinkReadDir(dirfd);
    size_t i;

    if (!entries)
        return -1;
    virStorageReflinkScanAhead(dirfd, entries);

    for (i = 0; i < entries->len; i++) {
        virStorageReflinkEntry *entry = &g_array_index(entries, virStorageReflinkEntry, i);
        g_autofree char *below = NULL;
        VIR_AUTOCLOSE fd = -1;

        if (!entry->directory) {
            virStorageReflinkScanFile(ctx, scan, dirfd, prefix, entry->name);
            continue;
        }

        below = g_strconcat(prefix, entry->name, "/", NULL);
        if (depth >= SCAN_DEPTH_MAX ||
            (fd = virStorageRevOpenAt(dirfd, entry->name, O_RDONLY | O_DIRECTORY, 0)) < 0 ||
            virStorageReflinkScanDir(ctx, scan, fd, below, depth + 1) < 0)
            VIR_WARN("skipping directory '%s' of pool '%s'", below, ctx->poolName);
    }
    return 0;
}


static virStorageReflinkScan *
virStorageReflinkScanNew(GHashTable *known)
{
    virStorageReflinkScan *scan = g_new0(virStorageReflinkScan, 1);

    scan->known = known;
    scan->families = virStorageRevFamiliesNew();
    scan->staged = g_ptr_array_new_with_free_func(g_free);
    scan->precached = g_ptr_array_new_with_free_func(g_free);
    return scan;
}


/**
 * virStorageReflinkScanVolume:
 * @ctx: pool
 * @volume: volume
 *
 * Reads what there is of one volume, and trusts nothing that is known of it.
 *
 * Returns it, which may be nothing at all, or NULL with an error
 */
virStorageRevFamily *
virStorageReflinkScanVolume(virStorageRevContext *ctx,
                            const char *volume)
{
    g_autoptr(GHashTable) nothing = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(virStorageReflinkScan) scan = virStorageReflinkScanNew(nothing);
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autoptr(GArray) entries = NULL;
    g_autofree char *prefix = NULL;
    virStorageRevFamily *family;
    size_t i;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, volume, false) < 0)
        return NULL;
    if (!(entries = virStorageReflinkReadDir(dir.fd))) {
        virReportSystemError(errno, _("cannot read the directory of volume '%1$s'"), volume);
        return NULL;
    }

    prefix = g_strndup(volume, dir.base - volume);
    for (i = 0; i < entries->len; i++) {
        virStorageReflinkEntry *entry = &g_array_index(entries, virStorageReflinkEntry, i);

        if (!entry->directory && STRPREFIX(entry->name, dir.base))
            virStorageReflinkScanFile(ctx, scan, dir.fd, prefix, entry->name);
    }

    if (!(family = g_hash_table_lookup(scan->families, volume)))
        return virStorageRevFamilyNew(volume);
    virStorageRevFamilySort(family);
    return virObjectRef(family);
}


/**
 * virStorageReflinkScanPool:
 * @ctx: pool
 * @known: what the last refresh found, name of a volume → virStorageRevFamily
 *
 * Reads every image below the pool's directory. Changes nothing. One bad file never makes it fail.
 *
 * Returns what it found, or NULL with an error when the directory itself cannot be read
 */
virStorageReflinkScan *
virStorageReflinkScanPool(virStorageRevContext *ctx,
                          GHashTable *known)
{
    g_autoptr(virStorageReflinkScan) scan = virStorageReflinkScanNew(known);
    VIR_AUTOCLOSE poolfd = open(ctx->poolPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    GHashTableIter iter;
    void *family;

    if (poolfd < 0 || virStorageReflinkScanDir(ctx, scan, poolfd, "", 0) < 0) {
        virReportSystemError(errno, _("cannot read the directory '%1$s' of pool '%2$s'"), ctx->poolPath, ctx->poolName);
        return NULL;
    }

    g_hash_table_iter_init(&iter, scan->families);
    while (g_hash_table_iter_next(&iter, NULL, &family)) {
        virStorageRevFamilySort(family);
        virStorageRevFamilyWarnForgotten(family, ctx->poolName);
    }
    return g_steal_pointer(&scan);
}
