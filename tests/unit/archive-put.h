/*
 * archive-put.h: archives that are put together by hand
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "archive.h"

#define BLOCK 512


static inline void
placeEmpty(Place *place)
{
    g_autofree char *path = g_strdup_printf("%s/to", place->path);

    VIR_FORCE_CLOSE(place->to);
    g_assert_cmpint(virFileDeleteTree(path), ==, 0);
    g_assert_cmpint(mkdirat(place->fd, "to", 0700), ==, 0);
    place->to = openDir(place->fd, "to");
}


static inline void
expectVictimUntouched(Place *place)
{
    g_autofree char *file = g_strdup_printf("%s/victim/file", place->path);
    g_autofree char *dir = g_strdup_printf("%s/victim", place->path);
    g_autofree char *content = NULL;
    struct stat sb;

    g_assert_true(g_file_get_contents(file, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, "secret");
    g_assert_cmpint(stat(file, &sb), ==, 0);
    g_assert_cmpint(sb.st_mode & 07777, ==, 0640);
    g_assert_cmpuint(sb.st_nlink, ==, 1);
    g_assert_cmpint(stat(dir, &sb), ==, 0);
    g_assert_cmpint(sb.st_mode & 07777, ==, 0700);
    g_assert_cmpint(unlink(file), ==, 0);
    g_assert_cmpint(rmdir(dir), ==, 0); /* and there was nothing else in it */
    g_assert_cmpint(mkdir(dir, 0700), ==, 0);
    g_assert_true(g_file_set_contents(file, "secret", -1, NULL));
    g_assert_cmpint(chmod(file, 0640), ==, 0);
}


/* Puts the checksum of a header right. */
static inline void
seal(unsigned char *block)
{
    unsigned int sum = 0;
    size_t i;

    memset(block + 148, ' ', 8);
    for (i = 0; i < BLOCK; i++)
        sum += block[i];
    g_snprintf((char *) block + 148, 8, "%06o", sum);
}


static inline unsigned char *
putHeader(GByteArray *tar,
          const char *name,
          char kind,
          const char *link,
          unsigned long long size)
{
    unsigned char block[BLOCK] = { 0 };
    size_t at = tar->len;

    memcpy(block, name, MIN(strlen(name), 100));
    g_snprintf((char *) block + 100, 8, "%07o", kind == '5' ? 0755 : 0644);
    g_snprintf((char *) block + 108, 8, "%07o", 0);
    g_snprintf((char *) block + 116, 8, "%07o", 0);
    g_snprintf((char *) block + 124, 12, "%011llo", size);
    g_snprintf((char *) block + 136, 12, "%011o", 1000000000);
    block[156] = kind;
    if (link)
        memcpy(block + 157, link, MIN(strlen(link), 100));
    memcpy(block + 257, "ustar\00000", 8);
    g_snprintf((char *) block + 329, 8, "%07o", 0);
    g_snprintf((char *) block + 337, 8, "%07o", 0);
    seal(block);
    g_byte_array_append(tar, block, BLOCK);
    return tar->data + at;
}


static inline void
putData(GByteArray *tar,
        const void *data,
        size_t len)
{
    static const guint8 zeros[BLOCK];

    g_byte_array_append(tar, data, len);
    g_byte_array_append(tar, zeros, (BLOCK - len % BLOCK) % BLOCK);
}


static inline void
putFile(GByteArray *tar,
        const char *name,
        const char *content)
{
    putHeader(tar, name, '0', NULL, strlen(content));
    putData(tar, content, strlen(content));
}


/* A header that goes before another; @body of that length. */
static inline void
putSpecial(GByteArray *tar,
           char kind,
           const char *body,
           size_t len)
{
    putHeader(tar, "special", kind, NULL, len);
    putData(tar, body, len);
}


/* An extended header with one setting. */
static inline void
putPax(GByteArray *tar,
       const char *key,
       const char *value,
       size_t len)
{
    g_autoptr(GByteArray) line = g_byte_array_new();
    size_t rest = strlen(key) + len + 3;
    size_t digits = 1;
    g_autofree char *length = NULL;

    while (strlen(length ? length : "") != digits) {
        g_free(length);
        length = g_strdup_printf("%zu", rest + digits);
        if (strlen(length) != digits)
            digits = strlen(length);
        else
            break;
        g_clear_pointer(&length, g_free);
    }
    g_byte_array_append(line, (guint8 *) length, strlen(length));
    g_byte_array_append(line, (const guint8 *) " ", 1);
    g_byte_array_append(line, (const guint8 *) key, strlen(key));
    g_byte_array_append(line, (const guint8 *) "=", 1);
    g_byte_array_append(line, (const guint8 *) value, len);
    g_byte_array_append(line, (const guint8 *) "\n", 1);
    putSpecial(tar, 'x', (char *) line->data, line->len);
}


static inline void
putSparse(GByteArray *tar,
          const char *map,
          const char *size)
{
    g_autofree char *text = g_strdup_printf("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n%zu GNU.sparse.realsize=%s\n",
                                            strlen(size) + 24, size);
    char block[2 * BLOCK] = { 0 };

    g_assert_cmpuint(strlen(size), ==, 4);
    strcpy(block, map);
    memset(block + BLOCK, 'x', BLOCK);
    putSpecial(tar, 'x', text, strlen(text));
    putHeader(tar, "sparse", '0', NULL, sizeof(block));
    putData(tar, block, sizeof(block));
}


static inline void
putEnd(GByteArray *tar)
{
    static const guint8 zeros[2 * BLOCK];

    g_byte_array_append(tar, zeros, sizeof(zeros));
}


/* A small archive with all kinds of headers in it. Returns where its end begins. */
static inline size_t
putSmall(GByteArray *tar)
{
    g_autofree char *name = g_strnfill(150, 'n');
    size_t end;

    putHeader(tar, ".", '5', NULL, 0);
    putHeader(tar, "dir", '5', NULL, 0);
    putPax(tar, "path", name, strlen(name));
    putFile(tar, "short", "content");
    putSparse(tar, "1\n1000\n512\n", "8000");
    putHeader(tar, "link", '2', "file", 0);
    putFile(tar, "last", "zeros are to follow, but not these");
    end = tar->len;
    putEnd(tar);
    return end;
}


static inline int
unpack(Place *place,
       const void *data,
       size_t len)
{
    VIR_AUTOCLOSE fd = openat(place->fd, "archive", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(write(fd, data, len), ==, len);
    g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
    return virStorageFspoolArchiveUnpack(fd, place->to, "item", NULL);
}
