/*
 * storage_revision_conf.h: XML of the pool types whose volumes have revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_conf.h"
#include "storage_revision_chain_conf.h"
#include "virobject.h"

/* The pool's and the volume's "keep" when the XML names none. */
#define VIR_STORAGE_REV_KEEP_DEFAULT 1
#define VIR_STORAGE_REV_KEEP_UNSET -1
/* Retention beyond this is a typing error. */
#define VIR_STORAGE_REV_KEEP_MAX 10000

typedef enum {
    VIR_STORAGE_REV_ACTIVATION_ALL,  /* every LV of the pool is active */
    VIR_STORAGE_REV_ACTIVATION_LIVE, /* only live copies are */

    VIR_STORAGE_REV_ACTIVATION_LAST,
} virStorageRevActivation;

VIR_ENUM_DECL(virStorageRevActivation);

/* The file system of an fspool. The first two are where libvirt's parser of <protocol> expects them. */
typedef enum {
    VIR_STORAGE_REV_FSPOOL_AUTO = VIR_STORAGE_POOL_NETFS_AUTO,
    VIR_STORAGE_REV_FSPOOL_NFS = VIR_STORAGE_POOL_NETFS_NFS,
    VIR_STORAGE_REV_FSPOOL_EXT4,
    VIR_STORAGE_REV_FSPOOL_XFS,
    VIR_STORAGE_REV_FSPOOL_BTRFS,

    VIR_STORAGE_REV_FSPOOL_LAST,
} virStorageRevFspoolFormat;

VIR_ENUM_DECL(virStorageRevFspoolFormat);

/* What counts the space of directories on a Btrfs file system that a pool makes. */
typedef enum {
    VIR_STORAGE_REV_QUOTA_FULL,   /* what a tree refers to */
    VIR_STORAGE_REV_QUOTA_SIMPLE, /* what was written in it; older kernels than 6.7 cannot mount it any more */

    VIR_STORAGE_REV_QUOTA_LAST,
} virStorageRevQuotaMode;

VIR_ENUM_DECL(virStorageRevQuotaMode);

/* The namespace of <fs:mount_opts>, as libvirt's own pools on file systems have it. */
#define VIR_STORAGE_REV_FS_PREFIX "fs"
#define VIR_STORAGE_REV_FS_URI "http://libvirt.org/schemas/storagepool/fs/1.0"

/* Rows of storage_conf.c's table of pool types, in its terms. No part of the source is mandatory for all pools of a
 * type but what virStorageRevPoolParseXML() asks for. */
#define VIR_STORAGE_REV_POOL_TYPE_INFO \
    {.poolType = VIR_STORAGE_POOL_QUBES_THIN, \
     .poolOptions = { \
         .flags = (VIR_STORAGE_POOL_SOURCE_NAME | \
                   VIR_STORAGE_POOL_SOURCE_DEVICE), \
         .ns = { .free = virStorageRevPoolFree }, \
     }, \
     .volOptions = { \
         .defaultFormat = VIR_STORAGE_FILE_RAW, \
         .lastFormat = VIR_STORAGE_FILE_LAST, \
         .formatFromString = virStorageVolumeFormatFromString, \
         .formatToString = virStorageFileFormatTypeToString, \
     }, \
    }, \
    {.poolType = VIR_STORAGE_POOL_REFLINK, \
     .poolOptions = { \
         .ns = { .free = virStorageRevPoolFree }, \
     }, \
     .volOptions = { \
         .defaultFormat = VIR_STORAGE_FILE_RAW, \
         .lastFormat = VIR_STORAGE_FILE_LAST, \
         .formatFromString = virStorageVolumeFormatFromString, \
         .formatToString = virStorageFileFormatTypeToString, \
     }, \
    }, \
    {.poolType = VIR_STORAGE_POOL_FSPOOL, \
     .poolOptions = { \
         .defaultFormat = VIR_STORAGE_REV_FSPOOL_AUTO, \
         .lastFormat = VIR_STORAGE_REV_FSPOOL_LAST, \
         .ns = { \
             .prefix = VIR_STORAGE_REV_FS_PREFIX, \
             .uri = VIR_STORAGE_REV_FS_URI, \
             .format = virStorageRevPoolFormatMountOptions, \
             .free = virStorageRevPoolFree, \
         }, \
         .formatFromString = virStorageRevFspoolFormatTypeFromString, \
         .formatToString = virStorageRevFspoolFormatTypeToString, \
     }, \
     .volOptions = { \
         .defaultFormat = VIR_STORAGE_FILE_DIR, \
         .lastFormat = VIR_STORAGE_FILE_LAST, \
         .formatFromString = virStorageVolumeFormatFromString, \
         .formatToString = virStorageFileFormatTypeToString, \
     }, \
    },

