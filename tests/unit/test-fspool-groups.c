/*
 * test-fspool-groups.c: quota groups of Btrfs
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <linux/btrfs.h>
#include <sys/ioctl.h>

#include "limited.h"

#include "storage_fspool_qgroup.h"

static const testFs fileSystems[] = {
    { "btrfs-full", "mkfs.btrfs -q", "loop", VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL },
    { "btrfs-simple", "mkfs.btrfs -q", "loop", VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE },
};


static int
snapshotItem(testPool *pool,
             const char *name)
{
    g_assert_cmpint(virStorageFspoolSubvolumeSnapshot(pool->fd, name, pool->item, false), ==, 0);
    return openDir(pool->fd, name);
}


/* The kernel gives it the limit of its origin. */
static void
testSnapshotHasNoLimit(testPool *pool)
{
    VIR_AUTOCLOSE revision = -1;
    VIR_AUTOCLOSE clone = -1;
    uint64_t id;

    setLimit(pool, pool->item, pool->id, LIMIT);
    g_assert_cmpuint(fill(pool->item, "a", LIMIT / 2), ==, LIMIT / 2);

    revision = snapshotItem(pool, "revision");
    g_assert_cmpint(virStorageFspoolQuotaIdOf(&pool->quota, revision, &id), ==, 0);
    setLimit(pool, revision, id, 0);
    expectRecord(pool, id, 0, 0, LIMIT);

    clone = snapshotItem(pool, "clone");
    id = claim(pool, clone);
    expectRecord(pool, id, 0, 0, LIMIT);
    g_assert_cmpuint(fill(clone, "b", 2 * LIMIT), ==, 2 * LIMIT);

    setLimit(pool, clone, id, LIMIT);
    g_assert_cmpuint(fill(clone, "c", MIB), ==, 0);
    g_assert_cmpuint(fill(pool->item, "c", MIB), ==, MIB);
}


/* Simple quotas only: the others let that through. */
static void
testNestedSubvolumeIsCounted(testPool *pool)
{
    VIR_AUTOCLOSE before = -1;
    VIR_AUTOCLOSE inner = -1;
    VIR_AUTOCLOSE after = -1;
    VIR_AUTOCLOSE late = -1;
    VIR_AUTOCLOSE adopted = -1;
    uint64_t id;

    before = makeInner(pool->item, "before");
    setLimit(pool, pool->item, pool->id, LIMIT);
    after = makeInner(before, "after");
    g_assert_cmpuint(fill(before, "a", LIMIT / 2), ==, LIMIT / 2);
    g_assert_cmpuint(fill(after, "a", LIMIT), <, LIMIT / 2);
    expectRecord(pool, pool->id, LIMIT, LIMIT - 2 * MIB, LIMIT);

    /* an item that others made */
    adopted = makeTree(pool, "adopted");
    inner = makeInner(adopted, "inner");
    late = makeInner(inner, "late");
    g_assert_cmpint(virStorageFspoolQuotaIdOf(&pool->quota, adopted, &id), ==, 0);
    setLimit(pool, adopted, id, LIMIT);
    g_assert_cmpuint(fill(late, "a", 2 * LIMIT), <, LIMIT);
}


/* Waits until the kernel has freed what was removed. */
static int
sweepAll(testPool *pool)
{
    size_t i;
    int rc = 1;

    for (i = 0; i < 100 && rc > 0; i++) {
        g_assert_cmpint(ioctl(pool->fd, BTRFS_IOC_SYNC), ==, 0);
        if ((rc = virStorageFspoolQuotaSweep(&pool->quota, pool->fd)) > 0)
            g_usleep(100 * 1000);
    }
    return rc;
}


static size_t
countGroups(testPool *pool)
{
    g_autoptr(GHashTable) table = virStorageFspoolQuotaTableNew();

    g_assert_cmpint(virStorageFspoolQgroupReadGroups(pool->fd, table), ==, 0);
    return g_hash_table_size(table);
}


static void
testRelease(testPool *pool)
{
    setLimit(pool, pool->item, pool->id, LIMIT);
    g_assert_cmpuint(fill(pool->item, "a", MIB), ==, MIB);
    g_assert_cmpint(virStorageFspoolQuotaRelease(&pool->quota, pool->fd, pool->id), ==, -1);
    g_assert_cmpint(errno, ==, EBUSY);

    VIR_FORCE_CLOSE(pool->item);
    g_assert_cmpint(virStorageFspoolSubvolumeDestroy(pool->fd, "item"), ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaRelease(&pool->quota, pool->fd, pool->id), >=, 0);
    g_assert_cmpint(sweepAll(pool), ==, 0);
    g_assert_cmpuint(countGroups(pool), ==, 1); /* that of the file system's top */
    g_assert_cmpint(virStorageFspoolQuotaRelease(&pool->quota, pool->fd, pool->id), ==, 0);
    expectRecord(pool, pool->id, 0, 0, 0);
}


