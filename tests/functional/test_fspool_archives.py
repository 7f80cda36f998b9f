# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives that nobody should trust (design section 6)."""

import gzip
import os
import stat
import subprocess
import tarfile

import libvirt
import pytest

from fsplaces import FsHome
from fstrees import (archive, destroy, folder, hard_link, listing, member,
                     put, symlink)
from pools import MIB


# The name of our attribute, as pax has it, in both of its name spaces.
OURS = {f"SCHILY__xattr__{space}__libvirt__storage": "1&gen=99&keep=9"
        for space in ("trusted", "user")}


def device(name, major, minor, kind=tarfile.CHRTYPE):
    return member(name, kind=kind, device=(major, minor))


# Each gets the folder outside, and gives the entries.
REFUSED = {
    "parent": lambda o: [member("../escaped", b"x")],
    "parent-of-a-folder": lambda o: [folder("d"),
                                     member("d/../../escaped", b"x")],
    "parent-that-stays-inside": lambda o: [folder("d"), member("d/../x")],
    "parent-itself": lambda o: [folder("..")],
    "absolute": lambda o: [member(o + "/escaped", b"x")],
    "absolute-link": lambda o: [symlink("/" + o + "/escaped", "x")],
    "through-a-link": lambda o: [symlink("l", o), member("l/escaped", b"x")],
    "through-a-relative-link": lambda o: [
        symlink("l", "../" + os.path.basename(o)), member("l/escaped", b"x")],
    "through-two-links": lambda o: [
        symlink("l", "m"), symlink("m", o), member("l/escaped", b"x")],
    "through-a-link-in-a-folder": lambda o: [
        folder("d"), symlink("d/l", o), member("d/l/sub/escaped", b"x")],
    "through-a-link-inside": lambda o: [
        folder("d"), symlink("l", "d"), member("l/file", b"x")],
    "folder-through-a-link": lambda o: [symlink("l", o), folder("l/new")],
    "folder-becomes-a-link": lambda o: [
        folder("d"), symlink("d", o), member("d/escaped", b"x")],
    "hard-link-absolute": lambda o: [hard_link("h", o + "/secret")],
    "hard-link-parent": lambda o: [
        hard_link("h", f"../{os.path.basename(o)}/secret")],
    "hard-link-through-a-link": lambda o: [symlink("l", o),
                                           hard_link("h", "l/secret")],
    "hard-link-to-a-folder": lambda o: [folder("d"), hard_link("h", "d")],
    "hard-link-to-nothing": lambda o: [hard_link("h", "absent")],
    "hard-link-to-a-later-file": lambda o: [hard_link("h", "later"),
                                            member("later", b"x")],
    "block-device": lambda o: [device("sda", 8, 0, tarfile.BLKTYPE)],
    "block-device-null": lambda o: [device("n", 1, 3, tarfile.BLKTYPE)],
    "memory": lambda o: [device("mem", 1, 1)],
    "kernel-log": lambda o: [device("kmsg", 1, 11)],
    "loop-control": lambda o: [device("loop-control", 10, 237)],
    "long-part": lambda o: [member("x" * 256, b"x")],
    "top-is-a-file": lambda o: [member(".", b"x")],
    "top-is-a-link": lambda o: [symlink(".", o)],
    "top-is-a-link-with-slash": lambda o: [symlink("./", o)],
    "top-is-a-hard-link": lambda o: [hard_link(".", o + "/secret")],
    "folder-over-a-file": lambda o: [member("x", b"x"), folder("x"),
                                     member("x/y", b"y")],
    "file-in-a-file": lambda o: [member("x", b"x"), member("x/y", b"y")],
    "file-in-a-device": lambda o: [device("n", 1, 3), member("n/y", b"y")],
    "path-in-a-header": lambda o: [member("ok", b"x", path="../escaped")],
    "link-in-a-header": lambda o: [
        member("h", kind=tarfile.LNKTYPE, linkpath=o + "/secret")],
}


