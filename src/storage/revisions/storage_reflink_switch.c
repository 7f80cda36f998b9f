/*
 * storage_reflink_switch.c: replacing the head of a volume
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_reflink_volume.h"

#include "storage_reflink_content.h"
#include "storage_reflink_extents.h"
#include "storage_reflink_qcow2.h"
#include "storage_reflink_use.h"
#include "storage_revision_checks.h"
#include "storage_revision_facts.h"
#include "storage_revision_worker.h"
#include "viralloc.h"
#include "virerror.h"
#include "virlog.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_reflink_switch");

/*
 * The head changes by one rename, of an image that is complete and durable:
 *
 *   1. attributes of the new head, fsync of it       undone by nothing: it is no head yet
 *   2. link of the head as the next revision         undone by a refresh: same inode, and an id that the head has not used
 *   3. rename of the new head over the head          the switch
 *   4. fsync of the directory                        2 and 3 become durable, in this order
 *   5. removal of what retention gives up            finished by a refresh: the new head says how far
 *
 * None of this depends on how many extents the images have.
 */

typedef struct _virStorageReflinkSwitch virStorageReflinkSwitch;
struct _virStorageReflinkSwitch {
    virStorageRevContext *ctx;
    virStorageRevFamily *family;
    virStorageReflinkDir *dir;
    unsigned long long id; /* of the revision that the head becomes, 0: of none */
};


/* Opens the head, and keeps virtual machines from writing to it while the descriptor is open. */
static int
virStorageReflinkOpenHeadForSwitch(virStorageRevFamily *family,
                                   virStorageReflinkDir *dir)
{
    return virStorageReflinkOpenExcluding(dir, family->head, VIR_STORAGE_REFLINK_EXCLUDE_WRITERS, family->volume);
}


/* A head without metadata of ours cannot tell an unfinished switch from a hard link that somebody made: it gets some
 * before the first switch, on an inode of its own. @head is closed for that, since its locks would be taken for a writer's,
 * and opened anew: either looks for writers itself. */
static int
virStorageReflinkAdoptHead(virStorageReflinkSwitch *sw,
                           int *head)
{
    g_auto(virStorageRevMeta) facts = { 0 };
    const virStorageRevMeta *meta = &sw->family->head->meta;

    if (virStorageRevMetaIsOf(meta, sw->family->volume) && meta->nextId > 0)
        return 0;

    virStorageRevMetaInit(&facts);
    virStorageRevFactsOfVolume(sw->family, &facts);
    virStorageRevUnlockAndClose(head);
    if (virStorageReflinkRedefine(sw->ctx, sw->family, &facts) < 0)
        return -1;

    *head = virStorageReflinkOpenHeadForSwitch(sw->family, sw->dir);
    return *head < 0 ? -1 : 0;
}


/* The former head as a revision, in memory. */
static virStorageRevState *
virStorageReflinkFormerHead(virStorageRevFamily *family,
                            unsigned long long id,
                            long long now)
{
    virStorageRevState *former = virStorageRevStateCopy(family->head);

    former->kind = VIR_STORAGE_REV_NUMBERED;
    former->id = id;
    former->superseded = now;
    former->inUse = false;
    g_free(former->file);
    former->file = virStorageReflinkNameFormat(VIR_STORAGE_REFLINK_NUMBERED, family->volume, id, now, NULL);
    return former;
}


