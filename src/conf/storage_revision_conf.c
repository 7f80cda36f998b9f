/*
 * storage_revision_conf.c: XML of the pool types whose volumes have revisions
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <libxml/xpathInternals.h>

#include "storage_revision_conf.h"

#include "storage_revision_name.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virxml.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_ENUM_IMPL(virStorageRevActivation,
              VIR_STORAGE_REV_ACTIVATION_LAST,
              "all", "live",
);

VIR_ENUM_IMPL(virStorageRevFspoolFormat,
              VIR_STORAGE_REV_FSPOOL_LAST,
              "auto", "nfs",
              "ext4", "xfs", "btrfs",
);

VIR_ENUM_IMPL(virStorageRevQuotaMode,
              VIR_STORAGE_REV_QUOTA_LAST,
              "full", "simple",
);


/**
 * virStorageRevPoolTypeIs:
 * @type: virStoragePoolType
 *
 * Returns true if volumes of pools of @type have revisions
 */
bool
virStorageRevPoolTypeIs(int type)
{
    return type == VIR_STORAGE_POOL_QUBES_THIN ||
        type == VIR_STORAGE_POOL_REFLINK ||
        type == VIR_STORAGE_POOL_FSPOOL;
}


/**
 * virStorageRevPoolGet:
 * @def: pool definition
 *
 * Returns what our types add to @def, owned by it, or NULL if there is nothing
 */
virStorageRevPool *
virStorageRevPoolGet(virStoragePoolDef *def)
{
    return virStorageRevPoolTypeIs(def->type) ? def->namespaceData : NULL;
}


/**
 * virStorageRevPoolFree:
 * @data: virStorageRevPool, or NULL
 */
void
virStorageRevPoolFree(void *data)
{
    virStorageRevPool *pool = data;

    if (!pool)
        return;

    if (pool->runtimeFree)
        pool->runtimeFree(pool->runtime);
    g_free(pool->thinPool);
    g_strfreev(pool->pvs);
    g_free(pool->sourcePool);
    g_free(pool->sourceVolume);
    g_strfreev(pool->mountOptions);
    g_free(pool);
}


/**
 * virStorageRevPoolKeep:
 * @def: pool definition
 *
 * Returns how many unpinned revisions stay of a volume that does not say it itself
 */
int
virStorageRevPoolKeep(virStoragePoolDef *def)
{
    virStorageRevPool *pool = virStorageRevPoolGet(def);

    if (!pool || pool->keep == VIR_STORAGE_REV_KEEP_UNSET)
        return VIR_STORAGE_REV_KEEP_DEFAULT;

    return pool->keep;
}


/**
 * virStorageRevKeepParseXML:
 * @node: the <revisions> of a pool or a volume, or NULL
 * @keep: filled with what it says, or VIR_STORAGE_REV_KEEP_UNSET
 *
 * Returns 0, or -1 with VIR_ERR_XML_ERROR reported
 */
int
virStorageRevKeepParseXML(xmlNodePtr node,
                       int *keep)
{
    *keep = VIR_STORAGE_REV_KEEP_UNSET;

    if (node &&
        virXMLPropInt(node, "keep", 10, VIR_XML_PROP_NONNEGATIVE,
                      keep, VIR_STORAGE_REV_KEEP_UNSET) < 0)
        return -1;

    if (*keep > VIR_STORAGE_REV_KEEP_MAX) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("attribute 'keep' of element 'revisions' is %1$d, more than %2$d"),
                       *keep, VIR_STORAGE_REV_KEEP_MAX);
        return -1;
    }
    return 0;
}


static int
virStorageRevPoolParseThin(virStoragePoolDef *def,
                           virStorageRevPool *pool,
                           xmlXPathContextPtr ctxt)
{
    xmlNodePtr node = virXPathNode("./source/thinPool", ctxt);
    unsigned int activation = VIR_STORAGE_REV_ACTIVATION_ALL;
    int rc;

    if (!virStorageRevLVMNameIsValid(def->source.name)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("'%1$s' in element 'name' is no name of a volume group"),
                       def->source.name);
        return -1;
    }

    if (!node) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("missing element 'thinPool' in element 'source'"));
        return -1;
    }

    if (!(pool->thinPool = virXMLPropStringRequired(node, "name")))
        return -1;

    if (!virStorageRevLVMNameIsValid(pool->thinPool)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("'%1$s' in element 'thinPool' is no name of a logical volume"),
                       pool->thinPool);
        return -1;
    }

    if ((rc = virXMLPropEnum(node, "activation", virStorageRevActivationTypeFromString,
                             VIR_XML_PROP_NONE, &activation)) < 0)
        return -1;

    pool->activation = activation;
    pool->hasActivation = rc > 0;
    return 0;
}


