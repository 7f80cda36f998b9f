/*
 * test-fspool-archive-tools.c: archives that other tools make, or read
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "archive-put.h"


static int
run(Place *place,
    const char *command)
{
    g_autofree char *line = g_strdup_printf("cd '%s' && %s", place->path, command);

    return system(line);
}


static void
testGnuTarExtractsOurs(void)
{
    g_auto(Place) place = PLACE_INIT;
    VIR_AUTOCLOSE archive = -1;
    off_t at[] = { MIB };

    placeMake(&place);
    if (!place.root || !place.attrs || run(&place, "tar --version >/dev/null 2>&1") != 0) {
        g_test_skip("needs root, attributes and tar");
        return;
    }
    makeTree(&place);
    makeSparse(place.from, "sparse", 8 * MIB, at, 1);
    setTime(place.from, ".", 1111111111, 100);
    /* it makes a fraction of a time before 1970 one second less than it is */
    VIR_FORCE_CLOSE(place.fd);
    place.fd = openDir(AT_FDCWD, place.path);
    setTime(place.from, "dir/below/file", 5, 7);
    archive = makeArchive(&place);
    expectOk(virStorageFspoolArchivePack(place.from, archive, "item"));
    g_assert_cmpint(run(&place, "tar -C to --acls --xattrs --xattrs-include='*' --numeric-owner -xpf archive 2>log"), ==, 0);
    expectSame(place.from, place.to);
    expectSparse(&place, "sparse", MIB);
}


static void
checkGnuTar(const char *options,
            bool exact)
{
    g_auto(Place) place = PLACE_INIT;
    VIR_AUTOCLOSE archive = -1;
    off_t at[] = { MIB };
    g_autofree char *command = g_strdup_printf("tar -C from %s -cf archive . 2>log", options);
    struct stat sb;

    placeMake(&place);
    if (!place.root || !place.attrs || run(&place, "tar --version >/dev/null 2>&1") != 0) {
        g_test_skip("needs root, attributes and tar");
        return;
    }
    makeTree(&place);
    setTime(place.from, "dir/below/file", 5, 7);
    makeSparse(place.from, "sparse", 8 * MIB, at, 1);
    setTime(place.from, ".", 1111111111, 100);
    g_assert_cmpint(run(&place, command), ==, 0);

    archive = openat(place.fd, "archive", O_RDONLY | O_CLOEXEC);
    expectOk(virStorageFspoolArchiveUnpack(archive, place.to, "item", NULL));
    if (exact)
        expectSame(place.from, place.to);
    g_assert_cmpint(fstatat(place.to, "dir/below/third", &sb, 0), ==, 0);
    g_assert_cmpuint(sb.st_nlink, ==, 3);
    g_assert_cmpint(fstatat(place.to, "setuid", &sb, 0), ==, 0);
    g_assert_cmpint(sb.st_mode & 07777, ==, 06755);
    g_assert_cmpuint(sb.st_uid, ==, 12345);
    g_assert_cmpint(fstatat(place.to, "composed-e\xcc\x81", &sb, 0), ==, 0);
    g_assert_cmpint(fstatat(place.to, "not-utf8-\xff\xfe", &sb, 0), ==, 0);
    if (strstr(options, "--sparse"))
        expectSparse(&place, "sparse", MIB);
}


static void
testGnuTarArchives(void)
{
    checkGnuTar("--acls --xattrs --xattrs-include='*'", true);
    checkGnuTar("--acls --xattrs --xattrs-include='*' --sparse", true);
    checkGnuTar("--format=posix --sparse --sparse-version=0.0", false);
    checkGnuTar("--format=posix --sparse --sparse-version=0.1", false);
    checkGnuTar("--format=gnu --sparse", false);
    checkGnuTar("--format=gnu", false);
}


