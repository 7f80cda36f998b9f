/*
 * storage_fspool_tree_entry.h: what copying and removing directory trees have in common; nobody else needs it
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <dirent.h>
#include <sys/stat.h>

#include "storage_fspool_tree.h"

/* A directory's place in a tree. The top has no parent. Lives as long as it, or one below it, is needed. */
typedef struct _virStorageFspoolTreeNode virStorageFspoolTreeNode;
struct _virStorageFspoolTreeNode {
    virStorageFspoolTreeNode *parent;
    size_t refs;
    char *name;
};

virStorageFspoolTreeNode *
virStorageFspoolTreeNodeNew(virStorageFspoolTreeNode *parent,
                            const char *name);

virStorageFspoolTreeNode *
virStorageFspoolTreeNodeRef(virStorageFspoolTreeNode *node);

void
virStorageFspoolTreeNodeUnref(virStorageFspoolTreeNode *node);

char *
virStorageFspoolTreeText(const virStorageFspoolTreeNode *node,
                         const char *name);

/* Which inode it is. Numbers are used again, so when it came into being is part of it, where the file system tells. */
typedef struct _virStorageFspoolTreeId virStorageFspoolTreeId;
struct _virStorageFspoolTreeId {
    uint64_t ino;
    int64_t born;
    uint32_t bornNsec;
    uint32_t devMajor;
    uint32_t devMinor;
};

void
virStorageFspoolTreeIdOf(virStorageFspoolTreeId *id,
                         const struct statx *sx);

bool
virStorageFspoolTreeIdEqual(const virStorageFspoolTreeId *a,
                            const virStorageFspoolTreeId *b);

int
virStorageFspoolTreeStat(int fd,
                         struct statx *sx);

int
virStorageFspoolTreeOpen(int dirfd,
                         const char *path,
                         int oflags);

int
virStorageFspoolTreeOpenParent(int fd,
                               const virStorageFspoolTreeId *id);

char *
virStorageFspoolTreeProcPath(int fd);

/* The entries of a directory, whose descriptor's offset it moves. One reader can serve many directories in turn. */
typedef struct _virStorageFspoolTreeReader virStorageFspoolTreeReader;
struct _virStorageFspoolTreeReader {
    char *buf;
    size_t pos;
    size_t len;
};

int
virStorageFspoolTreeReaderStart(virStorageFspoolTreeReader *reader,
                                int fd,
                                int64_t offset);

int
virStorageFspoolTreeReaderNext(virStorageFspoolTreeReader *reader,
                               int fd,
                               const struct dirent64 **entry);

void
virStorageFspoolTreeReaderClear(virStorageFspoolTreeReader *reader);

/* Errors, which name the entry @name of directory @node; they return -1. */

int
virStorageFspoolTreeReportMount(const char *item,
                                const virStorageFspoolTreeNode *node,
                                const char *name);

/* storage_fspool_tree_data.c */

bool
virStorageFspoolProgressIsCancelled(virStorageFspoolProgress *progress);

void
virStorageFspoolProgressAdd(virStorageFspoolProgress *progress,
                            unsigned long long entries,
                            unsigned long long bytes);

int
virStorageFspoolTreeCopyData(int from,
                             int to,
                             const struct statx *sx,
                             virStorageFspoolProgress *progress,
                             char **buf);

/* storage_fspool_tree_attr.c */

typedef struct _virStorageFspoolTreeAttrs virStorageFspoolTreeAttrs;
struct _virStorageFspoolTreeAttrs {
    char *names;
    char *value;
    const char *failed; /* the extended attribute that could not be kept, or NULL */
};

int
virStorageFspoolTreeCopyAttrs(virStorageFspoolTreeAttrs *attrs,
                              int from,
                              int to,
                              const struct statx *sx,
                              const char *except);

void
virStorageFspoolTreeAttrsClear(virStorageFspoolTreeAttrs *attrs);

/* storage_fspool_tree_link.c */

/* Where the files with more names than one lie in the copy. */
typedef struct _virStorageFspoolTreeLinks virStorageFspoolTreeLinks;
struct _virStorageFspoolTreeLinks {
    GHashTable *table;
    virStorageFspoolTreeNode *node; /* directory that was needed last */
    int fd;                         /* and which is open */
};

void
virStorageFspoolTreeLinksInit(virStorageFspoolTreeLinks *links);

void
virStorageFspoolTreeLinksAdd(virStorageFspoolTreeLinks *links,
                             const struct statx *sx,
                             virStorageFspoolTreeNode *node,
                             const char *name);

int
virStorageFspoolTreeLinksMake(virStorageFspoolTreeLinks *links,
                              const struct statx *sx,
                              int topfd,
                              int dirfd,
                              const char *name);

void
virStorageFspoolTreeLinksClear(virStorageFspoolTreeLinks *links);
