/*
 * storage_revision_chain_conf.c: backing chains of volumes, as XML
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_chain_conf.h"

#include "domain_conf.h"
#include "viralloc.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE


static void
virStorageRevChainMemberFree(void *opaque)
{
    virStorageRevChainMember *member = opaque;

    virObjectUnref(member->source);
    g_free(member->path);
    g_free(member->pool);
    g_free(member->volume);
    g_free(member);
}


virStorageRevChain *
virStorageRevChainNew(void)
{
    virStorageRevChain *chain = g_new0(virStorageRevChain, 1);

    chain->members = g_ptr_array_new_with_free_func(virStorageRevChainMemberFree);
    return chain;
}


void
virStorageRevChainFree(virStorageRevChain *chain)
{
    if (!chain)
        return;

    g_ptr_array_unref(chain->members);
    g_free(chain->problem);
    g_free(chain);
}


/**
 * virStorageRevChainAdd:
 * @chain: chain
 * @source: the next image; taken over
 * @path: how its path is printed
 *
 * Returns the new member, owned by @chain
 */
virStorageRevChainMember *
virStorageRevChainAdd(virStorageRevChain *chain,
                      virStorageSource *source,
                      const char *path)
{
    virStorageRevChainMember *member = g_new0(virStorageRevChainMember, 1);

    member->source = source;
    member->path = g_strdup(path);
    g_ptr_array_add(chain->members, member);
    return member;
}


/* Reads what of one element a comparison needs. Returns 1 for the end of a chain, -1 with an error. */
static int
virStorageRevChainParseMember(xmlXPathContextPtr ctxt,
                              virStorageRevChain *chain)
{
    g_autofree char *path = virXPathString("string(./path)", ctxt);
    g_autofree char *format = virXPathString("string(./format/@type)", ctxt);
    virStorageSource *source;

    if (!path && !virXPathNode("./*", ctxt))
        return 1;

    if (!path &&
        !(path = virXPathString("string(./source/@file | ./source/@dev | ./source/@dir)", ctxt))) {
        virReportError(VIR_ERR_XML_ERROR, _("level %1$u of the backing chain has no path"), chain->members->len + 1);
        return -1;
    }

    source = virStorageSourceNew();
    source->path = g_strdup(path);
    source->format = format ? virStorageFileFormatTypeFromString(format) : VIR_STORAGE_FILE_NONE;
    virStorageRevChainAdd(chain, source, path);
    if (source->format < 0) {
        virReportError(VIR_ERR_XML_ERROR, _("unknown format '%1$s' in level %2$u of the backing chain"),
                       format, chain->members->len);
        return -1;
    }
    return 0;
}


/**
 * virStorageRevChainParseXML:
 * @node: the outermost <backingStore>, or NULL
 * @ctxt: XPath context
 * @chain: set to what the document says of the chain; NULL where it says nothing
 *
 * Returns 0, or -1 with an error
 */
int
virStorageRevChainParseXML(xmlNodePtr node,
                           xmlXPathContextPtr ctxt,
                           virStorageRevChain **chain)
{
    g_autoptr(virStorageRevChain) parsed = NULL;
    VIR_XPATH_NODE_AUTORESTORE(ctxt)

    *chain = NULL;
    if (!node)
        return 0;

    parsed = virStorageRevChainNew();
    parsed->isOpen = true;
    for (; node; node = virXPathNode("./backingStore", ctxt)) {
        int rc;

        ctxt->node = node;
        if ((rc = virStorageRevChainParseMember(ctxt, parsed)) < 0)
            return -1;
        if (rc > 0) {
            parsed->isOpen = false;
            break;
        }
    }
    *chain = g_steal_pointer(&parsed);
    return 0;
}


static void
virStorageRevChainFormatPerms(virBuffer *buf,
                              const virStoragePerms *perms)
{
    g_auto(virBuffer) children = VIR_BUFFER_INIT_CHILD(buf);

    if (!perms)
        return;
    virBufferAsprintf(&children, "<mode>0%o</mode>\n", perms->mode);
    virBufferAsprintf(&children, "<owner>%d</owner>\n", (int) perms->uid);
    virBufferAsprintf(&children, "<group>%d</group>\n", (int) perms->gid);
    virBufferEscapeString(&children, "<label>%s</label>\n", perms->label);
    virXMLFormatElement(buf, "permissions", NULL, &children);
}


static void
virStorageRevChainFormatTime(virBuffer *buf,
                             const char *name,
                             const struct timespec *when)
{
    virBufferAsprintf(buf, "<%s>%lld.%09ld</%s>\n", name, (long long) when->tv_sec, when->tv_nsec, name);
}


static void
virStorageRevChainFormatTimes(virBuffer *buf,
                              const virStorageTimestamps *times)
{
    g_auto(virBuffer) children = VIR_BUFFER_INIT_CHILD(buf);

    if (!times)
        return;
    virStorageRevChainFormatTime(&children, "atime", &times->atime);
    virStorageRevChainFormatTime(&children, "mtime", &times->mtime);
    virStorageRevChainFormatTime(&children, "ctime", &times->ctime);
    virXMLFormatElement(buf, "timestamps", NULL, &children);
}


