/*
 * storage_fspool_name.c: names of the directories that hold volumes and their revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A volume lies at its path below the pool. Its revisions are entries of one directory, so that a refresh finds them
 * without a walk: the volume's name, with '/' and '%' written as "%2F" and "%25", then '@', then id or word. What is
 * being made, or waits to be removed, has such an entry too, with a number after a '~' that nobody else uses.
 */

#include <config.h>

#include "storage_fspool_name.h"

#include "virbuffer.h"
#include "virerror.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* Longest name of a directory entry, on every file system that matters. */
#define ENTRY_MAX 255
/* Longest that follows a volume's name by itself: '@' and a number. */
#define ENTRY_SUFFIX_MAX (1 + 20)

/* Made by mkfs.ext4 at the root of each file system. */
#define LOST_AND_FOUND "lost+found"


/* Returns @volume as one part of a path. */
char *
virStorageFspoolNameEncode(const char *volume)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    for (; *volume; volume++) {
        if (*volume == '/' || *volume == '%')
            virBufferAsprintf(&buf, "%%%02X", (unsigned char) *volume);
        else
            virBufferAddChar(&buf, *volume);
    }
    return virBufferUse(&buf) > 0 ? virBufferContentAndReset(&buf) : g_strdup("");
}


/**
 * virStorageFspoolNameDecode:
 * @entry: encoded name, up to its end or to the '@' or '~' that ends it
 *
 * Returns the volume's name, or NULL for what virStorageFspoolNameEncode() never wrote
 */
char *
virStorageFspoolNameDecode(const char *entry)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    const char *end = strchr(entry, '@');
    const char *mark = end ? NULL : strrchr(entry, '~');

    if (mark)
        end = mark;
    for (; *entry && entry != end; entry++) {
        if (*entry != '%') {
            virBufferAddChar(&buf, *entry);
        } else if (STRPREFIX(entry, "%2F") || STRPREFIX(entry, "%25")) {
            virBufferAddChar(&buf, entry[2] == 'F' ? '/' : '%');
            entry += 2;
        } else {
            return NULL;
        }
    }
    return virBufferUse(&buf) > 0 ? virBufferContentAndReset(&buf) : NULL;
}


/* Returns the entry, below VIR_STORAGE_FSPOOL_REVISIONS, of a revision. */
char *
virStorageFspoolRevisionFormat(const char *volume,
                               virStorageRevKind kind,
                               unsigned long long id,
                               const char *word)
{
    g_autofree char *encoded = virStorageFspoolNameEncode(volume);

    return virStorageRevNameFormat(encoded, kind, id, word);
}


/**
 * virStorageFspoolRevisionParse:
 * @entry: name of an entry of VIR_STORAGE_FSPOOL_REVISIONS
 * @name: cleared or zeroed; filled
 *
 * Returns 0, or -1 without an error for an entry that is no revision's
 */
int
virStorageFspoolRevisionParse(const char *entry,
                              virStorageRevName *name)
{
    g_autofree char *volume = virStorageFspoolNameDecode(entry);
    g_autofree char *text = NULL;
    const char *at = strchr(entry, '@');

    if (!volume || !at || virStorageRevVolumeNameProblem(volume, true))
        return -1;

    text = g_strconcat(volume, at, NULL);
    if (virStorageRevNameParse(text, name) < 0) {
        virResetLastError();
        return -1;
    }
    if (name->kind == VIR_STORAGE_REV_NUMBERED || name->kind == VIR_STORAGE_REV_PINNED)
        return 0;

    virStorageRevNameClear(name);
    return -1;
}


/* Is @part, of a name or a path, at the pool's root somebody else's? */
static bool
virStorageFspoolIsReserved(const char *path)
{
    return STREQ(path, VIR_STORAGE_FSPOOL_DIR) || STRPREFIX(path, VIR_STORAGE_FSPOOL_DIR "/") ||
        STREQ(path, LOST_AND_FOUND) || STRPREFIX(path, LOST_AND_FOUND "/");
}


/* Can a volume, or a revision, have this name? Reports VIR_ERR_INVALID_ARG when not. */
int
virStorageFspoolNameCheck(const virStorageRevName *name)
{
    g_autofree char *encoded = virStorageFspoolNameEncode(name->volume);

    if (virStorageFspoolIsReserved(name->volume)) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("volume name '%1$s' is kept for the pool itself"), name->volume);
        return -1;
    }
    if (strlen(encoded) + ENTRY_SUFFIX_MAX > ENTRY_MAX) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("volume name '%1$s' is too long: its revisions could not be named"), name->volume);
        return -1;
    }
    if (name->kind == VIR_STORAGE_REV_PINNED && strlen(encoded) + 1 + strlen(name->word) > ENTRY_MAX) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("'%1$s@%2$s' is too long a name for a revision: choose a shorter word"),
                       name->volume, name->word);
        return -1;
    }
    return 0;
}


/**
 * virStorageFspoolPathProblem:
 * @path: path of a volume below its pool
 *
 * Returns what is wrong with it, translated, or NULL
 */
const char *
virStorageFspoolPathProblem(const char *path)
{
    const char *problem = virStorageRevVolumeNameProblem(path, true);

    if (problem)
        return problem;
    if (virStorageFspoolIsReserved(path))
        return _("it is kept for the pool itself");
    return NULL;
}


/* Returns what of an absolute @path is below @poolPath, or NULL when it is not below it. */
char *
virStorageFspoolPathBelow(const char *poolPath,
                          const char *path)
{
    const char *below = STRSKIP(path, poolPath);

    if (!below || *below != '/')
        return NULL;
    while (*below == '/')
        below++;
    return g_strdup(below);
}
