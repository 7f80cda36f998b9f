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
    bool watched;   /* by the event loop, which frees it */
    bool unwatched; /* any more */
};

static virMutex mutex = VIR_MUTEX_INITIALIZER;
static virCond done;
static size_t running;
static size_t unwatched;   /* of these, what was given up and takes long */
static GHashTable *ending; /* streams that a thread ends; a client may have asked for it twice */


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
    ending = g_hash_table_new(NULL, NULL);
    return virRegisterStateDriver(&daemonStreamEndState) < 0 ? -1 : 0;
}


/* Sends the message back, as what became of the stream. */
static void
daemonStreamEndReply(daemonStreamEnd *end,
                     int ret)
{
    struct virNetMessageHeader *header = &end->msg->header;
    virNetMessageError rerr = { 0 };
    int sent;

    if (ret < 0)
        sent = virNetServerProgramSendReplyError(end->prog, end->client, end->msg, &rerr, header);
    else
        sent = virNetServerProgramSendStreamData(end->prog, end->client, end->msg, header->proc, header->serial, NULL, 0);
    if (sent == 0)
        return;
    virNetMessageFree(end->msg);
    virNetServerClientImmediateClose(end->client);
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

    daemonStreamEndReply(end, finish ? virStreamFinish(end->st) : virStreamAbort(end->st));
}


static daemonStreamEnd *
daemonStreamEndNew(virNetServerClient *client,
                   virNetServerProgram *prog,
                   virStreamPtr st,
                   virNetMessage *msg)
{
    daemonStreamEnd *end = g_new0(daemonStreamEnd, 1);

    end->st = virObjectRef(st);
    if (msg) {
        end->client = virObjectRef(client);
        end->prog = virObjectRef(prog);
        end->msg = msg;
    }
    return end;
}


static void
daemonStreamEndClear(daemonStreamEnd *end)
{
    g_clear_pointer(&end->st, virObjectUnref);
    g_clear_pointer(&end->client, virObjectUnref);
    g_clear_pointer(&end->prog, virObjectUnref);
}


static void
daemonStreamEndFree(daemonStreamEnd *end)
{
    daemonStreamEndClear(end);
    g_free(end);
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
    VIR_WITH_MUTEX_LOCK_GUARD(&mutex)
        g_hash_table_remove(ending, end->st);
    daemonStreamEndClear(end);

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        running--;
        unwatched -= end->unwatched;
        end->ended = true;
        watched = end->watched;
        virCondBroadcast(&done);
    }
    if (!watched)
        g_free(end);
}


/* Takes over @end and returns 0, or returns 1 when the stream is being ended already, or -1 when there is no thread. */
static int
daemonStreamEndStart(daemonStreamEnd *end)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);
    virThread thread;

    if (g_hash_table_contains(ending, end->st))
        return 1;
    if (virThreadCreateFull(&thread, false, daemonStreamEndMain, "stream-end", false, end) < 0)
        return -1;
    g_hash_table_add(ending, end->st);
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
 * @st: stream without a callback
 * @msg: finishes or aborts it
 *
 * Ends the stream without waiting for that, and replies to @msg then, which is taken over. A client that asks twice
 * gets an error for the second time: the stream is what the first makes of it.
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
    int started;

    if (!daemonStreamEndIsSlow(prog, msg->header.proc) ||
        (msg->header.status != VIR_NET_OK && msg->header.status != VIR_NET_ERROR))
        return false;

    end = daemonStreamEndNew(client, prog, st, msg);
    if ((started = daemonStreamEndStart(end)) == 0)
        return true;

    if (started > 0) {
        virReportError(VIR_ERR_OPERATION_INVALID, "%s", _("the stream is being ended already"));
        daemonStreamEndReply(end, -1);
    }
    daemonStreamEndFree(end);
    return started > 0;
}


/* Returns true when @end has ended, or false when that takes long, and it is left alone. Where another one takes long, so
 * will this: a client may have many. */
static bool
daemonStreamEndWatch(daemonStreamEnd *end)
{
    VIR_LOCK_GUARD guard = virLockGuardLock(&mutex);
    unsigned long long until = g_get_real_time() / 1000 + GIVE_UP_MS;

    while (!end->ended && unwatched == 0 && virCondWaitUntil(&done, &mutex, until) == 0)
        continue;
    end->watched = end->ended;
    end->unwatched = !end->ended;
    unwatched += end->unwatched;
    return end->ended;
}


/**
 * daemonStreamEndGiveUp:
 * @prog: that the stream belongs to
 * @procedure: that it was opened by
 * @st: stream without a callback
 *
 * Aborts a stream, of which no client is told any more, unless it is being ended already.
 */
void
daemonStreamEndGiveUp(virNetServerProgram *prog,
                      int procedure,
                      virStreamPtr st)
{
    daemonStreamEnd *end;
    int started;

    if (!daemonStreamEndIsSlow(prog, procedure)) {
        virStreamAbort(st);
        return;
    }

    end = daemonStreamEndNew(NULL, NULL, st, NULL);
    end->watched = true;
    if ((started = daemonStreamEndStart(end)) < 0)
        virStreamAbort(st);
    if (started != 0)
        daemonStreamEndFree(end);
    else if (daemonStreamEndWatch(end))
        g_free(end);
}
