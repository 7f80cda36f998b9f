# SPDX-License-Identifier: LGPL-2.1-or-later
"""Backing chains of qcow2 volumes (design section 7)."""

import os
import re
import tempfile
import xml.etree.ElementTree as ET

import libvirt
import pytest

from filesystems import run
from fspoolpool import stock_pool
from pools import MIB, pattern, refused, snapshot_of, volume_xml
from streams import upload

VOL_VALIDATE = libvirt.VIR_STORAGE_VOL_CREATE_VALIDATE
SIZE = 4 * MIB
# Of the header extension that names the backing file's format (qcow2.txt).
BACKING_FORMAT = bytes.fromhex("e2792aca")
NBD = "nbd://127.0.0.1:10999/data"


def lies_on(path, fmt="raw", inner=""):
    """A <backingStore>."""
    return (f"<backingStore><path>{path}</path><format type='{fmt}'/>{inner}"
            "</backingStore>")


def image(path, backing=None, fmt="raw"):
    """A qcow2 image that names a backing file, whatever there is."""
    words = ["-u", "-b", backing, "-F", fmt] if backing else []
    run("qemu-img", "create", "-q", "-f", "qcow2", *words, str(path),
        str(SIZE))
    return path


def overlay(pool, name, backing, fmt="raw", strip=False):
    """A qcow2 volume whose header names that."""
    path = image(f"{pool.path}.new", backing, fmt)
    with open(path, "rb") as file:
        data = file.read()
    os.unlink(path)
    if strip:
        assert BACKING_FORMAT in data
        data = data.replace(BACKING_FORMAT, b"\x11\x22\x33\x44", 1)
    pool.create(name, SIZE, fmt="qcow2", keep=0)
    upload(pool, name, data)


def levels(pool, name):
    """The members of a chain, and whether it has an end."""
    found, node = [], pool.dump(name).find("backingStore")
    while node is not None and len(node):
        found.append(node)
        node = node.find("backingStore")
    return found, node is not None


def told(pool, name):
    """Path and format of each member."""
    found, ended = levels(pool, name)
    assert ended
    return [(node.findtext("path"), node.find("format").get("type"))
            for node in found]


@pytest.fixture
def stock(daemon, workspace):
    """A running stock pool."""
    with stock_pool(daemon, workspace.path + "/chain-stock") as virt:
        yield virt


@pytest.fixture(name="mid")
def mid_volume(pool, stock):
    """base ← mid, the latter in a stock pool; its path."""
    pool.create("base", SIZE)
    stock.createXML(volume_xml("mid", SIZE, fmt="qcow2",
                               extra=lies_on(pool.device("base"))), 0)
    return stock.storageVolLookupByName("mid").path()


@pytest.fixture
def chain(pool, mid):
    """base ← mid ← top, over two pools."""
    pool.create("top", SIZE, fmt="qcow2", extra=lies_on(mid, "qcow2"))
    return pool


def test_chain_over_two_pools(chain, stock, mid):
    """Nested, complete, ended, and linked to the volumes."""
    (first, second), ended = levels(chain, "top")
    assert ended
    assert first.get("type") == second.get("type") == "file"
    assert first.find("format").get("type") == "qcow2"
    assert second.find("format").get("type") == "raw"
    assert first.find("source").get("file") == mid
    assert second.find("source").get("file") == chain.device("base")
    assert first.find("volume").attrib == {"pool": stock.name(),
                                           "volume": "mid"}
    assert second.find("volume").attrib == {"pool": chain.name,
                                            "volume": "base"}


def test_first_children_are_libvirts(chain, mid):
    """As libvirt prints them, for whoever reads them today."""
    (first, _), _ = levels(chain, "top")
    assert [child.tag for child in first] == [
        "path", "format", "permissions", "timestamps", "source", "volume",
        "backingStore"]
    info = os.stat(mid)
    assert int(first.findtext("permissions/mode"), 8) == info.st_mode & 0o7777
    assert first.findtext("permissions/owner") == str(info.st_uid)
    assert float(first.findtext("timestamps/mtime")) == pytest.approx(
        info.st_mtime, abs=1e-3)


