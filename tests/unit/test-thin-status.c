/*
 * test-thin-status.c: what the kernel says about thin pools and thin volumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_thin_status.h"

/* transaction, metadata and data of all the lines below */
#define USE "10 222/2048 57/9600 - "


static void
expectMode(const char *params,
           virStorageThinPoolMode mode,
           bool needsCheck)
{
    virStorageThinPoolStatus status;

    g_assert_cmpint(virStorageThinPoolStatusParse(params, &status), ==, 0);
    g_assert_cmpint(status.mode, ==, mode);
    g_assert_cmpint(status.needsCheck, ==, needsCheck);
    g_assert_cmpuint(status.transactionId, ==, 10);
    g_assert_cmpuint(status.metadataUsed, ==, 222);
    g_assert_cmpuint(status.metadataTotal, ==, 2048);
    g_assert_cmpuint(status.dataUsed, ==, 57);
    g_assert_cmpuint(status.dataTotal, ==, 9600);
}


static void
testPoolReadWrite(void)
{
    expectMode(USE "rw discard_passdown queue_if_no_space - 1024 ", VIR_STORAGE_THIN_POOL_RW, false);
    expectMode(USE "rw no_discard_passdown error_if_no_space - 1024", VIR_STORAGE_THIN_POOL_RW, false);
    expectMode(USE "rw ignore_discard queue_if_no_space - 1024", VIR_STORAGE_THIN_POOL_RW, false);
}


/* Kernels before 3.16 say less. */
static void
testPoolOfAnOlderKernel(void)
{
    expectMode(USE "rw discard_passdown", VIR_STORAGE_THIN_POOL_RW, false);
}


static void
testPoolWithHeldRoot(void)
{
    expectMode("10 222/2048 57/9600 1234 rw discard_passdown queue_if_no_space - 1024", VIR_STORAGE_THIN_POOL_RW, false);
}


static void
testPoolReadOnly(void)
{
    expectMode(USE "ro discard_passdown queue_if_no_space - 1024", VIR_STORAGE_THIN_POOL_RO, false);
}


static void
testPoolOutOfDataSpace(void)
{
    expectMode(USE "out_of_data_space discard_passdown queue_if_no_space - 1024",
               VIR_STORAGE_THIN_POOL_OUT_OF_SPACE, false);
}


static void
testPoolNeedsCheck(void)
{
    expectMode(USE "ro discard_passdown queue_if_no_space needs_check 1024", VIR_STORAGE_THIN_POOL_RO, true);
    expectMode(USE "rw discard_passdown queue_if_no_space needs_check 1024", VIR_STORAGE_THIN_POOL_RW, true);
}


static void
expectFailed(const char *params)
{
    virStorageThinPoolStatus status;

    g_assert_cmpint(virStorageThinPoolStatusParse(params, &status), ==, 0);
    g_assert_cmpint(status.mode, ==, VIR_STORAGE_THIN_POOL_FAILED);
    g_assert_false(status.needsCheck);
    g_assert_cmpuint(status.dataTotal, ==, 0);
    g_assert_cmpuint(status.metadataTotal, ==, 0);
}


static void
testPoolFailed(void)
{
    expectFailed("Fail");
    expectFailed("Fail ");
}


static void
testPoolWhoseStatusCannotBeRead(void)
{
    expectFailed("Error");
}


static void
expectNoPoolStatus(const char *params)
{
    virStorageThinPoolStatus status;

    g_test_message("%s", params);
    g_assert_cmpint(virStorageThinPoolStatusParse(params, &status), ==, -1);
    unitExpectNoError();
}


static void
testPoolTruncated(void)
{
    expectNoPoolStatus("");
    expectNoPoolStatus("10");
    expectNoPoolStatus("10 222/2048");
    expectNoPoolStatus("10 222/2048 57/9600");
    expectNoPoolStatus("10 222/2048 57/9600 -");
    expectNoPoolStatus("10 222/ 57/9600 - rw");
    expectNoPoolStatus("10 222/2048 57 - rw");
}


