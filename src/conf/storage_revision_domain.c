/*
 * storage_revision_domain.c: live copies that start and stop with their domains
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_domain.h"

#include "datatypes.h"
#include "storage_revision_conf.h"
#include "storage_revision_domain_live.h"
#include "storage_revision_domain_policy.h"
#include "virerror.h"
#include "virhook.h"
#include "viridentity.h"
#include "virlog.h"
#include "virstring.h"
#include "virtime.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("conf.storage_revision_domain");

/*
 * Called where hypervisor drivers call hook programs, with a document of the domain. All is done through the public API,
 * as the translation of a disk's volume does it, so that it works where the storage driver is another daemon's. A hook
 * program could not do this: it would wait for a daemon that waits for it.
 *
 * Who owns a live copy, and how far the start of that domain has come, is in the live copy's own metadata: it is as old as
 * the copy, and survives both daemons.
 */

/* Creates what @suffix, after the volume's name, names from @from. @mark is the element that says whose it is, or "". */
static int
virStorageRevDomainCreate(const virStorageRevDomainDisk *disk,
                          const char *suffix,
                          virStorageVolPtr from,
                          const char *mark)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    g_autofree char *xml = NULL;
    g_autoptr(virStorageVol) vol = NULL;

    virBufferEscapeString(&buf, "<volume><name>%s", disk->volume);
    virBufferAsprintf(&buf, "%s</name>%s</volume>", suffix, mark);
    xml = virBufferContentAndReset(&buf);
    vol = virStorageVolCreateXMLFrom(disk->pool, xml, from, 0);
    return vol ? 0 : -1;
}


/* Has the live copy, made from the head or from itself, be the domain's, or with NONE nobody's. */
static int
virStorageRevDomainMark(virStorageRevDomain *domain,
                        const virStorageRevDomainDisk *disk,
                        virStorageVolPtr from,
                        virStorageRevUse use)
{
    g_autofree char *mark = NULL;

    if (use == VIR_STORAGE_REV_USE_NONE)
        mark = g_strdup("<domain/>");
    else
        mark = g_strdup_printf("<domain uuid='%s' use='%s'/>", domain->uuid, virStorageRevUseTypeToString(use));
    return virStorageRevDomainCreate(disk, VIR_STORAGE_REV_LIVE, from, mark);
}


/* Another tool may have made it since the last refresh: then the attempt has brought it to light. */
static bool
virStorageRevDomainIsThere(virStorageRevDomain *domain,
                           const virStorageRevDomainDisk *disk)
{
    g_autoptr(virStorageVol) vol = NULL;
    virStorageRevDomainLive live;
    virErrorPtr err = NULL;
    bool there;

    virErrorPreserveLast(&err);
    there = domain->leavesNobodys && virStorageRevDomainReadLive(domain, disk, &live, &vol) == 0 &&
        virStorageRevPrepareDecide(&live) == VIR_STORAGE_REV_PREPARE_LEAVE;
    virErrorRestore(&err);
    return there;
}


static int
virStorageRevDomainMake(virStorageRevDomain *domain,
                        const virStorageRevDomainDisk *disk)
{
    g_autoptr(virStorageVol) head = virStorageVolLookupByName(disk->pool, disk->volume);

    if (!head)
        return -1;
    if (virStorageRevDomainMark(domain, disk, head, VIR_STORAGE_REV_USE_CREATED) == 0)
        return 0;
    if (!virStorageRevDomainIsThere(domain, disk))
        return -1;
    virResetLastError();
    return 0;
}


static int
virStorageRevDomainPrepareDisk(virStorageRevDomain *domain,
                               const virStorageRevDomainDisk *disk)
{
    g_autoptr(virStorageVol) vol = NULL;
    virStorageRevDomainLive live;

    if (virStorageRevDomainRead(domain, disk, &live, &vol) < 0)
        return -1;

    switch (virStorageRevPrepareDecide(&live)) {
    case VIR_STORAGE_REV_PREPARE_LEAVE:
        break;
    case VIR_STORAGE_REV_PREPARE_REPLACE:
        /* claimed first: what another domain makes meanwhile is not removed */
        if (virStorageRevDomainMark(domain, disk, vol, VIR_STORAGE_REV_USE_CONTINUED) < 0 ||
            virStorageVolDelete(vol, 0) < 0)
            return -1;
        G_GNUC_FALLTHROUGH;
    case VIR_STORAGE_REV_PREPARE_MAKE:
        return virStorageRevDomainMake(domain, disk);
    case VIR_STORAGE_REV_PREPARE_REFUSE: /* by the storage, which knows who has it */
    case VIR_STORAGE_REV_PREPARE_CONTINUE:
        return virStorageRevDomainMark(domain, disk, vol, VIR_STORAGE_REV_USE_CONTINUED);
    case VIR_STORAGE_REV_PREPARE_RESUME:
        return virStorageRevDomainMark(domain, disk, vol, VIR_STORAGE_REV_USE_RESUMED);
    }
    return 0;
}


