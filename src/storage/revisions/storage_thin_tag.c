/*
 * storage_thin_tag.c: metadata as tags of logical volumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A tag is "libvirt=" and the text of the metadata. An LV has one, or two while it is about to become another thin
 * device: each says then which one it is about, and counts as long as the LV is that one. A revision may have a tag
 * "libvirt.next=", too, with the metadata of the head that followed, which is another thin device: that saves LVM a
 * change of the head's own tags.
 */

#include <config.h>

#include "storage_thin_tag.h"

#include "virstring.h"

#define PREFIX "libvirt="
#define PREFIX_NEXT "libvirt.next="


/**
 * virStorageThinTagFormat:
 * @meta: metadata
 *
 * Returns the tag, or NULL with an error as of virStorageRevMetaFormat()
 */
char *
virStorageThinTagFormat(const virStorageRevMeta *meta)
{
    g_autofree char *text = virStorageRevMetaFormat(meta);

    return text ? g_strconcat(PREFIX, text, NULL) : NULL;
}


/* As virStorageThinTagFormat, for the revision that comes before a head. */
char *
virStorageThinTagFormatNext(const virStorageRevMeta *meta)
{
    g_autofree char *text = virStorageRevMetaFormat(meta);

    return text ? g_strconcat(PREFIX_NEXT, text, NULL) : NULL;
}


bool
virStorageThinTagIsOurs(const char *tag)
{
    return STRPREFIX(tag, PREFIX) || STRPREFIX(tag, PREFIX_NEXT);
}


/**
 * virStorageThinTagsParse:
 * @tags: all tags of an LV, ended by NULL
 * @thinId: the thin device that it is
 * @meta: initialised; filled where one of the tags is metadata of that device
 *
 * Returns whether there is one; what cannot be read is taken for none
 */
bool
virStorageThinTagsParse(const char * const *tags,
                        unsigned int thinId,
                        virStorageRevMeta *meta)
{
    g_auto(virStorageRevMeta) read = { 0 };
    bool found = false;

    virStorageRevMetaInit(&read);
    for (; tags && *tags; tags++) {
        const char *text = STRSKIP(*tags, PREFIX);

        if (!text ||
            virStorageRevMetaParse(text, strlen(text), &read) < 0)
            continue;

        if (read.thinId == thinId && thinId != 0) {
            virStorageRevMetaCopy(meta, &read);
            return true;
        }
        /* about whichever device the LV is, as long as there is nothing more to the point */
        if (read.thinId == 0 && !found) {
            virStorageRevMetaCopy(meta, &read);
            found = true;
        }
    }
    return found;
}


/**
 * virStorageThinTagsParseNext:
 * @tags: all tags of a revision, ended by NULL
 * @meta: initialised; filled where one of them is metadata of the head that followed
 *
 * Returns whether there is one
 */
bool
virStorageThinTagsParseNext(const char * const *tags,
                            virStorageRevMeta *meta)
{
    for (; tags && *tags; tags++) {
        const char *text = STRSKIP(*tags, PREFIX_NEXT);

        if (text && virStorageRevMetaParse(text, strlen(text), meta) == 0 && meta->thinId != 0)
            return true;
    }
    virStorageRevMetaClear(meta);
    return false;
}
