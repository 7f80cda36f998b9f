/*
 * test-thin-tag.c: metadata as tags of logical volumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_thin_tag.h"
#include "virerror.h"

#define PREFIX "libvirt="
#define PREFIX_NEXT "libvirt.next="

/* what LVM takes for a tag */
#define TAG_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-/=!:&#"


/* The generation tells which tag was taken; 0: none. */
static void
expectGeneration(const char * const *tags,
                 unsigned int thinId,
                 unsigned long long generation)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    g_assert_cmpint(virStorageThinTagsParse(tags, thinId, &meta), ==, generation > 0);
    g_assert_cmpuint(meta.generation, ==, generation);
    unitExpectNoError();
}


static void
testFormat(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *tag = NULL;

    virStorageRevMetaInit(&meta);
    meta.generation = 3;
    meta.thinId = 7;
    tag = virStorageThinTagFormat(&meta);
    g_assert_cmpstr(tag, ==, PREFIX "1&g=3&d=7");
}


static void
testFormatIsATag(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *tag = NULL;

    virStorageRevMetaInit(&meta);
    meta.volumeHash = virStorageRevMetaHash("root");
    meta.snapOnStart = true;
    meta.saveOnStop = false;
    meta.source = g_strdup("a,b c\"d@e\303\251");
    tag = virStorageThinTagFormat(&meta);
    g_assert_nonnull(tag);
    g_assert_cmpuint(strspn(tag, TAG_CHARS), ==, strlen(tag));
    g_assert_true(virStorageThinTagIsOurs(tag));
}


static void
testFormatThatCannotBe(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    meta.volumeHash = virStorageRevMetaHash("root");
    meta.snapOnStart = true;
    meta.saveOnStop = false;
    meta.source = g_strnfill(250, 's');
    g_assert_null(virStorageThinTagFormat(&meta));
    unitExpectError(VIR_ERR_INVALID_ARG, "too long");
}


static void
testRoundTrip(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    const char *tags[] = { PREFIX "1&g=8&c=1795197600&n=8a5edab282632443&l=yn&s=base&k=0&i=9&x=6&d=4", NULL };
    g_autofree char *again = NULL;

    virStorageRevMetaInit(&meta);
    g_assert_true(virStorageThinTagsParse(tags, 4, &meta));
    again = virStorageThinTagFormat(&meta);
    g_assert_cmpstr(again, ==, tags[0]);
}


static void
testIsOurs(void)
{
    g_assert_true(virStorageThinTagIsOurs("libvirt=1"));
    g_assert_true(virStorageThinTagIsOurs("libvirt=other"));
    g_assert_true(virStorageThinTagIsOurs("libvirt.next=1"));
    g_assert_false(virStorageThinTagIsOurs("libvirt.next"));
    g_assert_false(virStorageThinTagIsOurs("libvirt.other=1"));
    g_assert_false(virStorageThinTagIsOurs("libvirt"));
    g_assert_false(virStorageThinTagIsOurs("Libvirt=1"));
    g_assert_false(virStorageThinTagIsOurs("xlibvirt=1"));
    g_assert_false(virStorageThinTagIsOurs(""));
}


static void
testNoTags(void)
{
    const char *tags[] = { NULL };

    expectGeneration(tags, 1, 0);
    expectGeneration(NULL, 1, 0);
}


static void
testForeignTags(void)
{
    const char *tags[] = { "a", "1&g=9", "libvirt", "pcmk.owner", NULL };

    expectGeneration(tags, 1, 0);
}


static void
testOneAmongForeignTags(void)
{
    const char *tags[] = { "a", PREFIX "1&g=2", "libvirt-host", NULL };

    expectGeneration(tags, 1, 2);
}


static void
testWithoutThinId(void)
{
    const char *tags[] = { PREFIX "1&g=2", NULL };

    expectGeneration(tags, 1, 2);
    expectGeneration(tags, 0, 2);
}


static void
testOfThisDevice(void)
{
    const char *tags[] = { PREFIX "1&g=2&d=5", NULL };

    expectGeneration(tags, 5, 2);
}


