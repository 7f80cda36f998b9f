/*
 * storage_revision_ops.h: what a backend whose volumes have revisions implements
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_family.h"
#include "virstorageobj.h"

/* What an operation needs of its pool while the pool is unlocked, and its definition may go. */
typedef struct _virStorageRevContext virStorageRevContext;
struct _virStorageRevContext {
    unsigned char uuid[VIR_UUID_BUFLEN];
    char *poolName;
    char *poolPath;
    int poolKeep;
    bool cloneRequired;        /* refuse what the file system cannot clone */
    bool allocationIsCapacity; /* <refresh><volume allocation='capacity'/></refresh> */

    /* fspool */
    bool quotaRequired;        /* refuse a limit that nothing enforces */

    /* qubes-thin */
    char *vg;
    char *thinPool;
    char **pvs;                /* what the volume group lies on; NULL: LVM looks for it */
    bool vgPartial;            /* a disk of the volume group was missing when LVM last looked for it */
    bool headsActive;          /* not only live copies are to be active */
    unsigned long long vgExtentSize;
};

virStorageRevContext *
virStorageRevContextNew(virStoragePoolDef *def);

virStorageRevContext *
virStorageRevContextCopy(const virStorageRevContext *ctx);

void
virStorageRevContextFree(virStorageRevContext *ctx);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageRevContext, virStorageRevContextFree);

/* Where content comes from: a state of a volume of the same pool, or a volume of another pool. */
typedef struct _virStorageRevSource virStorageRevSource;
struct _virStorageRevSource {
    const char *name;                /* for errors */
    virStorageRevFamily *family;     /* NULL: another pool's volume */
    const virStorageRevState *state;

    const char *path;                /* another pool's volume, as its definition says */
    const char *content;             /* what to read of it: the path, or that of a file descriptor, a link */
    int format;
    unsigned long long capacity;
};

/* An upload under way: the image or LV that the stream writes to. */
typedef struct _virStorageRevStaging virStorageRevStaging;

/* A download of a tree under way: the archive that is made as it is read. */
typedef struct _virStorageRevPacking virStorageRevPacking;

/*
 * Operations on a volume. Each is called with the pool unlocked and the volume's lock held (exclusively for @family,
 * shared for a source), and changes @family, a private copy, as it changes the storage. On failure it has reported an
 * error and left the storage as it was, or in a state that the next refresh finishes or undoes.
 */
typedef struct _virStorageRevOps virStorageRevOps;
struct _virStorageRevOps {
    virStoragePoolType type;
    virStorageVolType volType;
    bool nestedNames;
    bool capacityIsLimit; /* and 0 is none */

    /* whether a copy within the pool takes its time; NULL: it never does */
    bool (*copiesData)(virStoragePoolDef *pool);

    /* names that collide with the files or LVs of other volumes */
    int (*checkName)(virStoragePoolDef *pool,
                     const virStorageRevName *name);
    /* the volume that a file or LV named like the volume @name would be taken for a state of, if that existed, or NULL;
     * NULL where no volume has such a name */
    char *(*stateOf)(const char *name);
    /* where a head or live copy is, below the pool's target path */
    char *(*fileOf)(const virStorageRevName *name);

