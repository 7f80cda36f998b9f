/*
 * test-fspool-limits.c: space and file limits of directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "limited.h"

#include "storage_fspool_mountinfo.h"

static const testFs fileSystems[] = {
    { "btrfs", "mkfs.btrfs -q", "loop", VIR_STORAGE_FSPOOL_QUOTA_NONE },
    { "btrfs-full", "mkfs.btrfs -q", "loop", VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL },
    { "btrfs-simple", "mkfs.btrfs -q", "loop", VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE },
    { "xfs-none", "mkfs.xfs -q", "loop", VIR_STORAGE_FSPOOL_QUOTA_NONE },
    { "xfs-counts", "mkfs.xfs -q", "loop,pqnoenforce", VIR_STORAGE_FSPOOL_QUOTA_NONE },
    { "xfs", "mkfs.xfs -q", "loop,prjquota", VIR_STORAGE_FSPOOL_QUOTA_PROJECT },
    { "ext4-none", "mkfs.ext4 -q", "loop", VIR_STORAGE_FSPOOL_QUOTA_NONE },
    { "ext4-counts", "mkfs.ext4 -q -O project,quota -E quotatype=prjquota", "loop", VIR_STORAGE_FSPOOL_QUOTA_NONE },
    { "ext4", "mkfs.ext4 -q -O project,quota -E quotatype=prjquota", "loop,prjquota",
      VIR_STORAGE_FSPOOL_QUOTA_PROJECT },
};


static void
testDetectsNone(testPool *pool)
{
    g_assert_nonnull(pool->quota.reason);
    g_assert_cmpint(virStorageFspoolQuotaSetLimits(&pool->quota, pool->fd, 0, LIMIT, 0), ==, -1);
    g_assert_cmpint(errno, ==, ENOTSUP);
}


static void
testLimitHolds(testPool *pool)
{
    VIR_AUTOCLOSE other = -1;
    uint64_t otherId;

    other = makeTree(pool, "other");
    otherId = claim(pool, other);
    expectRecord(pool, pool->id, 0, 0, MIB);
    setLimit(pool, pool->item, pool->id, LIMIT);

    g_assert_cmpuint(fill(pool->item, "a", 2 * LIMIT), <=, LIMIT);
    expectRecord(pool, pool->id, LIMIT, LIMIT - 2 * MIB, LIMIT);
    g_assert_cmpuint(fill(other, "a", 2 * LIMIT), ==, 2 * LIMIT);
    expectRecord(pool, otherId, 0, 2 * LIMIT, 2 * LIMIT + MIB);

    setLimit(pool, pool->item, pool->id, 2 * LIMIT);
    g_assert_cmpuint(fill(pool->item, "b", LIMIT / 2), ==, LIMIT / 2);
    setLimit(pool, pool->item, pool->id, LIMIT);
    g_assert_cmpuint(fill(pool->item, "c", MIB), ==, 0);
    setLimit(pool, pool->item, pool->id, 0);
    g_assert_cmpuint(fill(pool->item, "d", LIMIT), ==, LIMIT);
    expectRecord(pool, pool->id, 0, 2 * LIMIT, 3 * LIMIT);
}


static void
testLimitIsRoundedUp(testPool *pool)
{
    virStorageFspoolQuotaRecord record;

    setLimit(pool, pool->item, pool->id, LIMIT + 1);
    g_assert_cmpint(virStorageFspoolQuotaRead(&pool->quota, pool->item, pool->id, &record), ==, 0);
    g_assert_cmpuint(record.spaceMax, >, LIMIT);
    g_assert_cmpuint(record.spaceMax, <=, LIMIT + 64 * KIB);

    g_assert_cmpint(virStorageFspoolQuotaSetLimits(&pool->quota, pool->item, pool->id, 1ULL << 63, 0), ==, -1);
    g_assert_cmpint(errno, ==, ERANGE);
    g_assert_cmpint(virStorageFspoolQuotaSetLimits(&pool->quota, pool->item, 0, LIMIT, 0), ==, -1);
    g_assert_cmpint(errno, ==, EINVAL);
}


static void
testFilesLimit(testPool *pool)
{
    virStorageFspoolQuotaRecord record;
    size_t i;

    if (!virStorageFspoolQuotaCountsFiles(&pool->quota)) {
        g_assert_cmpint(virStorageFspoolQuotaSetLimits(&pool->quota, pool->item, pool->id, 0, 10), ==, -1);
        g_assert_cmpint(errno, ==, ENOTSUP);
        return;
    }

    g_assert_cmpint(virStorageFspoolQuotaSetLimits(&pool->quota, pool->item, pool->id, 0, 10), ==, 0);
    for (i = 0; i < 20; i++) {
        g_autofree char *name = g_strdup_printf("%zu", i);

        if (mkdirat(pool->item, name, 0755) < 0)
            break;
    }
    g_assert_true(errno == EDQUOT || errno == ENOSPC);
    g_assert_cmpuint(i, ==, 9); /* the item's own directory is counted */
    g_assert_cmpint(virStorageFspoolQuotaRead(&pool->quota, pool->item, pool->id, &record), ==, 0);
    g_assert_cmpuint(record.filesMax, ==, 10);
    g_assert_cmpuint(record.filesUsed, ==, 10);
    g_assert_cmpuint(record.spaceMax, ==, 0);
}


