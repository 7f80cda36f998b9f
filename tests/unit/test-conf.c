/*
 * test-conf.c: XML of pools whose volumes have revisions
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

#define REFLINK(inner) \
    "<pool type='reflink'><name>vms</name>" inner "<target><path>/srv/vms</path></target></pool>"

#define THIN(inner) \
    "<pool type='qubes-thin'><name>vmpool</name><source>" inner "</source></pool>"

#define FSPOOL(inner) \
    "<pool type='fspool'><name>trees</name><source>" inner "</source><target><path>/srv/trees</path></target></pool>"


static virStoragePoolDef *
parse(const char *xml)
{
    virStoragePoolDef *def = virStoragePoolDefParse(xml, NULL, 0);

    if (!def)
        g_error("%s: %s", xml, virGetLastErrorMessage());
    return def;
}


static void
expectRefused(const char *xml,
              int code,
              const char *part)
{
    g_autoptr(virStoragePoolDef) def = virStoragePoolDefParse(xml, NULL, 0);

    g_assert_null(def);
    unitExpectError(code, part);
}


static void
expectPrinted(const char *xml,
              const char *part,
              bool there)
{
    g_autoptr(virStoragePoolDef) def = parse(xml);
    g_autofree char *printed = virStoragePoolDefFormat(def);

    g_assert_nonnull(printed);
    if (!!strstr(printed, part) != there)
        g_error("'%s' is %s in:\n%s", part, there ? "not" : "", printed);
}


static void
testTypes(void)
{
    int type;

    for (type = 0; type < VIR_STORAGE_POOL_LAST; type++) {
        const char *name = virStoragePoolTypeToString(type);

        g_assert_cmpint(virStorageRevPoolTypeIs(type), ==,
                        STREQ(name, "qubes-thin") || STREQ(name, "reflink") || STREQ(name, "fspool"));
    }
}


static void
testNothingGiven(void)
{
    g_autoptr(virStoragePoolDef) def = parse(REFLINK(""));
    virStorageRevPool *pool = virStorageRevPoolGet(def);

    g_assert_nonnull(pool);
    g_assert_cmpint(pool->keep, ==, VIR_STORAGE_REV_KEEP_UNSET);
    g_assert_cmpint(virStorageRevPoolKeep(def), ==, VIR_STORAGE_REV_KEEP_DEFAULT);
    g_assert_cmpint(pool->list, ==, VIR_TRISTATE_BOOL_ABSENT);
    g_assert_cmpint(pool->reflinkRequired, ==, VIR_TRISTATE_BOOL_ABSENT);
}


static void
testNothingGivenPrintsNothing(void)
{
    expectPrinted(REFLINK(""), "<revisions", false);
    expectPrinted(REFLINK(""), "<features", false);
}


static void
testKeep(void)
{
    g_autoptr(virStoragePoolDef) def = parse(REFLINK("<revisions keep='7'/>"));

    g_assert_cmpint(virStorageRevPoolKeep(def), ==, 7);
    expectPrinted(REFLINK("<revisions keep='7'/>"), "<revisions keep='7'/>\n", true);
}


static void
testKeepNone(void)
{
    g_autoptr(virStoragePoolDef) def = parse(REFLINK("<revisions keep='0'/>"));

    g_assert_cmpint(virStorageRevPoolKeep(def), ==, 0);
    expectPrinted(REFLINK("<revisions keep='0'/>"), "<revisions keep='0'/>\n", true);
}


static void
testKeepRefused(void)
{
    expectRefused(REFLINK("<revisions keep='-1'/>"), VIR_ERR_XML_ERROR, "keep");
    expectRefused(REFLINK("<revisions keep='10001'/>"), VIR_ERR_XML_ERROR, "keep");
    expectRefused(REFLINK("<revisions keep='2 or 3'/>"), VIR_ERR_XML_ERROR, "keep");
    expectRefused(REFLINK("<revisions keep=''/>"), VIR_ERR_XML_ERROR, "keep");
}


static void
testList(void)
{
    expectPrinted(REFLINK("<revisions list='no'/>"), "<revisions list='no'/>\n", true);
    expectPrinted(REFLINK("<revisions keep='2' list='yes'/>"), "<revisions keep='2' list='yes'/>\n", true);
    expectRefused(REFLINK("<revisions list='maybe'/>"), VIR_ERR_XML_ERROR, "list");
}


static void
testReflinkRequired(void)
{
    expectPrinted(REFLINK("<features><reflink required='no'/></features>"),
                  "<features>\n    <reflink required='no'/>\n  </features>\n", true);
    expectRefused(REFLINK("<features><reflink required='maybe'/></features>"), VIR_ERR_XML_ERROR, "required");
}


static void
testRelativeTarget(void)
{
    expectRefused("<pool type='reflink'><name>vms</name><target><path>srv/vms</path></target></pool>",
                  VIR_ERR_XML_ERROR, "srv/vms");
}


/* Unknown elements are ignored, as they have always been. */
static void
testStockTypesKnowNothing(void)
{
    const char *xml = "<pool type='dir'><name>d</name><revisions keep='-1'/><target><path>d</path></target></pool>";
    g_autoptr(virStoragePoolDef) def = parse(xml);

    g_assert_null(def->namespaceData);
    g_assert_null(virStorageRevPoolGet(def));
    expectPrinted(xml, "<revisions", false);
}