/* Steps 2 to 4: @file, open as @fd, complete and durable, becomes the head. */
static int
virStorageReflinkSwitchHead(virStorageReflinkSwitch *sw,
                            const char *file,
                            int fd)
{
    long long now = g_get_real_time() / G_USEC_PER_SEC;
    g_autofree char *head = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_HEAD, sw->dir->base);
    g_autofree char *revision = virStorageReflinkNameFormat(VIR_STORAGE_REFLINK_NUMBERED, sw->dir->base, sw->id, now, NULL);
    virStorageRevState *state;

    if (virStorageReflinkDropPrecache(sw->dir, sw->family->volume) < 0)
        return -1;

    if (sw->id && linkat(sw->dir->fd, head, sw->dir->fd, revision, 0) < 0) {
        virReportSystemError(errno, _("cannot keep the former state of volume '%1$s' as a revision"), sw->family->volume);
        return -1;
    }
    if (renameat2(sw->dir->fd, file, sw->dir->fd, head, sw->family->head ? 0 : RENAME_NOREPLACE) < 0) {
        virReportSystemError(errno, _("cannot replace the head of volume '%1$s'"), sw->family->volume);
        if (sw->id)
            unlinkat(sw->dir->fd, revision, 0);
        return -1;
    }

    if (sw->id) {
        virStorageRevFamilyAdd(sw->family, virStorageReflinkFormerHead(sw->family, sw->id, now));
        virStorageRevFamilySort(sw->family);
    }
    state = virStorageRevStateNew(VIR_STORAGE_REV_HEAD);
    state->file = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_HEAD, sw->family->volume);
    if (virStorageReflinkPublish(sw->ctx, sw->family, state, fd) < 0)
        return -1;

    return virStorageReflinkDirSync(sw->dir, sw->family->volume);
}


/* Is the live copy what the head is, for certain? Then there is nothing to commit. The modification time nearly always
 * tells that it is not; where a tool put that back, the extents do. */
static bool
virStorageReflinkLiveIsUnwritten(virStorageRevFamily *family,
                                 int head,
                                 int fd)
{
    return head >= 0 &&
        virStorageRevFactsLiveIsOfHead(family) &&
        virStorageReflinkIsUnwritten(family->live) &&
        virStorageReflinkSharesAll(head, fd);
}


/* Nobody can write to the live copy between the test and the removal: what keeps writers out stays until it is gone. */
static int
virStorageReflinkDropUnwritten(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               virStorageReflinkDir *dir,
                               int *live)
{
    g_autofree char *name = virStorageRevStateName(family, family->live);

    if (virStorageReflinkExcludeUse(*live, VIR_STORAGE_REFLINK_EXCLUDE_USERS, name) < 0)
        return -1;
    return virStorageReflinkRemoveLive(ctx, family, dir, live);
}


static int
virStorageReflinkOpenLiveFile(virStorageRevFamily *family,
                              virStorageReflinkDir *dir,
                              const char *name)
{
    VIR_AUTOCLOSE fd = virStorageReflinkOpenState(dir, family->live, O_RDWR, name);
    struct stat sb;
    int ret;

    if (fd < 0)
        return -1;
    if (fstat(fd, &sb) < 0 || sb.st_nlink != 1) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' has other names in the file system, under which it could be changed after a commit: remove those hard links first"),
                       name);
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


/* Opens live copy and head with everybody else kept from writing to either. */
static int
virStorageReflinkOpenForCommit(virStorageRevFamily *family,
                               virStorageReflinkDir *dir,
                               const char *name,
                               int *live,
                               int *head)
{
    virStorageReflinkClaim claims[2] = { { .name = name }, { .name = family->volume } };

    if ((*live = virStorageReflinkOpenLiveFile(family, dir, name)) < 0 ||
        (family->head && (*head = virStorageReflinkOpenState(dir, family->head, O_RDWR, family->volume)) < 0))
        return -1;

    claims[0].fd = *live;
    claims[1].fd = *head;
    return virStorageReflinkExcludeAll(claims, family->head ? 2 : 1, VIR_STORAGE_REFLINK_EXCLUDE_WRITERS);
}


/* Step 1 of a commit: what the head is and the live copy is not, and all that was written to it. */
static int
virStorageReflinkPrepareLive(virStorageReflinkSwitch *sw,
                             int head,
                             int live)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevFactsNextHead(sw->ctx, sw->family, &sw->family->live->meta, sw->id, true, &meta);
    virStorageRevMetaKeepMarks(&meta, &sw->family->live->meta, sw->family->volume);
    if (head >= 0 && virStorageRevPermsCopy(head, live, sw->family->volume) < 0)
        return -1;
    if (virStorageRevMetaWriteFile(live, &meta, sw->family->volume) < 0)
        return -1;
    return virStorageRevSync(live, sw->family->volume);
}