    /* a new blank volume, or a qcow2 overlay, as @def says */
    int (*create)(virStorageRevContext *ctx,
                  virStorageRevFamily *family,
                  virStorageVolDef *def,
                  unsigned int flags);
    /* a new volume from @source; a lifecycle is taken from @def */
    int (*clone)(virStorageRevContext *ctx,
                 virStorageRevFamily *family,
                 const virStorageRevSource *source,
                 virStorageVolDef *def);
    /* the live copy; @source is the lifecycle's source, or NULL. This, stage, commit and discard are NULL where volumes have
     * no live copies */
    int (*start)(virStorageRevContext *ctx,
                 virStorageRevFamily *family,
                 const virStorageRevSource *source);
    int (*stage)(virStorageRevContext *ctx,
                 virStorageRevFamily *family,
                 const virStorageRevSource *source);
    int (*commit)(virStorageRevContext *ctx,
                  virStorageRevFamily *family);
    int (*discard)(virStorageRevContext *ctx,
                   virStorageRevFamily *family);
    int (*revert)(virStorageRevContext *ctx,
                  virStorageRevFamily *family,
                  const virStorageRevState *revision);
    int (*pin)(virStorageRevContext *ctx,
               virStorageRevFamily *family,
               const char *word);
    int (*redefine)(virStorageRevContext *ctx,
                    virStorageRevFamily *family,
                    const virStorageRevMeta *facts);
    /* says in the live copy's metadata which machine owns it, and how far that is with it, as @meta has it */
    int (*mark)(virStorageRevContext *ctx,
                virStorageRevFamily *family,
                const virStorageRevMeta *meta);
    /* reads the head or live copy @state of @family anew before a resize; NULL where nobody else can change its size */
    int (*reread)(virStorageRevContext *ctx,
                  virStorageRevFamily *family,
                  virStorageRevState *state);
    int (*resize)(virStorageRevContext *ctx,
                  virStorageRevFamily *family,
                  virStorageRevKind kind,
                  unsigned long long capacity,
                  unsigned int flags);
    int (*wipe)(virStorageRevContext *ctx,
                virStorageRevFamily *family);
    int (*deleteVolume)(virStorageRevContext *ctx,
                        virStorageRevFamily *family);
    int (*deleteRevision)(virStorageRevContext *ctx,
                          virStorageRevFamily *family,
                          const virStorageRevState *revision);

    /* removes the @count oldest unpinned revisions; what is in use stays for the next time */
    int (*prune)(virStorageRevContext *ctx,
                 virStorageRevFamily *family,
                 size_t count);
    /* prepares the next live copy, if that is worth while: in the background, some seconds after the head changed; NULL
     * where a start is quick anyway */
    void (*precache)(virStorageRevContext *ctx,
                     virStorageRevFamily *family);

    /* a file descriptor of a stable image of @state; where something had to be made or activated for that, @temporary is
     * set to what tells tidy to take that back when nobody reads it any more */
    int (*openForDownload)(virStorageRevContext *ctx,
                           virStorageRevFamily *family,
                           const virStorageRevState *state,
                           char **temporary);
    void (*tidy)(virStorageRevContext *ctx,
                 const char *temporary);
    /* for trees, of which the two above serve copies to other pools only: an archive. @fd is filled with the end of a
     * pipe that it is read from, and @lasting set when nothing that happens to @state disturbs it. End takes the end of
     * the stream, and returns -1 with an error if what was read is not whole */
    virStorageRevPacking *(*packingBegin)(virStorageRevContext *ctx,
                                          virStorageRevFamily *family,
                                          const virStorageRevState *state,
                                          int *fd,
                                          bool *lasting);
    int (*packingEnd)(virStorageRevPacking *packing,
                      bool finish);
    /* a file descriptor of the live copy itself, for writing */
    int (*openLive)(virStorageRevContext *ctx,
                    virStorageRevFamily *family);
    virStorageRevStaging *(*stagingBegin)(virStorageRevContext *ctx,
                                          virStorageRevFamily *family);
    /* of an image, or of a pipe to what makes a directory */
    int (*stagingFd)(virStorageRevStaging *staging);
    /* -1 with an error when what is made of a pipe has failed; NULL for images */
    int (*stagingCheck)(virStorageRevStaging *staging);
    /* makes a part of a staged or live copy read as zeros, with as little space as can be; -1 with errno. NULL where there
     * are no holes */
    int (*makeHole)(int fd,
                    unsigned long long offset,
                    unsigned long long length);
    /* what is staged becomes the head; frees nothing */
    int (*stagingCommit)(virStorageRevContext *ctx,
                         virStorageRevFamily *family,
                         virStorageRevStaging *staging);
    /* removes what was not committed, and frees it */
    void (*stagingEnd)(virStorageRevStaging *staging);

    /* what the volume consists of, read anew after an operation that failed, with the volume's lock held; what that has
     * left may be removed. NULL with an error */
    virStorageRevFamily *(*read)(virStorageRevContext *ctx,
                                 const char *volume);
    /* what is due when the space of something that was removed has been freed; called in the background, with the pool
     * unlocked; or NULL */
    void (*settle)(virStorageRevContext *ctx);
    /* capacity, allocation and available of the pool, read anew; called with the pool locked */
    int (*updatePool)(virStoragePoolObj *obj);
};

const virStorageRevOps *
virStorageRevOpsForType(int type);
