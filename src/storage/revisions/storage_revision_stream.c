/*
 * storage_revision_stream.c: upload to and download from volumes with revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>

#include "storage_revision_driver.h"

#include "storage_driver.h"
#include "storage_event.h"
#include "storage_revision_checks.h"
#include "storage_revision_file.h"
#include "storage_revision_pool.h"
#include "storage_revision_stream_event.h"
#include "storage_revision_stream_gate.h"
#include "storage_revision_worker.h"
#include "virerror.h"
#include "virfdstream.h"
#include "virfile.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* After so many bytes the kernel is told to write them back, so that the sync at the end, which the client waits for,
 * does not take long. */
#define VIR_STORAGE_REV_WRITEBACK_BYTES (32ULL * 1024 * 1024)

/*
 * An upload is a file descriptor stream of libvirt whose finish and abort are ours: only they can tell the two apart,
 * and only finish can return an error to the client. A client that goes away arrives as an abort.
 */
typedef struct _virStorageRevUpload virStorageRevUpload;
struct _virStorageRevUpload {
    virStreamDriver driver;          /* what st->driver points to; must be first */
    virStreamDriver *original;
    virStorageRevStreamGate gate;    /* closed while the stream's thread makes holes */
    unsigned char pool[VIR_UUID_BUFLEN];
    char *volume;
    char *poolName;
    const virStorageRevOps *ops;
    virStorageRevStaging *staging;   /* to the head */
    virStorageRevLocks *locks;       /* to the live copy, in place: nobody may commit it meanwhile */
    virObjectEventState *events;     /* of the storage driver */
    int fd;                          /* of the staged image or live copy */
    unsigned long long position;     /* where the next byte of the stream goes */
    unsigned long long end;          /* where the last one may go; 0: anywhere */
    unsigned long long unwritten;    /* bytes since the last write-back */
};


static void
virStorageRevUploadFree(virStorageRevUpload *upload)
{
    if (!upload)
        return;

    if (upload->staging)
        upload->ops->stagingEnd(upload->staging);
    else
        virStorageRevUnlockAndClose(&upload->fd);
    virStorageRevLocksRelease(upload->locks);
    virObjectUnref(upload->events);
    virStorageRevStreamGateClear(&upload->gate);
    g_free(upload->volume);
    g_free(upload->poolName);
    g_free(upload);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virStorageRevUpload, virStorageRevUploadFree);


/* Returns the upload of a stream, which is an ordinary stream of libvirt again from then on. */
static virStorageRevUpload *
virStorageRevUploadSteal(virStreamPtr st)
{
    virStorageRevUpload *upload = (virStorageRevUpload *) st->driver;

    st->driver = upload->original;
    return upload;
}


static int
virStorageRevUploadAddCallback(virStreamPtr st,
                               int events,
                               virStreamEventCallback callback,
                               void *opaque,
                               virFreeCallback ff)
{
    virStorageRevUpload *upload = (virStorageRevUpload *) st->driver;
    virStorageRevStreamEvents *named = virStorageRevStreamEventsNew(upload->volume, upload->poolName,
                                                                    callback, opaque, ff);

    if (virStorageRevStreamGateAddCallback(&upload->gate, events, virStorageRevStreamEvent, named,
                                           virStorageRevStreamEventsFree) == 0)
        return 0;

    named->ff = NULL; /* it is the caller's still */
    virStorageRevStreamEventsFree(named);
    return -1;
}


static int
virStorageRevUploadUpdateCallback(virStreamPtr st,
                                  int events)
{
    virStorageRevUpload *upload = (virStorageRevUpload *) st->driver;

    return virStorageRevStreamGateUpdateCallback(&upload->gate, events);
}


