/*
 * storage_revision_meta.h: the metadata that travels with a volume's storage
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "storage_revision_conf.h"

/* Hex digits of virStorageRevMetaHash(). */
#define VIR_STORAGE_REV_HASH_LEN 16

/* Longest text that is ever written: beyond about 250 bytes XFS keeps an attribute outside the inode, which makes
 * a cold refresh five times slower. */
#define VIR_STORAGE_REV_META_MAX 200

/* A live copy that nobody wrote to still has this modification time, which no clock shows. */
#define VIR_STORAGE_REV_UNWRITTEN_MTIME 1

/* Facts about an image or LV. Content facts describe the data, wherever a clone or rename takes it; volume facts
 * describe the volume that the object is the head, live copy or precache of, and count only while @volume matches. */
typedef struct _virStorageRevMeta virStorageRevMeta;
struct _virStorageRevMeta {
    /* content facts */
    int format;                    /* virStorageFileFormat; raw unless recorded */
    unsigned long long generation; /* counts the head's content changes, from 1; 0 where unknown */
    long long created;             /* when this state was committed, seconds since 1970; 0 where unknown */
    size_t norigins;
    virStorageRevOrigin *origins;  /* nearest first; what does not fit is dropped from the far end */

    /* volume facts */
    char *volumeHash;              /* virStorageRevMetaHash(NAME); NULL: no volume facts */
    bool snapOnStart;
    bool saveOnStop;
    char *source;
    virStorageRevOnCrash onCrash;
    int keep;                      /* VIR_STORAGE_REV_KEEP_UNSET: the pool's */
    unsigned long long nextId;     /* 0 where unknown */
    unsigned long long pruneUpTo;  /* unpinned revisions up to this id are retention's to remove */

    /* live-copy marks */
    unsigned long long base;       /* the generation that this copy was made from; 0: not a live copy of ours */
    unsigned int boot;             /* virStorageRevMetaBoot() when it was made */
    bool staged;                   /* the content was imported, not cloned from the head */
    virStorageRevUse use;          /* by the machine that owns it */
    unsigned char domain[VIR_UUID_BUFLEN]; /* where use is not NONE */

    /* precache mark: the head that it is a clone of */
    char *headStamp;

    /* LVs: the thin device that all this is about, 0 for whichever the LV is. A merge gives an LV another one, so that
     * facts about the state to come can be recorded ahead, and count from that very moment on. */
    unsigned int thinId;

    /* directories */
    char *name;                    /* volume fact: what the volume is called, where its path does not say it */
    bool folder;                   /* no volume, but where volumes with nested names lie */
    bool pending;                  /* made to become the head by an exchange: an unfinished one as long as it is none */
    char *leaving;                 /* was, or still is, the head at this path, and makes room for another one; "." at its name */
};

void
virStorageRevMetaClear(virStorageRevMeta *meta);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(virStorageRevMeta, virStorageRevMetaClear);

void
virStorageRevMetaInit(virStorageRevMeta *meta);

void
virStorageRevMetaCopy(virStorageRevMeta *dst,
                      const virStorageRevMeta *src);

int
virStorageRevMetaParse(const char *text,
                       size_t len,
                       virStorageRevMeta *meta);

char *
virStorageRevMetaFormat(const virStorageRevMeta *meta);

char *
virStorageRevMetaHash(const char *volume);

bool
virStorageRevMetaIsOf(const virStorageRevMeta *meta,
                      const char *volume);

void
virStorageRevMetaDropVolumeFacts(virStorageRevMeta *meta);

void
virStorageRevMetaDropLiveMarks(virStorageRevMeta *meta);

void
virStorageRevMetaDropMarks(virStorageRevMeta *meta);

void
virStorageRevMetaCopyVolumeFacts(virStorageRevMeta *dst,
                                 const virStorageRevMeta *src);

void
virStorageRevMetaKeepMarks(virStorageRevMeta *meta,
                           const virStorageRevMeta *live,
                           const char *volume);

unsigned long long
virStorageRevMetaGeneration(const virStorageRevMeta *meta);

void
virStorageRevMetaSetOrigin(virStorageRevMeta *meta,
                           const char *volume,
                           const virStorageRevMeta *of);

unsigned int
virStorageRevMetaBoot(void);
