/*
 * storage_revision_vol_conf.c: XML of volumes with revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "storage_revision_conf.h"

#include "storage_revision_name.h"
#include "virbuffer.h"
#include "virerror.h"
#include "viruuid.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_ENUM_IMPL(virStorageRevOnCrash,
              VIR_STORAGE_REV_ON_CRASH_LAST,
              "commit", "discard", "keep",
);

VIR_ENUM_IMPL(virStorageRevUse,
              VIR_STORAGE_REV_USE_LAST,
              "none", "created", "continued", "started", "saved", "resumed",
);

static virClass *virStorageRevVolClass;

static void
virStorageRevVolDispose(void *obj);

static int
virStorageRevVolOnceInit(void)
{
    if (!VIR_CLASS_NEW(virStorageRevVol, virClassForObject()))
        return -1;

    return 0;
}

VIR_ONCE_GLOBAL_INIT(virStorageRevVol);


/**
 * virStorageRevVolNew:
 *
 * Returns what our types add to a volume, with nothing set, or NULL with an error reported
 */
virStorageRevVol *
virStorageRevVolNew(void)
{
    virStorageRevVol *vol;

    if (virStorageRevVolInitialize() < 0 ||
        !(vol = virObjectNew(virStorageRevVolClass)))
        return NULL;

    vol->saveOnStop = true;
    vol->keep = VIR_STORAGE_REV_KEEP_UNSET;
    return vol;
}


static void
virStorageRevVolDispose(void *obj)
{
    virStorageRevVol *vol = obj;

    virStorageRevVolClearRevisions(vol);
    virStorageRevVolClearOrigins(vol);
    virStorageRevChainFree(vol->wantedChain);
    virStorageRevChainFree(vol->chain);
    g_free(vol->source);
}


/**
 * virStorageRevVolGet:
 * @def: volume definition, of any pool
 *
 * Returns what our types add to @def, owned by it, or NULL if there is nothing
 */
virStorageRevVol *
virStorageRevVolGet(virStorageVolDef *def)
{
    if (!def->target.privateData ||
        virStorageRevVolInitialize() < 0 ||
        !virObjectIsClass(def->target.privateData, virStorageRevVolClass))
        return NULL;

    return (virStorageRevVol *) def->target.privateData;
}


/**
 * virStorageRevVolIsHidden:
 * @def: volume definition, of any pool
 *
 * Returns true if @def is to be left out of lists and numbers of volumes
 */
bool
virStorageRevVolIsHidden(virStorageVolDef *def)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);

    return vol && vol->hidden;
}


/**
 * virStorageRevVolClearRevisions:
 * @vol: what our types add to a volume
 */
void
virStorageRevVolClearRevisions(virStorageRevVol *vol)
{
    size_t i;

    for (i = 0; i < vol->nrevisions; i++)
        g_free(vol->revisions[i].name);
    g_clear_pointer(&vol->revisions, g_free);
    vol->nrevisions = 0;
}


/**
 * virStorageRevVolClearOrigins:
 * @vol: what our types add to a volume
 */
void
virStorageRevVolClearOrigins(virStorageRevVol *vol)
{
    size_t i;

    for (i = 0; i < vol->norigins; i++)
        g_free(vol->origins[i].volume);
    g_clear_pointer(&vol->origins, g_free);
    vol->norigins = 0;
}


/**
 * virStorageRevLifecycleCheck:
 * @volume: name of the volume, without '@'
 * @snapOnStart: does a start make a fresh copy of the source?
 * @saveOnStop: does a stop commit?
 * @source: name of the source, or NULL
 *
 * Checks what can be said without looking at the pool.
 *
 * Returns 0, or -1 with VIR_ERR_XML_ERROR reported
 */