def test_volume_of_a_stopped_pool_is_not_named(chain, stock):
    """And the dump neither fails nor waits."""
    stock.destroy()
    (first, _), _ = levels(chain, "top")
    assert first.find("volume") is None
    stock.create(0)
    (first, _), _ = levels(chain, "top")
    assert first.find("volume") is not None


def test_overlay_of_an_overlay_in_the_pool_is_a_clone(chain, mid):
    """Section 3: of the same format: nothing of it is needed."""
    chain.create("new", None, fmt="qcow2",
                 extra=lies_on(chain.device("top"), "qcow2"))
    assert told(chain, "new") == told(chain, "top")


def test_live_copy_and_revisions_have_the_chain(chain):
    """They lie on the same images."""
    chain.start("top")
    chain.pin("top", "w")
    assert told(chain, "top@live") == told(chain, "top")
    assert told(chain, "top@w") == told(chain, "top")


def test_chain_is_read_anew_at_refresh(chain, mid, workspace):
    """What lies below can change."""
    other = str(image(workspace.path + "/other-base"))
    assert len(told(chain, "top")) == 2
    run("qemu-img", "rebase", "-u", "-b", other, "-F", "qcow2", mid)
    chain.refresh()
    assert told(chain, "top") == [(mid, "qcow2"), (other, "qcow2")]
    os.unlink(other)


def test_chain_survives_a_restart(chain):
    """Nothing is remembered."""
    before = told(chain, "top")
    chain.restart()
    assert told(chain, "top") == before


def test_missing_member(chain):
    """state='missing', of that member alone."""
    os.unlink(chain.device("base"))
    chain.refresh()
    found, ended = levels(chain, "top")
    assert [node.get("state") for node in found] == [None, "missing"]
    assert ended and found[1].find("format").get("type") == "raw"


def test_missing_member_with_more_behind_it(pool):
    """Nobody knows where the chain ends: a disk of a domain must not be told
    that it does."""
    overlay(pool, "top", "/nonexistent/mid", "qcow2")
    (mid,), ended = levels(pool, "top")
    assert mid.get("state") == "missing" and not ended


def test_member_on_the_network(pool):
    """As in domain XML, and not looked into."""
    overlay(pool, "top", NBD)
    (node,), ended = levels(pool, "top")
    assert ended and node.get("type") == "network"
    assert node.get("state") is None
    source = node.find("source")
    assert (source.get("protocol"), source.get("name")) == ("nbd", "data")
    host = source.find("host")
    assert (host.get("name"), host.get("port")) == ("127.0.0.1", "10999")
    assert node.find("format").get("type") == "raw"


def test_block_device(pool, workspace):
    """type='block', with dev=."""
    backing = workspace.path + "/block"
    with open(backing, "wb") as file:
        file.truncate(SIZE)
    loop = run("losetup", "--find", "--show", backing).stdout.strip()
    try:
        overlay(pool, "top", loop)
        (node,), ended = levels(pool, "top")
        assert ended and node.get("type") == "block"
        assert node.find("source").get("dev") == loop
    finally:
        run("losetup", "-d", loop)
        os.unlink(backing)


def test_unrecorded_format_is_raw(pool, workspace):
    """Never guessed: a guest may have written a header."""
    base = str(image(workspace.path + "/secret-base", "/etc/passwd"))
    overlay(pool, "top", base, strip=True)
    assert told(pool, "top") == [(base, "raw")]
    os.unlink(base)


def test_header_in_a_raw_volume_is_no_chain(pool, workspace):
    """A raw image stays raw, whatever is written to it."""
    path = image(workspace.path + "/evil", "/etc/passwd")
    with open(path, "rb") as file:
        evil = file.read()
    os.unlink(path)
    pool.create("a", SIZE)
    pool.write("a", evil)
    pool.refresh()
    assert told(pool, "a") == []
    assert pool.dump("a").find("target/format").get("type") == "raw"


