/*
 * storage_revision_meta.c: the metadata that travels with a volume's storage
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
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_revision_meta");

#define VIR_STORAGE_REV_META_VERSION "1"

/* More than we ever write: another version may have written it. */
#define VIR_STORAGE_REV_META_READ_MAX 4096

/* Characters that stand for themselves in a value: those of an LVM tag without our own '!', '&' and '#'. */
#define VIR_STORAGE_REV_META_PLAIN "_+.-/=:"

#define VIR_STORAGE_REV_HASH_LEN 16

#define VIR_STORAGE_REV_BOOT_ID "/proc/sys/kernel/random/boot_id"


static void
virStorageRevMetaFreeOrigins(virStorageRevOrigin *origins,
                             size_t norigins)
{
    size_t i;

    for (i = 0; i < norigins; i++)
        g_free(origins[i].volume);
    g_free(origins);
}


/**
 * virStorageRevMetaInit:
 * @meta: metadata, not initialised before
 *
 * Fills @meta with what storage without metadata is: a raw image, nothing known of where it is from or of its volume.
 */
void
virStorageRevMetaInit(virStorageRevMeta *meta)
{
    memset(meta, 0, sizeof(*meta));
    meta->format = VIR_STORAGE_FILE_RAW;
    meta->saveOnStop = true;
    meta->keep = VIR_STORAGE_REV_KEEP_UNSET;
}


/**
 * virStorageRevMetaClear:
 * @meta: metadata, initialised or all zero, or NULL
 *
 * Frees what @meta holds, and leaves it as virStorageRevMetaInit() does.
 */
void
virStorageRevMetaClear(virStorageRevMeta *meta)
{
    if (!meta)
        return;

    virStorageRevMetaFreeOrigins(meta->origins, meta->norigins);
    g_free(meta->volumeHash);
    g_free(meta->source);
    g_free(meta->headStamp);
    g_free(meta->name);
    g_free(meta->leaving);
    virStorageRevMetaInit(meta);
}


static virStorageRevOrigin *
virStorageRevMetaCopyOrigins(const virStorageRevMeta *meta,
                             virStorageRevOrigin *to)
{
    size_t i;

    for (i = 0; i < meta->norigins; i++) {
        to[i].volume = g_strdup(meta->origins[i].volume);
        to[i].generation = meta->origins[i].generation;
    }
    return to;
}


/**
 * virStorageRevMetaCopy:
 * @dst: metadata, initialised; what it held is freed
 * @src: metadata, not @dst
 *
 * Makes @dst a copy of @src.
 */
void
virStorageRevMetaCopy(virStorageRevMeta *dst,
                      const virStorageRevMeta *src)
{
    virStorageRevMetaClear(dst);

    *dst = *src;
    dst->volumeHash = g_strdup(src->volumeHash);
    dst->source = g_strdup(src->source);
    dst->headStamp = g_strdup(src->headStamp);
    dst->name = g_strdup(src->name);
    dst->leaving = g_strdup(src->leaving);
    dst->origins = NULL;
    if (src->norigins > 0)
        dst->origins = virStorageRevMetaCopyOrigins(src, g_new0(virStorageRevOrigin, src->norigins));
}


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
    if (STRNEQ(value, "yn") && STRNEQ(value, "nn") && STRNEQ(value, "ny"))
        return -1;

    meta->snapOnStart = value[0] == 'y';
    meta->saveOnStop = value[1] == 'y';
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

    if (meta->snapOnStart || !meta->saveOnStop)
        virBufferAsprintf(buf, "&l=%c%c",
                          meta->snapOnStart ? 'y' : 'n',
                          meta->saveOnStop ? 'y' : 'n');
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
virStorageRevMetaFormatMarks(virBuffer *buf,
                             const virStorageRevMeta *meta)
{
    if (meta->base)
        virBufferAsprintf(buf, "&b=%llu", meta->base);
    if (meta->boot)
        virBufferAsprintf(buf, "&t=%x", meta->boot);
    if (meta->staged)
        virBufferAddLit(buf, "&S=1");
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


/**
 * virStorageRevMetaHash:
 * @volume: name of a volume
 *
 * A name may have more bytes than all metadata together, and it only needs to be recognised.
 *
 * Returns the first 16 hex digits of the SHA-256 of @volume
 */
char *
virStorageRevMetaHash(const char *volume)
{
    char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, volume, -1);

    hash[VIR_STORAGE_REV_HASH_LEN] = '\0';
    return hash;
}