int
virStorageRevLifecycleCheck(const char *volume,
                            bool snapOnStart,
                            bool saveOnStop,
                            const char *source)
{
    if (snapOnStart && saveOnStop) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("lifecycle of volume '%1$s' cannot have both 'snapOnStart' and 'saveOnStop'"),
                       volume);
        return -1;
    }

    if (snapOnStart != !!source) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("lifecycle of volume '%1$s' has to have a 'source' if 'snapOnStart' is 'yes', and only then"),
                       volume);
        return -1;
    }

    if (!source)
        return 0;

    if (strchr(source, '@')) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("lifecycle of volume '%1$s' names '%2$s' as its source, which has to be a volume and neither a revision nor a live copy"),
                       volume, source);
        return -1;
    }

    if (STREQ(source, volume)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("lifecycle of volume '%1$s' names the volume itself as its source"),
                       volume);
        return -1;
    }
    return 0;
}


/* Checks a name without '@' for what pools of @type take; what else is there does not matter. */
static int
virStorageRevVolNameCheck(int type,
                          const char *name)
{
    if (virStorageRevVolumeNameCheck(name, type != VIR_STORAGE_POOL_QUBES_THIN) < 0)
        return -1;

    if (type == VIR_STORAGE_POOL_QUBES_THIN && !virStorageRevLVMNameIsValid(name)) {
        virReportError(VIR_ERR_INVALID_ARG,
                       _("invalid volume name '%1$s': it may have letters, digits, '_', '+', '.' and '-' only, and no '-' in front"),
                       name);
        return -1;
    }
    return 0;
}


static int
virStorageRevVolParseLifecycle(int type,
                               const char *volume,
                               virStorageRevVol *vol,
                               xmlNodePtr node)
{
    virTristateBool snapOnStart;
    virTristateBool saveOnStop;

    if (!node)
        return 0;

    if (virXMLPropTristateBool(node, "snapOnStart", VIR_XML_PROP_NONE, &snapOnStart) < 0 ||
        virXMLPropTristateBool(node, "saveOnStop", VIR_XML_PROP_NONE, &saveOnStop) < 0)
        return -1;

    vol->hasLifecycle = true;
    vol->snapOnStart = snapOnStart == VIR_TRISTATE_BOOL_YES;
    /* Only one of them can be had, so that the first one alone says it. */
    vol->saveOnStop = saveOnStop == VIR_TRISTATE_BOOL_YES ||
        (saveOnStop == VIR_TRISTATE_BOOL_ABSENT && !vol->snapOnStart);
    vol->source = virXMLPropString(node, "source");

    if (virXMLPropEnum(node, "onCrash", virStorageRevOnCrashTypeFromString, VIR_XML_PROP_NONE, &vol->onCrash) < 0)
        return -1;
    if (virStorageRevLifecycleCheck(volume, vol->snapOnStart, vol->saveOnStop, vol->source) < 0)
        return -1;

    return vol->source ? virStorageRevVolNameCheck(type, vol->source) : 0;
}


/* <domain/> alone: nobody's any more. */
static int
virStorageRevVolParseDomain(virStorageRevVol *vol,
                             xmlNodePtr node)
{
    g_autofree char *uuid = NULL;

    if (!node)
        return 0;

    vol->hasDomain = true;
    uuid = virXMLPropString(node, "uuid");
    if (!uuid && !xmlHasProp(node, BAD_CAST "use"))
        return 0;

    if (!uuid || virUUIDParse(uuid, vol->domain) < 0) {
        virReportError(VIR_ERR_XML_ERROR, _("missing or malformed uuid of a domain: '%1$s'"), NULLSTR(uuid));
        return -1;
    }
    return virXMLPropEnum(node, "use", virStorageRevUseTypeFromString,
                          VIR_XML_PROP_REQUIRED | VIR_XML_PROP_NONZERO, &vol->use);
}


