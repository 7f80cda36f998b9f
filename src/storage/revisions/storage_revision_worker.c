/*
 * storage_revision_worker.c: work that no client waits for
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_worker.h"

#include "storage_driver.h"
#include "storage_revision_lock.h"
#include "storage_revision_pool.h"
#include "virfile.h"
#include "virerror.h"
#include "virlog.h"
#include "virthread.h"
#include "virtime.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_revision_worker");

/* So many files may wait to be closed; beyond that the caller closes them itself. */
#define VIR_STORAGE_REV_WORKER_FDS_MAX 256

/* So long a pool's stop waits for what is under way; no step of it should take nearly as long. */
#define VIR_STORAGE_REV_WORKER_STOP_MS (30 * 1000)

typedef struct _virStorageRevJob virStorageRevJob;
struct _virStorageRevJob {
    unsigned char pool[VIR_UUID_BUFLEN];
    int fd; /* to close, or -1 */

    char *temporary; /* to tidy up, or NULL */

    /* a precache to make */
    const virStorageRevOps *ops;
    char *volume;
    unsigned long long due; /* milliseconds since 1970 */
};

static virMutex mutex = VIR_MUTEX_INITIALIZER;
static virCond changed;  /* there is something to do */
static virCond finished; /* a job is done */
static GQueue prompt = G_QUEUE_INIT;
static GQueue timed = G_QUEUE_INIT; /* by time, since the delay is always the same */
static virStorageRevJob *current;   /* what the thread is working on, or NULL */
static bool cancelled;              /* nobody wants it any more */
static bool running;


static void
virStorageRevJobFree(virStorageRevJob *job)
{
    VIR_FORCE_CLOSE(job->fd);
    g_free(job->temporary);
    g_free(job->volume);
    g_free(job);
}


/* For what takes several steps: is the pool being stopped, so that the rest would be for nothing? */
bool
virStorageRevWorkerIsCancelled(void)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);

    return cancelled;
}


/* The pool may be gone or stopped, and the volume gone or in use: nothing is made then. */
static void
virStorageRevWorkerRunPrecache(virStorageRevJob *job)
{
    virStoragePoolObj *obj = NULL;
    g_autoptr(virStorageRevLocks) locks = NULL;
    g_autoptr(virStorageRevContext) ctx = NULL;
    g_autoptr(virStorageRevFamily) family = NULL;

    if (!(locks = virStorageRevLocksTry(job->pool, job->volume)) ||
        !(obj = virStoragePoolObjFindPoolByUUID(job->pool)))
        return;

    if (virStoragePoolObjIsActive(obj) &&
        virStoragePoolObjGetDef(obj)->type == job->ops->type &&
        (family = virStorageRevPoolFind(obj, job->volume))) {
        virObjectRef(family);
        ctx = virStorageRevContextNew(virStoragePoolObjGetDef(obj));
    }
    virStoragePoolObjEndAPI(&obj);

    if (family)
        job->ops->precache(ctx, family);
}


/* Removes what a download had to make. Of a pool that was stopped meanwhile that is left to its next start. */
static void
virStorageRevWorkerRunTidy(virStorageRevJob *job)
{
    virStoragePoolObj *obj = virStoragePoolObjFindPoolByUUID(job->pool);
    g_autoptr(virStorageRevContext) ctx = NULL;
    const virStorageRevOps *ops = NULL;

    if (!obj)
        return;
    if (virStoragePoolObjIsActive(obj) &&
        (ops = virStorageRevOpsForType(virStoragePoolObjGetDef(obj)->type)))
        ctx = virStorageRevContextNew(virStoragePoolObjGetDef(obj));
    virStoragePoolObjEndAPI(&obj);

    if (ctx)
        ops->tidy(ctx, job->temporary);
}


/* The pool has more space once the last reference to a removed file is gone. */
static void
virStorageRevWorkerRunClose(virStorageRevJob *job)
{
    virStoragePoolObj *obj;
    g_autoptr(virStorageRevContext) ctx = NULL;
    const virStorageRevOps *ops;

    VIR_FORCE_CLOSE(job->fd);
    if (!(obj = virStoragePoolObjFindPoolByUUID(job->pool)))
        return;

    if (virStoragePoolObjIsActive(obj) &&
        (ops = virStorageRevOpsForType(virStoragePoolObjGetDef(obj)->type))) {
        if (ops->settle) {
            ctx = virStorageRevContextNew(virStoragePoolObjGetDef(obj));
            virObjectUnlock(obj);
            ops->settle(ctx);
            virObjectLock(obj);
        }
        if (virStoragePoolObjIsActive(obj))
            ignore_value(ops->updatePool(obj));
    }
    virStoragePoolObjEndAPI(&obj);
}


