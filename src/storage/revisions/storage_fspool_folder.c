/*
 * storage_fspool_folder.c: the directories that volumes with nested names lie in
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>

#include "storage_fspool_folder.h"

#include "storage_fspool_subvolume.h"


/**
 * virStorageFspoolIsFolder:
 * @fd: directory
 * @meta: its metadata
 *
 * A volume on Btrfs is a subvolume, and no mark that its user can set makes it a folder.
 */
bool
virStorageFspoolIsFolder(int fd,
                         const virStorageRevMeta *meta)
{
    return meta->folder && !virStorageFspoolIsSubvolume(fd);
}


/* Is what lies at @path below the pool a folder, and no volume that is empty? */
static bool
virStorageFspoolFolderIsAt(virStorageFspoolRoot *root,
                           const char *path)
{
    VIR_AUTOCLOSE fd = virStorageRevOpenAt(root->fd, path, O_RDONLY | O_DIRECTORY, 0);
    g_auto(virStorageRevMeta) meta = { 0 };
    bool whole;

    virStorageRevMetaInit(&meta);
    return fd >= 0 && virStorageRevMetaReadFile(fd, &meta, &whole) == 0 && virStorageFspoolIsFolder(fd, &meta);
}


/* Removes the folders above @path that nothing is left in; that one is not empty is no failure. */
void
virStorageFspoolFoldersPrune(virStorageFspoolRoot *root,
                             const char *path)
{
    g_autofree char *folder = g_strdup(path);
    char *slash;

    while ((slash = strrchr(folder, '/'))) {
        g_autofree char *above = NULL;
        g_autofree char *entry = NULL;
        VIR_AUTOCLOSE parent = -1;

        *slash = '\0';
        above = g_path_get_dirname(folder);
        entry = g_path_get_basename(folder);
        if (!virStorageFspoolFolderIsAt(root, folder) ||
            (parent = virStorageRevOpenAt(root->fd, above, O_RDONLY | O_DIRECTORY, 0)) < 0 ||
            unlinkat(parent, entry, AT_REMOVEDIR) < 0)
            return;
    }
}
