/*
 * test-meta.c: the metadata that travels with a volume's storage
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_revision_meta.h"
#include "viralloc.h"
#include "virerror.h"
#include "viruuid.h"

/* all that there is, in the order in which it is written */
#define EVERYTHING \
    "1&f=qcow2&g=8&c=1795197600&n=8a5edab282632443&l=ynk&s=a/b!20c&k=0&i=9&x=6&N=w!20b" \
    "&b=7&t=beef&S=1&u=r00112233445566778899aabbccddeeff&h=1:2.3&d=10&D=1&P=1&L=a!20b/c&o=fedora-root#3&o=fedora!26base#1"


static void
parse(const char *text,
      virStorageRevMeta *meta)
{
    virStorageRevMetaInit(meta);
    g_assert_cmpint(virStorageRevMetaParse(text, strlen(text), meta), ==, 0);
    unitExpectNoError();
}


static void
expectDefaults(const virStorageRevMeta *meta)
{
    g_assert_cmpint(meta->format, ==, VIR_STORAGE_FILE_RAW);
    g_assert_cmpuint(meta->generation, ==, 0);
    g_assert_cmpint(meta->created, ==, 0);
    g_assert_cmpuint(meta->norigins, ==, 0);
    g_assert_null(meta->origins);
    g_assert_null(meta->volumeHash);
    g_assert_false(meta->snapOnStart);
    g_assert_true(meta->saveOnStop);
    g_assert_cmpint(meta->onCrash, ==, VIR_STORAGE_REV_ON_CRASH_COMMIT);
    g_assert_null(meta->source);
    g_assert_cmpint(meta->keep, ==, VIR_STORAGE_REV_KEEP_UNSET);
    g_assert_cmpuint(meta->nextId, ==, 0);
    g_assert_cmpuint(meta->pruneUpTo, ==, 0);
    g_assert_cmpuint(meta->base, ==, 0);
    g_assert_cmpuint(meta->boot, ==, 0);
    g_assert_false(meta->staged);
    g_assert_cmpint(meta->use, ==, VIR_STORAGE_REV_USE_NONE);
    g_assert_null(meta->headStamp);
    g_assert_cmpuint(meta->thinId, ==, 0);
    g_assert_null(meta->name);
    g_assert_false(meta->folder);
    g_assert_false(meta->pending);
    g_assert_null(meta->leaving);
}


static void
expectRefusedBytes(const char *text,
                   size_t len)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    parse(EVERYTHING, &meta);
    g_assert_cmpint(virStorageRevMetaParse(text, len, &meta), ==, -1);
    expectDefaults(&meta);
    unitExpectNoError();
}


static void
expectRefused(const char *text)
{
    g_test_message("%s", text);
    expectRefusedBytes(text, strlen(text));
}


static void
expectFormat(const virStorageRevMeta *meta,
             const char *text)
{
    g_autofree char *got = virStorageRevMetaFormat(meta);

    g_assert_cmpstr(got, ==, text);
}


static void
expectRoundTrip(const char *text)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    parse(text, &meta);
    expectFormat(&meta, text);
}


static void
addOrigin(virStorageRevMeta *meta,
          const char *volume,
          unsigned long long generation)
{
    virStorageRevOrigin origin = { .volume = g_strdup(volume), .generation = generation };

    VIR_APPEND_ELEMENT(meta->origins, meta->norigins, origin);
}


static void
testInit(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    expectDefaults(&meta);
}


static void
testFormatDefaults(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    expectFormat(&meta, "1");
}


static void
testRoundTripOfDefaults(void)
{
    expectRoundTrip("1");
}


static void
testRoundTripOfEverything(void)
{
    expectRoundTrip(EVERYTHING);
}


