/*
 * storage_revision_name.c: names of volumes, live copies and revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_name.h"

#include "virerror.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* No file system takes more; what a pool has for storage may take less. */
#define VIR_STORAGE_REV_PART_MAX 255
#define VIR_STORAGE_REV_VOLUME_MAX 4095

#define VIR_STORAGE_REV_WORD_CHARS \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

/* What LVM takes for names */
#define VIR_STORAGE_REV_LVM_CHARS VIR_STORAGE_REV_WORD_CHARS "+."


/**
 * virStorageRevTextIsPrintable:
 * @text: text from anywhere
 *
 * Returns true if @text is UTF-8 that an XML document can hold, without control characters
 */
bool
virStorageRevTextIsPrintable(const char *text)
{
    const char *c;

    if (!g_utf8_validate(text, -1, NULL))
        return false;

    for (c = text; *c; c = g_utf8_next_char(c)) {
        gunichar u = g_utf8_get_char(c);

        if (g_unichar_iscntrl(u) || u == 0xFFFE || u == 0xFFFF)
            return false;
    }
    return true;
}


/* Returns @text as an error message may show it: neither a log nor a terminal has to take what was just refused. */
static char *
virStorageRevTextQuote(const char *text)
{
    return virStorageRevTextIsPrintable(text) ? g_strdup(text) : g_strescape(text, NULL);
}


/**
 * virStorageRevWordIsValid:
 * @word: what stands behind the '@' of a pinned revision's name, or NULL
 *
 * A word starts with a letter, which tells it from an id, and goes on with letters, digits, '_' and '-'. It becomes a
 * part of file names and LV names, so that nothing else will do. The word of the live copy is not a revision's.
 *
 * Returns true if @word may name a pinned revision
 */
bool
virStorageRevWordIsValid(const char *word)
{
    size_t len = word ? strlen(word) : 0;

    return len > 0 &&
        len <= VIR_STORAGE_REV_WORD_MAX &&
        g_ascii_isalpha(*word) &&
        strspn(word, VIR_STORAGE_REV_WORD_CHARS) == len &&
        STRNEQ(word, VIR_STORAGE_REV_LIVE_WORD);
}


/* An id has one spelling only: a second one would be a second name of the same revision. */
static int
virStorageRevIdParse(const char *text,
                     unsigned long long *id)
{
    if (*text < '1' || *text > '9' ||
        virStrToLong_ull(text, NULL, 10, id) < 0)
        return -1;

    return 0;
}


/* Fills @name with what @suffix, the text behind the '@', says. */
static int
virStorageRevNameParseSuffix(const char *suffix,
                             virStorageRevName *name)
{
    if (STREQ(suffix, VIR_STORAGE_REV_LIVE_WORD)) {
        name->kind = VIR_STORAGE_REV_LIVE;
    } else if (virStorageRevIdParse(suffix, &name->id) == 0) {
        name->kind = VIR_STORAGE_REV_NUMBERED;
    } else if (virStorageRevWordIsValid(suffix)) {
        name->kind = VIR_STORAGE_REV_PINNED;
        name->word = g_strdup(suffix);
    } else {
        return -1;
    }
    return 0;
}


/**
 * virStorageRevNameParse:
 * @text: name of a volume, live copy or revision, as the storage API knows it
 * @name: filled with the parts of @text; what it held before is not freed
 *
 * Takes @text apart at its '@'. What stands before it is not looked at any closer: see virStorageRevVolumeNameCheck().
 *
 * Returns 0, or -1 with VIR_ERR_INVALID_ARG reported and nothing to free in @name
 */
int
virStorageRevNameParse(const char *text,
                       virStorageRevName *name)
{
    const char *at = strchr(text, '@');
    g_autofree char *quoted = NULL;

    memset(name, 0, sizeof(*name));

    if (*text && !at) {
        name->volume = g_strdup(text);
        return 0;
    }

    quoted = virStorageRevTextQuote(text);
    if (!*text || at == text) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("name '%1$s' names no volume"), quoted);
        return -1;
    }
    if (strchr(at + 1, '@')) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("volume name '%1$s' has more than one '@'"), quoted);
        return -1;
    }
    if (virStorageRevNameParseSuffix(at + 1, name) < 0) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("volume name '%1$s' has neither '%2$s' nor the number or word of a revision behind its '@'"),
                       quoted, VIR_STORAGE_REV_LIVE_WORD);
        return -1;
    }

    name->volume = g_strndup(text, at - text);
    return 0;
}


