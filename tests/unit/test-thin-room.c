/*
 * test-thin-room.c: is there room for one volume more?
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_thin_room.h"

/* The most data that a thin pool can have: 256 TiB in blocks of 64 KiB. */
#define MOST (1ULL << 32)

#define GROUP_LIMIT (32 * 1024)


/* A pool that is half full. */
static virStorageThinPoolStatus
half(void)
{
    virStorageThinPoolStatus status = {
        .mode = VIR_STORAGE_THIN_POOL_RW,
        .metadataUsed = 50, .metadataTotal = 100,
        .dataUsed = 50, .dataTotal = 100,
    };

    return status;
}


static void
expectRoom(const virStorageThinPoolStatus *status,
           unsigned long long vgMetadataFree)
{
    g_assert_cmpstr(virStorageThinRoomProblem(status, vgMetadataFree), ==, NULL);
}


static void
expectProblem(const virStorageThinPoolStatus *status,
              unsigned long long vgMetadataFree,
              const char *part)
{
    const char *problem = virStorageThinRoomProblem(status, vgMetadataFree);

    g_assert_nonnull(problem);
    if (!strstr(problem, part))
        g_error("'%s' is not in '%s'", part, problem);
}


static void
testHalfFull(void)
{
    virStorageThinPoolStatus status = half();

    expectRoom(&status, 1024 * 1024);
}


static void
testEmpty(void)
{
    virStorageThinPoolStatus status = half();

    status.dataUsed = 0;
    status.metadataUsed = 0;
    expectRoom(&status, 1024 * 1024);
}


static void
testDataBelowTheBorder(void)
{
    virStorageThinPoolStatus status = half();

    status.dataTotal = 10000;
    status.dataUsed = 9499;
    expectRoom(&status, 1024 * 1024);
}


static void
testDataAtTheBorder(void)
{
    virStorageThinPoolStatus status = half();

    status.dataTotal = 10000;
    status.dataUsed = 9500;
    expectProblem(&status, 1024 * 1024, "data space");
}


/* Small pools do not get rounded up to room. */
static void
testDataOfASmallPool(void)
{
    virStorageThinPoolStatus status = half();

    status.dataTotal = 3;
    status.dataUsed = 2;
    expectRoom(&status, 1024 * 1024);
    status.dataUsed = 3;
    expectProblem(&status, 1024 * 1024, "data space");
}


static void
testDataOfTheLargestPool(void)
{
    virStorageThinPoolStatus status = half();

    status.dataTotal = MOST;
    status.dataUsed = MOST / 100 * 94;
    expectRoom(&status, 1024 * 1024);
    status.dataUsed = MOST / 100 * 96;
    expectProblem(&status, 1024 * 1024, "data space");
}


static void
testMetadataBelowTheBorder(void)
{
    virStorageThinPoolStatus status = half();

    status.metadataUsed = 94;
    expectRoom(&status, 1024 * 1024);
}


static void
testMetadataAtTheBorder(void)
{
    virStorageThinPoolStatus status = half();

    status.metadataUsed = 95;
    expectProblem(&status, 1024 * 1024, "--poolmetadatasize");
}


/* The one that stops machines comes first. */
static void
testBothFull(void)
{
    virStorageThinPoolStatus status = half();

    status.dataUsed = 100;
    status.metadataUsed = 100;
    expectProblem(&status, 1024 * 1024, "data space");
}


static void
testNothingKnown(void)
{
    virStorageThinPoolStatus status = { .mode = VIR_STORAGE_THIN_POOL_RW };

    expectRoom(&status, 1024 * 1024);
}


static void
testOutOfDataSpace(void)
{
    virStorageThinPoolStatus status = half();

    status.mode = VIR_STORAGE_THIN_POOL_OUT_OF_SPACE;
    expectProblem(&status, 1024 * 1024, "data space");
}


static void
testReadOnly(void)
{
    virStorageThinPoolStatus status = half();

    status.mode = VIR_STORAGE_THIN_POOL_RO;
    expectProblem(&status, 1024 * 1024, "cannot be written");
}


static void
testFailed(void)
{
    virStorageThinPoolStatus status = { .mode = VIR_STORAGE_THIN_POOL_FAILED };

    expectProblem(&status, 1024 * 1024, "has failed");
}


/* That it is read only is only what follows from it. */
static void
testNeedsCheck(void)
{
    virStorageThinPoolStatus status = half();

    status.needsCheck = true;
    expectProblem(&status, 1024 * 1024, "--clear-needs-check-flag");
    status.mode = VIR_STORAGE_THIN_POOL_RO;
    expectProblem(&status, 1024 * 1024, "--clear-needs-check-flag");
}


/* What is full gives up what is in it; what is broken does not. */
static void
testRemoval(void)
{
    virStorageThinPoolStatus status = half();

    status.mode = VIR_STORAGE_THIN_POOL_OUT_OF_SPACE;
    g_assert_cmpstr(virStorageThinBreakage(&status), ==, NULL);
    status.mode = VIR_STORAGE_THIN_POOL_RO;
    g_assert_nonnull(virStorageThinBreakage(&status));
    status.mode = VIR_STORAGE_THIN_POOL_FAILED;
    g_assert_nonnull(virStorageThinBreakage(&status));
}


static void
testGroupMetadataAtTheBorder(void)
{
    virStorageThinPoolStatus status = half();

    expectRoom(&status, GROUP_LIMIT);
    expectProblem(&status, GROUP_LIMIT - 1, "metadata area of the volume group");
    expectProblem(&status, 1, "metadata area of the volume group");
}


static void
testGroupMetadataFull(void)
{
    virStorageThinPoolStatus status = half();

    expectProblem(&status, 0, "metadata area of the volume group");
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/half-full", testHalfFull);
    g_test_add_func("/empty", testEmpty);
    g_test_add_func("/data/below-the-border", testDataBelowTheBorder);
    g_test_add_func("/data/at-the-border", testDataAtTheBorder);
    g_test_add_func("/data/small-pool", testDataOfASmallPool);
    g_test_add_func("/data/largest-pool", testDataOfTheLargestPool);
    g_test_add_func("/metadata/below-the-border", testMetadataBelowTheBorder);
    g_test_add_func("/metadata/at-the-border", testMetadataAtTheBorder);
    g_test_add_func("/both-full", testBothFull);
    g_test_add_func("/nothing-known", testNothingKnown);
    g_test_add_func("/mode/out-of-data-space", testOutOfDataSpace);
    g_test_add_func("/mode/read-only", testReadOnly);
    g_test_add_func("/mode/failed", testFailed);
    g_test_add_func("/mode/needs-check", testNeedsCheck);
    g_test_add_func("/mode/removal", testRemoval);
    g_test_add_func("/group-metadata/at-the-border", testGroupMetadataAtTheBorder);
    g_test_add_func("/group-metadata/full", testGroupMetadataFull);

    return g_test_run();
}