/* What becomes of the changes of a machine that crashed. */
typedef enum {
    VIR_STORAGE_REV_ON_CRASH_COMMIT,
    VIR_STORAGE_REV_ON_CRASH_DISCARD,
    VIR_STORAGE_REV_ON_CRASH_KEEP,

    VIR_STORAGE_REV_ON_CRASH_LAST,
} virStorageRevOnCrash;

VIR_ENUM_DECL(virStorageRevOnCrash);

/* How far a machine is with the live copy that it owns. */
typedef enum {
    VIR_STORAGE_REV_USE_NONE,
    VIR_STORAGE_REV_USE_CREATED,   /* made by a start that is under way */
    VIR_STORAGE_REV_USE_CONTINUED, /* was there before a start that is under way */
    VIR_STORAGE_REV_USE_STARTED,
    VIR_STORAGE_REV_USE_SAVED,     /* the machine's memory is kept somewhere, and goes with just this copy */
    VIR_STORAGE_REV_USE_RESUMED,   /* likewise, while a start is under way that may load it */

    VIR_STORAGE_REV_USE_LAST,
} virStorageRevUse;

VIR_ENUM_DECL(virStorageRevUse);

static inline bool
virStorageRevUseHasMemory(virStorageRevUse use)
{
    return use == VIR_STORAGE_REV_USE_SAVED || use == VIR_STORAGE_REV_USE_RESUMED;
}

/* Use of a thin pool, in bytes; output only. */
typedef struct _virStorageRevThinUse virStorageRevThinUse;
struct _virStorageRevThinUse {
    unsigned long long dataSize;
    unsigned long long dataUsed;
    unsigned long long metadataSize;
    unsigned long long metadataUsed;
};

/* What the three pool types add to a pool: the pool definition's namespaceData. */
typedef struct _virStorageRevPool virStorageRevPool;
struct _virStorageRevPool {
    int keep;                        /* VIR_STORAGE_REV_KEEP_UNSET: the default */
    virTristateBool list;            /* are revisions part of volume lists? */
    virTristateBool reflinkRequired; /* reflink: refuse file systems that cannot clone */

    char *thinPool;                  /* qubes-thin: name of the thin pool LV */
    virStorageRevActivation activation;
    bool hasActivation;
    bool hasThinUse;
    virStorageRevThinUse thinUse;

    char *sourcePool;                /* fspool: the volume that holds the file system */
    char *sourceVolume;
    virTristateBool quotaRequired;   /* fspool: refuse limits that nothing enforces */
    virStorageRevQuotaMode quotaMode;
    bool hasQuotaMode;
    char **mountOptions;             /* fspool: names of <fs:mount_opts>, or NULL */

    /* What the backend knows about the running pool; not XML. */
    bool starting;                   /* the next refresh is that of a pool start */
    bool snapshots;                  /* fspool: the file system makes them, so that nothing is copied */
    bool remote;                     /* fspool: what it lies on may not answer, as a server that has gone */
    char **pvs;                      /* qubes-thin: what the volume group lies on, NULL where unknown */
    bool vgPartial;                  /* qubes-thin: a part of that is missing */
    unsigned long long vgExtentSize; /* qubes-thin */
    void *runtime;
    GDestroyNotify runtimeFree;
};