@pytest.mark.parametrize("length", [1, 2, 3])
def test_loop_is_an_error_of_that_volume(pool, length):
    """The others, and the pool, know nothing of it."""
    pool.create("good", SIZE, content="one")
    names = [f"l{number}" for number in range(length)]
    for name, other in zip(names, names[1:] + names[:1]):
        overlay(pool, name, pool.files.head(other), "qcow2")
    pool.refresh()
    assert sorted(pool.names()) == sorted(["good"] + names)
    for name in names:
        with refused(match=f"{name}.*leads back to"):
            pool.dump(name)
    assert told(pool, "good") == []
    pool.delete(names[0])
    pool.refresh()
    assert all(levels(pool, name) for name in names[1:])


def test_very_long_chain_is_an_error_of_that_volume(pool, workspace):
    """As many members as libvirt takes in a domain's disk."""
    folder, below = tempfile.mkdtemp(dir=workspace.path), None
    for number in range(201):
        below = str(image(f"{folder}/{number}", below, "qcow2"))
        if number == 199:
            overlay(pool, "fits", below, "qcow2")
    overlay(pool, "over", below, "qcow2")
    assert len(told(pool, "fits")) == 200
    with refused(match="over.*more than 200"):
        pool.dump("over")
    run("rm", "-r", folder)


def test_relative_name(pool, workspace):
    """As QEMU does: from the folder of the image that has it."""
    below = tempfile.mkdtemp(dir=workspace.path)
    os.makedirs(below + "/sub")
    image(below + "/base")
    image(below + "/sub/mid", "../base", "qcow2")
    overlay(pool, "top", below + "/sub/mid", "qcow2")
    paths = [os.path.normpath(path) for path, _ in told(pool, "top")]
    assert paths == [below + "/sub/mid", below + "/base"]
    run("rm", "-r", below)


def relative_overlay(pool, name, size=SIZE):
    """A volume on a file of its folder, which the header names without it."""
    base = f"{os.path.dirname(pool.files.head(name))}/base.raw"
    pool.create(name, SIZE, fmt="qcow2", keep=0)
    with open(base, "wb") as file:
        file.write(pattern("base", size))
    data = image(f"{pool.path}.new", "base.raw")
    with open(data, "rb") as file:
        upload(pool, name, file.read())
    os.unlink(data)
    return base


def content(pool, name):
    """What a machine would read."""
    path = pool.path + ".flat"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", pool.device(name),
        path)
    with open(path, "rb") as file:
        data = file.read()
    os.unlink(path)
    return data


@pytest.mark.parametrize("name", ["b", "d/b", "d/e/b"])
def test_copy_in_another_folder_lies_on_the_same_file(pool, name):
    """Section 3: an independent clone of what there is."""
    base = relative_overlay(pool, "d/a")
    pool.clone("d/a", name)
    assert told(pool, name) == [(base, "raw")]
    assert content(pool, name) == pattern("base", SIZE)


def test_live_copy_in_another_folder_lies_on_the_same_file(pool):
    """The same of the copy that a snapshot volume starts with."""
    base = relative_overlay(pool, "d/a")
    pool.create("b", None, lifecycle=snapshot_of("d/a"))
    pool.start("b")
    assert told(pool, "b@live") == [(base, "raw")]


def test_copy_from_another_pool_lies_on_the_same_file(pool, stock):
    """No volume of this pool that happens to have that name."""
    folder = os.path.dirname(stock.createXML(
        volume_xml("base", SIZE), 0).path())
    image(folder + "/top", "base")
    stock.refresh(0)
    pool.create_from(stock.storageVolLookupByName("top"), "top")
    assert told(pool, "top") == [(folder + "/base", "raw")]
    pool.create("a", SIZE, fmt="qcow2")
    pool.stage(stock.storageVolLookupByName("top"), "a")
    assert told(pool, "a@live") == [(folder + "/base", "raw")]


def test_relative_overlay_grows(pool):
    """The name stays as it is; nothing comes to light that was cut off."""
    base = relative_overlay(pool, "d/a", 2 * SIZE)
    pool.vol("d/a").resize(2 * SIZE, 0)
    assert pool.size("d/a") == 2 * SIZE
    assert told(pool, "d/a") == [(base, "raw")]
    assert content(pool, "d/a") == pattern("base", SIZE) + bytes(SIZE)
    assert b"base.raw" in pool.read("d/a")[:65536]
    assert base.encode() not in pool.read("d/a")[:65536]


