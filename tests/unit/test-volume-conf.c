/*
 * test-volume-conf.c: XML of volumes with revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_revision_conf.h"
#include "virbuffer.h"
#include "virerror.h"

#define VOLUME(name, inner) \
    "<volume><name>" name "</name><capacity>1048576</capacity>" inner "</volume>"

static virStoragePoolDef dir = { .type = VIR_STORAGE_POOL_DIR };
static virStoragePoolDef reflink = { .type = VIR_STORAGE_POOL_REFLINK };
static virStoragePoolDef thin = { .type = VIR_STORAGE_POOL_QUBES_THIN };
static virStoragePoolDef fspool = { .type = VIR_STORAGE_POOL_FSPOOL };


static virStorageVolDef *
parse(virStoragePoolDef *pool,
      const char *xml)
{
    virStorageVolDef *def = virStorageVolDefParse(pool, xml, NULL, VIR_VOL_XML_PARSE_NO_CAPACITY);

    if (!def)
        g_error("%s: %s", xml, virGetLastErrorMessage());
    return def;
}


static void
expectRefused(virStoragePoolDef *pool,
              const char *xml,
              int code,
              const char *part)
{
    g_autoptr(virStorageVolDef) def = virStorageVolDefParse(pool, xml, NULL, VIR_VOL_XML_PARSE_NO_CAPACITY);

    g_test_message("%s", xml);
    g_assert_null(def);
    unitExpectError(code, part);
}


static void
expectLifecycle(const char *element,
                bool given,
                bool snapOnStart,
                bool saveOnStop,
                const char *source)
{
    g_autofree char *xml = g_strconcat("<volume><name>a@live</name>", element, "</volume>", NULL);
    g_autoptr(virStorageVolDef) def = parse(&reflink, xml);
    virStorageRevVol *vol = virStorageRevVolGet(def);

    g_assert_cmpint(vol->hasLifecycle, ==, given);
    g_assert_cmpint(vol->snapOnStart, ==, snapOnStart);
    g_assert_cmpint(vol->saveOnStop, ==, saveOnStop);
    g_assert_cmpstr(vol->source, ==, source);
}


static void
expectLifecycleRefused(const char *element,
                       int code,
                       const char *part)
{
    g_autofree char *xml = g_strconcat("<volume><name>a@live</name>", element, "</volume>", NULL);

    expectRefused(&reflink, xml, code, part);
}


static void
testLifecycleDefault(void)
{
    expectLifecycle("", false, false, true, NULL);
    expectLifecycle("<lifecycle/>", true, false, true, NULL);
}


static void
testLifecyclePersistent(void)
{
    expectLifecycle("<lifecycle snapOnStart='no' saveOnStop='yes'/>", true, false, true, NULL);
    expectLifecycle("<lifecycle saveOnStop='yes'/>", true, false, true, NULL);
    expectLifecycle("<lifecycle snapOnStart='no'/>", true, false, true, NULL);
}


static void
testLifecycleVolatile(void)
{
    expectLifecycle("<lifecycle snapOnStart='no' saveOnStop='no'/>", true, false, false, NULL);
    expectLifecycle("<lifecycle saveOnStop='no'/>", true, false, false, NULL);
}


static void
testLifecycleSnapshot(void)
{
    expectLifecycle("<lifecycle snapOnStart='yes' saveOnStop='no' source='x/b'/>", true, true, false, "x/b");
    expectLifecycle("<lifecycle snapOnStart='yes' source='b'/>", true, true, false, "b");
}


static void
expectOnCrash(const char *element,
              virStorageRevOnCrash onCrash,
              const char *printed)
{
    g_autofree char *xml = g_strconcat("<volume><name>a</name>", element, "</volume>", NULL);
    g_autoptr(virStorageVolDef) def = parse(&reflink, xml);
    g_autofree char *text = virStorageVolDefFormat(&reflink, def);

    g_assert_cmpint(virStorageRevVolGet(def)->onCrash, ==, onCrash);
    g_assert_nonnull(strstr(text, printed));
}


/* The default is not printed: documents of volumes that do not ask for it are as they were. */
static void
testLifecycleOnCrash(void)
{
    expectOnCrash("<lifecycle/>", VIR_STORAGE_REV_ON_CRASH_COMMIT, "saveOnStop='yes'/>");
    expectOnCrash("<lifecycle onCrash='commit'/>", VIR_STORAGE_REV_ON_CRASH_COMMIT, "saveOnStop='yes'/>");
    expectOnCrash("<lifecycle onCrash='discard'/>", VIR_STORAGE_REV_ON_CRASH_DISCARD, "saveOnStop='yes' onCrash='discard'/>");
    expectOnCrash("<lifecycle onCrash='keep'/>", VIR_STORAGE_REV_ON_CRASH_KEEP, "saveOnStop='yes' onCrash='keep'/>");
    expectLifecycleRefused("<lifecycle onCrash='panic'/>", VIR_ERR_XML_ERROR, "onCrash");
}


