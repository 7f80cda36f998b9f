# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad input: nothing outside is touched, no entry fails a refresh (6)."""

import os
import socket
import stat

import libvirt
import pytest

from pools import MIB, pattern, refused, volume_xml

SPACE = "trusted.libvirt.storage"


@pytest.fixture
def outside(pools):
    """A file and a folder beside the pool that nobody may touch."""
    folder = f"{pools.home}/outside-{os.urandom(4).hex()}"
    os.makedirs(folder + "/sub")
    path = folder + "/secret.img"
    with open(path, "wb") as file:
        file.write(pattern("secret"))
    before = os.stat(path)
    yield folder
    after = os.stat(path)
    assert (before.st_ino, before.st_size, before.st_mtime_ns,
            before.st_nlink, before.st_mode) == (
        after.st_ino, after.st_size, after.st_mtime_ns, after.st_nlink,
        after.st_mode)
    with open(path, "rb") as file:
        assert file.read() == pattern("secret")
    assert sorted(os.listdir(folder)) == ["secret.img", "sub"]
    assert os.listdir(folder + "/sub") == []
    with pytest.raises(OSError):
        os.getxattr(path, SPACE)


def put(path, data=b""):
    with open(path, "wb") as file:
        file.write(data)


# Symbolic links


def test_link_as_head_is_skipped(pool, outside):
    """Section 6: no symbolic link followed."""
    pool.create("a", content="one")
    os.symlink(outside + "/secret.img", pool.path + "/evil.img")
    pool.refresh()
    assert pool.names() == ["a"]


@pytest.mark.parametrize("name", ["a-dirty.img", "a-precache.img",
                                  "a.img.stage", "a.img.pin-w",
                                  "a.img.9@2024-01-01T00:00:00Z"])
def test_link_in_another_role_is_not_followed(pool, outside, name):
    """Section 6: whatever role the link's name has."""
    pool.create("a", content="one")
    os.symlink(outside + "/secret.img", f"{pool.path}/{name}")
    pool.refresh()
    for call in (lambda: pool.start("a"), lambda: pool.commit("a"),
                 lambda: pool.pin("a", "w"), lambda: pool.revert("a", 9),
                 lambda: pool.delete("a")):
        try:
            call()
        except libvirt.libvirtError:
            pass
    assert "secret" not in pool.names()


def test_dangling_link_creates_nothing(pool, outside):
    """Section 6: O_EXCL and no link followed."""
    os.symlink(outside + "/new", pool.path + "/a.img")
    os.symlink(outside + "/new2", pool.path + "/b-dirty.img")
    pool.refresh()
    with refused():
        pool.create("a")
    pool.create("b", content="one")
    try:
        pool.start("b")
    except libvirt.libvirtError:
        pass


def test_linked_folder_is_not_entered(pool, outside):
    """Section 6: symbolic links in the pool."""
    os.symlink(outside, pool.path + "/sub")
    pool.refresh()
    assert pool.names() == []
    for name in ("sub/new", "sub/sub/new", "sub/secret"):
        with refused():
            pool.create(name)


def test_folder_swapped_for_a_link(pool, outside):
    """Section 6: every path is opened relative to the pool's directory."""
    pool.create("sub/secret", content="mine")
    os.rename(pool.path + "/sub", pool.path + "/moved")
    os.symlink(outside, pool.path + "/sub")
    for call in (lambda: pool.start("sub/secret"),
                 lambda: pool.clone("sub/secret", "c"),
                 lambda: pool.pin("sub/secret", "w"),
                 lambda: pool.vol("sub/secret").wipe(0),
                 lambda: pool.vol("sub/secret").resize(3 * MIB, 0),
                 lambda: pool.delete("sub/secret")):
        with refused():
            call()


def test_head_swapped_for_a_link(pool, outside):
    """Section 6: no symbolic link followed, after the refresh either."""
    pool.create("a", content="mine")
    os.unlink(pool.files.head("a"))
    os.symlink(outside + "/secret.img", pool.files.head("a"))
    for call in (lambda: pool.start("a"), lambda: pool.clone("a", "c"),
                 lambda: pool.vol("a").resize(3 * MIB, 0),
                 lambda: pool.vol("a").wipe(0),
                 lambda: pool.pin("a", "w")):
        with refused():
            call()