static void
testParseEverything(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    char domain[VIR_UUID_STRING_BUFLEN];

    parse(EVERYTHING, &meta);
    g_assert_cmpint(meta.format, ==, VIR_STORAGE_FILE_QCOW2);
    g_assert_cmpuint(meta.generation, ==, 8);
    g_assert_cmpint(meta.created, ==, 1795197600);
    g_assert_cmpstr(meta.volumeHash, ==, "8a5edab282632443");
    g_assert_true(meta.snapOnStart);
    g_assert_false(meta.saveOnStop);
    g_assert_cmpint(meta.onCrash, ==, VIR_STORAGE_REV_ON_CRASH_KEEP);
    g_assert_cmpstr(meta.source, ==, "a/b c");
    g_assert_cmpint(meta.keep, ==, 0);
    g_assert_cmpuint(meta.nextId, ==, 9);
    g_assert_cmpuint(meta.pruneUpTo, ==, 6);
    g_assert_cmpuint(meta.base, ==, 7);
    g_assert_cmpuint(meta.boot, ==, 0xbeef);
    g_assert_true(meta.staged);
    g_assert_cmpint(meta.use, ==, VIR_STORAGE_REV_USE_STARTED);
    virUUIDFormat(meta.domain, domain);
    g_assert_cmpstr(domain, ==, "00112233-4455-6677-8899-aabbccddeeff");
    g_assert_cmpstr(meta.headStamp, ==, "1:2.3");
    g_assert_cmpuint(meta.thinId, ==, 10);
    g_assert_cmpstr(meta.name, ==, "w b");
    g_assert_true(meta.folder);
    g_assert_true(meta.pending);
    g_assert_cmpstr(meta.leaving, ==, "a b/c");
    g_assert_cmpuint(meta.norigins, ==, 2);
    g_assert_cmpstr(meta.origins[0].volume, ==, "fedora-root");
    g_assert_cmpuint(meta.origins[0].generation, ==, 3);
    g_assert_cmpstr(meta.origins[1].volume, ==, "fedora&base");
    g_assert_cmpuint(meta.origins[1].generation, ==, 1);
}


static void
testParseVolatile(void)
{
    expectRoundTrip("1&n=8a5edab282632443&l=nn");
}


static void
testParseExplicitDefaults(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    parse("1&f=raw&g=0&l=ny&d=0", &meta);
    expectDefaults(&meta);
}


static void
testParseLargestNumbers(void)
{
    expectRoundTrip("1&g=18446744073709551615&c=9223372036854775807&n=8a5edab282632443"
                    "&i=18446744073709551615&x=18446744073709551615&b=18446744073709551615&t=ffffffff&d=4294967295");
}


static void
testParseReplacesWhatWasThere(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    parse(EVERYTHING, &meta);
    g_assert_cmpint(virStorageRevMetaParse("1&g=5", 5, &meta), ==, 0);
    g_assert_cmpuint(meta.generation, ==, 5);
    meta.generation = 0;
    expectDefaults(&meta);
}


static void
testParseNotTerminated(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    const char text[] = { '1', '&', 'g', '=', '5', '6' };

    virStorageRevMetaInit(&meta);
    g_assert_cmpint(virStorageRevMetaParse(text, 5, &meta), ==, 0);
    g_assert_cmpuint(meta.generation, ==, 5);
}


static void
testParseUnknownKeys(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    parse("1&Z=what ever=it&zone=7&g=5&zone=8&9=", &meta);
    g_assert_cmpuint(meta.generation, ==, 5);
}


static void
testParseUnknownVersion(void)
{
    expectRefused("2&g=5");
    expectRefused("11&g=5");
    expectRefused("1.1&g=5");
    expectRefused("g=5");
}


static void
testParseEmpty(void)
{
    expectRefused("");
    expectRefusedBytes(NULL, 0);
}


static void
testParseTruncated(void)
{
    expectRefused("1&");
    expectRefused("1&g");
    expectRefused("1&g=");
    expectRefused("1&g=5&");
    expectRefused("1&n=8a5edab28263244");
    expectRefused("1&n=8a5edab282632443&l=y");
    expectRefused("1&l=yn&s=");
    expectRefused("1&l=yn&s=a!");
    expectRefused("1&l=yn&s=a!2");
    expectRefused("1&o=a");
    expectRefused("1&o=a#");
}


