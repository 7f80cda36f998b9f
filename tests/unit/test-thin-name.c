/*
 * test-thin-name.c: names of the logical volumes that a volume's states are
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_thin_name.h"
#include "virerror.h"

/* The kernel takes as many bytes for the name of a device. */
#define DEVICE_MAX 127

#define VG "vg"

/* What a revision adds to the name of a head's device: "--1763700000--back". */
#define SUFFIX 18


static void
expectFields(const virStorageThinName *name,
             virStorageThinRole role,
             const char *volume,
             unsigned long long id,
             const char *word)
{
    g_assert_cmpint(name->role, ==, role);
    g_assert_cmpstr(name->volume, ==, volume);
    g_assert_cmpuint(name->id, ==, id);
    g_assert_cmpstr(name->word, ==, word);
}


/* Also the other way round: each state has one name only. */
static void
expectState(const char *lv,
            virStorageThinRole role,
            const char *volume,
            unsigned long long id,
            const char *word)
{
    g_auto(virStorageThinName) name = { 0 };
    g_autofree char *again = virStorageThinNameFormat(role, volume, id, word);

    g_test_message("%s", lv);
    virStorageThinNameParse(lv, &name);
    expectFields(&name, role, volume, id, word);
    g_assert_cmpstr(again, ==, lv);
    unitExpectNoError();
}


/* A name that no other volume's state can have. */
static void
expectHead(const char *lv)
{
    expectState(lv, VIR_STORAGE_THIN_HEAD, lv, 0, NULL);
}


static void
testParseHead(void)
{
    expectHead("root");
    expectHead("vm-work-private");
    expectHead("a_b+c.d");
}


static void
testParseLive(void)
{
    expectState("vm-work-root-snap", VIR_STORAGE_THIN_LIVE, "vm-work-root", 0, NULL);
}


static void
testParseNumbered(void)
{
    expectState("vm-work-root-1763700000-back", VIR_STORAGE_THIN_NUMBERED, "vm-work-root", 1763700000, NULL);
    expectState("a-1-back", VIR_STORAGE_THIN_NUMBERED, "a", 1, NULL);
}


static void
testParsePinned(void)
{
    expectState("vm-work-root+pin+before-upgrade_2", VIR_STORAGE_THIN_PINNED, "vm-work-root", 0, "before-upgrade_2");
}


static void
testParseStage(void)
{
    expectState("vm-work-root+stage", VIR_STORAGE_THIN_STAGE, "vm-work-root", 0, NULL);
}


static void
testParseNumberedStage(void)
{
    expectState("vm-work-root+stage1", VIR_STORAGE_THIN_STAGE, "vm-work-root", 1, NULL);
    expectState("vm-work-root+stage9999", VIR_STORAGE_THIN_STAGE, "vm-work-root", 9999, NULL);
}


/* Whatever its number, it is staging; nobody looks for it by that. */
static void
testParseStageWithOddNumber(void)
{
    g_auto(virStorageThinName) zero = { 0 };
    g_auto(virStorageThinName) large = { 0 };

    virStorageThinNameParse("a+stage00", &zero);
    expectFields(&zero, VIR_STORAGE_THIN_STAGE, "a", 0, NULL);
    virStorageThinNameParse("a+stage18446744073709551616", &large);
    expectFields(&large, VIR_STORAGE_THIN_STAGE, "a", 0, NULL);
    unitExpectNoError();
}


static void
testParseImport(void)
{
    expectState("vm-work-root-import", VIR_STORAGE_THIN_IMPORT, "vm-work-root", 0, NULL);
}


/* Qubes has machines whose names look like another one's revisions. */
static void
testParseVolumeWithDashesAndDigits(void)
{
    expectState("foo-root-123-back", VIR_STORAGE_THIN_NUMBERED, "foo-root", 123, NULL);
    expectState("vm-sys-2-root-123-back", VIR_STORAGE_THIN_NUMBERED, "vm-sys-2-root", 123, NULL);
    expectState("vm-2-1-123-back", VIR_STORAGE_THIN_NUMBERED, "vm-2-1", 123, NULL);
    expectState("a--123-back", VIR_STORAGE_THIN_NUMBERED, "a-", 123, NULL);
    expectHead("vm-work-123");
    expectHead("vm-back-root");
}


static void
testParseOtherTools(void)
{
    expectHead("swap");
    expectHead("home-snapshot");
    expectHead("home_snap");
    expectHead("home-back");
    expectHead("home-2026-11-20-backup");
    expectHead("lvol0_pmspare");
    expectHead("home.snap");
    expectHead("home+pin");
    expectHead("home+staging");
    expectHead("SNAP-Snap");
}


static void
testParseRevisionWithLeadingZero(void)
{
    expectHead("a-0-back");
    expectHead("a-0123-back");
}


