/*
 * test-policy.c: decisions about volumes with revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_revision_conf.h"
#include "storage_revision_policy.h"


static void
expectAction(const char *from,
             bool samePool,
             const char *to,
             bool exists,
             virStorageRevAction action)
{
    g_auto(virStorageRevName) source = { 0 };
    g_auto(virStorageRevName) target = { 0 };
    virStorageRevAction got;

    g_assert_cmpint(virStorageRevNameParse(from, &source), ==, 0);
    g_assert_cmpint(virStorageRevNameParse(to, &target), ==, 0);

    got = virStorageRevActionDecide(&source, samePool, &target, exists);
    g_assert_cmpstr(virStorageRevActionTypeToString(got), ==, virStorageRevActionTypeToString(action));
}


static void
testCloneOfEveryKind(void)
{
    expectAction("a", true, "b", false, VIR_STORAGE_REV_ACTION_CLONE);
    expectAction("a@live", true, "b", false, VIR_STORAGE_REV_ACTION_CLONE);
    expectAction("a@7", true, "b", false, VIR_STORAGE_REV_ACTION_CLONE);
    expectAction("a@word", true, "b", false, VIR_STORAGE_REV_ACTION_CLONE);
}


static void
testCopyFromAnotherPool(void)
{
    expectAction("a", false, "b", false, VIR_STORAGE_REV_ACTION_COPY);
    expectAction("a@7", false, "b", false, VIR_STORAGE_REV_ACTION_COPY);
}


/* A volume of another pool is another one, whatever its name. */
static void
testCopyOfSameNameFromAnotherPool(void)
{
    expectAction("a", false, "a", false, VIR_STORAGE_REV_ACTION_COPY);
    expectAction("a@live", false, "a", false, VIR_STORAGE_REV_ACTION_COPY);
}


/* Another pool's names may not even be of our form. */
static void
testSourceOfAnotherPoolIsNotLookedAt(void)
{
    virStorageRevName target = { .volume = (char *) "a" };

    g_assert_cmpint(virStorageRevActionDecide(NULL, false, &target, false), ==, VIR_STORAGE_REV_ACTION_COPY);
    target.kind = VIR_STORAGE_REV_LIVE;
    g_assert_cmpint(virStorageRevActionDecide(NULL, false, &target, false), ==, VIR_STORAGE_REV_ACTION_STAGE);
    target.kind = VIR_STORAGE_REV_PINNED;
    g_assert_cmpint(virStorageRevActionDecide(NULL, false, &target, false), ==, VIR_STORAGE_REV_ACTION_INVALID);
}


