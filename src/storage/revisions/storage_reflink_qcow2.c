/*
 * storage_reflink_qcow2.c: images with a header of their own
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <unistd.h>

#include "storage_reflink_qcow2.h"

#include "storage_revision_chain.h"
#include "storage_source.h"
#include "viralloc.h"
#include "vircommand.h"
#include "virendian.h"
#include "virerror.h"
#include "virjson.h"
#include "virlog.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_reflink_qcow2");

/* The part of an image that names its size and its backing file. */
#define HEADER_MAX (64 * 1024)
/* What every version that there is has. */
#define HEADER_MIN 72
#define MAGIC "QFI\xfb"
#define PROGRAM "qemu-img: "


/* libvirt reads a size and a name from anything that it is told to be an image. */
static bool
virStorageReflinkQcow2IsHeader(const char *header,
                               ssize_t len)
{
    unsigned int version;

    if (len < HEADER_MIN || memcmp(header, MAGIC, strlen(MAGIC)) != 0)
        return false;

    version = virReadBufInt32BE(header + strlen(MAGIC));
    return version == 2 || version == 3;
}


/**
 * virStorageReflinkQcow2Read:
 * @fd: image
 * @state: its capacity and what it lies on are set
 *
 * The format is recorded, never guessed, and a guest cannot write to a header.
 *
 * Returns 0, or -1 without an error when there is no header that can be read
 */
int
virStorageReflinkQcow2Read(int fd,
                           virStorageRevState *state)
{
    g_autofree char *header = g_malloc0(HEADER_MAX);
    g_autoptr(virStorageSource) source = NULL;
    ssize_t len = pread(fd, header, HEADER_MAX, 0);

    if (!virStorageReflinkQcow2IsHeader(header, len) ||
        !(source = virStorageSourceGetMetadataFromBuf(state->file, header, len, VIR_STORAGE_FILE_QCOW2))) {
        virResetLastError();
        return -1;
    }

    if (source->capacity)
        state->capacity = source->capacity;
    VIR_FREE(state->backing);
    if (source->backingStoreRaw) {
        state->backing = g_steal_pointer(&source->backingStoreRaw);
        state->backingFormat = source->backingStoreRawFormat > 0 ? source->backingStoreRawFormat : VIR_STORAGE_FILE_RAW;
    }
    return 0;
}


/* Is what was uploaded to volume @name, and is to become its head, an image at all? */
int
virStorageReflinkQcow2Check(int fd,
                            const char *name)
{
    g_autoptr(virStorageRevState) state = virStorageRevStateNew(VIR_STORAGE_REV_HEAD);

    state->file = g_strdup(name);
    if (virStorageReflinkQcow2Read(fd, state) == 0)
        return 0;

    virReportError(VIR_ERR_OPERATION_INVALID,
                   _("what was uploaded to volume '%1$s' is no qcow2 image, which is the format of that volume"), name);
    return -1;
}


/* Returns what the program says is wrong: the last line with its name in front, without the name of the image, which is
 * a number to it. */
static char *
virStorageReflinkQcow2Problem(const char *output,
                              int fd)
{
    g_autofree char *image = g_strdup_printf("/proc/self/fd/%d: ", fd);
    g_auto(GStrv) lines = g_strsplit(output, "\n", 0);
    const char *problem = output;
    const char *rest;
    size_t i;

    for (i = 0; lines[i]; i++) {
        if ((rest = STRSKIP(lines[i], PROGRAM)))
            problem = rest;
    }
    if ((rest = STRSKIP(problem, image)))
        problem = rest;
    return g_strstrip(g_strdup(problem));
}


/* Runs qemu-img on an image that is open already. */
static int
virStorageReflinkQcow2Run(virCommand *cmd,
                          int fd,
                          const char *name)
{
    g_autofree char *output = NULL;
    g_autofree char *problem = NULL;
    int status;

    virCommandAddEnvPair(cmd, "LC_ALL", "C");
    virCommandPassFD(cmd, fd, 0);
    virCommandSetErrorBuffer(cmd, &output);
    if (virCommandRun(cmd, &status) < 0)
        return -1;
    if (status == 0)
        return 0;

    problem = virStorageReflinkQcow2Problem(output, fd);
    virReportError(VIR_ERR_OPERATION_FAILED, _("qemu-img failed for volume '%1$s': %2$s"), name, problem);
    return -1;
}


/* Can the image that @name lies on be opened, if it is a file? */
static int
virStorageReflinkQcow2CheckBacking(const char *backing,
                                   const char *name)
{
    if (*backing != '/' || access(backing, R_OK) == 0)
        return 0;

    virReportSystemError(errno, _("volume '%1$s' lies on '%2$s', which cannot be opened"), name, backing);
    return -1;
}


/* The format of a backing file that is not said is raw: it is never guessed. */
static const char *
virStorageReflinkQcow2BackingFormat(virStorageVolDef *def)
{
    int format = def->target.backingStore->format;

    return virStorageFileFormatTypeToString(format > 0 ? format : VIR_STORAGE_FILE_RAW);
}


/*
 * Example of the command that this runs, on a file that is open already:
 *
 *   $ qemu-img create -q -f qcow2 -o compat=1.1 -b /var/lib/base/base.img -F raw /proc/self/fd/27 10737418240
 */
