/*
 * test-facts.c: the metadata of states that are about to be made
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_revision_facts.h"

#define VOLUME "root"

/* hashes of "root" and of some other volume */
#define OURS "&n=4813494d137e1631"
#define OTHERS "&n=8a5edab282632443"

#define CAPACITY (1ULL << 30)


static void
parse(const char *text,
      virStorageRevMeta *meta)
{
    g_assert_cmpint(virStorageRevMetaParse(text, strlen(text), meta), ==, 0);
}


/* When a state is made is checked, and then out of the way. */
static void
expectFacts(virStorageRevMeta *meta,
            const char *text)
{
    g_autofree char *got = NULL;

    g_assert_cmpint(meta->created, >, 1700000000);
    meta->created = 0;
    got = virStorageRevMetaFormat(meta);
    g_assert_cmpstr(got, ==, text);
    unitExpectNoError();
}


/* The same for what keeps the time that it has. */
static void
expectSameTime(const virStorageRevMeta *meta,
               const char *text)
{
    g_autofree char *got = virStorageRevMetaFormat(meta);

    g_assert_cmpstr(got, ==, text);
    unitExpectNoError();
}


/* A family gets a state with the metadata that @text is; NULL: none. */
static virStorageRevState *
addState(virStorageRevFamily *family,
         virStorageRevKind kind,
         unsigned long long id,
         const char *text)
{
    virStorageRevState *state = virStorageRevStateNew(kind);

    state->id = id;
    state->capacity = CAPACITY;
    if (kind == VIR_STORAGE_REV_PINNED)
        state->word = g_strdup("word");
    if (text) {
        parse(text, &state->meta);
        state->hasMeta = true;
    }
    virStorageRevFamilyAdd(family, state);
    virStorageRevFamilySort(family);
    return state;
}


static virStorageRevFamily *
familyWithHead(const char *text)
{
    virStorageRevFamily *family = virStorageRevFamilyNew(VOLUME);

    g_assert_nonnull(family);
    addState(family, VIR_STORAGE_REV_HEAD, 0, text);
    return family;
}


static virStorageVolDef *
volume(const char *children)
{
    virStoragePoolDef pool = { .type = VIR_STORAGE_POOL_QUBES_THIN };
    g_autofree char *xml = g_strdup_printf("<volume><name>%s</name><capacity>1</capacity>%s</volume>", VOLUME, children);
    virStorageVolDef *def = virStorageVolDefParse(&pool, xml, NULL, 0);

    if (!def)
        g_error("%s", virGetLastErrorMessage());
    return def;
}


static void
expectNewHead(const char *children,
              const virStorageRevSource *source,
              const char *text)
{
    g_autoptr(virStorageVolDef) def = volume(children);
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevFactsNewHead(VOLUME, def, source, &meta);
    expectFacts(&meta, text);
}


static void
testNewHead(void)
{
    expectNewHead("", NULL, "1&g=1" OURS "&i=1");
}


static void
testNewHeadWithLifecycle(void)
{
    expectNewHead("<lifecycle snapOnStart='yes' saveOnStop='no' source='base'/><revisions keep='0'/>", NULL,
                  "1&g=1" OURS "&l=yn&s=base&k=0&i=1");
}


static void
testNewHeadWithFormat(void)
{
    expectNewHead("<target><format type='qcow2'/></target>", NULL, "1&f=qcow2&g=1" OURS "&i=1");
}


/* The content facts of a source are its clone's, its volume facts and marks are not. */
static void
testNewHeadOfClone(void)
{
    g_autoptr(virStorageRevFamily) family = virStorageRevFamilyNew("base");
    virStorageRevSource source = { .family = family };

    source.state = addState(family, VIR_STORAGE_REV_LIVE, 0,
                            "1&f=qcow2&g=4" OTHERS "&l=nn&k=7&i=9&x=3&b=3&t=beef&S=1&d=5&o=first#2");
    expectNewHead("", &source, "1&f=qcow2&g=1" OURS "&i=1&o=base#4&o=first#2");
}


static void
testNewHeadOfCopyFromAnotherPool(void)
{
    virStorageRevSource source = { .format = VIR_STORAGE_FILE_QCOW2 };

    expectNewHead("", &source, "1&f=qcow2&g=1" OURS "&i=1");
}


static void
expectLive(virStorageRevFamily *family,
           const virStorageRevSource *source,
           const char *text)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevFactsLive(family, source, &meta);
    g_assert_cmpuint(meta.boot, ==, virStorageRevMetaBoot());
    meta.boot = 0;
    expectSameTime(&meta, text);
}


