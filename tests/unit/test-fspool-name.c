/*
 * test-fspool-name.c: names of the directories that hold volumes and their revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_fspool_name.h"
#include "virerror.h"

#define POOL "/srv/pool"


static void
expectDecoded(const char *entry,
              const char *volume)
{
    g_autofree char *got = virStorageFspoolNameDecode(entry);

    g_test_message("%s", entry);
    g_assert_cmpstr(got, ==, volume);
}


/* Also the other way round. */
static void
expectEncoded(const char *volume,
              const char *entry)
{
    g_autofree char *got = virStorageFspoolNameEncode(volume);

    g_assert_cmpstr(got, ==, entry);
    expectDecoded(entry, volume);
}


static void
testEncodePlain(void)
{
    expectEncoded("web", "web");
    expectEncoded("größe", "größe");
}


static void
testEncodeNested(void)
{
    expectEncoded("appvms/work/data", "appvms%2Fwork%2Fdata");
}


static void
testEncodePercent(void)
{
    expectEncoded("50%2F", "50%252F");
}


static void
testEncodedNamesDiffer(void)
{
    g_autofree char *nested = virStorageFspoolNameEncode("a/b");
    g_autofree char *plain = virStorageFspoolNameEncode("a%2Fb");

    g_assert_cmpstr(nested, !=, plain);
}


static void
testDecodeStopsAtTheRevision(void)
{
    expectDecoded("a%2Fb@7", "a/b");
}


static void
testDecodeStopsAtTheNumber(void)
{
    expectDecoded("web~12", "web");
    expectDecoded("a~1~0", "a~1");
}


static void
testDecodeNeverWritten(void)
{
    expectDecoded("a%41", NULL);
    expectDecoded("a%2f", NULL);
    expectDecoded("a%", NULL);
    expectDecoded("@7", NULL);
    expectDecoded("~0", NULL);
}


static void
expectRevision(const char *entry,
               virStorageRevKind kind,
               const char *volume,
               unsigned long long id,
               const char *word)
{
    g_auto(virStorageRevName) name = { 0 };
    g_autofree char *again = virStorageFspoolRevisionFormat(volume, kind, id, word);

    g_assert_cmpint(virStorageFspoolRevisionParse(entry, &name), ==, 0);
    g_assert_cmpint(name.kind, ==, kind);
    g_assert_cmpstr(name.volume, ==, volume);
    g_assert_cmpuint(name.id, ==, id);
    g_assert_cmpstr(name.word, ==, word);
    g_assert_cmpstr(again, ==, entry);
    unitExpectNoError();
}


static void
expectNoRevision(const char *entry)
{
    g_auto(virStorageRevName) name = { 0 };

    g_test_message("%s", entry);
    g_assert_cmpint(virStorageFspoolRevisionParse(entry, &name), ==, -1);
    unitExpectNoError();
}


static void
testRevisionNumbered(void)
{
    expectRevision("a%2Fb@7", VIR_STORAGE_REV_NUMBERED, "a/b", 7, NULL);
}


static void
testRevisionPinned(void)
{
    expectRevision("web@before-upgrade", VIR_STORAGE_REV_PINNED, "web", 0, "before-upgrade");
}


static void
testRevisionThatIsNone(void)
{
    expectNoRevision("web");
    expectNoRevision("web@");
    expectNoRevision("web@live");
    expectNoRevision("web@07");
    expectNoRevision("@7");
    expectNoRevision("..@7");
    expectNoRevision("..%2Fweb@7");
    expectNoRevision("%2Fweb@7");
}


static void
testCheckOrdinaryNames(void)
{
    virStorageRevName plain = { .volume = (char *) "web" };
    virStorageRevName nested = { .volume = (char *) "a/.fspool" };

    g_assert_cmpint(virStorageFspoolNameCheck(&plain), ==, 0);
    g_assert_cmpint(virStorageFspoolNameCheck(&nested), ==, 0);
}


static void
expectRefused(const char *volume)
{
    virStorageRevName name = { .volume = (char *) volume };

    g_test_message("%s", volume);
    g_assert_cmpint(virStorageFspoolNameCheck(&name), ==, -1);
    unitExpectError(VIR_ERR_INVALID_ARG, volume);
}


static void
testCheckOwnDirectory(void)
{
    expectRefused(".fspool");
    expectRefused(".fspool/revisions");
}


