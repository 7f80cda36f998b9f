/*
 * storage_fspool_archive_header.c: what the headers of a tar archive say
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_fspool_archive_header.h"

#include "viralloc.h"
#include "virstring.h"

/*
 * libarchive reads numbers, attributes, sparse maps and data, but is made to get the most out of any file:
 *
 *   - it converts names to the character set of the locale, or to another normal form of Unicode
 *   - it ends a name at a NUL
 *   - it takes unknown kinds of entries for files, and what it cannot parse of an extended header for nothing
 *   - it leaves out silently what it does not understand in an access control list
 *
 * So the very bytes that it has taken for the headers of an entry are looked at again, after it found their checksums
 * to be right, and have to be well formed. Names and lists are taken from here.
 *
 * An entry is a ustar header (512 bytes), behind any of: a pax extended header ('x', or 'g' for all that follows), and
 * GNU's long names ('L') and link targets ('K'), each a header of its own and a body in full blocks.
 */

#define BLOCK VIR_STORAGE_FSPOOL_ARCHIVE_BLOCK

/* Places in a header: see tar(5). */
#define NAME_AT 0
#define NAME_LEN 100
#define SIZE_AT 124
#define SIZE_LEN 12
#define KIND_AT 156
#define LINK_AT 157
#define LINK_LEN 100
#define MAGIC_AT 257
#define PREFIX_AT 345
#define PREFIX_LEN 155

#define DIGITS "0123456789"

typedef struct _virStorageFspoolArchiveParser virStorageFspoolArchiveParser;
struct _virStorageFspoolArchiveParser {
    virStorageFspoolArchiveHeader *header;
    char *path;         /* of the pax header */
    char *sparsePath;   /* of a sparse file, which is under another name for those who do not know such */
    char *link;
    char *longPath;     /* of GNU's headers */
    char *longLink;
    bool extended;      /* there was a pax header for this entry */
    bool global;        /* the one that is being read is for all entries */
};

/* Values of these keys are numbers; libarchive would take what begins like one. */
static const char *const numbers[] = {
    "size", "uid", "gid", "SCHILY.devmajor", "SCHILY.devminor", "GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.size",
    "GNU.sparse.realsize", "GNU.sparse.numblocks", "GNU.sparse.offset", "GNU.sparse.numbytes",
};

/* Kinds of sparse files and access control lists that would come out wrong. */
static const char *const unknown[] = {
    "SUN.holesdata", "SCHILY.realsize", "SCHILY.acl.ace",
};


static void
virStorageFspoolArchiveParserClear(virStorageFspoolArchiveParser *parser)
{
    g_free(parser->path);
    g_free(parser->sparsePath);
    g_free(parser->link);
    g_free(parser->longPath);
    g_free(parser->longLink);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageFspoolArchiveParser, virStorageFspoolArchiveParserClear);


void
virStorageFspoolArchiveHeaderClear(virStorageFspoolArchiveHeader *header)
{
    VIR_FREE(header->path);
    VIR_FREE(header->link);
    VIR_FREE(header->acl);
    VIR_FREE(header->aclDefault);
}


static bool
virStorageFspoolArchiveIsOneOf(const char *key,
                               const char *const *keys,
                               size_t nkeys)
{
    size_t i;

    for (i = 0; i < nkeys; i++) {
        if (STREQ(key, keys[i]))
            return true;
    }
    return false;
}


/* Where the value of a key that is a text goes, NULL for the others. */
static char **
virStorageFspoolArchiveTextOf(virStorageFspoolArchiveParser *parser,
                              const char *key)
{
    if (STREQ(key, "path"))
        return &parser->path;
    if (STREQ(key, "GNU.sparse.name"))
        return &parser->sparsePath;
    if (STREQ(key, "linkpath"))
        return &parser->link;
    if (STREQ(key, "SCHILY.acl.access"))
        return &parser->header->acl;
    if (STREQ(key, "SCHILY.acl.default"))
        return &parser->header->aclDefault;
    return NULL;
}


