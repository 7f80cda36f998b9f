# SPDX-License-Identifier: LGPL-2.1-or-later
"""create-from an item to a new name (design section 3, second row)."""

import os
import socket
import stat

import libvirt
import pytest

from fspoolpool import item_xml, stock_pool
from fstrees import ACL, ODD_NAMES, SPARSE, fill, listing, put
from filesystems import run
from pools import EXIST, MIB, refused, volume_xml, wait_for



def test_clone_has_the_content(fspool):
    """Section 3: an instant, independent clone."""
    fspool.create("a", content="one")
    vol = fspool.clone("a", "b")
    assert vol.path() == fspool.path + "/b" and fspool.holds("b", "one")


def test_clone_is_independent(fspool):
    """Section 3: independent both ways."""
    fspool.create("a", content="one")
    fspool.clone("a", "b")
    fspool.write("a", "two")
    assert fspool.holds("b", "one")
    fspool.write("b", "three")
    fspool.cycle("b", "four")
    assert fspool.holds("a", "two")
    fspool.delete("a")
    fspool.refresh()
    assert fspool.holds("b", "four")


def test_clone_of_a_clone_outlives_both(fspool):
    """Section 3: independent."""
    fspool.create("a", content="one")
    fspool.clone("a", "b")
    fspool.clone("b", "c")
    fspool.delete("b")
    fspool.delete("a")
    assert fspool.files.at_rest() == []
    assert fspool.names() == ["c"] and fspool.holds("c", "one")


@pytest.mark.needs("clones")
def test_clone_takes_no_space(fspool, fs):
    """Section 1: instant clones."""
    fspool.create("a")
    put(fspool.device("a") + "/big", os.urandom(64 * MIB))
    before = fs.free()
    fspool.clone("a", "b")
    assert before - fs.free() < 16 * MIB


def test_clone_of_a_revision(fspool):
    """Section 3: also from A@ID."""
    fspool.create("a", content="one")
    fspool.cycle("a", "two")
    (ident,) = fspool.revisions("a")
    fspool.clone(f"a@{ident}", "b")
    assert fspool.holds("b", "one")


def test_clone_of_a_pinned_revision_can_be_written(fspool):
    """Section 3: a clone of what is read-only is not."""
    fspool.create("a", content="one")
    fspool.pin("a", "w")
    fspool.cycle("a", "two")
    fspool.clone("a@w", "b")
    assert fspool.holds("b", "one")
    fspool.write("b", "three")
    assert fspool.holds("b", "three") and fspool.holds("a@w", "one")


def test_clone_into_a_folder(fspool):
    """Section 2: a nested clone makes its folders."""
    fspool.create("a", content="one")
    fspool.clone("a", "d/e/b")
    fspool.clone("d/e/b", "c")
    fspool.refresh()
    assert fspool.names() == ["a", "c", "d/e/b"]
    assert fspool.holds("d/e/b", "one") and fspool.holds("c", "one")


def test_clone_of_an_empty_item(fspool):
    """Section 3: nothing is cloned as well."""
    fspool.create("a")
    fspool.clone("a", "b")
    assert fspool.blank("b")


def test_clone_has_no_revisions(fspool):
    """A clone is a volume of its own."""
    fspool.create("a", content="one")
    fspool.cycle("a", "two")
    fspool.pin("a", "w")
    fspool.clone("a", "b")
    assert fspool.revisions("b") == [] and fspool.pins("b") == []


def test_clone_has_the_owner_and_mode(fspool):
    """Section 4: those of the document that was printed."""
    fspool.create("a", mode="0750", owner=12, group=34)
    fspool.clone("a", "b")
    assert fspool.permissions("b") == (0o750, 12, 34)


def test_origin_is_recorded(fspool):
    """Section 4: <origin>, nested up to the first."""
    fspool.create("a", content="one")
    fspool.clone("a", "b")
    fspool.clone("b", "c")
    fspool.restart()
    node = fspool.dump("c").find("origin")
    assert node.get("volume") == "b"
    assert node.find("origin").get("volume") == "a"


def test_onto_an_existing_item_is_refused(fspool):
    """Section 3: anything else onto an existing name."""
    fspool.create("a", content="one")
    fspool.create("b", content="two")
    fspool.pin("b", "w")
    for source in ("a", "b@w"):
        with fspool.refuses(EXIST):
            fspool.create_from(source, "a" if source != "a" else "b")