/* Whose live copy it is; nobody's, where the element is empty. */
static void
testDomainRoundTrip(void)
{
    const char *element = "<domain uuid='00112233-4455-6677-8899-aabbccddeeff' use='saved'/>";
    g_autofree char *xml = g_strconcat("<volume><name>a@live</name>", element, "</volume>", NULL);
    g_autoptr(virStorageVolDef) owned = parse(&reflink, xml);
    g_autoptr(virStorageVolDef) freed = parse(&reflink, VOLUME("a@live", "<domain/>"));
    g_autoptr(virStorageVolDef) silent = parse(&reflink, VOLUME("a@live", ""));
    g_autofree char *printed = virStorageVolDefFormat(&reflink, owned);
    g_autofree char *printedFreed = virStorageVolDefFormat(&reflink, freed);

    g_assert_nonnull(strstr(printed, element));
    g_assert_null(strstr(printedFreed, "<domain"));
    g_assert_true(virStorageRevVolGet(freed)->hasDomain);
    g_assert_false(virStorageRevVolGet(silent)->hasDomain);
}


static void
testDomainRefused(void)
{
    expectLifecycleRefused("<domain uuid='x' use='saved'/>", VIR_ERR_XML_ERROR, "'x'");
    expectLifecycleRefused("<domain use='saved'/>", VIR_ERR_XML_ERROR, "uuid");
    expectLifecycleRefused("<domain uuid='00112233-4455-6677-8899-aabbccddeeff'/>", VIR_ERR_XML_ERROR, "use");
    expectLifecycleRefused("<domain uuid='00112233-4455-6677-8899-aabbccddeeff' use='none'/>", VIR_ERR_XML_ERROR, "use");
    expectLifecycleRefused("<domain uuid='00112233-4455-6677-8899-aabbccddeeff' use='lent'/>", VIR_ERR_XML_ERROR, "lent");
}


static void
testLifecycleBoth(void)
{
    expectLifecycleRefused("<lifecycle snapOnStart='yes' saveOnStop='yes' source='b'/>",
                           VIR_ERR_XML_ERROR, "saveOnStop");
}


static void
testLifecycleSourceMissing(void)
{
    expectLifecycleRefused("<lifecycle snapOnStart='yes' saveOnStop='no'/>", VIR_ERR_XML_ERROR, "'source'");
}


static void
testLifecycleSourceNeedless(void)
{
    expectLifecycleRefused("<lifecycle snapOnStart='no' saveOnStop='yes' source='b'/>", VIR_ERR_XML_ERROR, "'source'");
    expectLifecycleRefused("<lifecycle source='b'/>", VIR_ERR_XML_ERROR, "'source'");
}


static void
testLifecycleSourceIsNoVolume(void)
{
    expectLifecycleRefused("<lifecycle snapOnStart='yes' source='b@7'/>", VIR_ERR_XML_ERROR, "b@7");
    expectLifecycleRefused("<lifecycle snapOnStart='yes' source='b@live'/>", VIR_ERR_XML_ERROR, "b@live");
}


/* The name in the document has more than that of the volume. */
static void
testLifecycleSourceIsItself(void)
{
    expectLifecycleRefused("<lifecycle snapOnStart='yes' source='a'/>", VIR_ERR_XML_ERROR, "itself");
}


static void
testLifecycleSourceIsNoName(void)
{
    expectLifecycleRefused("<lifecycle snapOnStart='yes' source='../b'/>", VIR_ERR_INVALID_ARG, "../b");
    expectLifecycleRefused("<lifecycle snapOnStart='yes' source=''/>", VIR_ERR_INVALID_ARG, "empty");
    expectRefused(&thin, VOLUME("a", "<lifecycle snapOnStart='yes' source='b c'/>"), VIR_ERR_INVALID_ARG, "b c");
}