/**
 * virStorageRevNameClear:
 * @name: parts of a name, or NULL
 *
 * Frees the parts, and leaves @name as one that was never filled.
 */
void
virStorageRevNameClear(virStorageRevName *name)
{
    if (!name)
        return;

    g_free(name->volume);
    g_free(name->word);
    memset(name, 0, sizeof(*name));
}


/**
 * virStorageRevNameFormat:
 * @volume: name of the volume
 * @kind: which state of it
 * @id: of a numbered revision, else ignored
 * @word: of a pinned revision, else ignored
 *
 * The opposite of virStorageRevNameParse().
 *
 * Returns the name as the storage API knows it
 */
char *
virStorageRevNameFormat(const char *volume,
                        virStorageRevKind kind,
                        unsigned long long id,
                        const char *word)
{
    switch (kind) {
    case VIR_STORAGE_REV_LIVE:
        return g_strdup_printf("%s@%s", volume, VIR_STORAGE_REV_LIVE_WORD);
    case VIR_STORAGE_REV_NUMBERED:
        return g_strdup_printf("%s@%llu", volume, id);
    case VIR_STORAGE_REV_PINNED:
        return g_strdup_printf("%s@%s", volume, word);
    case VIR_STORAGE_REV_HEAD:
    default:
        return g_strdup(volume);
    }
}


/* Returns what is wrong with the parts of @volume between the '/', or NULL. */
static const char *
virStorageRevVolumePartsProblem(const char *volume)
{
    g_auto(GStrv) parts = g_strsplit(volume, "/", -1);
    size_t i;

    for (i = 0; parts[i]; i++) {
        if (!*parts[i])
            return N_("it starts or ends with '/', or has an empty part");
        if (STREQ(parts[i], ".") || STREQ(parts[i], ".."))
            return N_("a part of it is '.' or '..'");
        if (strlen(parts[i]) > VIR_STORAGE_REV_PART_MAX)
            return N_("it, or a part of it, has more than 255 bytes");
    }
    return NULL;
}


/**
 * virStorageRevVolumeNameProblem:
 * @volume: name of a volume, without '@'
 * @nested: may it have parts separated by '/'?
 *
 * What virStorageRevVolumeNameCheck() does, for names that nobody asked for: those found in storage.
 *
 * Returns an untranslated message that says what is wrong with @volume, or NULL if it may name a volume
 */
const char *
virStorageRevVolumeNameProblem(const char *volume,
                               bool nested)
{
    if (!*volume)
        return N_("it is empty");
    if (strlen(volume) > VIR_STORAGE_REV_VOLUME_MAX)
        return N_("it has more than 4095 bytes");
    if (!virStorageRevTextIsPrintable(volume))
        return N_("it has control characters, or is not UTF-8");
    if (strchr(volume, '@'))
        return N_("it has an '@'");
    if (!nested && strchr(volume, '/'))
        return N_("it has a '/'");

    return virStorageRevVolumePartsProblem(volume);
}


/**
 * virStorageRevVolumeNameCheck:
 * @volume: name of a volume, without '@'
 * @nested: may it have parts separated by '/'?
 *
 * Checks what holds for all pool types. Which names collide with a pool's own files or LVs, and how long they may be
 * there, is for the pool to say.
 *
 * Returns 0, or -1 with VIR_ERR_INVALID_ARG reported
 */
int
virStorageRevVolumeNameCheck(const char *volume,
                             bool nested)
{
    const char *problem = virStorageRevVolumeNameProblem(volume, nested);
    g_autofree char *quoted = NULL;

    if (!problem)
        return 0;

    quoted = virStorageRevTextQuote(volume);
    virReportError(VIR_ERR_INVALID_ARG,
                   _("invalid volume name '%1$s': %2$s"), quoted, _(problem));
    return -1;
}


/**
 * virStorageRevLVMNameIsValid:
 * @name: name of a volume group or logical volume
 *
 * A '-' in front is refused by LVM as well, and would make an option of it on the way there.
 *
 * Returns true if LVM would take @name
 */
bool
virStorageRevLVMNameIsValid(const char *name)
{
    return *name && *name != '-' &&
        !name[strspn(name, VIR_STORAGE_REV_LVM_CHARS)] &&
        STRNEQ(name, ".") && STRNEQ(name, "..");
}