static int
virStorageRevDomainReleaseDisk(virStorageRevDomain *domain,
                               const virStorageRevDomainDisk *disk,
                               virDomainShutoffReason reason)
{
    g_autoptr(virStorageVol) vol = NULL;
    virStorageRevDomainLive live;

    if (virStorageRevDomainRead(domain, disk, &live, &vol) < 0)
        return -1;

    switch (virStorageRevReleaseDecide(&live, reason)) {
    case VIR_STORAGE_REV_RELEASE_FREE:
        return virStorageRevDomainMark(domain, disk, vol, VIR_STORAGE_REV_USE_NONE);
    case VIR_STORAGE_REV_RELEASE_SAVE:
        return virStorageRevDomainMark(domain, disk, vol, VIR_STORAGE_REV_USE_SAVED);
    case VIR_STORAGE_REV_RELEASE_COMMIT:
        return virStorageRevDomainCreate(disk, "", vol, "");
    case VIR_STORAGE_REV_RELEASE_DISCARD:
        return virStorageVolDelete(vol, 0);
    case VIR_STORAGE_REV_RELEASE_NOTHING:
        break;
    }
    return 0;
}


/* What a domain had open may be closed a moment after it has ended: the kernel lets go of a container's loop device when
 * the last of its mounts is gone. */
static int
virStorageRevDomainReleaseSoon(virStorageRevDomain *domain,
                               const virStorageRevDomainDisk *disk,
                               virDomainShutoffReason reason)
{
    virTimeBackOffVar pause;
    int ret = virStorageRevDomainReleaseDisk(domain, disk, reason);

    if (ret == 0 || virTimeBackOffStart(&pause, 10, 3000) < 0)
        return ret;

    while (ret < 0 && virGetLastErrorCode() == VIR_ERR_OPERATION_INVALID && virTimeBackOffWait(&pause))
        ret = virStorageRevDomainReleaseDisk(domain, disk, reason);
    return ret;
}


/* Nobody can be told any more: what fails is logged, and the volume stays dirty. */
static void
virStorageRevDomainReleaseFirst(virStorageRevDomain *domain,
                                size_t count,
                                virDomainShutoffReason reason)
{
    while (count-- > 0) {
        const virStorageRevDomainDisk *disk = &g_array_index(domain->disks, virStorageRevDomainDisk, count);

        if (virStorageRevDomainReleaseSoon(domain, disk, reason) == 0)
            continue;
        VIR_WARN("the live copy of volume '%s' in pool '%s' stays as domain '%s' left it: %s",
                 disk->volume, disk->pool->name, domain->name, virGetLastErrorMessage());
        virResetLastError();
    }
}


/* What a snapshot lies on cannot become the head: the snapshot would be of something else then. It is kept as that of a
 * saved domain is. */
static void
virStorageRevDomainKeepBelow(const char *xml)
{
    g_autoptr(virStorageRevDomain) domain = virStorageRevDomainNew(xml, VIR_STORAGE_REV_DOMAIN_BELOW, false);
    size_t i;

    for (i = 0; domain && i < domain->disks->len; i++) {
        const virStorageRevDomainDisk *disk = &g_array_index(domain->disks, virStorageRevDomainDisk, i);
        g_autoptr(virStorageVol) vol = NULL;
        virStorageRevDomainLive live;

        if (virStorageRevDomainReadLive(domain, disk, &live, &vol) < 0 || !live.owned)
            continue;
        VIR_WARN("the live copy of volume '%s' in pool '%s' stays, because a snapshot of domain '%s' lies on it",
                 disk->volume, disk->pool->name, domain->name);
        if (virStorageRevDomainMark(domain, disk, vol, VIR_STORAGE_REV_USE_SAVED) < 0)
            VIR_WARN("it is not marked as one to keep: %s", virGetLastErrorMessage());
    }
    virResetLastError();
}