static int
virStorageRevPoolParseFspoolVolume(virStoragePoolDef *def,
                                   virStorageRevPool *pool,
                                   xmlNodePtr node)
{
    if (!(pool->sourcePool = virXMLPropStringRequired(node, "pool")) ||
        !(pool->sourceVolume = virXMLPropStringRequired(node, "volume")))
        return -1;

    if (def->source.nhost || def->source.dir) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("element 'volume' of element 'source' stands for itself, without 'host' and 'dir'"));
        return -1;
    }

    if (def->source.format < VIR_STORAGE_REV_FSPOOL_EXT4) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("element 'format' has to name the file system of the source volume: ext4, xfs or btrfs"));
        return -1;
    }
    return 0;
}


static int
virStorageRevPoolParseQuota(virStorageRevPool *pool,
                            xmlNodePtr node)
{
    unsigned int mode = VIR_STORAGE_REV_QUOTA_FULL;
    int rc;

    if (!node)
        return 0;
    if (virXMLPropTristateBool(node, "required", VIR_XML_PROP_NONE, &pool->quotaRequired) < 0 ||
        (rc = virXMLPropEnum(node, "mode", virStorageRevQuotaModeTypeFromString,
                             VIR_XML_PROP_NONE, &mode)) < 0)
        return -1;

    pool->quotaMode = mode;
    pool->hasQuotaMode = rc > 0;
    return 0;
}


/* One option each; a comma would smuggle in another one. */
static int
virStorageRevPoolParseMountOptions(virStorageRevPool *pool,
                                   xmlXPathContextPtr ctxt)
{
    g_autofree xmlNodePtr *nodes = NULL;
    size_t i;
    int n;

    xmlXPathRegisterNs(ctxt, BAD_CAST VIR_STORAGE_REV_FS_PREFIX, BAD_CAST VIR_STORAGE_REV_FS_URI);
    if ((n = virXPathNodeSet("./fs:mount_opts/fs:option", ctxt, &nodes)) <= 0)
        return n;

    pool->mountOptions = g_new0(char *, n + 1);
    for (i = 0; i < (size_t) n; i++) {
        if (!(pool->mountOptions[i] = virXMLPropStringRequired(nodes[i], "name")))
            return -1;
        if (strpbrk(pool->mountOptions[i], ",\n") || *pool->mountOptions[i] == '-') {
            virReportError(VIR_ERR_XML_ERROR,
                           _("'%1$s' in element 'option' is not one mount option"), pool->mountOptions[i]);
            return -1;
        }
    }
    return 0;
}


/* The source is a volume of another pool, a directory of a host, or, when there is none, the target itself. */
static int
virStorageRevPoolParseFspool(virStoragePoolDef *def,
                             virStorageRevPool *pool,
                             xmlXPathContextPtr ctxt)
{
    xmlNodePtr node = virXPathNode("./source/volume", ctxt);

    if (virStorageRevPoolParseQuota(pool, virXPathNode("./features/quota", ctxt)) < 0 ||
        virStorageRevPoolParseMountOptions(pool, ctxt) < 0)
        return -1;

    if (node)
        return virStorageRevPoolParseFspoolVolume(def, pool, node);

    if (def->source.format >= VIR_STORAGE_REV_FSPOOL_EXT4) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("format '%1$s' needs an element 'volume' in element 'source'"),
                       virStorageRevFspoolFormatTypeToString(def->source.format));
        return -1;
    }

    if (def->source.nhost == 0 && !def->source.dir &&
        !def->source.protocolVer && def->source.format == VIR_STORAGE_REV_FSPOOL_AUTO)
        return 0;

    if (def->source.nhost != 1 || !*def->source.hosts[0].name || !def->source.dir) {
        virReportError(VIR_ERR_XML_ERROR, "%s",
                       _("a source on the network needs one element 'host' and one element 'dir'"));
        return -1;
    }
    return 0;
}


