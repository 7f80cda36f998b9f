/*
 * test-fspool-quota.c: choosing project ids, rounding limits, and reading what Btrfs finds
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>

#include "unit.h"

#include "storage_fspool_project.h"
#include "storage_fspool_qgroup.h"
#include "virfile.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)


typedef struct _usedIds usedIds;
struct _usedIds {
    uint32_t upTo; /* all before it are used */
    uint32_t hole; /* but for this one */
    size_t asked;
};


static int
isFree(uint32_t id,
       void *opaque)
{
    usedIds *used = opaque;

    used->asked++;
    return id >= used->upTo || id == used->hole;
}


static void
testChoose(void)
{
    const uint32_t counts[] = { 0, 1, 2, 3, 7, 8, 9, 100, 9999, 65535 };
    uint32_t id;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(counts); i++) {
        usedIds used = { .upTo = 1000 + counts[i] };

        g_assert_cmpint(virStorageFspoolProjectChoose(1000, 1000000, isFree, &used, &id), ==, 0);
        g_assert_cmpuint(id, ==, used.upTo);
        g_assert_cmpuint(used.asked, <=, 36);
    }
}


/* One that is free in the midst may be found or not, but nothing that is used. */
static void
testChooseWithHoles(void)
{
    uint32_t id;
    uint32_t hole;

    for (hole = 1000; hole < 1100; hole++) {
        usedIds used = { .upTo = 1100, .hole = hole };

        g_assert_cmpint(virStorageFspoolProjectChoose(1000, 1000000, isFree, &used, &id), ==, 0);
        g_assert_true(id == hole || id == 1100);
    }
}


static void
testChooseAtTheEnd(void)
{
    usedIds all = { .upTo = UINT32_MAX };
    usedIds most = { .upTo = UINT32_MAX - 1 };
    uint32_t id;

    g_assert_cmpint(virStorageFspoolProjectChoose(UINT32_MAX - 100, UINT32_MAX - 1, isFree, &all, &id), ==, -1);
    g_assert_cmpint(errno, ==, EUSERS);
    g_assert_cmpint(virStorageFspoolProjectChoose(UINT32_MAX - 100, UINT32_MAX - 1, isFree, &most, &id), ==, 0);
    g_assert_cmpuint(id, ==, UINT32_MAX - 1);
}


static int
isBroken(uint32_t id,
         void *opaque)
{
    if (id < *(uint32_t *) opaque)
        return 0;
    errno = EIO;
    return -1;
}


static void
testChooseFails(void)
{
    uint32_t broken;
    uint32_t id;

    for (broken = 1000; broken < 1004; broken++) {
        errno = 0;
        g_assert_cmpint(virStorageFspoolProjectChoose(1000, 2000, isBroken, &broken, &id), ==, -1);
        g_assert_cmpint(errno, ==, EIO);
    }
}


static void
testBlocksAreRoundedUp(void)
{
    uint64_t blocks;

    g_assert_cmpint(virStorageFspoolProjectBlocks(0, &blocks), ==, 0);
    g_assert_cmpuint(blocks, ==, 0);
    g_assert_cmpint(virStorageFspoolProjectBlocks(1, &blocks), ==, 0);
    g_assert_cmpuint(blocks, ==, 1);
    g_assert_cmpint(virStorageFspoolProjectBlocks(KIB, &blocks), ==, 0);
    g_assert_cmpuint(blocks, ==, 1);
    g_assert_cmpint(virStorageFspoolProjectBlocks(KIB + 1, &blocks), ==, 0);
    g_assert_cmpuint(blocks, ==, 2);
    g_assert_cmpint(virStorageFspoolProjectBlocks(INT64_MAX, &blocks), ==, 0);
    g_assert_cmpuint(blocks, ==, 1ULL << 53);
    g_assert_cmpint(virStorageFspoolProjectBlocks(INT64_MAX + 1ULL, &blocks), ==, -1);
    g_assert_cmpint(errno, ==, ERANGE);
}


/* Appends an item as a search of Btrfs returns it, of little-endian numbers. */
static void
putItem(GByteArray *found,
        uint32_t type,
        uint64_t offset,
        const uint64_t *numbers,
        size_t n)
{
    struct btrfs_ioctl_search_header header = { .type = type, .offset = offset, .len = n * sizeof(*numbers) };
    size_t i;

    g_byte_array_append(found, (const uint8_t *) &header, sizeof(header));
    for (i = 0; i < n; i++) {
        uint64_t number = GUINT64_TO_LE(numbers[i]);

        g_byte_array_append(found, (const uint8_t *) &number, sizeof(number));
    }
}