/* A merge that has not come yet. */
static void
testOfAnotherDevice(void)
{
    const char *tags[] = { PREFIX "1&g=2&d=5", NULL };

    expectGeneration(tags, 6, 0);
}


static void
testOfADeviceThatIsNotKnown(void)
{
    const char *tags[] = { PREFIX "1&g=2&d=5", NULL };
    const char *none[] = { PREFIX "1&g=2&d=0", NULL };

    expectGeneration(tags, 0, 0);
    expectGeneration(none, 0, 2);
}


/* Before and after a merge. */
static void
testOfTwoDevices(void)
{
    const char *tags[] = { PREFIX "1&g=2&d=5", PREFIX "1&g=3&d=6", NULL };

    expectGeneration(tags, 5, 2);
    expectGeneration(tags, 6, 3);
    expectGeneration(tags, 7, 0);
}


/* The first merge of an LV whose metadata has not named a device before; LVM keeps tags in no order. */
static void
testWithAndWithoutThinId(void)
{
    const char *tags[] = { PREFIX "1&g=2", PREFIX "1&g=3&d=6", NULL };
    const char *reversed[] = { PREFIX "1&g=3&d=6", PREFIX "1&g=2", NULL };

    expectGeneration(tags, 6, 3);
    expectGeneration(reversed, 6, 3);
    expectGeneration(tags, 5, 2);
    expectGeneration(reversed, 5, 2);
}


static void
testTwoWithoutThinId(void)
{
    const char *tags[] = { PREFIX "1&g=2", PREFIX "1&g=3", NULL };

    expectGeneration(tags, 5, 2);
}


static void
testInvalid(void)
{
    const char *tags[] = { PREFIX, PREFIX "2&g=9", PREFIX "1&g=x", PREFIX "1&k=10001", PREFIX "1&d=4294967296", NULL };

    expectGeneration(tags, 1, 0);
}


static void
testInvalidBesideAValidOne(void)
{
    const char *tags[] = { PREFIX "1&g=x&d=5", PREFIX "1&g=2", PREFIX "nonsense", NULL };

    expectGeneration(tags, 5, 2);
}


/* What was there before stays where there is nothing to be read. */
static void
testNothingFoundLeavesMetadata(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    const char *tags[] = { PREFIX "1&g=x", PREFIX "1&g=3&d=6", NULL };

    virStorageRevMetaInit(&meta);
    g_assert_false(virStorageThinTagsParse(tags, 5, &meta));
    g_assert_cmpint(meta.format, ==, VIR_STORAGE_FILE_RAW);
    g_assert_true(meta.saveOnStop);
    g_assert_cmpint(meta.keep, ==, VIR_STORAGE_REV_KEEP_UNSET);
    g_assert_null(meta.volumeHash);
}


/* LVM takes tags of 1,023 bytes, more than we ever write. */
static void
testLongest(void)
{
    g_autofree char *rest = g_strnfill(1023 - strlen(PREFIX "1&g=2&Z="), 'z');
    g_autofree char *tag = g_strconcat(PREFIX "1&g=2&Z=", rest, NULL);
    const char *tags[] = { tag, NULL };

    expectGeneration(tags, 1, 2);
}


static void
testLongestWritten(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *tag = NULL;
    const char *tags[] = { NULL, NULL };
    size_t i;

    virStorageRevMetaInit(&meta);
    meta.generation = 5;
    meta.thinId = UINT_MAX;
    for (i = 0; i < 20; i++)
        virStorageRevMetaSetOrigin(&meta, "a-long-name-of-a-volume", &meta);
    tags[0] = tag = virStorageThinTagFormat(&meta);
    g_assert_nonnull(tag);
    g_assert_cmpuint(strlen(tag), <=, strlen(PREFIX) + VIR_STORAGE_REV_META_MAX);
    expectGeneration(tags, UINT_MAX, 5);
}