static void
testCheckLostAndFound(void)
{
    expectRefused("lost+found");
    expectRefused("lost+found/x");
}


static void
testCheckLengthLeavesRoomForRevisions(void)
{
    g_autofree char *longest = g_strnfill(255 - 21, 'a');
    g_autofree char *beyond = g_strnfill(255 - 20, 'a');
    virStorageRevName name = { .volume = longest };

    g_assert_cmpint(virStorageFspoolNameCheck(&name), ==, 0);
    expectRefused(beyond);
}


static void
testCheckLengthIsThatOfTheEncodedName(void)
{
    g_autofree char *part = g_strnfill(116, 'a');
    g_autofree char *fits = g_strdup_printf("%s/%s", part, part + 1);
    g_autofree char *beyond = g_strdup_printf("%s/%s", part, part);
    virStorageRevName name = { .volume = fits };

    g_assert_cmpint(virStorageFspoolNameCheck(&name), ==, 0);
    expectRefused(beyond);
}


static void
testCheckLengthOfAPinnedRevision(void)
{
    g_autofree char *volume = g_strnfill(255 - 31, 'a');
    virStorageRevName fits = { .volume = volume, .kind = VIR_STORAGE_REV_PINNED, .word = (char *) "thirty-letters-and-not-a-one-m" };
    virStorageRevName beyond = { .volume = volume, .kind = VIR_STORAGE_REV_PINNED, .word = (char *) "thirty-letters-and-just-one-mor" };

    g_assert_cmpuint(strlen(fits.word), ==, 30);
    g_assert_cmpint(virStorageFspoolNameCheck(&fits), ==, 0);
    g_assert_cmpint(virStorageFspoolNameCheck(&beyond), ==, -1);
    unitExpectError(VIR_ERR_INVALID_ARG, "shorter word");
}


static void
testPathThatCannotBe(void)
{
    g_assert_null(virStorageFspoolPathProblem("teams/blue/web"));
    g_assert_nonnull(virStorageFspoolPathProblem("../web"));
    g_assert_nonnull(virStorageFspoolPathProblem("a/./b"));
    g_assert_nonnull(virStorageFspoolPathProblem(".fspool/trash/web"));
    g_assert_nonnull(virStorageFspoolPathProblem(""));
}


static void
expectBelow(const char *path,
            const char *below)
{
    g_autofree char *got = virStorageFspoolPathBelow(POOL, path);

    g_assert_cmpstr(got, ==, below);
}


static void
testPathBelowThePool(void)
{
    expectBelow(POOL "/web", "web");
    expectBelow(POOL "//a/b", "a/b");
}


static void
testPathElsewhere(void)
{
    expectBelow("/srv/web", NULL);
    expectBelow(POOL "-2/web", NULL);
    expectBelow(POOL, NULL);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/encode/plain", testEncodePlain);
    g_test_add_func("/encode/nested", testEncodeNested);
    g_test_add_func("/encode/percent", testEncodePercent);
    g_test_add_func("/encode/names-differ", testEncodedNamesDiffer);
    g_test_add_func("/decode/stops-at-the-revision", testDecodeStopsAtTheRevision);
    g_test_add_func("/decode/stops-at-the-number", testDecodeStopsAtTheNumber);
    g_test_add_func("/decode/never-written", testDecodeNeverWritten);

    g_test_add_func("/revision/numbered", testRevisionNumbered);
    g_test_add_func("/revision/pinned", testRevisionPinned);
    g_test_add_func("/revision/that-is-none", testRevisionThatIsNone);

    g_test_add_func("/check/ordinary-names", testCheckOrdinaryNames);
    g_test_add_func("/check/own-directory", testCheckOwnDirectory);
    g_test_add_func("/check/lost-and-found", testCheckLostAndFound);
    g_test_add_func("/check/length-leaves-room-for-revisions", testCheckLengthLeavesRoomForRevisions);
    g_test_add_func("/check/length-is-that-of-the-encoded-name", testCheckLengthIsThatOfTheEncodedName);
    g_test_add_func("/check/length-of-a-pinned-revision", testCheckLengthOfAPinnedRevision);

    g_test_add_func("/path/that-cannot-be", testPathThatCannotBe);
    g_test_add_func("/path/below-the-pool", testPathBelowThePool);
    g_test_add_func("/path/elsewhere", testPathElsewhere);

    return g_test_run();
}