@pytest.mark.needs("few")
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_archive_is_refused(fspool, outside, name):
    """Section 6: an entry that would leave the item changes nothing."""
    fspool.create("a", content="one")
    data = archive(folder("."), member("first", b"first"),
                   *REFUSED[name](outside))
    with fspool.refuses():
        fspool.upload("a", data)
    assert fspool.holds("a", "one") and fspool.revisions("a") == []
    assert not os.path.lexists(fspool.path + "/escaped")


@pytest.mark.needs("once")
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("name", ["parent", "absolute", "through-a-link",
                                  "hard-link-absolute", "memory"])
def test_older_archive_is_refused(fspool, outside, form, name):
    """Section 6: whatever form the archive has."""
    fspool.create("a", content="one")
    data = archive(*REFUSED[name](outside), form=form)
    with fspool.refuses():
        fspool.upload("a", data)


# What may be refused, or done in a way that stays inside.
HARMLESS = {
    "file-over-a-link": lambda o: [symlink("l", o + "/secret"),
                                   member("l", b"overwritten")],
    "link-over-a-link": lambda o: [symlink("l", o), symlink("l", "/")],
    "folder-over-a-link": lambda o: [symlink("l", o), folder("l", mode=0o700)],
    "fifo-over-a-file": lambda o: [member("f", b"x"),
                                   member("f", kind=tarfile.FIFOTYPE)],
    "file-over-a-fifo": lambda o: [member("f", kind=tarfile.FIFOTYPE),
                                   member("f", b"x")],
    "file-over-a-device": lambda o: [device("n", 1, 3), member("n", b"x")],
    "file-over-a-hard-link": lambda o: [member("f", b"x"), hard_link("h", "f"),
                                        member("h", b"y")],
    "file-over-a-hard-link-to-a-link": lambda o: [
        symlink("l", o + "/secret"), hard_link("h", "l"), member("h", b"y")],
    "through-a-hard-link-to-a-link": lambda o: [
        symlink("l", o), hard_link("h", "l"), member("h/escaped", b"x")],
    "folder-over-a-hard-link-to-a-link": lambda o: [
        symlink("l", o), hard_link("h", "l"), folder("h", mode=0o700)],
    "hard-link-over-a-link": lambda o: [
        symlink("l", o + "/secret"), symlink("m", "l"), hard_link("m", "l")],
    "empty-parts": lambda o: [member("d//e///f", b"x")],
    "dots": lambda o: [member("./././f", b"x")],
    "backslash": lambda o: [member("..\\f", b"x"), member("C:\\f", b"x")],
    "control": lambda o: [member("\x01\x1b[31m\n", b"x")],
    "own-folder": lambda o: [folder(".fspool"), member(".fspool/x", b"x")],
    "no-mode": lambda o: [folder("d", mode=0), member("d/f", b"x", mode=0)],
    "odd-bits": lambda o: [member("f", b"x", mode=0o7777)],
    "same-folder-twice": lambda o: [folder("d"), member("d/f"), folder("d")],
    "top-twice": lambda o: [folder("."), folder("./")],
    "deep": lambda o: [member("/".join("d" for _ in range(3000)), b"x")],
    "unknown-kind": lambda o: [member("f", b"x", kind=b"Z")],
    "huge-time": lambda o: [member("f", b"x", mtime="99999999999999999999")],
    "negative-time": lambda o: [member("f", b"x", mtime="-1.5")],
    "huge-owner": lambda o: [member("f", b"x", uid="4294967295")],
    "attributes": lambda o: [member("f", b"x", **{
        "SCHILY__xattr__user__" + "n" * 300: "v",
        "SCHILY__xattr__system__nonsense": "v"})],
    "large-attribute": lambda o: [member("f", b"x", SCHILY__xattr__user__note=
                                         "v" * 200000)],
    "many-attributes": lambda o: [member("f", b"x", **{
        f"SCHILY__xattr__user__n{i}": "v" * 100 for i in range(3000)})],
}