static void
testLive(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&f=qcow2&g=8&c=1795197600" OURS "&k=3&i=9&x=6&o=base#1");

    expectLive(family, NULL, "1&f=qcow2&g=8&c=1795197600" OURS "&b=8&o=base#1");
}


static void
testLiveOfHeadWithoutMetadata(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead(NULL);

    expectLive(family, NULL, "1" OURS "&b=1");
}


/* The head may be about to be merged, or a live copy that became it by a rename. */
static void
testLiveHasNoMarksOfTheHead(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=2" OURS "&i=9&b=1&t=beef&S=1&h=x&d=5");

    expectLive(family, NULL, "1&g=2" OURS "&b=2");
}


/* Nothing of the head is in it, so that it is of no generation of it. */
static void
testLiveOfSource(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&l=yn&s=base&i=1");
    g_autoptr(virStorageRevFamily) base = virStorageRevFamilyNew("base");
    virStorageRevSource source = { .family = base };

    source.state = addState(base, VIR_STORAGE_REV_HEAD, 0, "1&g=3" OTHERS "&i=3&d=5&o=first#1");
    expectLive(family, &source, "1" OURS "&o=base#3&o=first#1");
}


/* Nor is anything of the head in that of a volatile volume. */
static void
testLiveBlank(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8&c=1795197600" OURS "&l=nn&i=1&d=5&o=base#1");
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevFactsLiveBlank(family, &meta);
    g_assert_cmpuint(meta.boot, ==, virStorageRevMetaBoot());
    meta.boot = 0;
    expectSameTime(&meta, "1" OURS);
}


static void
testLiveOfAnotherPool(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&i=1");
    virStorageRevSource source = { .format = VIR_STORAGE_FILE_QCOW2 };

    expectLive(family, &source, "1&f=qcow2" OURS);
}


static void
expectNextHead(virStorageRevFamily *family,
               int poolKeep,
               const char *contentText,
               unsigned long long id,
               bool prunes,
               const char *text)
{
    virStorageRevContext ctx = { .poolKeep = poolKeep };
    g_auto(virStorageRevMeta) content = { 0 };
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&content);
    virStorageRevMetaInit(&meta);
    if (contentText)
        parse(contentText, &content);
    virStorageRevFactsNextHead(&ctx, family, contentText ? &content : NULL, id, prunes, &meta);
    expectFacts(&meta, text);
}


/* Content facts are those of what becomes the head, volume facts those of the head. */
static void
testNextHead(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&l=nn&k=3&i=9");

    expectNextHead(family, 1, "1&f=qcow2&g=5&c=7" OURS "&b=8&t=beef&S=1&d=5&o=base#1", 9, true,
                   "1&f=qcow2&g=9" OURS "&l=nn&k=3&i=10&o=base#1");
}


static void
testNextHeadWithoutContent(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&f=qcow2&g=8" OURS "&k=3&i=9&o=base#1");

    expectNextHead(family, 1, NULL, 9, true, "1&g=9" OURS "&k=3&i=10");
}


/* Qubes' head, and the first commit of ours */
static void
testNextHeadOfHeadWithoutMetadata(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead(NULL);

    expectNextHead(family, 1, "1&b=1", 1763700000, true, "1&g=2" OURS "&i=1763700001");
}


static void
testNextHeadWithoutHead(void)
{
    g_autoptr(virStorageRevFamily) family = virStorageRevFamilyNew(VOLUME);

    addState(family, VIR_STORAGE_REV_LIVE, 0, "1" OURS "&b=3");
    expectNextHead(family, 1, "1" OURS "&b=3", 5, true, "1&g=1" OURS "&i=6");
}


/* Without a head, what the volume is comes from its newest sibling. */
static void
testNextHeadTakesFactsOfSibling(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead(NULL);

    addState(family, VIR_STORAGE_REV_NUMBERED, 5, "1&g=4" OURS "&l=nn&k=2&i=5");
    addState(family, VIR_STORAGE_REV_NUMBERED, 6, "1&g=5" OURS "&k=9&i=6");
    expectNextHead(family, 1, NULL, 7, true, "1&g=2" OURS "&k=9&i=8");
}