int
virStorageReflinkCommit(virStorageRevContext *ctx,
                        virStorageRevFamily *family)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    virStorageReflinkSwitch sw = { .ctx = ctx, .family = family, .dir = &dir };
    g_autofree char *name = virStorageRevStateName(family, family->live);
    g_autofree char *file = NULL;
    VIR_STORAGE_REV_AUTOUNLOCK head = -1;
    VIR_STORAGE_REV_AUTOUNLOCK live = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        virStorageReflinkOpenForCommit(family, &dir, name, &live, &head) < 0 ||
        virStorageReflinkReadState(ctx, family->live, live, name) < 0)
        return -1;

    if (virStorageReflinkLiveIsUnwritten(family, head, live))
        return virStorageReflinkDropUnwritten(ctx, family, &dir, &live);

    if (family->head) {
        if (virStorageReflinkAdoptHead(&sw, &head) < 0)
            return -1;
        if (virStorageRevKeepOf(ctx, family) > 0)
            sw.id = virStorageRevFamilyNextId(family);
    }

    file = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_LIVE, dir.base);
    if (virStorageReflinkPrepareLive(&sw, head, live) < 0 ||
        virStorageReflinkSwitchHead(&sw, file, live) < 0)
        return -1;

    g_clear_pointer(&family->live, virStorageRevStateFree);
    return 0;
}


/* A staged image, whose content is there, gets its metadata, and becomes the head. */
static int
virStorageReflinkSwitchStaged(virStorageReflinkSwitch *sw,
                              virStorageReflinkImage *image,
                              int head,
                              const virStorageRevMeta *content,
                              bool prunes)
{
    g_auto(virStorageRevMeta) meta = { 0 };

    virStorageRevMetaInit(&meta);
    virStorageRevFactsNextHead(sw->ctx, sw->family, content, sw->id, prunes, &meta);
    if ((head >= 0 && virStorageRevPermsCopy(head, image->fd, sw->family->volume) < 0) ||
        virStorageRevMetaWriteFile(image->fd, &meta, sw->family->volume) < 0 ||
        virStorageRevSync(image->fd, sw->family->volume) < 0 ||
        virStorageReflinkSwitchHead(sw, image->stage, image->fd) < 0)
        return -1;

    VIR_FREE(image->stage);
    return 0;
}


int
virStorageReflinkRevert(virStorageRevContext *ctx,
                        virStorageRevFamily *family,
                        const virStorageRevState *revision)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    virStorageReflinkSwitch sw = { .ctx = ctx, .family = family, .dir = &dir };
    VIR_STORAGE_REV_AUTOUNLOCK head = -1;
    VIR_AUTOCLOSE from = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (from = virStorageReflinkOpenState(&dir, revision, O_RDONLY, family->volume)) < 0)
        return -1;

    if (family->head) {
        if ((head = virStorageReflinkOpenHeadForSwitch(family, &dir)) < 0 ||
            virStorageReflinkAdoptHead(&sw, &head) < 0)
            return -1;
        sw.id = virStorageRevFamilyNextId(family);
    }

    if (virStorageReflinkImageCreate(&image, &dir, true, family->volume) < 0 ||
        virStorageReflinkFill(ctx, from, image.fd, family->volume) < 0)
        return -1;
    return virStorageReflinkSwitchStaged(&sw, &image, head, &revision->meta, false);
}


