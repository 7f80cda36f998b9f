/*
 * storage_reflink_name.c: names of the files that a volume's states lie in
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_reflink_name.h"

#include "viralloc.h"
#include "virerror.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

#define SUFFIX ".img"
#define STAGE SUFFIX ".stage"
#define NEW SUFFIX ".new"
#define PIN SUFFIX ".pin-"
#define STAMP_LENGTH 20 /* 2026-11-20T18:00:00Z */

/* Longest name of a file on the file systems that can clone, in bytes. */
#define FILE_NAME_MAX 255
/* Longest that a revision's name adds: ".img.", an id of 19 digits, "@" and the time stamp. */
#define REVISION_SUFFIX_MAX (5 + 19 + 1 + STAMP_LENGTH)

/* What a volume's name may not end in, since the file of its head would be read as another volume's. */
static const struct {
    const char *suffix;
    virStorageReflinkRole role;
} roleSuffixes[] = {
    { "-dirty", VIR_STORAGE_REFLINK_LIVE },
    { "-precache", VIR_STORAGE_REFLINK_PRECACHE },
    { "-import", VIR_STORAGE_REFLINK_IMPORT },
};


void
virStorageReflinkNameClear(virStorageReflinkName *name)
{
    VIR_FREE(name->volume);
    VIR_FREE(name->word);
}


/* Returns what @volume, the name of a file without ".img", is, and how long the volume's own name is. */
static virStorageReflinkRole
virStorageReflinkRoleOf(const char *volume,
                        size_t len,
                        size_t *volumeLen)
{
    size_t i;

    *volumeLen = len;
    for (i = 0; i < G_N_ELEMENTS(roleSuffixes); i++) {
        size_t suffixLen = strlen(roleSuffixes[i].suffix);

        if (len >= suffixLen && memcmp(volume + len - suffixLen, roleSuffixes[i].suffix, suffixLen) == 0) {
            *volumeLen = len - suffixLen;
            return roleSuffixes[i].role;
        }
    }
    return VIR_STORAGE_REFLINK_HEAD;
}


/* Reads a time stamp as Qubes writes it; false when @text is none, or more than that. */
static bool
virStorageReflinkStampParse(const char *text,
                            long long *stamp)
{
    g_autoptr(GDateTime) time = NULL;
    size_t i;

    if (strlen(text) != STAMP_LENGTH)
        return false;
    for (i = 0; i < STAMP_LENGTH; i++) {
        const char shape = "0000-00-00T00:00:00Z"[i];

        if (shape == '0' ? !g_ascii_isdigit(text[i]) : text[i] != shape)
            return false;
    }

    if (!(time = g_date_time_new_from_iso8601(text, NULL)))
        return false;
    *stamp = g_date_time_to_unix(time);
    return true;
}


/* Reads what follows "NAME.img": ".7@STAMP" or "@STAMP". */
static bool
virStorageReflinkRevisionParse(const char *rest,
                               virStorageReflinkName *name)
{
    char *at = NULL;

    if (*rest == '@') {
        name->role = VIR_STORAGE_REFLINK_LEGACY;
        if (!virStorageReflinkStampParse(rest + 1, &name->stamp) || name->stamp <= 0)
            return false;
        name->id = name->stamp;
        return true;
    }

    name->role = VIR_STORAGE_REFLINK_NUMBERED;
    return *rest == '.' && rest[1] >= '1' && rest[1] <= '9' &&
        virStrToLong_ullp(rest + 1, &at, 10, &name->id) == 0 &&
        name->id <= LLONG_MAX &&
        *at == '@' &&
        virStorageReflinkStampParse(at + 1, &name->stamp);
}


/* Sets role, word, id and stamp, and returns how long the volume's name is; 0 for a foreign file. */
static size_t
virStorageReflinkNameSplit(const char *file,
                           virStorageReflinkName *name)
{
    size_t len = strlen(file);
    const char *suffix;
    size_t volumeLen;

    if (g_str_has_suffix(file, SUFFIX)) {
        name->role = virStorageReflinkRoleOf(file, len - strlen(SUFFIX), &volumeLen);
        return volumeLen;
    }
    if (g_str_has_suffix(file, STAGE)) {
        name->role = VIR_STORAGE_REFLINK_STAGE;
        return len - strlen(STAGE);
    }
    if (g_str_has_suffix(file, NEW)) {
        name->role = VIR_STORAGE_REFLINK_NEW;
        return len - strlen(NEW);
    }
    if ((suffix = g_strrstr(file, PIN)) && virStorageRevWordIsValid(suffix + strlen(PIN))) {
        name->role = VIR_STORAGE_REFLINK_PINNED;
        name->word = g_strdup(suffix + strlen(PIN));
        return suffix - file;
    }
    if ((suffix = g_strrstr(file, SUFFIX)) && virStorageReflinkRevisionParse(suffix + strlen(SUFFIX), name))
        return suffix - file;
    return 0;
}


