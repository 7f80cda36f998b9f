/*
 * limited.h: file systems with quotas, for the tests that need some
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each test makes one in an image, where the kernel can mount it; it is seen by the test's process alone.
 */

#pragma once

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "unit.h"

#include "storage_fspool_privilege.h"
#include "storage_fspool_quota.h"
#include "storage_fspool_subvolume.h"
#include "virfile.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define LIMIT (16 * MIB)


typedef struct _testFs testFs;
struct _testFs {
    const char *name;
    const char *mkfs;
    const char *options;
    virStorageFspoolQuotaKind kind;
};

/* A file system of its own, that is mounted, and the first of two items. */
typedef struct _testPool testPool;
struct _testPool {
    const testFs *fs;
    char *path;
    int fd;
    virStorageFspoolQuota quota;
    int item;
    uint64_t id;
};


static bool
run(const char *command)
{
    g_auto(GStrv) argv = g_strsplit(command, " ", -1);
    int status;

    return g_spawn_sync(NULL, argv, NULL,
                        G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                        NULL, NULL, NULL, NULL, &status, NULL) && status == 0;
}


static bool
mountFresh(testPool *pool)
{
    g_autofree char *image = g_build_filename(g_get_tmp_dir(), "test-limits-XXXXXX", NULL);
    VIR_AUTOCLOSE fd = g_mkstemp_full(image, O_RDWR | O_CLOEXEC, 0600);
    g_autofree char *mkfs = g_strdup_printf("%s %s", pool->fs->mkfs, image);
    g_autofree char *mount = g_strdup_printf("mount -o %s %s %s", pool->fs->options, image, pool->path);
    bool done;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, 512 * MIB), ==, 0);
    done = run(mkfs) && run(mount);
    g_assert_cmpint(g_unlink(image), ==, 0);
    return done;
}


static int
openDir(int dirfd,
        const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}


static int
makeInner(int dirfd,
          const char *name)
{
    g_assert_cmpint(virStorageFspoolSubvolumeCreate(dirfd, name, 0), ==, 0);
    return openDir(dirfd, name);
}


/* Returns a new, empty tree as pools make them. */
static int
makeTree(testPool *pool,
         const char *name)
{
    if (virStorageFspoolIsBtrfs(pool->fd))
        return makeInner(pool->fd, name);
    g_assert_cmpint(mkdirat(pool->fd, name, 0755), ==, 0);
    return openDir(pool->fd, name);
}


static uint64_t
claim(testPool *pool,
      int fd)
{
    uint64_t id = 0;

    g_assert_cmpint(virStorageFspoolQuotaClaim(&pool->quota, pool->fd, fd, &id), ==, 0);
    g_assert_cmpuint(id, !=, 0);
    return id;
}


static void
setLimit(testPool *pool,
         int fd,
         uint64_t id,
         unsigned long long max)
{
    g_assert_cmpint(virStorageFspoolQuotaSetLimits(&pool->quota, fd, id, max, 0), ==, 0);
}


static bool
isEnabled(testPool *pool)
{
    if (!virStorageFspoolIsBtrfs(pool->fd) || virStorageFspoolQuotaEnable(pool->fd, pool->fs->kind) == 0)
        return true;
    g_assert_cmpint(errno, ==, ENOTSUP);
    return false;
}


/* Returns false when there is nothing to test it with. */
static bool
poolSetup(testPool *pool)
{
    pool->path = g_build_filename(g_get_tmp_dir(), "test-limits-XXXXXX", NULL);
    g_assert_nonnull(g_mkdtemp(pool->path));

    if (!mountFresh(pool)) {
        g_test_skip("the kernel cannot mount it");
        return false;
    }
    pool->fd = openDir(AT_FDCWD, pool->path);
    if (!isEnabled(pool)) {
        g_test_skip("the kernel has no such quotas");
        return false;
    }

    g_assert_cmpint(virStorageFspoolQuotaDetect(&pool->quota, pool->fd), ==, 0);
    g_assert_cmpint(pool->quota.kind, ==, pool->fs->kind);
    g_assert_false(pool->quota.inexact);
    if (pool->fs->kind == VIR_STORAGE_FSPOOL_QUOTA_NONE)
        return true;
    pool->item = makeTree(pool, "item");
    pool->id = claim(pool, pool->item);
    return true;
}


static void
poolTeardown(testPool *pool)
{
    VIR_FORCE_CLOSE(pool->item);
    VIR_FORCE_CLOSE(pool->fd);
    virStorageFspoolQuotaClear(&pool->quota);
    umount2(pool->path, MNT_DETACH);
    g_assert_cmpint(g_rmdir(pool->path), ==, 0);
    g_free(pool->path);
}


/* Writes up to so many bytes to a new file. Returns how many it could. */
static unsigned long long
fill(int dirfd,
     const char *name,
     unsigned long long size)
{
    g_autofree char *block = g_malloc(64 * KIB);
    VIR_AUTOCLOSE fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    unsigned long long done = 0;
    ssize_t put;

    if (fd < 0) {
        g_assert_true(errno == EDQUOT || errno == ENOSPC);
        return 0;
    }
    memset(block, 'x', 64 * KIB);
    for (; done < size; done += put) {
        if ((put = write(fd, block, MIN(64 * KIB, size - done))) < 0) {
            g_assert_true(errno == EDQUOT || errno == ENOSPC);
            break;
        }
        if (done % MIB == 0)
            fsync(fd); /* what is full says so when it is full */
    }
    fsync(fd);
    return done;
}


static void
expectRecord(testPool *pool,
             uint64_t id,
             unsigned long long max,
             unsigned long long least,
             unsigned long long most)
{
    g_autoptr(GHashTable) table = NULL;
    virStorageFspoolQuotaRecord record;

    g_assert_cmpint(syncfs(pool->fd), ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaRead(&pool->quota, pool->fd, id, &record), ==, 0);
    g_assert_cmpuint(record.spaceMax, ==, max);
    g_assert_cmpuint(record.spaceUsed, >=, least);
    g_assert_cmpuint(record.spaceUsed, <=, most);

    g_assert_nonnull(table = virStorageFspoolQuotaReadAll(&pool->quota, pool->fd));
    g_assert_cmpmem(virStorageFspoolQuotaLookup(table, id), sizeof(record), &record, sizeof(record));
}


typedef struct _testCase testCase;
struct _testCase {
    const testFs *fs;
    void (*test)(testPool *pool);
};


static void
runCase(const void *opaque)
{
    const testCase *data = opaque;
    testPool pool = { .fs = data->fs, .fd = -1, .item = -1 };

    if (poolSetup(&pool))
        data->test(&pool);
    poolTeardown(&pool);
}


static void
addTest(const testFs *fs,
        const char *name,
        void (*test)(testPool *))
{
    g_autofree char *path = g_strdup_printf("/limits/%s/%s", fs->name, name);
    testCase *data = g_new0(testCase, 1);

    data->fs = fs;
    data->test = test;
    g_test_add_data_func_full(path, data, runCase, g_free);
}


/* What is mounted from now on goes away with this process, whatever becomes of it. */
static bool
limitedInit(int *argc,
           char ***argv)
{
    unitInit(argc, argv);
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    virStorageFspoolExemptionDrop();
    return true;
}