static void
testThinPool(void)
{
    const char *xml = THIN("<device path='/dev/sdb'/><name>vg</name><thinPool name='vm-pool' activation='live'/>");
    g_autoptr(virStoragePoolDef) def = parse(xml);
    virStorageRevPool *pool = virStorageRevPoolGet(def);

    g_assert_cmpstr(pool->thinPool, ==, "vm-pool");
    g_assert_true(pool->hasActivation);
    g_assert_cmpint(pool->activation, ==, VIR_STORAGE_REV_ACTIVATION_LIVE);
    expectPrinted(xml,
                  "  <source>\n"
                  "    <device path='/dev/sdb'/>\n"
                  "    <name>vg</name>\n"
                  "    <thinPool name='vm-pool' activation='live'/>\n"
                  "  </source>\n", true);
}


static void
testThinPoolActivationDefault(void)
{
    g_autoptr(virStoragePoolDef) def = parse(THIN("<name>vg</name><thinPool name='vm-pool'/>"));

    g_assert_false(virStorageRevPoolGet(def)->hasActivation);
    g_assert_cmpint(virStorageRevPoolGet(def)->activation, ==, VIR_STORAGE_REV_ACTIVATION_ALL);
}


static void
testThinPoolTargetIsItsGroup(void)
{
    g_autoptr(virStoragePoolDef) def = parse(THIN("<name>vg</name><thinPool name='vm-pool'/>"));

    g_assert_cmpstr(def->target.path, ==, "/dev/vg");
}


static void
testThinPoolGroupNamedAsPool(void)
{
    g_autoptr(virStoragePoolDef) def = parse(THIN("<thinPool name='vm-pool'/>"));

    g_assert_cmpstr(def->source.name, ==, "vmpool");
}


static void
testThinPoolUse(void)
{
    g_autoptr(virStoragePoolDef) def = parse(THIN("<name>vg</name><thinPool name='vm-pool'/>"));
    virStorageRevPool *pool = virStorageRevPoolGet(def);
    g_autofree char *printed = NULL;

    pool->hasThinUse = true;
    pool->thinUse = (virStorageRevThinUse) { 100, 10, 50, 5 };
    printed = virStoragePoolDefFormat(def);
    g_assert_nonnull(strstr(printed,
                            "    <thinPool name='vm-pool'>\n"
                            "      <data unit='bytes' size='100' used='10'/>\n"
                            "      <metadata unit='bytes' size='50' used='5'/>\n"
                            "    </thinPool>\n"));
}


static void
testThinPoolUseIsOutputOnly(void)
{
    g_autoptr(virStoragePoolDef) def =
        parse(THIN("<name>vg</name><thinPool name='p'><data unit='bytes' size='1' used='1'/></thinPool>"));

    g_assert_false(virStorageRevPoolGet(def)->hasThinUse);
}