/* Returns the next job that is due, or NULL after it has waited for one; called with the mutex held. */
static virStorageRevJob *
virStorageRevWorkerNext(void)
{
    virStorageRevJob *job;
    unsigned long long now;

    if ((job = g_queue_pop_head(&prompt)))
        return job;

    if (!(job = g_queue_peek_head(&timed))) {
        ignore_value(virCondWait(&changed, &mutex));
        return NULL;
    }

    if (virTimeMillisNowRaw(&now) < 0 || now >= job->due)
        return g_queue_pop_head(&timed);

    ignore_value(virCondWaitUntil(&changed, &mutex, job->due));
    return NULL;
}


static void
virStorageRevWorkerMain(void *opaque G_GNUC_UNUSED)
{
    while (true) {
        virStorageRevJob *job = NULL;

        VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
            job = current = virStorageRevWorkerNext();
            cancelled = false;
        }
        if (!job)
            continue;

        if (job->volume)
            virStorageRevWorkerRunPrecache(job);
        else if (job->temporary)
            virStorageRevWorkerRunTidy(job);
        else
            virStorageRevWorkerRunClose(job);

        VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
            current = NULL;
            virCondBroadcast(&finished);
        }
        virStorageRevJobFree(job);
        virResetLastError();
    }
}


/* Starts the thread with its first job: most processes that load the driver never have one. Called with the mutex
 * held. The thread ends with the process: whatever it is doing then is found and undone by the next refresh. */
static int
virStorageRevWorkerStart(void)
{
    virThread thread;

    if (running)
        return 0;
    if (virCondInit(&changed) < 0 ||
        virCondInit(&finished) < 0 ||
        virThreadCreateFull(&thread, false, virStorageRevWorkerMain, "vol-revisions", false, NULL) < 0) {
        VIR_WARN("cannot start the thread for background work on volumes");
        return -1;
    }
    running = true;
    return 0;
}


/**
 * virStorageRevWorkerClose:
 * @fd: the last reference to a removed file; closed
 * @ctx: pool that the file was in
 *
 * Freeing the extents of a fragmented file takes Btrfs most of a second: the last close does that.
 */
void
virStorageRevWorkerClose(int *fd,
                         const virStorageRevContext *ctx)
{
    virStorageRevJob *job;

    if (*fd < 0)
        return;

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        if (g_queue_get_length(&prompt) < VIR_STORAGE_REV_WORKER_FDS_MAX &&
            virStorageRevWorkerStart() == 0) {
            job = g_new0(virStorageRevJob, 1);
            job->fd = *fd;
            memcpy(job->pool, ctx->uuid, VIR_UUID_BUFLEN);
            *fd = -1;
            g_queue_push_tail(&prompt, job);
            virCondSignal(&changed);
        }
    }
    VIR_FORCE_CLOSE(*fd);
}


/**
 * virStorageRevWorkerTidy:
 * @pool: UUID of the pool
 * @temporary: what a download had to make, and has read
 */
void
virStorageRevWorkerTidy(const unsigned char *pool,
                        const char *temporary)
{
    virStorageRevJob *job = NULL;

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        if (virStorageRevWorkerStart() == 0) {
            job = g_new0(virStorageRevJob, 1);
            job->fd = -1;
            memcpy(job->pool, pool, VIR_UUID_BUFLEN);
            job->temporary = g_strdup(temporary);
            g_queue_push_tail(&prompt, job);
            virCondSignal(&changed);
        }
    }
}


/* Removes the pending jobs of a pool for @volume, which is NULL for its sizes; all of its jobs when @all is true. Called
 * with the mutex held. */
static void
virStorageRevWorkerDrop(const unsigned char *pool,
                        const char *volume,
                        bool all)
{
    GList *link = timed.head;

    while (link) {
        virStorageRevJob *job = link->data;
        GList *next = link->next;

        if (memcmp(job->pool, pool, VIR_UUID_BUFLEN) == 0 &&
            (all || STREQ_NULLABLE(job->volume, volume))) {
            g_queue_delete_link(&timed, link);
            virStorageRevJobFree(job);
        }
        link = next;
    }
}


/* Queues a job for some seconds later, in the place of one that is pending for the same. */
static void
virStorageRevWorkerPushTimed(virStorageRevJob *job)
{
    unsigned long long now;
    bool queued = false;

    if (virTimeMillisNowRaw(&now) == 0) {
        job->due = now + VIR_STORAGE_REV_WORKER_DELAY_MS;
        VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
            if (virStorageRevWorkerStart() == 0) {
                /* a thread that waits for another one is back early enough for this one */
                if (g_queue_is_empty(&timed))
                    virCondSignal(&changed);
                virStorageRevWorkerDrop(job->pool, job->volume, false);
                g_queue_push_tail(&timed, job);
                queued = true;
            }
        }
    }
    if (!queued)
        virStorageRevJobFree(job);
}