/* What a revision says of the head that followed is nothing about itself. */
static void
testNextIsNotOfTheRevision(void)
{
    const char *tags[] = { PREFIX_NEXT "1&g=3&d=6", PREFIX "1&g=2", NULL };
    const char *alone[] = { PREFIX_NEXT "1&g=3&d=6", PREFIX_NEXT "1&g=3", NULL };

    expectGeneration(tags, 6, 2);
    expectGeneration(alone, 6, 0);
}


static void
expectNext(const char * const *tags,
           unsigned long long generation,
           unsigned int thinId)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    g_assert_cmpint(virStorageThinTagsParseNext(tags, &meta), ==, thinId > 0);
    g_assert_cmpuint(meta.generation, ==, generation);
    g_assert_cmpuint(meta.thinId, ==, thinId);
    unitExpectNoError();
}


static void
testNextFormat(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_autofree char *tag = NULL;

    virStorageRevMetaInit(&meta);
    meta.generation = 3;
    meta.thinId = 7;
    tag = virStorageThinTagFormatNext(&meta);
    g_assert_cmpstr(tag, ==, PREFIX_NEXT "1&g=3&d=7");
}


static void
testNext(void)
{
    const char *tags[] = { "other", PREFIX "1&g=2", PREFIX_NEXT "1&g=3&d=6", NULL };

    expectNext(tags, 3, 6);
}


static void
testNextMissing(void)
{
    const char *tags[] = { "other", PREFIX "1&g=2&d=5", NULL };

    expectNext(tags, 0, 0);
    expectNext(NULL, 0, 0);
}


/* It would be about any head. */
static void
testNextWithoutThinId(void)
{
    const char *tags[] = { PREFIX_NEXT "1&g=3", NULL };

    expectNext(tags, 0, 0);
}


static void
testNextInvalid(void)
{
    const char *tags[] = { PREFIX_NEXT, PREFIX_NEXT "1&g=x&d=6", PREFIX_NEXT "2&d=6", NULL };
    const char *beside[] = { PREFIX_NEXT "1&g=x&d=6", PREFIX_NEXT "1&g=3&d=6", NULL };

    expectNext(tags, 0, 0);
    expectNext(beside, 3, 6);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/format/plain", testFormat);
    g_test_add_func("/format/is-a-tag", testFormatIsATag);
    g_test_add_func("/format/that-cannot-be", testFormatThatCannotBe);
    g_test_add_func("/format/round-trip", testRoundTrip);

    g_test_add_func("/is-ours", testIsOurs);
    g_test_add_func("/parse/no-tags", testNoTags);
    g_test_add_func("/parse/foreign-tags", testForeignTags);
    g_test_add_func("/parse/one-among-foreign-tags", testOneAmongForeignTags);
    g_test_add_func("/parse/without-thin-id", testWithoutThinId);
    g_test_add_func("/parse/of-this-device", testOfThisDevice);
    g_test_add_func("/parse/of-another-device", testOfAnotherDevice);
    g_test_add_func("/parse/of-a-device-that-is-not-known", testOfADeviceThatIsNotKnown);
    g_test_add_func("/parse/of-two-devices", testOfTwoDevices);
    g_test_add_func("/parse/with-and-without-thin-id", testWithAndWithoutThinId);
    g_test_add_func("/parse/two-without-thin-id", testTwoWithoutThinId);
    g_test_add_func("/parse/invalid", testInvalid);
    g_test_add_func("/parse/invalid-beside-a-valid-one", testInvalidBesideAValidOne);
    g_test_add_func("/parse/nothing-found-leaves-metadata", testNothingFoundLeavesMetadata);
    g_test_add_func("/parse/longest", testLongest);
    g_test_add_func("/parse/longest-written", testLongestWritten);

    g_test_add_func("/next/not-of-the-revision", testNextIsNotOfTheRevision);
    g_test_add_func("/next/format", testNextFormat);
    g_test_add_func("/next/parse", testNext);
    g_test_add_func("/next/missing", testNextMissing);
    g_test_add_func("/next/without-thin-id", testNextWithoutThinId);
    g_test_add_func("/next/invalid", testNextInvalid);

    return g_test_run();
}