/**
 * virStorageRevPoolParseXML:
 * @def: pool definition, parsed so far by virStoragePoolDefParseXML()
 * @ctxt: XPath context at the pool element
 *
 * Gives @def what our types add to it, also when the document has none of it. For other types it does nothing.
 *
 * Returns 0, or -1 with VIR_ERR_XML_ERROR reported
 */
int
virStorageRevPoolParseXML(virStoragePoolDef *def,
                          xmlXPathContextPtr ctxt)
{
    xmlNodePtr revisions;
    xmlNodePtr reflink;
    virStorageRevPool *pool;
    int ret = -1;

    if (!virStorageRevPoolTypeIs(def->type))
        return 0;

    pool = g_new0(virStorageRevPool, 1);
    revisions = virXPathNode("./revisions", ctxt);

    if (virStorageRevKeepParseXML(revisions, &pool->keep) < 0 ||
        (revisions &&
         virXMLPropTristateBool(revisions, "list", VIR_XML_PROP_NONE, &pool->list) < 0))
        goto cleanup;

    if (def->type == VIR_STORAGE_POOL_REFLINK &&
        (reflink = virXPathNode("./features/reflink", ctxt)) &&
        virXMLPropTristateBool(reflink, "required", VIR_XML_PROP_NONE,
                               &pool->reflinkRequired) < 0)
        goto cleanup;

    if (!g_path_is_absolute(def->target.path)) {
        virReportError(VIR_ERR_XML_ERROR,
                       _("target path '%1$s' is not absolute"), def->target.path);
        goto cleanup;
    }

    if (def->type == VIR_STORAGE_POOL_QUBES_THIN &&
        virStorageRevPoolParseThin(def, pool, ctxt) < 0)
        goto cleanup;

    if (def->type == VIR_STORAGE_POOL_FSPOOL &&
        virStorageRevPoolParseFspool(def, pool, ctxt) < 0)
        goto cleanup;

    def->namespaceData = g_steal_pointer(&pool);
    ret = 0;

 cleanup:
    virStorageRevPoolFree(pool);
    return ret;
}


/**
 * virStorageRevPoolTargetPath:
 * @def: pool definition, with its source
 *
 * Returns the target path where the source says it all, or NULL where the document has to
 */
char *
virStorageRevPoolTargetPath(virStoragePoolDef *def)
{
    if (def->type != VIR_STORAGE_POOL_QUBES_THIN)
        return NULL;

    return g_strdup_printf("/dev/%s", def->source.name);
}


/**
 * virStorageRevPoolFormat:
 * @buf: where to print
 * @def: pool definition
 *
 * Prints the elements that our types add below <pool>.
 */
void
virStorageRevPoolFormat(virBuffer *buf,
                        virStoragePoolDef *def)
{
    g_auto(virBuffer) features = VIR_BUFFER_INIT_CHILD(buf);
    g_auto(virBuffer) revisions = VIR_BUFFER_INITIALIZER;
    virStorageRevPool *pool = virStorageRevPoolGet(def);

    if (!pool)
        return;

    if (pool->reflinkRequired != VIR_TRISTATE_BOOL_ABSENT)
        virBufferAsprintf(&features, "<reflink required='%s'/>\n",
                          virTristateBoolTypeToString(pool->reflinkRequired));

    if (pool->quotaRequired != VIR_TRISTATE_BOOL_ABSENT || pool->hasQuotaMode) {
        virBufferAddLit(&features, "<quota");
        if (pool->quotaRequired != VIR_TRISTATE_BOOL_ABSENT)
            virBufferAsprintf(&features, " required='%s'", virTristateBoolTypeToString(pool->quotaRequired));
        if (pool->hasQuotaMode)
            virBufferAsprintf(&features, " mode='%s'", virStorageRevQuotaModeTypeToString(pool->quotaMode));
        virBufferAddLit(&features, "/>\n");
    }

    if (pool->keep != VIR_STORAGE_REV_KEEP_UNSET)
        virBufferAsprintf(&revisions, " keep='%d'", pool->keep);
    if (pool->list != VIR_TRISTATE_BOOL_ABSENT)
        virBufferAsprintf(&revisions, " list='%s'",
                          virTristateBoolTypeToString(pool->list));

    virXMLFormatElement(buf, "features", NULL, &features);
    virXMLFormatElement(buf, "revisions", &revisions, NULL);
}


