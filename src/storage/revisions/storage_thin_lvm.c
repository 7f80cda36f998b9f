/*
 * storage_thin_lvm.c: running LVM's commands
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each function that changes something runs one process, which makes one change to the volume group that is there as a
 * whole or not at all. No process is ever killed, however long it takes: one that ends between a change of the volume
 * group and that of the thin pool leaves the two at odds.
 */

#include <config.h>

#include <fcntl.h>
#include <sys/file.h>

#include "storage_thin_lvm.h"

#include "configmake.h"
#include "storage_thin_message.h"
#include "storage_thin_room.h"
#include "storage_thin_tag.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virthread.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_thin_lvm");

/* An archive of all earlier metadata, kept for each of thousands of changes a day, grows to gigabytes. The backup of the
 * last state is kept. */
#define NO_ARCHIVE "backup/archive=0"

/* The pool is monitored from its activation on, as LVM's configuration says: there is no need to see to it each time. */
#define NO_MONITORING NO_ARCHIVE " activation/monitoring=0"

/* What is read is to look as it does without a lvm.conf: LVM puts what it logs, and a prefix, into a report as well. */
#define PLAIN "log/verbose=0 log/silent=0 log/prefix=\"  \" log/command_names=0 report/compact_output=0 " \
    "report/output_format=\"basic\" report/prefixes=0 report/list_item_delimiter=\",\" report/binary_values_as_numeric=0"

/* Commands of a daemon that was killed go on. The longest that a pool start waits for them. */
#define ORPHANS_PATIENCE_MS (30 * 1000)
#define ORPHANS_PAUSE_MS 50

/* No sector is larger. */
#define BLOCK 4096

/* The volume groups in which nobody is at work but this daemon. */
static virMutex mutex = VIR_MUTEX_INITIALIZER;
static GHashTable *taken;


/* Opens the file that each command that changes the volume group has as its standard input, and with it a shared lock of
 * flock(2) until it ends, whatever becomes of the daemon. LVM closes all other files that it is given. */
static int
virStorageThinOpenLock(const virStorageRevContext *ctx)
{
    g_autofree char *vg = g_strdelimit(g_strdup(ctx->vg), "/", '_');
    g_autofree char *path = g_strdup_printf("%s/libvirt/storage/lvm-%s.lock", RUNSTATEDIR, vg);

    return open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}


static void
virStorageThinHoldLock(virCommand *cmd,
                       const virStorageRevContext *ctx)
{
    int fd = virStorageThinOpenLock(ctx);

    if (fd < 0 || flock(fd, LOCK_SH) < 0) {
        VIR_WARN("LVM's commands for volume group '%s' are not seen by a later daemon: %s", ctx->vg, g_strerror(errno));
        VIR_FORCE_CLOSE(fd);
        return;
    }
    virCommandSetInputFD(cmd, fd); /* closed when the command has run */
}


/* Is the volume group known to be this daemon's alone? Says so from now on, if @take. */
static bool
virStorageThinIsTaken(const char *vg,
                      bool take)
{
    bool ret = false;

    VIR_WITH_MUTEX_LOCK_GUARD(&mutex) {
        if (!taken)
            taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        if (take)
            g_hash_table_add(taken, g_strdup(vg));
        ret = g_hash_table_contains(taken, vg);
    }
    return ret;
}


/**
 * virStorageThinAwaitOrphans:
 * @ctx: pool
 *
 * Waits for the commands of an earlier daemon, before this one looks at a volume group for the first time: what one of
 * them is about to do would be taken for what it has not done.
 *
 * Returns 0, or -1 with an error when they take too long
 */
int
virStorageThinAwaitOrphans(const virStorageRevContext *ctx)
{
    VIR_AUTOCLOSE fd = -1;
    unsigned int waited;

    if (virStorageThinIsTaken(ctx->vg, false))
        return 0;

    fd = virStorageThinOpenLock(ctx);
    for (waited = 0; waited < ORPHANS_PATIENCE_MS; waited += ORPHANS_PAUSE_MS) {
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
            virStorageThinIsTaken(ctx->vg, true);
            return 0;
        }
        g_usleep(ORPHANS_PAUSE_MS * 1000);
    }
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("LVM is still at work in volume group '%1$s' for a daemon that has ended: start pool '%2$s' when it is done"),
                   ctx->vg, ctx->poolName);
    return -1;
}