/* One setting of a pax header; @value has a NUL behind its @len bytes. Returns NULL, or what is wrong with it. */
static const char *
virStorageFspoolArchiveParseValue(virStorageFspoolArchiveParser *parser,
                                  const char *key,
                                  const char *value,
                                  size_t len)
{
    char **text = virStorageFspoolArchiveTextOf(parser, key);

    if (parser->global)
        return STREQ(key, "comment") ? NULL : N_("it has settings for all of its entries");
    if (virStorageFspoolArchiveIsOneOf(key, unknown, G_N_ELEMENTS(unknown)))
        return N_("it has a kind of sparse file or access control list that is not supported");
    if (virStorageFspoolArchiveIsOneOf(key, numbers, G_N_ELEMENTS(numbers)) &&
        (len == 0 || strspn(value, DIGITS) != len))
        return N_("it has something else where a number has to be");
    if (STREQ(key, "GNU.sparse.map") && strspn(value, DIGITS ",") != len)
        return N_("it has something else where a number has to be");
    if (STREQ(key, "mtime") && (len == 0 || strspn(value, DIGITS "-.") != len))
        return N_("it has something else where a time has to be");

    if (text) {
        if (strlen(value) != len)
            return N_("it has a name with a NUL");
        g_free(*text);
        *text = g_strdup(value);
    }
    return NULL;
}


/* Settings are lines of "LENGTH KEY=VALUE\n", where the length is that of the line. A value can be of any bytes. */
static const char *
virStorageFspoolArchiveParsePax(virStorageFspoolArchiveParser *parser,
                                char *body,
                                size_t len)
{
    while (len > 0) {
        const char *wrong;
        size_t digits = 0;
        size_t line = 0;
        char *key;
        char *equal;

        for (; digits < MIN(len, 7) && g_ascii_isdigit(body[digits]); digits++)
            line = line * 10 + (body[digits] - '0');
        if (digits == 0 || line <= digits + 1 || line > len || body[digits] != ' ' || body[line - 1] != '\n')
            return N_("an extended header is damaged");

        key = body + digits + 1;
        body[line - 1] = '\0';
        equal = memchr(key, '=', line - digits - 2);
        if (!equal || equal == key || memchr(key, '\0', equal - key))
            return N_("an extended header is damaged");

        *equal = '\0';
        if ((wrong = virStorageFspoolArchiveParseValue(parser, key, equal + 1, body + line - 1 - (equal + 1))))
            return wrong;
        body += line;
        len -= line;
    }
    return NULL;
}


/* A long name, which ends with a NUL, or with the body. */
static const char *
virStorageFspoolArchiveParseLong(char **text,
                                 const char *body,
                                 size_t len)
{
    size_t there = strnlen(body, len);
    size_t i;

    for (i = there; i < len; i++) {
        if (body[i])
            return N_("it has a name with a NUL");
    }
    if (*text || there == 0)
        return N_("an extended header is damaged");
    *text = g_strndup(body, there);
    return NULL;
}


/* The size of a header's body, which is in octal. Returns false when it is no such. */
static bool
virStorageFspoolArchiveParseSize(const char *block,
                                 size_t *size)
{
    const char *digits = block + SIZE_AT;
    size_t i = 0;

    for (; i < SIZE_LEN && digits[i] == ' '; i++)
        ;
    if (i == SIZE_LEN || digits[i] < '0' || digits[i] > '7')
        return false;
    for (*size = 0; i < SIZE_LEN && digits[i] >= '0' && digits[i] <= '7'; i++)
        *size = *size * 8 + (digits[i] - '0');
    return i == SIZE_LEN || digits[i] == ' ' || digits[i] == '\0';
}


/* A header that goes before that of an entry. */
static const char *
virStorageFspoolArchiveParseSpecial(virStorageFspoolArchiveParser *parser,
                                    char kind,
                                    const char *body,
                                    size_t size)
{
    g_autofree char *copy = NULL;

    if (kind == 'L')
        return virStorageFspoolArchiveParseLong(&parser->longPath, body, size);
    if (kind == 'K')
        return virStorageFspoolArchiveParseLong(&parser->longLink, body, size);

    parser->global = kind == 'g';
    if (!parser->global && parser->extended)
        return N_("an entry has two extended headers");
    if (!parser->global)
        parser->extended = true;
    copy = g_new0(char, size + 1);
    memcpy(copy, body, size);
    return virStorageFspoolArchiveParsePax(parser, copy, size);
}