static void
testThinPoolRefused(void)
{
    expectRefused(THIN("<name>vg</name>"), VIR_ERR_XML_ERROR, "thinPool");
    expectRefused(THIN("<name>vg</name><thinPool/>"), VIR_ERR_XML_ERROR, "thinPool");
    expectRefused(THIN("<name>vg</name><thinPool name='a/b'/>"), VIR_ERR_XML_ERROR, "a/b");
    expectRefused(THIN("<name>vg</name><thinPool name=''/>"), VIR_ERR_XML_ERROR, "thinPool");
    expectRefused(THIN("<name>vg</name><thinPool name='p' activation='none'/>"), VIR_ERR_XML_ERROR, "activation");
    expectRefused(THIN("<name>-vg</name><thinPool name='p'/>"), VIR_ERR_XML_ERROR, "-vg");
    expectRefused(THIN("<name>..</name><thinPool name='p'/>"), VIR_ERR_XML_ERROR, "..");
}


static void
testFspoolDirectory(void)
{
    g_autoptr(virStoragePoolDef) def = parse(FSPOOL(""));

    g_assert_cmpint(def->source.format, ==, VIR_STORAGE_REV_FSPOOL_AUTO);
    expectPrinted(FSPOOL(""), "<source", false);
}


static void
testFspoolWithoutSource(void)
{
    const char *xml = "<pool type='fspool'><name>f</name><target><path>/f</path></target></pool>";
    g_autoptr(virStoragePoolDef) def = parse(xml);

    g_assert_cmpint(def->source.format, ==, VIR_STORAGE_REV_FSPOOL_AUTO);
}


static void
testFspoolVolume(void)
{
    const char *xml = FSPOOL("<volume pool='vms' volume='data/trees'/><format type='xfs'/>");
    g_autoptr(virStoragePoolDef) def = parse(xml);
    virStorageRevPool *pool = virStorageRevPoolGet(def);

    g_assert_cmpstr(pool->sourcePool, ==, "vms");
    g_assert_cmpstr(pool->sourceVolume, ==, "data/trees");
    g_assert_cmpint(def->source.format, ==, VIR_STORAGE_REV_FSPOOL_XFS);
    expectPrinted(xml,
                  "  <source>\n"
                  "    <volume pool='vms' volume='data/trees'/>\n"
                  "    <format type='xfs'/>\n"
                  "  </source>\n", true);
}


static void
testFspoolNFS(void)
{
    const char *xml = FSPOOL("<host name='nas'/><dir path='/export'/><format type='nfs'/><protocol ver='4.2'/>");
    g_autoptr(virStoragePoolDef) def = parse(xml);

    g_assert_cmpint(def->source.format, ==, VIR_STORAGE_REV_FSPOOL_NFS);
    expectPrinted(xml,
                  "  <source>\n"
                  "    <host name='nas'/>\n"
                  "    <dir path='/export'/>\n"
                  "    <format type='nfs'/>\n"
                  "    <protocol ver='4.2'/>\n"
                  "  </source>\n", true);
}


static void
testFspoolNFSWithoutFormat(void)
{
    g_autoptr(virStoragePoolDef) def =
        parse(FSPOOL("<host name='nas'/><dir path='/export'/><protocol ver='4.2'/>"));

    g_assert_cmpint(def->source.format, ==, VIR_STORAGE_REV_FSPOOL_AUTO);
}


static void
testFspoolVolumeRefused(void)
{
    expectRefused(FSPOOL("<volume pool='vms' volume='a'/>"), VIR_ERR_XML_ERROR, "format");
    expectRefused(FSPOOL("<volume pool='vms' volume='a'/><format type='nfs'/>"), VIR_ERR_XML_ERROR, "format");
    expectRefused(FSPOOL("<volume pool='vms'/><format type='xfs'/>"), VIR_ERR_XML_ERROR, "volume");
    expectRefused(FSPOOL("<volume volume='a'/><format type='xfs'/>"), VIR_ERR_XML_ERROR, "pool");
    expectRefused(FSPOOL("<volume pool='vms' volume='a'/><host name='nas'/><dir path='/e'/><format type='xfs'/>"),
                  VIR_ERR_XML_ERROR, "volume");
}


static void
testFspoolFormatAlone(void)
{
    expectRefused(FSPOOL("<format type='ext4'/>"), VIR_ERR_XML_ERROR, "ext4");
    expectRefused(FSPOOL("<format type='nfs'/>"), VIR_ERR_XML_ERROR, "host");
}


