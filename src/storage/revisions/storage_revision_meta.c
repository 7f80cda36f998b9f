/*
 * storage_revision_meta.c: the metadata that travels with a volume's storage
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_meta.h"

#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_revision_meta");

#define VIR_STORAGE_REV_BOOT_ID "/proc/sys/kernel/random/boot_id"


static void
virStorageRevMetaFreeOrigins(virStorageRevOrigin *origins,
                             size_t norigins)
{
    size_t i;

    for (i = 0; i < norigins; i++)
        g_free(origins[i].volume);
    g_free(origins);
}


/**
 * virStorageRevMetaInit:
 * @meta: metadata, not initialised before
 *
 * Fills @meta with what storage without metadata is: a raw image, nothing known of where it is from or of its volume.
 */
void
virStorageRevMetaInit(virStorageRevMeta *meta)
{
    memset(meta, 0, sizeof(*meta));
    meta->format = VIR_STORAGE_FILE_RAW;
    meta->saveOnStop = true;
    meta->keep = VIR_STORAGE_REV_KEEP_UNSET;
}


/**
 * virStorageRevMetaClear:
 * @meta: metadata, initialised or all zero, or NULL
 *
 * Frees what @meta holds, and leaves it as virStorageRevMetaInit() does.
 */
void
virStorageRevMetaClear(virStorageRevMeta *meta)
{
    if (!meta)
        return;

    virStorageRevMetaFreeOrigins(meta->origins, meta->norigins);
    g_free(meta->volumeHash);
    g_free(meta->source);
    g_free(meta->headStamp);
    g_free(meta->name);
    g_free(meta->leaving);
    virStorageRevMetaInit(meta);
}


static virStorageRevOrigin *
virStorageRevMetaCopyOrigins(const virStorageRevMeta *meta,
                             virStorageRevOrigin *to)
{
    size_t i;

    for (i = 0; i < meta->norigins; i++) {
        to[i].volume = g_strdup(meta->origins[i].volume);
        to[i].generation = meta->origins[i].generation;
    }
    return to;
}


/**
 * virStorageRevMetaCopy:
 * @dst: metadata, initialised; what it held is freed
 * @src: metadata, not @dst
 *
 * Makes @dst a copy of @src.
 */
void
virStorageRevMetaCopy(virStorageRevMeta *dst,
                      const virStorageRevMeta *src)
{
    virStorageRevMetaClear(dst);

    *dst = *src;
    dst->volumeHash = g_strdup(src->volumeHash);
    dst->source = g_strdup(src->source);
    dst->headStamp = g_strdup(src->headStamp);
    dst->name = g_strdup(src->name);
    dst->leaving = g_strdup(src->leaving);
    dst->origins = NULL;
    if (src->norigins > 0)
        dst->origins = virStorageRevMetaCopyOrigins(src, g_new0(virStorageRevOrigin, src->norigins));
}


/**
 * virStorageRevMetaHash:
 * @volume: name of a volume
 *
 * A name may have more bytes than all metadata together, and it only needs to be recognised.
 *
 * Returns the first 16 hex digits of the SHA-256 of @volume
 */
char *
virStorageRevMetaHash(const char *volume)
{
    char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, volume, -1);

    hash[VIR_STORAGE_REV_HASH_LEN] = '\0';
    return hash;
}


/**
 * virStorageRevMetaIsOf:
 * @meta: metadata
 * @volume: name of the volume whose file or LV it was read from
 *
 * Returns true if the volume facts of @meta are about @volume, and not about one that it is a copy of
 */
bool
virStorageRevMetaIsOf(const virStorageRevMeta *meta,
                      const char *volume)
{
    g_autofree char *hash = NULL;

    if (!meta->volumeHash)
        return false;

    hash = virStorageRevMetaHash(volume);
    return STREQ(meta->volumeHash, hash);
}


/**
 * virStorageRevMetaDropVolumeFacts:
 * @meta: metadata
 *
 * Content facts, live-copy marks and the precache mark stay.
 */
void
virStorageRevMetaDropVolumeFacts(virStorageRevMeta *meta)
{
    g_clear_pointer(&meta->volumeHash, g_free);
    g_clear_pointer(&meta->source, g_free);
    g_clear_pointer(&meta->name, g_free);
    meta->snapOnStart = false;
    meta->saveOnStop = true;
    meta->onCrash = VIR_STORAGE_REV_ON_CRASH_COMMIT;
    meta->keep = VIR_STORAGE_REV_KEEP_UNSET;
    meta->nextId = 0;
    meta->pruneUpTo = 0;
}


/* Removes what says whose a live copy is, and from when: a state that is none may still have it from the commit that it
 * came to be by. */