/* The name that the header itself has. GNU has something else where POSIX has the beginning of a long one. */
static char *
virStorageFspoolArchiveOwnPath(const char *block)
{
    g_autofree char *name = g_strndup(block + NAME_AT, NAME_LEN);
    g_autofree char *prefix = g_strndup(block + PREFIX_AT, PREFIX_LEN);
    bool posix = memcmp(block + MAGIC_AT, "ustar", 5) == 0 && memcmp(block + MAGIC_AT, "ustar  \0", 8) != 0;

    if (!posix || !*prefix)
        return g_steal_pointer(&name);
    return g_strdup_printf("%s%s%s", prefix, g_str_has_suffix(prefix, "/") ? "" : "/", name);
}


/* Old archives have no kind for directories. '7' is a file that some systems keep in one piece, 'S' a sparse one. */
static const char *
virStorageFspoolArchiveParseKind(virStorageFspoolArchiveHeader *header,
                                 char kind)
{
    if (kind == '\0' || kind == '7' || kind == 'S')
        kind = VIR_STORAGE_FSPOOL_ARCHIVE_FILE;
    if (kind < VIR_STORAGE_FSPOOL_ARCHIVE_FILE || kind > VIR_STORAGE_FSPOOL_ARCHIVE_FIFO)
        return N_("it has a kind of entry that is not supported");
    if (kind == VIR_STORAGE_FSPOOL_ARCHIVE_FILE && g_str_has_suffix(header->path, "/"))
        kind = VIR_STORAGE_FSPOOL_ARCHIVE_DIR;
    header->kind = kind;
    return NULL;
}


static char *
virStorageFspoolArchiveFirstOf(char **one,
                               char **other,
                               char **last)
{
    if (*one && **one)
        return g_steal_pointer(one);
    if (*other && **other)
        return g_steal_pointer(other);
    return g_steal_pointer(last);
}


/* The header of the entry itself. */
static const char *
virStorageFspoolArchiveParseEntry(virStorageFspoolArchiveParser *parser,
                                  const char *block)
{
    virStorageFspoolArchiveHeader *header = parser->header;
    g_autofree char *path = virStorageFspoolArchiveOwnPath(block);
    g_autofree char *link = g_strndup(block + LINK_AT, LINK_LEN);

    if (parser->extended && (parser->longPath || parser->longLink))
        return N_("an entry has extended headers of two kinds");

    if (parser->longPath) {
        g_free(path);
        path = g_steal_pointer(&parser->longPath);
    }
    if (parser->longLink) {
        g_free(link);
        link = g_steal_pointer(&parser->longLink);
    }
    header->path = virStorageFspoolArchiveFirstOf(&parser->sparsePath, &parser->path, &path);
    header->link = virStorageFspoolArchiveFirstOf(&parser->link, &parser->link, &link);
    return virStorageFspoolArchiveParseKind(header, block[KIND_AT]);
}


/**
 * virStorageFspoolArchiveHeaderParse:
 * @data: all headers of one entry; maybe with something behind them
 * @len: how many bytes
 * @header: empty; filled, and to be cleared in any case
 *
 * Returns NULL, or a message that is to be translated: what is wrong with the archive
 */
const char *
virStorageFspoolArchiveHeaderParse(const char *data,
                                   size_t len,
                                   virStorageFspoolArchiveHeader *header)
{
    g_auto(virStorageFspoolArchiveParser) parser = { .header = header };

    while (len >= BLOCK) {
        char kind = data[KIND_AT];
        const char *wrong;
        size_t size;

        if (kind == '\0' || !strchr("xgLK", kind))
            return virStorageFspoolArchiveParseEntry(&parser, data);

        if (!virStorageFspoolArchiveParseSize(data, &size) || size > len - BLOCK)
            return N_("an extended header is damaged");
        if ((wrong = virStorageFspoolArchiveParseSpecial(&parser, kind, data + BLOCK, size)))
            return wrong;
        size = MIN(len, BLOCK + VIR_ROUND_UP(size, BLOCK));
        data += size;
        len -= size;
    }
    return N_("an extended header is damaged");
}