/* Makes trees, and writes their ids. */
static void
claimMany(testPool *pool,
          const char *prefix,
          uint64_t *ids,
          size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("%s%zu", prefix, i);
        VIR_AUTOCLOSE fd = makeTree(pool, name);
        uint64_t id;

        ids[i] = claim(pool, fd);
        g_assert_cmpint(virStorageFspoolQuotaIdOf(&pool->quota, fd, &id), ==, 0);
        g_assert_cmpuint(id, ==, ids[i]);
    }
}


/* Two processes at once: what they do not share is any lock. */
static void
testIdsAreUnique(testPool *pool)
{
    const size_t n = 60;
    g_autoptr(GHashTable) seen = g_hash_table_new(g_int64_hash, g_int64_equal);
    uint64_t *ids;
    pid_t child;
    int status;
    size_t i;

    ids = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(ids != MAP_FAILED);
    if ((child = fork()) == 0) {
        claimMany(pool, "child", ids + n, n);
        _exit(0);
    }
    claimMany(pool, "parent", ids, n);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);

    g_assert_true(g_hash_table_add(seen, &pool->id));
    for (i = 0; i < 2 * n; i++)
        g_assert_true(g_hash_table_add(seen, &ids[i]));
    munmap(ids, 4096);
}


/* What a copy by hand makes, and what others gave to a directory. */
static void
testIdIsItsOwn(testPool *pool)
{
    VIR_AUTOCLOSE fd = -1;
    uint64_t id = 1;

    g_assert_cmpint(mkdirat(pool->fd, "plain", 0755), ==, 0);
    fd = openDir(pool->fd, "plain");
    g_assert_cmpint(virStorageFspoolQuotaIdOf(&pool->quota, fd, &id), ==, 0);
    g_assert_cmpuint(id, ==, 0);
    if (pool->quota.kind == VIR_STORAGE_FSPOOL_QUOTA_PROJECT)
        return;

    g_assert_cmpint(virStorageFspoolQuotaClaim(&pool->quota, pool->fd, fd, &id), ==, -1);
    g_assert_cmpint(errno, ==, ENOTSUP);
}


static void
testProjectInProject(testPool *pool)
{
    g_auto(virStorageFspoolQuota) quota = { 0 };

    g_assert_cmpint(virStorageFspoolQuotaDetect(&quota, pool->item), ==, 0);
    g_assert_cmpint(quota.kind, ==, VIR_STORAGE_FSPOOL_QUOTA_NONE);
    g_assert_nonnull(quota.reason);
}


/* As on kernels before 5.14. */
static void
testDeviceInsteadOfDescriptor(testPool *pool)
{
    g_autoptr(GPtrArray) mounts = NULL;
    size_t i;

    g_assert_nonnull(mounts = virStorageFspoolMountsRead());
    for (i = 0; i < mounts->len; i++) {
        const virStorageFspoolMount *mount = g_ptr_array_index(mounts, i);

        if (STREQ(mount->path, pool->path))
            pool->quota.device = g_strdup(mount->source);
    }
    g_assert_nonnull(pool->quota.device);
    testLimitHolds(pool);
}


static void
testRelease(testPool *pool)
{
    virStorageFspoolQuotaRecord record;

    setLimit(pool, pool->item, pool->id, LIMIT);
    g_assert_cmpuint(fill(pool->item, "a", MIB), ==, MIB);
    g_assert_cmpint(unlinkat(pool->item, "a", 0), ==, 0);
    VIR_FORCE_CLOSE(pool->item);
    g_assert_cmpint(unlinkat(pool->fd, "item", AT_REMOVEDIR), ==, 0);

    g_assert_cmpint(virStorageFspoolQuotaRelease(&pool->quota, pool->fd, pool->id), ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaRelease(&pool->quota, pool->fd, pool->id), ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaRead(&pool->quota, pool->fd, pool->id, &record), ==, 0);
    g_assert_cmpuint(record.spaceMax, ==, 0);
}


static void
addFileSystem(const testFs *fs)
{
    if (fs->kind == VIR_STORAGE_FSPOOL_QUOTA_NONE) {
        addTest(fs, "detects-none", testDetectsNone);
        return;
    }

    addTest(fs, "limit-holds", testLimitHolds);
    addTest(fs, "limit-is-rounded-up", testLimitIsRoundedUp);
    addTest(fs, "files-limit", testFilesLimit);
    addTest(fs, "ids-are-unique", testIdsAreUnique);
    addTest(fs, "id-is-its-own", testIdIsItsOwn);
    if (fs->kind == VIR_STORAGE_FSPOOL_QUOTA_PROJECT) {
        addTest(fs, "project-in-project", testProjectInProject);
        addTest(fs, "device-instead-of-descriptor", testDeviceInsteadOfDescriptor);
        addTest(fs, "release", testRelease);
    }
}


int
main(int argc,
     char **argv)
{
    bool able = limitedInit(&argc, &argv);
    size_t i;

    for (i = 0; able && i < G_N_ELEMENTS(fileSystems); i++)
        addFileSystem(&fileSystems[i]);

    return g_test_run();
}