@pytest.mark.needs("few")
@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_archive_stays_inside(fspool, outside, name):
    """Section 6: nothing outside is read, written or removed."""
    fspool.create("a", content="one")
    data = archive(folder("."), *HARMLESS[name](outside))
    try:
        fspool.upload("a", data)
    except libvirt.libvirtError:
        assert fspool.holds("a", "one") and fspool.revisions("a") == []
    else:
        assert fspool.history("a") == ["one"]
    assert fspool.files.at_rest() == [] and fspool.names()[0] == "a"
    fspool.delete("a")
    assert fspool.files.at_rest() == []


@pytest.mark.needs("few")
def test_hard_link_to_a_link_is_the_link(fspool, outside):
    """Section 6: and not what that leads to."""
    fspool.create("a")
    fspool.upload("a", archive(symlink("l", outside + "/secret"),
                               hard_link("h", "l"), hard_link("h", "l")))
    info = os.lstat(fspool.device("a") + "/h")
    assert stat.S_ISLNK(info.st_mode) and info.st_nlink == 2
    assert os.readlink(fspool.device("a") + "/h") == outside + "/secret"


@pytest.mark.needs("local")
def test_devices_of_every_container_are_taken(fspool):
    """Upload: the few that harm nobody, and what overlays mark removals by."""
    wanted = {"null": (1, 3), "zero": (1, 5), "full": (1, 7),
              "random": (1, 8), "urandom": (1, 9), "tty": (5, 0),
              "console": (5, 1), "ptmx": (5, 2), "whiteout": (0, 0)}
    fspool.create("a")
    fspool.upload("a", archive(*(device(n, *d) for n, d in wanted.items())))
    for name, numbers in wanted.items():
        info = os.lstat(f"{fspool.device('a')}/{name}")
        assert stat.S_ISCHR(info.st_mode), name
        assert info.st_rdev == os.makedev(*numbers), name


@pytest.mark.needs("local")
@pytest.mark.parametrize("where", [".", "file", "d"])
def test_our_attribute_is_not_taken(fspool, where):
    """Section 5: facts about a volume are the pool's to tell."""
    fspool.create("a", content="one", keep=2)
    generation = fspool.generation("a")
    entries = {".": folder, "d": folder, "file": member}
    data = archive(*(make(name, **(OURS if name == where else {}))
                     for name, make in entries.items()))
    fspool.upload("a", data)
    fspool.restart()
    assert fspool.dump("a").find("revisions").get("keep") == "2"
    assert fspool.generation("a") == generation + 1
    for name in ("file", "d"):
        path = f"{fspool.device('a')}/{name}"
        assert not [n for n in os.listxattr(path) if "libvirt" in n]


def header(**changes):
    """One header, as wrong as asked for, with a right checksum."""
    info = tarfile.TarInfo("file")
    for name, value in changes.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT)


RAW = {
    "huge-size": header(size=1 << 62) + bytes(10240),
    "size-of-64-bits": header(size=(1 << 64) - 1) + bytes(10240),
    "negative-size": header(size=-1) + bytes(10240),
    "negative-mode": header(mode=-1)[:512] + bytes(10240),
    "no-data": header(size=512),
    "data-to-the-end": header(size=1024) + bytes(1024),
    "long-name-without-name": header(type=tarfile.GNUTYPE_LONGNAME, size=0)
    + bytes(1024),
    "huge-long-name": header(type=tarfile.GNUTYPE_LONGNAME, size=1 << 40)
    + bytes(10240),
    "huge-pax-header": header(type=tarfile.XHDTYPE, size=1 << 40)
    + bytes(10240),
    "broken-pax-header": header(type=tarfile.XHDTYPE, size=512)
    + b"99999999999 path=x\n".ljust(512, b"\0") + header() + bytes(1024),
    "continued-volume": header(type=b"M", size=512) + bytes(10240),
    "only-pax-headers": (header(type=tarfile.XHDTYPE, size=512)
                         + b"10 path=x\n".ljust(512, b"\0")) * 3000,
}