static void
virStorageRevPoolFormatThinUse(virBuffer *buf,
                               const virStorageRevThinUse *use)
{
    virBufferAsprintf(buf, "<data unit='bytes' size='%llu' used='%llu'/>\n",
                      use->dataSize, use->dataUsed);
    virBufferAsprintf(buf, "<metadata unit='bytes' size='%llu' used='%llu'/>\n",
                      use->metadataSize, use->metadataUsed);
}


static void
virStorageRevPoolFormatThin(virBuffer *buf,
                            virStoragePoolDef *def)
{
    g_auto(virBuffer) attributes = VIR_BUFFER_INITIALIZER;
    g_auto(virBuffer) children = VIR_BUFFER_INIT_CHILD(buf);
    virStorageRevPool *pool = virStorageRevPoolGet(def);
    size_t i;

    for (i = 0; i < def->source.ndevice; i++)
        virBufferEscapeString(buf, "<device path='%s'/>\n", def->source.devices[i].path);
    virBufferEscapeString(buf, "<name>%s</name>\n", def->source.name);

    if (!pool)
        return;

    virBufferEscapeString(&attributes, " name='%s'", pool->thinPool);
    if (pool->hasActivation)
        virBufferAsprintf(&attributes, " activation='%s'",
                          virStorageRevActivationTypeToString(pool->activation));
    if (pool->hasThinUse)
        virStorageRevPoolFormatThinUse(&children, &pool->thinUse);

    virXMLFormatElement(buf, "thinPool", &attributes, &children);
}


static void
virStorageRevPoolFormatFspool(virBuffer *buf,
                              virStoragePoolDef *def)
{
    g_auto(virBuffer) volume = VIR_BUFFER_INITIALIZER;
    virStorageRevPool *pool = virStorageRevPoolGet(def);
    size_t i;

    for (i = 0; i < def->source.nhost; i++) {
        virBufferEscapeString(buf, "<host name='%s'", def->source.hosts[i].name);
        if (def->source.hosts[i].port)
            virBufferAsprintf(buf, " port='%d'", def->source.hosts[i].port);
        virBufferAddLit(buf, "/>\n");
    }
    virBufferEscapeString(buf, "<dir path='%s'/>\n", def->source.dir);

    if (pool) {
        virBufferEscapeString(&volume, " pool='%s'", pool->sourcePool);
        virBufferEscapeString(&volume, " volume='%s'", pool->sourceVolume);
    }
    virXMLFormatElement(buf, "volume", &volume, NULL);

    if (def->source.format != VIR_STORAGE_REV_FSPOOL_AUTO)
        virBufferAsprintf(buf, "<format type='%s'/>\n",
                          virStorageRevFspoolFormatTypeToString(def->source.format));
    virBufferEscapeString(buf, "<protocol ver='%s'/>\n", def->source.protocolVer);
}


/**
 * virStorageRevPoolFormatMountOptions:
 * @buf: where to print
 * @data: virStorageRevPool
 *
 * Prints <fs:mount_opts>, when there are any.
 *
 * Returns 0
 */
int
virStorageRevPoolFormatMountOptions(virBuffer *buf,
                                    void *data)
{
    g_auto(virBuffer) options = VIR_BUFFER_INIT_CHILD(buf);
    virStorageRevPool *pool = data;
    char **option;

    for (option = pool->mountOptions; option && *option; option++)
        virBufferEscapeString(&options, "<fs:option name='%s'/>\n", *option);
    virXMLFormatElement(buf, "fs:mount_opts", NULL, &options);
    return 0;
}


/**
 * virStorageRevPoolFormatSource:
 * @buf: where to print
 * @def: pool definition
 *
 * Prints the whole <source> of the types whose source the generic code does not know.
 *
 * Returns 1 if that was done, 0 if the generic code has to
 */
int
virStorageRevPoolFormatSource(virBuffer *buf,
                              virStoragePoolDef *def)
{
    g_auto(virBuffer) source = VIR_BUFFER_INIT_CHILD(buf);

    if (def->type == VIR_STORAGE_POOL_QUBES_THIN)
        virStorageRevPoolFormatThin(&source, def);
    else if (def->type == VIR_STORAGE_POOL_FSPOOL)
        virStorageRevPoolFormatFspool(&source, def);
    else
        return 0;

    virXMLFormatElement(buf, "source", NULL, &source);
    return 1;
}


