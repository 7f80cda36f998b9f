/*
 * test-thin-report.c: LVM's report of a volume group
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_thin_report.h"
#include "virerror.h"

/* Of LVM 2.03.16: two thin pools, one of whose volumes waits to be merged, and a linear volume. */
#define REAL \
    "  {\n" \
    "      \"report\": [\n" \
    "          {\n" \
    "              \"vg\": [\n" \
    "                  {\"vg_extent_size\":\"4194304\", \"vg_mda_free\":\"516096\"}\n" \
    "              ]\n" \
    "              ,\n" \
    "              \"pv\": [\n" \
    "                  {\"pv_name\":\"/dev/vda\"},\n" \
    "                  {\"pv_name\":\"/dev/vdb\"}\n" \
    "              ]\n" \
    "              ,\n" \
    "              \"lv\": [\n" \
    "              ]\n" \
    "              ,\n" \
    "              \"pvseg\": [\n" \
    "              ]\n" \
    "              ,\n" \
    "              \"seg\": [\n" \
    ROW("other", "0M4OA5", "104857600", "", "", "", "thin-pool", "", "", "4194304") ",\n" \
    ROW("[vm-pool_tmeta]", "0i0gqu", "8388608", "", "", "", "linear", "", "", "") ",\n" \
    ROW("[vm-m-snap]", "2uEtsG", "67108864", "vm-m", "vm-pool", "", "thin", "4", "merging", "") ",\n" \
    ROW("vm-m", "A6hjpN", "134217728", "", "vm-pool", "", "thin", "2", "", "") ",\n" \
    ROW("vm-elsewhere", "DqesOK", "67108864", "", "other", "", "thin", "1", "", "") ",\n" \
    ROW("[vm-pool_tdata]", "N9cklp", "314572800", "", "", "", "linear", "", "", "") ",\n" \
    ROW("vm-pool", "W0AA8l", "314572800", "", "", "", "thin-pool", "", "", "8388608") ",\n" \
    ROW("vm-m-1-back", "bGt0rC", "67108864", "vm-m", "vm-pool", "libvirt=1&g=2&i=5,other.tool", "thin", "3", "", "") ",\n" \
    ROW("[lvol0_pmspare]", "nWNYTr", "8388608", "", "", "", "linear", "", "", "") ",\n" \
    ROW("swap", "qxTYWe", "12582912", "", "", "", "linear", "", "", "") "\n" \
    "              ]\n" \
    "          }\n" \
    "      ]\n" \
    "  }\n"

#define ROW(name, uuid, size, origin, pool, tags, type, id, merging, metadata) \
    "                  {\"lv_name\":\"" name "\", \"lv_uuid\":\"" uuid "\", \"lv_size\":\"" size "\", " \
    "\"origin\":\"" origin "\", \"pool_lv\":\"" pool "\", \"lv_tags\":\"" tags "\", \"segtype\":\"" type "\", " \
    "\"thin_id\":\"" id "\", \"lv_merging\":\"" merging "\", \"lv_metadata_size\":\"" metadata "\"}"

/* the least that is a report, around physical volumes and segments */
#define REPORT(pvs, segments) \
    "{\"report\":[{\"vg\":[{\"vg_extent_size\":\"4194304\",\"vg_mda_free\":\"1024\"}]," \
    "\"pv\":[" pvs "],\"lv\":[],\"pvseg\":[],\"seg\":[" segments "]}]}"

#define PV(name) "{\"pv_name\":\"" name "\"}"
#define POOL ROW("pool", "u", "314572800", "", "", "", "thin-pool", "", "", "8388608")
#define THIN(name) ROW(name, "u", "4194304", "", "pool", "", "thin", "1", "", "")


static virStorageThinReport *
parse(const char *text,
      const char *thinPool)
{
    virStorageThinReport *report = virStorageThinReportParse(text, thinPool);

    if (!report)
        g_error("%s", virGetLastErrorMessage());
    unitExpectNoError();
    return report;
}


static const virStorageThinLV *
find(const virStorageThinReport *report,
     const char *name)
{
    const virStorageThinLV *found = NULL;
    size_t i;

    for (i = 0; i < report->lvs->len; i++) {
        const virStorageThinLV *lv = g_ptr_array_index(report->lvs, i);

        if (STREQ(lv->name, name)) {
            g_assert_null(found);
            found = lv;
        }
    }
    return found;
}