def test_larger_clone_of_a_relative_overlay(pool):
    """In its own folder, where the name stays as well, and in another."""
    base = relative_overlay(pool, "d/a", 2 * SIZE)
    for name in ("d/b", "c"):
        pool.create_from("d/a", name, xml=volume_xml(name, 2 * SIZE,
                                                     fmt="qcow2"))
        assert told(pool, name) == [(base, "raw")]
        assert content(pool, name) == pattern("base", SIZE) + bytes(SIZE)


@pytest.mark.parametrize("name", ["a", "d/a"])
def test_relative_backing_store_is_in_the_pools_folder(pool, name):
    """As in libvirt's own pools; recorded as any other."""
    pool.create("base", SIZE)
    pool.create(name, SIZE, fmt="qcow2", extra=lies_on("base.img"))
    assert told(pool, name) == [(pool.device("base"), "raw")]


def test_relative_backing_store_of_the_same_format_is_a_clone(pool):
    """Section 3: an instant clone of a volume of the pool."""
    pool.create("base", SIZE, content="base")
    pool.create("a", None, fmt="raw", extra=lies_on("base.img"))
    assert pool.holds("a", "base")


@pytest.mark.parametrize("path", ["/nowhere/base.img", "nowhere.img"])
def test_missing_backing_store_is_named(pool, path):
    """No process, no number of an open file."""
    with pool.refuses(match="'a'.*nowhere.*No such file") as info:
        pool.create("a", SIZE, fmt="qcow2", extra=lies_on(path))
    assert "/proc/" not in str(info.value)


def test_backing_store_of_another_format_is_refused(pool, workspace):
    """With what qemu-img says of it."""
    other = workspace.path + "/no-qcow2"
    with open(other, "wb") as file:
        file.truncate(SIZE)
    with pool.refuses(match="'a': Image is not in qcow2 format"):
        pool.create("a", SIZE, fmt="qcow2", extra=lies_on(other, "qcow2"))
    os.unlink(other)


@pytest.mark.parametrize("relative", [True, False])
def test_new_size_without_the_backing_file_is_refused(pool, relative):
    """What it lies on tells what is to be hidden."""
    base = relative_overlay(pool, "a")
    if not relative:
        overlay(pool, "b", base)
    os.unlink(base)
    name = "a" if relative else "b"
    with pool.refuses(match=f"'{name}'.*'{base}'.*No such file"):
        pool.vol(name).resize(2 * SIZE, 0)


def test_json_name(pool, workspace):
    """What QEMU writes for a node of its block graph."""
    base = str(image(workspace.path + "/json-base"))
    overlay(pool, "top", 'json:{"driver": "qcow2", "file": {"driver": "file",'
            f' "filename": "{base}"}}}}', "qcow2")
    assert told(pool, "top") == [(base, "qcow2")]
    os.unlink(base)


def test_json_name_that_libvirt_does_not_know(pool):
    """The chain is open there, and nothing fails."""
    overlay(pool, "top", 'json:{"driver": "null-co", "size": 4096}', "raw")
    pool.refresh()
    found, ended = levels(pool, "top")
    assert found == [] and not ended


@pytest.mark.parametrize("kind", ["fifo", "folder", "text"])
def test_member_that_is_no_image(pool, workspace, kind):
    """Nothing waits, nothing fails."""
    backing = workspace.path + "/odd-" + kind
    if kind == "fifo":
        os.mkfifo(backing)
    elif kind == "folder":
        os.mkdir(backing)
    else:
        with open(backing, "w", encoding="ascii") as file:
            file.write("no image at all")
    overlay(pool, "top", backing, "qcow2")
    pool.refresh()
    found, _ = levels(pool, "top")
    assert len(found) == 1 and found[0].findtext("path") == backing
    run("rm", "-r", backing)


def test_every_chain_validates(chain):
    """Network members as well; the document can be fed back."""
    overlay(chain, "net", NBD)
    overlay(chain, "gone", "/nonexistent/mid", "qcow2")
    for name in ("top", "base", "net", "gone"):
        chain.clone(name, name + "-copy", flags=VOL_VALIDATE)
        (one, ends), (other, _) = (levels(chain, n)
                                   for n in (name, name + "-copy"))
        assert ends == (name != "gone")
        assert [ET.tostring(n) for n in one] == [ET.tostring(n)
                                                 for n in other]