static void
testFspoolNFSRefused(void)
{
    expectRefused(FSPOOL("<host name='nas'/>"), VIR_ERR_XML_ERROR, "dir");
    expectRefused(FSPOOL("<dir path='/export'/>"), VIR_ERR_XML_ERROR, "host");
    expectRefused(FSPOOL("<protocol ver='4.2'/>"), VIR_ERR_XML_ERROR, "host");
    expectRefused(FSPOOL("<host name='a'/><host name='b'/><dir path='/e'/>"), VIR_ERR_XML_ERROR, "host");
    expectRefused(FSPOOL("<host name=''/><dir path='/e'/>"), VIR_ERR_XML_ERROR, "host");
}


static void
testFspoolUnknownFormat(void)
{
    expectRefused(FSPOOL("<format type='cifs'/>"), VIR_ERR_CONFIG_UNSUPPORTED, "cifs");
}


/* <protocol> is only parsed for numbers that mean these in libvirt's own list. */
static void
testFspoolFormatNumbers(void)
{
    g_assert_cmpint(virStorageRevFspoolFormatTypeFromString("auto"), ==, VIR_STORAGE_POOL_NETFS_AUTO);
    g_assert_cmpint(virStorageRevFspoolFormatTypeFromString("nfs"), ==, VIR_STORAGE_POOL_NETFS_NFS);
}


static void
expectConflict(const char *xml,
               const char *other,
               bool conflict)
{
    g_autoptr(virStoragePoolDef) a = parse(xml);
    g_autoptr(virStoragePoolDef) b = parse(other);

    g_assert_cmpint(virStorageRevPoolSourceConflict(a, b), ==, conflict);
    g_assert_cmpint(virStorageRevPoolSourceConflict(b, a), ==, conflict);
}


static void
testConflictOfDirectories(void)
{
    const char *rest = "<target><path>/srv/vms</path></target></pool>";
    const char *others[] = {
        "<pool type='dir'><name>o</name>",
        "<pool type='fs'><name>o</name><source><device path='/dev/sdb'/></source>",
        "<pool type='netfs'><name>o</name><source><host name='n'/><dir path='/e'/></source>",
        "<pool type='reflink'><name>o</name>",
        "<pool type='fspool'><name>o</name>",
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autofree char *other = g_strconcat(others[i], rest, NULL);

        expectConflict(REFLINK(""), other, true);
    }
}


static void
testNoConflictOfOtherDirectories(void)
{
    expectConflict(REFLINK(""), "<pool type='dir'><name>o</name><target><path>/srv/other</path></target></pool>", false);
    expectConflict(REFLINK(""), FSPOOL(""), false);
}


static void
testNoConflictOfStockTypes(void)
{
    const char *dir = "<pool type='dir'><name>o</name><target><path>/srv/o</path></target></pool>";

    expectConflict(dir, dir, false);
}


static void
testConflictOfThinPools(void)
{
    expectConflict(THIN("<name>vg</name><thinPool name='p'/>"),
                   THIN("<name>vg</name><thinPool name='p' activation='live'/>"), true);
    expectConflict(THIN("<name>vg</name><thinPool name='p'/>"),
                   THIN("<name>vg</name><thinPool name='q'/>"), false);
    expectConflict(THIN("<name>vg</name><thinPool name='p'/>"),
                   THIN("<name>other</name><thinPool name='p'/>"), false);
}


static void
testConflictWithLogical(void)
{
    expectConflict(THIN("<name>vg</name><thinPool name='p'/>"),
                   "<pool type='logical'><name>l</name><source><name>vg</name></source></pool>", true);
    expectConflict(THIN("<name>vg</name><thinPool name='p'/>"),
                   "<pool type='logical'><name>l</name><source><name>other</name></source></pool>", false);
}


static void
testConflictOfFspoolSources(void)
{
    const char *elsewhere = "<target><path>/srv/elsewhere</path></target></pool>";
    g_autofree char *volume =
        g_strconcat("<pool type='fspool'><name>o</name><source><volume pool='p' volume='v'/>"
                    "<format type='xfs'/></source>", elsewhere, NULL);
    g_autofree char *nfs =
        g_strconcat("<pool type='fspool'><name>o</name><source><host name='n'/><dir path='/e'/></source>",
                    elsewhere, NULL);

    expectConflict(FSPOOL("<volume pool='p' volume='v'/><format type='xfs'/>"), volume, true);
    expectConflict(FSPOOL("<volume pool='p' volume='w'/><format type='xfs'/>"), volume, false);
    expectConflict(FSPOOL("<host name='n'/><dir path='/e'/>"), nfs, true);
    expectConflict(FSPOOL("<host name='n'/><dir path='/f'/>"), nfs, false);
}