void
virStorageRevMetaDropLiveMarks(virStorageRevMeta *meta)
{
    meta->base = 0;
    meta->boot = 0;
    meta->staged = false;
    meta->use = VIR_STORAGE_REV_USE_NONE;
}


/**
 * virStorageRevMetaDropMarks:
 * @meta: metadata
 *
 * Removes what is true of a live copy or a precache only: what becomes a head, or is cloned from one, is neither yet.
 */
void
virStorageRevMetaDropMarks(virStorageRevMeta *meta)
{
    virStorageRevMetaDropLiveMarks(meta);
    meta->thinId = 0;
    meta->folder = false;
    meta->pending = false;
    VIR_FREE(meta->headStamp);
    VIR_FREE(meta->leaving);
}


/**
 * virStorageRevMetaCopyVolumeFacts:
 * @dst: metadata; what volume facts it had are replaced
 * @src: metadata, not @dst
 *
 * Content facts, live-copy marks and the precache mark of @dst stay.
 */
void
virStorageRevMetaCopyVolumeFacts(virStorageRevMeta *dst,
                                 const virStorageRevMeta *src)
{
    virStorageRevMetaDropVolumeFacts(dst);

    dst->volumeHash = g_strdup(src->volumeHash);
    dst->source = g_strdup(src->source);
    dst->name = g_strdup(src->name);
    dst->snapOnStart = src->snapOnStart;
    dst->saveOnStop = src->saveOnStop;
    dst->onCrash = src->onCrash;
    dst->keep = src->keep;
    dst->nextId = src->nextId;
    dst->pruneUpTo = src->pruneUpTo;
}


/**
 * virStorageRevMetaKeepMarks:
 * @meta: metadata of the head to come, without marks
 * @live: that of what is about to become it
 * @volume: name
 *
 * Until the switch that is a live copy, and a commit that is interrupted leaves it one: an import, which nobody may
 * replace, or a machine's own. When it was made is left out, so that it never counts as left over or as unwritten. On a
 * head these marks mean nothing; where there is no room for them, they are left out, too.
 */
void
virStorageRevMetaKeepMarks(virStorageRevMeta *meta,
                           const virStorageRevMeta *live,
                           const char *volume)
{
    g_autofree char *text = NULL;

    if (!virStorageRevMetaIsOf(live, volume))
        return;

    meta->staged = live->staged;
    meta->use = live->use;
    memcpy(meta->domain, live->domain, VIR_UUID_BUFLEN);
    if (!(text = virStorageRevMetaFormat(meta))) {
        virResetLastError();
        virStorageRevMetaDropLiveMarks(meta);
    }
}


/* Returns the generation of a state; one without metadata of ours counts as the first. */
unsigned long long
virStorageRevMetaGeneration(const virStorageRevMeta *meta)
{
    return meta->generation ? meta->generation : 1;
}


/**
 * virStorageRevMetaSetOrigin:
 * @meta: metadata of a new state
 * @volume: name of the volume that its content was cloned from
 * @of: metadata of the state that it was cloned from; may be @meta
 *
 * Makes @of's ancestry, with @volume in front, that of @meta.
 */
void
virStorageRevMetaSetOrigin(virStorageRevMeta *meta,
                           const char *volume,
                           const virStorageRevMeta *of)
{
    size_t norigins = of->norigins + 1;
    virStorageRevOrigin *origins = g_new0(virStorageRevOrigin, norigins);

    origins[0].volume = g_strdup(volume);
    origins[0].generation = virStorageRevMetaGeneration(of);
    virStorageRevMetaCopyOrigins(of, origins + 1);

    virStorageRevMetaFreeOrigins(meta->origins, meta->norigins);
    meta->origins = origins;
    meta->norigins = norigins;
}


static unsigned int
virStorageRevMetaReadBoot(void)
{
    g_autofree char *text = NULL;
    g_autofree char *hash = NULL;
    unsigned int boot = 0;

    if (virFileReadAllQuiet(VIR_STORAGE_REV_BOOT_ID, 256, &text) < 0) {
        /* One boot for each daemon then: to take an old live copy for one of now could lose what was written to it. */
        VIR_WARN("cannot read %s", VIR_STORAGE_REV_BOOT_ID);
        return MAX(g_random_int(), 1);
    }

    hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    hash[8] = '\0';
    ignore_value(virStrToLong_ui(hash, NULL, 16, &boot));
    return MAX(boot, 1);
}


/**
 * virStorageRevMetaBoot:
 *
 * Tells live copies that were made since the host was booted from older ones.
 *
 * Returns a number, not 0, that is another after each boot of the host
 */
unsigned int
virStorageRevMetaBoot(void)
{
    static gsize boot;

    if (g_once_init_enter(&boot))
        g_once_init_leave(&boot, virStorageRevMetaReadBoot());

    return boot;
}
