/*
 * storage_thin_name.c: names of the logical volumes that a volume's states are
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_thin_name.h"

#include "viralloc.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

#define LIVE "-snap"
#define BACK "-back"
#define IMPORT "-import"
#define PIN "+pin+"
#define STAGE "+stage"
#define DIGITS "0123456789"

/* The kernel's DM_NAME_LEN, without the terminating zero. */
#define DEVICE_NAME_MAX 127

#define ID_DIGITS_MAX 10

/* Longest that a revision adds to the name of a device: "-<epoch>-back" with both dashes doubled. Beyond the kernel's
 * limit a rename would leave a device suspended. */
#define DEVICE_SUFFIX_MAX 18


void
virStorageThinNameClear(virStorageThinName *name)
{
    VIR_FREE(name->volume);
    VIR_FREE(name->word);
}


/* Reads the id of "NAME-<id>-back", and returns how long NAME is, or 0. */
static size_t
virStorageThinRevisionParse(const char *lv,
                            size_t len,
                            unsigned long long *id)
{
    size_t digits = len;
    g_autofree char *number = NULL;

    while (digits > 0 && g_ascii_isdigit(lv[digits - 1]))
        digits--;
    if (digits < 2 || digits == len || len - digits > ID_DIGITS_MAX || lv[digits] == '0' || lv[digits - 1] != '-')
        return 0;

    number = g_strndup(lv + digits, len - digits);
    if (virStrToLong_ull(number, NULL, 10, id) < 0)
        return 0;
    return digits - 1;
}


/* Sets role, id and word, and returns how long the volume's name is. */
static size_t
virStorageThinNameSplit(const char *lv,
                        virStorageThinName *name)
{
    size_t len = strlen(lv);
    const char *suffix;
    size_t volumeLen;

    name->role = VIR_STORAGE_THIN_HEAD;
    /* before all others: a word may end as they do */
    if ((suffix = g_strrstr(lv, PIN)) && virStorageRevWordIsValid(suffix + strlen(PIN))) {
        name->role = VIR_STORAGE_THIN_PINNED;
        name->word = g_strdup(suffix + strlen(PIN));
        return suffix - lv;
    }
    if (g_str_has_suffix(lv, LIVE)) {
        name->role = VIR_STORAGE_THIN_LIVE;
        return len - strlen(LIVE);
    }
    if (g_str_has_suffix(lv, IMPORT)) {
        name->role = VIR_STORAGE_THIN_IMPORT;
        return len - strlen(IMPORT);
    }
    if ((suffix = g_strrstr(lv, STAGE)) && !suffix[strlen(STAGE) + strspn(suffix + strlen(STAGE), DIGITS)]) {
        name->role = VIR_STORAGE_THIN_STAGE;
        ignore_value(virStrToLong_ull(suffix + strlen(STAGE), NULL, 10, &name->id));
        return suffix - lv;
    }
    if (g_str_has_suffix(lv, BACK) &&
        (volumeLen = virStorageThinRevisionParse(lv, len - strlen(BACK), &name->id)) > 0) {
        name->role = VIR_STORAGE_THIN_NUMBERED;
        return volumeLen;
    }
    return len;
}


/**
 * virStorageThinNameParse:
 * @lv: name of a logical volume
 * @name: filled; to be cleared
 *
 * Says what the name alone tells. An LV of another tool may look like a revision, so that the caller has to ask whether
 * there is a volume that it could be one of.
 */
void
virStorageThinNameParse(const char *lv,
                        virStorageThinName *name)
{
    virStorageThinName inner = { 0 };
    size_t len;

    memset(name, 0, sizeof(*name));
    len = virStorageThinNameSplit(lv, name);
    name->volume = g_strndup(lv, len);
    if (name->role == VIR_STORAGE_THIN_HEAD)
        return;

    /* a state of a volume that no volume can be called is none */
    virStorageThinNameSplit(name->volume, &inner);
    if (len == 0 || inner.role != VIR_STORAGE_THIN_HEAD) {
        virStorageThinNameClear(name);
        name->role = VIR_STORAGE_THIN_HEAD;
        name->id = 0;
        name->volume = g_strdup(lv);
    }
    virStorageThinNameClear(&inner);
}


/**
 * virStorageThinNameFormat:
 * @role: what the logical volume is
 * @volume: name of the volume
 * @id: of a numbered revision; of staging, 0 for the one that replaces the head
 * @word: of a pinned revision
 *
 * Returns the name of the logical volume, without its volume group
 */