static virCommand *
virStorageThinCommandNew(const char *subcommand)
{
    virCommand *cmd = virCommandNewArgList("lvm", subcommand, NULL);

    virCommandAddEnvPassCommon(cmd); /* LC_ALL=C among them */
    virCommandAddEnvString(cmd, "LVM_SUPPRESS_FD_WARNINGS=1");
    return cmd;
}


/**
 * virStorageThinCommand:
 * @ctx: pool
 * @subcommand: of lvm
 *
 * Returns the command "lvm SUBCOMMAND", which will look at no other devices than those of the volume group
 */
virCommand *
virStorageThinCommand(const virStorageRevContext *ctx,
                      const char *subcommand)
{
    virCommand *cmd = virStorageThinCommandNew(subcommand);

    if (ctx->pvs && ctx->pvs[0]) {
        g_autofree char *pvs = g_strjoinv(",", ctx->pvs);

        virCommandAddArgList(cmd, "--devices", pvs, NULL);
    }
    return cmd;
}


/* Makes @cmd, which it returns, one that changes something and asks no questions. */
static virCommand *
virStorageThinAddChange(virCommand *cmd)
{
    virCommandAddArgList(cmd, "-qq", "--yes", "--config", NO_MONITORING, NULL);
    return cmd;
}


/* As virStorageThinCommand, for a change. */
static virCommand *
virStorageThinChange(const virStorageRevContext *ctx,
                     const char *subcommand)
{
    return virStorageThinAddChange(virStorageThinCommand(ctx, subcommand));
}


/* Can all known disks of the volume group be read? lvremove and lvchange do not mind: they note in the group that one
 * is missing, and it stays so when it is back; and the thin pool cannot do what they ask. */
int
virStorageThinCheckDisks(const virStorageRevContext *ctx,
                         const char *subject)
{
    g_autofree void *block = NULL;
    size_t i;

    if (ctx->vgPartial) {
        virReportError(VIR_ERR_OPERATION_FAILED,
                       _("'%1$s' is not changed, since a physical volume of volume group '%2$s' is missing: attach it, and refresh the pool"),
                       subject, ctx->vg);
        return -1;
    }
    if (posix_memalign(&block, BLOCK, BLOCK) != 0) {
        virReportSystemError(ENOMEM, _("cannot look for the disks of volume group '%1$s'"), ctx->vg);
        return -1;
    }
    for (i = 0; ctx->pvs && ctx->pvs[i]; i++) {
        VIR_AUTOCLOSE fd = open(ctx->pvs[i], O_RDONLY | O_DIRECT | O_CLOEXEC);

        if (fd < 0 || pread(fd, block, BLOCK, 0) != BLOCK) {
            virReportSystemError(fd < 0 ? errno : EIO,
                                 _("'%1$s' is not changed, since the physical volume '%2$s' of volume group '%3$s' is missing: attach it first; or refresh the pool, if the group has got a new one"),
                                 subject, ctx->pvs[i], ctx->vg);
            return -1;
        }
    }
    return 0;
}


/* As virStorageThinChange, but it looks at all devices. lvremove and lvchange work on a volume group of which disks are
 * missing, and write that these are: one that the group has got since the last refresh must not be missed. All others
 * refuse. */
static virCommand *
virStorageThinChangeOfWhole(const char *subcommand)
{
    return virStorageThinAddChange(virStorageThinCommandNew(subcommand));
}


/* Adds "VG/LV". Neither of the two can begin with a dash. */
void
virStorageThinCommandAddLV(virCommand *cmd,
                           const virStorageRevContext *ctx,
                           const char *lv)
{
    virCommandAddArgFormat(cmd, "%s/%s", ctx->vg, lv);
}


/**
 * virStorageThinCommandRun:
 * @cmd: command of LVM
 * @subject: what it is about, for errors: the name of a volume or of a pool
 *
 * Returns 0, or -1 with LVM's own words, and what can be done about it, as an error
 */
int
virStorageThinCommandRun(virCommand *cmd,
                         const char *subject)
{
    g_autofree char *errors = NULL;
    g_autofree char *message = NULL;
    virErrorNumber code;
    const char *hint;
    int status = 0;

    virCommandSetErrorBuffer(cmd, &errors);
    if (virCommandRun(cmd, &status) < 0)
        return -1;
    if (status == 0)
        return 0;

    message = virStorageThinMessage(errors);
    if ((hint = virStorageThinHint(message, &code)))
        virReportError(code, _("'%1$s': LVM says: %2$s (%3$s)"), subject, message, _(hint));
    else
        virReportError(code, _("'%1$s': LVM says: %2$s"), subject, message);
    return -1;
}


