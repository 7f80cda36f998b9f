/*
 * test-fspool-archive-refused.c: archives that are up to something
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "archive-put.h"


static void
expectUnpacked(Place *place,
               GByteArray *tar)
{
    putEnd(tar);
    if (unpack(place, tar->data, tar->len) != 0)
        g_error("%s", virGetLastErrorMessage());
    expectVictimUntouched(place);
}


static void
expectRefused(GByteArray *tar,
              const char *message)
{
    g_auto(Place) place = PLACE_INIT;

    placeMake(&place);
    putEnd(tar);
    g_assert_cmpint(unpack(&place, tar->data, tar->len), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_FAILED, message);
    expectVictimUntouched(&place);
    g_byte_array_set_size(tar, 0);
}


static void
testNames(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_autofree char *part = g_strnfill(256, 'n');
    g_autofree char *deep = g_strnfill(40 * 1024, '/');
    size_t i;

    putFile(tar, "/etc/passwd", "x");
    expectRefused(tar, "'/etc/passwd' that cannot be unpacked: its name is absolute");
    putFile(tar, "..", "x");
    expectRefused(tar, "'..'");
    putFile(tar, "../victim/file", "x");
    expectRefused(tar, "its name has '..'");
    putFile(tar, "a/../../victim/file", "x");
    expectRefused(tar, "its name has '..'");
    putFile(tar, "a/..", "x");
    expectRefused(tar, "its name has '..'");
    putFile(tar, "", "x");
    expectRefused(tar, "it has no name");
    putFile(tar, ".", "x");
    expectRefused(tar, "it would replace the volume itself");
    putHeader(tar, "./.", '2', "/", 0);
    expectRefused(tar, "it would replace the volume itself");

    putPax(tar, "path", part, strlen(part));
    putFile(tar, "short", "x");
    expectRefused(tar, "its name is too long");
    for (i = 0; i < strlen(deep); i += 2)
        deep[i] = 'd';
    putPax(tar, "path", deep, strlen(deep));
    putFile(tar, "short", "x");
    expectRefused(tar, "its name is too long");
    putPax(tar, "path", "with\0nul", 8);
    putFile(tar, "short", "x");
    expectRefused(tar, "NUL");
    putSpecial(tar, 'L', "with\0nul", 9);
    putFile(tar, "short", "x");
    expectRefused(tar, "NUL");
    putPax(tar, "path", "../victim/file", 14);
    putFile(tar, "harmless", "x");
    expectRefused(tar, "its name has '..'");
    putSpecial(tar, 'L', "/victim", 8);
    putFile(tar, "harmless", "x");
    expectRefused(tar, "its name is absolute");
    putPax(tar, "GNU.sparse.name", "../victim/file", 14);
    putFile(tar, "harmless", "x");
    expectRefused(tar, "its name has '..'");
}


static void
testThroughLinks(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();

    putHeader(tar, "link", '2', "../victim", 0);
    putFile(tar, "link/file", "x");
    expectRefused(tar, "it leads through something that is not a directory");
    putHeader(tar, "link", '2', "../victim", 0);
    putFile(tar, "link/new/file", "x");
    expectRefused(tar, "it leads through something that is not a directory");
    putHeader(tar, "link", '2', "../victim", 0);
    putHeader(tar, "link/", '5', NULL, 0);
    expectRefused(tar, "there is something else of that name");
    putHeader(tar, "link", '2', "../victim/file", 0);
    putFile(tar, "link", "x");
    expectRefused(tar, "there is something else of that name");
    putHeader(tar, "link", '2', "../victim/file", 0);
    putHeader(tar, "link", '2', "elsewhere", 0);
    expectRefused(tar, "there is something else of that name");
    putHeader(tar, "link", '2', "", 0);
    expectRefused(tar, "it is a symbolic link to nothing");
    putFile(tar, "file", "x");
    putFile(tar, "file/below", "x");
    expectRefused(tar, "it leads through something that is not a directory");
    putHeader(tar, "dir", '5', NULL, 0);
    putFile(tar, "dir", "x");
    expectRefused(tar, "there is something else of that name");
    putFile(tar, "file", "x");
    putHeader(tar, "file", '5', NULL, 0);
    expectRefused(tar, "there is something else of that name");
    putFile(tar, "file", "x");
    putHeader(tar, "file", '6', NULL, 0);
    expectRefused(tar, "there is something else of that name");
}


static void
testHardLinks(void)
{
    static const char *const targets[] = {
        "/etc/passwd", "../victim/file", "a/../../victim/file", "", ".", "missing", "dir/missing", "dirlink/file",
        "dir",
    };
    g_autoptr(GByteArray) tar = g_byte_array_new();
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(targets); i++) {
        putHeader(tar, "dir", '5', NULL, 0);
        putHeader(tar, "dirlink", '2', "../victim", 0);
        putHeader(tar, "hard", '1', targets[i], 0);
        expectRefused(tar, "it is a hard link to ");
    }
    putFile(tar, "file", "x");
    putPax(tar, "comment", "makes it pax", 12);
    putHeader(tar, "hard", '1', "file", 3);
    putData(tar, "abc", 3);
    expectRefused(tar, "it is a hard link with content");
}


static void
putDevice(GByteArray *tar,
          char kind,
          unsigned int devMajor,
          unsigned int devMinor)
{
    unsigned char *block = putHeader(tar, "device", kind, NULL, 0);

    g_snprintf((char *) block + 329, 8, "%07o", devMajor);
    g_snprintf((char *) block + 337, 8, "%07o", devMinor);
    seal(block);
}


static void
testDevices(void)
{
    static const struct {
        char kind;
        unsigned int devMajor;
        unsigned int devMinor;
        bool allowed;
    } cases[] = {
        { '3', 0, 0, true }, { '3', 1, 3, true }, { '3', 1, 5, true }, { '3', 1, 7, true }, { '3', 1, 8, true },
        { '3', 1, 9, true }, { '3', 5, 0, true }, { '3', 5, 1, true }, { '3', 5, 2, true },
        { '3', 1, 1, false }, { '3', 1, 2, false }, { '3', 1, 4, false }, { '3', 10, 200, false }, { '3', 257, 3, false },
        { '4', 8, 0, false }, { '4', 1, 3, false }, { '4', 7, 0, false }, { '4', 0, 0, false },
    };
    g_autoptr(GByteArray) tar = g_byte_array_new();
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Place) place = PLACE_INIT;
        struct stat sb;

        putDevice(tar, cases[i].kind, cases[i].devMajor, cases[i].devMinor);
        if (!cases[i].allowed) {
            expectRefused(tar, "it is a device of this host");
            continue;
        }
        if (geteuid() == 0) {
            placeMake(&place);
            expectUnpacked(&place, tar);
            g_assert_cmpint(fstatat(place.to, "device", &sb, AT_SYMLINK_NOFOLLOW), ==, 0);
            g_assert_true(S_ISCHR(sb.st_mode));
            g_assert_cmpuint(sb.st_rdev, ==, makedev(cases[i].devMajor, cases[i].devMinor));
        }
        g_byte_array_set_size(tar, 0);
    }
}


static void
testKinds(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    const char *kind;

    for (kind = "ADMNVXZ89s"; *kind; kind++) {
        putHeader(tar, "entry", *kind, NULL, 0);
        putFile(tar, "file", "x");
        g_test_message("kind '%c'", *kind);
        expectRefused(tar, NULL);
    }
}


static void
testExtendedHeaders(void)
{
    static const struct {
        const char *key;
        const char *value;
    } cases[] = {
        { "size", "1x" }, { "size", "" }, { "size", "-1" }, { "size", "99999999999999999999" }, { "uid", "-1" },
        { "uid", "4294967295" }, { "gid", "99999999999999999999" }, { "uid", "root" }, { "mtime", "now" },
        { "GNU.sparse.map", "0,1,x" }, { "GNU.sparse.major", "2" }, { "GNU.sparse.realsize", "x" },
        { "SUN.holesdata", " 0 1" }, { "SCHILY.realsize", "100" }, { "SCHILY.acl.ace", "owner@:r::allow" },
        { "SCHILY.acl.access", "user::rw-,user:alice:rw-,group::r--,mask::rw-,other::---" },
        { "SCHILY.acl.access", "user::rw-,user:4294967296:rw-,group::r--,mask::rw-,other::---" },
        { "SCHILY.acl.access", "nonsense" }, { "SCHILY.acl.access", "user::rw-,user:1:rw-,group::r--,wrong::rw-" },
        { "SCHILY.acl.default", "user::rwx,group:staff:rwx,group::rwx,mask::rwx,other::---" },
    };
    static const char *const malformed[] = {
        "path=x\n", "9 path=x\n\n", "99 path=x\n", "10 path=xy", "8 path=x\n", "0 path=x\n", "9 =path=x\n", "9 path-x=", "x",
        "9 pathxxx\n", "-9 path=x\n", "\n",
    };
    g_autoptr(GByteArray) tar = g_byte_array_new();
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s=%s", cases[i].key, cases[i].value);
        putPax(tar, cases[i].key, cases[i].value, strlen(cases[i].value));
        putFile(tar, "file", "x");
        expectRefused(tar, NULL);
    }
    for (i = 0; i < G_N_ELEMENTS(malformed); i++) {
        g_test_message("%s", malformed[i]);
        putSpecial(tar, 'x', malformed[i], strlen(malformed[i]));
        putFile(tar, "file", "x");
        expectRefused(tar, NULL);
    }
    putPax(tar, "path", "one", 3);
    putPax(tar, "path", "other", 5);
    putFile(tar, "file", "x");
    expectRefused(tar, NULL);
    putSpecial(tar, 'L', "one", 4);
    putPax(tar, "path", "other", 5);
    putFile(tar, "file", "x");
    expectRefused(tar, "an entry has extended headers of two kinds");
    putSpecial(tar, 'g', "11 uid=1000\n", 12);
    putFile(tar, "file", "x");
    expectRefused(tar, NULL);
    putPax(tar, "path", "nothing behind", 14);
    expectRefused(tar, NULL);
}


static void
testHeadersThatAreTooLarge(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_autofree char *map = g_strnfill(9 * 1024 * 1024, '\n');
    size_t i;

    putSpecial(tar, 'x', map, 2 * 1024 * 1024);
    putFile(tar, "file", "x");
    expectRefused(tar, NULL);

    /* a map of more pieces than there is memory for */
    memcpy(map, "4000000", 7);
    for (i = 8; i < 9 * 1024 * 1024; i += 2)
        map[i] = '1';
    putSpecial(tar, 'x', "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n31 GNU.sparse.realsize=1000000\n", 75);
    putHeader(tar, "file", '0', NULL, 9 * 1024 * 1024);
    putData(tar, map, 9 * 1024 * 1024);
    expectRefused(tar, "the headers of an entry are too large");
}


