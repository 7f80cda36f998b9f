/*
 * storage_revision_meta_text.c: the text that metadata is kept as
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The text is "1", the version, followed by "&key=value" for each fact that differs from the default:
 *
 *   f format name           g generation            c created
 *   n hash of the volume    l lifecycle             s its source         k keep
 *   i next id               x prune up to this id
 *   b base generation       t boot                  S staged             h stamp of the head
 *   u use, one letter, and the machine's uuid
 *   d thin device           N name of the volume    D folder             P pending
 *   L path that it leaves   ("." for the volume's name)
 *   o origin NAME#GENERATION, once for each, nearest first
 *
 * It has to do as an LVM tag too, which leaves few characters; all others are written as '!' and two hex digits.
 */

#include <config.h>

#include "storage_revision_meta.h"

#include "storage_revision_name.h"
#include "viralloc.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virstring.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

#define VIR_STORAGE_REV_META_VERSION "1"

/* More than we ever write: another version may have written it. */
#define VIR_STORAGE_REV_META_READ_MAX 4096

/* Characters that stand for themselves in a value: those of an LVM tag without our own '!', '&' and '#'. */
#define VIR_STORAGE_REV_META_PLAIN "_+.-/=:"


/* One for each virStorageRevOnCrash; one for each virStorageRevUse but none. */
static const char onCrashLetters[] = "cdk";
static const char useLetters[] = "mcrsw";


/* Returns the characters that @len characters of escaped @text stand for, or NULL if they are not printable. */
static char *
virStorageRevMetaUnescape(const char *text,
                          size_t len)
{
    g_autofree char *plain = g_new0(char, len + 1);
    size_t n = 0;
    size_t i;

    for (i = 0; i < len; i++) {
        int high;
        int low;

        if (text[i] != '!') {
            if (!g_ascii_isalnum(text[i]) && !strchr(VIR_STORAGE_REV_META_PLAIN, text[i]))
                return NULL;
            plain[n++] = text[i];
            continue;
        }

        if (i + 2 >= len ||
            (high = g_ascii_xdigit_value(text[i + 1])) < 0 ||
            (low = g_ascii_xdigit_value(text[i + 2])) < 0)
            return NULL;

        plain[n++] = high * 16 + low;
        i += 2;
    }

    /* Names end up in XML, and in errors. */
    if (n == 0 || strlen(plain) != n || !virStorageRevTextIsPrintable(plain))
        return NULL;

    return g_steal_pointer(&plain);
}


static void
virStorageRevMetaEscape(virBuffer *buf,
                        const char *text)
{
    for (; *text; text++) {
        if (g_ascii_isalnum(*text) || strchr(VIR_STORAGE_REV_META_PLAIN, *text))
            virBufferAddChar(buf, *text);
        else
            virBufferAsprintf(buf, "!%02X", (unsigned char) *text);
    }
}


static int
virStorageRevMetaParseString(const char *value,
                             char **result)
{
    return (*result = virStorageRevMetaUnescape(value, strlen(value))) ? 0 : -1;
}


/* strtoull() alone would take signs, blanks and "0x". */
static int
virStorageRevMetaParseNumber(const char *value,
                             int base,
                             unsigned long long max,
                             unsigned long long *result)
{
    const char *digits = base == 16 ? "0123456789abcdef" : "0123456789";

    if (!*value || value[strspn(value, digits)] ||
        virStrToLong_ull(value, NULL, base, result) < 0 ||
        *result > max)
        return -1;

    return 0;
}


static int
virStorageRevMetaParseFormat(const char *value,
                             virStorageRevMeta *meta)
{
    int format = virStorageFileFormatTypeFromString(value);

    if (format <= VIR_STORAGE_FILE_NONE)
        return -1;

    meta->format = format;
    return 0;
}


static int
virStorageRevMetaParseOrigin(const char *value,
                             virStorageRevMeta *meta)
{
    virStorageRevOrigin origin = { 0 };
    const char *hash = strchr(value, '#');

    if (!hash ||
        virStorageRevMetaParseNumber(hash + 1, 10, ULLONG_MAX, &origin.generation) < 0 ||
        !(origin.volume = virStorageRevMetaUnescape(value, hash - value)))
        return -1;

    VIR_APPEND_ELEMENT(meta->origins, meta->norigins, origin);
    return 0;
}


static int
virStorageRevMetaParseHash(const char *value,
                           virStorageRevMeta *meta)
{
    if (strlen(value) != VIR_STORAGE_REV_HASH_LEN ||
        value[strspn(value, "0123456789abcdef")])
        return -1;

    meta->volumeHash = g_strdup(value);
    return 0;
}


/* What is the default is not recorded, and what nobody can ask for is refused. */
static int
virStorageRevMetaParseLifecycle(const char *value,
                                virStorageRevMeta *meta)
{
    const char *onCrash;

    if (!STRPREFIX(value, "yn") && !STRPREFIX(value, "nn") && !STRPREFIX(value, "ny"))
        return -1;

    meta->snapOnStart = value[0] == 'y';
    meta->saveOnStop = value[1] == 'y';
    if (!value[2])
        return 0;

    if (value[3] || !(onCrash = strchr(onCrashLetters, value[2])))
        return -1;
    meta->onCrash = onCrash - onCrashLetters;
    return 0;
}


