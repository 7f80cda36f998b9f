/*
 * storage_thin_message.c: LVM's complaints
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_thin_message.h"

#include "viralloc.h"
#include "virbuffer.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

static const char needsCheck[] = N_("the thin pool has to be checked: deactivate it, and activate it with thin_check's option --clear-needs-check-flag, see thin_check_options in lvm.conf(5)");

#define USED N_("stop or detach what uses it first")
#define CHANGED N_("somebody else has changed the volume group: refresh the pool")
#define ODDS N_("the volume group's metadata and that of the thin pool are of different times: change nothing, and see lvmthin(7)")
#define REPAIR N_("the thin pool's metadata is damaged: deactivate it, and run 'lvconvert --repair' on it")
#define FULL N_("extend the thin pool, or remove volumes or revisions")
#define CROWDED N_("the volume group holds no more logical volumes: remove some, or make one with a larger metadata area")
#define MISSING N_("a physical volume of the volume group is missing: attach it first; or refresh the pool, if the group has got a new one")
#define UNMADE N_("LVM was interrupted while it made a logical volume: create or remove another one, and LVM will finish that")
#define ABSENT N_("attach the disks that it is on, or build the pool")

/* What LVM says, in its own words of the locale C, and what can be done about it. Names of volumes stand between quotes,
 * or within these words: with the blanks around them no name can be taken for them. */
static const struct {
    const char *text;
    virErrorNumber code;
    const char *hint;
} hints[] = {
    { " in use.", VIR_ERR_OPERATION_INVALID, USED },
    { " is used by another device", VIR_ERR_OPERATION_INVALID, USED },
    { " is already in use", VIR_ERR_OPERATION_INVALID, USED },
    { " already exists in ", VIR_ERR_OPERATION_INVALID, CHANGED },
    { "Failed to find logical volume ", VIR_ERR_OPERATION_INVALID, CHANGED },
    { " transaction_id is ", VIR_ERR_OPERATION_FAILED, ODDS },
    { " has unexpected transaction id ", VIR_ERR_OPERATION_FAILED, ODDS },
    { " needs check", VIR_ERR_OPERATION_FAILED, needsCheck },
    { "Check of pool ", VIR_ERR_OPERATION_FAILED, REPAIR },
    { " reached threshold", VIR_ERR_OPERATION_FAILED, FULL },
    { " is above threshold", VIR_ERR_OPERATION_FAILED, FULL },
    { "Cannot create new thin volume, free space in ", VIR_ERR_OPERATION_FAILED, FULL },
    { " too large for circular buffer", VIR_ERR_OPERATION_FAILED, CROWDED },
    { " too large for mda_size", VIR_ERR_OPERATION_FAILED, CROWDED },
    { " exceeds maximum metadata size", VIR_ERR_OPERATION_FAILED, CROWDED },
    { " while PVs are missing", VIR_ERR_OPERATION_FAILED, MISSING },
    { " is missing PV ", VIR_ERR_OPERATION_FAILED, MISSING },
    { "Couldn't find device with uuid ", VIR_ERR_OPERATION_FAILED, MISSING },
    { " failed: No data available", VIR_ERR_OPERATION_FAILED, UNMADE },
    { "Cannot process volume group ", VIR_ERR_OPERATION_FAILED, ABSENT },
};

#undef USED
#undef CHANGED
#undef ODDS
#undef REPAIR
#undef FULL
#undef CROWDED
#undef MISSING
#undef UNMADE
#undef ABSENT


/* Returns the index of the hint about @text, or -1. */
static ssize_t
virStorageThinFindHint(const char *text)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(hints); i++) {
        if (strstr(text, hints[i].text))
            return i;
    }
    return -1;
}


/**
 * virStorageThinMessage:
 * @output: what a command of LVM wrote to its standard error, or NULL
 *
 * Returns its lines as one, warnings only if there is nothing else, or if they are known to be the cause: where a thin
 * pool is out of step with its volume group, the error itself only says that it is full. Never empty.
 */
char *
virStorageThinMessage(const char *output)
{
    g_auto(GStrv) lines = g_strsplit(NULLSTR_EMPTY(output), "\n", -1);
    g_auto(virBuffer) errors = VIR_BUFFER_INITIALIZER;
    g_auto(virBuffer) warnings = VIR_BUFFER_INITIALIZER;
    size_t i;

    for (i = 0; lines[i]; i++) {
        const char *line = g_strstrip(lines[i]);
        bool aside = STRPREFIX(line, "WARNING") && virStorageThinFindHint(line) < 0;
        virBuffer *buf = aside ? &warnings : &errors;

        if (*line)
            virBufferAsprintf(buf, "%s%s", virBufferUse(buf) > 0 ? "; " : "", line);
    }

    if (virBufferUse(&errors) > 0)
        return virBufferContentAndReset(&errors);
    if (virBufferUse(&warnings) > 0)
        return virBufferContentAndReset(&warnings);
    return g_strdup(_("no reason given"));
}


/**
 * virStorageThinHint:
 * @message: from virStorageThinMessage()
 * @code: set to the error that it is for libvirt
 *
 * Returns what can be done about it, not translated yet, or NULL
 */
const char *
virStorageThinHint(const char *message,
                   virErrorNumber *code)
{
    ssize_t i = virStorageThinFindHint(message);

    *code = i < 0 ? VIR_ERR_OPERATION_FAILED : hints[i].code;
    return i < 0 ? NULL : hints[i].hint;
}


/**
 * virStorageThinNeedsCheck:
 *
 * Returns what to do about a thin pool that the kernel wants to be checked, not translated yet
 */
const char *
virStorageThinNeedsCheck(void)
{
    return needsCheck;
}