/* Makes the group 1/ID, with a limit, and a mark or another number in its place. */
static void
makeGroup(testPool *pool,
          uint64_t id,
          uint64_t mark)
{
    struct btrfs_ioctl_qgroup_create_args group = { .create = 1, .qgroupid = VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(id) };
    struct btrfs_ioctl_qgroup_limit_args limit = {
        .qgroupid = group.qgroupid,
        .lim.flags = BTRFS_QGROUP_LIMIT_MAX_RFER | BTRFS_QGROUP_LIMIT_RSV_EXCL,
        .lim.max_rfer = LIMIT,
        .lim.rsv_excl = mark,
    };

    g_assert_cmpint(ioctl(pool->fd, BTRFS_IOC_QGROUP_CREATE, &group), >=, 0);
    g_assert_cmpint(ioctl(pool->fd, BTRFS_IOC_QGROUP_LIMIT, &limit), >=, 0);
}


/* What a crash between the removal and the release leaves; nobody else's groups go with it. */
static void
testSweep(testPool *pool)
{
    VIR_AUTOCLOSE kept = -1;
    uint64_t id;

    kept = makeTree(pool, "kept");
    id = claim(pool, kept);
    setLimit(pool, kept, id, LIMIT);
    setLimit(pool, pool->item, pool->id, LIMIT);
    makeGroup(pool, 999, 0);
    VIR_FORCE_CLOSE(pool->item);
    g_assert_cmpint(virStorageFspoolSubvolumeDestroy(pool->fd, "item"), ==, 0);

    g_assert_cmpint(sweepAll(pool), ==, 0);
    g_assert_cmpuint(countGroups(pool), ==, pool->quota.kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE ? 4 : 3);
    expectRecord(pool, id, LIMIT, 0, MIB);
    expectRecord(pool, pool->id, 0, 0, 0);
}


/* An administrator's group whose number is that of an item is not taken over. */
static void
testGroupOfOthers(testPool *pool)
{
    VIR_AUTOCLOSE other = -1;
    uint64_t id;

    other = makeTree(pool, "other");
    g_assert_cmpint(virStorageFspoolQuotaIdOf(&pool->quota, other, &id), ==, 0);
    makeGroup(pool, id, 0);

    g_assert_cmpint(virStorageFspoolQuotaClaim(&pool->quota, pool->fd, other, &id), ==, -1);
    g_assert_cmpint(errno, ==, EEXIST);
    g_assert_cmpint(virStorageFspoolQuotaSetLimits(&pool->quota, other, id, LIMIT, 0), ==, -1);
    g_assert_cmpint(errno, ==, EEXIST);
}


/* After a mount, the kernel gives the id of a subvolume that is gone again: what is left of that has no effect. */
static void
testGroupOfOneThatIsGone(testPool *pool)
{
    VIR_AUTOCLOSE next = -1;
    uint64_t id;

    makeGroup(pool, pool->id + 1, VIR_STORAGE_FSPOOL_QGROUP_MARK);
    next = makeTree(pool, "next");
    id = claim(pool, next);
    g_assert_cmpuint(id, ==, pool->id + 1);
    expectRecord(pool, id, 0, 0, MIB);
    g_assert_cmpuint(fill(next, "a", 2 * LIMIT), ==, 2 * LIMIT);
}


static void
testOtherKindIsEnabled(testPool *pool)
{
    bool full = pool->fs->kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL;

    g_assert_cmpint(virStorageFspoolQuotaEnable(pool->fd, pool->fs->kind), ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaEnable(pool->fd, full ? VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE :
                                                VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL), ==, -1);
    g_assert_true(errno == EEXIST || errno == ENOTSUP);
    if (full)
        g_assert_cmpint(virStorageFspoolQuotaRescan(pool->fd), ==, 0);
}


static void
addFileSystem(const testFs *fs)
{
    addTest(fs, "snapshot-has-no-limit", testSnapshotHasNoLimit);
    addTest(fs, "release", testRelease);
    addTest(fs, "sweep", testSweep);
    addTest(fs, "other-kind-is-enabled", testOtherKindIsEnabled);
    if (fs->kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE) {
        addTest(fs, "nested-subvolume-is-counted", testNestedSubvolumeIsCounted);
        addTest(fs, "group-of-others", testGroupOfOthers);
        addTest(fs, "group-of-one-that-is-gone", testGroupOfOneThatIsGone);
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