static void
testLifecycleNeitherYesNorNo(void)
{
    expectLifecycleRefused("<lifecycle snapOnStart='maybe'/>", VIR_ERR_XML_ERROR, "snapOnStart");
    expectLifecycleRefused("<lifecycle saveOnStop='1'/>", VIR_ERR_XML_ERROR, "saveOnStop");
}


static void
testLifecycleCheckAlone(void)
{
    g_assert_cmpint(virStorageRevLifecycleCheck("a", false, true, NULL), ==, 0);
    g_assert_cmpint(virStorageRevLifecycleCheck("a", false, false, NULL), ==, 0);
    g_assert_cmpint(virStorageRevLifecycleCheck("a", true, false, "b"), ==, 0);
    unitExpectNoError();
}


static void
testNameAsAPart(void)
{
    g_autoptr(virStorageVolDef) def = parse(&reflink, VOLUME("appvms/work/root@before", ""));

    g_assert_cmpstr(def->name, ==, "appvms/work/root@before");
}


static void
testNameRefused(void)
{
    expectRefused(&reflink, VOLUME("a@b@c", ""), VIR_ERR_INVALID_ARG, "a@b@c");
    expectRefused(&reflink, VOLUME("a@0", ""), VIR_ERR_INVALID_ARG, "a@0");
    expectRefused(&reflink, VOLUME("@live", ""), VIR_ERR_INVALID_ARG, "@live");
    expectRefused(&reflink, VOLUME("../a", ""), VIR_ERR_INVALID_ARG, "../a");
    expectRefused(&reflink, VOLUME("/a@live", ""), VIR_ERR_INVALID_ARG, "/a");
    expectRefused(&fspool, VOLUME("a//b", ""), VIR_ERR_INVALID_ARG, "a//b");
    expectRefused(&reflink, VOLUME("a&#9;b", ""), VIR_ERR_INVALID_ARG, "a\\tb");
}


static void
testNameForLVM(void)
{
    g_autoptr(virStorageVolDef) def = parse(&thin, VOLUME("vm-work_1+2.x@word", ""));

    g_assert_cmpstr(def->name, ==, "vm-work_1+2.x@word");
    expectRefused(&thin, VOLUME("a/b", ""), VIR_ERR_INVALID_ARG, "a/b");
    expectRefused(&thin, VOLUME("a b", ""), VIR_ERR_INVALID_ARG, "a b");
    expectRefused(&thin, VOLUME("-a", ""), VIR_ERR_INVALID_ARG, "-a");
    expectRefused(&thin, VOLUME("\303\251t\303\251", ""), VIR_ERR_INVALID_ARG, "\303\251t\303\251");
}


static void
testKeep(void)
{
    g_autoptr(virStorageVolDef) unset = parse(&reflink, VOLUME("a", "<revisions/>"));
    g_autoptr(virStorageVolDef) none = parse(&reflink, VOLUME("a", "<revisions keep='0'/>"));
    g_autoptr(virStorageVolDef) most = parse(&reflink, VOLUME("a", "<revisions keep='10000'/>"));

    g_assert_cmpint(virStorageRevVolGet(unset)->keep, ==, VIR_STORAGE_REV_KEEP_UNSET);
    g_assert_cmpint(virStorageRevVolGet(none)->keep, ==, 0);
    g_assert_cmpint(virStorageRevVolGet(most)->keep, ==, 10000);
}


static void
testKeepRefused(void)
{
    expectRefused(&reflink, VOLUME("a", "<revisions keep='-1'/>"), VIR_ERR_XML_ERROR, "keep");
    expectRefused(&reflink, VOLUME("a", "<revisions keep='10001'/>"), VIR_ERR_XML_ERROR, "keep");
    expectRefused(&reflink, VOLUME("a", "<revisions keep='x'/>"), VIR_ERR_XML_ERROR, "keep");
}


static void
testLimits(void)
{
    g_autoptr(virStorageVolDef) def = parse(&fspool, VOLUME("a", "<limits><files max='5'/></limits>"));
    g_autoptr(virStorageVolDef) none = parse(&fspool, VOLUME("a", "<limits/>"));

    g_assert_cmpuint(virStorageRevVolGet(def)->filesMax, ==, 5);
    g_assert_cmpuint(virStorageRevVolGet(none)->filesMax, ==, 0);
}


static void
testLimitsRefused(void)
{
    expectRefused(&fspool, VOLUME("a", "<limits><files/></limits>"), VIR_ERR_XML_ERROR, "max");
    expectRefused(&fspool, VOLUME("a", "<limits><files max='-1'/></limits>"), VIR_ERR_XML_ERROR, "max");
}