static void
testParseEmbeddedNul(void)
{
    expectRefusedBytes("1&g=5\0", 6);
    expectRefusedBytes("1&g=5\0&c=7", 10);
    expectRefusedBytes("\0", 1);
    expectRefused("1&l=yn&s=a!00b");
}


static void
testParseTooLong(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autoptr(GString) text = g_string_new("1&g=5&Z=");

    while (text->len < 4096)
        g_string_append_c(text, 'z');
    parse(text->str, &meta);

    g_string_append_c(text, 'z');
    expectRefused(text->str);
}


static void
testParseNumbersThatAreNone(void)
{
    expectRefused("1&g=x");
    expectRefused("1&g=-1");
    expectRefused("1&g=+1");
    expectRefused("1&g= 1");
    expectRefused("1&g=0x1");
    expectRefused("1&g=1.5");
    expectRefused("1&t=xyz");
    expectRefused("1&t=0xbeef");
    expectRefused("1&d=");
    expectRefused("1&d=a");
    expectRefused("1&d=-1");
}


static void
testParseNumbersTooLarge(void)
{
    expectRefused("1&g=18446744073709551616");
    expectRefused("1&c=9223372036854775808");
    expectRefused("1&k=10001");
    expectRefused("1&t=100000000");
    expectRefused("1&d=4294967296");
}


static void
testParseKeyTwice(void)
{
    expectRefused("1&g=5&g=5");
    expectRefused("1&n=8a5edab282632443&n=8a5edab282632443");
    expectRefused("1&d=5&d=5");
}


static void
testParseUnknownFormat(void)
{
    expectRefused("1&f=qcow9");
    expectRefused("1&f=none");
    expectRefused("1&f=");
}


static void
testParseBadHash(void)
{
    expectRefused("1&n=8A5EDAB282632443");
    expectRefused("1&n=8a5edab2826324430");
    expectRefused("1&n=");
}


/* What cannot be asked for cannot be recorded. */
static void
testParseBadLifecycle(void)
{
    expectRefused("1&l=yy&s=a");
    expectRefused("1&l=yn");
    expectRefused("1&s=a");
    expectRefused("1&l=ny&s=a");
    expectRefused("1&l=no");
    expectRefused("1&l=");
    expectRefused("1&l=nyx");
    expectRefused("1&l=nykk");
}


static void
testParseBadUse(void)
{
    expectRefused("1&u=");
    expectRefused("1&u=s");
    expectRefused("1&u=x00112233445566778899aabbccddeeff");
    expectRefused("1&u=s00112233445566778899aabbccddeef");
    expectRefused("1&u=s00112233445566778899aabbccddeeffa");
    expectRefused("1&u=s00112233445566778899aabbccddeefg");
}


static void
testParseBadStaged(void)
{
    expectRefused("1&S=0");
    expectRefused("1&S=");
}


static void
testParseBadMarksOfDirectories(void)
{
    expectRefused("1&D=0");
    expectRefused("1&P=2");
    expectRefused("1&N=");
}


static void
testParseUnprintable(void)
{
    expectRefused("1&l=yn&s=a!0A");
    expectRefused("1&l=yn&s=a!FF");
    expectRefused("1&o=a!1B#2");
    expectRefused("1&h=!7F");
}


static void
testParseNotEscaped(void)
{
    expectRefused("1&l=yn&s=a b");
    expectRefused("1&l=yn&s=a#b");
    expectRefused("1&l=yn&s=a@7");
    expectRefused("1&o=a#1#2");
    expectRefused("1&o=#2");
}


static void
testEscape(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_auto(virStorageRevMeta) again = { 0 };
    g_autofree char *text = NULL;
    const char *allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-/=!:&#";

    virStorageRevMetaInit(&meta);
    meta.volumeHash = g_strdup("8a5edab282632443");
    meta.snapOnStart = true;
    meta.saveOnStop = false;
    meta.source = g_strdup("!\"#$%&'()*+,-./09:;<=>?AZ[\\]^_`az{|}~ \303\251");

    text = virStorageRevMetaFormat(&meta);
    g_assert_nonnull(text);
    g_assert_cmpuint(strspn(text, allowed), ==, strlen(text));

    parse(text, &again);
    g_assert_cmpstr(again.source, ==, meta.source);
}