/**
 * virStorageRevMetaIsOf:
 * @meta: metadata
 * @volume: name of the volume whose file or LV it was read from
 *
 * Returns true if the volume facts of @meta are about @volume, and not about one that it is a copy of
 */
bool
virStorageRevMetaIsOf(const virStorageRevMeta *meta,
                      const char *volume)
{
    g_autofree char *hash = NULL;

    if (!meta->volumeHash)
        return false;

    hash = virStorageRevMetaHash(volume);
    return STREQ(meta->volumeHash, hash);
}


/**
 * virStorageRevMetaDropVolumeFacts:
 * @meta: metadata
 *
 * Content facts, live-copy marks and the precache mark stay.
 */
void
virStorageRevMetaDropVolumeFacts(virStorageRevMeta *meta)
{
    g_clear_pointer(&meta->volumeHash, g_free);
    g_clear_pointer(&meta->source, g_free);
    g_clear_pointer(&meta->name, g_free);
    meta->snapOnStart = false;
    meta->saveOnStop = true;
    meta->keep = VIR_STORAGE_REV_KEEP_UNSET;
    meta->nextId = 0;
    meta->pruneUpTo = 0;
}


/**
 * virStorageRevMetaDropMarks:
 * @meta: metadata
 *
 * Removes what is true of a live copy or a precache only: what becomes a head, or is cloned from one, is neither yet.
 */
void
virStorageRevMetaDropMarks(virStorageRevMeta *meta)
{
    meta->base = 0;
    meta->boot = 0;
    meta->staged = false;
    meta->thinId = 0;
    meta->folder = false;
    meta->pending = false;
    VIR_FREE(meta->headStamp);
    VIR_FREE(meta->leaving);
}


/**
 * virStorageRevMetaCopyVolumeFacts:
 * @dst: metadata; what volume facts it had are replaced
 * @src: metadata, not @dst
 *
 * Content facts, live-copy marks and the precache mark of @dst stay.
 */
void
virStorageRevMetaCopyVolumeFacts(virStorageRevMeta *dst,
                                 const virStorageRevMeta *src)
{
    virStorageRevMetaDropVolumeFacts(dst);

    dst->volumeHash = g_strdup(src->volumeHash);
    dst->source = g_strdup(src->source);
    dst->name = g_strdup(src->name);
    dst->snapOnStart = src->snapOnStart;
    dst->saveOnStop = src->saveOnStop;
    dst->keep = src->keep;
    dst->nextId = src->nextId;
    dst->pruneUpTo = src->pruneUpTo;
}


/**
 * virStorageRevMetaSetOrigin:
 * @meta: metadata of a new state
 * @volume: name of the volume that its content was cloned from
 * @of: metadata of the state that it was cloned from; may be @meta
 *
 * Makes @of's ancestry, with @volume in front, that of @meta.
 */
void
virStorageRevMetaSetOrigin(virStorageRevMeta *meta,
                           const char *volume,
                           const virStorageRevMeta *of)
{
    size_t norigins = of->norigins + 1;
    virStorageRevOrigin *origins = g_new0(virStorageRevOrigin, norigins);

    origins[0].volume = g_strdup(volume);
    origins[0].generation = of->generation;
    virStorageRevMetaCopyOrigins(of, origins + 1);

    virStorageRevMetaFreeOrigins(meta->origins, meta->norigins);
    meta->origins = origins;
    meta->norigins = norigins;
}


static unsigned int
virStorageRevMetaReadBoot(void)
{
    g_autofree char *text = NULL;
    g_autofree char *hash = NULL;
    unsigned int boot = 0;

    if (virFileReadAllQuiet(VIR_STORAGE_REV_BOOT_ID, 256, &text) < 0) {
        /* One boot for each daemon then: to take an old live copy for one of now could lose what was written to it. */
        VIR_WARN("cannot read %s", VIR_STORAGE_REV_BOOT_ID);
        return MAX(g_random_int(), 1);
    }

    hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    hash[8] = '\0';
    ignore_value(virStrToLong_ui(hash, NULL, 16, &boot));
    return MAX(boot, 1);
}


/**
 * virStorageRevMetaBoot:
 *
 * Tells live copies that were made since the host was booted from older ones.
 *
 * Returns a number, not 0, that is another after each boot of the host
 */
unsigned int
virStorageRevMetaBoot(void)
{
    static gsize boot;

    if (g_once_init_enter(&boot))
        g_once_init_leave(&boot, virStorageRevMetaReadBoot());

    return boot;
}
