/*
 * storage_fspool_stream.c: directory trees as tar streams
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libvirt's stream has one end of a pipe, and a thread of ours makes the archive, or the tree of it, at the other.
 */

#include <config.h>

#include <fcntl.h>
#include <unistd.h>

#include "storage_fspool_stream.h"

#include "storage_fspool_archive.h"
#include "storage_fspool_privilege.h"
#include "storage_fspool_subvolume.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virthread.h"
#include "virutil.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* A thread and how it ended. */
typedef struct _virStorageFspoolPipe virStorageFspoolPipe;
struct _virStorageFspoolPipe {
    int ends[2];      /* to read from, to write to */
    bool running;
    virErrorPtr err;  /* of the thread, when it has failed */
};

#define VIR_STORAGE_FSPOOL_PIPE_INIT { .ends = { -1, -1 } }

/* An upload to a head. */
struct _virStorageRevStaging {
    virStorageRevContext *ctx;
    virStorageFspoolPool pool;
    virStorageFspoolStage stage;
    virStorageFspoolPipe pipe;
    int cancelled;                 /* atomic: nobody wants it any more */
    char *volume;
    unsigned long long generation; /* of the head that it is to replace */
    ino_t ino;
};

/* A download. */
struct _virStorageRevPacking {
    virStorageRevContext *ctx;
    virStorageFspoolPool pool;
    virStorageFspoolStage stage;   /* a snapshot, where there can be one */
    virStorageFspoolPipe pipe;
    char *name;
    int fd;                        /* the tree itself, where there cannot */
};


/* Of all pipes: what a thread tells of itself, and that it has ended. */
static virMutex mutex = VIR_MUTEX_INITIALIZER;
static virCond ended;


static int
virStorageFspoolPipeOnceInit(void)
{
    if (virCondInit(&ended) == 0)
        return 0;
    virReportSystemError(errno, "%s", _("cannot initialize the streams of directories"));
    return -1;
}

VIR_ONCE_GLOBAL_INIT(virStorageFspoolPipe);


static int
virStorageFspoolPipeOpen(virStorageFspoolPipe *pipe,
                         virThreadFunc func,
                         void *opaque,
                         const char *name)
{
    virThread thread;

    if (virStorageFspoolPipeInitialize() < 0 || virPipe(pipe->ends) < 0)
        return -1;

    pipe->running = true;
    if (virThreadCreateFull(&thread, false, func, "vol-tar", false, opaque) < 0) {
        pipe->running = false;
        virReportSystemError(errno, _("cannot start a thread for the archive of '%1$s'"), name);
        return -1;
    }
    return 0;
}


/* Called by the thread: its last error is why it has failed. */
static void
virStorageFspoolPipeFailed(virStorageFspoolPipe *pipe)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);

    pipe->err = virSaveLastError();
}


/* Called by the thread, and the last that it does. */
static void
virStorageFspoolPipeEnded(virStorageFspoolPipe *pipe)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);

    pipe->running = false;
    virCondBroadcast(&ended);
}


static void
virStorageFspoolPipeJoin(virStorageFspoolPipe *pipe)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);

    while (pipe->running)
        ignore_value(virCondWait(&ended, &mutex));
}


/* Returns 0, or -1 with the error of the thread. */
static int
virStorageFspoolPipeCheck(virStorageFspoolPipe *pipe)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);

    if (!pipe->err)
        return 0;
    virSetError(pipe->err);
    return -1;
}


static void
virStorageFspoolPipeClear(virStorageFspoolPipe *pipe)
{
    virStorageFspoolPipeJoin(pipe);
    VIR_FORCE_CLOSE(pipe->ends[0]);
    VIR_FORCE_CLOSE(pipe->ends[1]);
    virFreeError(pipe->err);
    pipe->err = NULL;
}


/* What nobody wants to read is taken all the same: a pipe that nobody reads from would be an error of the stream,
 * without the reason. */
static void
virStorageFspoolPipeDrain(int fd)
{
    char buf[1024];

    while (saferead(fd, buf, sizeof(buf)) > 0)
        continue;
}