static void
testLimitsOfTreesOnly(void)
{
    expectRefused(&reflink, VOLUME("a", "<limits><files max='5'/></limits>"), VIR_ERR_XML_ERROR, "limits");
    expectRefused(&thin, VOLUME("a", "<limits><files max='5'/></limits>"), VIR_ERR_XML_ERROR, "limits");
}


static void
testCapacityGivenOrNot(void)
{
    g_autoptr(virStorageVolDef) given = parse(&reflink, VOLUME("a", ""));
    g_autoptr(virStorageVolDef) absent = parse(&reflink, "<volume><name>a</name></volume>");

    g_assert_true(virStorageRevVolGet(given)->hasCapacity);
    g_assert_false(virStorageRevVolGet(absent)->hasCapacity);
}


static void
testFormatGivenOrNot(void)
{
    g_autoptr(virStorageVolDef) given = parse(&reflink, VOLUME("a", "<target><format type='raw'/></target>"));
    g_autoptr(virStorageVolDef) absent = parse(&reflink, VOLUME("a", "<target><format/></target>"));

    g_assert_true(virStorageRevVolGet(given)->hasFormat);
    g_assert_false(virStorageRevVolGet(absent)->hasFormat);
}


static void
testFormatDefault(void)
{
    g_autoptr(virStorageVolDef) image = parse(&reflink, VOLUME("a", ""));
    g_autoptr(virStorageVolDef) lv = parse(&thin, VOLUME("a", ""));
    g_autoptr(virStorageVolDef) tree = parse(&fspool, VOLUME("a", ""));

    g_assert_cmpint(image->target.format, ==, VIR_STORAGE_FILE_RAW);
    g_assert_cmpint(lv->target.format, ==, VIR_STORAGE_FILE_RAW);
    g_assert_cmpint(tree->target.format, ==, VIR_STORAGE_FILE_DIR);
}


static void
testOutputOnly(void)
{
    g_autoptr(virStorageVolDef) def =
        parse(&reflink, VOLUME("a",
                               "<revisions keep='2'><revision name='a@7' id='7' pinned='no'/></revisions>"
                               "<state dirty='yes' outdated='yes' generation='8'/>"
                               "<origin volume='b' generation='1'/>"));
    virStorageRevVol *vol = virStorageRevVolGet(def);

    g_assert_cmpint(vol->keep, ==, 2);
    g_assert_cmpuint(vol->nrevisions, ==, 0);
    g_assert_false(vol->hasState);
    g_assert_false(vol->dirty);
    g_assert_cmpuint(vol->generation, ==, 0);
    g_assert_cmpuint(vol->norigins, ==, 0);
}


static void
testStockTypesKnowNothing(void)
{
    g_autoptr(virStorageVolDef) def =
        parse(&dir, VOLUME("a@b@c", "<lifecycle snapOnStart='maybe'/><revisions keep='-1'/>"));
    g_autofree char *printed = virStorageVolDefFormat(&dir, def);

    g_assert_null(def->target.privateData);
    g_assert_null(virStorageRevVolGet(def));
    g_assert_false(virStorageRevVolIsHidden(def));
    g_assert_null(strstr(printed, "lifecycle"));
    g_assert_null(strstr(printed, "backingStore"));
}


static void
fill(virStorageVolDef *def)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);

    vol->hasLifecycle = true;
    vol->snapOnStart = true;
    vol->saveOnStop = false;
    vol->source = g_strdup("x&y");
    vol->keep = 2;

    vol->nrevisions = 2;
    vol->revisions = g_new0(virStorageRevEntry, 2);
    vol->revisions[0] = (virStorageRevEntry) {
        .name = g_strdup("a@7"), .id = 7, .created = 1795197600, .superseded = 1795201200,
    };
    vol->revisions[1] = (virStorageRevEntry) { .name = g_strdup("a@word"), .pinned = true };

    vol->hasState = true;
    vol->dirty = true;
    vol->generation = 8;

    vol->norigins = 3;
    vol->origins = g_new0(virStorageRevOrigin, 3);
    vol->origins[0] = (virStorageRevOrigin) { g_strdup("x&y"), 3 };
    vol->origins[1] = (virStorageRevOrigin) { g_strdup("base"), 1 };
    vol->origins[2] = (virStorageRevOrigin) { g_strdup("first"), 0 };

    vol->filesMax = 9;
}