/* As virStorageThinCommandRun, for what changes the volume group, and is not to be taken for undone by a later daemon. */
static int
virStorageThinChangeRun(const virStorageRevContext *ctx,
                        virCommand *cmd,
                        const char *subject)
{
    virStorageThinHoldLock(cmd, ctx);
    return virStorageThinCommandRun(cmd, subject);
}


/**
 * virStorageThinReportCommand:
 * @ctx: pool
 * @subcommand: of lvm
 *
 * Returns as virStorageThinCommand() a command whose output is to be read
 */
virCommand *
virStorageThinReportCommand(const virStorageRevContext *ctx,
                            const char *subcommand)
{
    virCommand *cmd = virStorageThinCommand(ctx, subcommand);

    virCommandAddArgList(cmd, "--config", PLAIN, NULL);
    return cmd;
}


static int
virStorageThinRunReport(const virStorageRevContext *ctx,
                        char **output)
{
    /*
     * # lvm fullreport --devices /dev/sdb --config 'log/verbose=0 …' --all --reportformat json --units b --nosuffix
     *       --configreport vg -o … vg
     *
     *  {"report": [ {"vg": [ {"vg_extent_size":"4194304", "vg_mda_free":"34072064"} ],
     *                "pv": [ {"pv_name":"/dev/sdb"} ], "lv": [ ], "pvseg": [ ],
     *                "seg": [
     *      {"lv_name":"a", "lv_uuid":"zAdYXe-…", "lv_size":"67108864", "origin":"", "pool_lv":"pool",
     *       "lv_tags":"libvirt=1&g=1", "segtype":"thin", "thin_id":"1", "transaction_id":"0",
     *       "lv_merging":"", "lv_metadata_size":""},
     *      {"lv_name":"pool", …, "lv_size":"629145600", "segtype":"thin-pool", "transaction_id":"1",
     *       "lv_metadata_size":"8388608"} ] } ] }
     */
    g_autoptr(virCommand) cmd = virStorageThinReportCommand(ctx, "fullreport");

    virCommandAddArgList(cmd, "--all", "--reportformat", "json", "--units", "b", "--nosuffix",
                         "--configreport", "vg", "-o", VIR_STORAGE_THIN_REPORT_VG,
                         "--configreport", "pv", "-o", VIR_STORAGE_THIN_REPORT_PV,
                         "--configreport", "seg", "-o", VIR_STORAGE_THIN_REPORT_SEG,
                         "--configreport", "lv", "-o", "lv_name", "-S", "lv_name=",
                         "--configreport", "pvseg", "-o", "pvseg_start", "-S", "pv_name=",
                         ctx->vg, NULL);
    virCommandSetOutputBuffer(cmd, output);
    return virStorageThinCommandRun(cmd, ctx->poolName);
}


/**
 * virStorageThinReportRead:
 * @ctx: pool; what it knows of devices, and whether one is missing, is brought up to date
 *
 * Returns what there is in the volume group, or NULL with an error
 */
virStorageThinReport *
virStorageThinReportRead(virStorageRevContext *ctx)
{
    g_autofree char *output = NULL;
    g_autoptr(virStorageThinReport) report = NULL;

    /* The group may have got another device, or one may have got another name: where the known ones do not make a
     * whole group, LVM looks for all of them. */
    if (ctx->pvs) {
        if (virStorageThinRunReport(ctx, &output) == 0)
            report = virStorageThinReportParse(output, ctx->thinPool);
        if (!report || !report->pvs) {
            virResetLastError();
            g_clear_pointer(&report, virStorageThinReportFree);
            g_clear_pointer(&output, g_free);
            g_clear_pointer(&ctx->pvs, g_strfreev);
        }
    }
    if (!report) {
        if (virStorageThinRunReport(ctx, &output) < 0 ||
            !(report = virStorageThinReportParse(output, ctx->thinPool)))
            return NULL;
    }
    g_strfreev(ctx->pvs);
    ctx->pvs = g_strdupv(report->pvs);
    ctx->vgPartial = !report->pvs;
    virStorageThinRoomSetArea(ctx->vg, report->metadataFree);
    return g_steal_pointer(&report);
}


/* In a pool whose heads are not to be active, no LV is activated at boot. */
static void
virStorageThinAddActivation(virCommand *cmd,
                            const virStorageRevContext *ctx,
                            bool active)
{
    virCommandAddArgList(cmd, "--setactivationskip", ctx->headsActive ? "n" : "y",
                         "--activate", active ? "y" : "n", NULL);
    if (active)
        virCommandAddArg(cmd, "--ignoreactivationskip");
}