def test_link_above_the_pool_is_the_administrators(pools):
    """The pool's own path is configuration; what is below it is not."""
    pool = pools()
    real = pool.path + "-real"
    os.makedirs(real)
    os.symlink(real, pool.path)
    pool.define()
    pool.virt.create(0)
    pool.create("a", content="one")
    assert os.path.exists(real + "/a.img")


def test_mount_point_is_not_crossed(pool, workspace):
    """Section 6: no mount point crossed."""
    os.makedirs(pool.path + "/mnt")
    image = workspace.image("inner-" + pool.name, "ext4", 16 * MIB)
    where = workspace.mount(image, pool.path + "/mnt")
    try:
        put(where + "/foreign.img", b"x" * 4096)
        pool.refresh()
        assert pool.names() == []
        with refused():
            pool.create("mnt/new")
    finally:
        workspace.umount(where)
        os.unlink(image)


# Hard links, special files


def test_hard_link_to_a_foreign_file(pool, outside):
    """Section 5: a head with another name is cloned apart before changes."""
    os.link(outside + "/secret.img", pool.path + "/a.img")
    try:
        pool.refresh()
        if pool.has("a"):
            pool.vol("a").resize(3 * MIB, 0)
            pool.cycle("a", "mine")
            pool.vol("a").wipe(0)
    finally:
        for name in os.listdir(pool.path):
            if name.startswith("a"):
                os.unlink(os.path.join(pool.path, name))


def test_hard_link_between_volumes(pool):
    """Hard links to other volumes: a change of one is not one of the other."""
    pool.create("a", content="one")
    pool.virt.destroy()
    os.link(pool.files.head("a"), pool.files.head("b"))
    pool.virt.create(0)
    assert pool.names() == ["a", "b"]
    pool.vol("b").wipe(0)
    pool.cycle("b", "two")
    pool.redefine("b", keep=9)
    assert pool.holds("a", "one")


def test_hard_link_of_live_and_head(pool):
    """A live file that is the head's inode is not committed over it."""
    pool.create("a", content="one")
    os.link(pool.files.head("a"), pool.files.live("a"))
    pool.refresh()
    try:
        pool.commit("a")
    except libvirt.libvirtError:
        pass
    pool.refresh()
    assert pool.holds("a", "one")


SPECIAL = {
    "fifo": lambda path: os.mkfifo(path),
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(path),
    "block": lambda path: os.mknod(path, 0o600 | stat.S_IFBLK,
                                   os.makedev(7, 0)),
    "char": lambda path: os.mknod(path, 0o600 | stat.S_IFCHR,
                                  os.makedev(1, 3)),
    "folder": os.mkdir,
}


@pytest.mark.parametrize("kind", sorted(SPECIAL))
def test_special_file_is_skipped(pool, kind):
    """Section 6: one bad file never fails a refresh, and hangs nothing."""
    pool.create("a", content="one")
    pool.create("b", content="two")
    for name in ("x.img", "a-dirty.img", "b-precache.img",
                 "a.img.7@2024-01-01T00:00:00Z", "b.img.pin-w"):
        SPECIAL[kind](f"{pool.path}/{name}")
    pool.refresh()
    assert set(pool.names()) >= {"a", "b"} and not pool.has("x")
    assert pool.holds("a", "one")
    pool.start("b")
    assert pool.holds("b@live", "two")
    with refused():
        pool.start("a")


def test_special_file_at_the_head_place(pool):
    """A head that became something else is an error, not a hang."""
    pool.create("a", content="one")
    os.unlink(pool.files.head("a"))
    os.mkfifo(pool.files.head("a"))
    for call in (lambda: pool.start("a"), lambda: pool.clone("a", "b"),
                 lambda: pool.vol("a").wipe(0)):
        with refused():
            call()
    pool.refresh()
    assert pool.names() == []


# Foreign files


def test_foreign_files_are_no_volumes(pool):
    """Section 5: names say what a file is."""
    for name in ("readme.txt", "disk.qcow2", "a.img.bak", "b.img.pin-",
                 "c.img.x@2024-01-01T00:00:00Z", ".img", "d.img~tmp",
                 "e.img.1@not-a-date", "f.IMG", "-dirty.img", "@.img",
                 "g@h.img", "i.img.0@2024-01-01T00:00:00Z",
                 "j.img.99999999999999999999999@2024-01-01T00:00:00Z"):
        put(f"{pool.path}/{name}", b"foreign")
    pool.create("real")
    with pool.untouched():
        pool.refresh()
    assert pool.names() == ["real"]