static void
testSparseMaps(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_auto(Place) place = PLACE_INIT;
    struct stat sb;

    putSparse(tar, "1\n9000\n512\n", "8000");
    expectRefused(tar, "its content does not fit its size");
    putSparse(tar, "2\n1000\n256\n0\n256\n", "8000");
    expectRefused(tar, "its content does not fit its size");
    putSparse(tar, "1\n9223372036854775807\n512\n", "8000");
    expectRefused(tar, NULL);
    putSparse(tar, "1\n-1\n512\n", "8000");
    expectRefused(tar, NULL);

    placeMake(&place);
    putSparse(tar, "1\n1000\n512\n", "8000");
    expectUnpacked(&place, tar);
    g_assert_cmpint(fstatat(place.to, "sparse", &sb, 0), ==, 0);
    g_assert_cmpint(sb.st_size, ==, 8000);
}


/* What is not refused, although it may look odd. */
static void
testAccepted(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_auto(Place) place = PLACE_INIT;
    g_autofree char *path = NULL;
    g_autofree char *content = NULL;
    struct stat sb;

    placeMake(&place);
    putSpecial(tar, 'g', "18 comment=a text\n", 18);
    putFile(tar, "file", "earlier");
    putHeader(tar, "hard", '1', "./file", 0);
    putFile(tar, "./file", "later");
    putHeader(tar, "hard", '1', "hard", 0);
    putFile(tar, "implied/./parents//file", "x");
    putHeader(tar, "dir/", '0', NULL, 0);
    putFile(tar, "dir/file", "x");
    putHeader(tar, "dir", '5', NULL, 0);
    putHeader(tar, "absolute", '2', "/etc/passwd", 0);
    putHeader(tar, "same", '1', "absolute", 0);
    putHeader(tar, "fifo", '6', NULL, 0);
    putHeader(tar, "fifo2", '1', "fifo", 0);
    expectUnpacked(&place, tar);

    path = g_strdup_printf("%s/to/file", place.path);
    g_assert_true(g_file_get_contents(path, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, "later");
    g_assert_cmpint(fstatat(place.to, "hard", &sb, 0), ==, 0);
    g_assert_cmpint(sb.st_size, ==, 7);
    g_assert_cmpuint(sb.st_nlink, ==, 1);
    g_assert_cmpint(fstatat(place.to, "same", &sb, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_true(S_ISLNK(sb.st_mode));
    g_assert_cmpuint(sb.st_nlink, ==, 2);
    g_assert_cmpint(fstatat(place.to, "fifo2", &sb, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_true(S_ISFIFO(sb.st_mode));
    g_assert_cmpint(fstatat(place.to, "implied/parents", &sb, 0), ==, 0);
    g_assert_cmpint(sb.st_mode & 07777, ==, 0755);
    g_assert_cmpint(fstatat(place.to, "dir", &sb, 0), ==, 0);
    g_assert_cmpint(sb.st_mtime, ==, 1000000000);
    g_assert_cmpint(fstat(place.to, &sb), ==, 0); /* it had no entry */
    g_assert_cmpint(sb.st_mode & 07777, ==, 0700);
}


/* An archive cannot say what a volume is, nor give a file the label of another. */
static void
testAttributesThatAreNotTaken(void)
{
    static const char *const attrs[] = {
        "trusted.libvirt.storage", "user.libvirt.storage", "security.selinux", "security.apparmor", "security.ima",
        "trusted.libvirt%2Estorage", "system.other",
    };
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_auto(Place) place = PLACE_INIT;
    char names[1024];
    size_t i;

    placeMake(&place);
    for (i = 0; i < G_N_ELEMENTS(attrs); i++) {
        g_autofree char *key = g_strdup_printf("SCHILY.xattr.%s", attrs[i]);
        g_autofree char *name = g_strdup_printf("dir%zu", i);

        putPax(tar, key, "value", 5);
        putHeader(tar, i == 0 ? "." : name, '5', NULL, 0);
        putPax(tar, key, "value", 5);
        putHeader(tar, name, '5', NULL, 0);
    }
    putPax(tar, "RHT.security.selinux", "system_u:object_r:bin_t:s0", 26);
    putHeader(tar, "labelled", '5', NULL, 0);
    expectUnpacked(&place, tar);

    g_assert_cmpint(fgetxattr(place.to, "trusted.libvirt.storage", names, sizeof(names)), <, 0);
    g_assert_cmpint(fgetxattr(place.to, "user.libvirt.storage", names, sizeof(names)), <, 0);
    for (i = 0; i < G_N_ELEMENTS(attrs); i++) {
        g_autofree char *name = g_strdup_printf("%s/to/dir%zu", place.path, i);
        ssize_t len = listxattr(name, names, sizeof(names));

        g_assert_cmpint(len < 0 ? 0 : len, ==, 0);
    }
}


/* What a directory leaves to all that is new in it is not in the archive. */
static void
testInheritedAccessIsRemoved(void)
{
    static const unsigned char inherited[] = {
        2, 0, 0, 0,
        1, 0, 7, 0, 255, 255, 255, 255,
        2, 0, 7, 0, 0x39, 0x30, 0, 0,
        4, 0, 7, 0, 255, 255, 255, 255,
        16, 0, 7, 0, 255, 255, 255, 255,
        32, 0, 0, 0, 255, 255, 255, 255,
    };
    static const char *const names[] = { "file", "dir", "dir/file", "fifo" };
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_auto(Place) place = PLACE_INIT;
    size_t i;

    placeMake(&place);
    if (fsetxattr(place.to, "system.posix_acl_default", inherited, sizeof(inherited), 0) < 0) {
        g_test_skip("needs access control lists");
        return;
    }
    putFile(tar, "file", "x");
    putHeader(tar, "dir", '5', NULL, 0);
    putFile(tar, "dir/file", "x");
    putHeader(tar, "fifo", '6', NULL, 0);
    expectUnpacked(&place, tar);
    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_strdup_printf("%s/to/%s", place.path, names[i]);
        struct stat sb;

        g_assert_cmpint(getxattr(path, "system.posix_acl_access", NULL, 0), <, 0);
        g_assert_cmpint(getxattr(path, "system.posix_acl_default", NULL, 0), <, 0);
        g_assert_cmpint(stat(path, &sb), ==, 0);
        g_assert_cmpint(sb.st_mode & 07777, ==, S_ISDIR(sb.st_mode) ? 0755 : 0644);
    }
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);
    umask(022);

    g_test_add_func("/fspool-archive-refused/names", testNames);
    g_test_add_func("/fspool-archive-refused/through-links", testThroughLinks);
    g_test_add_func("/fspool-archive-refused/hard-links", testHardLinks);
    g_test_add_func("/fspool-archive-refused/devices", testDevices);
    g_test_add_func("/fspool-archive-refused/kinds", testKinds);
    g_test_add_func("/fspool-archive-refused/extended-headers", testExtendedHeaders);
    g_test_add_func("/fspool-archive-refused/large-headers", testHeadersThatAreTooLarge);
    g_test_add_func("/fspool-archive-refused/sparse-maps", testSparseMaps);
    g_test_add_func("/fspool-archive-refused/accepted", testAccepted);
    g_test_add_func("/fspool-archive-refused/attributes", testAttributesThatAreNotTaken);
    g_test_add_func("/fspool-archive-refused/inherited-access", testInheritedAccessIsRemoved);

    return g_test_run();
}