@pytest.mark.needs("few")
@pytest.mark.parametrize("name", sorted(RAW))
def test_malformed_archive(fspool, name):
    """Section 3: a bad archive changes nothing, and brings nobody down."""
    fspool.create("a", content="one")
    try:
        fspool.upload("a", RAW[name])
    except libvirt.libvirtError:
        assert fspool.holds("a", "one") and fspool.revisions("a") == []
    else:
        assert "size" not in name and "data" not in name
    assert fspool.daemon.conn.isAlive() and fspool.files.at_rest() == []


@pytest.mark.needs("local")
def test_sparse_bomb(fspool, fs):
    """A file of a terabyte that is all hole takes no space."""
    scratch = fs.path + "/bomb"
    os.makedirs(scratch)
    try:
        with open(scratch + "/file", "wb") as file:
            file.truncate(1 << 40)
        data = subprocess.run(["tar", "--create", "--sparse", "-C", scratch,
                               "."], capture_output=True, check=True).stdout
    finally:
        destroy(scratch)
    assert len(data) < MIB
    fspool.create("a", content="one")
    try:
        fspool.upload("a", data)
    except libvirt.libvirtError:
        assert fspool.holds("a", "one")
    else:
        info = os.stat(fspool.device("a") + "/file")
        assert info.st_size == 1 << 40 and info.st_blocks * 512 < MIB
    assert fspool.files.at_rest() == []


FOLDERS, FILES = 1000, 999  # in each


def million_entries():
    """An archive of so many, in parts."""
    for number in range(FOLDERS):
        where = f"d{number}"
        entries = [folder(where)] + [member(f"{where}/f{n}")
                                     for n in range(FILES)]
        yield b"".join(info.tobuf() for info, _ in entries)
    yield bytes(1024)


@pytest.fixture
def roomy(workspace, fspools):
    """A pool with room for a million files."""
    place = FsHome("btrfs-none", workspace, 8192 * MIB, "million.img")
    yield fspools(place.path, features="required='no'").up()
    place.close()


@pytest.mark.long
@pytest.mark.only_host
@pytest.mark.needs("once")
@pytest.mark.timeout_seconds(900)
def test_archive_of_a_million_entries(roomy, daemon):
    """Section 6: it is unpacked as it comes, and not held in memory."""
    roomy.create("a")
    stream = roomy.upload("a", b"", finish=False)
    before = most = daemon.resident()
    for part in million_entries():
        while part:
            part = part[stream.send(part):]
        most = max(most, daemon.resident())
    stream.finish()
    assert max(most, daemon.resident()) - before < 64 * MIB
    assert [len(os.listdir(f"{roomy.device('a')}/d{n}"))
            for n in range(FOLDERS)] == [FILES] * FOLDERS
    roomy.remove()


@pytest.mark.needs("limits")
def test_compressed_bomb(fspool):
    """A limit ends it; the item stays as it was."""
    fspool.create("a", 16 * MIB, content="one")
    data = gzip.compress(archive(member("zeros", bytes(256 * MIB))))
    with fspool.refuses():
        fspool.upload("a", data)
    assert fspool.holds("a", "one")


@pytest.mark.needs("limits")
def test_upload_is_staged_under_the_items_limit(fspool, fs):
    """Section 6: not even a staged tree takes more than the item may."""
    fspool.create("a", 8 * MIB)
    before = fs.free()
    with fspool.refuses():
        fspool.upload("a", archive(member("large", os.urandom(128 * MIB))))
    assert before - fs.free() < 32 * MIB


@pytest.mark.needs("local")
def test_archive_over_a_hostile_item(fspool, outside):
    """Section 6: what the item held before does not matter to an upload."""
    fspool.create("a")
    os.symlink(outside, fspool.device("a") + "/d")
    os.link(fspool.device("a") + "/d", fspool.device("a") + "/e",
            follow_symlinks=False)
    put(fspool.device("a") + "/file", b"old")
    fspool.upload("a", archive(folder("d"), member("d/secret", b"new"),
                               folder("e"), member("file", b"new")))
    assert [name for name, *_ in listing(fspool.device("a"))] == [
        b"d", b"e", b"file", b"d/secret"]