static void
virStorageFspoolUnpackMain(void *opaque)
{
    virStorageRevStaging *staging = opaque;

    virStorageFspoolExemptionDrop();
    if (virStorageFspoolArchiveUnpack(staging->pipe.ends[0], staging->stage.fd, staging->volume,
                                      &staging->cancelled) < 0) {
        virStorageFspoolPipeFailed(&staging->pipe);
        virStorageFspoolPipeDrain(staging->pipe.ends[0]);
    }
    virStorageFspoolPipeEnded(&staging->pipe);
}


/* An empty tree beside the head, with its limits and its owner. */
static int
virStorageFspoolStagingPrepare(virStorageRevStaging *staging,
                               virStorageRevFamily *family)
{
    VIR_AUTOCLOSE head = -1;
    virStorageFspoolLimits limits;

    if (virStorageFspoolPoolOpen(&staging->pool, staging->ctx) < 0 ||
        (head = virStorageFspoolOpenState(&staging->pool, family->head, family->volume)) < 0 ||
        virStorageFspoolLimitsRead(&staging->pool, head, family->volume, &limits) < 0 ||
        virStorageFspoolCheckWhole(head, family->volume) < 0 ||
        virStorageFspoolItemMake(&staging->pool, &staging->stage, &limits, family->volume) < 0)
        return -1;
    return virStorageRevPermsCopy(head, staging->stage.fd, family->volume);
}


virStorageRevStaging *
virStorageFspoolStagingBegin(virStorageRevContext *ctx,
                             virStorageRevFamily *family)
{
    virStorageRevStaging *staging = g_new0(virStorageRevStaging, 1);

    staging->ctx = virStorageRevContextCopy(ctx);
    staging->pool = (virStorageFspoolPool) VIR_STORAGE_FSPOOL_POOL_INIT;
    staging->stage = (virStorageFspoolStage) VIR_STORAGE_FSPOOL_STAGE_INIT;
    staging->pipe = (virStorageFspoolPipe) VIR_STORAGE_FSPOOL_PIPE_INIT;
    staging->volume = g_strdup(family->volume);
    staging->generation = virStorageRevMetaGeneration(&family->head->meta);
    staging->ino = family->head->ino;

    if (virStorageFspoolStagingPrepare(staging, family) < 0 ||
        virStorageFspoolPipeOpen(&staging->pipe, virStorageFspoolUnpackMain, staging, staging->volume) < 0) {
        virStorageFspoolStagingEnd(staging);
        return NULL;
    }
    return staging;
}


int
virStorageFspoolStagingFd(virStorageRevStaging *staging)
{
    return staging->pipe.ends[1];
}


/* The thread is not waited for: it waits for the stream, which is still open. */
int
virStorageFspoolStagingCheck(virStorageRevStaging *staging)
{
    return virStorageFspoolPipeCheck(&staging->pipe);
}


int
virStorageFspoolStagingCommit(virStorageRevContext *ctx,
                              virStorageRevFamily *family,
                              virStorageRevStaging *staging)
{
    g_auto(virStorageFspoolPool) pool = VIR_STORAGE_FSPOOL_POOL_INIT;
    VIR_AUTOCLOSE head = -1;

    VIR_FORCE_CLOSE(staging->pipe.ends[1]);
    virStorageFspoolPipeJoin(&staging->pipe);
    if (virStorageFspoolPipeCheck(&staging->pipe) < 0)
        return -1;

    if (!family->head || family->head->ino != staging->ino ||
        virStorageRevMetaGeneration(&family->head->meta) != staging->generation) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' has been changed during the upload, which is given up"), family->volume);
        return -1;
    }
    if (virStorageFspoolPoolOpen(&pool, ctx) < 0 ||
        (head = virStorageFspoolOpenState(&pool, family->head, family->volume)) < 0 ||
        virStorageFspoolCheckWhole(head, family->volume) < 0)
        return -1;
    return virStorageFspoolSwitch(&pool, family, &staging->stage, NULL, true);
}


/* An archive that is given up may be in the middle of a file, and the storage slow: the tree is out of everybody's way
 * before that is waited for. */
