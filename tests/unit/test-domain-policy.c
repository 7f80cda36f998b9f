/*
 * test-domain-policy.c: what starts and stops of domains mean for live copies
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_revision_domain_policy.h"


static virStorageRevDomainLive
ours(virStorageRevUse use,
     bool saveOnStop)
{
    return (virStorageRevDomainLive) { .exists = true, .use = use, .owned = true,
                                         .hasHead = true, .saveOnStop = saveOnStop };
}


static void
testPrepareMakesWhatIsNotThere(void)
{
    virStorageRevDomainLive live = { .saveOnStop = true };

    g_assert_cmpint(virStorageRevPrepareDecide(&live), ==, VIR_STORAGE_REV_PREPARE_MAKE);
}


static void
testPrepareOfNobodys(void)
{
    virStorageRevDomainLive live = { .exists = true, .saveOnStop = true };

    g_assert_cmpint(virStorageRevPrepareDecide(&live), ==, VIR_STORAGE_REV_PREPARE_CONTINUE);
    live.saveOnStop = false;
    g_assert_cmpint(virStorageRevPrepareDecide(&live), ==, VIR_STORAGE_REV_PREPARE_REPLACE);
}


/* Another tool has made it, and will commit or discard it. */
static void
testNobodysThatIsLeft(void)
{
    virStorageRevDomainLive live = { .exists = true, .leavesNobodys = true, .hasHead = true };

    g_assert_cmpint(virStorageRevPrepareDecide(&live), ==, VIR_STORAGE_REV_PREPARE_LEAVE);
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_DESTROYED), ==,
                    VIR_STORAGE_REV_RELEASE_NOTHING);
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_SAVED), ==,
                    VIR_STORAGE_REV_RELEASE_NOTHING);
}


/* What is the domain's does not become nobody's there: the next start would leave it. */
static void
testOwnIsNotLeft(void)
{
    virStorageRevDomainLive continued = ours(VIR_STORAGE_REV_USE_CONTINUED, true);
    virStorageRevDomainLive crashed = ours(VIR_STORAGE_REV_USE_STARTED, true);

    continued.leavesNobodys = crashed.leavesNobodys = true;
    crashed.onCrash = VIR_STORAGE_REV_ON_CRASH_KEEP;
    g_assert_cmpint(virStorageRevReleaseDecide(&continued, VIR_DOMAIN_SHUTOFF_FAILED), ==,
                    VIR_STORAGE_REV_RELEASE_NOTHING);
    g_assert_cmpint(virStorageRevReleaseDecide(&crashed, VIR_DOMAIN_SHUTOFF_CRASHED), ==,
                    VIR_STORAGE_REV_RELEASE_NOTHING);
    g_assert_cmpint(virStorageRevPrepareDecide(&crashed), ==, VIR_STORAGE_REV_PREPARE_CONTINUE);
    g_assert_cmpint(virStorageRevReleaseDecide(&continued, VIR_DOMAIN_SHUTOFF_SAVED), ==,
                    VIR_STORAGE_REV_RELEASE_SAVE);
}


/* The daemon or the host died: the domain starts again. */
static void
testPrepareOfOwn(void)
{
    virStorageRevUse use;

    for (use = VIR_STORAGE_REV_USE_CREATED; use <= VIR_STORAGE_REV_USE_STARTED; use++) {
        virStorageRevDomainLive persistent = ours(use, true);
        virStorageRevDomainLive snapshot = ours(use, false);

        g_assert_cmpint(virStorageRevPrepareDecide(&persistent), ==, VIR_STORAGE_REV_PREPARE_CONTINUE);
        g_assert_cmpint(virStorageRevPrepareDecide(&snapshot), ==, VIR_STORAGE_REV_PREPARE_REPLACE);
    }
}


static void
testPrepareOfSaved(void)
{
    virStorageRevDomainLive persistent = ours(VIR_STORAGE_REV_USE_SAVED, true);
    virStorageRevDomainLive snapshot = ours(VIR_STORAGE_REV_USE_SAVED, false);

    g_assert_cmpint(virStorageRevPrepareDecide(&persistent), ==, VIR_STORAGE_REV_PREPARE_RESUME);
    g_assert_cmpint(virStorageRevPrepareDecide(&snapshot), ==, VIR_STORAGE_REV_PREPARE_RESUME);
}