def test_bytes_that_are_no_utf8(pool):
    """A name that no document can hold is skipped."""
    folder = pool.path.encode()
    with open(folder + b"/bad\xff\xfe.img", "wb"):
        pass
    with open(folder + b"/ctrl\x01.img", "wb"):
        pass
    with open(folder + b"/nl\n.img", "wb"):
        pass
    pool.create("real")
    pool.refresh()
    assert pool.names() == ["real"]
    assert pool.virt.XMLDesc(0)


def test_file_that_is_skipped_is_named(pool):
    """What nobody can find is as good as lost."""
    os.makedirs(pool.path + "/d")
    with open(pool.path.encode() + b"/d/bad\xff\n.img", "wb"):
        pass
    before = len(pool.daemon.log())
    pool.refresh()
    (told,) = [line for line in pool.daemon.log()[before:].splitlines()
               if "bad" in line]
    assert r"'d/bad\377\n'" in told and f"'{pool.name}'" in told


def test_unreadable_bits(pool):
    """Section 6: skipped or read, not failed."""
    pool.create("a", content="one")
    os.chmod(pool.files.head("a"), 0)
    pool.refresh()
    assert pool.names() == ["a"]


@pytest.mark.slow
@pytest.mark.timeout_seconds(300)
def test_a_hundred_thousand_foreign_entries(pool):
    """100,000 entries: a refresh works, and in reasonable time."""
    pool.create("a", content="one")
    folder = os.open(pool.path, os.O_RDONLY)
    for number in range(100000):
        os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, 0o600,
                         dir_fd=folder))
    os.close(folder)
    pool.refresh()
    assert pool.names() == ["a"]
    pool.cycle("a", "two")


@pytest.mark.slow
@pytest.mark.timeout_seconds(300)
def test_a_hundred_thousand_images(pool):
    """More images than can be listed: reported, and the daemon lives."""
    pool.create("a", content="one")
    folder = os.open(pool.path, os.O_RDONLY)
    for number in range(100000):
        os.close(os.open(f"f{number}.img", os.O_CREAT | os.O_WRONLY, 0o600,
                         dir_fd=folder))
    os.close(folder)
    pool.refresh()
    assert pool.virt.isActive()
    assert len(pool.names()) <= 16384
    if pool.has("a"):
        assert pool.holds("a", "one")
        with pool.refused_over_the_limit():
            pool.start("a")


def test_deep_folders(pool):
    """A tree deeper than any path is no endless walk."""
    path = pool.path
    for _ in range(60):
        path += "/d" * 10
        os.makedirs(path, exist_ok=True)
    pool.create("a")
    pool.refresh()
    assert pool.names() == ["a"]


# Broken metadata

GOOD_START = b"1&"
BROKEN = {
    "empty": b"", "garbage": b"\x00\xff\xfe\x80", "text": b"hello",
    "version": b"2&x=y", "half": b"1&fo", "no-value": b"1&format",
    "unknown-key": b"1&unheard=of", "bad-escape": b"1&format=!zz",
    "cut-escape": b"1&format=ra!7", "huge-number": b"1&gen=" + b"9" * 60,
    "negative": b"1&gen=-4", "nul": b"1&format=raw\x00&x=y",
    "long": b"1&format=" + b"r" * 180, "far-too-long": b"1&f=" + b"x" * 3000,
    "many": b"1" + b"&k=v" * 48, "doubled": b"1&format=raw&format=qcow2",
    "path": b"1&format=raw&name=../../etc/passwd", "newline": b"1&\nformat=raw",
}


@pytest.mark.parametrize("kind", sorted(BROKEN))
def test_broken_attribute(pool, kind):
    """Section 6: half-written attributes: skipped with a warning, no crash."""
    pool.create("a", content="one", keep=2)
    pool.cycle("a", "two")
    put(pool.path + "/b.img", pattern("bee"))
    for name in (pool.files.head("a"), pool.path + "/b.img"):
        os.setxattr(name, SPACE, BROKEN[kind])
    pool.refresh()
    pool.create("c")
    assert pool.has("c")
    for name, tag in (("a", "two"), ("b", "bee")):
        if pool.has(name):
            assert pool.holds(name, tag)
            assert pool.vol(name).XMLDesc(0)
    assert len(pool.files.revision_ids("a")) == 1