static void
testPoolGarbage(void)
{
    expectNoPoolStatus("thin pool is well, thank you");
    expectNoPoolStatus("x 222/2048 57/9600 - rw");
    expectNoPoolStatus("10 222:2048 57/9600 - rw");
    expectNoPoolStatus("10 222/2048 57/9600x - rw");
    expectNoPoolStatus("10 -222/2048 57/9600 - rw");
    expectNoPoolStatus("10 222/2048 57/-9600 - rw");
    expectNoPoolStatus("18446744073709551616 222/2048 57/9600 - rw");
}


static void
testPoolLargest(void)
{
    virStorageThinPoolStatus status;

    g_assert_cmpint(virStorageThinPoolStatusParse("18446744073709551615 0/4145152 0/18446744073709551615 - rw", &status),
                    ==, 0);
    g_assert_cmpuint(status.transactionId, ==, ULLONG_MAX);
    g_assert_cmpuint(status.dataTotal, ==, ULLONG_MAX);
}


static void
expectMapped(const char *params,
             unsigned long long bytes)
{
    unsigned long long mapped = 1;

    g_assert_cmpint(virStorageThinVolumeStatusParse(params, &mapped), ==, 0);
    g_assert_cmpuint(mapped, ==, bytes);
}


static void
testVolumeMapped(void)
{
    expectMapped("2048 4095", 1024 * 1024);
    expectMapped("2048 4095 ", 1024 * 1024);
}


static void
testVolumeEmpty(void)
{
    expectMapped("0 -", 0);
}


static void
expectNoVolumeStatus(const char *params)
{
    unsigned long long mapped = 0;

    g_test_message("%s", params);
    g_assert_cmpint(virStorageThinVolumeStatusParse(params, &mapped), ==, -1);
    unitExpectNoError();
}


static void
testVolumeOfAFailedPool(void)
{
    expectNoVolumeStatus("Fail");
    expectNoVolumeStatus("Error");
}


static void
testVolumeGarbage(void)
{
    expectNoVolumeStatus("");
    expectNoVolumeStatus("-");
    expectNoVolumeStatus("-5 -");
    expectNoVolumeStatus("2048/4095");
    expectNoVolumeStatus("2048k 4095");
    expectNoVolumeStatus("18446744073709551616 4095");
}


static void
expectThinId(const char *params,
             unsigned int id)
{
    unsigned int thinId = 0;

    g_assert_cmpint(virStorageThinVolumeTableParse(params, &thinId), ==, 0);
    g_assert_cmpuint(thinId, ==, id);
}


static void
testTable(void)
{
    expectThinId("253:2 10", 10);
    expectThinId("253:2 16777215", 16777215);
}


static void
testTableWithExternalOrigin(void)
{
    expectThinId("253:2 10 253:5", 10);
}


static void
expectNoTable(const char *params)
{
    unsigned int thinId = 0;

    g_test_message("%s", params);
    g_assert_cmpint(virStorageThinVolumeTableParse(params, &thinId), ==, -1);
    unitExpectNoError();
}


static void
testTableGarbage(void)
{
    expectNoTable("");
    expectNoTable("253:2");
    expectNoTable("253:2 ");
    expectNoTable("253:2 x");
    expectNoTable("253:2 10x");
    expectNoTable("253:2 -1");
    expectNoTable("253:2 4294967296");
}


static void
expectPoolTable(const char *params,
                size_t blockSize,
                bool zeroes)
{
    virStorageThinPoolTable table = { 0 };

    g_test_message("%s", params);
    g_assert_cmpint(virStorageThinPoolTableParse(params, &table), ==, 0);
    g_assert_cmpuint(table.blockSize, ==, blockSize);
    g_assert_true(table.zeroes == zeroes);
}


static void
testPoolTableThatZeroes(void)
{
    expectPoolTable("253:0 253:1 128 0 0 ", 64 * 1024, true);
    expectPoolTable("253:0 253:1 128 0 1 error_if_no_space", 64 * 1024, true);
}


static void
testPoolTableThatDoesNotZero(void)
{
    expectPoolTable("253:0 253:1 128 0 1 skip_block_zeroing", 64 * 1024, false);
    expectPoolTable("253:0 253:1 384 102400 2 skip_block_zeroing no_discard_passdown ", 192 * 1024, false);
}


