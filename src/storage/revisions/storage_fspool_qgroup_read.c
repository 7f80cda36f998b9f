/*
 * storage_fspool_qgroup_read.c: reading the quota groups of Btrfs
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * All of them are items of one tree, which a search returns by the thousand. It needs CAP_SYS_ADMIN.
 */

#include <config.h>

#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "storage_fspool_qgroup.h"

#include "storage_fspool_subvolume.h"
#include "viralloc.h"

/* Linux 6.7 (include/uapi/linux/btrfs_tree.h) */
#define STATUS_SIMPLE (1ULL << 3)

/* Room for what one search finds: many items, or just one. */
#define ROOM_MANY (64 * 1024)
#define ROOM_ONE (4 * 1024)

typedef void (*virStorageFspoolQgroupVisit)(const virStorageFspoolQgroupItem *item,
                                            void *opaque);


/* The number at @offset of an item's data; 0 behind its end, since older kernels write shorter items. */
static uint64_t
virStorageFspoolQgroupNumber(const virStorageFspoolQgroupItem *item,
                             size_t offset)
{
    uint64_t number;

    if (offset + sizeof(number) > item->len)
        return 0;
    memcpy(&number, item->data + offset, sizeof(number));
    return GUINT64_FROM_LE(number);
}


/**
 * virStorageFspoolQgroupNext:
 * @found: what a search found: headers, each followed by its item
 * @len: of it
 * @pos: of the next header; moved on
 * @item: set to point into @found
 *
 * Returns true, or false when there are no more
 */
bool
virStorageFspoolQgroupNext(const uint8_t *found,
                           size_t len,
                           size_t *pos,
                           virStorageFspoolQgroupItem *item)
{
    struct btrfs_ioctl_search_header header;

    if (*pos > len || len - *pos < sizeof(header))
        return false;
    memcpy(&header, found + *pos, sizeof(header));
    if (len - *pos - sizeof(header) < header.len)
        return false;

    item->key.objectid = header.objectid;
    item->key.type = header.type;
    item->key.offset = header.offset;
    item->data = found + *pos + sizeof(header);
    item->len = header.len;
    *pos += sizeof(header) + header.len;
    return true;
}


/* Changes @key to the one that follows it. Returns false when it was the last. */
bool
virStorageFspoolQgroupKeyAfter(virStorageFspoolQgroupKey *key)
{
    if (++key->offset != 0)
        return true;
    if (++key->type <= UINT8_MAX)
        return true;
    key->type = 0;
    return ++key->objectid != 0;
}


/* One call of the ioctl. Returns how many items it found, which are in @args, or -1 with errno. */
static int
virStorageFspoolQgroupSearchOnce(int fd,
                                 uint64_t tree,
                                 const virStorageFspoolQgroupKey *from,
                                 const virStorageFspoolQgroupKey *to,
                                 size_t room,
                                 struct btrfs_ioctl_search_args_v2 *args)
{
    memset(args, 0, sizeof(*args));
    args->key.tree_id = tree;
    args->key.min_objectid = from->objectid;
    args->key.max_objectid = to->objectid;
    args->key.min_type = from->type;
    args->key.max_type = to->type;
    args->key.min_offset = from->offset;
    args->key.max_offset = to->offset;
    args->key.max_transid = UINT64_MAX;
    args->key.nr_items = room == ROOM_ONE ? 1 : INT_MAX;
    args->buf_size = room;

    if (ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, args) < 0)
        return -1;
    return args->key.nr_items;
}


/* Visits all items of @tree between two keys, or the first one only. Returns 0, or -1 with errno. */
static int
virStorageFspoolQgroupSearch(int fd,
                             uint64_t tree,
                             virStorageFspoolQgroupKey from,
                             virStorageFspoolQgroupKey to,
                             bool first,
                             virStorageFspoolQgroupVisit visit,
                             void *opaque)
{
    size_t room = first ? ROOM_ONE : ROOM_MANY;
    g_autofree struct btrfs_ioctl_search_args_v2 *args = g_malloc(sizeof(*args) + room);
    virStorageFspoolQgroupItem item = { 0 };
    int left;

    do {
        size_t pos = 0;

        if ((left = virStorageFspoolQgroupSearchOnce(fd, tree, &from, &to, room, args)) <= 0)
            return left;
        while (left > 0 && virStorageFspoolQgroupNext(args->buf, room, &pos, &item)) {
            visit(&item, opaque);
            left--;
        }
        if (left > 0) {
            errno = EIO; /* it has told of more than it has given */
            return -1;
        }
        from = item.key;
    } while (!first && virStorageFspoolQgroupKeyAfter(&from));

    return 0;
}