int
virStorageReflinkWipe(virStorageRevContext *ctx,
                      virStorageRevFamily *family)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    virStorageReflinkSwitch sw = { .ctx = ctx, .family = family, .dir = &dir };
    g_auto(virStorageRevMeta) content = { 0 };
    g_autoptr(virStorageVolDef) blank = g_new0(virStorageVolDef, 1);
    VIR_STORAGE_REV_AUTOUNLOCK head = -1;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (head = virStorageReflinkOpenHeadForSwitch(family, &dir)) < 0 ||
        virStorageReflinkAdoptHead(&sw, &head) < 0 ||
        virStorageReflinkReadState(ctx, family->head, head, family->volume) < 0 ||
        virStorageReflinkImageCreate(&image, &dir, true, family->volume) < 0)
        return -1;

    virStorageRevMetaInit(&content);
    content.format = family->head->meta.format;
    blank->name = g_strdup(family->volume);
    blank->target.capacity = family->head->capacity;
    if (content.format == VIR_STORAGE_FILE_QCOW2) {
        if (virStorageReflinkQcow2Create(image.fd, blank, 0) < 0)
            return -1;
    } else if (virStorageReflinkSetSize(image.fd, blank->target.capacity, family->volume) < 0) {
        return -1;
    }
    return virStorageReflinkSwitchStaged(&sw, &image, head, &content, false);
}


/* Returns 1 when the revision is gone, 0 when it is in use and stays for the next time, or -1 with an error. */
static int
virStorageReflinkPruneOne(virStorageRevContext *ctx,
                          virStorageReflinkDir *dir,
                          virStorageRevState *state,
                          const char *volume)
{
    const char *file = virStorageReflinkBaseOf(state);
    VIR_STORAGE_REV_AUTOUNLOCK fd = -1;
    bool used = state->inUse;

    if (used)
        return 0;
    if ((fd = virStorageReflinkOpenState(dir, state, O_RDWR, volume)) < 0)
        return errno == ENOENT ? 1 : -1;
    if (virStorageReflinkExcludeTry(fd, VIR_STORAGE_REFLINK_EXCLUDE_USERS, &used) < 0)
        return -1;
    if (used)
        return 0;
    if (virStorageReflinkFileRemove(dir, file, volume) < 0)
        return -1;

    virStorageReflinkLetGo(ctx, &fd);
    return 1;
}


int
virStorageReflinkPrune(virStorageRevContext *ctx,
                       virStorageRevFamily *family,
                       size_t count)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    size_t i = 0;
    bool changed = false;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0)
        return -1;

    while (count-- > 0 && i < family->revisions->len) {
        virStorageRevState *state = g_ptr_array_index(family->revisions, i);
        int rc;

        if (state->kind != VIR_STORAGE_REV_NUMBERED)
            break;
        if ((rc = virStorageReflinkPruneOne(ctx, &dir, state, family->volume)) < 0)
            return -1;
        if (rc == 0) {
            VIR_INFO("a revision of volume '%s' is in use, and removed later", family->volume);
            i++;
            continue;
        }
        g_ptr_array_remove_index(family->revisions, i);
        changed = true;
    }
    return changed ? virStorageReflinkDirSync(&dir, family->volume) : 0;
}


/* Is the head as it was, and has it been for so long that no write can hide behind a coarse clock? */
static bool
virStorageReflinkHeadIsSettled(int head,
                               unsigned long long generation,
                               char **stamp)
{
    struct stat sb;

    if (fstat(head, &sb) < 0 ||
        g_get_real_time() - (sb.st_mtim.tv_sec * G_USEC_PER_SEC + sb.st_mtim.tv_nsec / 1000) < 2 * G_USEC_PER_SEC)
        return false;
    *stamp = virStorageReflinkStamp(&sb, generation);
    return true;
}


static int
virStorageReflinkMakePrecache(virStorageRevContext *ctx,
                              virStorageRevFamily *family,
                              virStorageReflinkDir *dir,
                              int head)
{
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    g_autofree char *file = virStorageReflinkFileOf(VIR_STORAGE_REFLINK_PRECACHE, dir->base);
    unsigned long long generation = virStorageRevMetaGeneration(&family->head->meta);
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    if (!virStorageReflinkHeadIsSettled(head, generation, &before) ||
        virStorageReflinkImageCreate(&image, dir, false, family->volume) < 0 ||
        virStorageReflinkLiveImage(ctx, family, head, image.fd, before) < 0 ||
        virStorageRevWorkerIsCancelled() ||
        virStorageReflinkImageSync(&image, dir, ctx->poolPath, family->volume) < 0 ||
        !virStorageReflinkHeadIsSettled(head, generation, &after) ||
        STRNEQ(before, after))
        return -1;

    if (virStorageReflinkImageInstall(&image, dir, file, family->volume) < 0)
        return -1;
    return virStorageReflinkDirSync(dir, family->volume);
}