static void
testOthersAreLeftAlone(void)
{
    virStorageRevUse use;

    for (use = VIR_STORAGE_REV_USE_CREATED; use < VIR_STORAGE_REV_USE_LAST; use++) {
        virStorageRevDomainLive live = ours(use, false);

        live.owned = false;
        g_assert_cmpint(virStorageRevPrepareDecide(&live), ==, VIR_STORAGE_REV_PREPARE_REFUSE);
        g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_DESTROYED), ==,
                        VIR_STORAGE_REV_RELEASE_NOTHING);
    }
}


static void
testReleaseAfterFailedStart(void)
{
    virStorageRevDomainLive created = ours(VIR_STORAGE_REV_USE_CREATED, true);
    virStorageRevDomainLive continued = ours(VIR_STORAGE_REV_USE_CONTINUED, true);
    virStorageRevDomainLive saved = ours(VIR_STORAGE_REV_USE_SAVED, true);
    virStorageRevDomainLive started = ours(VIR_STORAGE_REV_USE_STARTED, true);
    virDomainShutoffReason failed = VIR_DOMAIN_SHUTOFF_FAILED;

    g_assert_cmpint(virStorageRevReleaseDecide(&created, failed), ==, VIR_STORAGE_REV_RELEASE_DISCARD);
    g_assert_cmpint(virStorageRevReleaseDecide(&continued, failed), ==, VIR_STORAGE_REV_RELEASE_FREE);
    g_assert_cmpint(virStorageRevReleaseDecide(&saved, failed), ==, VIR_STORAGE_REV_RELEASE_NOTHING);
    g_assert_cmpint(virStorageRevReleaseDecide(&started, failed), ==, VIR_STORAGE_REV_RELEASE_NOTHING);
}


/* The daemon was killed before it could record that the domain runs. */
static void
testReleaseOfRunThatWasNotRecorded(void)
{
    virStorageRevDomainLive created = ours(VIR_STORAGE_REV_USE_CREATED, true);
    virStorageRevDomainLive restored = ours(VIR_STORAGE_REV_USE_RESUMED, true);
    virStorageRevDomainLive continued = ours(VIR_STORAGE_REV_USE_CONTINUED, true);
    virDomainShutoffReason unknown = VIR_DOMAIN_SHUTOFF_UNKNOWN;

    g_assert_cmpint(virStorageRevReleaseDecide(&created, unknown), ==, VIR_STORAGE_REV_RELEASE_COMMIT);
    g_assert_cmpint(virStorageRevReleaseDecide(&restored, unknown), ==, VIR_STORAGE_REV_RELEASE_SAVE);
    g_assert_cmpint(virStorageRevReleaseDecide(&continued, unknown), ==, VIR_STORAGE_REV_RELEASE_FREE);

    created.saveOnStop = false;
    g_assert_cmpint(virStorageRevReleaseDecide(&created, unknown), ==, VIR_STORAGE_REV_RELEASE_DISCARD);
}


/* Whatever has ended the attempt, the memory is still there. */
static void
testReleaseOfCutRestore(void)
{
    virStorageRevDomainLive persistent = ours(VIR_STORAGE_REV_USE_RESUMED, true);
    virStorageRevDomainLive snapshot = ours(VIR_STORAGE_REV_USE_RESUMED, false);
    int reason;

    g_assert_cmpint(virStorageRevPrepareDecide(&persistent), ==, VIR_STORAGE_REV_PREPARE_RESUME);
    g_assert_cmpint(virStorageRevPrepareDecide(&snapshot), ==, VIR_STORAGE_REV_PREPARE_RESUME);
    persistent.onCrash = VIR_STORAGE_REV_ON_CRASH_DISCARD;
    for (reason = VIR_DOMAIN_SHUTOFF_UNKNOWN; reason < VIR_DOMAIN_SHUTOFF_LAST; reason++) {
        g_assert_cmpint(virStorageRevReleaseDecide(&persistent, reason), ==, VIR_STORAGE_REV_RELEASE_SAVE);
        g_assert_cmpint(virStorageRevReleaseDecide(&snapshot, reason), ==, VIR_STORAGE_REV_RELEASE_SAVE);
    }
}


