/*
 * test-copy.c: copying images without their holes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <glib/gstdio.h>

#include "unit.h"

#include "storage_revision_copy.h"
#include "virfile.h"

#define KIB 1024
#define UNIT ((size_t) 192 * KIB)
#define SIZE (4 * UNIT)


/* A file that has no name, which is as long as that, and a hole. */
static int
makeHole(off_t size)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "test-copy-XXXXXX", NULL);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(g_unlink(path), ==, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    return fd;
}


static void
putBlock(int fd,
         off_t offset,
         char what)
{
    char block[4 * KIB];

    memset(block, what, sizeof(block));
    g_assert_cmpint(pwrite(fd, block, sizeof(block), offset), ==, sizeof(block));
}


static char *
readAll(int fd,
        size_t size)
{
    g_autofree char *data = g_new0(char, size);

    g_assert_cmpint(pread(fd, data, size, 0), ==, size);
    return g_steal_pointer(&data);
}


static void
expectSame(int from,
           int to,
           size_t size)
{
    g_autofree char *one = readAll(from, size);
    g_autofree char *other = readAll(to, size);

    g_assert_cmpint(memcmp(one, other, size), ==, 0);
}


static void
testDataAndHoles(void)
{
    VIR_AUTOCLOSE from = makeHole(SIZE);
    VIR_AUTOCLOSE to = makeHole(SIZE);

    putBlock(from, 8 * KIB, 'a');
    putBlock(from, 2 * UNIT + 4 * KIB, 'b');
    g_assert_cmpint(virStorageRevCopyData(from, to, 0), ==, 0);
    expectSame(from, to, SIZE);
    g_assert_cmpint(lseek(to, 12 * KIB, SEEK_DATA), ==, 2 * UNIT + 4 * KIB);
}


/* What a thin pool that zeroes no blocks does: all of a unit is there as soon as a part of it is written. */
static void
testWholeUnitsAreWritten(void)
{
    VIR_AUTOCLOSE from = makeHole(SIZE);
    VIR_AUTOCLOSE to = makeHole(SIZE);

    putBlock(from, UNIT + 8 * KIB, 'a');
    g_assert_cmpint(virStorageRevCopyData(from, to, UNIT), ==, 0);
    expectSame(from, to, SIZE);
    g_assert_cmpint(lseek(to, 0, SEEK_DATA), ==, UNIT);
    g_assert_cmpint(lseek(to, UNIT, SEEK_HOLE), >=, 2 * UNIT);
}


/* The source ends within a unit: what is behind it is zeros, too. */
static void
testLastUnitIsWritten(void)
{
    VIR_AUTOCLOSE from = makeHole(UNIT + 12 * KIB);
    VIR_AUTOCLOSE to = makeHole(SIZE);

    putBlock(from, UNIT + 8 * KIB, 'a');
    g_assert_cmpint(virStorageRevCopyData(from, to, UNIT), ==, 0);
    expectSame(from, to, UNIT + 12 * KIB);
    g_assert_cmpint(lseek(to, UNIT, SEEK_HOLE), ==, 2 * UNIT);
}


/* The target ends within a unit. */
static void
testTargetIsNotMadeLonger(void)
{
    VIR_AUTOCLOSE from = makeHole(UNIT + 12 * KIB);
    VIR_AUTOCLOSE to = makeHole(UNIT + 16 * KIB);

    putBlock(from, UNIT + 8 * KIB, 'a');
    g_assert_cmpint(virStorageRevCopyData(from, to, UNIT), ==, 0);
    expectSame(from, to, UNIT + 12 * KIB);
    g_assert_cmpint(lseek(to, 0, SEEK_END), ==, UNIT + 16 * KIB);
}


/* The source has grown since its size was read. */
static void
testTargetIsTooShort(void)
{
    VIR_AUTOCLOSE from = makeHole(SIZE);
    VIR_AUTOCLOSE to = makeHole(UNIT);

    putBlock(from, 2 * UNIT, 'a');
    g_assert_cmpint(virStorageRevCopyData(from, to, 0), ==, -1);
    g_assert_cmpint(errno, ==, ENOSPC);
    g_assert_cmpint(virStorageRevCopyData(from, to, UNIT), ==, -1);
    g_assert_cmpint(errno, ==, ENOSPC);
    g_assert_cmpint(lseek(to, 0, SEEK_END), ==, UNIT);
}


static void
testEmpty(void)
{
    VIR_AUTOCLOSE from = makeHole(0);
    VIR_AUTOCLOSE to = makeHole(SIZE);

    g_assert_cmpint(virStorageRevCopyData(from, to, 0), ==, 0);
    g_assert_cmpint(virStorageRevCopyData(from, to, UNIT), ==, 0);
    g_assert_cmpint(lseek(to, 0, SEEK_DATA), ==, -1);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/copy/data-and-holes", testDataAndHoles);
    g_test_add_func("/copy/whole-units", testWholeUnitsAreWritten);
    g_test_add_func("/copy/last-unit", testLastUnitIsWritten);
    g_test_add_func("/copy/target-is-not-made-longer", testTargetIsNotMadeLonger);
    g_test_add_func("/copy/target-is-too-short", testTargetIsTooShort);
    g_test_add_func("/copy/empty", testEmpty);

    return g_test_run();
}