/* A group with its use and limits: @mark is the reserved one. */
static void
putGroup(GByteArray *found,
         uint64_t group,
         uint64_t used,
         uint64_t flags,
         uint64_t max,
         uint64_t mark)
{
    const uint64_t info[] = { 7, used, used, used, used };
    const uint64_t limit[] = { flags, max, 0, 0, mark };

    putItem(found, BTRFS_QGROUP_INFO_KEY, group, info, G_N_ELEMENTS(info));
    putItem(found, BTRFS_QGROUP_LIMIT_KEY, group, limit, G_N_ELEMENTS(limit));
}


static GHashTable *
takeAll(GByteArray *found,
        bool simple)
{
    GHashTable *table = virStorageFspoolQuotaTableNew();
    virStorageFspoolQgroupItem item;
    size_t pos = 0;

    while (virStorageFspoolQgroupNext(found->data, found->len, &pos, &item))
        virStorageFspoolQgroupTake(&item, table);
    g_assert_cmpuint(pos, ==, found->len);
    virStorageFspoolQgroupFold(table, simple);
    return table;
}


static void
testGroupsAreRead(void)
{
    g_autoptr(GByteArray) found = g_byte_array_new();
    g_autoptr(GHashTable) full = NULL;
    g_autoptr(GHashTable) simple = NULL;

    putGroup(found, 256, 100, BTRFS_QGROUP_LIMIT_MAX_RFER, 1000, 0);
    putGroup(found, 257, 200, 0, 1000, 0);
    putGroup(found, 258, 300, BTRFS_QGROUP_LIMIT_MAX_RFER, 0, 0);
    putGroup(found, VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(257), 250,
             BTRFS_QGROUP_LIMIT_MAX_RFER | BTRFS_QGROUP_LIMIT_RSV_EXCL, 2000, VIR_STORAGE_FSPOOL_QGROUP_MARK);
    putGroup(found, VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(256), 900, BTRFS_QGROUP_LIMIT_MAX_RFER, 9000, 0);
    full = takeAll(found, false);
    simple = takeAll(found, true);

    g_assert_cmpuint(g_hash_table_size(full), ==, 3);
    g_assert_cmpuint(virStorageFspoolQuotaLookup(full, 256)->spaceUsed, ==, 100);
    g_assert_cmpuint(virStorageFspoolQuotaLookup(full, 256)->spaceMax, ==, 1000);
    g_assert_cmpuint(virStorageFspoolQuotaLookup(full, 257)->spaceUsed, ==, 200);
    g_assert_cmpuint(virStorageFspoolQuotaLookup(full, 257)->spaceMax, ==, 0);
    g_assert_cmpuint(virStorageFspoolQuotaLookup(full, 258)->spaceMax, ==, 1);
    g_assert_cmpuint(virStorageFspoolQuotaLookup(full, 259)->spaceUsed, ==, 0);

    /* ours counts instead, an administrator's does not */
    g_assert_cmpuint(g_hash_table_size(simple), ==, 3);
    g_assert_cmpuint(virStorageFspoolQuotaLookup(simple, 256)->spaceUsed, ==, 100);
    g_assert_cmpuint(virStorageFspoolQuotaLookup(simple, 257)->spaceUsed, ==, 250);
    g_assert_cmpuint(virStorageFspoolQuotaLookup(simple, 257)->spaceMax, ==, 2000);
}


/* Nothing behind the end is read, wherever that is. */
static void
testTruncatedSearch(void)
{
    g_autoptr(GByteArray) found = g_byte_array_new();
    size_t whole;
    size_t len;

    putGroup(found, 256, 100, BTRFS_QGROUP_LIMIT_MAX_RFER, 1000, 0);
    whole = sizeof(struct btrfs_ioctl_search_header) + sizeof(struct btrfs_qgroup_info_item);
    for (len = 0; len < found->len; len++) {
        g_autofree uint8_t *part = g_memdup(found->data, len);
        virStorageFspoolQgroupItem item;
        size_t pos = 0;

        g_assert_true(virStorageFspoolQgroupNext(part, len, &pos, &item) == (len >= whole));
        g_assert_cmpuint(pos, ==, len >= whole ? whole : 0);
        g_assert_false(len >= whole && virStorageFspoolQgroupNext(part, len, &pos, &item));
    }
}


static void
testKeys(void)
{
    virStorageFspoolQgroupKey key = { 0, 242, 5 };

    g_assert_true(virStorageFspoolQgroupKeyAfter(&key));
    g_assert_true(key.objectid == 0 && key.type == 242 && key.offset == 6);
    key.offset = UINT64_MAX;
    g_assert_true(virStorageFspoolQgroupKeyAfter(&key));
    g_assert_true(key.objectid == 0 && key.type == 243 && key.offset == 0);
    key = (virStorageFspoolQgroupKey) { 0, 255, UINT64_MAX };
    g_assert_true(virStorageFspoolQgroupKeyAfter(&key));
    g_assert_true(key.objectid == 1 && key.type == 0 && key.offset == 0);
    key = (virStorageFspoolQgroupKey) { UINT64_MAX, 255, UINT64_MAX };
    g_assert_false(virStorageFspoolQgroupKeyAfter(&key));
}