static void
testFormatWithoutHashHasNoVolumeFacts(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    meta.saveOnStop = false;
    meta.keep = 3;
    meta.nextId = 4;
    meta.pruneUpTo = 2;
    expectFormat(&meta, "1");
}


static void
testFormatDropsFarOrigins(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_auto(virStorageRevMeta) again = { 0 };
    g_autofree char *text = NULL;
    size_t i;

    virStorageRevMetaInit(&meta);
    for (i = 0; i < 20; i++) {
        g_autofree char *name = g_strdup_printf("volume-number-%02zu", i);

        addOrigin(&meta, name, i);
    }

    text = virStorageRevMetaFormat(&meta);
    g_assert_nonnull(text);
    g_assert_cmpuint(strlen(text), <=, VIR_STORAGE_REV_META_MAX);

    parse(text, &again);
    g_assert_cmpuint(again.norigins, ==, 9);
    for (i = 0; i < again.norigins; i++)
        g_assert_cmpstr(again.origins[i].volume, ==, meta.origins[i].volume);
}


/* An ancestry with a hole in it would be a wrong one. */
static void
testFormatDropsAllBehindTheFirstThatDoesNotFit(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *longName = g_strnfill(250, 'v');

    virStorageRevMetaInit(&meta);
    addOrigin(&meta, "near", 1);
    addOrigin(&meta, longName, 1);
    addOrigin(&meta, "far", 1);
    expectFormat(&meta, "1&o=near#1");
}


static void
testFormatFillsToTheLimit(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *fits = g_strnfill(VIR_STORAGE_REV_META_MAX - strlen("1&o=#1"), 'v');
    g_autofree char *tooLong = g_strconcat(fits, "v", NULL);
    g_autofree char *text = NULL;

    virStorageRevMetaInit(&meta);
    addOrigin(&meta, fits, 1);
    text = virStorageRevMetaFormat(&meta);
    g_assert_cmpuint(strlen(text), ==, VIR_STORAGE_REV_META_MAX);

    g_free(meta.origins[0].volume);
    meta.origins[0].volume = g_steal_pointer(&tooLong);
    expectFormat(&meta, "1");
}


static void
testFormatSourceTooLong(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *part = g_strnfill(100, 's');

    virStorageRevMetaInit(&meta);
    meta.volumeHash = g_strdup("8a5edab282632443");
    meta.snapOnStart = true;
    meta.saveOnStop = false;
    meta.source = g_strdup_printf("%s/%s", part, part);

    g_assert_null(virStorageRevMetaFormat(&meta));
    unitExpectError(VIR_ERR_INVALID_ARG, meta.source);
}


/* The most that a volume with a source can need, beside the source itself. */
static void
testFormatHasRoomForASource(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *text = NULL;

    parse("1&f=qcow2&g=1000000&c=1795197600&n=8a5edab282632443&l=yn&s=x&k=10000&i=1000000&x=1000000"
          "&b=1000000&t=ffffffff&S=1&d=16777215", &meta);
    g_free(meta.source);
    meta.source = g_strnfill(64, 's');
    text = virStorageRevMetaFormat(&meta);
    g_assert_nonnull(text);
}


static void
testClearTwice(void)
{
    virStorageRevMeta meta;

    parse(EVERYTHING, &meta);
    virStorageRevMetaClear(&meta);
    expectDefaults(&meta);
    virStorageRevMetaClear(&meta);
    virStorageRevMetaClear(NULL);
}


static void
testBoot(void)
{
    g_assert_cmpuint(virStorageRevMetaBoot(), !=, 0);
    g_assert_cmpuint(virStorageRevMetaBoot(), ==, virStorageRevMetaBoot());
}