def test_other_format_is_refused(fspool):
    """Section 3: asking for another format is refused."""
    fspool.create("a", content="one")
    with fspool.refuses():
        fspool.create_from("a", "b", xml=item_xml("b", fmt="raw"))


def test_missing_source_is_reported(fspool):
    """A source that went away meanwhile."""
    vol = fspool.create("a")
    os.rmdir(fspool.path + "/a")
    with refused():
        fspool.create_from(vol, "b", xml=item_xml("b"))
    assert not fspool.has("b") and fspool.files.at_rest() == []


# What a clone keeps


@pytest.fixture
def both(fspool):
    """The paths of an item with all that a tree can have, and its clone."""
    fspool.create("a")
    fill(fspool.device("a"), "everything", full=True)
    socket.socket(socket.AF_UNIX).bind(fspool.device("a") + "/socket")
    fspool.clone("a", "b")
    return fspool.device("a"), fspool.device("b")


def test_clone_keeps_everything(both):
    """Section 3: a clone is the same."""
    one, other = both
    assert listing(one) == listing(other)


def test_clone_keeps_hard_links(both):
    """Two names of a file are two names of its copy, and of no other."""
    one, other = both
    info = os.stat(other + "/data")
    assert info.st_nlink == 2
    assert info.st_ino == os.stat(other + "/sub/hard").st_ino
    assert not os.path.samefile(one + "/data", other + "/data")


@pytest.mark.needs("local")
def test_clone_keeps_attributes(both):
    """Extended attributes of files and folders."""
    _, other = both
    assert os.getxattr(other + "/data", "user.note") == b"everything"
    assert os.getxattr(other + "/sub", "user.note") == b"d"
    assert os.getxattr(other + "/data", "trusted.note") == b"\0\xff"
    assert os.getxattr(other + "/data", "security.capability")


@pytest.mark.needs("local")
def test_clone_keeps_access_lists(both):
    """ACLs, and those that a folder hands down."""
    _, other = both
    for name, kind in (("/acl", "access"), ("/sub", "default")):
        assert os.getxattr(other + name, f"system.posix_acl_{kind}") == ACL