static void
testParseRevisionThatIsNoNumber(void)
{
    expectHead("a--back");
    expectHead("a-x-back");
    expectHead("a-1x-back");
    expectHead("a-+1-back");
    expectHead("a1-back");
}


/* The names of devices have room for ten digits. */
static void
testParseRevisionTooLarge(void)
{
    expectState("a-9999999999-back", VIR_STORAGE_THIN_NUMBERED, "a", VIR_STORAGE_THIN_ID_MAX, NULL);
    expectHead("a-10000000000-back");
    expectHead("a-9223372036854775808-back");
    expectHead("a-18446744073709551616-back");
}


static void
testParseNoVolume(void)
{
    expectHead("-snap");
    expectHead("-import");
    expectHead("+stage");
    expectHead("+stage7");
    expectHead("-7-back");
    expectHead("7-back");
    expectHead("+pin+word");
}


static void
testParseWordsThatAreNone(void)
{
    expectHead("a+pin+");
    expectHead("a+pin+live");
    expectHead("a+pin+7");
    expectHead("a+pin+a.b");
    expectHead("a+pin+a+b");
}


static void
testParseStageWithTail(void)
{
    expectHead("a+stage7x");
    expectHead("a+stage-7");
    expectHead("a+stage+7");
}


/* No volume is called like a state of another one, and so has no states either. */
static void
testParseNestedSuffixes(void)
{
    expectHead("a-snap-snap");
    expectHead("a-1-back-snap");
    expectHead("a-snap-1-back");
    expectHead("a+pin+word+stage");
    expectHead("a-import-snap");
    expectHead("a+stage+pin+word");
    expectHead("a+stage-snap");
    expectHead("a+pin+b+pin+c");
}


/* A word may end as the name of an LV of another role does. */
static void
testParseWordsLikeSuffixes(void)
{
    expectState("a+pin+before-snap", VIR_STORAGE_THIN_PINNED, "a", 0, "before-snap");
    expectState("a+pin+before-import", VIR_STORAGE_THIN_PINNED, "a", 0, "before-import");
    expectState("a+pin+before-1-back", VIR_STORAGE_THIN_PINNED, "a", 0, "before-1-back");
    expectState("a+pin+before-1-back-snap", VIR_STORAGE_THIN_PINNED, "a", 0, "before-1-back-snap");
}


static void
testParseEmpty(void)
{
    expectHead("");
}


static void
testClearTwice(void)
{
    virStorageThinName name;

    virStorageThinNameParse("a+pin+word", &name);
    virStorageThinNameClear(&name);
    g_assert_null(name.volume);
    g_assert_null(name.word);
    virStorageThinNameClear(&name);
}


static void
expectDevice(const char *vg,
             const char *lv,
             const char *device)
{
    g_autofree char *got = virStorageThinDeviceName(vg, lv);

    g_assert_cmpstr(got, ==, device);
}


static void
testDevicePlain(void)
{
    expectDevice("vg", "root", "vg-root");
    expectDevice("vg", "a_b+c.d", "vg-a_b+c.d");
}


static void
testDeviceDoublesDashes(void)
{
    expectDevice("vg", "vm-work-root-snap", "vg-vm--work--root--snap");
    expectDevice("my-vg", "root", "my--vg-root");
    expectDevice("a-", "b", "a---b");
    expectDevice("a", "b--c", "a-b----c");
}


static int
check(const char *vg,
      const char *text)
{
    g_auto(virStorageRevName) name = { 0 };

    g_assert_cmpint(virStorageRevNameParse(text, &name), ==, 0);
    return virStorageThinNameCheck(vg, &name);
}


static void
expectTaken(const char *vg,
            const char *text)
{
    g_test_message("%s", text);
    g_assert_cmpint(check(vg, text), ==, 0);
    unitExpectNoError();
}


static void
expectRefused(const char *vg,
              const char *text,
              const char *part)
{
    g_test_message("%s", text);
    g_assert_cmpint(check(vg, text), ==, -1);
    unitExpectError(VIR_ERR_INVALID_ARG, part);
}


static void
testCheckOrdinaryNames(void)
{
    expectTaken(VG, "vm-work-root");
    expectTaken(VG, "vm-work-root@live");
    expectTaken(VG, "vm-work-root@before-upgrade");
    expectTaken(VG, "vm-work-root@7");
    expectTaken(VG, "a_b+c.d");
    expectTaken(VG, ".a");
}


static void
testCheckCharacters(void)
{
    expectRefused(VG, "a b", "'a b'");
    expectRefused(VG, "a/b", "letters, digits");
    expectRefused(VG, "a,b", "letters, digits");
    expectRefused(VG, "a:b", "letters, digits");
    expectRefused(VG, "a=b", "letters, digits");
    expectRefused(VG, "\303\251t\303\251", "letters, digits");
    expectRefused(VG, "a b@live", "'a b'");
}