static void
testPoolTableGarbage(void)
{
    const char *garbage[] = { "", "253:0 253:1 128", "253:0 253:1 x 0", "253:0 253:1 -1 0 0" };
    virStorageThinPoolTable table;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(garbage); i++) {
        g_test_message("%s", garbage[i]);
        g_assert_cmpint(virStorageThinPoolTableParse(garbage[i], &table), ==, -1);
        unitExpectNoError();
    }
}


/* Of a head that no one writes to, as it is when an upload begins. */
static const virStorageThinSight began = { .active = true, .sequence = 7, .changed = 16 };


static void
testSightOfADeviceThatCountsWrites(void)
{
    virStorageThinSight now = began;

    g_assert_false(virStorageThinSightDiffers(&began, &now, true));
    now.changed += 8;
    g_assert_true(virStorageThinSightDiffers(&began, &now, true));
    g_assert_true(virStorageThinSightDiffers(&began, &now, false));
}


/* Whoever activated it anew may have written to it before that. */
static void
testSightOfADeviceThatWasToStay(void)
{
    virStorageThinSight now = { .active = true, .sequence = 8 };
    virStorageThinSight gone = { 0 };

    g_assert_true(virStorageThinSightDiffers(&began, &now, true));
    g_assert_true(virStorageThinSightDiffers(&began, &gone, true));
    g_assert_true(virStorageThinSightDiffers(&gone, &now, true));
}


/* Each reader has another device, and only the last one tells what it was for. */
static void
testSightOfADeviceForEachReader(void)
{
    virStorageThinSight now = { .active = true, .sequence = 8 };
    virStorageThinSight gone = { 0 };

    g_assert_false(virStorageThinSightDiffers(&gone, &gone, false));
    g_assert_false(virStorageThinSightDiffers(&began, &now, false));
    g_assert_false(virStorageThinSightDiffers(&gone, &now, false));
    now.changed = 8;
    g_assert_true(virStorageThinSightDiffers(&began, &now, false));
    g_assert_true(virStorageThinSightDiffers(&gone, &now, false));
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/pool/read-write", testPoolReadWrite);
    g_test_add_func("/pool/older-kernel", testPoolOfAnOlderKernel);
    g_test_add_func("/pool/held-root", testPoolWithHeldRoot);
    g_test_add_func("/pool/read-only", testPoolReadOnly);
    g_test_add_func("/pool/out-of-data-space", testPoolOutOfDataSpace);
    g_test_add_func("/pool/needs-check", testPoolNeedsCheck);
    g_test_add_func("/pool/failed", testPoolFailed);
    g_test_add_func("/pool/status-cannot-be-read", testPoolWhoseStatusCannotBeRead);
    g_test_add_func("/pool/truncated", testPoolTruncated);
    g_test_add_func("/pool/garbage", testPoolGarbage);
    g_test_add_func("/pool/largest", testPoolLargest);

    g_test_add_func("/pool-table/zeroes", testPoolTableThatZeroes);
    g_test_add_func("/pool-table/does-not-zero", testPoolTableThatDoesNotZero);
    g_test_add_func("/pool-table/garbage", testPoolTableGarbage);

    g_test_add_func("/volume/mapped", testVolumeMapped);
    g_test_add_func("/volume/empty", testVolumeEmpty);
    g_test_add_func("/volume/failed-pool", testVolumeOfAFailedPool);
    g_test_add_func("/volume/garbage", testVolumeGarbage);

    g_test_add_func("/sight/counts-writes", testSightOfADeviceThatCountsWrites);
    g_test_add_func("/sight/was-to-stay", testSightOfADeviceThatWasToStay);
    g_test_add_func("/sight/for-each-reader", testSightOfADeviceForEachReader);

    g_test_add_func("/table/thin-id", testTable);
    g_test_add_func("/table/external-origin", testTableWithExternalOrigin);
    g_test_add_func("/table/garbage", testTableGarbage);

    return g_test_run();
}