static int
virStorageRevUploadSend(virStreamPtr st,
                        const char *data,
                        size_t nbytes)
{
    virStorageRevUpload *upload = (virStorageRevUpload *) st->driver;
    int sent;

    if (upload->staging && upload->ops->stagingCheck && upload->ops->stagingCheck(upload->staging) < 0)
        return -1;
    if (virStorageRevStreamGateIsClosed(&upload->gate))
        return -2;
    if (upload->end > 0 && upload->position == upload->end) {
        virReportSystemError(ENOSPC, _("cannot write to the stream of volume '%1$s'"), upload->volume);
        return -1;
    }
    if (upload->end > 0)
        nbytes = MIN(nbytes, upload->end - upload->position);
    if ((sent = upload->original->streamSend(st, data, nbytes)) <= 0) {
        if (sent == -1)
            virStorageRevStreamNameError(upload->volume, upload->poolName);
        return sent;
    }

    upload->position += sent;
    if ((upload->unwritten += sent) >= VIR_STORAGE_REV_WRITEBACK_BYTES) {
        upload->unwritten = 0;
        (void) sync_file_range(upload->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    }
    return sent;
}


/* Called by the stream's thread, which skips the hole then. Left as it is, the volume would become a mix of two images. */
static int
virStorageRevUploadMakeHole(void *opaque,
                            unsigned long long offset,
                            unsigned long long length)
{
    virStorageRevUpload *upload = opaque;
    int ret = upload->ops->makeHole(upload->fd, offset, length);
    int error = errno;

    virStorageRevStreamGateOpen(&upload->gate, ret < 0 ? ULLONG_MAX : length);
    errno = error;
    return ret;
}


/* A large hole takes its time: the event loop does not wait for it, and what the client sends after it has to. */
static int
virStorageRevUploadSendHole(virStreamPtr st,
                            long long length,
                            unsigned int flags)
{
    virStorageRevUpload *upload = (virStorageRevUpload *) st->driver;
    long long hole = length;

    if (upload->end > 0)
        hole = MIN(hole, (long long) (upload->end - upload->position));
    virStorageRevStreamGateClose(&upload->gate, hole);
    if (upload->original->streamSendHole(st, length, flags) < 0) {
        virStorageRevStreamGateOpen(&upload->gate, hole);
        virStorageRevStreamNameError(upload->volume, upload->poolName);
        return -1;
    }
    upload->position += hole;
    return 0;
}


/* Tells clients that follow the pool what libvirt's own pool types tell them after an upload, which refreshes those.
 * Called with the pool locked, when volume and pool are up to date. */
static void
virStorageRevUploadTell(virStorageRevUpload *upload,
                        virStoragePoolObj *obj)
{
    virStoragePoolDef *def = virStoragePoolObjGetDef(obj);

    virObjectEventStateQueue(upload->events, virStoragePoolEventRefreshNew(def->name, def->uuid));
}


/* An upload in place has changed the live copy whether it came to its end or not. */
static void
virStorageRevUploadEndInPlace(virStorageRevUpload *upload)
{
    virStoragePoolObj *obj;
    virErrorPtr err = NULL;

    virErrorPreserveLast(&err);
    g_clear_pointer(&upload->locks, virStorageRevLocksRelease);
    if ((obj = virStoragePoolObjFindPoolByUUID(upload->pool))) {
        if (virStoragePoolObjIsActive(obj) && upload->ops->updatePool(obj) == 0)
            virStorageRevUploadTell(upload, obj);
        virStoragePoolObjEndAPI(&obj);
    }
    virErrorRestore(&err);
}


/* What is staged becomes the head, as a commit would. */
static int
virStorageRevUploadCommit(virStorageRevUpload *upload,
                          virStoragePoolObj *obj)
{
    g_auto(virStorageRevOperation) op = { 0 };
    int ret;

    if (virStorageRevOperationBegin(&op, obj, upload->volume, NULL, false) < 0 ||
        virStorageRevCheckSupersede(&op) < 0)
        return -1;

    virStorageRevOperationUnlock(&op);
    if ((ret = op.ops->stagingCommit(op.ctx, op.family, upload->staging)) == 0)
        virStorageRevOperationPrune(&op);
    virStorageRevOperationLock(&op, ret);

    return virStorageRevOperationEnd(&op, ret);
}


static int
virStorageRevUploadFinish(virStreamPtr st)
{
    g_autoptr(virStorageRevUpload) upload = virStorageRevUploadSteal(st);
    virStoragePoolObj *obj = NULL;
    int ret = upload->original->streamFinish(st);

    if (ret < 0)
        virStorageRevStreamNameError(upload->volume, upload->poolName);
    if (!upload->staging) {
        if (ret == 0 && (ret = fsync(upload->fd)) < 0)
            virReportSystemError(errno, _("cannot make volume '%1$s' durable"), upload->volume);
        virStorageRevUploadEndInPlace(upload);
        return ret;
    }
    if (ret < 0)
        return -1;

    if (!(obj = virStoragePoolObjFindPoolByUUID(upload->pool))) {
        virReportError(VIR_ERR_NO_STORAGE_POOL, _("the pool of volume '%1$s' has gone during the upload"), upload->volume);
        return -1;
    }
    if ((ret = virStorageRevUploadCommit(upload, obj)) == 0)
        virStorageRevUploadTell(upload, obj);
    virStoragePoolObjEndAPI(&obj);
    return ret;
}


static int
virStorageRevUploadAbort(virStreamPtr st)
{
    g_autoptr(virStorageRevUpload) upload = virStorageRevUploadSteal(st);
    int ret = upload->original->streamAbort(st);

    if (!upload->staging)
        virStorageRevUploadEndInPlace(upload);
    return ret;
}


/* Opens the stream on a file that is open already, whatever may have become of its name. */
static int
virStorageRevStreamOpen(virStreamPtr stream,
                        int fd,
                        unsigned long long offset,
                        unsigned long long length,
                        bool sparse,
                        int oflags)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);

    return virFDStreamOpenBlockDevice(stream, path, offset, length, sparse, oflags);
}