/* Is the thread working in the pool, or going to do so at once? Called with the mutex held. */
static bool
virStorageRevWorkerIsBusy(const unsigned char *pool)
{
    GList *link;

    if (current && memcmp(current->pool, pool, VIR_UUID_BUFLEN) == 0)
        return true;

    for (link = prompt.head; link; link = link->next) {
        const virStorageRevJob *job = link->data;

        if (memcmp(job->pool, pool, VIR_UUID_BUFLEN) == 0)
            return true;
    }
    return false;
}


/* Gives up what is to be prepared in a pool, and says whether that is all. */
static bool
virStorageRevWorkerIsIdle(const unsigned char *pool)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);

    virStorageRevWorkerDrop(pool, NULL, true);
    return !virStorageRevWorkerIsBusy(pool);
}


/* Waits until the thread has nothing open in the pool. Returns false when that takes too long. */
static bool
virStorageRevWorkerWait(const unsigned char *pool,
                        unsigned long long until)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);

    while (virStorageRevWorkerIsBusy(pool)) {
        if (current && memcmp(current->pool, pool, VIR_UUID_BUFLEN) == 0)
            cancelled = true;
        if (virCondWaitUntil(&finished, &mutex, until) < 0)
            return false;
    }
    return true;
}


/**
 * virStorageRevWorkerStop:
 * @obj: pool that is being stopped, locked; unlocked meanwhile where there is something to wait for
 *
 * What was to be prepared in the pool is not: by the time another file system may be mounted there. What is under way
 * ends with its present step, so that the file system can be unmounted.
 */
void
virStorageRevWorkerStop(virStoragePoolObj *obj)
{
    virStorageRevPoolSeen before;
    unsigned char pool[VIR_UUID_BUFLEN];
    unsigned long long until;
    bool done = true;

    memcpy(pool, virStoragePoolObjGetDef(obj)->uuid, VIR_UUID_BUFLEN);
    if (virTimeMillisNowRaw(&until) < 0)
        return;
    until += VIR_STORAGE_REV_WORKER_STOP_MS;

    while (!virStorageRevWorkerIsIdle(pool) && done) {
        virStorageRevPoolBeginStop(obj, &before);
        virObjectUnlock(obj);
        done = virStorageRevWorkerWait(pool, until);
        virObjectLock(obj);
        virStorageRevPoolEndStop(obj, &before);
    }
    if (!done)
        VIR_WARN("the file system of pool '%s' is kept busy for a while yet", virStoragePoolObjGetDef(obj)->name);
}


/**
 * virStorageRevWorkerSettle:
 * @ctx: pool of which a file was removed
 *
 * Reads the pool's sizes once more, when the file system has freed the space.
 */
void
virStorageRevWorkerSettle(const virStorageRevContext *ctx)
{
    virStorageRevJob *job = g_new0(virStorageRevJob, 1);

    job->fd = -1;
    memcpy(job->pool, ctx->uuid, VIR_UUID_BUFLEN);
    virStorageRevWorkerPushTimed(job);
}


/* Are a pool's sizes going to be read? */
static bool
virStorageRevWorkerSettles(const unsigned char *pool)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);
    GList *link;

    for (link = timed.head; link; link = link->next) {
        const virStorageRevJob *job = link->data;

        if (!job->volume && memcmp(job->pool, pool, VIR_UUID_BUFLEN) == 0)
            return true;
    }
    return false;
}


/**
 * virStorageRevWorkerEnsureSettle:
 * @ctx: pool that was refreshed
 *
 * Does the same unless that is going to happen anyway: it is not put off by who asks often.
 */
void
virStorageRevWorkerEnsureSettle(const virStorageRevContext *ctx)
{
    if (!virStorageRevWorkerSettles(ctx->uuid))
        virStorageRevWorkerSettle(ctx);
}


/**
 * virStorageRevWorkerPrecache:
 * @ops: backend
 * @pool: UUID of the pool
 * @volume: volume whose head has just changed
 */
void
virStorageRevWorkerPrecache(const virStorageRevOps *ops,
                            const unsigned char *pool,
                            const char *volume)
{
    virStorageRevJob *job = g_new0(virStorageRevJob, 1);

    job->fd = -1;
    job->ops = ops;
    memcpy(job->pool, pool, VIR_UUID_BUFLEN);
    job->volume = g_strdup(volume);
    virStorageRevWorkerPushTimed(job);
}
