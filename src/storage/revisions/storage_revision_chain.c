/*
 * storage_revision_chain.c: reading backing chains
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage_revision_chain.h"

#include "storage_revision_file.h"
#include "storage_source.h"
#include "viralloc.h"
#include "virerror.h"
#include "virfile.h"
#include "virjson.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* As many as libvirt takes in the chain of a domain's disk (qemu_domain.h). */
#define CHAIN_MAX 200

/* What names a backing file is in the first clusters (QEMU, docs/interop/qcow2.txt); libvirt reads as much. */
#define HEADER_MAX (32 * 1024)


/* One that is being read. */
typedef struct _virStorageRevChainReader virStorageRevChainReader;
struct _virStorageRevChainReader {
    virStorageRevChain *chain;
    GHashTable *seen; /* device and inode of each local image */
};


/* Says that an image is one of those above itself. */
static bool
virStorageRevChainReaderSaw(virStorageRevChainReader *reader,
                            const struct stat *sb)
{
    return !g_hash_table_add(reader->seen, g_strdup_printf("%llu:%llu", (unsigned long long) sb->st_dev,
                                                           (unsigned long long) sb->st_ino));
}


/* Takes over what the file system knows of a local image. */
static void
virStorageRevChainSetStat(virStorageSource *source,
                          int fd,
                          const struct stat *sb)
{
    g_autoptr(virStorageRevState) state = virStorageRevStateNew(VIR_STORAGE_REV_HEAD);

    virStorageRevStateFromStat(fd, sb, state);
    virStorageRevStateDescribe(state, source);
}


/* Reads what an image says of the one that it lies on; a raw one says nothing, whatever a guest has written to it. */
static int
virStorageRevChainReadHeader(virStorageSource *source,
                             int fd)
{
    g_autofree char *header = g_malloc0(HEADER_MAX);
    g_autoptr(virStorageSource) found = NULL;
    ssize_t len = pread(fd, header, HEADER_MAX, 0);

    if (len <= 0 ||
        !(found = virStorageSourceGetMetadataFromBuf(source->path, header, len, source->format)))
        return -1;

    source->backingStoreRaw = g_steal_pointer(&found->backingStoreRaw);
    source->backingStoreRawFormat = found->backingStoreRawFormat;
    return 0;
}


/* Looks at the last member. Returns 1 when it is known what it lies on, 0 when the chain ends here, for now or for good. */
static int
virStorageRevChainReaderLook(virStorageRevChainReader *reader,
                             virStorageRevChainMember *member)
{
    virStorageSource *source = member->source;
    bool local = source->type == VIR_STORAGE_TYPE_FILE || source->type == VIR_STORAGE_TYPE_BLOCK;
    VIR_AUTOCLOSE fd = -1;
    struct stat sb;

    /* of what cannot be looked into, only the format tells whether there can be more */
    reader->chain->isOpen = source->format >= VIR_STORAGE_FILE_BACKING;
    if (!local && source->type != VIR_STORAGE_TYPE_DIR)
        return 0;

    if ((fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) < 0 || fstat(fd, &sb) < 0) {
        member->missing = true;
        return 0;
    }
    virStorageRevChainSetStat(source, fd, &sb);

    if (local && virStorageRevChainReaderSaw(reader, &sb)) {
        reader->chain->problem = g_strdup_printf(_("the backing chain leads back to '%1$s'"), source->path);
        return 0;
    }
    if (!reader->chain->isOpen || (!S_ISREG(sb.st_mode) && !S_ISBLK(sb.st_mode)))
        return 0;
    if (virStorageRevChainReadHeader(source, fd) < 0) {
        virResetLastError(); /* it is not what it is said to be */
        member->missing = true;
        return 0;
    }
    reader->chain->isOpen = false;
    return source->backingStoreRaw ? 1 : 0;
}


/* QEMU's json: names can say the format as well as the place, as in
 *
 *   json:{"driver": "qcow2", "file": {"driver": "file", "filename": "/var/lib/vms/base.img"}}
 *
 * of which libvirt knows the inner part only. Leaves that in @image, and the format. */
