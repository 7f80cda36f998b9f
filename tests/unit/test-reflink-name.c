/*
 * test-reflink-name.c: names of the files that a volume's states lie in
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_reflink_name.h"
#include "virerror.h"

#define STAMP "2026-11-20T18:00:00Z"
#define SECONDS 1795197600

#define FILE_NAME_MAX 255
/* What the longest name of a revision adds: ".img.9223372036854775807@2026-11-20T18:00:00Z". */
#define REVISION_SUFFIX 45


/* Also the other way round: each state has one name only. */
static void
expectFile(const char *file,
           virStorageReflinkRole role,
           const char *volume,
           unsigned long long id,
           long long stamp,
           const char *word)
{
    g_auto(virStorageReflinkName) name = { 0 };
    g_autofree char *again = virStorageReflinkNameFormat(role, volume, id, stamp, word);

    g_test_message("%s", file);
    virStorageReflinkNameParse(file, &name);
    g_assert_cmpint(name.role, ==, role);
    g_assert_cmpstr(name.volume, ==, volume);
    g_assert_cmpstr(name.word, ==, word);
    g_assert_cmpint(name.stamp, ==, stamp);
    if (role == VIR_STORAGE_REFLINK_NUMBERED)
        g_assert_cmpuint(name.id, ==, id);
    g_assert_cmpstr(again, ==, file);
    unitExpectNoError();
}


static void
expectForeign(const char *file)
{
    g_auto(virStorageReflinkName) name = { 0 };

    g_test_message("%s", file);
    virStorageReflinkNameParse(file, &name);
    g_assert_cmpint(name.role, ==, VIR_STORAGE_REFLINK_FOREIGN);
    g_assert_null(name.volume);
    g_assert_null(name.word);
    unitExpectNoError();
}


static void
testParseStates(void)
{
    expectFile("root.img", VIR_STORAGE_REFLINK_HEAD, "root", 0, 0, NULL);
    expectFile("root-dirty.img", VIR_STORAGE_REFLINK_LIVE, "root", 0, 0, NULL);
    expectFile("root.img.7@" STAMP, VIR_STORAGE_REFLINK_NUMBERED, "root", 7, SECONDS, NULL);
    expectFile("root.img.pin-before-upgrade_2", VIR_STORAGE_REFLINK_PINNED, "root", 0, 0, "before-upgrade_2");
}


static void
testParseFilesThatAreNoStates(void)
{
    expectFile("root-precache.img", VIR_STORAGE_REFLINK_PRECACHE, "root", 0, 0, NULL);
    expectFile("root-import.img", VIR_STORAGE_REFLINK_IMPORT, "root", 0, 0, NULL);
    expectFile("root.img.stage", VIR_STORAGE_REFLINK_STAGE, "root", 0, 0, NULL);
    expectFile("root.img.new", VIR_STORAGE_REFLINK_NEW, "root", 0, 0, NULL);
}


/* Of older Qubes releases: the time is all that tells such revisions apart. */
static void
testParseLegacyRevision(void)
{
    g_auto(virStorageReflinkName) name = { 0 };

    expectFile("root.img@" STAMP, VIR_STORAGE_REFLINK_LEGACY, "root", 0, SECONDS, NULL);
    virStorageReflinkNameParse("root.img@" STAMP, &name);
    g_assert_cmpuint(name.id, ==, SECONDS);
}


/* A volume can be called as a file is: the last suffix counts. */
static void
testParseVolumeThatLooksLikeAFile(void)
{
    expectFile("a.img.img", VIR_STORAGE_REFLINK_HEAD, "a.img", 0, 0, NULL);
    expectFile("a.img.img.7@" STAMP, VIR_STORAGE_REFLINK_NUMBERED, "a.img", 7, SECONDS, NULL);
    expectFile("a.img.img.new", VIR_STORAGE_REFLINK_NEW, "a.img", 0, 0, NULL);
    expectFile("a.img.pin-b.img", VIR_STORAGE_REFLINK_HEAD, "a.img.pin-b", 0, 0, NULL);
    expectFile("a-dirty-b.img", VIR_STORAGE_REFLINK_HEAD, "a-dirty-b", 0, 0, NULL);
}


static void
testForeignFiles(void)
{
    const char *files[] = {
        "", ".", "root", ".img", "-dirty.img", ".img.new", ".img.stage", "root.raw", "root.img~", "root.img.",
        "root.img.news", "root.img.pin-", "root.img.pin-7", "root.img.pin-a/b", "root-dirty.img.stage",
        "root-dirty.img.new", "root-dirty-precache.img", "a@live.img", "a@b.img.7@" STAMP,
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(files); i++)
        expectForeign(files[i]);
}