/* Begins the element of one member; what it lies on is to be printed in it. */
static int
virStorageRevChainFormatMember(virBuffer *buf,
                               const virStorageRevChainMember *member)
{
    const virStorageSource *source = member->source;

    virBufferAsprintf(buf, "<backingStore type='%s'%s>\n", virStorageTypeToString(source->type),
                      member->missing ? " state='missing'" : "");
    virBufferAdjustIndent(buf, 2);

    virBufferEscapeString(buf, "<path>%s</path>\n", member->path);
    virBufferAsprintf(buf, "<format type='%s'/>\n", virStorageFileFormatTypeToString(source->format));
    virStorageRevChainFormatPerms(buf, source->perms);
    virStorageRevChainFormatTimes(buf, source->timestamps);
    if (virDomainDiskSourceFormat(buf, member->source, "source", 0, false, 0, true, true, NULL) < 0)
        return -1;
    if (member->volume) {
        virBufferEscapeString(buf, "<volume pool='%s'", member->pool);
        virBufferEscapeString(buf, " volume='%s'/>\n", member->volume);
    }
    return 0;
}


/**
 * virStorageRevChainFormat:
 * @buf: where to print
 * @chain: chain, or NULL where there is none
 * @volume: for errors
 *
 * Prints all members, each inside of what lies on it, and an empty element where it is known to end: a member can be
 * moved to a disk of a domain as it is, and an image whose own backing file is not known must not be taken there for one
 * that has none.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageRevChainFormat(virBuffer *buf,
                         const virStorageRevChain *chain,
                         const char *volume)
{
    size_t i;

    if (chain && chain->problem) {
        virReportError(VIR_ERR_OPERATION_FAILED, _("volume '%1$s': %2$s"), volume, chain->problem);
        return -1;
    }
    for (i = 0; chain && i < chain->members->len; i++) {
        if (virStorageRevChainFormatMember(buf, g_ptr_array_index(chain->members, i)) < 0)
            return -1;
    }
    if (!chain || !chain->isOpen)
        virBufferAddLit(buf, "<backingStore/>\n");
    for (i = 0; chain && i < chain->members->len; i++) {
        virBufferAdjustIndent(buf, -2);
        virBufferAddLit(buf, "</backingStore>\n");
    }
    return 0;
}


static int
virStorageRevChainCheckMember(const virStorageRevChainMember *wanted,
                              const virStorageRevChainMember *found,
                              size_t level,
                              const char *volume)
{
    if (STRNEQ(wanted->path, found->path)) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("backing chain of volume '%1$s', level %2$zu: the document says '%3$s', the image '%4$s'"),
                       volume, level, wanted->path, found->path);
        return -1;
    }
    if (found->missing) {
        virReportError(VIR_ERR_INVALID_ARG, _("backing chain of volume '%1$s', level %2$zu: '%3$s' cannot be opened"),
                       volume, level, found->path);
        return -1;
    }
    if (wanted->source->format != VIR_STORAGE_FILE_NONE && wanted->source->format != found->source->format) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("backing chain of volume '%1$s', level %2$zu: the document says format '%3$s', the image '%4$s'"),
                       volume, level, virStorageFileFormatTypeToString(wanted->source->format),
                       virStorageFileFormatTypeToString(found->source->format));
        return -1;
    }
    return 0;
}


/**
 * virStorageRevChainCheckSame:
 * @wanted: what a document says
 * @found: what the images say
 * @volume: for errors
 *
 * What the document leaves out, a format or the rest of a chain without an end, is not compared.
 *
 * Returns 0, or -1 with VIR_ERR_INVALID_ARG, which names the first level that differs
 */
int
virStorageRevChainCheckSame(const virStorageRevChain *wanted,
                            const virStorageRevChain *found,
                            const char *volume)
{
    size_t i;

    if (found->problem) {
        virReportError(VIR_ERR_INVALID_ARG, _("volume '%1$s': %2$s"), volume, found->problem);
        return -1;
    }
    for (i = 0; i < wanted->members->len && i < found->members->len; i++) {
        if (virStorageRevChainCheckMember(g_ptr_array_index(wanted->members, i),
                                          g_ptr_array_index(found->members, i), i + 1, volume) < 0)
            return -1;
    }

    if (wanted->members->len > found->members->len) {
        const virStorageRevChainMember *member = g_ptr_array_index(wanted->members, i);

        virReportError(VIR_ERR_INVALID_ARG,
                       _("backing chain of volume '%1$s', level %2$zu: the document says '%3$s', where the images' chain has ended"),
                       volume, i + 1, member->path);
        return -1;
    }
    if (!wanted->isOpen && found->members->len > wanted->members->len) {
        const virStorageRevChainMember *member = g_ptr_array_index(found->members, i);

        virReportError(VIR_ERR_INVALID_ARG,
                       _("backing chain of volume '%1$s', level %2$zu: the document's chain has ended, the image says '%3$s'"),
                       volume, i + 1, member->path);
        return -1;
    }
    return 0;
}