/**
 * virStorageRevDiskCheck:
 * @poolType: type of a pool
 * @disk: disk of a domain, which is described by a volume of the pool
 *
 * Can the volume be that disk? libvirt would have a directory shown as one with a FAT file system made up for it, and a
 * revision that a machine writes to would be none.
 *
 * Returns 0, or -1 with VIR_ERR_CONFIG_UNSUPPORTED reported
 */
int
virStorageRevDiskCheck(int poolType,
                       const virStorageSource *disk)
{
    g_auto(virStorageRevName) name = { 0 };

    if (poolType == VIR_STORAGE_POOL_FSPOOL) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' is a directory, and cannot be a disk: give it to the domain as <filesystem>"),
                       disk->srcpool->volume);
        return -1;
    }
    if (!virStorageRevPoolTypeIs(poolType) || disk->readonly)
        return 0;

    if (virStorageRevNameParse(disk->srcpool->volume, &name) < 0)
        return -1;
    if (name.kind == VIR_STORAGE_REV_NUMBERED || name.kind == VIR_STORAGE_REV_PINNED) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("volume '%1$s' is a revision, which nobody may write to: make the disk <readonly/>, or clone the revision"),
                       disk->srcpool->volume);
        return -1;
    }
    return 0;
}


static bool
virStorageRevPoolHasDirectory(virStoragePoolDef *def)
{
    return def->type == VIR_STORAGE_POOL_REFLINK ||
        def->type == VIR_STORAGE_POOL_FSPOOL;
}


static bool
virStorageRevPoolSameThinPool(virStoragePoolDef *a,
                              virStoragePoolDef *b)
{
    virStorageRevPool *poolA = virStorageRevPoolGet(a);
    virStorageRevPool *poolB = virStorageRevPoolGet(b);

    return STREQ_NULLABLE(a->source.name, b->source.name) &&
        (!poolA || !poolB || STREQ_NULLABLE(poolA->thinPool, poolB->thinPool));
}


static bool
virStorageRevPoolSameFspoolSource(virStoragePoolDef *a,
                                  virStoragePoolDef *b)
{
    virStorageRevPool *poolA = virStorageRevPoolGet(a);
    virStorageRevPool *poolB = virStorageRevPoolGet(b);

    if (poolA && poolB && poolA->sourceVolume &&
        STREQ_NULLABLE(poolA->sourcePool, poolB->sourcePool) &&
        STREQ_NULLABLE(poolA->sourceVolume, poolB->sourceVolume))
        return true;

    return a->source.nhost > 0 && b->source.nhost > 0 &&
        STREQ(a->source.hosts[0].name, b->source.hosts[0].name) &&
        STREQ_NULLABLE(a->source.dir, b->source.dir);
}


/* virStorageRevPoolSourceConflict() for @a of our types and @b of any */
static bool
virStorageRevPoolSourceConflictOurs(virStoragePoolDef *a,
                                    virStoragePoolDef *b)
{
    if (a->type == VIR_STORAGE_POOL_QUBES_THIN) {
        if (b->type == VIR_STORAGE_POOL_LOGICAL)
            return STREQ_NULLABLE(a->source.name, b->source.name);

        return b->type == VIR_STORAGE_POOL_QUBES_THIN &&
            virStorageRevPoolSameThinPool(a, b);
    }

    if (!virStorageRevPoolHasDirectory(a))
        return false;

    if (a->type == VIR_STORAGE_POOL_FSPOOL && b->type == VIR_STORAGE_POOL_FSPOOL &&
        virStorageRevPoolSameFspoolSource(a, b))
        return true;

    return (virStorageRevPoolHasDirectory(b) ||
            b->type == VIR_STORAGE_POOL_DIR ||
            b->type == VIR_STORAGE_POOL_FS ||
            b->type == VIR_STORAGE_POOL_NETFS) &&
        a->target.path && STREQ_NULLABLE(a->target.path, b->target.path);
}


/**
 * virStorageRevPoolSourceConflict:
 * @a: pool definition
 * @b: another
 *
 * Two pools on one directory, or on the logical volumes of one thin pool, would each take the other's work in progress
 * for the leftovers of a crash.
 *
 * Returns true if one of the two is of our types and they cannot be on one host together
 */
bool
virStorageRevPoolSourceConflict(virStoragePoolDef *a,
                                virStoragePoolDef *b)
{
    return virStorageRevPoolSourceConflictOurs(a, b) ||
        virStorageRevPoolSourceConflictOurs(b, a);
}