static int
virStorageRevDomainPrepare(virStorageRevDomain *domain)
{
    virErrorPtr err = NULL;
    size_t i;

    for (i = 0; i < domain->disks->len; i++) {
        if (virStorageRevDomainPrepareDisk(domain, &g_array_index(domain->disks, virStorageRevDomainDisk, i)) < 0) {
            virErrorPreserveLast(&err);
            virStorageRevDomainReleaseFirst(domain, i + 1, VIR_DOMAIN_SHUTOFF_FAILED);
            virErrorRestore(&err);
            return -1;
        }
    }
    return 0;
}


static int
virStorageRevDomainRemarkDisk(virStorageRevDomain *domain,
                              const virStorageRevDomainDisk *disk,
                              virStorageRevUse use)
{
    g_autoptr(virStorageVol) vol = NULL;
    virStorageRevDomainLive live;

    if (virStorageRevDomainReadLive(domain, disk, &live, &vol) < 0)
        return -1;
    if (!live.owned || live.use == use)
        return 0;
    return virStorageRevDomainMark(domain, disk, vol, use);
}


/* Marks what is the domain's already: STARTED when it runs, since what it writes is worth keeping then, and once more by
 * a daemon that finds it running, since the one before may not have come to it. SAVED before its memory is restored. */
static void
virStorageRevDomainRemark(virStorageRevDomain *domain,
                          virStorageRevUse use)
{
    size_t i;

    for (i = 0; i < domain->disks->len; i++) {
        const virStorageRevDomainDisk *disk = &g_array_index(domain->disks, virStorageRevDomainDisk, i);

        if (virStorageRevDomainRemarkDisk(domain, disk, use) == 0)
            continue;
        VIR_WARN("the live copy of volume '%s' in pool '%s' is not marked as '%s' by domain '%s': %s", disk->volume,
                 disk->pool->name, virStorageRevUseTypeToString(use), domain->name, virGetLastErrorMessage());
        virResetLastError();
    }
}


typedef enum {
    VIR_STORAGE_REV_DOMAIN_OTHER,
    VIR_STORAGE_REV_DOMAIN_PREPARE,
    VIR_STORAGE_REV_DOMAIN_STARTED,
    VIR_STORAGE_REV_DOMAIN_RESTORE,
    VIR_STORAGE_REV_DOMAIN_RELEASE,
} virStorageRevDomainEvent;

static const struct {
    int driver;
    int op;
    virStorageRevDomainEvent event;
} hooks[] = {
    { VIR_HOOK_DRIVER_QEMU, VIR_HOOK_QEMU_OP_PREPARE, VIR_STORAGE_REV_DOMAIN_PREPARE },
    { VIR_HOOK_DRIVER_QEMU, VIR_HOOK_QEMU_OP_STARTED, VIR_STORAGE_REV_DOMAIN_STARTED },
    { VIR_HOOK_DRIVER_QEMU, VIR_HOOK_QEMU_OP_RECONNECT, VIR_STORAGE_REV_DOMAIN_STARTED },
    { VIR_HOOK_DRIVER_QEMU, VIR_HOOK_QEMU_OP_RESTORE, VIR_STORAGE_REV_DOMAIN_RESTORE },
    { VIR_HOOK_DRIVER_QEMU, VIR_HOOK_QEMU_OP_RELEASE, VIR_STORAGE_REV_DOMAIN_RELEASE },
    { VIR_HOOK_DRIVER_LXC, VIR_HOOK_LXC_OP_PREPARE, VIR_STORAGE_REV_DOMAIN_PREPARE },
    { VIR_HOOK_DRIVER_LXC, VIR_HOOK_LXC_OP_STARTED, VIR_STORAGE_REV_DOMAIN_STARTED },
    { VIR_HOOK_DRIVER_LXC, VIR_HOOK_LXC_OP_RECONNECT, VIR_STORAGE_REV_DOMAIN_STARTED },
    { VIR_HOOK_DRIVER_LXC, VIR_HOOK_LXC_OP_RELEASE, VIR_STORAGE_REV_DOMAIN_RELEASE },
    { VIR_HOOK_DRIVER_LIBXL, VIR_HOOK_LIBXL_OP_PREPARE, VIR_STORAGE_REV_DOMAIN_PREPARE },
    { VIR_HOOK_DRIVER_LIBXL, VIR_HOOK_LIBXL_OP_STARTED, VIR_STORAGE_REV_DOMAIN_STARTED },
    { VIR_HOOK_DRIVER_LIBXL, VIR_HOOK_LIBXL_OP_RECONNECT, VIR_STORAGE_REV_DOMAIN_STARTED },
    { VIR_HOOK_DRIVER_LIBXL, VIR_HOOK_LIBXL_OP_RELEASE, VIR_STORAGE_REV_DOMAIN_RELEASE },
};