static void
expectStatus(uint64_t flags,
             virStorageFspoolQuotaKind kind,
             bool inexact)
{
    const uint64_t numbers[] = { 1, 7, flags, 0, 0 };
    g_autoptr(GByteArray) found = g_byte_array_new();
    virStorageFspoolQuota quota = { 0 };
    virStorageFspoolQgroupItem item;
    size_t pos = 0;

    putItem(found, BTRFS_QGROUP_STATUS_KEY, 0, numbers, G_N_ELEMENTS(numbers));
    g_assert_true(virStorageFspoolQgroupNext(found->data, found->len, &pos, &item));
    virStorageFspoolQgroupStatus(&item, &quota);
    g_assert_cmpint(quota.kind, ==, kind);
    g_assert_cmpint(quota.inexact, ==, inexact);
    g_assert_true(!quota.reason == !inexact);
}


static void
testStatus(void)
{
    expectStatus(0, VIR_STORAGE_FSPOOL_QUOTA_NONE, false);
    expectStatus(1, VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL, false);
    expectStatus(1 | 2, VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL, true);
    expectStatus(1 | 4, VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL, true);
    expectStatus(1 | 8, VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE, false);
    expectStatus(8, VIR_STORAGE_FSPOOL_QUOTA_NONE, false);
}


/* What a file system without quotas gets: nothing to do, and no limits. */
static void
expectNone(virStorageFspoolQuota *quota,
           int fd)
{
    g_autoptr(GHashTable) table = NULL;
    virStorageFspoolQuotaRecord record = { .spaceUsed = 1 };
    uint64_t id = 1;

    g_assert_cmpint(quota->kind, ==, VIR_STORAGE_FSPOOL_QUOTA_NONE);
    g_assert_nonnull(quota->reason);
    g_assert_false(virStorageFspoolQuotaCountsFiles(quota));
    g_assert_cmpint(virStorageFspoolQuotaIdOf(quota, fd, &id), ==, 0);
    g_assert_cmpuint(id, ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaClaim(quota, fd, fd, &id), ==, 0);
    g_assert_cmpuint(id, ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaSetLimits(quota, fd, id, 0, 0), ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaSetLimits(quota, fd, id, MIB, 0), ==, -1);
    g_assert_cmpint(errno, ==, ENOTSUP);
    g_assert_cmpint(virStorageFspoolQuotaSetLimits(quota, fd, id, 0, 1), ==, -1);
    g_assert_cmpint(errno, ==, ENOTSUP);
    g_assert_cmpint(virStorageFspoolQuotaRead(quota, fd, id, &record), ==, 0);
    g_assert_cmpuint(record.spaceUsed, ==, 0);
    g_assert_nonnull(table = virStorageFspoolQuotaReadAll(quota, fd));
    g_assert_cmpuint(g_hash_table_size(table), ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaRelease(quota, fd, 1), ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaSweep(quota, fd), ==, 0);
}


static void
testNoQuotas(void)
{
    VIR_AUTOCLOSE fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_auto(virStorageFspoolQuota) quota = { 0 };

    g_assert_cmpint(virStorageFspoolQuotaDetect(&quota, fd), ==, 0);
    expectNone(&quota, fd);
    g_assert_cmpint(virStorageFspoolQuotaEnable(fd, VIR_STORAGE_FSPOOL_QUOTA_NONE), ==, 0);
    g_assert_cmpint(virStorageFspoolQuotaEnable(fd, VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL), ==, -1);
    g_assert_cmpint(errno, ==, ENOTSUP);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/quota/choose", testChoose);
    g_test_add_func("/quota/choose-with-holes", testChooseWithHoles);
    g_test_add_func("/quota/choose-at-the-end", testChooseAtTheEnd);
    g_test_add_func("/quota/choose-fails", testChooseFails);
    g_test_add_func("/quota/blocks-are-rounded-up", testBlocksAreRoundedUp);
    g_test_add_func("/quota/groups-are-read", testGroupsAreRead);
    g_test_add_func("/quota/truncated-search", testTruncatedSearch);
    g_test_add_func("/quota/keys", testKeys);
    g_test_add_func("/quota/status", testStatus);
    g_test_add_func("/quota/no-quotas", testNoQuotas);

    return g_test_run();
}
