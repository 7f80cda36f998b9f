# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names and documents of items (design sections 2 and 4)."""

import os
import xml.etree.ElementTree as ET

import libvirt
import pytest

from fspoolpool import UNSUPPORTED, item_xml
from fstrees import destroy, put
from pools import INVALID, PERSISTENT, VOLATILE, refused, snapshot_of
from streams import begin_download


VALIDATE = libvirt.VIR_STORAGE_VOL_CREATE_VALIDATE
WITH_PINS = libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS
NO_LIVE = UNSUPPORTED + (INVALID, libvirt.VIR_ERR_INVALID_ARG)


def test_nested_name_makes_a_folder(fspool):
    """Section 2: parts separated by '/'; the folder is no item."""
    fspool.create("d/e/a", mode="0700")
    for name in ("d", "d/e"):
        info = os.stat(f"{fspool.path}/{name}")
        assert info.st_mode & 0o7777 == 0o711
    fspool.refresh()
    assert fspool.names() == ["d/e/a"]


def test_reading_makes_no_folder(fspool):
    """Section 3: what only reads an item leaves the pool as it is."""
    fspool.create("d/a", content="one")
    vol = fspool.vol("d/a")
    destroy(fspool.path + "/d")
    with refused():
        vol.resize(1 << 30, 0)
    with refused():
        begin_download(fspool, "d/a")
    assert not os.path.exists(fspool.path + "/d")


def test_folder_that_no_item_is_left_in_goes(fspool):
    """Section 6: a refresh brings everything to a clean state: what is only
    the way to an item does not keep a name without it."""
    fspool.create("web/data/a")
    fspool.create("web/b")
    destroy(fspool.path + "/web/data/a")
    fspool.refresh()
    assert os.listdir(fspool.path + "/web") == ["b"]
    destroy(fspool.path + "/web/b")
    fspool.refresh()
    fspool.create("web")
    assert fspool.names() == ["web"]


def test_folder_of_revisions_only_goes(fspool):
    """Section 6: revisions lie elsewhere, and need no way to an item."""
    fspool.create("web/data", content="one")
    fspool.pin("web/data", "w")
    destroy(fspool.path + "/web")
    fspool.refresh()
    fspool.clone("web/data@w", "web/other")
    destroy(fspool.path + "/web/other")
    fspool.refresh()
    fspool.create("web")
    assert fspool.holds("web/data@w", "one")


def test_head_goes_back_to_a_folder_that_has_gone(fspool):
    """Section 6: on NFS, a head that is to be replaced leaves its folder
    before there is another one; and then the daemon was killed."""
    fspool.create("d/e/a", content="one")
    place = fspool.device("d/e/a")
    mark = fspool.files.metadata(place) + "&L=."
    os.setxattr(place, fspool.files.metadata_name(place), mark.encode())
    os.rename(place, fspool.files.own + "/revisions/d%2Fe%2Fa@1")
    destroy(fspool.path + "/d")
    fspool.refresh()
    assert fspool.names() == ["d/e/a"] and fspool.holds("d/e/a", "one")


def test_folder_with_something_in_it_stays(fspool):
    """Section 6: nothing that somebody put there is removed."""
    fspool.create("d/e/a")
    put(fspool.path + "/d/note", b"mine")
    destroy(fspool.path + "/d/e/a")
    fspool.refresh()
    assert os.listdir(fspool.path + "/d") == ["note"]


def test_empty_item_is_no_folder(fspool):
    """Section 5: an item that nothing is in stays, whoever made it."""
    fspool.create("d/a")
    os.mkdir(fspool.path + "/d/b")
    os.mkdir(fspool.path + "/c")
    fspool.create("e")
    for _ in range(2):
        fspool.refresh()
        assert fspool.names() == ["c", "d/a", "d/b", "e"]
    for name in ("c/x", "d/b/x", "e/x"):
        with refused(INVALID):
            fspool.create(name)
    assert fspool.names() == ["c", "d/a", "d/b", "e"]
    assert all(os.path.isdir(fspool.device(n)) for n in fspool.names())


def test_item_in_an_item_is_refused(fspool):
    """Section 2: what is below an item is its content."""
    fspool.create("web")
    for name in ("web/x", "web/x/y"):
        with fspool.refuses():
            fspool.create(name)
    fspool.create("other")
    with fspool.refuses():
        fspool.clone("other", "web/x")


def test_item_in_place_of_a_folder_is_refused(fspool):
    """Section 2: a folder with items does not become one."""
    fspool.create("a/b")
    for again in (None, fspool.refresh):
        if again:
            again()
        with fspool.refuses():
            fspool.create("a")
    assert fspool.names() == ["a/b"]


BAD_NAMES = ["", ".", "..", "/a", "a/", "a//b", "./a", "a/.", "a/../b", "../a",
             "a@live", "a@1", "a@word", "a@", "@a", "a@b@c", "a\tb", "a\nb",
             "a\x7fb", ".fspool", ".fspool/x", ".fspool/revisions/a@1",
             "x" * 256, "a/" + "x" * 256, "a/" * 2048 + "a"]


@pytest.mark.needs("once")
@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_name_is_refused(fspool, name):
    """Section 2: refused everywhere, with nothing touched."""
    fspool.create("source", content="one")
    with fspool.refuses():
        fspool.create(name)
    if "@" in name:
        return
    with fspool.refuses():
        fspool.create_from("source", name, xml=item_xml(name))
    assert fspool.names() == ["source"]


GOOD_NAMES = ["a b", "-dash", "A", "a.img", "\u00fcber", "a&b<c>'\"", "%41",
              "a%2fb", "a_b", "~", "a\\b", "x" * 200, "a:b", "$(x)", "...",
              "revisions", "d/trash"]