static void
testForeignRevisions(void)
{
    const char *files[] = {
        "root.img.0@" STAMP, "root.img.07@" STAMP, "root.img.-7@" STAMP, "root.img.+7@" STAMP, "root.img. 7@" STAMP,
        "root.img.7@", "root.img.7@2026-11-20", "root.img.7@" STAMP "x", "root.img.7@2026-13-20T18:00:00Z",
        "root.img.7@2026-11-20 18:00:00Z", "root.img.7@2026-11-20T18:00:00z", "root.img.9223372036854775808@" STAMP,
        "root.img.99999999999999999999@" STAMP, "root.img@1970-01-01T00:00:00Z", "root.img@", "root.img.@" STAMP,
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(files); i++)
        expectForeign(files[i]);
}


static void
testLargestId(void)
{
    expectFile("root.img.9223372036854775807@" STAMP, VIR_STORAGE_REFLINK_NUMBERED, "root", G_MAXINT64, SECONDS, NULL);
}


static int
checkName(const char *volume,
          const char *word)
{
    virStorageRevName name = {
        .volume = (char *) volume,
        .kind = word ? VIR_STORAGE_REV_PINNED : VIR_STORAGE_REV_HEAD,
        .word = (char *) word,
    };

    return virStorageReflinkNameCheck(&name);
}


/* Only the last part has a limit, and it is such that every file of the volume can be there. */
static void
testCheckLength(void)
{
    g_autofree char *longest = g_strnfill(FILE_NAME_MAX - REVISION_SUFFIX, 'a');
    g_autofree char *longer = g_strconcat(longest, "a", NULL);
    g_autofree char *nested = g_strconcat(longer, "/", longest, NULL);

    g_assert_cmpint(checkName(longest, NULL), ==, 0);
    g_assert_cmpint(checkName(nested, NULL), ==, 0);
    unitExpectNoError();

    g_assert_cmpint(checkName(longer, NULL), ==, -1);
    unitExpectError(VIR_ERR_INVALID_ARG, "is too long");
}


static void
testCheckLengthOfPin(void)
{
    g_autofree char *volume = g_strnfill(FILE_NAME_MAX - REVISION_SUFFIX, 'a');
    g_autofree char *longest = g_strnfill(REVISION_SUFFIX - strlen(".img.pin-"), 'w');
    g_autofree char *longer = g_strconcat(longest, "w", NULL);

    g_assert_cmpint(checkName(volume, longest), ==, 0);
    unitExpectNoError();

    g_assert_cmpint(checkName(volume, longer), ==, -1);
    unitExpectError(VIR_ERR_INVALID_ARG, "is too long");
}


static void
testCheckOtherVolumesFiles(void)
{
    const char *names[] = { "a-dirty", "a-precache", "a-import", "d/a-dirty", "-dirty" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpint(checkName(names[i], NULL), ==, -1);
        unitExpectError(VIR_ERR_INVALID_ARG, "cannot be called");
    }
    g_assert_cmpint(checkName("a-dirty/b", NULL), ==, 0);
    unitExpectNoError();
}


static void
testCheckFolders(void)
{
    const char *names[] = { "a.img/x", "a-dirty.img/x", "a-precache.img/x", "a-import.img/x", "a.img.stage/x",
                            "a.img.new/x", "a.img.pin-w/x", "d/a.img/x", "a.img/d/x" };
    const char *others[] = { "a.imgs/x", "a-dirty/x", "a.img.stages/x", "img/x", "a.img.pin-/x", "d/a.img", ".img/x" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpint(checkName(names[i], NULL), ==, -1);
        unitExpectError(VIR_ERR_INVALID_ARG, "would be in the place of a file of volume 'a'");
        g_assert_cmpint(checkName(names[i], "word"), ==, 0);
        unitExpectNoError();
    }
    for (i = 0; i < G_N_ELEMENTS(others); i++) {
        g_assert_cmpint(checkName(others[i], NULL), ==, 0);
        unitExpectNoError();
    }
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/parse/states", testParseStates);
    g_test_add_func("/parse/no-states", testParseFilesThatAreNoStates);
    g_test_add_func("/parse/legacy", testParseLegacyRevision);
    g_test_add_func("/parse/volume-like-a-file", testParseVolumeThatLooksLikeAFile);
    g_test_add_func("/parse/foreign", testForeignFiles);
    g_test_add_func("/parse/foreign-revisions", testForeignRevisions);
    g_test_add_func("/parse/largest-id", testLargestId);
    g_test_add_func("/check/length", testCheckLength);
    g_test_add_func("/check/length-of-pin", testCheckLengthOfPin);
    g_test_add_func("/check/other-volumes-files", testCheckOtherVolumesFiles);
    g_test_add_func("/check/folders", testCheckFolders);

    return g_test_run();
}