/* LVM would take it for an option. */
static void
testCheckDashInFront(void)
{
    expectRefused(VG, "-a", "does not come first");
    expectRefused(VG, "--force", "does not come first");
}


static void
testCheckDots(void)
{
    expectRefused(VG, ".", NULL);
    expectRefused(VG, "..", NULL);
}


static void
testCheckNamesOfStates(void)
{
    expectRefused(VG, "a-snap", "'a-snap'");
    expectRefused(VG, "a-7-back", "live copies and revisions");
    expectRefused(VG, "a+pin+word", "live copies and revisions");
    expectRefused(VG, "a+stage", "live copies and revisions");
    expectRefused(VG, "a+stage7", "live copies and revisions");
    expectRefused(VG, "a-import", "live copies and revisions");
    expectRefused(VG, "a-snap@live", "'a-snap'");
}


/* lvm(8) has them under "reserved names"; lvcreate would refuse them only after something else was done. */
static void
testCheckNamesReservedByLVM(void)
{
    const char *parts[] = { "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_mimage", "_mlog", "_rimage",
                            "_rmeta", "_tdata", "_tmeta", "_vdata", "_imeta", "_iorig", "_pmspare", "_vorigin" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_autofree char *end = g_strconcat("a", parts[i], NULL);
        g_autofree char *middle = g_strconcat("a", parts[i], "_0", NULL);
        g_autofree char *pin = g_strconcat("a@before", parts[i], NULL);

        expectRefused(VG, end, "reserved");
        expectRefused(VG, middle, "reserved");
        expectRefused(VG, pin, "reserved");
    }
    expectRefused(VG, "pvmove0", "reserved");
    expectRefused(VG, "snapshot1", "reserved");
    expectTaken(VG, "a-pvmove");
    expectTaken(VG, "my-snapshot");
    expectTaken(VG, "a-tdata");
}


/* They are nobody's states, but nobody could tell their own. */
static void
testCheckNamesWithNestedSuffixes(void)
{
    expectRefused(VG, "a-snap-snap", "live copies and revisions");
    expectRefused(VG, "a-1-back-snap", "live copies and revisions");
    expectRefused(VG, "+stage", "live copies and revisions");
}


/* A name of @len bytes */
static void
expectBorder(const char *vg,
             const char *first,
             size_t len,
             bool taken)
{
    g_autofree char *rest = g_strnfill(len - strlen(first), 'v');
    g_autofree char *name = g_strconcat(first, rest, NULL);

    if (taken)
        expectTaken(vg, name);
    else
        expectRefused(vg, name, "is too long");
}


static void
testCheckLength(void)
{
    size_t longest = DEVICE_MAX - SUFFIX - strlen("vg-");

    expectBorder("vg", "v", longest, true);
    expectBorder("vg", "v", longest + 1, false);
}


static void
testCheckLengthWithDashes(void)
{
    size_t longest = DEVICE_MAX - SUFFIX - strlen("my--vg-");

    expectBorder("my-vg", "vm-a-root-", longest - 3, true);
    expectBorder("my-vg", "vm-a-root-", longest - 2, false);
}


/* The longest revision and the longest staging of the longest volume are devices that the kernel takes. */
static void
testCheckLengthIsThatOfTheLongestState(void)
{
    size_t longest = DEVICE_MAX - SUFFIX - strlen("vg-");
    g_autofree char *volume = g_strnfill(longest, 'v');
    g_autofree char *back = virStorageThinNameFormat(VIR_STORAGE_THIN_NUMBERED, volume, VIR_STORAGE_THIN_ID_MAX, NULL);
    g_autofree char *device = virStorageThinDeviceName(VG, back);
    g_autofree char *stage = virStorageThinNameFormat(VIR_STORAGE_THIN_STAGE, volume, 9999, NULL);
    g_autofree char *stageDevice = virStorageThinDeviceName(VG, stage);

    expectTaken(VG, volume);
    g_assert_cmpuint(strlen(device), ==, DEVICE_MAX);
    g_assert_cmpuint(strlen(stageDevice), <=, DEVICE_MAX);
}


static void
testCheckLengthOfPin(void)
{
    g_autofree char *volume = g_strnfill(80, 'v');
    size_t longest = DEVICE_MAX - strlen("vg-") - strlen(volume) - strlen("+pin+");
    g_autofree char *word = g_strnfill(longest, 'w');
    g_autofree char *fits = g_strconcat(volume, "@", word, NULL);
    g_autofree char *tooLong = g_strconcat(fits, "w", NULL);

    expectTaken(VG, fits);
    expectRefused(VG, tooLong, "is too long");
}