/* Adds @tag, which it takes over; NULL is an error that has been reported. */
static int
virStorageThinAddTag(virCommand *cmd,
                     char *tag)
{
    g_autofree char *owned = tag;

    if (!tag)
        return -1;
    virCommandAddArgList(cmd, "--addtag", tag, NULL);
    return 0;
}


/* Makes @lv a snapshot of @origin; its metadata comes with it, and that of the head that is to follow, unless @next is
 * NULL. */
int
virStorageThinSnapshot(const virStorageRevContext *ctx,
                       const char *origin,
                       const char *lv,
                       const virStorageRevMeta *meta,
                       const virStorageRevMeta *next,
                       bool active)
{
    /* # lvm lvcreate -qq --yes --snapshot --addtag 'libvirt=1&…' --activate y --setactivationskip n
     *       --name vm-work-root-snap vg/vm-work-root */
    g_autoptr(virCommand) cmd = virStorageThinChange(ctx, "lvcreate");

    virCommandAddArg(cmd, "--snapshot");
    if (virStorageThinAddTag(cmd, virStorageThinTagFormat(meta)) < 0 ||
        (next && virStorageThinAddTag(cmd, virStorageThinTagFormatNext(next)) < 0))
        return -1;
    virStorageThinAddActivation(cmd, ctx, active);
    virCommandAddArgList(cmd, "--name", lv, NULL);
    virStorageThinCommandAddLV(cmd, ctx, origin);
    return virStorageThinChangeRun(ctx, cmd, lv);
}


/* Makes @lv a thin volume without any content. */
int
virStorageThinBlank(const virStorageRevContext *ctx,
                    const char *lv,
                    unsigned long long size,
                    const virStorageRevMeta *meta,
                    bool active)
{
    /* # lvm lvcreate -qq --yes --virtualsize 1073741824b --thinpool vm-pool --addtag 'libvirt=1&…' --activate y
     *       --setactivationskip n --name vm-work-private vg */
    g_autoptr(virCommand) cmd = virStorageThinChange(ctx, "lvcreate");

    virCommandAddArg(cmd, "--virtualsize");
    virCommandAddArgFormat(cmd, "%llub", size);
    virCommandAddArgList(cmd, "--thinpool", ctx->thinPool, NULL);
    if (virStorageThinAddTag(cmd, virStorageThinTagFormat(meta)) < 0)
        return -1;
    virStorageThinAddActivation(cmd, ctx, active);
    virCommandAddArgList(cmd, "--name", lv, ctx->vg, NULL);
    return virStorageThinChangeRun(ctx, cmd, lv);
}


int
virStorageThinRename(const virStorageRevContext *ctx,
                     const char *from,
                     const char *to)
{
    /* # lvm lvrename -qq --yes vg/vm-work-private vg/vm-work-private-1763700000-back */
    g_autoptr(virCommand) cmd = virStorageThinChange(ctx, "lvrename");

    virStorageThinCommandAddLV(cmd, ctx, from);
    virStorageThinCommandAddLV(cmd, ctx, to);
    return virStorageThinChangeRun(ctx, cmd, from);
}


/* Removes the LVs named by @lvs, which ends with NULL, one by one. */
int
virStorageThinRemove(const virStorageRevContext *ctx,
                     const char * const *lvs,
                     const char *subject)
{
    /* # lvm lvremove -qq --yes --force vg/vm-work-private-1763700000-back */
    g_autoptr(virCommand) cmd = virStorageThinChangeOfWhole("lvremove");

    if (virStorageThinCheckDisks(ctx, subject) < 0)
        return -1;
    virCommandAddArg(cmd, "--force");
    for (; *lvs; lvs++)
        virStorageThinCommandAddLV(cmd, ctx, *lvs);
    return virStorageThinChangeRun(ctx, cmd, subject);
}


/**
 * virStorageThinMerge:
 * @ctx: pool
 * @lv: a snapshot
 *
 * What @lv is a snapshot of gets its content and size in place of its own, and keeps name, UUID and tags; @lv is gone.
 * If either is open, LVM puts that off until both are not, and says that all is well: ask first, and look afterwards.
 */
int
virStorageThinMerge(const virStorageRevContext *ctx,
                    const char *lv)
{
    /* # lvm lvconvert -qq --yes --merge vg/vm-work-private-snap */
    g_autoptr(virCommand) cmd = virStorageThinChange(ctx, "lvconvert");

    virCommandAddArg(cmd, "--merge");
    virStorageThinCommandAddLV(cmd, ctx, lv);
    return virStorageThinChangeRun(ctx, cmd, lv);
}


