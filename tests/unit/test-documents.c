/*
 * test-documents.c: the parser and the schemas agree about tests/schema
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * There is one test for each valid document. The first words of a volume document's file name are the type of pool.
 */

#include <config.h>

#include "unit.h"

#include "storage_revision_conf.h"
#include "virerror.h"
#include "virfile.h"
#include "virxml.h"

#define DOCUMENTS REVISIONS_SRCDIR "/tests/schema"

static const char *schemas;


static void
schemaErrorQuiet(void *opaque G_GNUC_UNUSED,
                 const char *format G_GNUC_UNUSED,
                 ...)
{
}


static bool
isValid(const char *text,
        const char *schema)
{
    g_autofree char *path = g_build_filename(schemas, schema, NULL);
    xmlRelaxNGParserCtxtPtr parser = xmlRelaxNGNewParserCtxt(path);
    xmlRelaxNGPtr grammar = xmlRelaxNGParse(parser);
    xmlRelaxNGValidCtxtPtr validator = xmlRelaxNGNewValidCtxt(grammar);
    xmlDocPtr document = xmlReadDoc((const xmlChar *) text, NULL, NULL, 0);
    int rc;

    g_assert_nonnull(validator);
    xmlRelaxNGSetValidErrors(validator, schemaErrorQuiet, schemaErrorQuiet, NULL);
    rc = xmlRelaxNGValidateDoc(validator, document);

    xmlFreeDoc(document);
    xmlRelaxNGFreeValidCtxt(validator);
    xmlRelaxNGFree(grammar);
    xmlRelaxNGFreeParserCtxt(parser);
    return rc == 0;
}


static char *
readDocument(const char *path)
{
    char *text = NULL;

    g_assert_cmpint(virFileReadAll(path, 1024 * 1024, &text), >=, 0);
    return text;
}


static char *
printPool(const char *text)
{
    g_autoptr(virStoragePoolDef) def = virStoragePoolDefParse(text, NULL, 0);
    char *printed;

    if (!def || !(printed = virStoragePoolDefFormat(def)))
        g_error("%s\n%s", virGetLastErrorMessage(), text);
    return printed;
}


static char *
printVolume(virStoragePoolDef *pool,
            const char *text)
{
    g_autoptr(virStorageVolDef) def = virStorageVolDefParse(pool, text, NULL, VIR_VOL_XML_PARSE_NO_CAPACITY);
    char *printed;

    if (!def || !(printed = virStorageVolDefFormat(pool, def)))
        g_error("%s\n%s", virGetLastErrorMessage(), text);
    return printed;
}


static void
testPool(gconstpointer path)
{
    g_autofree char *text = readDocument(path);
    g_autofree char *printed = printPool(text);
    g_autofree char *again = printPool(printed);

    g_assert_cmpstr(again, ==, printed);
    g_test_message("%s", printed);
    g_assert_true(isValid(printed, "storagepool.rng"));
}


static int
poolTypeOfVolume(const char *path)
{
    g_autofree char *name = g_path_get_basename(path);
    int type;

    for (type = 0; type < VIR_STORAGE_POOL_LAST; type++) {
        if (virStorageRevPoolTypeIs(type) &&
            STRPREFIX(name, virStoragePoolTypeToString(type)))
            return type;
    }
    g_error("%s does not start with a type of pool", name);
}


static void
testVolume(gconstpointer path)
{
    virStoragePoolDef pool = { .type = poolTypeOfVolume(path) };
    g_autofree char *text = readDocument(path);
    g_autofree char *printed = printVolume(&pool, text);
    g_autofree char *again = printVolume(&pool, printed);

    g_assert_cmpstr(again, ==, printed);
    g_test_message("%s", printed);
    g_assert_true(isValid(printed, "storagevol.rng"));
}


static void
addDocuments(const char *kind,
             GTestDataFunc test,
             GPtrArray *paths)
{
    g_autofree char *folder = g_build_filename(DOCUMENTS, kind, "valid", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *label = g_strdup_printf("/%s/%s", kind, name);
        char *path = g_build_filename(folder, name, NULL);

        g_ptr_array_add(paths, path);
        g_test_add_data_func(label, path, test);
    }
}


int
main(int argc,
     char **argv)
{
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *folder = NULL;
    const char *tree = g_getenv("abs_top_srcdir");

    unitInit(&argc, &argv);

    if (!tree)
        g_error("abs_top_srcdir, the tree of libvirt, is not in the environment");
    schemas = folder = g_build_filename(tree, "src", "conf", "schemas", NULL);

    addDocuments("pool", testPool, paths);
    addDocuments("vol", testVolume, paths);
    return g_test_run();
}