/* Opens the stream on the pipe itself: what finds it full, or empty, waits at the client. A thread of the stream would
 * wait here, and the daemon's event loop for it. */
static int
virStorageRevStreamOpenPipe(virStreamPtr stream,
                            int pipe,
                            const char *volume)
{
    int fd = fcntl(pipe, F_DUPFD_CLOEXEC, 0);

    if (fd < 0) {
        virReportSystemError(errno, _("cannot open a stream of volume '%1$s'"), volume);
        return -1;
    }
    if (virFDStreamOpen(stream, fd) < 0) {
        VIR_FORCE_CLOSE(fd);
        return -1;
    }
    return 0;
}


static int
virStorageRevUploadOpenStream(virStorageRevUpload *upload,
                              virStreamPtr stream,
                              unsigned long long offset,
                              unsigned long long length,
                              bool sparse)
{
    if (!upload->ops->stagingCheck) {
        if (virStorageRevStreamOpen(stream, upload->fd, offset, length, sparse, O_WRONLY) < 0)
            return -1;
        virFDStreamSkipHoles(stream, virStorageRevUploadMakeHole, upload);
        return 0;
    }
    return virStorageRevStreamOpenPipe(stream, upload->fd, upload->volume);
}


static void
virStorageRevUploadAttach(virStorageRevUpload *upload,
                          virStreamPtr stream)
{
    virStorageRevStreamGateAttach(&upload->gate, stream);
    upload->original = stream->driver;
    upload->driver = *stream->driver;
    upload->driver.streamSend = virStorageRevUploadSend;
    upload->driver.streamSendHole = virStorageRevUploadSendHole;
    if (!upload->ops->stagingCheck) {
        upload->driver.streamEventAddCallback = virStorageRevUploadAddCallback;
        upload->driver.streamEventUpdateCallback = virStorageRevUploadUpdateCallback;
    }
    upload->driver.streamFinish = virStorageRevUploadFinish;
    upload->driver.streamAbort = virStorageRevUploadAbort;
    stream->driver = &upload->driver;
}


static int
virStorageRevUploadOpen(virStorageRevUpload *upload,
                        virStorageRevOperation *op,
                        virStorageRevKind kind)
{
    if (kind == VIR_STORAGE_REV_LIVE) {
        upload->fd = op->ops->openLive(op->ctx, op->family);
        upload->locks = g_steal_pointer(&op->locks);
        return upload->fd < 0 ? -1 : 0;
    }

    if (!(upload->staging = op->ops->stagingBegin(op->ctx, op->family)))
        return -1;
    upload->fd = op->ops->stagingFd(upload->staging);
    return 0;
}


/* An archive is read and written from its begin to its end. */
static int
virStorageRevStreamCheck(const virStorageRevOps *ops,
                         const char *name,
                         unsigned long long offset,
                         bool sparse)
{
    if (ops->volType != VIR_STORAGE_VOL_DIR || (offset == 0 && !sparse))
        return 0;

    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("the stream of the directory '%1$s' is a tar archive, which has neither an offset nor holes"), name);
    return -1;
}


static int
virStorageRevUploadCheck(virStorageRevOperation *op,
                         const virStorageRevName *name)
{
    if (!virStorageRevCheckSource(op->family, name))
        return -1;
    if (name->kind == VIR_STORAGE_REV_HEAD && op->family->live) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' has a live copy: commit or delete '%1$s@live' first, or upload to that"),
                       name->volume);
        return -1;
    }
    if (name->kind == VIR_STORAGE_REV_NUMBERED || name->kind == VIR_STORAGE_REV_PINNED) {
        virReportError(VIR_ERR_OPERATION_INVALID, _("a revision of volume '%1$s' cannot be changed"), name->volume);
        return -1;
    }
    return 0;
}


/* The locks of an upload in place last as long as the client likes, and what is staged of an image begins as a clone of
 * the head: others are refused at once. */
