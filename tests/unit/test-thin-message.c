/*
 * test-thin-message.c: LVM's complaints
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_thin_message.h"


static void
expectMessage(const char *output,
              const char *message)
{
    g_autofree char *got = virStorageThinMessage(output);

    g_assert_cmpstr(got, ==, message);
}


static void
expectHint(const char *message,
           virErrorNumber code,
           const char *part)
{
    virErrorNumber got = VIR_ERR_OK;
    const char *hint = virStorageThinHint(message, &got);

    g_test_message("%s", message);
    g_assert_cmpint(got, ==, code);
    if (!part) {
        g_assert_null(hint);
        return;
    }
    g_assert_nonnull(hint);
    if (!strstr(hint, part))
        g_error("'%s' is not in '%s'", part, hint);
}


static void
testOneLine(void)
{
    expectMessage("  Logical volume vg/a in use.\n", "Logical volume vg/a in use.");
    expectMessage("Logical volume vg/a in use.", "Logical volume vg/a in use.");
}


static void
testSeveralLines(void)
{
    expectMessage("  Volume group \"vg\" not found\n  Cannot process volume group vg\n",
                  "Volume group \"vg\" not found; Cannot process volume group vg");
}


static void
testBlankLines(void)
{
    expectMessage("\n  one\n\n   \n  two\n\n", "one; two");
}


static void
testWarningsBesideErrors(void)
{
    expectMessage("  WARNING: Sum of all thin volume sizes exceeds the size of the thin pool.\n"
                  "  Cannot create new thin volume, free space in thin pool vg/pool reached threshold.\n",
                  "Cannot create new thin volume, free space in thin pool vg/pool reached threshold.");
}


/* LVM 2.03.16, for a thin pool that is nearly empty */
static void
testWarningThatIsTheCause(void)
{
    const char *output =
        "  WARNING: Thin pool vg/pool has unexpected transaction id 2, expecting 1.\n"
        "  Cannot create new thin volume, free space in thin pool vg/pool reached threshold.\n";
    g_autofree char *message = virStorageThinMessage(output);

    expectMessage(output, "WARNING: Thin pool vg/pool has unexpected transaction id 2, expecting 1.; "
                          "Cannot create new thin volume, free space in thin pool vg/pool reached threshold.");
    expectHint(message, VIR_ERR_OPERATION_FAILED, "change nothing");
}


static void
testWarningsOnly(void)
{
    expectMessage("  WARNING: one\n  WARNING: two\n", "WARNING: one; WARNING: two");
}


static void
testEmpty(void)
{
    expectMessage("", "no reason given");
    expectMessage(" \n\n", "no reason given");
    expectMessage(NULL, "no reason given");
}


/* What LVM 2.03 says, word for word */

static void
testHintTransaction(void)
{
    expectHint("Thin pool vg-pool-tpool (253:3) transaction_id is 4, while expected 5.",
               VIR_ERR_OPERATION_FAILED, "change nothing");
}


static void
testHintNeedsCheck(void)
{
    expectHint("Cannot send messages to thin pool vg-pool-tpool (253:2) with read only metadata which needs check first.",
               VIR_ERR_OPERATION_FAILED, "--clear-needs-check-flag");
}


static void
testHintDamaged(void)
{
    expectHint("Check of pool vg/pool failed (status:1). Manual repair required!",
               VIR_ERR_OPERATION_FAILED, "lvconvert --repair");
}


static void
testHintThreshold(void)
{
    expectHint("Cannot create new thin volume, free space in thin pool vg/pool reached threshold.",
               VIR_ERR_OPERATION_FAILED, "extend the thin pool");
}


static void
testHintGroupMetadata(void)
{
    expectHint("VG vg 812 metadata on /dev/sdb (524801 bytes) exceeds maximum metadata size (524288 bytes)",
               VIR_ERR_OPERATION_FAILED, "larger metadata area");
    expectHint("VG vg 812 metadata on /dev/sdb (524801 bytes) too large for circular buffer (1048064 bytes with 524288 used)",
               VIR_ERR_OPERATION_FAILED, "larger metadata area");
}