def test_every_cut_of_a_real_attribute(pool):
    """A half-written attribute, for every length."""
    pool.create("s", content="src")
    pool.create("a", None, lifecycle="<lifecycle snapOnStart='yes' "
                "saveOnStop='no' source='s'/>", keep=3)
    whole = os.getxattr(pool.files.head("a"), SPACE)
    for length in range(len(whole)):
        os.setxattr(pool.files.head("a"), SPACE, whole[:length])
        pool.refresh()
        assert pool.holds("s", "src")
        if pool.has("a"):
            assert pool.holds("a", "src")


def test_broken_attribute_is_told_with_its_file(pool):
    """Section 6: a warning that can be acted on."""
    pool.create("d/a")
    os.setxattr(pool.files.head("d/a"), SPACE, BROKEN["garbage"])
    before = len(pool.daemon.log())
    pool.refresh()
    assert f"'d/a.img' in pool '{pool.name}'" in pool.daemon.log()[before:]


def test_attribute_with_another_volumes_name(pool):
    """Section 5: volume facts of a copied file are ignored."""
    pool.create("a", content="one", keep=9)
    put(pool.path + "/b.img", pattern("bee"))
    os.setxattr(pool.path + "/b.img", SPACE,
                os.getxattr(pool.files.head("a"), SPACE))
    pool.refresh()
    node = pool.dump("b").find("revisions")
    assert node is None or node.get("keep") != "9"


def test_attribute_is_short(pool):
    """Section 5: one extended attribute of at most 200 bytes."""
    name = "a" * 40 + "/" + "ü" * 40
    source = "s" * 100
    pool.create(source, content="src")
    pool.create(name, None, lifecycle="<lifecycle snapOnStart='yes' "
                f"saveOnStop='no' source='{source}'/>", keep=3)
    pool.start(name)
    for file in pool.files.all():
        try:
            value = os.getxattr(os.path.join(pool.path, file), SPACE)
        except OSError:
            continue
        assert len(value) <= 200, (file, value)
        assert value.startswith(b"1&")
        assert set(value.decode("ascii")) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
            "_+.-/=!:&#")


# Hostile documents


@pytest.mark.parametrize("xml", [
    "", "<", "<volume/>", "<pool/>", "<volume><name/></volume>",
    "<volume><name>a</name><capacity>-1</capacity></volume>",
    "<volume><name>a</name><capacity>x</capacity></volume>",
    "<volume><name>a</name><capacity unit='parsec'>1</capacity></volume>",
    "<volume><name>a</name><capacity unit='EiB'>99999</capacity></volume>",
    "<volume><name>a</name><capacity>1</capacity><lifecycle/><lifecycle/>"
    "<revisions keep='-2'/></volume>",
    "<!DOCTYPE v [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><volume><name>&e;"
    "</name><capacity>1</capacity></volume>",
    "<volume><name>a</name><capacity>1</capacity><lifecycle snapOnStart='yes'"
    " saveOnStop='no' source='../../etc/passwd'/></volume>"])
def test_hostile_document(pool, xml):
    """Section 6: refused, and nothing touched."""
    with pool.refuses():
        pool.virt.createXML(xml, 0)
    assert pool.names() == []


def test_target_path_of_the_document_is_not_used(pool, outside):
    """Section 6: nothing outside the pool."""
    pool.create("a", target=f"<path>{outside}/secret.img</path>")
    assert pool.device("a") == pool.files.head("a")
    pool.delete("a")


def test_backing_path_outside_is_not_opened_for_writing(pool, outside):
    """Section 6: nothing outside the pool is ever touched."""
    extra = (f"<backingStore><path>{outside}/secret.img</path>"
             "<format type='raw'/></backingStore>")
    try:
        pool.create("q", MIB, fmt="qcow2", extra=extra)
        pool.cycle("q", "x")
        pool.delete("q")
    except libvirt.libvirtError:
        pass


def test_very_large_document(pool):
    """No document brings the daemon down."""
    extra = "<description>" + "x" * 1000000 + "</description>"
    xml = volume_xml("a", extra=extra)
    try:
        pool.virt.createXML(xml, 0)
    except libvirt.libvirtError:
        pass
    assert pool.daemon.conn.isAlive()