char *
virStorageThinNameFormat(virStorageThinRole role,
                         const char *volume,
                         unsigned long long id,
                         const char *word)
{
    switch (role) {
    case VIR_STORAGE_THIN_LIVE:
        return g_strconcat(volume, LIVE, NULL);
    case VIR_STORAGE_THIN_NUMBERED:
        return g_strdup_printf("%s-%llu" BACK, volume, id);
    case VIR_STORAGE_THIN_PINNED:
        return g_strconcat(volume, PIN, word, NULL);
    case VIR_STORAGE_THIN_STAGE:
        return id ? g_strdup_printf("%s" STAGE "%llu", volume, id) : g_strconcat(volume, STAGE, NULL);
    case VIR_STORAGE_THIN_IMPORT:
        return g_strconcat(volume, IMPORT, NULL);
    case VIR_STORAGE_THIN_HEAD:
        break;
    }
    return g_strdup(volume);
}


/* Returns a name for staging that is only read, and removed when that is over. */
char *
virStorageThinNameTemporary(const char *volume)
{
    return virStorageThinNameFormat(VIR_STORAGE_THIN_STAGE, volume, g_random_int_range(1, 10000), NULL);
}


static void
virStorageThinEscape(virBuffer *buf,
                     const char *name)
{
    for (; *name; name++) {
        if (*name == '-')
            virBufferAddChar(buf, '-');
        virBufferAddChar(buf, *name);
    }
}


/**
 * virStorageThinDeviceName:
 * @vg: volume group
 * @lv: logical volume
 *
 * Returns the name that LVM gives to the device: dashes are doubled, and a single one stands between the two
 */
char *
virStorageThinDeviceName(const char *vg,
                         const char *lv)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    virStorageThinEscape(&buf, vg);
    virBufferAddChar(&buf, '-');
    virStorageThinEscape(&buf, lv);
    return virBufferContentAndReset(&buf);
}


/* LVM keeps these names for the parts of its own LVs. */
static bool
virStorageThinNameIsReserved(const char *lv)
{
    const char *prefixes[] = { "pvmove", "snapshot" };
    const char *parts[] = { "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_mimage", "_mlog", "_rimage",
                            "_rmeta", "_tdata", "_tmeta", "_vdata", "_imeta", "_iorig", "_pmspare", "_vorigin" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        if (STRPREFIX(lv, prefixes[i]))
            return true;
    }
    for (i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (strstr(lv, parts[i]))
            return true;
    }
    return false;
}


static bool
virStorageThinRevisionFits(const char *vg,
                           const char *volume)
{
    g_autofree char *head = virStorageThinDeviceName(vg, volume);

    return strlen(head) + DEVICE_SUFFIX_MAX <= DEVICE_NAME_MAX;
}


/* Can the head of a volume, which another tool may have made, become a revision? Returns 0, or -1 with an error. */
int
virStorageThinNameCheckRevision(const char *vg,
                                const char *volume)
{
    if (virStorageThinRevisionFits(vg, volume))
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("the name of volume '%1$s' is too long for the devices of its revisions in volume group '%2$s': clone it under a shorter name, and use the clone"),
                   volume, vg);
    return -1;
}


/**
 * virStorageThinNameCheck:
 * @vg: volume group
 * @name: what a new volume, live copy or revision is to be called; its parts are valid
 *
 * Returns 0, or -1 with VIR_ERR_INVALID_ARG when LVM has no such names, when the name is too long for the devices that the
 * volume may ever need, or would be read as another volume's
 */
int
virStorageThinNameCheck(const char *vg,
                        const virStorageRevName *name)
{
    g_auto(virStorageThinName) split = { 0 };
    g_autofree char *lv = virStorageThinNameFormat(name->word ? VIR_STORAGE_THIN_PINNED : VIR_STORAGE_THIN_HEAD,
                                                   name->volume, 0, name->word);
    g_autofree char *device = virStorageThinDeviceName(vg, lv);

    if (!virStorageRevLVMNameIsValid(name->volume)) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("a volume cannot be called '%1$s': logical volumes have names of letters, digits and the characters '+', '_', '.' and '-', which does not come first"),
                       name->volume);
        return -1;
    }
    if (virStorageThinNameIsReserved(lv)) {
        virReportError(VIR_ERR_INVALID_ARG, _("a volume cannot be called '%1$s': such names are reserved for LVM's own LVs"), lv);
        return -1;
    }
    if (!virStorageThinRevisionFits(vg, name->volume) || strlen(device) > DEVICE_NAME_MAX) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("the name of volume '%1$s' is too long for devices of volume group '%2$s': a dash counts twice"),
                       name->volume, vg);
        return -1;
    }
    virStorageThinNameSplit(name->volume, &split);
    if (split.role != VIR_STORAGE_THIN_HEAD) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("a volume cannot be called '%1$s': names like that are those of other volumes' live copies and revisions"),
                       name->volume);
        return -1;
    }
    return 0;
}