/* Opens the head for a clone that is made ahead, unless somebody can write to it. Whoever comes later is not kept from
 * that: he changes the head's times when he writes. */
static int
virStorageReflinkOpenToPrecache(virStorageRevFamily *family,
                                virStorageReflinkDir *dir)
{
    VIR_STORAGE_REV_AUTOUNLOCK head = virStorageReflinkOpenState(dir, family->head, O_RDWR, family->volume);
    bool used = true;

    if (head < 0 ||
        virStorageReflinkExcludeTry(head, VIR_STORAGE_REFLINK_EXCLUDE_WRITERS, &used) < 0 || used)
        return -1;
    return virStorageReflinkOpenState(dir, family->head, O_RDONLY, family->volume);
}


/* Nobody waits for this, and nothing depends on it: an error only means that the next start takes longer. */
void
virStorageReflinkPrecache(virStorageRevContext *ctx,
                          virStorageRevFamily *family)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    VIR_AUTOCLOSE head = -1;

    if (!family->head || family->live ||
        virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (head = virStorageReflinkOpenToPrecache(family, &dir)) < 0 ||
        virStorageReflinkDropPrecache(&dir, family->volume) < 0 ||
        virStorageReflinkMakePrecache(ctx, family, &dir, head) < 0)
        VIR_DEBUG("no live copy of '%s' is prepared: %s", family->volume, virGetLastErrorMessage());
}


/* A clone shows one moment, whatever is written to the image while it is read. Where none can be made, the image itself
 * does, as long as nobody writes to it: commits replace it, but do not change it. */
int
virStorageReflinkOpenForDownload(virStorageRevContext *ctx,
                                 virStorageRevFamily *family,
                                 const virStorageRevState *state,
                                 char **temporary G_GNUC_UNUSED)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_auto(virStorageReflinkImage) image = VIR_STORAGE_REFLINK_IMAGE_INIT;
    g_autofree char *name = virStorageRevStateName(family, state);
    VIR_STORAGE_REV_AUTOUNLOCK fd = -1;
    int ret;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (fd = virStorageReflinkOpenState(&dir, state, O_RDWR, name)) < 0)
        return -1;

    if (virStorageReflinkImageCreate(&image, &dir, false, name) == 0 && !image.stage &&
        virStorageRevCloneFile(fd, image.fd) == 0) {
        ret = image.fd;
        image.fd = -1;
        return ret;
    }
    virResetLastError();

    if (virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_CHANGES, name) < 0)
        return -1;
    ret = fd;
    fd = -1;
    return ret;
}


int
virStorageReflinkOpenLive(virStorageRevContext *ctx,
                          virStorageRevFamily *family)
{
    g_auto(virStorageReflinkDir) dir = VIR_STORAGE_REFLINK_DIR_INIT;
    g_autofree char *name = virStorageRevStateName(family, family->live);
    VIR_STORAGE_REV_AUTOUNLOCK fd = -1;
    int ret;

    if (virStorageReflinkDirOpen(&dir, ctx->poolPath, family->volume, false) < 0 ||
        (fd = virStorageReflinkOpenLiveFile(family, &dir, name)) < 0 ||
        virStorageReflinkExcludeUse(fd, VIR_STORAGE_REFLINK_EXCLUDE_READERS, name) < 0 ||
        virStorageReflinkReadState(ctx, family->live, fd, name) < 0)
        return -1;

    ret = fd;
    fd = -1;
    return ret;
}


struct _virStorageRevStaging {
    virStorageReflinkDir dir;
    virStorageReflinkImage image;
    char *volume;

    /* the head that the upload began with */
    struct stat head;
    unsigned long long generation;
};


