# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pool and volume documents (design section 4)."""

import os
import xml.etree.ElementTree as ET

import libvirt
import pytest

from pools import MIB, VOLATILE, refused, snapshot_of, volume_xml

POOL_VALIDATE = libvirt.VIR_STORAGE_POOL_DEFINE_VALIDATE
VOL_VALIDATE = libvirt.VIR_STORAGE_VOL_CREATE_VALIDATE


@pytest.fixture
def define(daemon, workspace):
    """Define pools for their documents only."""
    made = []

    def make(text, flags=POOL_VALIDATE):
        virt = daemon.conn.storagePoolDefineXML(text, flags)
        made.append(virt)
        return virt

    yield make
    for virt in made:
        try:
            virt.undefine()
        except libvirt.libvirtError:
            pass


def pool_document(inner="", features="", name="doc", path="/nonexistent/doc"):
    return (f"<pool type='reflink'><name>{name}</name>{features}{inner}"
            f"<target><path>{path}</path></target></pool>")


@pytest.mark.parametrize("features,inner", [
    ("", ""),
    ("<features><reflink required='yes'/></features>", ""),
    ("<features><reflink required='no'/></features>", ""),
    ("", "<revisions keep='2'/>"), ("", "<revisions keep='0'/>"),
    ("", "<revisions list='no'/>"), ("", "<revisions keep='7' list='yes'/>"),
    ("<features><reflink required='no'/></features>",
     "<revisions keep='2' list='no'/>")])
def test_pool_document_round_trip(define, features, inner):
    """Section 4: what is defined is what is printed, valid by the schema."""
    virt = define(pool_document(inner, features))
    root = ET.fromstring(virt.XMLDesc(0))
    assert root.get("type") == "reflink"
    if inner:
        wanted = ET.fromstring(inner).attrib
        got = root.find("revisions").attrib
        assert {k: got.get(k) for k in wanted} == wanted
    if features:
        wanted = ET.fromstring(features).find("reflink").get("required")
        assert root.find("features/reflink").get("required") == wanted
    again = define(virt.XMLDesc(libvirt.VIR_STORAGE_XML_INACTIVE))
    assert again.XMLDesc(0) == virt.XMLDesc(0)


@pytest.mark.parametrize("features,inner", [
    ("", "<revisions keep='x'/>"), ("", "<revisions keep='-1'/>"),
    ("", "<revisions list='maybe'/>"),
    ("<features><reflink required='maybe'/></features>", "")])
@pytest.mark.parametrize("flags", [0, POOL_VALIDATE])
def test_bad_pool_document_is_refused(define, features, inner, flags):
    """Section 4: refused with and without validation."""
    with refused():
        define(pool_document(inner, features), flags)


@pytest.mark.parametrize("inner", [
    "<revisions keep='1'><revision name='x@1'/></revisions>",
    "<revisions kept='1'/>", "<unheard-of/>"])
def test_document_against_the_schema_is_refused(define, inner):
    """Section 4: --validate works for pool-define."""
    with refused(libvirt.VIR_ERR_XML_INVALID_SCHEMA):
        define(pool_document(inner))


def test_pool_needs_a_target(define):
    """A pool without a directory is none."""
    with refused():
        define("<pool type='reflink'><name>doc</name></pool>", 0)


def test_relative_target_is_refused(define):
    """Section 6: a pool's directory is an absolute path."""
    with refused():
        virt = define(pool_document(path="relative/path"), 0)
        virt.build(0)


def test_documents_of_the_other_types_validate(define):
    """Section 4: all three types are described."""
    for text in (
            "<pool type='qubes-thin'><name>doc-qt</name><revisions keep='3'/>"
            "<source><device path='/dev/sdb'/><name>qubes_dom0</name>"
            "<thinPool name='vm-pool' activation='live'/></source></pool>",
            "<pool type='fspool'><name>doc-fs</name><target>"
            "<path>/nonexistent/doc-fs</path></target></pool>",
            "<pool type='fspool'><name>doc-fs2</name><source>"
            "<volume pool='vmpool' volume='fsdata'/><format type='ext4'/>"
            "</source><target><path>/nonexistent/doc-fs2</path></target>"
            "</pool>"):
        try:
            virt = define(text)
        except libvirt.libvirtError as error:
            assert error.get_error_code() != (
                libvirt.VIR_ERR_XML_INVALID_SCHEMA), error
        else:
            assert define(virt.XMLDesc(0))