/**
 * virStorageFspoolQgroupStatus:
 * @item: of the quota tree
 * @quota: set to what it says, if it is that of the status
 */
void
virStorageFspoolQgroupStatus(const virStorageFspoolQgroupItem *item,
                             virStorageFspoolQuota *quota)
{
    uint64_t flags = virStorageFspoolQgroupNumber(item, offsetof(struct btrfs_qgroup_status_item, flags));

    if (item->key.type != BTRFS_QGROUP_STATUS_KEY || !(flags & BTRFS_QGROUP_STATUS_FLAG_ON))
        return;

    quota->reason = NULL;
    if (flags & STATUS_SIMPLE) {
        quota->kind = VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE;
        return;
    }
    quota->kind = VIR_STORAGE_FSPOOL_QUOTA_QGROUP_FULL;
    quota->inexact = flags & (BTRFS_QGROUP_STATUS_FLAG_RESCAN | BTRFS_QGROUP_STATUS_FLAG_INCONSISTENT);
    if (flags & BTRFS_QGROUP_STATUS_FLAG_RESCAN)
        quota->reason = N_("the file system is counting its quota groups anew (see 'btrfs quota rescan -s')");
    else if (quota->inexact)
        quota->reason = N_("the file system's quota groups have to be counted anew (see 'btrfs quota rescan')");
}


static void
virStorageFspoolQgroupVisitStatus(const virStorageFspoolQgroupItem *item,
                                  void *opaque)
{
    virStorageFspoolQgroupStatus(item, opaque);
}


int
virStorageFspoolQgroupDetect(virStorageFspoolQuota *quota,
                             int dirfd)
{
    virStorageFspoolQgroupKey key = { 0, BTRFS_QGROUP_STATUS_KEY, 0 };

    quota->reason = N_("the file system's quota groups are not enabled");
    if (virStorageFspoolQgroupSearch(dirfd, BTRFS_QUOTA_TREE_OBJECTID, key, key, true,
                                     virStorageFspoolQgroupVisitStatus, quota) == 0 ||
        errno == ENOENT)
        return 0;
    if (errno != EPERM)
        return -1;
    quota->reason = N_("only root may read and set limits");
    return 0;
}


int
virStorageFspoolQgroupIdOf(int itemfd,
                           uint64_t *id)
{
    struct stat sb;

    *id = 0;
    if (fstat(itemfd, &sb) < 0)
        return -1;
    if (sb.st_ino != BTRFS_FIRST_FREE_OBJECTID) /* no top of a subvolume; statfs(2) would cost more than all the rest */
        return 0;
    return virStorageFspoolSubvolumeId(itemfd, id);
}


/**
 * virStorageFspoolQgroupTake:
 * @item: of the quota tree
 * @table: gets what it says, if it is of a group
 */
void
virStorageFspoolQgroupTake(const virStorageFspoolQgroupItem *item,
                           GHashTable *table)
{
    virStorageFspoolQuotaEntry *entry;
    uint64_t flags;

    if (item->key.objectid != 0)
        return;

    if (item->key.type == BTRFS_QGROUP_INFO_KEY) {
        entry = virStorageFspoolQuotaTableGet(table, item->key.offset);
        entry->record.spaceUsed = virStorageFspoolQgroupNumber(item, offsetof(struct btrfs_qgroup_info_item, rfer));
    } else if (item->key.type == BTRFS_QGROUP_LIMIT_KEY) {
        entry = virStorageFspoolQuotaTableGet(table, item->key.offset);
        flags = virStorageFspoolQgroupNumber(item, offsetof(struct btrfs_qgroup_limit_item, flags));
        if (flags & BTRFS_QGROUP_LIMIT_MAX_RFER) /* 0 lets nothing be written, which we have no word for */
            entry->record.spaceMax =
                MAX(virStorageFspoolQgroupNumber(item, offsetof(struct btrfs_qgroup_limit_item, max_rfer)), 1);
        entry->ours = flags & BTRFS_QGROUP_LIMIT_RSV_EXCL &&
            virStorageFspoolQgroupNumber(item, offsetof(struct btrfs_qgroup_limit_item, rsv_excl)) ==
            VIR_STORAGE_FSPOOL_QGROUP_MARK;
    }
}