static void
expectRefused(const char *text)
{
    g_assert_null(virStorageThinReportParse(text, "pool"));
    unitExpectError(VIR_ERR_INTERNAL_ERROR, "cannot be read");
}


static void
testTransactionIds(void)
{
    g_autoptr(virStorageThinReport) report =
        parse(REPORT(PV("/dev/sdb"),
                     "{\"lv_name\":\"pool\", \"lv_size\":\"314572800\", \"segtype\":\"thin-pool\", "
                     "\"transaction_id\":\"8\", \"lv_metadata_size\":\"8388608\"}, "
                     "{\"lv_name\":\"a\", \"lv_uuid\":\"u\", \"lv_size\":\"4194304\", \"pool_lv\":\"pool\", "
                     "\"segtype\":\"thin\", \"thin_id\":\"6\", \"transaction_id\":\"7\"}"), "pool");

    g_assert_cmpuint(report->poolTransactionId, ==, 8);
    g_assert_cmpuint(find(report, "a")->transactionId, ==, 7);
    expectRefused(REPORT(PV("/dev/sdb"), "{\"lv_name\":\"pool\", \"segtype\":\"thin-pool\", "
                                         "\"transaction_id\":\"-1\"}"));
}


static void
testGroup(void)
{
    g_autoptr(virStorageThinReport) report = parse(REAL, "vm-pool");

    g_assert_cmpuint(report->extentSize, ==, 4194304);
    g_assert_cmpuint(report->metadataFree, ==, 516096);
    g_assert_cmpuint(g_strv_length(report->pvs), ==, 2);
    g_assert_cmpstr(report->pvs[0], ==, "/dev/vda");
    g_assert_cmpstr(report->pvs[1], ==, "/dev/vdb");
}


static void
testPool(void)
{
    g_autoptr(virStorageThinReport) report = parse(REAL, "vm-pool");

    g_assert_true(report->hasPool);
    g_assert_cmpuint(report->poolSize, ==, 314572800);
    g_assert_cmpuint(report->poolMetadataSize, ==, 8388608);
}


static void
testVolume(void)
{
    g_autoptr(virStorageThinReport) report = parse(REAL, "vm-pool");
    const virStorageThinLV *lv = find(report, "vm-m");

    g_assert_nonnull(lv);
    g_assert_cmpstr(lv->uuid, ==, "A6hjpN");
    g_assert_cmpuint(lv->size, ==, 134217728);
    g_assert_cmpuint(lv->thinId, ==, 2);
    g_assert_null(lv->origin);
    g_assert_false(lv->merging);
    g_assert_cmpuint(g_strv_length(lv->tags), ==, 0);
}


static void
testSnapshotWithTags(void)
{
    g_autoptr(virStorageThinReport) report = parse(REAL, "vm-pool");
    const virStorageThinLV *lv = find(report, "vm-m-1-back");

    g_assert_nonnull(lv);
    g_assert_cmpstr(lv->origin, ==, "vm-m");
    g_assert_cmpuint(g_strv_length(lv->tags), ==, 2);
    g_assert_cmpstr(lv->tags[0], ==, "libvirt=1&g=2&i=5");
    g_assert_cmpstr(lv->tags[1], ==, "other.tool");
}


/* LVM hides what it is about to merge. */
static void
testMergingSnapshot(void)
{
    g_autoptr(virStorageThinReport) report = parse(REAL, "vm-pool");
    const virStorageThinLV *lv = find(report, "vm-m-snap");

    g_assert_nonnull(lv);
    g_assert_true(lv->merging);
    g_assert_cmpstr(lv->origin, ==, "vm-m");
    g_assert_cmpuint(lv->thinId, ==, 4);
}


static void
testHiddenOrigin(void)
{
    g_autoptr(virStorageThinReport) report =
        parse(REPORT(PV("/dev/sdb"), ROW("a", "u", "1", "[b]", "pool", "", "thin", "1", "", "")), "pool");

    g_assert_cmpstr(find(report, "a")->origin, ==, "b");
}


static void
testLVsOfOtherKinds(void)
{
    g_autoptr(virStorageThinReport) report = parse(REAL, "vm-pool");

    g_assert_cmpuint(report->lvs->len, ==, 3);
    g_assert_null(find(report, "swap"));
    g_assert_null(find(report, "vm-pool"));
    g_assert_null(find(report, "vm-pool_tmeta"));
    g_assert_null(find(report, "vm-pool_tdata"));
    g_assert_null(find(report, "lvol0_pmspare"));
}