def test_virsh_validate(daemon, tmp_path, define):
    """Section 4: --validate of an unmodified virsh."""
    file = tmp_path / "p.xml"
    file.write_text(pool_document("<revisions keep='2'/>", name="doc-v",
                                  path="/nonexistent/v"))
    daemon.virsh("pool-define", "--validate", str(file))
    daemon.conn.storagePoolLookupByName("doc-v").undefine()
    file.write_text(pool_document("<revisions keeps='2'/>", name="doc-v"))
    assert daemon.virsh("pool-define", "--validate", str(file),
                        check=False).returncode != 0


# Volumes


def everything(pool):
    """One volume of each kind."""
    pool.create("s", content="one")
    pool.create("p", content="two", keep=3)
    pool.cycle("p", "three")
    pool.cycle("p", "four")
    pool.pin("p", "word")
    pool.start("p")
    pool.create("v", lifecycle=VOLATILE)
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.start("n")
    if pool.TYPE == "reflink":
        pool.create("q", 4 * MIB, fmt="qcow2")
        pool.clone("p", "c/d/e")
    return pool.names()


def test_every_dumped_document_is_valid(pool):
    """Section 4: what dumpxml prints can be fed back, under --validate."""
    for number, name in enumerate(everything(pool)):
        pool.clone(name, f"copy{number}", flags=VOL_VALIDATE)
        assert pool.read(f"copy{number}") == pool.read(name), name


def test_every_dumped_document_is_valid_for_create(pool):
    """Section 4: vol-create --validate (stock 9.0.0 has a bug there)."""
    for number, name in enumerate(everything(pool)):
        root = ET.fromstring(pool.vol(name).XMLDesc(0))
        root.find("name").text = f"new{number}"
        pool.virt.createXML(ET.tostring(root, encoding="unicode"),
                            VOL_VALIDATE)
        assert pool.has(f"new{number}")


def test_output_only_parts_are_ignored_on_input(pool):
    """Section 4: output-only parts are ignored."""
    extra = ("<revisions keep='2'><revision name='a@7' id='7' created="
             "'2026-11-20T18:00:00Z' superseded='2026-11-20T19:00:00Z' "
             "pinned='no'/></revisions>"
             "<state dirty='yes' outdated='yes' generation='88'/>"
             "<origin volume='evil' generation='3'/>")
    pool.virt.createXML(volume_xml("a", extra=extra), VOL_VALIDATE)
    assert pool.state("a")[:2] == (False, False)
    assert pool.generation("a") < 88
    assert pool.revisions("a") == [] and pool.dump("a").find("origin") is None
    assert pool.dump("a").find("revisions").get("keep") == "2"


@pytest.mark.parametrize("extra", [
    "<lifecycle snapOnStart='maybe'/>", "<revisions keep='-1'/>",
    "<lifecycle snaponstart='no'/>", "<state dirty='perhaps'/>",
    "<unheard-of/>"])
def test_document_against_the_schema_is_refused_for_volumes(pool, extra):
    """Section 4: --validate works for vol-create."""
    with pool.refuses(libvirt.VIR_ERR_XML_INVALID_SCHEMA):
        pool.virt.createXML(volume_xml("a", extra=extra), VOL_VALIDATE)


def test_schema_for_create_from(pool):
    """Section 4: --validate works for vol-create-from."""
    pool.create("a", content="one")
    with pool.refuses(libvirt.VIR_ERR_XML_INVALID_SCHEMA):
        pool.create_from("a", "b", VOL_VALIDATE,
                         volume_xml("b", extra="<unheard-of/>"))
    pool.create_from("a", "b", VOL_VALIDATE, volume_xml("b"))
    assert pool.holds("b", "one")


def test_names_with_slash_are_valid(pool):
    """Section 4: names with / validate."""
    pool.create("a/b/c", flags=VOL_VALIDATE)
    pool.create_from("a/b/c", "a/b/c@live", VOL_VALIDATE)
    assert pool.dirty("a/b/c")


def test_whole_cycle_validates(pool):
    """Section 4: every operation's document."""
    pool.create("a", content="one", flags=VOL_VALIDATE)
    pool.create_from("a", "a@live", VOL_VALIDATE)
    pool.write("a@live", b"x" * MIB)
    pool.create_from("a@live", "a", VOL_VALIDATE)
    (ident,) = pool.revisions("a")
    pool.create_from("a", "a@word", VOL_VALIDATE)
    pool.create_from(f"a@{ident}", "a", VOL_VALIDATE)
    pool.create_from("a", "a", VOL_VALIDATE)
    assert pool.holds("a", "one")