int
virStorageReflinkQcow2Create(int fd,
                             virStorageVolDef *def,
                             unsigned int flags)
{
    g_autoptr(virCommand) cmd = virCommandNewArgList("qemu-img", "create", "-q", "-f", "qcow2", NULL);

    if (def->target.encryption || def->target.features) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' cannot be encrypted or have qcow2 features in this pool"), def->name);
        return -1;
    }
    if (def->target.backingStore &&
        virStorageReflinkQcow2CheckBacking(def->target.backingStore->path, def->name) < 0)
        return -1;

    virCommandAddArg(cmd, "-o");
    virCommandAddArgFormat(cmd, "compat=%s%s", def->target.compat ? def->target.compat : "1.1",
                           flags & VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA ? ",preallocation=metadata" : "");
    if (def->target.clusterSize) {
        virCommandAddArg(cmd, "-o");
        virCommandAddArgFormat(cmd, "cluster_size=%llu", def->target.clusterSize);
    }
    if (def->target.backingStore)
        virCommandAddArgList(cmd, "-b", def->target.backingStore->path,
                             "-F", virStorageReflinkQcow2BackingFormat(def), NULL);
    virCommandAddArgFormat(cmd, "/proc/self/fd/%d", fd);
    if (def->target.capacity || !def->target.backingStore)
        virCommandAddArgFormat(cmd, "%llu", def->target.capacity);
    return virStorageReflinkQcow2Run(cmd, fd, def->name);
}


/* Names an image to qemu-img with what it lies on, @backing, spelled out: by a number it does not find what the header
 * names relative to the image's own folder. It has to, since what lies behind the image's end must not come to light. */
static char *
virStorageReflinkQcow2Name(int fd,
                           const virStorageRevState *state,
                           const char *backing)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autoptr(virJSONValue) image = NULL;
    g_autoptr(virJSONValue) file = NULL;
    g_autoptr(virJSONValue) below = NULL;
    g_autoptr(virJSONValue) whole = NULL;
    g_autofree char *text = NULL;

    if (virJSONValueObjectAdd(&image, "s:driver", "file", "s:filename", path, NULL) < 0 ||
        virJSONValueObjectAdd(&file, "s:driver", "file", "s:filename", backing, NULL) < 0 ||
        virJSONValueObjectAdd(&below, "s:driver", virStorageFileFormatTypeToString(state->backingFormat),
                              "a:file", &file, NULL) < 0 ||
        virJSONValueObjectAdd(&whole, "s:driver", "qcow2", "a:file", &image, "a:backing", &below, NULL) < 0 ||
        !(text = virJSONValueToString(whole, false)))
        return NULL;
    return g_strdup_printf("json:%s", text);
}


/**
 * virStorageReflinkQcow2Resize:
 * @fd: image
 * @state: what it is
 * @path: where it lies, or will lie
 * @capacity: what it is to have
 * @name: of the volume, for errors
 *
 * Example of the commands that this runs:
 *
 *   $ qemu-img resize -q -f qcow2 --shrink /proc/self/fd/27 10737418240
 *   $ qemu-img resize -q --shrink 'json:{"driver":"qcow2","file":{"driver":"file","filename":"/proc/self/fd/27"},
 *         "backing":{"driver":"raw","file":{"driver":"file","filename":"/var/lib/base/base.img"}}}' 10737418240
 *
 * Returns 0, or -1 with an error
 */
int
virStorageReflinkQcow2Resize(int fd,
                             const virStorageRevState *state,
                             const char *path,
                             unsigned long long capacity,
                             const char *name)
{
    g_autoptr(virCommand) cmd = virCommandNewArgList("qemu-img", "resize", "-q", "--shrink", NULL);
    g_autofree char *backing = state->backing ? virStorageRevChainAbsolute(path, state->backing) : NULL;
    g_autofree char *image = NULL;

    if (backing && virStorageReflinkQcow2CheckBacking(backing, name) < 0)
        return -1;

    if (STREQ_NULLABLE(backing, state->backing)) {
        virCommandAddArgList(cmd, "-f", "qcow2", NULL);
        virCommandAddArgFormat(cmd, "/proc/self/fd/%d", fd);
    } else {
        if (!(image = virStorageReflinkQcow2Name(fd, state, backing)))
            return -1;
        virCommandAddArg(cmd, image);
    }
    virCommandAddArgFormat(cmd, "%llu", capacity);
    return virStorageReflinkQcow2Run(cmd, fd, name);
}


/**
 * virStorageReflinkQcow2KeepBacking:
 * @fd: copy of an image
 * @from: where that image lies
 * @to: where the copy will lie
 * @name: of the volume, for errors
 *
 * Has the copy lie on the same file, where the header names that relative to the image's own folder. The file need not
 * be there.
 *
 * Example of the command that this runs:
 *
 *   $ qemu-img rebase -q -u -f qcow2 -b /var/lib/base/base.img -F raw /proc/self/fd/27
 *
 * Returns 0, or -1 with an error
 */
int
virStorageReflinkQcow2KeepBacking(int fd,
                                  const char *from,
                                  const char *to,
                                  const char *name)
{
    g_autoptr(virStorageRevState) state = virStorageRevStateNew(VIR_STORAGE_REV_HEAD);
    g_autofree char *fromFolder = g_path_get_dirname(from);
    g_autofree char *toFolder = g_path_get_dirname(to);
    g_autofree char *backing = NULL;
    g_autoptr(virCommand) cmd = NULL;

    state->file = g_strdup(from);
    if (STREQ(fromFolder, toFolder) || virStorageReflinkQcow2Read(fd, state) < 0 || !state->backing)
        return 0;

    backing = virStorageRevChainAbsolute(from, state->backing);
    if (STREQ(backing, state->backing))
        return 0;

    cmd = virCommandNewArgList("qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", backing,
                               "-F", virStorageFileFormatTypeToString(state->backingFormat), NULL);
    virCommandAddArgFormat(cmd, "/proc/self/fd/%d", fd);
    return virStorageReflinkQcow2Run(cmd, fd, name);
}