/* One earlier state, as listed below its head; output only. Times are seconds since 1970, 0 where unknown. */
typedef struct _virStorageRevEntry virStorageRevEntry;
struct _virStorageRevEntry {
    char *name;
    unsigned long long id; /* 0 for a pinned revision */
    long long created;
    long long superseded;
    bool pinned;
};

/* One step of an ancestry, nearest first. */
typedef struct _virStorageRevOrigin virStorageRevOrigin;
struct _virStorageRevOrigin {
    char *volume;
    unsigned long long generation;
};

/* What the three pool types add to a volume: target.privateData of its definition. */
typedef struct _virStorageRevVol virStorageRevVol;
struct _virStorageRevVol {
    virObject parent;

    /* From the XML, or from the volume's metadata. */
    bool hasLifecycle;
    bool snapOnStart;
    bool saveOnStop;
    char *source;         /* set exactly when snapOnStart */
    virStorageRevOnCrash onCrash;
    int keep;             /* VIR_STORAGE_REV_KEEP_UNSET: the pool's */
    unsigned long long filesMax; /* fspool: inode limit, 0 for none */
    bool hasDomain;      /* a live copy: the document had the element, or a machine owns it */
    virStorageRevUse use;
    unsigned char domain[VIR_UUID_BUFLEN]; /* where use is not NONE */
    /* Input only: the document had the element. */
    bool hasCapacity;
    bool hasFormat;
    virStorageRevChain *wantedChain; /* what the document says of the backing chain, or NULL */

    /* Output only. */
    size_t nrevisions;
    virStorageRevEntry *revisions;
    bool hasState;
    bool dirty;
    bool outdated;
    unsigned long long generation;
    size_t norigins;
    virStorageRevOrigin *origins;
    virStorageRevChain *chain; /* NULL for an image that lies on nothing */

    bool hidden;          /* found by name, key and path, but not listed */
};

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageRevVol, virObjectUnref);

bool
virStorageRevPoolTypeIs(int type);

virStorageRevPool *
virStorageRevPoolGet(virStoragePoolDef *def);

void
virStorageRevPoolFree(void *data);

int
virStorageRevPoolKeep(virStoragePoolDef *def);

int
virStorageRevKeepParseXML(xmlNodePtr node,
                          int *keep);

int
virStorageRevPoolParseXML(virStoragePoolDef *def,
                          xmlXPathContextPtr ctxt);

char *
virStorageRevPoolTargetPath(virStoragePoolDef *def);

void
virStorageRevPoolFormat(virBuffer *buf,
                        virStoragePoolDef *def);

int
virStorageRevPoolFormatMountOptions(virBuffer *buf,
                                    void *data);

int
virStorageRevPoolFormatSource(virBuffer *buf,
                              virStoragePoolDef *def);

int
virStorageRevLifecycleCheck(const char *volume,
                            bool snapOnStart,
                            bool saveOnStop,
                            const char *source);

virStorageRevVol *
virStorageRevVolNew(void);

virStorageRevVol *
virStorageRevVolGet(virStorageVolDef *def);

bool
virStorageRevVolIsHidden(virStorageVolDef *def);

void
virStorageRevVolClearRevisions(virStorageRevVol *vol);

void
virStorageRevVolClearOrigins(virStorageRevVol *vol);

int
virStorageRevVolParseXML(virStoragePoolDef *pool,
                         xmlXPathContextPtr ctxt,
                         virStorageVolDef *def);

void
virStorageRevVolFormat(virBuffer *buf,
                       virStoragePoolDef *pool,
                       virStorageVolDef *def);

int
virStorageRevVolFormatChain(virBuffer *buf,
                            virStoragePoolDef *pool,
                            virStorageVolDef *def);

int
virStorageRevDiskCheck(int poolType,
                       const virStorageSource *disk);

bool
virStorageRevPoolSourceConflict(virStoragePoolDef *a,
                                virStoragePoolDef *b);