# Comparing a document with the images


@pytest.fixture(name="nested")
def nested_elements(chain, mid):
    """What a new overlay on mid is to lie on."""
    return lies_on(mid, "qcow2", lies_on(chain.device("base"), "raw",
                                         "<backingStore/>"))


def create(pool, name, extra, flags=VOL_VALIDATE):
    """vol-create --validate"""
    pool.virt.createXML(volume_xml(name, SIZE, fmt="qcow2", extra=extra),
                        flags)


def test_validate_accepts_what_is_so(chain, nested):
    """And records the formats."""
    create(chain, "new", nested)
    assert told(chain, "new") == told(chain, "top")


def test_validate_accepts_what_was_printed(chain):
    """The chain of one volume, for another one."""
    text = chain.vol("top").XMLDesc(0)
    extra = text[text.index("<backingStore"):text.rindex("</volume>")]
    create(chain, "new", extra)
    assert told(chain, "new") == told(chain, "top")


@pytest.mark.parametrize("change,level", [
    (lambda xml: re.sub(".*<format type='qcow2'/>(.*)</backingStore>",
                        r"\1", xml).replace("'raw'", "'qcow2'"), 1),
    (lambda xml: xml.replace("'raw'", "'qcow2'"), 2),
    (lambda xml: xml.replace("/base.img<", "/elsewhere<"), 2),
    (lambda xml: xml.replace("<backingStore/>", lies_on("/more")), 3),
    (lambda xml: re.sub("(<format type='qcow2'/>).*", r"\1<backingStore/>"
                        "</backingStore>", xml), 2),
], ids=["format", "format below", "path", "longer", "shorter"])
def test_validate_names_the_level(chain, nested, change, level):
    """What differs is refused, and nothing is made."""
    assert change(nested) != nested
    with chain.refuses(match=f"level {level}"):
        create(chain, "new", change(nested))
    assert not chain.has("new")


def test_without_validate_nothing_is_compared(chain, nested):
    """Only the first level says what is to be made."""
    create(chain, "new", nested.replace("'raw'", "'qcow2'"), 0)
    assert told(chain, "new") == told(chain, "top")


@pytest.mark.parametrize("words", [["--backing-vol-format", "raw"], []],
                         ids=["format", "no format"])
def test_backing_vol_of_virsh(chain, daemon, words):
    """--backing-vol, with the format always recorded."""
    daemon.virsh("vol-create-as", chain.name, "new", "4M", "--format",
                 "qcow2", "--backing-vol", "base", *words)
    assert told(chain, "new") == [(chain.device("base"), "raw")]
    with open(chain.device("new"), "rb") as file:
        assert BACKING_FORMAT in file.read()


# In a domain


def test_element_works_in_a_domain(chain, daemon):
    """Copied as it is: libvirt tracks the same chain."""
    text = chain.vol("top").XMLDesc(0)
    element = text[text.index("<backingStore"):text.rindex("</volume>")]
    domain = daemon.conn.defineXMLFlags(
        "<domain type='qemu'><name>chain</name><memory>65536</memory>"
        "<os><type>hvm</type></os><devices><disk type='file' device='disk'>"
        "<driver name='qemu' type='qcow2'/>"
        f"<source file='{chain.device('top')}'/>{element}"
        "<target dev='vda' bus='virtio'/></disk></devices></domain>",
        libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    try:
        node = ET.fromstring(domain.XMLDesc(0)).find(".//disk/backingStore")
        tracked = []
        while len(node):
            tracked.append((node.find("source").get("file"),
                            node.find("format").get("type")))
            node = node.find("backingStore")
        assert tracked == told(chain, "top")
    finally:
        domain.undefine()


def test_overlay_reads_through(chain):
    """The data of all levels is there."""
    chain.write("base", pattern("b", MIB))
    out = run("qemu-img", "convert", "-O", "raw", chain.device("top"),
              chain.path + ".raw")
    assert out.returncode == 0
    with open(chain.path + ".raw", "rb") as file:
        assert file.read(MIB) == pattern("b", MIB)
    os.unlink(chain.path + ".raw")