static bool
virStorageRevUploadIsSlow(virStoragePoolObj *obj,
                          virStorageRevKind kind)
{
    if (kind == VIR_STORAGE_REV_LIVE)
        return true;
    return virStorageRevOpsForType(virStoragePoolObjGetDef(obj)->type)->volType != VIR_STORAGE_VOL_DIR &&
        virStorageRevPoolCopies(obj);
}


static int
virStorageRevUploadBegin(virStoragePoolObj *obj,
                         const virStorageRevName *name,
                         virStreamPtr stream,
                         unsigned long long offset,
                         unsigned long long length,
                         bool sparse,
                         virObjectEventState *events)
{
    bool slow = virStorageRevUploadIsSlow(obj, name->kind);
    g_auto(virStorageRevOperation) op = { 0 };
    g_autoptr(virStorageRevUpload) upload = g_new0(virStorageRevUpload, 1);
    int ret;

    virStorageRevStreamGateInit(&upload->gate);
    upload->fd = -1;
    if (virStorageRevOperationBegin(&op, obj, name->volume, NULL, slow) < 0 ||
        virStorageRevUploadCheck(&op, name) < 0 ||
        virStorageRevStreamCheck(op.ops, name->volume, offset, sparse) < 0)
        return -1;

    upload->ops = op.ops;
    upload->volume = g_strdup(name->volume);
    upload->poolName = g_strdup(op.ctx->poolName);
    upload->events = virObjectRef(events);
    upload->position = offset;
    /* virsh sends the largest number for -1, all that there is */
    upload->end = length > 0 && length <= LLONG_MAX && offset <= LLONG_MAX - length ? offset + length : 0;
    memcpy(upload->pool, op.ctx->uuid, VIR_UUID_BUFLEN);

    virStorageRevOperationUnlock(&op);
    ret = virStorageRevUploadOpen(upload, &op, name->kind);
    if (ret == 0)
        ret = virStorageRevUploadOpenStream(upload, stream, offset, length, sparse);
    virStorageRevOperationLock(&op, 0);

    if (ret == 0)
        virStorageRevUploadAttach(g_steal_pointer(&upload), stream);
    return ret;
}


bool
virStorageRevVolUpload(virStorageVolPtr vol,
                       virStoragePoolObj *obj,
                       virStreamPtr stream,
                       unsigned long long offset,
                       unsigned long long length,
                       unsigned int flags,
                       virObjectEventState *events,
                       int *ret)
{
    g_auto(virStorageRevName) name = { 0 };

    if (!virStorageRevPoolTypeIs(virStoragePoolObjGetDef(obj)->type))
        return false;

    *ret = -1;
    virCheckFlags(VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM, true);

    if (virStorageRevNameParse(vol->name, &name) == 0)
        *ret = virStorageRevUploadBegin(obj, &name, stream, offset, length,
                                        flags & VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM, events);
    return true;
}


/*
 * A download is a file descriptor stream whose end tells that what was made for it can go, and that others may change again
 * what it read as it is.
 */
typedef struct _virStorageRevDownload virStorageRevDownload;
struct _virStorageRevDownload {
    virStreamDriver driver;        /* what st->driver points to; must be first */
    virStreamDriver *original;
    unsigned char pool[VIR_UUID_BUFLEN];
    const virStorageRevOps *ops;
    virStorageRevLocks *locks;     /* of what is read, where it has to stay as it is */
    int fd;                        /* of an image, with the locks that keep others from changing it */
    char *temporary;               /* an image that was made or activated, or NULL */
    virStorageRevPacking *packing; /* the archive of a tree, or NULL */
    unsigned long long left;       /* of the archive, what was asked for and is still to come */
};


/* What was read is removed in the background: the client need not wait for that. */
static int
virStorageRevDownloadFree(virStorageRevDownload *download,
                          bool finish)
{
    int ret = 0;

    virStorageRevUnlockAndClose(&download->fd);
    if (download->packing)
        ret = download->ops->packingEnd(download->packing, finish);
    if (download->temporary)
        virStorageRevWorkerTidy(download->pool, download->temporary);
    virStorageRevLocksRelease(download->locks);
    g_free(download->temporary);
    g_free(download);
    return ret;
}


/* Of an archive: a pipe knows no length. */
static int
virStorageRevDownloadRecv(virStreamPtr st,
                          char *data,
                          size_t nbytes)
{
    virStorageRevDownload *download = (virStorageRevDownload *) st->driver;
    int got;

    nbytes = MIN(nbytes, download->left);
    if (nbytes == 0)
        return 0;
    if ((got = download->original->streamRecv(st, data, nbytes)) > 0)
        download->left -= got;
    return got;
}


