/*
 * storage_reflink_extents.c: whether two files are clones of each other still
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "storage_reflink_extents.h"

/* Extents asked for at once: 14 KiB of memory. */
#define BATCH VIR_STORAGE_REFLINK_FEW_EXTENTS

/* Extents whose place on the disk is not known, or says nothing of their content. */
#define UNKNOWN_PLACE (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | \
                       FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_NOT_ALIGNED)


/* Fills @map with the next extents of @fd from byte @start on; false when that fails. */
static bool
virStorageReflinkNextExtents(int fd,
                             unsigned long long start,
                             unsigned int flags,
                             struct fiemap *map)
{
    memset(map, 0, sizeof(*map));
    map->fm_start = start;
    map->fm_length = FIEMAP_MAX_OFFSET - start;
    map->fm_flags = flags;
    map->fm_extent_count = BATCH;
    return ioctl(fd, FS_IOC_FIEMAP, map) == 0;
}


static bool
virStorageReflinkExtentsAreEqual(const struct fiemap_extent *one,
                                 const struct fiemap_extent *other)
{
    const unsigned int differ = one->fe_flags ^ other->fe_flags;

    return one->fe_logical == other->fe_logical &&
        one->fe_physical == other->fe_physical &&
        one->fe_length == other->fe_length &&
        !(one->fe_flags & UNKNOWN_PLACE) &&
        !(differ & ~(FIEMAP_EXTENT_SHARED | FIEMAP_EXTENT_LAST));
}


/**
 * virStorageReflinkSharesAll:
 * @one: file
 * @other: file of the same size
 *
 * A file system that clones never overwrites a shared block: as long as all blocks of two files are in the same place,
 * their contents are the same. The cost is that of reading the lists of extents, not the data.
 *
 * Returns true when that is certain; small files that lie inside their inodes never are
 */
bool
virStorageReflinkSharesAll(int one,
                           int other)
{
    g_autofree struct fiemap *map = g_malloc0(sizeof(*map) + BATCH * sizeof(map->fm_extents[0]));
    g_autofree struct fiemap *otherMap = g_malloc0(sizeof(*map) + BATCH * sizeof(map->fm_extents[0]));
    unsigned long long start = 0;
    size_t i;

    while (true) {
        const struct fiemap_extent *last;

        if (!virStorageReflinkNextExtents(one, start, FIEMAP_FLAG_SYNC, map) ||
            !virStorageReflinkNextExtents(other, start, FIEMAP_FLAG_SYNC, otherMap) ||
            map->fm_mapped_extents != otherMap->fm_mapped_extents)
            return false;
        if (map->fm_mapped_extents == 0)
            return true;

        for (i = 0; i < map->fm_mapped_extents; i++) {
            if (!virStorageReflinkExtentsAreEqual(&map->fm_extents[i], &otherMap->fm_extents[i]))
                return false;
        }

        last = &map->fm_extents[map->fm_mapped_extents - 1];
        if (last->fe_flags & FIEMAP_EXTENT_LAST)
            return true;
        start = last->fe_logical + last->fe_length;
    }
}


/* Is removing the file quick, so that whoever asked for it can wait until its space is free? */
bool
virStorageReflinkHasFewExtents(int fd)
{
    g_autofree struct fiemap *map = g_malloc0(sizeof(*map) + BATCH * sizeof(map->fm_extents[0]));

    return virStorageReflinkNextExtents(fd, 0, 0, map) &&
        (map->fm_mapped_extents < BATCH ||
         map->fm_extents[BATCH - 1].fe_flags & FIEMAP_EXTENT_LAST);
}
