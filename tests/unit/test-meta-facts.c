/*
 * test-meta-facts.c: which facts of the metadata go where
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_revision_meta.h"

/* hash of "root" */
#define OURS "&n=4813494d137e1631"

/* all that there is, in the order in which it is written */
#define EVERYTHING \
    "1&f=qcow2&g=8&c=1795197600&n=8a5edab282632443&l=yn&s=a/b!20c&k=0&i=9&x=6&N=w!20b" \
    "&b=7&t=beef&S=1&h=1:2.3&d=10&D=1&P=1&o=fedora-root#3&o=fedora!26base#1"


static void
parse(const char *text,
      virStorageRevMeta *meta)
{
    virStorageRevMetaInit(meta);
    g_assert_cmpint(virStorageRevMetaParse(text, strlen(text), meta), ==, 0);
    unitExpectNoError();
}


static void
expectFormat(const virStorageRevMeta *meta,
             const char *text)
{
    g_autofree char *got = virStorageRevMetaFormat(meta);

    g_assert_cmpstr(got, ==, text);
}


static void
testHash(void)
{
    g_autofree char *hash = virStorageRevMetaHash("a");

    g_assert_cmpstr(hash, ==, "ca978112ca1bbdca");
}


static void
testIsOf(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    meta.volumeHash = virStorageRevMetaHash("root");
    g_assert_true(virStorageRevMetaIsOf(&meta, "root"));
    g_assert_false(virStorageRevMetaIsOf(&meta, "root2"));
}


static void
testIsOfNobody(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    g_assert_false(virStorageRevMetaIsOf(&meta, "root"));
}


static void
testCopy(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_auto(virStorageRevMeta) copy = { 0 };

    parse(EVERYTHING, &meta);
    parse("1&l=yn&s=x&o=y#1", &copy);
    virStorageRevMetaCopy(&copy, &meta);
    virStorageRevMetaClear(&meta);
    expectFormat(&copy, EVERYTHING);
}


static void
testDropVolumeFacts(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    parse(EVERYTHING, &meta);
    virStorageRevMetaDropVolumeFacts(&meta);
    expectFormat(&meta, "1&f=qcow2&g=8&c=1795197600&b=7&t=beef&S=1&h=1:2.3&d=10&D=1&P=1&o=fedora-root#3&o=fedora!26base#1");
}


/* What is about one device says nothing about what is made of it. */
static void
testDropMarks(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    parse(EVERYTHING, &meta);
    virStorageRevMetaDropMarks(&meta);
    expectFormat(&meta, "1&f=qcow2&g=8&c=1795197600&n=8a5edab282632443&l=yn&s=a/b!20c&k=0&i=9&x=6&N=w!20b"
                 "&o=fedora-root#3&o=fedora!26base#1");
}


/* Where a merge or an exchange is about to put a state is no mark of a live copy. */
static void
testDropLiveMarks(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    parse("1&g=8&b=7&t=beef&S=1&u=sc7a5fdbdedaf9455926ad65c16db1809&d=10&P=1", &meta);
    virStorageRevMetaDropLiveMarks(&meta);
    expectFormat(&meta, "1&g=8&d=10&P=1");
}


static void
expectKeptMarks(const char *head,
                const char *live,
                const char *text)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_auto(virStorageRevMeta) from = { 0 };

    parse(head, &meta);
    parse(live, &from);
    virStorageRevMetaKeepMarks(&meta, &from, "root");
    expectFormat(&meta, text);
    unitExpectNoError();
}


/* Not when it was made: it must not be taken for left over, nor for unwritten. */
static void
testKeepMarks(void)
{
    expectKeptMarks("1&g=2" OURS "&i=9",
                    "1&g=1" OURS "&b=1&t=beef&S=1&u=sc7a5fdbdedaf9455926ad65c16db1809&d=3",
                    "1&g=2" OURS "&i=9&S=1&u=sc7a5fdbdedaf9455926ad65c16db1809");
}


static void
testKeepMarksOfCopiedFile(void)
{
    expectKeptMarks("1&g=2" OURS, "1&g=1&n=8a5edab282632443&S=1", "1&g=2" OURS);
}


static void
testKeepMarksWithoutRoom(void)
{
    g_autofree char *source = g_strnfill(160, 's');
    g_autofree char *head = g_strdup_printf("1&g=2" OURS "&l=yn&s=%s", source);

    expectKeptMarks(head, "1" OURS "&S=1&u=sc7a5fdbdedaf9455926ad65c16db1809", head);
}


static void
testCopyVolumeFacts(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_auto(virStorageRevMeta) to = { 0 };

    parse(EVERYTHING, &meta);
    parse("1&g=2&n=8a5edab282632444&k=5&b=3&o=other#4", &to);
    virStorageRevMetaCopyVolumeFacts(&to, &meta);
    expectFormat(&to, "1&g=2&n=8a5edab282632443&l=yn&s=a/b!20c&k=0&i=9&x=6&N=w!20b&b=3&o=other#4");
}


static void
testSetOrigin(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_auto(virStorageRevMeta) of = { 0 };

    parse("1&o=before#1", &meta);
    parse("1&g=4&o=base#2", &of);
    virStorageRevMetaSetOrigin(&meta, "root", &of);
    expectFormat(&meta, "1&o=root#4&o=base#2");
    expectFormat(&of, "1&g=4&o=base#2");
}


static void
testSetOriginOfItself(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    parse("1&g=4&o=base#2", &meta);
    virStorageRevMetaSetOrigin(&meta, "root", &meta);
    expectFormat(&meta, "1&g=4&o=root#4&o=base#2");
}


/* What was found without metadata counts as the first generation. */
static void
testSetOriginOfNoGeneration(void)
{
    g_auto(virStorageRevMeta) meta = { 0 };
    g_auto(virStorageRevMeta) of = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevMetaInit(&of);
    virStorageRevMetaSetOrigin(&meta, "root", &of);
    expectFormat(&meta, "1&o=root#1");
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/hash", testHash);
    g_test_add_func("/is-of", testIsOf);
    g_test_add_func("/is-of-nobody", testIsOfNobody);
    g_test_add_func("/copy", testCopy);
    g_test_add_func("/drop-volume-facts", testDropVolumeFacts);
    g_test_add_func("/drop-marks", testDropMarks);
    g_test_add_func("/drop-live-marks", testDropLiveMarks);
    g_test_add_func("/keep-marks/plain", testKeepMarks);
    g_test_add_func("/keep-marks/copied-file", testKeepMarksOfCopiedFile);
    g_test_add_func("/keep-marks/without-room", testKeepMarksWithoutRoom);
    g_test_add_func("/copy-volume-facts", testCopyVolumeFacts);
    g_test_add_func("/set-origin", testSetOrigin);
    g_test_add_func("/set-origin-of-itself", testSetOriginOfItself);
    g_test_add_func("/set-origin-of-no-generation", testSetOriginOfNoGeneration);

    return g_test_run();
}