static int
virStorageRevMetaParseUse(const char *value,
                          virStorageRevMeta *meta)
{
    const char *use = *value ? strchr(useLetters, *value) : NULL;

    if (!use || strlen(value) != 1 + 2 * VIR_UUID_BUFLEN || virUUIDParse(value + 1, meta->domain) < 0)
        return -1;

    meta->use = VIR_STORAGE_REV_USE_CREATED + (use - useLetters);
    return 0;
}


static int
virStorageRevMetaParseMark(char key,
                           const char *value,
                           virStorageRevMeta *meta)
{
    unsigned long long number = 0;

    switch (key) {
    case 'b':
        return virStorageRevMetaParseNumber(value, 10, ULLONG_MAX, &meta->base);
    case 't':
        if (virStorageRevMetaParseNumber(value, 16, UINT_MAX, &number) < 0)
            return -1;
        meta->boot = number;
        return 0;
    case 'S':
        meta->staged = true;
        return STREQ(value, "1") ? 0 : -1;
    case 'u':
        return virStorageRevMetaParseUse(value, meta);
    case 'h':
        return virStorageRevMetaParseString(value, &meta->headStamp);
    case 'd':
        if (virStorageRevMetaParseNumber(value, 10, UINT_MAX, &number) < 0)
            return -1;
        meta->thinId = number;
        return 0;
    case 'N':
        return virStorageRevMetaParseString(value, &meta->name);
    case 'D':
        meta->folder = true;
        return STREQ(value, "1") ? 0 : -1;
    case 'P':
        meta->pending = true;
        return STREQ(value, "1") ? 0 : -1;
    case 'L':
        return virStorageRevMetaParseString(value, &meta->leaving);
    default:
        return 0; /* a later version's */
    }
}


static int
virStorageRevMetaParseFact(char key,
                           const char *value,
                           virStorageRevMeta *meta)
{
    unsigned long long number = 0;

    switch (key) {
    case 'f':
        return virStorageRevMetaParseFormat(value, meta);
    case 'g':
        return virStorageRevMetaParseNumber(value, 10, ULLONG_MAX, &meta->generation);
    case 'c':
        if (virStorageRevMetaParseNumber(value, 10, LLONG_MAX, &number) < 0)
            return -1;
        meta->created = number;
        return 0;
    case 'o':
        return virStorageRevMetaParseOrigin(value, meta);
    case 'n':
        return virStorageRevMetaParseHash(value, meta);
    case 'l':
        return virStorageRevMetaParseLifecycle(value, meta);
    case 's':
        return virStorageRevMetaParseString(value, &meta->source);
    case 'k':
        if (virStorageRevMetaParseNumber(value, 10, VIR_STORAGE_REV_KEEP_MAX, &number) < 0)
            return -1;
        meta->keep = number;
        return 0;
    case 'i':
        return virStorageRevMetaParseNumber(value, 10, ULLONG_MAX, &meta->nextId);
    case 'x':
        return virStorageRevMetaParseNumber(value, 10, ULLONG_MAX, &meta->pruneUpTo);
    default:
        return virStorageRevMetaParseMark(key, value, meta);
    }
}


static int
virStorageRevMetaParseFacts(char **facts,
                            virStorageRevMeta *meta)
{
    bool seen[128] = { false };

    for (; *facts; facts++) {
        const char *fact = *facts;
        const char *equals = strchr(fact, '=');

        if (!g_ascii_isalnum(*fact) || !equals)
            return -1;
        if (equals != fact + 1) /* all keys of this version are one character */
            continue;

        if (seen[(int) *fact] && *fact != 'o')
            return -1;
        seen[(int) *fact] = true;

        if (virStorageRevMetaParseFact(*fact, equals + 1, meta) < 0)
            return -1;
    }

    return meta->snapOnStart == !!meta->source ? 0 : -1;
}


/**
 * virStorageRevMetaParse:
 * @text: metadata as it was read, not terminated
 * @len: its length
 * @meta: metadata, initialised; what it held is freed
 *
 * Reads what virStorageRevMetaFormat() wrote, also in a later version that knows more keys. It comes from storage that
 * anybody may have written, so that anything else makes all of it void, and it is for the caller to warn and to go on.
 *
 * Returns 0, or -1 without an error reported, and @meta as virStorageRevMetaInit() leaves it
 */
int
virStorageRevMetaParse(const char *text,
                       size_t len,
                       virStorageRevMeta *meta)
{
    g_autofree char *copy = NULL;
    g_auto(GStrv) facts = NULL;

    virStorageRevMetaClear(meta);

    if (len == 0 || len > VIR_STORAGE_REV_META_READ_MAX || memchr(text, '\0', len))
        return -1;

    copy = g_strndup(text, len);
    facts = g_strsplit(copy, "&", -1);

    if (STRNEQ_NULLABLE(facts[0], VIR_STORAGE_REV_META_VERSION) ||
        virStorageRevMetaParseFacts(facts + 1, meta) < 0) {
        virStorageRevMetaClear(meta);
        return -1;
    }
    return 0;
}


