/*
 * test-name.c: names of volumes, live copies and revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_revision_name.h"
#include "virerror.h"


static void
expectParsed(const char *text,
             const char *volume,
             virStorageRevKind kind,
             unsigned long long id,
             const char *word)
{
    g_auto(virStorageRevName) name = { 0 };
    g_autofree char *again = NULL;

    g_assert_cmpint(virStorageRevNameParse(text, &name), ==, 0);
    g_assert_cmpstr(name.volume, ==, volume);
    g_assert_cmpint(name.kind, ==, kind);
    g_assert_cmpuint(name.id, ==, id);
    g_assert_cmpstr(name.word, ==, word);

    again = virStorageRevNameFormat(name.volume, name.kind, name.id, name.word);
    g_assert_cmpstr(again, ==, text);
    unitExpectNoError();
}


static void
expectRefused(const char *text,
              const char *part)
{
    virStorageRevName name;

    g_assert_cmpint(virStorageRevNameParse(text, &name), ==, -1);
    g_assert_null(name.volume);
    g_assert_null(name.word);
    unitExpectError(VIR_ERR_INVALID_ARG, part);
}


static void
testParseHead(void)
{
    expectParsed("root", "root", VIR_STORAGE_REV_HEAD, 0, NULL);
}


static void
testParseHeadKeepsEverythingButAt(void)
{
    expectParsed("appvms/work/a b#&.img", "appvms/work/a b#&.img", VIR_STORAGE_REV_HEAD, 0, NULL);
}


static void
testParseLive(void)
{
    expectParsed("root@live", "root", VIR_STORAGE_REV_LIVE, 0, NULL);
}


static void
testParseNumbered(void)
{
    expectParsed("root@7", "root", VIR_STORAGE_REV_NUMBERED, 7, NULL);
}


static void
testParseLargestId(void)
{
    expectParsed("root@18446744073709551615", "root", VIR_STORAGE_REV_NUMBERED, ULLONG_MAX, NULL);
}


static void
testParsePinned(void)
{
    expectParsed("a/b@before-upgrade_2", "a/b", VIR_STORAGE_REV_PINNED, 0, "before-upgrade_2");
}


/* "live" is only that in lower case; "Live" is a word like others. */
static void
testParseLiveInOtherCase(void)
{
    expectParsed("root@Live", "root", VIR_STORAGE_REV_PINNED, 0, "Live");
}


static void
testParseNothing(void)
{
    expectRefused("", "names no volume");
}


static void
testParseNoVolume(void)
{
    expectRefused("@live", "'@live' names no volume");
}


static void
testParseNothingBehindAt(void)
{
    expectRefused("root@", "'root@'");
}


static void
testParseTwoAts(void)
{
    expectRefused("root@7@live", "more than one '@'");
}


static void
testParseIdZero(void)
{
    expectRefused("root@0", "'root@0'");
}


static void
testParseIdWithLeadingZero(void)
{
    expectRefused("root@07", "'root@07'");
}


static void
testParseIdTooLarge(void)
{
    expectRefused("root@18446744073709551616", "'root@18446744073709551616'");
}


static void
testParseIdWithSign(void)
{
    expectRefused("root@+7", NULL);
    expectRefused("root@-7", NULL);
    expectRefused("root@ 7", NULL);
}


static void
testParseIdWithTail(void)
{
    expectRefused("root@7a", NULL);
    expectRefused("root@7 ", NULL);
    expectRefused("root@0x7", NULL);
}


static void
testParseWordWithOtherCharacters(void)
{
    expectRefused("root@a/b", NULL);
    expectRefused("root@a.b", NULL);
    expectRefused("root@a b", NULL);
    expectRefused("root@\303\251t\303\251", NULL);
}


static void
testParseErrorIsPrintable(void)
{
    expectRefused("ro\not@7@8", "'ro\\not@7@8'");
}


static void
testWordOfGreatestLength(void)
{
    g_autofree char *longest = g_strnfill(64, 'w');
    g_autofree char *longer = g_strnfill(65, 'w');

    g_assert_true(virStorageRevWordIsValid(longest));
    g_assert_false(virStorageRevWordIsValid(longer));
}


