/*
 * test-chain-conf.c: backing chains of volumes, as XML
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "storage_revision_chain_conf.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_NONE

#define MEMBER(path, format, inner) \
    "<backingStore><path>" path "</path><format type='" format "'/>" inner "</backingStore>"
#define END "<backingStore/>"
#define THREE MEMBER("/c", "qcow2", MEMBER("/b", "qcow2", MEMBER("/a", "raw", END)))


static int
parseElement(const char *element,
             virStorageRevChain **chain)
{
    g_autofree char *xml = g_strdup_printf("<volume>%s</volume>", element);
    g_autoptr(xmlDoc) doc = NULL;
    g_autoptr(xmlXPathContext) ctxt = NULL;

    doc = virXMLParseStringCtxt(xml, "test", &ctxt);
    g_assert_nonnull(doc);
    return virStorageRevChainParseXML(virXPathNode("./backingStore", ctxt), ctxt, chain);
}


static virStorageRevChain *
parse(const char *element)
{
    virStorageRevChain *chain = NULL;

    g_assert_cmpint(parseElement(element, &chain), ==, 0);
    unitExpectNoError();
    return chain;
}


static char *
format(const virStorageRevChain *chain)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    g_assert_cmpint(virStorageRevChainFormat(&buf, chain, "v"), ==, 0);
    return virBufferContentAndReset(&buf);
}


static void
testNothingSaid(void)
{
    g_autoptr(virStorageRevChain) none = parse("");
    g_autoptr(virStorageRevChain) end = parse(END);
    g_autofree char *text = format(NULL);

    g_assert_null(none);
    g_assert_cmpuint(end->members->len, ==, 0);
    g_assert_false(end->isOpen);
    g_assert_cmpstr(text, ==, "<backingStore/>\n");
}


static void
testNested(void)
{
    g_autoptr(virStorageRevChain) chain = parse(THREE);
    const virStorageRevChainMember *last;

    g_assert_cmpuint(chain->members->len, ==, 3);
    g_assert_false(chain->isOpen);
    last = g_ptr_array_index(chain->members, 2);
    g_assert_cmpstr(last->path, ==, "/a");
    g_assert_cmpint(last->source->format, ==, VIR_STORAGE_FILE_RAW);
}


static void
testOpenEnd(void)
{
    g_autoptr(virStorageRevChain) chain = parse(MEMBER("/c", "qcow2", ""));

    g_assert_cmpuint(chain->members->len, ==, 1);
    g_assert_true(chain->isOpen);
}


/* A disk of a domain has no <path>. */
static void
testSourceOfADomain(void)
{
    g_autoptr(virStorageRevChain) chain = parse("<backingStore type='block'><format type='raw'/><source dev='/dev/x'/>" END "</backingStore>");
    const virStorageRevChainMember *member = g_ptr_array_index(chain->members, 0);

    g_assert_cmpstr(member->path, ==, "/dev/x");
}


static void
testBadElement(void)
{
    g_autoptr(virStorageRevChain) chain = NULL;

    g_assert_cmpint(parseElement(MEMBER("/b", "qcow2", "<backingStore><format type='raw'/></backingStore>"), &chain), ==, -1);
    unitExpectError(VIR_ERR_XML_ERROR, "level 2");
    g_assert_cmpint(parseElement(MEMBER("/b", "paper", ""), &chain), ==, -1);
    unitExpectError(VIR_ERR_XML_ERROR, "'paper' in level 1");
    g_assert_null(chain);
}


static void
testFormat(void)
{
    g_autoptr(virStorageRevChain) chain = virStorageRevChainNew();
    virStorageSource *source = virStorageSourceNew();
    virStorageRevChainMember *member;
    g_autofree char *text = NULL;

    source->type = VIR_STORAGE_TYPE_BLOCK;
    source->format = VIR_STORAGE_FILE_RAW;
    source->path = g_strdup("/dev/a&b");
    member = virStorageRevChainAdd(chain, source, source->path);
    member->missing = true;
    member->pool = g_strdup("p");
    member->volume = g_strdup("x<y");

    text = format(chain);
    g_assert_cmpstr(text, ==,
                    "<backingStore type='block' state='missing'>\n"
                    "  <path>/dev/a&amp;b</path>\n"
                    "  <format type='raw'/>\n"
                    "  <source dev='/dev/a&amp;b'/>\n"
                    "  <volume pool='p' volume='x&lt;y'/>\n"
                    "  <backingStore/>\n"
                    "</backingStore>\n");
}


static void
testProblem(void)
{
    g_autoptr(virStorageRevChain) chain = virStorageRevChainNew();
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;

    chain->problem = g_strdup("leads nowhere");
    g_assert_cmpint(virStorageRevChainFormat(&buf, chain, "v"), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_FAILED, "'v': leads nowhere");
}


static void
expectDiffers(const char *wanted,
              const char *part)
{
    g_autoptr(virStorageRevChain) document = parse(wanted);
    g_autoptr(virStorageRevChain) images = parse(THREE);

    g_assert_cmpint(virStorageRevChainCheckSame(document, images, "v"), ==, -1);
    unitExpectError(VIR_ERR_INVALID_ARG, part);
}


static void
expectSame(const char *wanted)
{
    g_autoptr(virStorageRevChain) document = parse(wanted);
    g_autoptr(virStorageRevChain) images = parse(THREE);

    g_assert_cmpint(virStorageRevChainCheckSame(document, images, "v"), ==, 0);
    unitExpectNoError();
}


static void
testCheckSame(void)
{
    expectSame(THREE);
    expectSame(MEMBER("/c", "qcow2", ""));
    expectSame("<backingStore><path>/c</path></backingStore>");

    expectDiffers(MEMBER("/x", "qcow2", ""), "level 1: the document says '/x', the image '/c'");
    expectDiffers(MEMBER("/c", "raw", ""), "level 1: the document says format 'raw'");
    expectDiffers(MEMBER("/c", "qcow2", MEMBER("/b", "qed", "")), "level 2: the document says format 'qed'");
    expectDiffers(MEMBER("/c", "qcow2", END), "level 2: the document's chain has ended");
    expectDiffers(MEMBER("/c", "qcow2", MEMBER("/b", "qcow2", MEMBER("/a", "raw", MEMBER("/0", "raw", END)))),
                  "level 4: the document says '/0'");
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/chain-conf/nothing-said", testNothingSaid);
    g_test_add_func("/chain-conf/nested", testNested);
    g_test_add_func("/chain-conf/open-end", testOpenEnd);
    g_test_add_func("/chain-conf/source-of-a-domain", testSourceOfADomain);
    g_test_add_func("/chain-conf/bad-element", testBadElement);
    g_test_add_func("/chain-conf/format", testFormat);
    g_test_add_func("/chain-conf/problem", testProblem);
    g_test_add_func("/chain-conf/check-same", testCheckSame);

    return g_test_run();
}