static void
virStorageRevMetaFormatVolumeFacts(virBuffer *buf,
                                   const virStorageRevMeta *meta)
{
    virBufferAsprintf(buf, "&n=%s", meta->volumeHash);

    if (meta->snapOnStart || !meta->saveOnStop || meta->onCrash)
        virBufferAsprintf(buf, "&l=%c%c",
                          meta->snapOnStart ? 'y' : 'n',
                          meta->saveOnStop ? 'y' : 'n');
    if (meta->onCrash)
        virBufferAddChar(buf, onCrashLetters[meta->onCrash]);
    if (meta->source) {
        virBufferAddLit(buf, "&s=");
        virStorageRevMetaEscape(buf, meta->source);
    }
    if (meta->keep >= 0)
        virBufferAsprintf(buf, "&k=%d", meta->keep);
    if (meta->nextId)
        virBufferAsprintf(buf, "&i=%llu", meta->nextId);
    if (meta->pruneUpTo)
        virBufferAsprintf(buf, "&x=%llu", meta->pruneUpTo);
    if (meta->name) {
        virBufferAddLit(buf, "&N=");
        virStorageRevMetaEscape(buf, meta->name);
    }
}


static void
virStorageRevMetaFormatUse(virBuffer *buf,
                           const virStorageRevMeta *meta)
{
    size_t i;

    virBufferAsprintf(buf, "&u=%c", useLetters[meta->use - VIR_STORAGE_REV_USE_CREATED]);
    for (i = 0; i < VIR_UUID_BUFLEN; i++)
        virBufferAsprintf(buf, "%02x", meta->domain[i]);
}


static void
virStorageRevMetaFormatMarks(virBuffer *buf,
                             const virStorageRevMeta *meta)
{
    if (meta->base)
        virBufferAsprintf(buf, "&b=%llu", meta->base);
    if (meta->boot)
        virBufferAsprintf(buf, "&t=%x", meta->boot);
    if (meta->staged)
        virBufferAddLit(buf, "&S=1");
    if (meta->use)
        virStorageRevMetaFormatUse(buf, meta);
    if (meta->headStamp) {
        virBufferAddLit(buf, "&h=");
        virStorageRevMetaEscape(buf, meta->headStamp);
    }
    if (meta->thinId)
        virBufferAsprintf(buf, "&d=%u", meta->thinId);
    if (meta->folder)
        virBufferAddLit(buf, "&D=1");
    if (meta->pending)
        virBufferAddLit(buf, "&P=1");
    if (meta->leaving) {
        virBufferAddLit(buf, "&L=");
        virStorageRevMetaEscape(buf, meta->leaving);
    }
}


/* The nearest origins say most: the far ones go first when there is no room for all. */
static void
virStorageRevMetaFormatOrigins(virBuffer *buf,
                               const virStorageRevMeta *meta)
{
    size_t i;

    for (i = 0; i < meta->norigins; i++) {
        g_auto(virBuffer) origin = VIR_BUFFER_INITIALIZER;

        virBufferAddLit(&origin, "&o=");
        virStorageRevMetaEscape(&origin, meta->origins[i].volume);
        virBufferAsprintf(&origin, "#%llu", meta->origins[i].generation);

        if (virBufferUse(buf) + virBufferUse(&origin) > VIR_STORAGE_REV_META_MAX)
            return;
        virBufferAddBuffer(buf, &origin);
    }
}


/**
 * virStorageRevMetaFormat:
 * @meta: metadata
 *
 * Volume facts are only written where it says which volume they belong to.
 *
 * Returns the text, of at most VIR_STORAGE_REV_META_MAX bytes, or NULL with VIR_ERR_INVALID_ARG reported when the name of
 * the lifecycle's source, or of the volume, is too long for it
 */
char *
virStorageRevMetaFormat(const virStorageRevMeta *meta)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    virBufferAddLit(&buf, VIR_STORAGE_REV_META_VERSION);

    if (meta->format != VIR_STORAGE_FILE_RAW)
        virBufferAsprintf(&buf, "&f=%s", virStorageFileFormatTypeToString(meta->format));
    if (meta->generation)
        virBufferAsprintf(&buf, "&g=%llu", meta->generation);
    if (meta->created > 0)
        virBufferAsprintf(&buf, "&c=%lld", meta->created);
    if (meta->volumeHash)
        virStorageRevMetaFormatVolumeFacts(&buf, meta);
    virStorageRevMetaFormatMarks(&buf, meta);

    if (virBufferUse(&buf) > VIR_STORAGE_REV_META_MAX) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("name of volume '%1$s' is too long to be recorded"),
                       meta->name ? meta->name : NULLSTR(meta->source));
        return NULL;
    }

    virStorageRevMetaFormatOrigins(&buf, meta);
    return virBufferContentAndReset(&buf);
}