def test_clone_keeps_owners_and_modes(both):
    """Owner, group, set-user-id and sticky bits."""
    _, other = both
    seen = {name: (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
            for name, info in ((n, os.lstat(f"{other}/{n}"))
                               for n in ("owned", "empty"))}
    assert seen == {"owned": (0o4751, 12, 34), "empty": (0o1777, 56, 78)}
    info = os.lstat(other + "/dangling")
    assert (info.st_uid, info.st_gid) == (12, 34)


@pytest.mark.needs("local")
def test_clone_keeps_holes(both):
    """Sparse files stay sparse."""
    _, other = both
    info = os.stat(other + "/sparse")
    assert info.st_size == SPARSE and info.st_blocks * 512 < MIB


def test_clone_keeps_times(both):
    """Times to the nanosecond, of folders and symbolic links too."""
    one, other = both
    for name in ("data", "sub", "sub/deeper", "link", "fifo", "empty"):
        assert (os.lstat(f"{other}/{name}").st_mtime_ns
                == os.lstat(f"{one}/{name}").st_mtime_ns), name


def test_clone_keeps_special_files(both):
    """What is no file stays what it is; nothing waits for a FIFO."""
    _, other = both
    assert stat.S_ISFIFO(os.lstat(other + "/fifo").st_mode)
    assert stat.S_ISSOCK(os.lstat(other + "/socket").st_mode)
    info = os.lstat(other + "/null")
    assert stat.S_ISCHR(info.st_mode) and info.st_rdev == os.makedev(1, 3)


def test_clone_keeps_symbolic_links(both):
    """They are not followed, and lead where they led."""
    _, other = both
    assert os.readlink(other + "/link") == "data"
    assert os.readlink(other + "/dangling") == "/nonexistent/everything"


def test_clone_keeps_odd_names(both):
    """Bytes that no document could have."""
    _, other = both
    assert set(ODD_NAMES) <= set(os.listdir(os.fsencode(other)))


def test_clone_has_no_attribute_of_the_source(fspool):
    """Section 5: volume facts are the volume's own."""
    fspool.create("a", content="one", keep=9)
    fspool.create_from("a", "b", xml=item_xml("b"))
    fspool.restart()
    node = fspool.dump("b").find("revisions")
    assert node is None or node.get("keep") != "9"


# Between pools


def test_copy_from_another_fspool(fspool, fspools):
    """Section 3: from another pool."""
    other = fspools().up()
    other.create("a")
    fill(other.device("a"), "everything", full=True)
    fspool.clone(other.vol("a"), "b")
    assert listing(fspool.device("b")) == listing(other.device("a"))
    assert fspool.files.at_rest() == []


@pytest.mark.needs("local")
def test_copy_from_another_file_system(fspool, fspools, ext4):
    """Section 3: a copy, sparse as it was."""
    other = fspools(ext4).up()
    other.create("a")
    fill(other.device("a"), "everything", full=True)
    fspool.clone(other.vol("a"), "b")
    assert fspool.holds("b", "everything")
    info = os.stat(fspool.device("b") + "/sparse")
    assert info.st_blocks * 512 < MIB


def test_copy_of_another_pools_revision(fspool, fspools):
    """Section 3: also from A@ID."""
    other = fspools().up()
    other.create("a", content="one")
    other.pin("a", "w")
    other.cycle("a", "two")
    fspool.clone(other.vol("a@w"), "b")
    assert fspool.holds("b", "one")


def test_image_does_not_become_an_item(fspool, fs, daemon):
    """Section 3: what is no tree is refused, and nothing made."""
    with stock_pool(daemon, fs.path + "/images") as stock:
        vol = stock.createXML(volume_xml("s.raw", MIB, fmt="raw"), 0)
        for name, xml in (("a", item_xml("a", MIB)), ("b", item_xml("b"))):
            with fspool.refuses():
                fspool.create_from(vol, name, xml=xml)
    assert fspool.names() == [] and fspool.files.at_rest() == []


def test_item_does_not_become_an_image(fspool, fs, daemon):
    """Section 3: the other way round, too."""
    fspool.create("a", content="one")
    with stock_pool(daemon, fs.path + "/images") as stock:
        with fspool.refuses():
            stock.createXMLFrom(volume_xml("o.raw", MIB, fmt="raw"),
                                fspool.vol("a"), 0)
        assert stock.listVolumes() == []


# What cannot be cloned


@pytest.mark.needs("btrfs")
@pytest.mark.parametrize("call", ["clone", "pin", "revert", "upload"])
def test_refused_while_subvolumes_would_be_lost(fspool, call):
    """Section 6: refused while nested subvolumes would be lost."""
    fspool.create("a", content="one")
    fspool.pin("a", "before")
    inner = fspool.device("a") + "/inner"
    run("btrfs", "subvolume", "create", inner)
    put(inner + "/file", b"precious")
    calls = {"clone": lambda: fspool.clone("a", "b"),
             "pin": lambda: fspool.pin("a", "w"),
             "revert": lambda: fspool.revert("a", "before"),
             "upload": lambda: fspool.cycle("a", "two")}
    with fspool.refuses(match="subvolume"):
        calls[call]()
    run("btrfs", "subvolume", "delete", inner)
    wait_for(lambda: not fspool.files.leftovers(), what="nothing left over")
    calls[call]()


@pytest.mark.needs("local")
@pytest.mark.parametrize("call", ["clone", "pin"])
def test_mount_in_an_item_is_not_cloned(fspool, call):
    """Section 6: no mount point crossed: refused, with what is to do."""
    fspool.create("a", content="one")
    inner = fspool.device("a") + "/sub/deeper"
    run("mount", "-t", "tmpfs", "inner", inner)
    try:
        put(inner + "/foreign", b"foreign")
        try:
            if call == "clone":
                fspool.clone("a", "b")
            else:
                fspool.pin("a", "w")
        except libvirt.libvirtError as error:
            assert "mount" in error.get_error_message()
            assert fspool.names() == ["a"] and fspool.files.at_rest() == []
            return
        # A snapshot never sees what is mounted.
        path = fspool.device("b" if call == "clone" else "a@w")
        assert not os.path.exists(path + "/sub/deeper/foreign")
    finally:
        run("umount", inner)