/**
 * virStorageReflinkNameParse:
 * @file: name of a file, without its directory
 * @name: filled; to be cleared
 *
 * A file whose name is not one that we or Qubes would give is foreign: it is neither listed nor touched.
 */
void
virStorageReflinkNameParse(const char *file,
                           virStorageReflinkName *name)
{
    size_t volumeLen;
    size_t ignored;

    memset(name, 0, sizeof(*name));

    volumeLen = virStorageReflinkNameSplit(file, name);
    if (volumeLen == 0 ||
        memchr(file, '@', volumeLen) ||
        virStorageReflinkRoleOf(file, volumeLen, &ignored) != VIR_STORAGE_REFLINK_HEAD) {
        virStorageReflinkNameClear(name);
        name->role = VIR_STORAGE_REFLINK_FOREIGN;
        return;
    }
    name->volume = g_strndup(file, volumeLen);
}


/**
 * virStorageReflinkNameFormat:
 * @role: what the file is
 * @volume: name of the volume, with or without directories
 * @id: of a numbered revision
 * @stamp: of a numbered or legacy revision, seconds since 1970
 * @word: of a pinned revision
 *
 * Returns the path of the file, relative as @volume is
 */
char *
virStorageReflinkNameFormat(virStorageReflinkRole role,
                            const char *volume,
                            unsigned long long id,
                            long long stamp,
                            const char *word)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(stamp);
    g_autofree char *text = g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ");

    switch (role) {
    case VIR_STORAGE_REFLINK_HEAD:
        return g_strdup_printf("%s" SUFFIX, volume);
    case VIR_STORAGE_REFLINK_LIVE:
        return g_strdup_printf("%s-dirty" SUFFIX, volume);
    case VIR_STORAGE_REFLINK_PRECACHE:
        return g_strdup_printf("%s-precache" SUFFIX, volume);
    case VIR_STORAGE_REFLINK_NUMBERED:
        return g_strdup_printf("%s" SUFFIX ".%llu@%s", volume, id, text);
    case VIR_STORAGE_REFLINK_LEGACY:
        return g_strdup_printf("%s" SUFFIX "@%s", volume, text);
    case VIR_STORAGE_REFLINK_PINNED:
        return g_strdup_printf("%s" PIN "%s", volume, word);
    case VIR_STORAGE_REFLINK_STAGE:
        return g_strdup_printf("%s" STAGE, volume);
    case VIR_STORAGE_REFLINK_NEW:
        return g_strdup_printf("%s" NEW, volume);
    case VIR_STORAGE_REFLINK_IMPORT:
        return g_strdup_printf("%s-import" SUFFIX, volume);
    case VIR_STORAGE_REFLINK_FOREIGN:
        break;
    }
    return NULL;
}


/* Is no folder of a volume in the place of a file that another volume has, or will have? */
static int
virStorageReflinkNameCheckFolders(const char *volume)
{
    g_auto(GStrv) parts = g_strsplit(volume, "/", 0);
    size_t i;

    for (i = 0; parts[i] && parts[i + 1]; i++) {
        g_auto(virStorageReflinkName) file = { 0 };

        virStorageReflinkNameParse(parts[i], &file);
        if (file.role == VIR_STORAGE_REFLINK_FOREIGN)
            continue;
        virReportError(VIR_ERR_INVALID_ARG,
                       _("a volume cannot be called '%1$s': its folder '%2$s' would be in the place of a file of volume '%3$s'"),
                       volume, parts[i], file.volume);
        return -1;
    }
    return 0;
}


/**
 * virStorageReflinkNameCheck:
 * @name: what a new volume, live copy or revision is to be called; its parts are valid
 *
 * Returns 0, or -1 with VIR_ERR_INVALID_ARG when the name is too long for the files that the volume may ever need, or
 * would be read as another volume's
 */
int
virStorageReflinkNameCheck(const virStorageRevName *name)
{
    const char *base = strrchr(name->volume, '/');
    size_t len;
    size_t ignored;

    base = base ? base + 1 : name->volume;
    len = strlen(base);

    if (len > FILE_NAME_MAX - REVISION_SUFFIX_MAX ||
        (name->word && len + strlen(PIN) + strlen(name->word) > FILE_NAME_MAX)) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("the name of volume '%1$s' is too long: the last part of it can have %2$d bytes"),
                       name->volume, FILE_NAME_MAX - REVISION_SUFFIX_MAX);
        return -1;
    }
    if (virStorageReflinkRoleOf(base, len, &ignored) != VIR_STORAGE_REFLINK_HEAD) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("a volume cannot be called '%1$s': names that end in '-dirty', '-precache' or '-import' are those of other volumes' files"),
                       name->volume);
        return -1;
    }
    /* what lies in such a folder already goes on being used */
    return name->kind == VIR_STORAGE_REV_HEAD ? virStorageReflinkNameCheckFolders(name->volume) : 0;
}