/* Whoever wrote the head may have used ids again: revisions that came after are not what a prune has left. */
static void
testNextHeadTakesNoPruneOfSibling(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead(NULL);

    addState(family, VIR_STORAGE_REV_NUMBERED, 1, NULL);
    addState(family, VIR_STORAGE_REV_NUMBERED, 3, "1&g=4" OURS "&k=3&i=4&x=2");
    expectNextHead(family, 1, NULL, 4, true, "1&g=2" OURS "&k=3&i=5");
}


/* Another tool's head began its generations anew; ids go on. The pin was made beside revision 6. */
static void
testNextHeadTakesFactsOfLargestNextId(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead(NULL);

    addState(family, VIR_STORAGE_REV_NUMBERED, 5, "1&g=7" OURS "&k=2&i=6");
    addState(family, VIR_STORAGE_REV_NUMBERED, 6, "1&g=1" OURS "&k=9&i=7");
    addState(family, VIR_STORAGE_REV_PINNED, 0, "1&g=9" OURS "&k=4&i=6");
    expectNextHead(family, 1, NULL, 7, true, "1&g=2" OURS "&k=9&i=8");
}


static void
testNextHeadTakesFactsOfLargestGeneration(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead(NULL);

    addState(family, VIR_STORAGE_REV_NUMBERED, 5, "1&g=7" OURS "&k=2&i=6");
    addState(family, VIR_STORAGE_REV_PINNED, 0, "1&g=8" OURS "&k=4&i=6");
    expectNextHead(family, 1, NULL, 7, true, "1&g=2" OURS "&k=4&i=8");
}


/* It is as old as the revision that it was made beside. */
static void
testNextHeadTakesFactsOfNumberedBeforePin(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead(NULL);

    addState(family, VIR_STORAGE_REV_PINNED, 0, "1&g=7" OURS "&k=4&i=6");
    addState(family, VIR_STORAGE_REV_NUMBERED, 5, "1&g=7" OURS "&k=2&i=6");
    expectNextHead(family, 1, NULL, 7, true, "1&g=2" OURS "&k=2&i=8");
}


/* The facts about another volume do not count: it is a copy of that one. */
static void
testNextHeadOfCopiedHead(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OTHERS "&l=nn&k=3&i=900&x=800");

    expectNextHead(family, 1, NULL, 5, true, "1&g=9" OURS "&i=6");
}


static void
testNextHeadPrunes(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&k=2&i=9");

    addState(family, VIR_STORAGE_REV_NUMBERED, 5, NULL);
    addState(family, VIR_STORAGE_REV_NUMBERED, 7, NULL);
    addState(family, VIR_STORAGE_REV_NUMBERED, 8, NULL);
    addState(family, VIR_STORAGE_REV_PINNED, 0, NULL);
    expectNextHead(family, 1, NULL, 9, true, "1&g=9" OURS "&k=2&i=10&x=7");
}


static void
testNextHeadPrunesNothing(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&k=2&i=9");

    addState(family, VIR_STORAGE_REV_NUMBERED, 8, NULL);
    expectNextHead(family, 1, NULL, 9, true, "1&g=9" OURS "&k=2&i=10");
}


/* A revert leaves all of them, also what an earlier prune has not come to: that may be what it has chosen. */
static void
testNextHeadThatDoesNotPrune(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&k=1&i=9&x=4");

    addState(family, VIR_STORAGE_REV_NUMBERED, 4, NULL);
    addState(family, VIR_STORAGE_REV_NUMBERED, 8, NULL);
    expectNextHead(family, 1, NULL, 9, false, "1&g=9" OURS "&k=1&i=10");
}


static void
testNextHeadKeepsHigherWatermark(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&k=2&i=9&x=8");

    addState(family, VIR_STORAGE_REV_NUMBERED, 3, NULL);
    addState(family, VIR_STORAGE_REV_NUMBERED, 4, NULL);
    expectNextHead(family, 1, NULL, 9, true, "1&g=9" OURS "&k=2&i=10&x=8");
}


/* Not even the one that the head becomes stays. */
static void
testNextHeadKeepsNone(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&k=0&i=9");

    addState(family, VIR_STORAGE_REV_NUMBERED, 3, NULL);
    expectNextHead(family, 1, NULL, 9, true, "1&g=9" OURS "&k=0&i=10&x=9");
}