static int
virStorageRevDownloadFinish(virStreamPtr st)
{
    virStorageRevDownload *download = (virStorageRevDownload *) st->driver;
    int ret;

    st->driver = download->original;
    ret = st->driver->streamFinish(st);
    if (virStorageRevDownloadFree(download, true) < 0)
        ret = -1;
    return ret;
}


static int
virStorageRevDownloadAbort(virStreamPtr st)
{
    virStorageRevDownload *download = (virStorageRevDownload *) st->driver;
    int ret;

    st->driver = download->original;
    ret = st->driver->streamAbort(st);
    virStorageRevDownloadFree(download, false);
    return ret;
}


static void
virStorageRevDownloadAttach(virStorageRevDownload *download,
                            virStreamPtr stream)
{
    download->original = stream->driver;
    download->driver = *stream->driver;
    if (download->packing)
        download->driver.streamRecv = virStorageRevDownloadRecv;
    download->driver.streamFinish = virStorageRevDownloadFinish;
    download->driver.streamAbort = virStorageRevDownloadAbort;
    stream->driver = &download->driver;
}


/* Returns a file descriptor to read @state from. */
static int
virStorageRevDownloadOpen(virStorageRevDownload *download,
                          virStorageRevOperation *op,
                          virStorageRevState *state)
{
    bool lasting = true;
    int fd = -1;

    if (!op->ops->packingBegin)
        return op->ops->openForDownload(op->ctx, op->source, state, &download->temporary);

    download->packing = op->ops->packingBegin(op->ctx, op->source, state, &fd, &lasting);
    if (download->packing && !lasting)
        download->locks = g_steal_pointer(&op->locks);
    return fd;
}


static int
virStorageRevDownloadOpenStream(virStorageRevDownload *download,
                                virStreamPtr stream,
                                const char *volume,
                                unsigned long long offset,
                                unsigned long long length,
                                bool sparse)
{
    if (!download->packing) {
        if (virStorageRevStreamOpen(stream, download->fd, offset, length, sparse, O_RDONLY) < 0)
            return -1;
        virFDStreamSkipHoles(stream, NULL, NULL);
        return 0;
    }
    download->left = length > 0 ? length : ULLONG_MAX;
    return virStorageRevStreamOpenPipe(stream, download->fd, volume);
}


static int
virStorageRevDownloadBegin(virStoragePoolObj *obj,
                           const virStorageRevName *name,
                           virStreamPtr stream,
                           unsigned long long offset,
                           unsigned long long length,
                           bool sparse)
{
    g_auto(virStorageRevOperation) op = { 0 };
    virStorageRevDownload *download = NULL;
    virStorageRevState *state;
    const virStorageRevOps *ops = virStorageRevOpsForType(virStoragePoolObjGetDef(obj)->type);
    /* a tree that is read as it is stays locked as long as the client likes: others are refused at once */
    bool slow = ops->packingBegin && virStorageRevPoolCopies(obj);
    int ret = -1;

    if (virStorageRevOperationBegin(&op, obj, NULL, name->volume, slow) < 0 ||
        !(state = virStorageRevCheckSource(op.source, name)) ||
        virStorageRevStreamCheck(op.ops, name->volume, offset, sparse) < 0)
        return -1;

    download = g_new0(virStorageRevDownload, 1);
    download->ops = op.ops;
    memcpy(download->pool, op.ctx->uuid, VIR_UUID_BUFLEN);

    virStorageRevOperationUnlock(&op);
    if ((download->fd = virStorageRevDownloadOpen(download, &op, state)) >= 0)
        ret = virStorageRevDownloadOpenStream(download, stream, name->volume, offset, length, sparse);
    if (download->packing) /* which ends when nobody reads any more */
        VIR_FORCE_CLOSE(download->fd);
    virStorageRevOperationLock(&op, 0);

    if (ret < 0) {
        virStorageRevDownloadFree(download, false);
        return -1;
    }
    virStorageRevDownloadAttach(download, stream);
    return 0;
}


bool
virStorageRevVolDownload(virStorageVolPtr vol,
                         virStoragePoolObj *obj,
                         virStreamPtr stream,
                         unsigned long long offset,
                         unsigned long long length,
                         unsigned int flags,
                         int *ret)
{
    g_auto(virStorageRevName) name = { 0 };

    if (!virStorageRevPoolTypeIs(virStoragePoolObjGetDef(obj)->type))
        return false;

    *ret = -1;
    virCheckFlags(VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM, true);

    if (virStorageRevNameParse(vol->name, &name) == 0)
        *ret = virStorageRevDownloadBegin(obj, &name, stream, offset, length,
                                          flags & VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM);
    return true;
}