/* Anything may be in an attribute; what is taken has to be what is written again. */
static void
testParseRandom(void)
{
    const char alphabet[] = "1&=!#:/.a0Ff" "gcnlskixbtShdo" "yn\n\377 ";
    size_t round;

    for (round = 0; round < 200000; round++) {
        g_auto(virStorageRevMeta) meta = { 0 };
        g_auto(virStorageRevMeta) again = { 0 };
        g_autofree char *text = NULL;
        char random[24] = "1&";
        size_t len = g_test_rand_int_range(2, sizeof(random));
        size_t i;

        for (i = 2; i < len; i++)
            random[i] = alphabet[g_test_rand_int_range(0, sizeof(alphabet) - 1)];

        virStorageRevMetaInit(&meta);
        if (virStorageRevMetaParse(random, len, &meta) < 0)
            continue;

        text = virStorageRevMetaFormat(&meta);
        g_assert_nonnull(text);
        parse(text, &again);
        expectFormat(&again, text);
    }
}


static void
addParseTests(void)
{
    g_test_add_func("/parse/everything", testParseEverything);
    g_test_add_func("/parse/volatile", testParseVolatile);
    g_test_add_func("/parse/explicit-defaults", testParseExplicitDefaults);
    g_test_add_func("/parse/largest-numbers", testParseLargestNumbers);
    g_test_add_func("/parse/replaces-what-was-there", testParseReplacesWhatWasThere);
    g_test_add_func("/parse/not-terminated", testParseNotTerminated);
    g_test_add_func("/parse/unknown-keys", testParseUnknownKeys);
    g_test_add_func("/parse/unknown-version", testParseUnknownVersion);
    g_test_add_func("/parse/empty", testParseEmpty);
    g_test_add_func("/parse/truncated", testParseTruncated);
    g_test_add_func("/parse/embedded-nul", testParseEmbeddedNul);
    g_test_add_func("/parse/too-long", testParseTooLong);
    g_test_add_func("/parse/numbers-that-are-none", testParseNumbersThatAreNone);
    g_test_add_func("/parse/numbers-too-large", testParseNumbersTooLarge);
    g_test_add_func("/parse/key-twice", testParseKeyTwice);
    g_test_add_func("/parse/unknown-format", testParseUnknownFormat);
    g_test_add_func("/parse/bad-hash", testParseBadHash);
    g_test_add_func("/parse/bad-lifecycle", testParseBadLifecycle);
    g_test_add_func("/parse/bad-staged", testParseBadStaged);
    g_test_add_func("/parse/bad-use", testParseBadUse);
    g_test_add_func("/parse/bad-marks-of-directories", testParseBadMarksOfDirectories);
    g_test_add_func("/parse/unprintable", testParseUnprintable);
    g_test_add_func("/parse/not-escaped", testParseNotEscaped);
    g_test_add_func("/parse/random", testParseRandom);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/init", testInit);
    g_test_add_func("/clear-twice", testClearTwice);
    g_test_add_func("/boot", testBoot);
    addParseTests();

    g_test_add_func("/format/defaults", testFormatDefaults);
    g_test_add_func("/format/round-trip-of-defaults", testRoundTripOfDefaults);
    g_test_add_func("/format/round-trip-of-everything", testRoundTripOfEverything);
    g_test_add_func("/format/escape", testEscape);
    g_test_add_func("/format/no-volume-facts-without-hash", testFormatWithoutHashHasNoVolumeFacts);
    g_test_add_func("/format/drops-far-origins", testFormatDropsFarOrigins);
    g_test_add_func("/format/drops-all-behind-the-first-that-does-not-fit",
                    testFormatDropsAllBehindTheFirstThatDoesNotFit);
    g_test_add_func("/format/fills-to-the-limit", testFormatFillsToTheLimit);
    g_test_add_func("/format/source-too-long", testFormatSourceTooLong);
    g_test_add_func("/format/room-for-a-source", testFormatHasRoomForASource);

    return g_test_run();
}