static int
virStorageRevVolParseLimits(int type,
                            virStorageRevVol *vol,
                            xmlXPathContextPtr ctxt)
{
    xmlNodePtr node = virXPathNode("./limits/files", ctxt);

    if (!node)
        return 0;

    if (type != VIR_STORAGE_POOL_FSPOOL) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("element 'limits' is not for volumes of pool type '%1$s'"),
                       virStoragePoolTypeToString(type));
        return -1;
    }

    if (virXMLPropULongLong(node, "max", 10, VIR_XML_PROP_REQUIRED, &vol->filesMax) < 0)
        return -1;

    return 0;
}


/**
 * virStorageRevVolParseXML:
 * @pool: definition of the volume's pool
 * @ctxt: XPath context at the volume element
 * @def: volume definition, parsed so far by virStorageVolDefParseXML()
 *
 * Checks the volume's name and gives @def what our types add to it. What is only printed is not looked at, so that a
 * printed document can be fed back. For volumes of other types of pools it does nothing.
 *
 * Returns 0, or -1 with VIR_ERR_INVALID_ARG (a name) or VIR_ERR_XML_ERROR (all else) reported
 */
int
virStorageRevVolParseXML(virStoragePoolDef *pool,
                         xmlXPathContextPtr ctxt,
                         virStorageVolDef *def)
{
    g_autoptr(virStorageRevVol) vol = NULL;
    g_auto(virStorageRevName) name = { 0 };

    if (!virStorageRevPoolTypeIs(pool->type))
        return 0;

    if (virStorageRevNameParse(def->name, &name) < 0 ||
        virStorageRevVolNameCheck(pool->type, name.volume) < 0 ||
        !(vol = virStorageRevVolNew()))
        return -1;

    if (virStorageRevVolParseLifecycle(pool->type, name.volume, vol,
                                       virXPathNode("./lifecycle", ctxt)) < 0 ||
        virStorageRevVolParseDomain(vol, virXPathNode("./domain", ctxt)) < 0 ||
        virStorageRevKeepParseXML(virXPathNode("./revisions", ctxt), &vol->keep) < 0 ||
        virStorageRevVolParseLimits(pool->type, vol, ctxt) < 0 ||
        virStorageRevChainParseXML(virXPathNode("./backingStore", ctxt), ctxt, &vol->wantedChain) < 0)
        return -1;

    vol->hasCapacity = !!virXPathNode("./capacity", ctxt);
    vol->hasFormat = !!virXPathNode("./target/format[@type]", ctxt);

    virObjectUnref(def->target.privateData);
    def->target.privateData = (virObject *) g_steal_pointer(&vol);
    return 0;
}


static void
virStorageRevVolFormatTime(virBuffer *buf,
                           const char *name,
                           long long seconds)
{
    g_autoptr(GDateTime) date = NULL;
    g_autofree char *text = NULL;

    if (seconds <= 0 ||
        !(date = g_date_time_new_from_unix_utc(seconds)) ||
        !(text = g_date_time_format(date, "%Y-%m-%dT%H:%M:%SZ")))
        return;

    virBufferAsprintf(buf, " %s='%s'", name, text);
}


static void
virStorageRevVolFormatRevisions(virBuffer *buf,
                                const virStorageRevVol *vol)
{
    g_auto(virBuffer) attributes = VIR_BUFFER_INITIALIZER;
    g_auto(virBuffer) children = VIR_BUFFER_INIT_CHILD(buf);
    size_t i;

    if (vol->keep != VIR_STORAGE_REV_KEEP_UNSET)
        virBufferAsprintf(&attributes, " keep='%d'", vol->keep);

    for (i = 0; i < vol->nrevisions; i++) {
        const virStorageRevEntry *revision = &vol->revisions[i];

        virBufferEscapeString(&children, "<revision name='%s'", revision->name);
        if (revision->id)
            virBufferAsprintf(&children, " id='%llu'", revision->id);
        virStorageRevVolFormatTime(&children, "created", revision->created);
        virStorageRevVolFormatTime(&children, "superseded", revision->superseded);
        virBufferAsprintf(&children, " pinned='%s'/>\n", revision->pinned ? "yes" : "no");
    }

    virXMLFormatElement(buf, "revisions", &attributes, &children);
}


