/*
 * remote_daemon_stream_end.c: the end of streams that may have to wait for storage
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The end of an upload makes a volume durable and switches it, that of a download takes leave of what was read, and in
 * virtproxyd either waits for another daemon. It takes as long as the storage does, and for ever when that hangs. So it
 * runs in a thread of its own: not in the event loop, for which everybody waits, and not in one of the few workers. The
 * client waits for the reply.
 */

#include <config.h>

#include "remote_daemon_stream_end.h"

#include "driver.h"
#include "libvirt_internal.h"
#include "remote_protocol.h"
#include "viralloc.h"
#include "virerror.h"
#include "virnetserverclient.h"
#include "virthread.h"

#define VIR_FROM_THIS VIR_FROM_STREAMS

/* So long the event loop waits for the end of a stream that was given up. On storage that works it takes less, and what
 * the client calls next finds nothing left of the stream. */
#define GIVE_UP_MS 500

typedef struct _daemonStreamEnd daemonStreamEnd;
struct _daemonStreamEnd {
    virStreamPtr st;

    /* for the reply; NULL when nobody waits for one */
    virNetServerClient *client;
    virNetServerProgram *prog;
    virNetMessage *msg;

    bool ended;
    bool watched; /* by the event loop, which frees it */
};

static virMutex mutex = VIR_MUTEX_INITIALIZER;
static virCond done;
static size_t running;


/* What streams belong to goes when the daemon ends. That does not wait for ever: it is libvirt's to give up. */
static int
daemonStreamEndWaitForAll(void)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);

    while (running > 0)
        ignore_value(virCondWait(&done, &mutex));
    return 0;
}


static virStateDriver daemonStreamEndState = {
    .name = "stream ends",
    .stateShutdownWait = daemonStreamEndWaitForAll,
};


/**
 * daemonStreamEndInit:
 *
 * To be called once, before there are clients.
 *
 * Returns 0, or -1 with an error
 */
int
daemonStreamEndInit(void)
{
    if (virCondInit(&done) < 0) {
        virReportSystemError(errno, "%s", _("cannot initialize the end of streams"));
        return -1;
    }
    return virRegisterStateDriver(&daemonStreamEndState) < 0 ? -1 : 0;
}


/* Returns 0 when the message is on its way to the client. */
static int
daemonStreamEndReply(daemonStreamEnd *end,
                     int ret)
{
    struct virNetMessageHeader *header = &end->msg->header;
    virNetMessageError rerr = { 0 };

    if (ret < 0)
        return virNetServerProgramSendReplyError(end->prog, end->client, end->msg, &rerr, header);
    return virNetServerProgramSendStreamData(end->prog, end->client, end->msg, header->proc, header->serial, NULL, 0);
}


/* Ends the stream as the message says. */
static void
daemonStreamEndAnswer(daemonStreamEnd *end)
{
    daemonClientPrivate *priv = virNetServerClientGetPrivateData(end->client);
    bool finish = end->msg->header.status == VIR_NET_OK;

    /* until the event loop lets go of the lock, it has the message in a queue */
    virMutexLock(&priv->lock);
    virMutexUnlock(&priv->lock);

    if (daemonStreamEndReply(end, finish ? virStreamFinish(end->st) : virStreamAbort(end->st)) < 0) {
        virNetMessageFree(end->msg);
        virNetServerClientImmediateClose(end->client);
    }
}


static void
daemonStreamEndClear(daemonStreamEnd *end)
{
    g_clear_pointer(&end->st, virObjectUnref);
    g_clear_pointer(&end->client, virObjectUnref);
    g_clear_pointer(&end->prog, virObjectUnref);
}


static void
daemonStreamEndMain(void *opaque)
{
    daemonStreamEnd *end = opaque;
    bool watched = false;

    if (end->msg)
        daemonStreamEndAnswer(end);
    else
        ignore_value(virStreamAbort(end->st)); /* its error is nobody's */
    daemonStreamEndClear(end);

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        running--;
        end->ended = true;
        watched = end->watched;
        virCondBroadcast(&done);
    }
    if (!watched)
        g_free(end);
}


/* Takes over @end, unless it returns -1. */
static int
daemonStreamEndStart(daemonStreamEnd *end)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);
    virThread thread;

    if (virThreadCreateFull(&thread, false, daemonStreamEndMain, "stream-end", false, end) < 0)
        return -1;
    running++;
    return 0;
}


/* Volumes' streams wait for storage. All others end at once, and still do so in the event loop. */
static bool
daemonStreamEndIsSlow(virNetServerProgram *prog,
                      int procedure)
{
    return virNetServerProgramGetID(prog) == REMOTE_PROGRAM &&
        (procedure == REMOTE_PROC_STORAGE_VOL_UPLOAD || procedure == REMOTE_PROC_STORAGE_VOL_DOWNLOAD);
}


/**
 * daemonStreamEndLater:
 * @client: whose stream it is, with its private data locked
 * @prog: that the stream belongs to
 * @st: stream without a callback, which nobody else uses any more
 * @msg: finishes or aborts it
 *
 * Ends the stream without waiting for that, and replies to @msg then, which is taken over.
 *
 * Returns false when the stream is to be ended at once, by the caller
 */
bool
daemonStreamEndLater(virNetServerClient *client,
                     virNetServerProgram *prog,
                     virStreamPtr st,
                     virNetMessage *msg)
{
    daemonStreamEnd *end;

    if (!daemonStreamEndIsSlow(prog, msg->header.proc) ||
        (msg->header.status != VIR_NET_OK && msg->header.status != VIR_NET_ERROR))
        return false;

    end = g_new0(daemonStreamEnd, 1);
    end->st = virObjectRef(st);
    end->client = virObjectRef(client);
    end->prog = virObjectRef(prog);
    end->msg = msg;
    if (daemonStreamEndStart(end) == 0)
        return true;

    daemonStreamEndClear(end);
    g_free(end);
    return false;
}


/* Returns true when @end has ended, or false when that takes long, and it is left alone. */
static bool
daemonStreamEndWatch(daemonStreamEnd *end)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);
    unsigned long long until = g_get_real_time() / 1000 + GIVE_UP_MS;

    while (!end->ended && virCondWaitUntil(&done, &mutex, until) == 0)
        continue;
    end->watched = end->ended;
    return end->ended;
}


/**
 * daemonStreamEndGiveUp:
 * @prog: that the stream belongs to
 * @procedure: that it was opened by
 * @st: stream without a callback, which nobody else uses any more
 *
 * Aborts a stream, of which no client is told any more.
 */
void
daemonStreamEndGiveUp(virNetServerProgram *prog,
                      int procedure,
                      virStreamPtr st)
{
    daemonStreamEnd *end;

    if (!daemonStreamEndIsSlow(prog, procedure)) {
        virStreamAbort(st);
        return;
    }

    end = g_new0(daemonStreamEnd, 1);
    end->st = virObjectRef(st);
    end->watched = true;
    if (daemonStreamEndStart(end) < 0) {
        virStreamAbort(st);
        daemonStreamEndClear(end);
        g_free(end);
    } else if (daemonStreamEndWatch(end)) {
        g_free(end);
    }
}