/* Reads what an open head is; @head is kept from being written to as long as it is open. */
static int
virStorageReflinkStatHead(virStorageRevStaging *staging,
                          int head,
                          struct stat *sb)
{
    if (fstat(head, sb) == 0)
        return 0;

    virReportSystemError(errno, _("cannot read the attributes of volume '%1$s'"), staging->volume);
    return -1;
}


/* An upload goes to a clone of the head, since it may change a part of it only. */
virStorageRevStaging *
virStorageReflinkStagingBegin(virStorageRevContext *ctx,
                              virStorageRevFamily *family)
{
    virStorageRevStaging *staging = g_new0(virStorageRevStaging, 1);
    VIR_STORAGE_REV_AUTOUNLOCK head = -1;

    staging->dir.fd = -1;
    staging->image.fd = -1;
    staging->volume = g_strdup(family->volume);

    if (virStorageReflinkDirOpen(&staging->dir, ctx->poolPath, staging->volume, false) < 0 ||
        (head = virStorageReflinkOpenHeadForSwitch(family, &staging->dir)) < 0 ||
        virStorageReflinkStatHead(staging, head, &staging->head) < 0 ||
        virStorageReflinkImageCreate(&staging->image, &staging->dir, true, family->volume) < 0 ||
        virStorageReflinkFill(ctx, head, staging->image.fd, family->volume) < 0) {
        virStorageReflinkStagingEnd(staging);
        return NULL;
    }

    staging->generation = virStorageRevMetaGeneration(&family->head->meta);
    return staging;
}


int
virStorageReflinkStagingFd(virStorageRevStaging *staging)
{
    return staging->image.fd;
}


/* Opens the head, if it still is what the upload began with. The change time does not count: a redefine leaves the
 * content alone. */
static int
virStorageReflinkOpenStagingHead(virStorageRevFamily *family,
                                 virStorageRevStaging *staging)
{
    VIR_STORAGE_REV_AUTOUNLOCK head = -1;
    const struct stat *before = &staging->head;
    struct stat now = { 0 };
    int ret;

    if (family->head &&
        ((head = virStorageReflinkOpenHeadForSwitch(family, &staging->dir)) < 0 ||
         virStorageReflinkStatHead(staging, head, &now) < 0))
        return -1;

    if (!family->head || family->live ||
        virStorageRevMetaGeneration(&family->head->meta) != staging->generation ||
        now.st_ino != before->st_ino || now.st_size != before->st_size ||
        now.st_mtim.tv_sec != before->st_mtim.tv_sec || now.st_mtim.tv_nsec != before->st_mtim.tv_nsec) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("volume '%1$s' has changed since its upload began: upload it again"), staging->volume);
        return -1;
    }

    ret = head;
    head = -1;
    return ret;
}


int
virStorageReflinkStagingCommit(virStorageRevContext *ctx,
                               virStorageRevFamily *family,
                               virStorageRevStaging *staging)
{
    virStorageReflinkSwitch sw = { .ctx = ctx, .family = family, .dir = &staging->dir };
    g_auto(virStorageRevMeta) content = { 0 };
    VIR_STORAGE_REV_AUTOUNLOCK head = -1;

    if ((head = virStorageReflinkOpenStagingHead(family, staging)) < 0 ||
        virStorageReflinkAdoptHead(&sw, &head) < 0)
        return -1;
    if (virStorageRevKeepOf(ctx, family) > 0)
        sw.id = virStorageRevFamilyNextId(family);

    virStorageRevMetaInit(&content);
    content.format = family->head->meta.format;
    if (content.format == VIR_STORAGE_FILE_QCOW2 &&
        virStorageReflinkQcow2Check(staging->image.fd, family->volume) < 0)
        return -1;
    return virStorageReflinkSwitchStaged(&sw, &staging->image, head, &content, true);
}


void
virStorageReflinkStagingEnd(virStorageRevStaging *staging)
{
    virStorageReflinkImageClear(&staging->image);
    virStorageReflinkDirClear(&staging->dir);
    g_free(staging->volume);
    g_free(staging);
}