static virStorageRevDomainEvent
virStorageRevDomainEventOf(int driver,
                           int op)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(hooks); i++) {
        if (hooks[i].driver == driver && hooks[i].op == op)
            return hooks[i].event;
    }
    return VIR_STORAGE_REV_DOMAIN_OTHER;
}


static int
virStorageRevDomainHandle(int driver,
                          virStorageRevDomainEvent event,
                          virDomainShutoffReason reason,
                          const char *xml)
{
    g_autoptr(virStorageRevDomain) domain = virStorageRevDomainNew(xml, VIR_STORAGE_REV_DOMAIN_TOP,
                                                                   event == VIR_STORAGE_REV_DOMAIN_PREPARE);

    if (!domain)
        return -1;
    /* Qubes OS makes and commits them itself, in pools that may be open here too. */
    domain->leavesNobodys = driver == VIR_HOOK_DRIVER_LIBXL;

    switch (event) {
    case VIR_STORAGE_REV_DOMAIN_PREPARE:
        return virStorageRevDomainPrepare(domain);
    case VIR_STORAGE_REV_DOMAIN_STARTED:
        virStorageRevDomainRemark(domain, VIR_STORAGE_REV_USE_STARTED);
        break;
    case VIR_STORAGE_REV_DOMAIN_RESTORE:
        virStorageRevDomainRemark(domain, VIR_STORAGE_REV_USE_SAVED);
        break;
    case VIR_STORAGE_REV_DOMAIN_RELEASE:
        virStorageRevDomainReleaseFirst(domain, domain->disks->len, reason);
        virStorageRevDomainKeepBelow(xml);
        break;
    case VIR_STORAGE_REV_DOMAIN_OTHER:
        break;
    }
    return 0;
}


/* Brings to its end what was begun, also where nobody is there who asked for it. Nobody can be told of errors. */
static void
virStorageRevDomainHandleAsDaemon(int driver,
                                  virStorageRevDomainEvent event,
                                  virDomainShutoffReason reason,
                                  const char *xml)
{
    g_autoptr(virIdentity) caller = virIdentityGetCurrent();
    g_autoptr(virIdentity) system = virIdentityGetSystem();

    if (!system || virIdentitySetCurrent(system) < 0 ||
        virStorageRevDomainHandle(driver, event, reason, xml) < 0) {
        VIR_WARN("live copies of a domain are left as they are: %s", virGetLastErrorMessage());
        virResetLastError();
    }
    virIdentitySetCurrent(caller);
}


/**
 * virStorageRevDomainHook:
 * @driver: virHookDriverType
 * @op: operation of that driver
 * @extra: for a release, why the domain has ended; for other operations, whether it comes from another host
 * @xml: document of the domain, or NULL
 *
 * Called with the domain locked. Makes, marks, commits and discards the live copies that are top images of the domain's
 * disks and file systems. To other domains it does nothing. Who starts a domain needs permission to change its volumes.
 *
 * A domain that comes from another host finds its disks there, or cannot come: what is made here would be other data.
 *
 * Returns 0, or -1 with an error: the domain must not start
 */
int
virStorageRevDomainHook(int driver,
                        int op,
                        const char *extra,
                        const char *xml)
{
    virStorageRevDomainEvent event = virStorageRevDomainEventOf(driver, op);
    int reason = VIR_DOMAIN_SHUTOFF_UNKNOWN;

    if (event == VIR_STORAGE_REV_DOMAIN_OTHER || !xml || !strstr(xml, "<source"))
        return 0;
    if (event == VIR_STORAGE_REV_DOMAIN_PREPARE)
        return extra ? 0 : virStorageRevDomainHandle(driver, event, reason, xml);

    if (event == VIR_STORAGE_REV_DOMAIN_RELEASE && extra)
        reason = virDomainShutoffReasonTypeFromString(extra);
    virStorageRevDomainHandleAsDaemon(driver, event, MAX(reason, 0), xml);
    return 0;
}