/* Each origin is inside of what came from it. */
static void
virStorageRevVolFormatOrigins(virBuffer *buf,
                              const virStorageRevVol *vol)
{
    size_t i;

    for (i = 0; i < vol->norigins; i++) {
        virBufferEscapeString(buf, "<origin volume='%s'", vol->origins[i].volume);
        if (vol->origins[i].generation)
            virBufferAsprintf(buf, " generation='%llu'", vol->origins[i].generation);
        if (i + 1 < vol->norigins) {
            virBufferAddLit(buf, ">\n");
            virBufferAdjustIndent(buf, 2);
        } else {
            virBufferAddLit(buf, "/>\n");
        }
    }

    for (i = 1; i < vol->norigins; i++) {
        virBufferAdjustIndent(buf, -2);
        virBufferAddLit(buf, "</origin>\n");
    }
}


/**
 * virStorageRevVolFormat:
 * @buf: where to print
 * @pool: definition of the volume's pool
 * @def: volume definition
 *
 * Prints the elements that our types add below <volume>.
 */
void
virStorageRevVolFormat(virBuffer *buf,
                       virStoragePoolDef *pool,
                       virStorageVolDef *def)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);

    if (!virStorageRevPoolTypeIs(pool->type) || !vol)
        return;

    if (vol->hasLifecycle) {
        virBufferAsprintf(buf, "<lifecycle snapOnStart='%s' saveOnStop='%s'",
                          vol->snapOnStart ? "yes" : "no",
                          vol->saveOnStop ? "yes" : "no");
        virBufferEscapeString(buf, " source='%s'", vol->source);
        if (vol->onCrash != VIR_STORAGE_REV_ON_CRASH_COMMIT)
            virBufferAsprintf(buf, " onCrash='%s'", virStorageRevOnCrashTypeToString(vol->onCrash));
        virBufferAddLit(buf, "/>\n");
    }

    if (vol->use != VIR_STORAGE_REV_USE_NONE) {
        char uuid[VIR_UUID_STRING_BUFLEN];

        virUUIDFormat(vol->domain, uuid);
        virBufferAsprintf(buf, "<domain uuid='%s' use='%s'/>\n", uuid, virStorageRevUseTypeToString(vol->use));
    }

    virStorageRevVolFormatRevisions(buf, vol);

    if (vol->hasState)
        virBufferAsprintf(buf, "<state dirty='%s' outdated='%s' generation='%llu'/>\n",
                          vol->dirty ? "yes" : "no",
                          vol->outdated ? "yes" : "no",
                          vol->generation);

    virStorageRevVolFormatOrigins(buf, vol);

    if (vol->filesMax) {
        g_auto(virBuffer) limits = VIR_BUFFER_INIT_CHILD(buf);

        virBufferAsprintf(&limits, "<files max='%llu'/>\n", vol->filesMax);
        virXMLFormatElement(buf, "limits", NULL, &limits);
    }
}


/**
 * virStorageRevVolFormatChain:
 * @buf: where to print
 * @pool: definition of the volume's pool
 * @def: volume definition
 *
 * Prints the backing chain of a volume of our types, and where it ends, as domain XML does, so that nobody has to go and
 * look. For volumes of other types of pools it does nothing.
 *
 * Returns 0, or -1 with an error: there is something wrong with the chain
 */
int
virStorageRevVolFormatChain(virBuffer *buf,
                            virStoragePoolDef *pool,
                            virStorageVolDef *def)
{
    virStorageRevVol *vol = virStorageRevVolGet(def);

    if (!virStorageRevPoolTypeIs(pool->type) ||
        virStorageSourceHasBacking(&def->target)) /* a document that was only parsed: it is printed as it was */
        return 0;
    return virStorageRevChainFormat(buf, vol ? vol->chain : NULL, def->name);
}
