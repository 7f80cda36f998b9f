/*
 * storage_revision_domain_policy.c: what starts and stops of domains mean for live copies
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_domain_policy.h"


static bool
virStorageRevDomainLiveIsLeft(const virStorageRevDomainLive *live)
{
    return live->leavesNobodys && live->exists && live->use == VIR_STORAGE_REV_USE_NONE;
}


/**
 * virStorageRevPrepareDecide:
 * @live: live copy that a domain which is being started names
 *
 * A live copy that is there already holds what somebody has not lost yet, unless its volume starts afresh every time.
 *
 * Returns what to do with it
 */
virStorageRevPrepare
virStorageRevPrepareDecide(const virStorageRevDomainLive *live)
{
    if (!live->exists)
        return VIR_STORAGE_REV_PREPARE_MAKE;
    if (virStorageRevDomainLiveIsLeft(live))
        return VIR_STORAGE_REV_PREPARE_LEAVE;

    if (live->use != VIR_STORAGE_REV_USE_NONE) {
        if (!live->owned)
            return VIR_STORAGE_REV_PREPARE_REFUSE;
        if (virStorageRevUseHasMemory(live->use))
            return VIR_STORAGE_REV_PREPARE_RESUME;
    }
    return live->saveOnStop ? VIR_STORAGE_REV_PREPARE_CONTINUE : VIR_STORAGE_REV_PREPARE_REPLACE;
}


/* What an attempt to start has made goes with it, and what was there before stays, also from an earlier run. */
static virStorageRevRelease
virStorageRevReleaseDecideFailed(const virStorageRevDomainLive *live)
{
    switch (live->use) {
    case VIR_STORAGE_REV_USE_CREATED:
        return VIR_STORAGE_REV_RELEASE_DISCARD;
    case VIR_STORAGE_REV_USE_CONTINUED:
        return VIR_STORAGE_REV_RELEASE_FREE;
    case VIR_STORAGE_REV_USE_NONE:
    case VIR_STORAGE_REV_USE_STARTED:
    case VIR_STORAGE_REV_USE_SAVED:
    case VIR_STORAGE_REV_USE_RESUMED:
    case VIR_STORAGE_REV_USE_LAST:
        break;
    }
    return VIR_STORAGE_REV_RELEASE_NOTHING;
}


static virStorageRevRelease
virStorageRevReleaseDecideAny(const virStorageRevDomainLive *live,
                              virDomainShutoffReason reason)
{
    bool crashed = reason == VIR_DOMAIN_SHUTOFF_CRASHED;
    bool goesOn = reason == VIR_DOMAIN_SHUTOFF_SAVED || reason == VIR_DOMAIN_SHUTOFF_MIGRATED ||
        reason == VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT;

    if (!live->exists || virStorageRevDomainLiveIsLeft(live) || (!live->owned && live->use != VIR_STORAGE_REV_USE_NONE))
        return VIR_STORAGE_REV_RELEASE_NOTHING;
    /* with just this copy, in which the snapshot may be; also with one that was plugged in, and is nobody's yet */
    if (goesOn || live->use == VIR_STORAGE_REV_USE_RESUMED)
        return VIR_STORAGE_REV_RELEASE_SAVE;
    if (live->use == VIR_STORAGE_REV_USE_NONE)
        return VIR_STORAGE_REV_RELEASE_NOTHING;
    if (reason == VIR_DOMAIN_SHUTOFF_FAILED)
        return virStorageRevReleaseDecideFailed(live);

    /* one without a head may be another tool's, and one that was there before may not have been written to at all */
    if (!live->hasHead || live->use == VIR_STORAGE_REV_USE_CONTINUED ||
        (crashed && live->onCrash == VIR_STORAGE_REV_ON_CRASH_KEEP))
        return VIR_STORAGE_REV_RELEASE_FREE;
    if (!live->saveOnStop || (crashed && live->onCrash == VIR_STORAGE_REV_ON_CRASH_DISCARD))
        return VIR_STORAGE_REV_RELEASE_DISCARD;
    return VIR_STORAGE_REV_RELEASE_COMMIT;
}


/**
 * virStorageRevReleaseDecide:
 * @live: live copy that a domain which has ended, or could not be started, names
 * @reason: why it has ended
 *
 * Only the reason tells whether the domain has run: a daemon that was killed during the start may not have recorded it.
 * But one that was to go on from its memory may still do so, since libvirt keeps that until it has.
 *
 * What would be nobody's, and be left by the next start, stays the domain's.
 *
 * Returns what to do with it
 */
virStorageRevRelease
virStorageRevReleaseDecide(const virStorageRevDomainLive *live,
                           virDomainShutoffReason reason)
{
    virStorageRevRelease release = virStorageRevReleaseDecideAny(live, reason);

    if (release == VIR_STORAGE_REV_RELEASE_FREE && live->leavesNobodys)
        return VIR_STORAGE_REV_RELEASE_NOTHING;
    return release;
}