/* What older tools make. */
static void
testPlainArchives(void)
{
    static const char *const formats[] = { "ustar", "v7" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_auto(Place) place = PLACE_INIT;
        g_autofree char *name = g_strnfill(90, 'n');
        g_autofree char *path = g_strdup_printf("dir/%s", name);
        g_autofree char *command = g_strdup_printf("tar -C from --format=%s -cf archive dir 2>log", formats[i]);
        VIR_AUTOCLOSE archive = -1;

        placeMake(&place);
        g_assert_cmpint(mkdirat(place.from, "dir", 0755), ==, 0);
        makeFile(place.from, path, "text", 0604);
        setTime(place.from, path, 1000000000, 0);
        setTime(place.from, "dir", 1000000000, 0);
        if (run(&place, command) != 0) {
            g_test_skip("needs tar");
            return;
        }
        archive = openat(place.fd, "archive", O_RDONLY | O_CLOEXEC);
        expectOk(virStorageFspoolArchiveUnpack(archive, place.to, "item", NULL));
        VIR_FORCE_CLOSE(place.from);
        VIR_FORCE_CLOSE(archive);
        archive = openDir(place.fd, "from");
        place.from = openDir(archive, "dir");
        VIR_FORCE_CLOSE(place.to);
        VIR_FORCE_CLOSE(archive);
        archive = openDir(place.fd, "to");
        place.to = openDir(archive, "dir");
        expectSame(place.from, place.to);
    }
}


/* Compresses by a command. Returns NULL when there is none. */
static char *
compress(Place *place,
         const char *command,
         const GByteArray *tar,
         size_t *len)
{
    g_autofree char *plain = g_strdup_printf("%s/plain", place->path);
    g_autofree char *packed = g_strdup_printf("%s/packed", place->path);
    g_autofree char *line = g_strdup_printf("%s < '%s' > '%s' 2>/dev/null", command, plain, packed);
    char *data = NULL;

    g_assert_true(g_file_set_contents(plain, (char *) tar->data, tar->len, NULL));
    if (system(line) == 0)
        g_assert_true(g_file_get_contents(packed, &data, len, NULL));
    return data;
}


static void
testCompressed(void)
{
    static const char *const commands[] = { "gzip -c", "xz -c", "zstd -c" };
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_auto(Place) place = PLACE_INIT;
    size_t i;

    placeMake(&place);
    putSmall(tar);
    for (i = 0; i < G_N_ELEMENTS(commands); i++) {
        size_t len;
        g_autofree char *data = compress(&place, commands[i], tar, &len);
        g_autofree char *longer = NULL;
        size_t cut;

        if (!data)
            continue;
        g_test_message("%s: %zu bytes", commands[i], len);
        if (unpack(&place, data, len) != 0)
            g_error("%s", virGetLastErrorMessage());
        placeEmpty(&place);

        for (cut = 0; cut < len; cut++) {
            if (unpack(&place, data, cut) != -1)
                g_error("%s: %zu of %zu bytes are taken for all", commands[i], cut, len);
            virResetLastError();
            placeEmpty(&place);
        }

        longer = g_new0(char, len + 5);
        memcpy(longer, data, len);
        memcpy(longer + len, "more", 4);
        g_assert_cmpint(unpack(&place, longer, len + 4), ==, -1);
        virResetLastError();
        placeEmpty(&place);

        /* the checksum, and what it is of */
        longer[len - (i == 1 ? 30 : 3)] ^= 1;
        g_assert_cmpint(unpack(&place, longer, len), ==, -1);
        virResetLastError();
        placeEmpty(&place);
    }
}


/* Several parts that were compressed by themselves are as good as one. */
static void
testCompressedInParts(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_auto(Place) place = PLACE_INIT;
    g_autofree char *data = NULL;
    size_t len;

    placeMake(&place);
    putSmall(tar);
    data = compress(&place, "(head -c 700 | gzip -c; gzip -c)", tar, &len);
    if (!data) {
        g_test_skip("needs gzip");
        return;
    }
    if (unpack(&place, data, len) != 0)
        g_error("%s", virGetLastErrorMessage());
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);
    umask(022);

    g_test_add_func("/fspool-archive-tools/gnu-tar-extracts", testGnuTarExtractsOurs);
    g_test_add_func("/fspool-archive-tools/gnu-tar-archives", testGnuTarArchives);
    g_test_add_func("/fspool-archive-tools/plain-archives", testPlainArchives);
    g_test_add_func("/fspool-archive-tools/compressed", testCompressed);
    g_test_add_func("/fspool-archive-tools/compressed-in-parts", testCompressedInParts);

    return g_test_run();
}