static void
testWordStartsWithLetter(void)
{
    g_assert_true(virStorageRevWordIsValid("a"));
    g_assert_true(virStorageRevWordIsValid("Z9"));
    g_assert_false(virStorageRevWordIsValid("9a"));
    g_assert_false(virStorageRevWordIsValid("-a"));
    g_assert_false(virStorageRevWordIsValid("_a"));
}


static void
testWordIsNotLive(void)
{
    g_assert_false(virStorageRevWordIsValid("live"));
    g_assert_true(virStorageRevWordIsValid("lives"));
}


static void
testWordMissing(void)
{
    g_assert_false(virStorageRevWordIsValid(""));
    g_assert_false(virStorageRevWordIsValid(NULL));
}


static void
testClearTwice(void)
{
    virStorageRevName name;

    g_assert_cmpint(virStorageRevNameParse("root@word", &name), ==, 0);
    virStorageRevNameClear(&name);
    g_assert_null(name.volume);
    virStorageRevNameClear(&name);
    virStorageRevNameClear(NULL);
}


static void
expectVolumeName(const char *volume,
                 bool nested)
{
    g_assert_cmpint(virStorageRevVolumeNameCheck(volume, nested), ==, 0);
    g_assert_null(virStorageRevVolumeNameProblem(volume, nested));
    unitExpectNoError();
}


static void
expectNoVolumeName(const char *volume,
                   bool nested,
                   const char *part)
{
    g_assert_nonnull(virStorageRevVolumeNameProblem(volume, nested));
    unitExpectNoError();
    g_assert_cmpint(virStorageRevVolumeNameCheck(volume, nested), ==, -1);
    unitExpectError(VIR_ERR_INVALID_ARG, part);
}


static void
testVolumeNamePlain(void)
{
    expectVolumeName("root", false);
    expectVolumeName(".hidden", false);
    expectVolumeName("...", false);
    expectVolumeName("-dash and blank", false);
    expectVolumeName("\303\251t\303\251", false);
}


static void
testVolumeNameNested(void)
{
    expectVolumeName("appvms/work/private", true);
}


static void
testVolumeNameNestedWhereNotAllowed(void)
{
    expectNoVolumeName("appvms/work", false, "'/'");
}


static void
testVolumeNameEmpty(void)
{
    expectNoVolumeName("", true, "empty");
}


static void
testVolumeNameDots(void)
{
    expectNoVolumeName(".", false, "'.'");
    expectNoVolumeName("..", false, "'..'");
    expectNoVolumeName("a/../b", true, "'..'");
    expectNoVolumeName("../b", true, "'..'");
    expectNoVolumeName("a/.", true, "'.'");
}


static void
testVolumeNameSlashAtTheEnds(void)
{
    expectNoVolumeName("/a", true, "starts or ends with '/'");
    expectNoVolumeName("a/", true, "starts or ends with '/'");
    expectNoVolumeName("/", true, "starts or ends with '/'");
}


static void
testVolumeNameEmptyPart(void)
{
    expectNoVolumeName("a//b", true, "empty part");
}


static void
testVolumeNameControlCharacters(void)
{
    expectNoVolumeName("a\nb", true, "'a\\nb'");
    expectNoVolumeName("a\tb", true, "control characters");
    expectNoVolumeName("a\177", true, "control characters");
    expectNoVolumeName("\033[2J", true, "control characters");
    expectNoVolumeName("a\302\205b", true, "control characters"); /* U+0085 */
}


static void
testVolumeNameNotUTF8(void)
{
    expectNoVolumeName("a\377b", true, "'a\\377b'");
    expectNoVolumeName("a\303", true, "UTF-8");
}


/* XML has no way to write it. */
static void
testVolumeNameNotInXML(void)
{
    expectNoVolumeName("a\357\277\277", true, NULL);
}


static void
testVolumeNameAt(void)
{
    expectNoVolumeName("a@live", true, "'@'");
}


static void
testVolumeNamePartTooLong(void)
{
    g_autofree char *longest = g_strnfill(255, 'v');
    g_autofree char *longer = g_strnfill(256, 'v');
    g_autofree char *nested = g_strdup_printf("a/%s/b", longer);

    expectVolumeName(longest, false);
    expectNoVolumeName(longer, false, "255 bytes");
    expectNoVolumeName(nested, true, "255 bytes");
}