static void
testLVsOfAnotherPool(void)
{
    g_autoptr(virStorageThinReport) report = parse(REAL, "other");

    g_assert_cmpuint(report->poolSize, ==, 104857600);
    g_assert_cmpuint(report->lvs->len, ==, 1);
    g_assert_nonnull(find(report, "vm-elsewhere"));
}


static void
testNoSuchPool(void)
{
    g_autoptr(virStorageThinReport) report = parse(REAL, "pool");

    g_assert_false(report->hasPool);
    g_assert_cmpuint(report->lvs->len, ==, 0);
    g_assert_cmpuint(g_strv_length(report->pvs), ==, 2);
}


/* A linear volume may have the name that the pool is thought to have. */
static void
testPoolOfAnotherKind(void)
{
    g_autoptr(virStorageThinReport) report = parse(REAL, "swap");

    g_assert_false(report->hasPool);
    g_assert_cmpuint(report->poolSize, ==, 0);
}


static void
testMissingDevice(void)
{
    g_autoptr(virStorageThinReport) report = parse(REPORT(PV("/dev/vda") "," PV("[unknown]"), POOL), "pool");

    g_assert_null(report->pvs);
    g_assert_true(report->hasPool);
}


static void
testEmptyGroup(void)
{
    g_autoptr(virStorageThinReport) report = parse(REPORT(PV("/dev/sdb"), ""), "pool");

    g_assert_false(report->hasPool);
    g_assert_cmpuint(report->lvs->len, ==, 0);
}


static void
testEmptyNumbers(void)
{
    g_autoptr(virStorageThinReport) report =
        parse("{\"report\":[{\"vg\":[{\"vg_extent_size\":\"\",\"vg_mda_free\":\"\"}],\"pv\":[],\"seg\":["
              ROW("a", "", "", "", "pool", "", "thin", "", "", "") "]}]}", "pool");

    g_assert_cmpuint(report->extentSize, ==, 0);
    g_assert_cmpuint(report->metadataFree, ==, 0);
    g_assert_cmpuint(find(report, "a")->size, ==, 0);
    g_assert_cmpuint(find(report, "a")->thinId, ==, 0);
}


static void
testMissingColumns(void)
{
    g_autoptr(virStorageThinReport) report =
        parse(REPORT(PV("/dev/sdb"), "{\"lv_name\":\"a\",\"segtype\":\"thin\",\"pool_lv\":\"pool\"}"), "pool");
    const virStorageThinLV *lv = find(report, "a");

    g_assert_nonnull(lv);
    g_assert_cmpstr(lv->uuid, ==, "");
    g_assert_null(lv->origin);
    g_assert_cmpuint(g_strv_length(lv->tags), ==, 0);
}


static void
testUnknownColumns(void)
{
    g_autoptr(virStorageThinReport) report =
        parse(REPORT(PV("/dev/sdb"), "{\"lv_name\":\"a\",\"segtype\":\"thin\",\"pool_lv\":\"pool\",\"new\":[7]}"), "pool");

    g_assert_nonnull(find(report, "a"));
}


/* LVM takes no quotes or backslashes for names or tags, and JSON may have them all the same. */
static void
testEscapes(void)
{
    g_autoptr(virStorageThinReport) report =
        parse(REPORT(PV("/dev/disk/by-id/\\u00e9"), ROW("a", "u", "1", "", "pool", "x\\/y", "thin", "1", "", "")), "pool");

    g_assert_cmpstr(report->pvs[0], ==, "/dev/disk/by-id/\303\251");
    g_assert_cmpstr(find(report, "a")->tags[0], ==, "x/y");
}


static void
testManyVolumes(void)
{
    g_autoptr(GString) text = g_string_new("{\"report\":[{\"vg\":[{\"vg_extent_size\":\"4194304\"}],\"pv\":[],\"seg\":[" POOL);
    g_autoptr(virStorageThinReport) report = NULL;
    size_t i;

    for (i = 0; i < 10000; i++)
        g_string_append_printf(text, "," THIN("vm-%zu"), i);
    g_string_append(text, "]}]}");
    report = parse(text->str, "pool");
    g_assert_cmpuint(report->lvs->len, ==, 10000);
}


static void
testBrokenJSON(void)
{
    expectRefused("");
    expectRefused("  WARNING: something\n" REPORT(PV("/dev/sdb"), POOL));
    expectRefused("{\"report\":[{\"vg\":[{\"vg_extent_size\":\"4194304\"}]");
    expectRefused("\377\376");
}