def test_type_of_volumes(pool):
    """Section 4: <volume type='file|block|dir'>."""
    pool.create("a")
    assert pool.dump("a").get("type") == {
        libvirt.VIR_STORAGE_VOL_FILE: "file",
        libvirt.VIR_STORAGE_VOL_BLOCK: "block"}[pool.VOLUME_KIND]


def test_capacity_units(pool):
    """Stock: scaled integers."""
    pool.virt.createXML("<volume><name>a</name><capacity unit='MiB'>3"
                        "</capacity></volume>", VOL_VALIDATE)
    assert pool.size("a") == 3 * MIB


def test_lifecycle_round_trip(pool):
    """Section 4: <lifecycle>."""
    everything(pool)
    pool.restart()
    expected = {"n": ("yes", "no", "s"), "v": ("no", "no", None)}
    for name, wanted in expected.items():
        node = pool.dump(name).find("lifecycle")
        assert (node.get("snapOnStart"), node.get("saveOnStop"),
                node.get("source")) == wanted


def test_documents_survive_a_restart(pool):
    """Section 5: metadata travels with the storage."""
    names = everything(pool)

    def documents():
        found = {}
        for name in names:
            root = pool.dump(name)
            for tag in ("allocation", "target/timestamps"):
                node = root.find(tag)
                if node is not None:
                    parent = root if "/" not in tag else root.find("target")
                    parent.remove(node)
            found[name] = ET.tostring(root, encoding="unicode")
        return found

    before = documents()
    pool.restart()
    assert documents() == before


def test_special_characters_are_escaped(pool):
    """Names with XML's own characters."""
    pool.create("a&b<c>'\"", content="one")
    pool.cycle("a&b<c>'\"", "two")
    pool.clone("a&b<c>'\"", "x")
    assert pool.dump("x").find("origin").get("volume") == "a&b<c>'\""


def test_revision_element(pool):
    """Section 4: the attributes of <revision>."""
    everything(pool)
    for node in pool.revision_nodes("p"):
        assert node.get("pinned") in ("yes", "no")
        assert node.get("name").startswith("p@")
        for moment in ("created", "superseded"):
            assert node.get(moment) is None or node.get(moment).endswith("Z")
    assert {n.get("pinned") for n in pool.revision_nodes("p")} == {"yes", "no"}


def test_stock_documents_do_not_change(daemon, workspace):
    """Section 7: the stock pool types' output does not change."""
    xml = (f"<pool type='dir'><name>stock-doc</name><target><path>"
           f"{workspace.path}</path></target></pool>")
    stock = daemon.conn.storagePoolDefineXML(xml, POOL_VALIDATE)
    try:
        root = ET.fromstring(stock.XMLDesc(0))
        assert [n.tag for n in root] == ["name", "uuid", "capacity",
                                         "allocation", "available", "source",
                                         "target"]
    finally:
        stock.undefine()


def test_chain_of_a_qcow2_overlay(pool):
    """Section 7: nested as in domain XML, ended by an empty backingStore."""
    pool.create("base", 4 * MIB, content="b")
    backing = (f"<backingStore><path>{pool.files.head('base')}</path>"
               "<format type='raw'/></backingStore>")
    pool.create("mid", 4 * MIB, fmt="qcow2", extra=backing)
    node = pool.dump("mid").find("backingStore")
    assert node.get("type") == "file"
    assert node.find("path").text == pool.files.head("base")
    assert node.find("format").get("type") == "raw"
    assert node.find("source").get("file") == pool.files.head("base")
    assert node.find("volume").attrib == {"pool": pool.name, "volume": "base"}
    last = node.find("backingStore")
    assert last is not None and len(last) == 0


def test_missing_chain_member(pool):
    """Section 7: reported with state='missing'."""
    pool.create("base", 4 * MIB, content="b")
    backing = (f"<backingStore><path>{pool.files.head('base')}</path>"
               "<format type='raw'/></backingStore>")
    pool.create("q", 4 * MIB, fmt="qcow2", extra=backing)
    os.unlink(pool.files.head("base"))
    pool.refresh()
    assert pool.names() == ["q"]
    assert pool.dump("q").find("backingStore").get("state") == "missing"
