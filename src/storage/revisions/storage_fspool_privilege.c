/*
 * storage_fspool_privilege.c: being held to the limits of volumes
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * ext4 lets who has CAP_SYS_RESOURCE write beyond a quota (ignore_hardlimit() in fs/quota/dquot.c). What a daemon writes
 * for a volume, an archive or a copy, is to be held to its limit as everything else. Capabilities are those of a thread,
 * for the system calls, whatever libraries make of it.
 */

#include <config.h>

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage_fspool_privilege.h"

#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_privilege");

#define RESOURCE_WORD CAP_TO_INDEX(CAP_SYS_RESOURCE)
#define RESOURCE_MASK CAP_TO_MASK(CAP_SYS_RESOURCE)


/* Sets whether the capability is effective in the calling thread. Returns whether it was, or -1 with errno. */
static int
virStorageFspoolExemptionSet(bool effective)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
    bool was;

    if (syscall(SYS_capget, &header, data) < 0)
        return -1;

    was = data[RESOURCE_WORD].effective & RESOURCE_MASK;
    if (was == effective)
        return was;
    if (effective)
        data[RESOURCE_WORD].effective |= RESOURCE_MASK;
    else
        data[RESOURCE_WORD].effective &= ~RESOURCE_MASK;
    return syscall(SYS_capset, &header, data) < 0 ? -1 : was;
}


/* From here on, this thread is held to limits. */
virStorageFspoolExemption
virStorageFspoolExemptionDrop(void)
{
    int was = virStorageFspoolExemptionSet(false);

    if (was < 0)
        VIR_WARN("what is copied may exceed the limit of its volume: %s", g_strerror(errno));
    return was > 0;
}


void
virStorageFspoolExemptionRestore(virStorageFspoolExemption exemption)
{
    if (exemption && virStorageFspoolExemptionSet(true) < 0)
        VIR_WARN("cannot get a capability back: %s", g_strerror(errno));
}