static void
virStorageFspoolQgroupVisitGroup(const virStorageFspoolQgroupItem *item,
                                 void *opaque)
{
    virStorageFspoolQgroupTake(item, opaque);
}


/* Gives the record of 1/ID to ID, and says that the row is to be removed. */
static gboolean
virStorageFspoolQgroupFoldOne(void *key G_GNUC_UNUSED,
                              void *value,
                              void *opaque)
{
    virStorageFspoolQuotaEntry *group = value;
    uint64_t id = VIR_STORAGE_FSPOOL_QGROUP_ID_OF(group->id);
    virStorageFspoolQuotaEntry *entry;

    if (group->id == id)
        return false;
    if (opaque && group->ours && group->id == VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(id) &&
        (entry = g_hash_table_lookup(opaque, &id)))
        entry->record = group->record;
    return true;
}


/**
 * virStorageFspoolQgroupFold:
 * @table: of all groups
 * @simple: whether 1/ID says what there is to say of ID
 *
 * Leaves one record a subvolume
 */
void
virStorageFspoolQgroupFold(GHashTable *table,
                           bool simple)
{
    g_hash_table_foreach_remove(table, virStorageFspoolQgroupFoldOne, simple ? table : NULL);
}


/* Adds all groups, of whatever level, to a table. Returns 0, or -1 with errno. */
int
virStorageFspoolQgroupReadGroups(int fd,
                                 GHashTable *table)
{
    virStorageFspoolQgroupKey from = { 0, BTRFS_QGROUP_INFO_KEY, 0 };
    virStorageFspoolQgroupKey to = { 0, BTRFS_QGROUP_LIMIT_KEY, UINT64_MAX };

    return virStorageFspoolQgroupSearch(fd, BTRFS_QUOTA_TREE_OBJECTID, from, to, false,
                                        virStorageFspoolQgroupVisitGroup, table);
}


int
virStorageFspoolQgroupReadAll(const virStorageFspoolQuota *quota,
                              int dirfd,
                              GHashTable *table)
{
    if (virStorageFspoolQgroupReadGroups(dirfd, table) < 0)
        return -1;
    virStorageFspoolQgroupFold(table, quota->kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE);
    return 0;
}


/* Adds one group to a table, if it exists. */
static int
virStorageFspoolQgroupReadOne(int fd,
                              uint64_t group,
                              GHashTable *table)
{
    virStorageFspoolQgroupKey info = { 0, BTRFS_QGROUP_INFO_KEY, group };
    virStorageFspoolQgroupKey limit = { 0, BTRFS_QGROUP_LIMIT_KEY, group };

    if (virStorageFspoolQgroupSearch(fd, BTRFS_QUOTA_TREE_OBJECTID, info, info, true,
                                     virStorageFspoolQgroupVisitGroup, table) < 0)
        return -1;
    return virStorageFspoolQgroupSearch(fd, BTRFS_QUOTA_TREE_OBJECTID, limit, limit, true,
                                        virStorageFspoolQgroupVisitGroup, table);
}