static void
virStorageRevChainUnwrapJSON(virStorageSource *image)
{
    const char *text = STRSKIP(image->backingStoreRaw, "json:");
    g_autoptr(virJSONValue) root = text ? virJSONValueFromString(text) : NULL;
    g_autoptr(virJSONValue) whole = root ? virJSONValueObjectDeflatten(root) : NULL;
    const char *driver = whole ? virJSONValueObjectGetString(whole, "driver") : NULL;
    virJSONValue *file = whole ? virJSONValueObjectGetObject(whole, "file") : NULL;
    int format = driver ? virStorageFileFormatTypeFromString(driver) : -1;
    g_autofree char *inner = NULL;

    virResetLastError();
    if (format < VIR_STORAGE_FILE_RAW || !file || !(inner = virJSONValueToString(file, false)))
        return;

    g_free(image->backingStoreRaw);
    image->backingStoreRaw = g_strdup_printf("json:%s", inner);
    image->backingStoreRawFormat = format;
}


/* Adds what @parent lies on. Returns NULL when libvirt cannot tell what that is. */
static virStorageRevChainMember *
virStorageRevChainReaderAdd(virStorageRevChainReader *reader,
                            virStorageSource *parent)
{
    g_autoptr(virStorageSource) child = NULL;
    const char *path;

    if (reader->chain->members->len >= CHAIN_MAX) {
        reader->chain->problem = g_strdup_printf(_("the backing chain has more than %1$d members"), CHAIN_MAX);
        return NULL;
    }
    virStorageRevChainUnwrapJSON(parent);
    if (virStorageSourceNewFromBacking(parent, &child) < 0 || !child) {
        virResetLastError();
        reader->chain->isOpen = true;
        return NULL;
    }
    if (child->format <= VIR_STORAGE_FILE_NONE)
        child->format = VIR_STORAGE_FILE_RAW; /* not recorded, and never guessed */

    path = child->type == VIR_STORAGE_TYPE_NETWORK ? parent->backingStoreRaw : child->path;
    return virStorageRevChainAdd(reader->chain, g_steal_pointer(&child), path);
}


/* Returns @backing, which the image at @path says that it lies on, such that it means the same anywhere. As to QEMU, what
 * has neither a "/" in front nor a protocol is relative to the image's folder. */
char *
virStorageRevChainAbsolute(const char *path,
                           const char *backing)
{
    g_autofree char *folder = g_path_get_dirname(path);

    if (*backing == '/' || backing[strcspn(backing, ":/")] == ':')
        return g_strdup(backing);
    return g_strdup_printf("%s/%s", folder, backing);
}


/**
 * virStorageRevChainRead:
 * @path: image
 * @backing: what it says that it lies on
 * @format: format of that, as it is recorded (virStorageFileFormat)
 *
 * Opens all images of the chain that are local, one after the other. What is wrong with it is said in it.
 *
 * Returns the chain
 */
virStorageRevChain *
virStorageRevChainRead(const char *path,
                       const char *backing,
                       int format)
{
    g_autoptr(virStorageRevChain) chain = virStorageRevChainNew();
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    virStorageRevChainReader reader = { chain, seen };
    g_autoptr(virStorageSource) top = virStorageSourceNew();
    virStorageSource *parent = top;
    virStorageRevChainMember *member;
    struct stat sb;

    top->type = VIR_STORAGE_TYPE_FILE;
    top->path = g_strdup(path);
    top->backingStoreRaw = g_strdup(backing);
    top->backingStoreRawFormat = format;
    if (stat(path, &sb) == 0)
        virStorageRevChainReaderSaw(&reader, &sb);

    while ((member = virStorageRevChainReaderAdd(&reader, parent)) &&
           virStorageRevChainReaderLook(&reader, member) > 0)
        parent = member->source;
    return g_steal_pointer(&chain);
}