static void
testPrintEverything(void)
{
    g_autoptr(virStorageVolDef) def = parse(&fspool, VOLUME("a", ""));
    g_autofree char *printed = NULL;

    fill(def);
    printed = virStorageVolDefFormat(&fspool, def);
    g_assert_nonnull(strstr(printed,
                            "  <allocation unit='bytes'>1048576</allocation>\n"
                            "  <lifecycle snapOnStart='yes' saveOnStop='no' source='x&amp;y'/>\n"
                            "  <revisions keep='2'>\n"
                            "    <revision name='a@7' id='7' created='2026-11-20T18:00:00Z'"
                            " superseded='2026-11-20T19:00:00Z' pinned='no'/>\n"
                            "    <revision name='a@word' pinned='yes'/>\n"
                            "  </revisions>\n"
                            "  <state dirty='yes' outdated='no' generation='8'/>\n"
                            "  <origin volume='x&amp;y' generation='3'>\n"
                            "    <origin volume='base' generation='1'>\n"
                            "      <origin volume='first'/>\n"
                            "    </origin>\n"
                            "  </origin>\n"
                            "  <limits>\n"
                            "    <files max='9'/>\n"
                            "  </limits>\n"
                            "  <target>\n"));
}


static void
testPrintPlainHead(void)
{
    g_autoptr(virStorageVolDef) def = parse(&reflink, VOLUME("a", "<lifecycle/>"));
    g_autofree char *printed = virStorageVolDefFormat(&reflink, def);

    g_assert_nonnull(strstr(printed,
                            "</allocation>\n"
                            "  <lifecycle snapOnStart='no' saveOnStop='yes'/>\n"
                            "  <target>\n"));
}


/* Live copies and revisions have no lifecycle. */
static void
testPrintNothing(void)
{
    g_autoptr(virStorageVolDef) def = parse(&reflink, VOLUME("a@7", ""));
    g_autofree char *printed = virStorageVolDefFormat(&reflink, def);

    g_assert_nonnull(strstr(printed, "</allocation>\n  <target>\n"));
}


static void
testPrintWithoutOurData(void)
{
    g_autoptr(virStorageVolDef) def = parse(&dir, VOLUME("a", ""));
    g_autofree char *printed = virStorageVolDefFormat(&reflink, def);

    g_assert_nonnull(strstr(printed, "</allocation>\n  <target>\n"));
}


static void
testPrintTimeOutOfRange(void)
{
    g_autoptr(virStorageVolDef) def = parse(&reflink, VOLUME("a", ""));
    virStorageRevVol *vol = virStorageRevVolGet(def);
    g_autofree char *printed = NULL;

    vol->nrevisions = 1;
    vol->revisions = g_new0(virStorageRevEntry, 1);
    vol->revisions[0] = (virStorageRevEntry) {
        .name = g_strdup("a@7"), .id = 7, .created = LLONG_MAX, .superseded = -5,
    };
    printed = virStorageVolDefFormat(&reflink, def);
    g_assert_nonnull(strstr(printed, "<revision name='a@7' id='7' pinned='no'/>\n"));
}


static void
testChainEndsWithoutBackingStore(void)
{
    g_autoptr(virStorageVolDef) def = parse(&reflink, VOLUME("a", ""));
    g_autofree char *printed = virStorageVolDefFormat(&reflink, def);

    g_assert_nonnull(strstr(printed, "  </target>\n  <backingStore/>\n</volume>\n"));
}


static void
testChainWithBackingStore(void)
{
    g_autoptr(virStorageVolDef) def =
        parse(&reflink, VOLUME("a", "<backingStore><path>/b.img</path><format type='qcow2'/></backingStore>"));
    g_autofree char *printed = virStorageVolDefFormat(&reflink, def);

    g_assert_nonnull(strstr(printed, "<path>/b.img</path>"));
    g_assert_null(strstr(printed, "<backingStore/>"));
}


static void
testPrintedCanBeFedBack(void)
{
    g_autoptr(virStorageVolDef) def = parse(&fspool, VOLUME("a", ""));
    g_autoptr(virStorageVolDef) again = NULL;
    g_autofree char *printed = NULL;

    fill(def);
    g_free(def->name);
    def->name = g_strdup("another/name");
    printed = virStorageVolDefFormat(&fspool, def);

    again = parse(&fspool, printed);
    g_assert_cmpstr(again->name, ==, "another/name");
    g_assert_cmpstr(virStorageRevVolGet(again)->source, ==, "x&y");
    g_assert_cmpint(virStorageRevVolGet(again)->keep, ==, 2);
    g_assert_cmpuint(virStorageRevVolGet(again)->filesMax, ==, 9);
    g_assert_cmpuint(virStorageRevVolGet(again)->nrevisions, ==, 0);
}