static void
testOtherJSON(void)
{
    expectRefused("7");
    expectRefused("[]");
    expectRefused("{}");
    expectRefused("{\"report\":{}}");
    expectRefused("{\"report\":\"none\"}");
    expectRefused("{\"report\":[7]}");
    expectRefused("{\"report\":[{}]}");
    expectRefused("{\"report\":[{\"vg\":[{}],\"pv\":[]}]}");
    expectRefused("{\"report\":[{\"vg\":[{}],\"seg\":[]}]}");
    expectRefused("{\"report\":[{\"vg\":[],\"pv\":[],\"seg\":[]}]}");
}


/* That is how LVM says that there is no such group. */
static void
testNoReport(void)
{
    expectRefused("{\"report\":[]}");
}


/* Of groups of the same name, it would be anybody's guess which one is meant. */
static void
testSeveralReports(void)
{
    expectRefused("{\"report\":[{\"vg\":[{}],\"pv\":[],\"seg\":[]},{\"vg\":[{}],\"pv\":[],\"seg\":[]}]}");
    expectRefused("{\"report\":[{\"vg\":[{},{}],\"pv\":[],\"seg\":[]}]}");
}


static void
testNumbersThatAreNone(void)
{
    expectRefused(REPORT(PV("/dev/sdb"), ROW("a", "u", "4.00m", "", "pool", "", "thin", "1", "", "")));
    expectRefused(REPORT(PV("/dev/sdb"), ROW("a", "u", "-1", "", "pool", "", "thin", "1", "", "")));
    expectRefused(REPORT(PV("/dev/sdb"), ROW("a", "u", "1", "", "pool", "", "thin", "x", "", "")));
    expectRefused(REPORT(PV("/dev/sdb"), ROW("a", "u", "1", "", "pool", "", "thin", "4294967296", "", "")));
    expectRefused(REPORT(PV("/dev/sdb"), ROW("pool", "u", "1g", "", "", "", "thin-pool", "", "", "")));
    expectRefused(REPORT(PV("/dev/sdb"), ROW("pool", "u", "1", "", "", "", "thin-pool", "", "", "8m")));
}


/* Those of others' LVs do not matter. */
static void
testNumbersOfOtherLVs(void)
{
    g_autoptr(virStorageThinReport) report =
        parse(REPORT(PV("/dev/sdb"), ROW("a", "u", "4.00m", "", "other", "", "thin", "1", "", "") "," POOL), "pool");

    g_assert_true(report->hasPool);
}


static void
testVolumeWithoutName(void)
{
    expectRefused(REPORT(PV("/dev/sdb"), THIN("")));
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/group", testGroup);
    g_test_add_func("/transaction-ids", testTransactionIds);
    g_test_add_func("/pool", testPool);
    g_test_add_func("/volume", testVolume);
    g_test_add_func("/snapshot-with-tags", testSnapshotWithTags);
    g_test_add_func("/merging-snapshot", testMergingSnapshot);
    g_test_add_func("/hidden-origin", testHiddenOrigin);
    g_test_add_func("/lvs-of-other-kinds", testLVsOfOtherKinds);
    g_test_add_func("/lvs-of-another-pool", testLVsOfAnotherPool);
    g_test_add_func("/no-such-pool", testNoSuchPool);
    g_test_add_func("/pool-of-another-kind", testPoolOfAnotherKind);
    g_test_add_func("/missing-device", testMissingDevice);
    g_test_add_func("/empty-group", testEmptyGroup);
    g_test_add_func("/empty-numbers", testEmptyNumbers);
    g_test_add_func("/missing-columns", testMissingColumns);
    g_test_add_func("/unknown-columns", testUnknownColumns);
    g_test_add_func("/escapes", testEscapes);
    g_test_add_func("/many-volumes", testManyVolumes);

    g_test_add_func("/refused/broken-json", testBrokenJSON);
    g_test_add_func("/refused/other-json", testOtherJSON);
    g_test_add_func("/refused/no-report", testNoReport);
    g_test_add_func("/refused/several-reports", testSeveralReports);
    g_test_add_func("/refused/numbers-that-are-none", testNumbersThatAreNone);
    g_test_add_func("/numbers-of-other-lvs", testNumbersOfOtherLVs);
    g_test_add_func("/refused/volume-without-name", testVolumeWithoutName);

    return g_test_run();
}