static void
testCheckLengthOfPinWithDashes(void)
{
    g_autofree char *volume = g_strnfill(80, 'v');
    size_t longest = DEVICE_MAX - strlen("vg-") - strlen(volume) - strlen("+pin+");
    g_autofree char *word = g_strnfill(longest - strlen("a--"), 'w');
    g_autofree char *fits = g_strconcat(volume, "@a-", word, NULL);
    g_autofree char *tooLong = g_strconcat(fits, "w", NULL);

    expectTaken(VG, fits);
    expectRefused(VG, tooLong, "is too long");
}


/* A volume whose states could not be told from volumes would lose them with the next refresh. */
static void
testStatesOfTakenNamesAreReadAsSuch(void)
{
    const char *volumes[] = {
        "a", "vm-a-root", "a-", "a-1", "7", "a-snap-snap", "a-1-back-snap", "a-import-snap", "a-snap-1-back",
        "a+pin+b+pin+c", "a+pin+b-snap", "+stage", "+stage7", "7-back", "a+stage-snap", "a+pin+", "a+stage7x",
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(volumes); i++) {
        g_autofree char *live = g_strconcat(volumes[i], "-snap", NULL);
        g_autofree char *back = g_strconcat(volumes[i], "-1763700000-back", NULL);
        g_autofree char *pin = g_strconcat(volumes[i], "+pin+word", NULL);
        g_autofree char *stage = g_strconcat(volumes[i], "+stage", NULL);

        if (check(VG, volumes[i]) < 0) {
            virResetLastError();
            continue;
        }
        expectState(volumes[i], VIR_STORAGE_THIN_HEAD, volumes[i], 0, NULL);
        expectState(live, VIR_STORAGE_THIN_LIVE, volumes[i], 0, NULL);
        expectState(back, VIR_STORAGE_THIN_NUMBERED, volumes[i], 1763700000, NULL);
        expectState(pin, VIR_STORAGE_THIN_PINNED, volumes[i], 0, "word");
        expectState(stage, VIR_STORAGE_THIN_STAGE, volumes[i], 0, NULL);
    }
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/parse/head", testParseHead);
    g_test_add_func("/parse/live", testParseLive);
    g_test_add_func("/parse/numbered", testParseNumbered);
    g_test_add_func("/parse/pinned", testParsePinned);
    g_test_add_func("/parse/stage", testParseStage);
    g_test_add_func("/parse/numbered-stage", testParseNumberedStage);
    g_test_add_func("/parse/stage-with-odd-number", testParseStageWithOddNumber);
    g_test_add_func("/parse/import", testParseImport);
    g_test_add_func("/parse/volume-with-dashes-and-digits", testParseVolumeWithDashesAndDigits);
    g_test_add_func("/parse/other-tools", testParseOtherTools);
    g_test_add_func("/parse/revision-with-leading-zero", testParseRevisionWithLeadingZero);
    g_test_add_func("/parse/revision-that-is-no-number", testParseRevisionThatIsNoNumber);
    g_test_add_func("/parse/revision-too-large", testParseRevisionTooLarge);
    g_test_add_func("/parse/no-volume", testParseNoVolume);
    g_test_add_func("/parse/words-that-are-none", testParseWordsThatAreNone);
    g_test_add_func("/parse/stage-with-tail", testParseStageWithTail);
    g_test_add_func("/parse/nested-suffixes", testParseNestedSuffixes);
    g_test_add_func("/parse/words-like-suffixes", testParseWordsLikeSuffixes);
    g_test_add_func("/parse/empty", testParseEmpty);
    g_test_add_func("/parse/clear-twice", testClearTwice);

    g_test_add_func("/device/plain", testDevicePlain);
    g_test_add_func("/device/doubles-dashes", testDeviceDoublesDashes);

    g_test_add_func("/check/ordinary-names", testCheckOrdinaryNames);
    g_test_add_func("/check/characters", testCheckCharacters);
    g_test_add_func("/check/dash-in-front", testCheckDashInFront);
    g_test_add_func("/check/dots", testCheckDots);
    g_test_add_func("/check/names-of-states", testCheckNamesOfStates);
    g_test_add_func("/check/names-reserved-by-lvm", testCheckNamesReservedByLVM);
    g_test_add_func("/check/names-with-nested-suffixes", testCheckNamesWithNestedSuffixes);
    g_test_add_func("/check/length", testCheckLength);
    g_test_add_func("/check/length-with-dashes", testCheckLengthWithDashes);
    g_test_add_func("/check/length-is-that-of-the-longest-state", testCheckLengthIsThatOfTheLongestState);
    g_test_add_func("/check/length-of-pin", testCheckLengthOfPin);
    g_test_add_func("/check/length-of-pin-with-dashes", testCheckLengthOfPinWithDashes);
    g_test_add_func("/check/states-of-taken-names-are-read-as-such", testStatesOfTakenNamesAreReadAsSuch);

    return g_test_run();
}