static void
testHidden(void)
{
    g_autoptr(virStorageVolDef) def = parse(&reflink, VOLUME("a@7", ""));

    g_assert_false(virStorageRevVolIsHidden(def));
    virStorageRevVolGet(def)->hidden = true;
    g_assert_true(virStorageRevVolIsHidden(def));
}


static void
testSomebodyElsesData(void)
{
    g_autoptr(virStorageVolDef) def = parse(&dir, VOLUME("a", ""));

    def->target.privateData = (virObject *) virStorageSourceNew();
    g_assert_null(virStorageRevVolGet(def));
    g_assert_false(virStorageRevVolIsHidden(def));
}


static void
testNew(void)
{
    g_autoptr(virStorageRevVol) vol = virStorageRevVolNew();

    g_assert_true(vol->saveOnStop);
    g_assert_false(vol->snapOnStart);
    g_assert_cmpint(vol->keep, ==, VIR_STORAGE_REV_KEEP_UNSET);
    virStorageRevVolClearRevisions(vol);
    virStorageRevVolClearOrigins(vol);
}


static void
addLifecycleTests(void)
{
    g_test_add_func("/lifecycle/default", testLifecycleDefault);
    g_test_add_func("/lifecycle/persistent", testLifecyclePersistent);
    g_test_add_func("/lifecycle/volatile", testLifecycleVolatile);
    g_test_add_func("/lifecycle/snapshot", testLifecycleSnapshot);
    g_test_add_func("/lifecycle/on-crash", testLifecycleOnCrash);
    g_test_add_func("/lifecycle/domain", testDomainRoundTrip);
    g_test_add_func("/lifecycle/domain-refused", testDomainRefused);
    g_test_add_func("/lifecycle/both", testLifecycleBoth);
    g_test_add_func("/lifecycle/source-missing", testLifecycleSourceMissing);
    g_test_add_func("/lifecycle/source-needless", testLifecycleSourceNeedless);
    g_test_add_func("/lifecycle/source-is-no-volume", testLifecycleSourceIsNoVolume);
    g_test_add_func("/lifecycle/source-is-itself", testLifecycleSourceIsItself);
    g_test_add_func("/lifecycle/source-is-no-name", testLifecycleSourceIsNoName);
    g_test_add_func("/lifecycle/neither-yes-nor-no", testLifecycleNeitherYesNorNo);
    g_test_add_func("/lifecycle/check-alone", testLifecycleCheckAlone);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    addLifecycleTests();
    g_test_add_func("/name/parts", testNameAsAPart);
    g_test_add_func("/name/refused", testNameRefused);
    g_test_add_func("/name/lvm", testNameForLVM);
    g_test_add_func("/keep/given", testKeep);
    g_test_add_func("/keep/refused", testKeepRefused);
    g_test_add_func("/limits/given", testLimits);
    g_test_add_func("/limits/refused", testLimitsRefused);
    g_test_add_func("/limits/of-trees-only", testLimitsOfTreesOnly);
    g_test_add_func("/input/capacity-given-or-not", testCapacityGivenOrNot);
    g_test_add_func("/input/format-given-or-not", testFormatGivenOrNot);
    g_test_add_func("/input/format-default", testFormatDefault);
    g_test_add_func("/input/output-only", testOutputOnly);
    g_test_add_func("/input/stock-types-know-nothing", testStockTypesKnowNothing);

    g_test_add_func("/print/everything", testPrintEverything);
    g_test_add_func("/print/plain-head", testPrintPlainHead);
    g_test_add_func("/print/nothing", testPrintNothing);
    g_test_add_func("/print/without-our-data", testPrintWithoutOurData);
    g_test_add_func("/print/time-out-of-range", testPrintTimeOutOfRange);
    g_test_add_func("/print/chain-ends-without-backing-store", testChainEndsWithoutBackingStore);
    g_test_add_func("/print/chain-with-backing-store", testChainWithBackingStore);
    g_test_add_func("/print/can-be-fed-back", testPrintedCanBeFedBack);

    g_test_add_func("/data/new", testNew);
    g_test_add_func("/data/hidden", testHidden);
    g_test_add_func("/data/somebody-elses", testSomebodyElsesData);

    return g_test_run();
}