static void
testNextHeadWithRetentionOfThePool(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&i=9");

    addState(family, VIR_STORAGE_REV_NUMBERED, 7, NULL);
    addState(family, VIR_STORAGE_REV_NUMBERED, 8, NULL);
    expectNextHead(family, 0, NULL, 9, true, "1&g=9" OURS "&i=10&x=9");
    expectNextHead(family, 1, NULL, 9, true, "1&g=9" OURS "&i=10&x=8");
    expectNextHead(family, 2, NULL, 9, true, "1&g=9" OURS "&i=10&x=7");
    expectNextHead(family, VIR_STORAGE_REV_KEEP_UNSET, NULL, 9, true, "1&g=9" OURS "&i=10&x=8");
}


/* Where the head becomes no revision, its number is not used up. */
static void
testNextHeadWithoutRevision(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&k=2&i=9");

    addState(family, VIR_STORAGE_REV_NUMBERED, 20, NULL);
    expectNextHead(family, 1, NULL, 0, true, "1&g=9" OURS "&k=2&i=21");
}


static void
expectRedefined(virStorageRevFamily *family,
                const char *factsText,
                const char *text)
{
    g_auto(virStorageRevMeta) facts = { 0 };
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&facts);
    virStorageRevMetaInit(&meta);
    parse(factsText, &facts);
    virStorageRevFactsRedefined(family, &facts, &meta);
    expectSameTime(&meta, text);
}


static void
testRedefined(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&f=qcow2&g=8&c=1795197600" OURS "&k=3&i=9&x=6&o=base#1");

    expectRedefined(family, "1" OURS "&l=nn&k=5&i=9&x=7",
                    "1&f=qcow2&g=8&c=1795197600" OURS "&l=nn&k=5&i=9&x=7&o=base#1");
}


static void
testRedefinedWithoutMetadata(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead(NULL);

    expectRedefined(family, "1", "1&g=1" OURS "&i=1");
}


/* No number comes back, whatever the facts say. */
static void
testRedefinedRemembersNextId(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=8" OURS "&i=9");

    addState(family, VIR_STORAGE_REV_NUMBERED, 1763700000, NULL);
    expectRedefined(family, "1" OURS "&i=4", "1&g=8" OURS "&i=1763700001");
}


/* The family is @text's, and has a live copy of its head as it is now. */
static virStorageRevFamily *
familyWithLive(const char *headText)
{
    virStorageRevFamily *family = familyWithHead(headText);
    virStorageRevState *live = addState(family, VIR_STORAGE_REV_LIVE, 0, NULL);

    virStorageRevFactsLive(family, NULL, &live->meta);
    return family;
}


static void
testLiveIsOfHead(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithLive("1&g=8" OURS "&i=9");

    g_assert_true(virStorageRevFactsLiveIsOfHead(family));
}


static void
testLiveIsOfHeadWithoutMetadata(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithLive(NULL);

    g_assert_true(virStorageRevFactsLiveIsOfHead(family));
}


static void
testLiveIsOfAnotherGeneration(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithLive("1&g=8" OURS "&i=9");

    family->head->meta.generation++;
    g_assert_false(virStorageRevFactsLiveIsOfHead(family));
}


static void
testLiveIsOfAnotherBoot(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithLive("1&g=8" OURS "&i=9");

    family->live->meta.boot++;
    g_assert_false(virStorageRevFactsLiveIsOfHead(family));
}


static void
testLiveIsOfAnotherSize(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithLive("1&g=8" OURS "&i=9");

    family->live->capacity *= 2;
    g_assert_false(virStorageRevFactsLiveIsOfHead(family));
}


static void
testLiveIsStaged(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithLive("1&g=8" OURS "&i=9");

    family->live->meta.staged = true;
    g_assert_false(virStorageRevFactsLiveIsOfHead(family));
}


static void
testLiveIsOfNobody(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=1" OURS "&i=9");

    addState(family, VIR_STORAGE_REV_LIVE, 0, NULL);
    g_assert_false(virStorageRevFactsLiveIsOfHead(family));
}


static void
testLiveIsOfAnotherVolume(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithLive("1&g=8" OURS "&i=9");

    parse("1&g=8" OTHERS "&b=8", &family->live->meta);
    family->live->meta.boot = virStorageRevMetaBoot();
    g_assert_false(virStorageRevFactsLiveIsOfHead(family));
}


