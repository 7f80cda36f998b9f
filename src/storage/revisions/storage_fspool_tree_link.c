/*
 * storage_fspool_tree_link.c: hard links of a tree that is copied
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <linux/limits.h>
#include <unistd.h>

#include "storage_fspool_tree_entry.h"
#include "storage_fspool_name.h"

#include "viralloc.h"
#include "virfile.h"

/* Where a file with more names than one lies in the copy. */
typedef struct _virStorageFspoolTreeLink virStorageFspoolTreeLink;
struct _virStorageFspoolTreeLink {
    virStorageFspoolTreeId id; /* of what it was copied from */
    virStorageFspoolTreeNode *node;
    char *name;
    unsigned int left; /* names that have not been seen yet */
};


static guint
virStorageFspoolTreeIdHash(gconstpointer key)
{
    const virStorageFspoolTreeId *id = key;

    return id->ino ^ (id->ino >> 32);
}


static gboolean
virStorageFspoolTreeIdSame(gconstpointer a,
                           gconstpointer b)
{
    return virStorageFspoolTreeIdEqual(a, b);
}


static void
virStorageFspoolTreeLinkFree(gpointer opaque)
{
    virStorageFspoolTreeLink *known = opaque;

    virStorageFspoolTreeNodeUnref(known->node);
    g_free(known->name);
    g_free(known);
}


void
virStorageFspoolTreeLinksInit(virStorageFspoolTreeLinks *links)
{
    links->table = g_hash_table_new_full(virStorageFspoolTreeIdHash, virStorageFspoolTreeIdSame,
                                         NULL, virStorageFspoolTreeLinkFree);
    links->node = NULL;
    links->fd = -1;
}


/* Notes that a file, which has further names, was copied as @name into directory @node. */
void
virStorageFspoolTreeLinksAdd(virStorageFspoolTreeLinks *links,
                             const struct statx *sx,
                             virStorageFspoolTreeNode *node,
                             const char *name)
{
    virStorageFspoolTreeLink *known = g_new0(virStorageFspoolTreeLink, 1);

    virStorageFspoolTreeIdOf(&known->id, sx);
    known->node = virStorageFspoolTreeNodeRef(node);
    known->name = g_strdup(name);
    known->left = sx->stx_nlink - 1;
    g_hash_table_replace(links->table, &known->id, known);
}


/* Opens the directory, from the top down, a path that the kernel takes at a time. */
static int
virStorageFspoolTreeOpenNode(const virStorageFspoolTreeNode *node,
                             int topfd)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *path = g_new0(char, VIR_STORAGE_FSPOOL_PATH_MAX);
    VIR_AUTOCLOSE fd = virStorageFspoolTreeOpen(topfd, ".", O_PATH | O_DIRECTORY);
    size_t i;
    int ret;

    for (; node->parent; node = node->parent)
        g_ptr_array_add(names, node->name);

    for (i = names->len; fd >= 0 && i > 0;) {
        char *end = path;
        int next;

        do {
            end = g_stpcpy(end, g_ptr_array_index(names, --i));
            *end++ = '/';
        } while (i > 0 && end - path + strlen(g_ptr_array_index(names, i - 1)) + 2 < VIR_STORAGE_FSPOOL_PATH_MAX);
        *end = '\0';

        next = virStorageFspoolTreeOpen(fd, path, O_PATH | O_DIRECTORY);
        VIR_FORCE_CLOSE(fd);
        fd = next;
    }

    ret = fd;
    fd = -1;
    return ret;
}


/* Opens the directory that holds a link; the last one is kept, since those who are linked mostly lie together. */
static int
virStorageFspoolTreeLinkDir(virStorageFspoolTreeLinks *links,
                            virStorageFspoolTreeNode *node,
                            int topfd)
{
    if (links->node == node)
        return links->fd;

    VIR_FORCE_CLOSE(links->fd);
    g_clear_pointer(&links->node, virStorageFspoolTreeNodeUnref);

    if ((links->fd = virStorageFspoolTreeOpenNode(node, topfd)) < 0)
        return -1;
    links->node = virStorageFspoolTreeNodeRef(node);
    return links->fd;
}


/**
 * virStorageFspoolTreeLinksMake:
 * @links: of the copy
 * @sx: of a file
 * @topfd: top of the copy
 * @dirfd: directory in the copy
 * @name: of the link to be made in it
 *
 * Returns 1 when the file had been copied before, and now has this name, too; 0 when it has to be copied; or -1 with
 * errno
 */
int
virStorageFspoolTreeLinksMake(virStorageFspoolTreeLinks *links,
                              const struct statx *sx,
                              int topfd,
                              int dirfd,
                              const char *name)
{
    virStorageFspoolTreeId id;
    virStorageFspoolTreeLink *known;
    int fd;

    virStorageFspoolTreeIdOf(&id, sx);
    if (!(known = g_hash_table_lookup(links->table, &id)))
        return 0;

    if ((fd = virStorageFspoolTreeLinkDir(links, known->node, topfd)) < 0 ||
        linkat(fd, known->name, dirfd, name, 0) < 0)
        return -1;

    if (known->left > 1)
        known->left--;
    else
        g_hash_table_remove(links->table, &id);
    return 1;
}


void
virStorageFspoolTreeLinksClear(virStorageFspoolTreeLinks *links)
{
    g_clear_pointer(&links->table, g_hash_table_unref);
    g_clear_pointer(&links->node, virStorageFspoolTreeNodeUnref);
    VIR_FORCE_CLOSE(links->fd);
}