static void
testVolumeNameTooLong(void)
{
    g_autoptr(GString) name = g_string_new("v");

    while (name->len < 4095)
        g_string_append(name, "/v");
    g_assert_cmpuint(name->len, ==, 4095);
    expectVolumeName(name->str, true);

    g_string_append(name, "v");
    expectNoVolumeName(name->str, true, "4095 bytes");
}


static void
testLVMNames(void)
{
    g_assert_true(virStorageRevLVMNameIsValid("vm-pool"));
    g_assert_true(virStorageRevLVMNameIsValid("a_b+c.d"));
    g_assert_false(virStorageRevLVMNameIsValid(""));
    g_assert_false(virStorageRevLVMNameIsValid("-a"));
    g_assert_false(virStorageRevLVMNameIsValid("."));
    g_assert_false(virStorageRevLVMNameIsValid(".."));
    g_assert_false(virStorageRevLVMNameIsValid("a b"));
    g_assert_false(virStorageRevLVMNameIsValid("a/b"));
    g_assert_false(virStorageRevLVMNameIsValid("a@b"));
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/parse/head", testParseHead);
    g_test_add_func("/parse/head-keeps-everything-but-at", testParseHeadKeepsEverythingButAt);
    g_test_add_func("/parse/live", testParseLive);
    g_test_add_func("/parse/numbered", testParseNumbered);
    g_test_add_func("/parse/largest-id", testParseLargestId);
    g_test_add_func("/parse/pinned", testParsePinned);
    g_test_add_func("/parse/live-in-other-case", testParseLiveInOtherCase);
    g_test_add_func("/parse/nothing", testParseNothing);
    g_test_add_func("/parse/no-volume", testParseNoVolume);
    g_test_add_func("/parse/nothing-behind-at", testParseNothingBehindAt);
    g_test_add_func("/parse/two-ats", testParseTwoAts);
    g_test_add_func("/parse/id-zero", testParseIdZero);
    g_test_add_func("/parse/id-with-leading-zero", testParseIdWithLeadingZero);
    g_test_add_func("/parse/id-too-large", testParseIdTooLarge);
    g_test_add_func("/parse/id-with-sign", testParseIdWithSign);
    g_test_add_func("/parse/id-with-tail", testParseIdWithTail);
    g_test_add_func("/parse/word-with-other-characters", testParseWordWithOtherCharacters);
    g_test_add_func("/parse/error-is-printable", testParseErrorIsPrintable);
    g_test_add_func("/parse/clear-twice", testClearTwice);

    g_test_add_func("/word/greatest-length", testWordOfGreatestLength);
    g_test_add_func("/word/starts-with-letter", testWordStartsWithLetter);
    g_test_add_func("/word/not-live", testWordIsNotLive);
    g_test_add_func("/word/missing", testWordMissing);

    g_test_add_func("/volume/plain", testVolumeNamePlain);
    g_test_add_func("/volume/nested", testVolumeNameNested);
    g_test_add_func("/volume/nested-where-not-allowed", testVolumeNameNestedWhereNotAllowed);
    g_test_add_func("/volume/empty", testVolumeNameEmpty);
    g_test_add_func("/volume/dots", testVolumeNameDots);
    g_test_add_func("/volume/slash-at-the-ends", testVolumeNameSlashAtTheEnds);
    g_test_add_func("/volume/empty-part", testVolumeNameEmptyPart);
    g_test_add_func("/volume/control-characters", testVolumeNameControlCharacters);
    g_test_add_func("/volume/not-utf8", testVolumeNameNotUTF8);
    g_test_add_func("/volume/not-in-xml", testVolumeNameNotInXML);
    g_test_add_func("/volume/at", testVolumeNameAt);
    g_test_add_func("/volume/part-too-long", testVolumeNamePartTooLong);
    g_test_add_func("/volume/too-long", testVolumeNameTooLong);
    g_test_add_func("/volume/lvm", testLVMNames);

    return g_test_run();
}
