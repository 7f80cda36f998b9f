/*
 * test-fspool-archive-damaged.c: archives that are damaged or cut off, and trees that change meanwhile
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "archive-put.h"


/* It was cut off at any byte, by any cause: only behind both blocks of the end it is complete. */
static void
testCutOff(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_auto(Place) place = PLACE_INIT;
    guint8 more[3 * BLOCK] = { 0 };
    size_t end = putSmall(tar);
    size_t len;

    placeMake(&place);
    g_byte_array_append(tar, more, sizeof(more));
    for (len = 0; len <= tar->len; len++) {
        bool whole = len >= end + 2 * BLOCK && len % BLOCK == 0;
        int rc;

        /* all bytes of the end, and about the ends of blocks, and some of the others */
        if (!g_test_slow() && len < end - BLOCK && len % BLOCK > 1 && len % BLOCK < BLOCK - 1 && len % 37 != 0)
            continue;
        rc = unpack(&place, tar->data, len);

        if (rc != (whole ? 0 : -1))
            g_error("%zu of %u bytes: %d, %s", len, tar->len, rc, virGetLastErrorMessage());
        virResetLastError();
        placeEmpty(&place);
    }
}


static void
testDamaged(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_auto(Place) place = PLACE_INIT;
    size_t end = putSmall(tar);
    size_t at;

    placeMake(&place);
    for (at = 0; at < BLOCK; at += 7) {
        tar->data[at] ^= 0x10;
        g_assert_cmpint(unpack(&place, tar->data, tar->len), ==, -1);
        virResetLastError();
        tar->data[at] ^= 0x10;
        placeEmpty(&place);
    }

    /* behind the end */
    tar->data[end + BLOCK + 5] = 1;
    g_assert_cmpint(unpack(&place, tar->data, tar->len), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_FAILED, "there is something behind its end");
    tar->data[end + BLOCK + 5] = 0;
    placeEmpty(&place);
    g_byte_array_append(tar, (const guint8 *) "x", 1);
    g_assert_cmpint(unpack(&place, tar->data, tar->len), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_FAILED, "there is something behind its end");
    placeEmpty(&place);
    g_byte_array_set_size(tar, tar->len - 1);
    putFile(tar, "another", "archive");
    putEnd(tar);
    g_assert_cmpint(unpack(&place, tar->data, tar->len), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_FAILED, "there is something behind its end");
    placeEmpty(&place);

    g_assert_cmpint(unpack(&place, "", 0), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_FAILED, "empty");
    g_assert_cmpint(unpack(&place, "this is no archive", 18), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_FAILED, NULL);
    expectVictimUntouched(&place);
}


/* Swaps a directory for a symbolic link to the victim, and back. */
typedef struct {
    int dirfd;
    int stop;
    unsigned long long swaps;
} Swapper;


static void *
swapInThread(void *opaque)
{
    Swapper *swapper = opaque;

    while (!g_atomic_int_get(&swapper->stop)) {
        if (renameat2(swapper->dirfd, "dir", swapper->dirfd, "swap", RENAME_EXCHANGE) == 0)
            swapper->swaps++;
    }
    return NULL;
}


static void
testUnpackWhileSwapped(void)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_auto(Place) place = PLACE_INIT;
    Swapper swapper = { 0 };
    size_t i;
    size_t good = 0;

    placeMake(&place);
    for (i = 0; i < 300; i++) {
        g_autofree char *name = g_strdup_printf("dir/%c/file%zu", (int) ('a' + i % 3), i);
        g_autofree char *link = g_strdup_printf("dir/link%zu", i);

        putFile(tar, name, "x");
        putHeader(tar, link, '1', name, 0);
        if (i % 10 == 0)
            putHeader(tar, "dir/a", '5', NULL, 0);
    }
    putEnd(tar);

    for (i = 0; i < 50; i++) {
        GThread *thread;

        g_assert_cmpint(symlinkat("../victim", place.to, "swap"), ==, 0);
        swapper.dirfd = place.to;
        swapper.stop = 0;
        thread = g_thread_new("swap", swapInThread, &swapper);
        if (unpack(&place, tar->data, tar->len) == 0)
            good++;
        virResetLastError();
        g_atomic_int_set(&swapper.stop, 1);
        g_thread_join(thread);
        expectVictimUntouched(&place);
        placeEmpty(&place);
    }
    g_test_message("%llu swaps, %zu of 50 got through", swapper.swaps, good);
    g_assert_cmpuint(swapper.swaps, >, 0);
}


static void
testPackWhileSwapped(void)
{
    g_auto(Place) place = PLACE_INIT;
    Swapper swapper = { 0 };
    VIR_AUTOCLOSE dir = -1;
    GThread *thread;
    size_t i;
    size_t good = 0;

    placeMake(&place);
    g_assert_cmpint(mkdirat(place.to, "dir", 0700), ==, 0);
    dir = openDir(place.to, "dir");
    for (i = 0; i < 50; i++) {
        g_autofree char *name = g_strdup_printf("file%zu", i);

        makeFile(dir, name, "public", 0600);
        g_free(name);
        name = g_strdup_printf("dir%zu", i);
        g_assert_cmpint(mkdirat(dir, name, 0700), ==, 0);
    }
    g_assert_cmpint(symlinkat("../victim", place.to, "swap"), ==, 0);
    swapper.dirfd = place.to;
    thread = g_thread_new("swap", swapInThread, &swapper);

    for (i = 0; i < 50; i++) {
        g_autofree char *path = g_strdup_printf("%s/archive", place.path);
        VIR_AUTOCLOSE fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        g_autofree char *data = NULL;
        size_t len;

        if (virStorageFspoolArchivePack(place.to, fd, "item") == 0)
            good++;
        virResetLastError();
        g_assert_true(g_file_get_contents(path, &data, &len, NULL));
        g_assert_null(memmem(data, len, "secret", 6));
    }
    g_atomic_int_set(&swapper.stop, 1);
    g_thread_join(thread);
    g_test_message("%llu swaps, %zu of 50 got through", swapper.swaps, good);
    expectVictimUntouched(&place);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);
    umask(022);

    g_test_add_func("/fspool-archive-damaged/cut-off", testCutOff);
    g_test_add_func("/fspool-archive-damaged/damaged", testDamaged);
    g_test_add_func("/fspool-archive-damaged/unpack-while-swapped", testUnpackWhileSwapped);
    g_test_add_func("/fspool-archive-damaged/pack-while-swapped", testPackWhileSwapped);

    return g_test_run();
}