int
virStorageFspoolQgroupRead(const virStorageFspoolQuota *quota,
                           int itemfd,
                           uint64_t id,
                           virStorageFspoolQuotaRecord *record)
{
    g_autoptr(GHashTable) table = virStorageFspoolQuotaTableNew();
    bool simple = quota->kind == VIR_STORAGE_FSPOOL_QUOTA_QGROUP_SIMPLE;

    if (virStorageFspoolQgroupReadOne(itemfd, id, table) < 0 ||
        (simple && virStorageFspoolQgroupReadOne(itemfd, VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(id), table) < 0))
        return -1;
    virStorageFspoolQgroupFold(table, simple);
    *record = *virStorageFspoolQuotaLookup(table, id);
    return 0;
}


static void
virStorageFspoolQgroupVisitOffset(const virStorageFspoolQgroupItem *item,
                                  void *opaque)
{
    g_array_append_val((GArray *) opaque, item->key.offset);
}


/**
 * virStorageFspoolQgroupList:
 * @fd: any directory of the file system
 * @tree: the quota tree, or that of subvolumes
 * @objectid: a group, or a subvolume
 * @type: of an item that relates it to another
 * @last: the highest number to tell
 * @found: the others' numbers are appended
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolQgroupList(int fd,
                           uint64_t tree,
                           uint64_t objectid,
                           uint32_t type,
                           uint64_t last,
                           GArray *found)
{
    virStorageFspoolQgroupKey from = { objectid, type, 0 };
    virStorageFspoolQgroupKey to = { objectid, type, last };

    return virStorageFspoolQgroupSearch(fd, tree, from, to, false, virStorageFspoolQgroupVisitOffset, found);
}


static void
virStorageFspoolQgroupVisitAny(const virStorageFspoolQgroupItem *item G_GNUC_UNUSED,
                               void *opaque)
{
    *(bool *) opaque = true;
}


/**
 * virStorageFspoolQgroupIsAlive:
 * @fd: any directory of the file system
 * @id: of a subvolume
 * @alive: set to whether it exists, and is not being removed
 *
 * Its place in a directory says nothing: it has none for a moment while it is renamed. What is being removed is an
 * orphan until its last block is free.
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolQgroupIsAlive(int fd,
                              uint64_t id,
                              bool *alive)
{
    virStorageFspoolQgroupKey orphan = { BTRFS_ORPHAN_OBJECTID, BTRFS_ORPHAN_ITEM_KEY, id };
    virStorageFspoolQgroupKey from = { id, BTRFS_ROOT_ITEM_KEY, 0 };
    virStorageFspoolQgroupKey to = { id, BTRFS_ROOT_ITEM_KEY, UINT64_MAX };
    bool removed = false;

    *alive = false;
    if (virStorageFspoolQgroupSearch(fd, BTRFS_ROOT_TREE_OBJECTID, orphan, orphan, true,
                                     virStorageFspoolQgroupVisitAny, &removed) < 0 ||
        virStorageFspoolQgroupSearch(fd, BTRFS_ROOT_TREE_OBJECTID, from, to, true,
                                     virStorageFspoolQgroupVisitAny, alive) < 0)
        return -1;
    *alive = *alive && !removed;
    return 0;
}


/**
 * virStorageFspoolQgroupLook:
 * @fd: any directory of the file system
 * @group: group
 * @entry: set to what the kernel holds about it; an id of 0 tells that there is no such group
 * @members: if not NULL, the members of the group, which is of level 1, are appended
 *
 * Returns 0, or -1 with errno
 */
int
virStorageFspoolQgroupLook(int fd,
                           uint64_t group,
                           virStorageFspoolQuotaEntry *entry,
                           GArray *members)
{
    g_autoptr(GHashTable) table = virStorageFspoolQuotaTableNew();
    virStorageFspoolQuotaEntry *found;

    memset(entry, 0, sizeof(*entry));
    if (virStorageFspoolQgroupReadOne(fd, group, table) < 0)
        return -1;
    if ((found = g_hash_table_lookup(table, &group)))
        *entry = *found;
    if (!found || !members)
        return 0;

    /* what comes behind is what the group itself is a member of */
    return virStorageFspoolQgroupList(fd, BTRFS_QUOTA_TREE_OBJECTID, group, BTRFS_QGROUP_RELATION_KEY,
                                      VIR_STORAGE_FSPOOL_QGROUP_LEVEL_1(0) - 1, members);
}