void
virStorageFspoolStagingEnd(virStorageRevStaging *staging)
{
    g_atomic_int_set(&staging->cancelled, 1);
    VIR_FORCE_CLOSE(staging->pipe.ends[1]);
    virStorageFspoolStageGiveUp(&staging->stage);
    virStorageFspoolPipeClear(&staging->pipe);
    virStorageFspoolStageClear(&staging->stage);
    virStorageFspoolPoolClear(&staging->pool);
    virStorageRevContextFree(staging->ctx);
    g_free(staging->volume);
    g_free(staging);
}


static void
virStorageFspoolPackMain(void *opaque)
{
    virStorageRevPacking *packing = opaque;
    int fd = packing->stage.fd >= 0 ? packing->stage.fd : packing->fd;

    if (virStorageFspoolArchivePack(fd, packing->pipe.ends[1], packing->name) < 0)
        virStorageFspoolPipeFailed(&packing->pipe);
    VIR_FORCE_CLOSE(packing->pipe.ends[1]);
    virStorageFspoolPipeEnded(&packing->pipe);
}


/* A head is written to meanwhile, and a revision may be removed: a snapshot is stable, costs nothing, and lets the client
 * take its time. In a file system that has become read-only there can be none, but nobody writes, either. */
static int
virStorageFspoolPackingPrepare(virStorageRevPacking *packing,
                               const virStorageRevState *state)
{
    if (virStorageFspoolPoolOpen(&packing->pool, packing->ctx) < 0 ||
        (packing->fd = virStorageFspoolOpenState(&packing->pool, state, packing->name)) < 0 ||
        virStorageFspoolCheckWhole(packing->fd, packing->name) < 0)
        return -1;

    if (!virStorageFspoolIsSubvolume(packing->fd))
        return 0;
    if (virStorageFspoolStageSnapshot(&packing->stage, &packing->pool.root, packing->fd, "", packing->name) >= 0)
        return 0;
    if (!virLastErrorIsSystemErrno(EROFS))
        return -1;
    virResetLastError();
    return 0;
}


virStorageRevPacking *
virStorageFspoolPackingBegin(virStorageRevContext *ctx,
                             virStorageRevFamily *family,
                             const virStorageRevState *state,
                             int *fd,
                             bool *lasting)
{
    virStorageRevPacking *packing = g_new0(virStorageRevPacking, 1);

    packing->ctx = virStorageRevContextCopy(ctx);
    packing->pool = (virStorageFspoolPool) VIR_STORAGE_FSPOOL_POOL_INIT;
    packing->stage = (virStorageFspoolStage) VIR_STORAGE_FSPOOL_STAGE_INIT;
    packing->pipe = (virStorageFspoolPipe) VIR_STORAGE_FSPOOL_PIPE_INIT;
    packing->name = virStorageRevStateName(family, state);
    packing->fd = -1;

    if (virStorageFspoolPackingPrepare(packing, state) < 0 ||
        virStorageFspoolPipeOpen(&packing->pipe, virStorageFspoolPackMain, packing, packing->name) < 0) {
        ignore_value(virStorageFspoolPackingEnd(packing, false));
        return NULL;
    }
    *lasting = packing->stage.fd >= 0;
    *fd = packing->pipe.ends[0];
    packing->pipe.ends[0] = -1;
    return packing;
}


/* A client that has read enough, and closed its end, is no failure: any other means that the archive is not whole. */
int
virStorageFspoolPackingEnd(virStorageRevPacking *packing,
                           bool finish)
{
    virErrorPtr err;
    int ret = 0;

    virStorageFspoolPipeJoin(&packing->pipe);
    err = packing->pipe.err;
    if (finish && err && err->int1 != EPIPE) {
        virSetError(err);
        ret = -1;
    }

    virStorageFspoolPipeClear(&packing->pipe);
    virStorageFspoolStageClear(&packing->stage);
    virStorageFspoolPoolClear(&packing->pool);
    VIR_FORCE_CLOSE(packing->fd);
    virStorageRevContextFree(packing->ctx);
    g_free(packing->name);
    g_free(packing);
    return ret;
}