@pytest.mark.needs("once")
@pytest.mark.parametrize("name", GOOD_NAMES)
def test_unusual_name_works(fspool, name):
    """Section 5: item names are encoded where they have to be."""
    fspool.create(name, content="one")
    fspool.cycle(name, "two")
    fspool.pin(name, "w")
    fspool.clone(name, "copy")
    fspool.restart()
    (ident,) = fspool.revisions(name)
    assert fspool.names() == sorted([name, f"{name}@{ident}", f"{name}@w",
                                     "copy"])
    assert fspool.holds(f"{name}@{ident}", "one")
    fspool.delete(name, WITH_PINS)
    assert fspool.names() == ["copy"] and fspool.files.kept() == []


@pytest.mark.needs("once")
def test_names_with_the_same_letters_stay_apart(fspool):
    """Section 5: the encoding is one to one."""
    names = ["d/x", "d%2fx", "d%2Fx", "d_x", "d-x", "d\\x", "d.x", "d!x"]
    for name in names:
        fspool.create(name, content=name)
        fspool.pin(name, "w")
    fspool.restart()
    for name in names:
        assert fspool.holds(f"{name}@w", name)


@pytest.mark.needs("once")
def test_longest_name(fspool):
    """Section 2: names over the limits are refused, all others work."""
    for length in (255, 251, 246, 240, 230):
        name = "n" * length
        try:
            fspool.create(name, content="one")
        except libvirt.libvirtError:
            continue
        fspool.cycle(name, "two")
        fspool.pin(name, "w" * 20)
        fspool.revert(name, fspool.revisions(name)[0])
        assert fspool.holds(name, "one")
        with fspool.refuses(match="shorter word"):
            fspool.pin(name, "w" * 60)
        return
    pytest.fail("no long name was taken")


# Documents


def test_dumped_document_is_valid_and_works(fspool):
    """Section 4: what dumpxml prints can be fed back."""
    fspool.create("d/a", content="one", keep=3, mode="0700")
    fspool.pin("d/a", "w")
    fspool.create_from("d/a", "b", VALIDATE)
    fspool.create_from("d/a", "d/a", VALIDATE)
    fspool.create_from("d/a@w", "d/a", VALIDATE)
    assert fspool.holds("b", "one")
    assert fspool.permissions("b") == (0o700, 0, 0)


def test_vol_clone_works_on_everything_listed(fspool):
    """Section 4: by an unmodified virsh."""
    fspool.create("a", content="one", keep=3)
    fspool.cycle("a", "two")
    fspool.pin("a", "word")
    fspool.create("d/b", content="three")
    for number, name in enumerate(fspool.names()):
        fspool.daemon.virsh("vol-clone", "--pool", fspool.name, "--", name,
                            f"copy{number}")
        assert fspool.tag(f"copy{number}") == fspool.tag(name) is not None


@pytest.mark.parametrize("lifecycle", [
    snapshot_of("b"), VOLATILE, "<lifecycle saveOnStop='no'/>",
    "<lifecycle snapOnStart='yes' saveOnStop='yes' source='b'/>"])
@pytest.mark.needs("once")
def test_lifecycle_is_refused(fspool, lifecycle):
    """Section 2: directories have no live copies."""
    fspool.create("b")
    with fspool.refuses():
        fspool.create("a", lifecycle=lifecycle)
    with fspool.refuses():
        fspool.redefine("b", lifecycle)
    assert fspool.names() == ["b"]


def test_persistent_lifecycle_is_no_news(fspool):
    """Section 2: persistent, the default."""
    fspool.create("a", lifecycle=PERSISTENT)
    assert fspool.has("a")


@pytest.mark.parametrize("call", ["start", "stage", "create"])
def test_live_copy_is_refused(fspool, call):
    """Section 2: a tree has no copy that a machine runs on."""
    fspool.create("a", content="one")
    fspool.create("b", content="two")
    calls = {"start": lambda: fspool.start("a"),
             "stage": lambda: fspool.stage("b", "a"),
             "create": lambda: fspool.create("c@live")}
    with fspool.refuses(*NO_LIVE, match="director" if call != "create"
                        else None):
        calls[call]()
    assert not fspool.has("a@live") and not fspool.dirty("a")


@pytest.mark.needs("once")
@pytest.mark.parametrize("part", [
    "<capacity>-1</capacity>", "<capacity>x</capacity>",
    "<capacity unit='parsec'>1</capacity>",
    "<capacity unit='EiB'>99999</capacity>", "<revisions keep='-2'/>",
    "<limits><files max='-1'/></limits>", "<limits><files max='x'/></limits>",
    "<limits><files/></limits>",
    "<target><permissions><mode>99999</mode></permissions></target>",
    "<target><permissions><mode>x</mode></permissions></target>",
    "<target><permissions><owner>x</owner></permissions></target>"])
def test_bad_document_is_refused(fspool, part):
    """Section 3: a clear error and nothing touched."""
    with fspool.refuses():
        fspool.virt.createXML(f"<volume><name>a</name>{part}</volume>", 0)
    assert fspool.names() == []


def test_unknown_flags_are_refused(fspool):
    """Flags that nobody knows are refused."""
    with fspool.refuses():
        fspool.create("a", flags=1 << 20)


def test_documents_differ_by_what_they_are(fspool):
    """Section 4: a revision's document names it, and its own path."""
    fspool.create("a", content="one")
    fspool.pin("a", "w")
    root = ET.fromstring(fspool.vol("a@w").XMLDesc(0))
    assert root.find("name").text == "a@w"
    assert root.find("target/path").text == fspool.device("a@w")
    assert fspool.device("a@w") != fspool.device("a")