static void
testLiveIsOfSource(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithHead("1&g=1" OURS "&l=yn&s=base&i=9");
    g_autoptr(virStorageRevFamily) base = virStorageRevFamilyNew("base");
    virStorageRevSource source = { .family = base };
    virStorageRevState *live = addState(family, VIR_STORAGE_REV_LIVE, 0, NULL);

    source.state = addState(base, VIR_STORAGE_REV_HEAD, 0, "1&g=1");
    virStorageRevFactsLive(family, &source, &live->meta);
    g_assert_false(virStorageRevFactsLiveIsOfHead(family));
}


static void
testLiveWithoutHead(void)
{
    g_autoptr(virStorageRevFamily) family = familyWithLive("1&g=1" OURS "&i=9");

    g_clear_pointer(&family->head, virStorageRevStateFree);
    g_assert_false(virStorageRevFactsLiveIsOfHead(family));
}


static void
addNextHeadTests(void)
{
    g_test_add_func("/next-head/commit", testNextHead);
    g_test_add_func("/next-head/without-content", testNextHeadWithoutContent);
    g_test_add_func("/next-head/head-without-metadata", testNextHeadOfHeadWithoutMetadata);
    g_test_add_func("/next-head/without-head", testNextHeadWithoutHead);
    g_test_add_func("/next-head/takes-facts-of-sibling", testNextHeadTakesFactsOfSibling);
    g_test_add_func("/next-head/takes-no-prune-of-sibling", testNextHeadTakesNoPruneOfSibling);
    g_test_add_func("/next-head/takes-facts-of-largest-next-id", testNextHeadTakesFactsOfLargestNextId);
    g_test_add_func("/next-head/takes-facts-of-largest-generation", testNextHeadTakesFactsOfLargestGeneration);
    g_test_add_func("/next-head/takes-facts-of-numbered-before-pin", testNextHeadTakesFactsOfNumberedBeforePin);
    g_test_add_func("/next-head/copied-head", testNextHeadOfCopiedHead);
    g_test_add_func("/next-head/prunes", testNextHeadPrunes);
    g_test_add_func("/next-head/prunes-nothing", testNextHeadPrunesNothing);
    g_test_add_func("/next-head/does-not-prune", testNextHeadThatDoesNotPrune);
    g_test_add_func("/next-head/keeps-higher-watermark", testNextHeadKeepsHigherWatermark);
    g_test_add_func("/next-head/keeps-none", testNextHeadKeepsNone);
    g_test_add_func("/next-head/retention-of-the-pool", testNextHeadWithRetentionOfThePool);
    g_test_add_func("/next-head/without-revision", testNextHeadWithoutRevision);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/new-head/plain", testNewHead);
    g_test_add_func("/new-head/lifecycle", testNewHeadWithLifecycle);
    g_test_add_func("/new-head/format", testNewHeadWithFormat);
    g_test_add_func("/new-head/clone", testNewHeadOfClone);
    g_test_add_func("/new-head/copy-from-another-pool", testNewHeadOfCopyFromAnotherPool);

    g_test_add_func("/live/own-head", testLive);
    g_test_add_func("/live/head-without-metadata", testLiveOfHeadWithoutMetadata);
    g_test_add_func("/live/no-marks-of-the-head", testLiveHasNoMarksOfTheHead);
    g_test_add_func("/live/source", testLiveOfSource);
    g_test_add_func("/live/another-pool", testLiveOfAnotherPool);
    g_test_add_func("/live/blank", testLiveBlank);

    addNextHeadTests();

    g_test_add_func("/redefined/plain", testRedefined);
    g_test_add_func("/redefined/without-metadata", testRedefinedWithoutMetadata);
    g_test_add_func("/redefined/remembers-next-id", testRedefinedRemembersNextId);

    g_test_add_func("/live-is-of-head/yes", testLiveIsOfHead);
    g_test_add_func("/live-is-of-head/without-metadata", testLiveIsOfHeadWithoutMetadata);
    g_test_add_func("/live-is-of-head/another-generation", testLiveIsOfAnotherGeneration);
    g_test_add_func("/live-is-of-head/another-boot", testLiveIsOfAnotherBoot);
    g_test_add_func("/live-is-of-head/another-size", testLiveIsOfAnotherSize);
    g_test_add_func("/live-is-of-head/staged", testLiveIsStaged);
    g_test_add_func("/live-is-of-head/nobody", testLiveIsOfNobody);
    g_test_add_func("/live-is-of-head/another-volume", testLiveIsOfAnotherVolume);
    g_test_add_func("/live-is-of-head/source", testLiveIsOfSource);
    g_test_add_func("/live-is-of-head/without-head", testLiveWithoutHead);

    return g_test_run();
}