static void
testHintMissingDevice(void)
{
    expectHint("WARNING: Couldn't find device with uuid tJnaTA-n35H-A98p-aBRA-6FIS-bRWN-C0CMyA.",
               VIR_ERR_OPERATION_FAILED, "attach it first");
    expectHint("Cannot change VG vg while PVs are missing.", VIR_ERR_OPERATION_FAILED, "attach it first");
}


static void
testHintUnmade(void)
{
    expectHint("device-mapper: reload ioctl on  (253:7) failed: No data available", VIR_ERR_OPERATION_FAILED,
               "create or remove another one");
}


static void
testHintNoGroup(void)
{
    expectHint("Volume group \"vg\" not found; Cannot process volume group vg",
               VIR_ERR_OPERATION_FAILED, "attach the disks");
}


static void
testHintInUse(void)
{
    expectHint("Logical volume vg/a in use.", VIR_ERR_OPERATION_INVALID, "stop or detach");
    expectHint("Logical volume vg/a contains a filesystem in use.", VIR_ERR_OPERATION_INVALID, "stop or detach");
    expectHint("Logical volume vg/a is used by another device.", VIR_ERR_OPERATION_INVALID, "stop or detach");
}


static void
testHintSomebodyElse(void)
{
    expectHint("Logical Volume \"vm-m\" already exists in volume group \"vg\"",
               VIR_ERR_OPERATION_INVALID, "refresh the pool");
    expectHint("Failed to find logical volume \"vg/a\"", VIR_ERR_OPERATION_INVALID, "refresh the pool");
}


/* The names in a message are anybody's choice. */
static void
testHintIsNotOfTheName(void)
{
    expectHint("Logical volume vg/missing in use.", VIR_ERR_OPERATION_INVALID, "stop or detach");
    expectHint("Logical volume vg/needs_check in use.", VIR_ERR_OPERATION_INVALID, "stop or detach");
    expectHint("Logical volume vg/transaction_id in use.", VIR_ERR_OPERATION_INVALID, "stop or detach");
}


static void
testHintForAnythingElse(void)
{
    expectHint("Names including \"_tmeta\" are reserved. Please choose a different LV name.", VIR_ERR_OPERATION_FAILED, NULL);
    expectHint("no reason given", VIR_ERR_OPERATION_FAILED, NULL);
    expectHint("", VIR_ERR_OPERATION_FAILED, NULL);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/message/one-line", testOneLine);
    g_test_add_func("/message/several-lines", testSeveralLines);
    g_test_add_func("/message/blank-lines", testBlankLines);
    g_test_add_func("/message/warnings-beside-errors", testWarningsBesideErrors);
    g_test_add_func("/message/warning-that-is-the-cause", testWarningThatIsTheCause);
    g_test_add_func("/message/warnings-only", testWarningsOnly);
    g_test_add_func("/message/empty", testEmpty);

    g_test_add_func("/hint/transaction", testHintTransaction);
    g_test_add_func("/hint/needs-check", testHintNeedsCheck);
    g_test_add_func("/hint/damaged", testHintDamaged);
    g_test_add_func("/hint/threshold", testHintThreshold);
    g_test_add_func("/hint/group-metadata", testHintGroupMetadata);
    g_test_add_func("/hint/missing-device", testHintMissingDevice);
    g_test_add_func("/hint/unmade", testHintUnmade);
    g_test_add_func("/hint/no-group", testHintNoGroup);
    g_test_add_func("/hint/in-use", testHintInUse);
    g_test_add_func("/hint/somebody-else", testHintSomebodyElse);
    g_test_add_func("/hint/not-of-the-name", testHintIsNotOfTheName);
    g_test_add_func("/hint/anything-else", testHintForAnythingElse);

    return g_test_run();
}