static void
testWithoutOurData(void)
{
    virStoragePoolDef thin = { .type = VIR_STORAGE_POOL_QUBES_THIN, .source.name = (char *) "vg" };
    virStoragePoolDef fspool = { .type = VIR_STORAGE_POOL_FSPOOL };
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    virStorageRevPoolFormat(&buf, &thin);
    g_assert_cmpint(virStorageRevPoolFormatSource(&buf, &thin), ==, 1);
    g_assert_cmpint(virStorageRevPoolFormatSource(&buf, &fspool), ==, 1);
    g_assert_cmpint(virStorageRevPoolKeep(&fspool), ==, VIR_STORAGE_REV_KEEP_DEFAULT);
    g_assert_true(virStorageRevPoolSourceConflict(&thin, &thin));
    g_assert_false(virStorageRevPoolSourceConflict(&fspool, &fspool));
    virStorageRevPoolFree(NULL);
}


static void
countFree(void *data)
{
    (*(int *) data)++;
}


static void
testRuntimeIsFreedOnce(void)
{
    int freed = 0;
    virStoragePoolDef *def = parse(REFLINK(""));

    virStorageRevPoolGet(def)->runtime = &freed;
    virStorageRevPoolGet(def)->runtimeFree = countFree;
    virStoragePoolDefFree(def);
    g_assert_cmpint(freed, ==, 1);
}


static void
addFspoolTests(void)
{
    g_test_add_func("/fspool/directory", testFspoolDirectory);
    g_test_add_func("/fspool/without-source", testFspoolWithoutSource);
    g_test_add_func("/fspool/volume", testFspoolVolume);
    g_test_add_func("/fspool/nfs", testFspoolNFS);
    g_test_add_func("/fspool/nfs-without-format", testFspoolNFSWithoutFormat);
    g_test_add_func("/fspool/volume-refused", testFspoolVolumeRefused);
    g_test_add_func("/fspool/format-alone", testFspoolFormatAlone);
    g_test_add_func("/fspool/nfs-refused", testFspoolNFSRefused);
    g_test_add_func("/fspool/unknown-format", testFspoolUnknownFormat);
    g_test_add_func("/fspool/format-numbers", testFspoolFormatNumbers);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/pool/types", testTypes);
    g_test_add_func("/pool/nothing-given", testNothingGiven);
    g_test_add_func("/pool/nothing-given-prints-nothing", testNothingGivenPrintsNothing);
    g_test_add_func("/pool/keep", testKeep);
    g_test_add_func("/pool/keep-none", testKeepNone);
    g_test_add_func("/pool/keep-refused", testKeepRefused);
    g_test_add_func("/pool/list", testList);
    g_test_add_func("/pool/relative-target", testRelativeTarget);
    g_test_add_func("/pool/stock-types-know-nothing", testStockTypesKnowNothing);
    g_test_add_func("/pool/without-our-data", testWithoutOurData);
    g_test_add_func("/pool/runtime-is-freed-once", testRuntimeIsFreedOnce);
    g_test_add_func("/reflink/required", testReflinkRequired);

    g_test_add_func("/thin/pool", testThinPool);
    g_test_add_func("/thin/activation-default", testThinPoolActivationDefault);
    g_test_add_func("/thin/target-is-its-group", testThinPoolTargetIsItsGroup);
    g_test_add_func("/thin/group-named-as-pool", testThinPoolGroupNamedAsPool);
    g_test_add_func("/thin/use", testThinPoolUse);
    g_test_add_func("/thin/use-is-output-only", testThinPoolUseIsOutputOnly);
    g_test_add_func("/thin/refused", testThinPoolRefused);
    addFspoolTests();

    g_test_add_func("/conflict/directories", testConflictOfDirectories);
    g_test_add_func("/conflict/other-directories", testNoConflictOfOtherDirectories);
    g_test_add_func("/conflict/stock-types", testNoConflictOfStockTypes);
    g_test_add_func("/conflict/thin-pools", testConflictOfThinPools);
    g_test_add_func("/conflict/logical", testConflictWithLogical);
    g_test_add_func("/conflict/fspool-sources", testConflictOfFspoolSources);

    return g_test_run();
}