/* It is in the definition that the domain goes on with, but for others it would be anybody's. */
static void
testReleaseOfWhatWasPluggedIn(void)
{
    virStorageRevDomainLive live = { .exists = true, .hasHead = true };

    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_SAVED), ==, VIR_STORAGE_REV_RELEASE_SAVE);
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_MIGRATED), ==, VIR_STORAGE_REV_RELEASE_SAVE);
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_DESTROYED), ==, VIR_STORAGE_REV_RELEASE_NOTHING);
}


/* What another tool has left may be all that there is of somebody's data. */
static void
testReleaseWithoutHead(void)
{
    virStorageRevDomainLive live = ours(VIR_STORAGE_REV_USE_STARTED, true);

    live.hasHead = false;
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_SHUTDOWN), ==, VIR_STORAGE_REV_RELEASE_FREE);
}


static void
testReleaseOfStarted(void)
{
    virStorageRevDomainLive persistent = ours(VIR_STORAGE_REV_USE_STARTED, true);
    virStorageRevDomainLive snapshot = ours(VIR_STORAGE_REV_USE_STARTED, false);
    const virDomainShutoffReason ends[] = {
        VIR_DOMAIN_SHUTOFF_UNKNOWN, VIR_DOMAIN_SHUTOFF_SHUTDOWN, VIR_DOMAIN_SHUTOFF_DESTROYED, VIR_DOMAIN_SHUTOFF_DAEMON,
        VIR_DOMAIN_SHUTOFF_CRASHED,
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_assert_cmpint(virStorageRevReleaseDecide(&persistent, ends[i]), ==, VIR_STORAGE_REV_RELEASE_COMMIT);
        g_assert_cmpint(virStorageRevReleaseDecide(&snapshot, ends[i]), ==, VIR_STORAGE_REV_RELEASE_DISCARD);
    }
}


static void
testReleaseOfWhatGoesOnElsewhere(void)
{
    virStorageRevDomainLive live = ours(VIR_STORAGE_REV_USE_STARTED, false);

    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_SAVED), ==, VIR_STORAGE_REV_RELEASE_SAVE);
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_MIGRATED), ==, VIR_STORAGE_REV_RELEASE_SAVE);
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT), ==, VIR_STORAGE_REV_RELEASE_SAVE);
}


static void
testReleaseAfterCrash(void)
{
    virStorageRevDomainLive live = ours(VIR_STORAGE_REV_USE_STARTED, true);

    live.onCrash = VIR_STORAGE_REV_ON_CRASH_DISCARD;
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_CRASHED), ==, VIR_STORAGE_REV_RELEASE_DISCARD);
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_DESTROYED), ==, VIR_STORAGE_REV_RELEASE_COMMIT);

    live.onCrash = VIR_STORAGE_REV_ON_CRASH_KEEP;
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_CRASHED), ==, VIR_STORAGE_REV_RELEASE_FREE);
    live.saveOnStop = false;
    g_assert_cmpint(virStorageRevReleaseDecide(&live, VIR_DOMAIN_SHUTOFF_CRASHED), ==, VIR_STORAGE_REV_RELEASE_FREE);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/prepare/makes-what-is-not-there", testPrepareMakesWhatIsNotThere);
    g_test_add_func("/prepare/of-nobodys", testPrepareOfNobodys);
    g_test_add_func("/prepare/nobodys-that-is-left", testNobodysThatIsLeft);
    g_test_add_func("/release/own-is-not-left", testOwnIsNotLeft);
    g_test_add_func("/prepare/of-own", testPrepareOfOwn);
    g_test_add_func("/prepare/of-saved", testPrepareOfSaved);
    g_test_add_func("/others-are-left-alone", testOthersAreLeftAlone);
    g_test_add_func("/release/after-failed-start", testReleaseAfterFailedStart);
    g_test_add_func("/release/of-run-that-was-not-recorded", testReleaseOfRunThatWasNotRecorded);
    g_test_add_func("/release/of-cut-restore", testReleaseOfCutRestore);
    g_test_add_func("/release/of-what-was-plugged-in", testReleaseOfWhatWasPluggedIn);
    g_test_add_func("/release/without-head", testReleaseWithoutHead);
    g_test_add_func("/release/of-started", testReleaseOfStarted);
    g_test_add_func("/release/of-what-goes-on-elsewhere", testReleaseOfWhatGoesOnElsewhere);
    g_test_add_func("/release/after-crash", testReleaseAfterCrash);

    return g_test_run();
}