static void
testOntoAnotherVolumeIsInvalid(void)
{
    expectAction("a", true, "b", true, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("a@live", true, "b", true, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("a@7", true, "b", true, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("b", false, "b", true, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("b@live", false, "b", true, VIR_STORAGE_REV_ACTION_INVALID);
}


static void
testStart(void)
{
    expectAction("a", true, "a@live", false, VIR_STORAGE_REV_ACTION_START);
}


static void
testStageOfAnotherVolume(void)
{
    expectAction("b", true, "a@live", false, VIR_STORAGE_REV_ACTION_STAGE);
    expectAction("b@live", true, "a@live", false, VIR_STORAGE_REV_ACTION_STAGE);
}


static void
testStageOfAnotherPool(void)
{
    expectAction("a", false, "a@live", false, VIR_STORAGE_REV_ACTION_STAGE);
    expectAction("a@live", false, "a@live", false, VIR_STORAGE_REV_ACTION_STAGE);
}


static void
testStageOfOwnRevision(void)
{
    expectAction("a@7", true, "a@live", false, VIR_STORAGE_REV_ACTION_STAGE);
    expectAction("a@word", true, "a@live", false, VIR_STORAGE_REV_ACTION_STAGE);
}


static void
testLiveCopyIsNotReplaced(void)
{
    expectAction("a", true, "a@live", true, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("b", true, "a@live", true, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("b", false, "a@live", true, VIR_STORAGE_REV_ACTION_INVALID);
}


static void
testLiveCopyOntoItselfIsMark(void)
{
    expectAction("a@live", true, "a@live", true, VIR_STORAGE_REV_ACTION_MARK);
    expectAction("a@live", true, "a@live", false, VIR_STORAGE_REV_ACTION_INVALID);
}


static void
testCommit(void)
{
    expectAction("a@live", true, "a", true, VIR_STORAGE_REV_ACTION_COMMIT);
}


static void
testCommitWithoutHead(void)
{
    expectAction("a@live", true, "a", false, VIR_STORAGE_REV_ACTION_COMMIT);
}


static void
testRevert(void)
{
    expectAction("a@7", true, "a", true, VIR_STORAGE_REV_ACTION_REVERT);
    expectAction("a@word", true, "a", true, VIR_STORAGE_REV_ACTION_REVERT);
}


static void
testRevertWithoutHead(void)
{
    expectAction("a@7", true, "a", false, VIR_STORAGE_REV_ACTION_REVERT);
}


static void
testRedefine(void)
{
    expectAction("a", true, "a", true, VIR_STORAGE_REV_ACTION_REDEFINE);
}


static void
testPin(void)
{
    expectAction("a", true, "a@word", false, VIR_STORAGE_REV_ACTION_PIN);
}


static void
testPinOfAnythingElseIsInvalid(void)
{
    expectAction("b", true, "a@word", false, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("a", false, "a@word", false, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("a@live", true, "a@word", false, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("a@7", true, "a@word", false, VIR_STORAGE_REV_ACTION_INVALID);
}


static void
testPinIsNotReplaced(void)
{
    expectAction("a", true, "a@word", true, VIR_STORAGE_REV_ACTION_INVALID);
}


/* Only the pool gives out numbers. */
static void
testNumberedRevisionIsNotMade(void)
{
    expectAction("a", true, "a@7", false, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("a", true, "a@7", true, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("a@7", true, "a@7", true, VIR_STORAGE_REV_ACTION_INVALID);
    expectAction("b", false, "a@7", false, VIR_STORAGE_REV_ACTION_INVALID);
}


static void
testNestedNamesAreComparedWhole(void)
{
    expectAction("x/a", true, "a@live", false, VIR_STORAGE_REV_ACTION_STAGE);
    expectAction("x/a", true, "x/a@live", false, VIR_STORAGE_REV_ACTION_START);
}


static void
testStartOfPersistentVolume(void)
{
    g_assert_cmpint(virStorageRevStartDecide(false, true), ==, VIR_STORAGE_REV_START_OWN);
}


static void
testStartOfSnapshotVolume(void)
{
    g_assert_cmpint(virStorageRevStartDecide(true, false), ==, VIR_STORAGE_REV_START_SOURCE);
}


static void
testStartOfVolatileVolume(void)
{
    g_assert_cmpint(virStorageRevStartDecide(false, false), ==, VIR_STORAGE_REV_START_BLANK);
}


static const virStorageRevRetained mixed[] = {
    { .id = 1700000000, .legacy = true },
    { .id = 3 },
    { .id = 4 },
    { .pinned = true },
    { .id = 9 },
};


static void
testRetentionCountsUnpinnedOnly(void)
{
    g_assert_cmpuint(virStorageRevRetentionDrop(mixed, G_N_ELEMENTS(mixed), 1), ==, 3);
    g_assert_cmpuint(virStorageRevRetentionDrop(mixed, G_N_ELEMENTS(mixed), 3), ==, 1);
}


static void
testRetentionKeepsWhatFits(void)
{
    g_assert_cmpuint(virStorageRevRetentionDrop(mixed, G_N_ELEMENTS(mixed), 4), ==, 0);
    g_assert_cmpuint(virStorageRevRetentionDrop(mixed, G_N_ELEMENTS(mixed), 10000), ==, 0);
}


static void
testRetentionOfZero(void)
{
    g_assert_cmpuint(virStorageRevRetentionDrop(mixed, G_N_ELEMENTS(mixed), 0), ==, 4);
}


static void
testRetentionUnset(void)
{
    g_assert_cmpuint(virStorageRevRetentionDrop(mixed, G_N_ELEMENTS(mixed), VIR_STORAGE_REV_KEEP_UNSET), ==, 0);
}


static void
testRetentionWithoutRevisions(void)
{
    g_assert_cmpuint(virStorageRevRetentionDrop(NULL, 0, 0), ==, 0);
}


static void
testOrderById(void)
{
    virStorageRevRetained a = { .id = 9 };
    virStorageRevRetained b = { .id = 10 };

    g_assert_cmpint(virStorageRevCompare(&a, &b), <, 0);
    g_assert_cmpint(virStorageRevCompare(&b, &a), >, 0);
    g_assert_cmpint(virStorageRevCompare(&a, &a), ==, 0);
}


static void
testOrderOfLargeIds(void)
{
    virStorageRevRetained a = { .id = 1 };
    virStorageRevRetained b = { .id = ULLONG_MAX };

    g_assert_cmpint(virStorageRevCompare(&a, &b), <, 0);
    g_assert_cmpint(virStorageRevCompare(&b, &a), >, 0);
}


static void
testOrderLegacyFirst(void)
{
    virStorageRevRetained a = { .id = 1700000000, .legacy = true };
    virStorageRevRetained b = { .id = 1 };

    g_assert_cmpint(virStorageRevCompare(&a, &b), <, 0);
    g_assert_cmpint(virStorageRevCompare(&b, &a), >, 0);
}


static void
testOrderPinnedLast(void)
{
    virStorageRevRetained a = { .id = 1 };
    virStorageRevRetained b = { .pinned = true };

    g_assert_cmpint(virStorageRevCompare(&a, &b), <, 0);
    g_assert_cmpint(virStorageRevCompare(&b, &a), >, 0);
}


static void
testNextIdOfNewVolume(void)
{
    g_assert_cmpuint(virStorageRevNextId(0, NULL, 0), ==, 1);
}


static void
testNextIdRecorded(void)
{
    g_assert_cmpuint(virStorageRevNextId(12, NULL, 0), ==, 12);
    g_assert_cmpuint(virStorageRevNextId(12, mixed, G_N_ELEMENTS(mixed)), ==, 12);
}


static void
testNextIdSeen(void)
{
    g_assert_cmpuint(virStorageRevNextId(0, mixed, G_N_ELEMENTS(mixed)), ==, 10);
    g_assert_cmpuint(virStorageRevNextId(9, mixed, G_N_ELEMENTS(mixed)), ==, 10);
}


static void
testNextIdSkipsLegacy(void)
{
    virStorageRevRetained legacy = { .id = 1700000000, .legacy = true };

    g_assert_cmpuint(virStorageRevNextId(0, &legacy, 1), ==, 1);
}


static void
testNextIdOfUnsortedRevisions(void)
{
    virStorageRevRetained revisions[] = { { .id = 8 }, { .id = 3 } };

    g_assert_cmpuint(virStorageRevNextId(0, revisions, 2), ==, 9);
}


static void
testNextIdUsedUp(void)
{
    virStorageRevRetained last = { .id = ULLONG_MAX };

    g_assert_cmpuint(virStorageRevNextId(0, &last, 1), ==, 0);
    g_assert_cmpuint(virStorageRevNextId(ULLONG_MAX, NULL, 0), ==, ULLONG_MAX);
}


static void
testKeepOfVolume(void)
{
    g_assert_cmpint(virStorageRevKeepEffective(0, 5), ==, 0);
    g_assert_cmpint(virStorageRevKeepEffective(7, VIR_STORAGE_REV_KEEP_UNSET), ==, 7);
}


static void
testKeepOfPool(void)
{
    g_assert_cmpint(virStorageRevKeepEffective(VIR_STORAGE_REV_KEEP_UNSET, 0), ==, 0);
    g_assert_cmpint(virStorageRevKeepEffective(VIR_STORAGE_REV_KEEP_UNSET, 5), ==, 5);
}


static void
testKeepDefault(void)
{
    g_assert_cmpint(virStorageRevKeepEffective(VIR_STORAGE_REV_KEEP_UNSET, VIR_STORAGE_REV_KEEP_UNSET), ==, 1);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/action/clone-of-every-kind", testCloneOfEveryKind);
    g_test_add_func("/action/copy-from-another-pool", testCopyFromAnotherPool);
    g_test_add_func("/action/copy-of-same-name-from-another-pool", testCopyOfSameNameFromAnotherPool);
    g_test_add_func("/action/source-of-another-pool-is-not-looked-at", testSourceOfAnotherPoolIsNotLookedAt);
    g_test_add_func("/action/onto-another-volume-is-invalid", testOntoAnotherVolumeIsInvalid);
    g_test_add_func("/action/start", testStart);
    g_test_add_func("/action/stage-of-another-volume", testStageOfAnotherVolume);
    g_test_add_func("/action/stage-of-another-pool", testStageOfAnotherPool);
    g_test_add_func("/action/stage-of-own-revision", testStageOfOwnRevision);
    g_test_add_func("/action/live-copy-is-not-replaced", testLiveCopyIsNotReplaced);
    g_test_add_func("/action/live-copy-onto-itself-is-mark", testLiveCopyOntoItselfIsMark);
    g_test_add_func("/action/commit", testCommit);
    g_test_add_func("/action/commit-without-head", testCommitWithoutHead);
    g_test_add_func("/action/revert", testRevert);
    g_test_add_func("/action/revert-without-head", testRevertWithoutHead);
    g_test_add_func("/action/redefine", testRedefine);
    g_test_add_func("/action/pin", testPin);
    g_test_add_func("/action/pin-of-anything-else-is-invalid", testPinOfAnythingElseIsInvalid);
    g_test_add_func("/action/pin-is-not-replaced", testPinIsNotReplaced);
    g_test_add_func("/action/numbered-revision-is-not-made", testNumberedRevisionIsNotMade);
    g_test_add_func("/action/nested-names-are-compared-whole", testNestedNamesAreComparedWhole);

    g_test_add_func("/start/persistent", testStartOfPersistentVolume);
    g_test_add_func("/start/snapshot", testStartOfSnapshotVolume);
    g_test_add_func("/start/volatile", testStartOfVolatileVolume);

    g_test_add_func("/retention/counts-unpinned-only", testRetentionCountsUnpinnedOnly);
    g_test_add_func("/retention/keeps-what-fits", testRetentionKeepsWhatFits);
    g_test_add_func("/retention/zero", testRetentionOfZero);
    g_test_add_func("/retention/unset", testRetentionUnset);
    g_test_add_func("/retention/without-revisions", testRetentionWithoutRevisions);

    g_test_add_func("/order/by-id", testOrderById);
    g_test_add_func("/order/large-ids", testOrderOfLargeIds);
    g_test_add_func("/order/legacy-first", testOrderLegacyFirst);
    g_test_add_func("/order/pinned-last", testOrderPinnedLast);

    g_test_add_func("/next-id/new-volume", testNextIdOfNewVolume);
    g_test_add_func("/next-id/recorded", testNextIdRecorded);
    g_test_add_func("/next-id/seen", testNextIdSeen);
    g_test_add_func("/next-id/skips-legacy", testNextIdSkipsLegacy);
    g_test_add_func("/next-id/unsorted-revisions", testNextIdOfUnsortedRevisions);
    g_test_add_func("/next-id/used-up", testNextIdUsedUp);

    g_test_add_func("/keep/volume", testKeepOfVolume);
    g_test_add_func("/keep/pool", testKeepOfPool);
    g_test_add_func("/keep/default", testKeepDefault);

    return g_test_run();
}