/* Activates or deactivates the LVs named by @lvs, which ends with NULL. */
int
virStorageThinActivate(const virStorageRevContext *ctx,
                       const char * const *lvs,
                       bool active,
                       const char *subject)
{
    /* # lvm lvchange -qq --yes --activate y --ignoreactivationskip vg/vm-work-private */
    g_autoptr(virCommand) cmd = virStorageThinCommand(ctx, "lvchange");

    virCommandAddArgList(cmd, "-qq", "--yes", "--config", NO_ARCHIVE, "--activate", active ? "y" : "n", NULL);
    if (active)
        virCommandAddArg(cmd, "--ignoreactivationskip");
    for (; *lvs; lvs++)
        virStorageThinCommandAddLV(cmd, ctx, *lvs);
    return virStorageThinCommandRun(cmd, subject);
}


/* Newer versions look for a file system in an LV that is to shrink, which is the guest's business, unless this is
 * given; those before 2.03.17 do not know it. */
static bool
virStorageThinKnowsFsOption(const virStorageRevContext *ctx)
{
    g_autoptr(virCommand) cmd = virStorageThinCommand(ctx, "lvreduce");
    g_autofree char *help = NULL;
    int status = 0;

    virCommandAddArg(cmd, "--help");
    virCommandSetOutputBuffer(cmd, &help);
    return virCommandRun(cmd, &status) == 0 && strstr(NULLSTR_EMPTY(help), "--fs ");
}


int
virStorageThinResize(const virStorageRevContext *ctx,
                     const char *lv,
                     unsigned long long from,
                     unsigned long long to)
{
    /* # lvm lvextend -qq --yes --size 2147483648b vg/vm-work-private */
    g_autoptr(virCommand) cmd = virStorageThinChange(ctx, to < from ? "lvreduce" : "lvextend");

    if (to < from) {
        virCommandAddArg(cmd, "--force");
        if (virStorageThinKnowsFsOption(ctx))
            virCommandAddArgList(cmd, "--fs", "ignore", NULL);
        virResetLastError();
    }
    virCommandAddArg(cmd, "--size");
    virCommandAddArgFormat(cmd, "%llub", to);
    virStorageThinCommandAddLV(cmd, ctx, lv);
    return virStorageThinChangeRun(ctx, cmd, lv);
}


/* Adds @option for each of @tags that is none of @others. */
static bool
virStorageThinAddTags(virCommand *cmd,
                      const char *option,
                      char **tags,
                      char **others)
{
    bool added = false;

    for (; tags && *tags; tags++) {
        if (others && g_strv_contains((const char * const *) others, *tags))
            continue;
        virCommandAddArgList(cmd, option, *tags, NULL);
        added = true;
    }
    return added;
}


/**
 * virStorageThinTag:
 * @ctx: pool
 * @state: LV; its tags are brought up to date
 * @metas: metadata that it is to have, ended by NULL: one about the device that it is, and one about that it may become
 *
 * Replaces all tags of ours, at once.
 */
int
virStorageThinTag(const virStorageRevContext *ctx,
                  virStorageRevState *state,
                  const virStorageRevMeta * const *metas)
{
    /* # lvm lvchange -qq --yes --deltag 'libvirt=1&g=1' --addtag 'libvirt=1&g=2' vg/vm-work-private */
    g_autoptr(virCommand) cmd = virStorageThinChangeOfWhole("lvchange");
    g_autoptr(GPtrArray) tags = g_ptr_array_new_with_free_func(g_free);
    bool changed;

    for (; *metas; metas++) {
        char *tag = virStorageThinTagFormat(*metas);

        if (!tag)
            return -1;
        g_ptr_array_add(tags, tag);
    }
    g_ptr_array_add(tags, NULL);

    changed = virStorageThinAddTags(cmd, "--deltag", state->tags, (char **) tags->pdata);
    changed |= virStorageThinAddTags(cmd, "--addtag", (char **) tags->pdata, state->tags);
    virStorageThinCommandAddLV(cmd, ctx, state->file);
    if (changed &&
        (virStorageThinCheckDisks(ctx, state->file) < 0 ||
         virStorageThinChangeRun(ctx, cmd, state->file) < 0))
        return -1;

    g_strfreev(state->tags);
    state->tags = (char **) g_ptr_array_free(g_steal_pointer(&tags), false);
    return 0;
}
