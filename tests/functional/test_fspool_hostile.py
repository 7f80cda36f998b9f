# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hostile trees, links, mounts and metadata (design section 6): nothing
outside an item is ever read, written or removed by an operation on it."""

import contextlib
import multiprocessing
import os
import shutil
import socket

import libvirt
import pytest

from filesystems import run
from fspoolpool import item_xml
from fstrees import (destroy, empty, exchange, fill, make_deep, put,
                     set_immutable, tree_tar, unmount_below, walk)
from pools import MISSING, pattern, refused, wait_for
from streams import download
from test_hostile import BROKEN


local = pytest.mark.needs("local")
once = pytest.mark.needs("once")


def changes(pool, name):
    """Every operation on an item, by its name."""
    return {
        "clone": lambda: pool.clone(name, "copy"),
        "pin": lambda: pool.pin(name, "word"),
        "revert": lambda: pool.revert(name, "before"),
        "upload": lambda: pool.cycle(name, "sent"),
        "download": lambda: download(pool, name),
        "wipe": lambda: pool.vol(name).wipe(0),
        "redefine": lambda: pool.redefine(name, keep=9),
        "delete": lambda: pool.delete(
            name, libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS),
    }


CHANGES = sorted(changes(None, None))


def attempt(*calls):
    """What these do is looked at by others."""
    for call in calls:
        with contextlib.suppress(libvirt.libvirtError):
            call()


# Symbolic links


def test_link_in_the_pool_is_no_item(fspool, outside):
    """Section 6: no symbolic link followed."""
    os.symlink(outside, fspool.path + "/link")
    fspool.refresh()
    assert fspool.names() == []
    for name in ("link", "link/new", "link/sub", "link/sub/new"):
        with fspool.refuses():
            fspool.create(name)


@pytest.mark.parametrize("change", CHANGES)
def test_item_swapped_for_a_link(fspool, outside, change):
    """Section 6: not after the refresh either."""
    fspool.create("a", content="one")
    fspool.pin("a", "before")
    os.rename(fspool.path + "/a", fspool.path + "/moved")
    os.symlink(outside, fspool.path + "/a")
    attempt(changes(fspool, "a")[change])
    assert not fspool.has("copy") or not os.path.exists(
        fspool.device("copy") + "/secret")
    assert os.path.exists(fspool.path + "/moved/data")


@pytest.mark.parametrize("change", CHANGES)
def test_folder_swapped_for_a_link(fspool, outside, change):
    """Section 6: every path is opened relative to the pool's directory."""
    fspool.create("d/sub", content="one")
    fspool.pin("d/sub", "before")
    os.rename(fspool.path + "/d", fspool.path + "/moved")
    os.symlink(outside, fspool.path + "/d")
    attempt(changes(fspool, "d/sub")[change])
    assert os.path.exists(fspool.path + "/moved/sub/data")
    if fspool.has("copy"):
        assert not os.path.exists(fspool.device("copy") + "/inner")


def test_copy_from_a_folder_swapped_for_a_link(fspool, fspools, outside):
    """Section 6: no more than a clone within the pool."""
    other = fspools().up()
    other.create("d/sub", content="one")
    vol = other.vol("d/sub")
    os.rename(other.path + "/d", other.path + "/moved")
    os.symlink(outside, other.path + "/d")
    with fspool.refuses():
        fspool.clone(vol, "copy")


def test_links_in_an_item_are_not_followed(fspool, outside):
    """Section 6: an item may hold links to anywhere."""
    fspool.create("a", content="one")
    for name, target in (("l1", outside), ("l2", outside + "/secret"),
                         ("sub/l3", "../../../" + os.path.basename(outside)),
                         ("l4", "/"), ("l5", "l5"), ("l6", "."), ("l7", "..")):
        os.symlink(target, f"{fspool.device('a')}/{name}")
    before = fspool.digest("a")
    fspool.clone("a", "b")
    fspool.pin("a", "before")
    assert fspool.digest("b") == before == fspool.digest("a@before")
    for call in changes(fspool, "a").values():
        call()
    assert not fspool.has("a")
    fspool.vol("b").wipe(0)
    assert fspool.blank("b") and fspool.files.at_rest() == []


def swap_for_ever(path, one, other):
    """Exchange two entries of a directory, wherever it is moved."""
    fd = os.open(path, os.O_RDONLY)
    while True:
        exchange(fd, one, other)


@contextlib.contextmanager
def swapping(path, one, other):
    """Another process that swaps two entries as quickly as it can."""
    process = multiprocessing.Process(target=swap_for_ever,
                                      args=(path, one, other))
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


@local
@pytest.mark.slow
@pytest.mark.timeout_seconds(600)
@pytest.mark.parametrize("change", ["clone", "pin", "download", "wipe",
                                    "upload", "revert", "delete"])
def test_folder_that_is_swapped_meanwhile(fspool, outside, change):
    """Section 6: a folder that becomes a link to elsewhere, at any moment."""
    for _ in range(25):
        fspool.create("a", content="one", keep=0)
        path = fspool.device("a")
        fspool.pin("a", "before")
        os.symlink(outside, path + "/swap")
        for number in range(40):
            os.makedirs(f"{path}/victim/{number}")
            put(f"{path}/victim/{number}/secret", b"mine")
        with swapping(path, "victim", "swap"):
            attempt(changes(fspool, "a")[change])
        for name in fspool.names():
            top = os.fsencode(fspool.device(name))
            files = (os.path.join(top, n) for n in walk(top))
            secrets = [f for f in files if os.path.isfile(f)
                       and not os.path.islink(f)
                       and os.path.getsize(f) == len(pattern("secret"))]
            assert secrets == [], (name, secrets)
        attempt(lambda: fspool.delete("copy"), lambda: fspool.delete(
            "a", libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS))
        assert os.path.exists(outside + "/secret")
        wait_for(lambda: not fspool.files.leftovers(), 30, "all removed")


# The pool's own folder


@once
@pytest.mark.parametrize("name", [".fspool", ".fspool/trash",
                                  ".fspool/staging", ".fspool/revisions"])
def test_own_folder_that_is_a_link(fspool, outside, name):
    """Section 6: whatever role the link has, nobody goes there."""
    fspool.create("a", content="one")
    fspool.virt.destroy()
    place = f"{fspool.path}/{name}"
    destroy(place)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    os.symlink(outside, place)
    attempt(lambda: fspool.virt.create(0), *changes(fspool, "a").values())


@once
def test_own_folder_that_is_a_file(fspool):
    """Section 6: pool start says what is wrong, and replaces nothing."""
    fspool.virt.destroy()
    destroy(fspool.path + "/.fspool")
    put(fspool.path + "/.fspool", b"foreign")
    with refused():
        fspool.virt.create(0)
    with open(fspool.path + "/.fspool", "rb") as file:
        assert file.read() == b"foreign"


@local
@pytest.mark.parametrize("place", ["trash", "staging"])
def test_leftovers_with_links_and_mounts(fspool, outside, place):
    """Section 6: what is cleaned up may be hostile."""
    fspool.create("a", content="one")
    fspool.virt.destroy()
    folder = f"{fspool.files.own}/{place}"
    os.makedirs(folder, exist_ok=True)
    os.symlink(outside, folder + "/link")
    put(folder + "/file", b"x")
    os.mkfifo(folder + "/fifo")
    os.makedirs(folder + "/tree/sub")
    fill(folder + "/tree/sub", "rubbish", full=True)
    os.symlink(outside, folder + "/tree/link")
    os.mkdir(folder + "/mounted")
    os.mkdir(folder + "/mounted/sub")
    run("mount", "--bind", outside, folder + "/mounted/sub")
    try:
        fspool.virt.create(0)
        fspool.files.at_rest(3)
        assert os.path.exists(outside + "/secret")
    finally:
        unmount_below(fspool.files.own)
    fspool.restart()
    wait_for(lambda: not fspool.files.leftovers(), 20, "all removed")
    assert fspool.names() == ["a"] and fspool.holds("a", "one")


def test_hostile_entries_among_revisions(fspool, outside):
    """Section 6: one bad entry never fails a refresh, and is no revision."""
    fspool.create("a", content="one")
    vol = fspool.pin("a", "w")
    folder, form = os.path.split(vol.path())
    start = form.rpartition("@")[0]
    os.symlink(outside, f"{folder}/{start}@9")
    put(f"{folder}/{start}@10", b"no directory")
    os.mkfifo(f"{folder}/{start}@fifo")
    for name in (b"weird", b"x@y@z", b"\xff\xfe@1", b"@", b"@1",
                 b"..%2f..%2fx@1", start.encode() + b"@0",
                 start.encode() + b"@99999999999999999999999",
                 start.encode() + b"@01"):
        os.makedirs(os.path.join(os.fsencode(folder), name))
    fspool.restart()
    assert fspool.names() == ["a", "a@w"]
    fspool.cycle("a", "two")
    fspool.restart()
    assert fspool.holds("a@w", "one") and len(fspool.revisions("a")) == 1


# Mounts, hard links, what is no file


@pytest.fixture(params=["bind", "tmpfs"])
def mounted(request, fspool, outside):
    """An item with a mount in it: of the same file system, and of another."""
    fspool.create("a", content="one")
    fspool.pin("a", "before")
    where = fspool.device("a") + "/sub/deeper"
    run("mount", *(["--bind", outside] if request.param == "bind" else
                   ["-t", "tmpfs", "tmpfs"]), where)
    put(where + "/kept", b"kept")
    yield where
    unmount_below(fspool.path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(outside + "/kept")


@local
@pytest.mark.parametrize("change", CHANGES)
def test_mount_is_not_crossed(fspool, mounted, change):
    """Section 6: no mount point crossed: what is mounted stays."""
    fd = os.open(mounted, os.O_RDONLY)
    attempt(changes(fspool, "a")[change])
    fspool.files.at_rest(2)
    assert "kept" in os.listdir(fd)
    os.close(fd)
    for name in ("copy", "a@word"):
        if fspool.has(name):
            assert not os.path.exists(fspool.device(name)
                                      + "/sub/deeper/kept")


@local
def test_delete_after_the_unmount(fspool, mounted):
    """Section 6: what was refused, or could not end, ends then."""
    attempt(changes(fspool, "a")["delete"])
    unmount_below(fspool.path)
    fspool.refresh()
    attempt(changes(fspool, "a")["delete"])
    wait_for(lambda: not fspool.files.leftovers(), 20, "all removed")
    assert fspool.names() == [] and not os.path.exists(fspool.path + "/a")
    del mounted


@local
def test_item_that_is_a_mount(fspool, fs, outside):
    """Section 6: a mount in the pool is not its item, or is left alone."""
    os.mkdir(fspool.path + "/m")
    run("mount", "--bind", outside, fspool.path + "/m")
    try:
        fspool.refresh()
        fspool.restart()
        if fspool.has("m"):
            attempt(*changes(fspool, "m").values())
        with refused():
            fspool.create("m/new")
        assert sorted(os.listdir(outside)) == ["secret", "sub"]
    finally:
        run("umount", fspool.path + "/m")
    assert fs.path


@pytest.mark.parametrize("reason", ["mount", "immutable"])
def test_item_that_cannot_be_deleted_keeps_its_revisions(fspool, outside,
                                                         reason):
    """Nothing is removed of a volume that cannot be removed whole."""
    fspool.create("a", content="one")
    fspool.pin("a", "w")
    fspool.cycle("a", "two")
    head = fspool.device("a")
    fd = os.open(head, os.O_RDONLY)
    if reason == "mount":
        run("mount", "--bind", outside, head)
    else:
        set_immutable(fd, True)
    try:
        for flags in (0, libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS):
            with refused(match="a"):
                fspool.delete("a", flags)
    finally:
        if reason == "mount":
            run("umount", head)
        else:
            set_immutable(fd, False)
        os.close(fd)
    fspool.refresh()
    assert fspool.holds("a", "two") and fspool.holds("a@w", "one")
    assert fspool.revisions("a") == [1]
    fspool.delete("a", libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)
    assert fspool.names() == []


@local
def test_hard_link_to_a_file_outside(fspool, fs):
    """Section 6: a second name is removed, the file is not written to."""
    foreign = fs.path + "/foreign"
    put(foreign, b"foreign")
    os.chmod(foreign, 0o604)
    info = os.stat(foreign)
    try:
        for name in ("a", "b"):
            fspool.create(name)
            try:
                os.link(foreign, fspool.device(name) + "/hard")
            except OSError:
                return  # of another project or subvolume
        for change in ("clone", "pin", "upload", "download"):
            changes(fspool, "a")[change]()
        fspool.vol("b").wipe(0)
        fspool.delete("b")
        with open(foreign, "rb") as file:
            assert file.read() == b"foreign"
        now = os.stat(foreign)
        assert (now.st_mode, now.st_mtime_ns) == (info.st_mode,
                                                  info.st_mtime_ns)
    finally:
        os.unlink(foreign)


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_waits_for_a_fifo(fspool, change):
    """FIFOs and sockets in an item are never opened."""
    fspool.create("a", content="one")
    fspool.pin("a", "before")
    for name in ("/fifo", "/sub/fifo"):
        os.mkfifo(fspool.device("a") + name)
    socket.socket(socket.AF_UNIX).bind(fspool.device("a") + "/socket")
    changes(fspool, "a")[change]()


@pytest.mark.needs("few")
@pytest.mark.parametrize("kind", ["fifo", "file", "nothing"])
@pytest.mark.parametrize("change", [c for c in CHANGES if c != "delete"])
def test_item_that_is_no_directory_any_more(fspool, kind, change):
    """Section 6: an error, and no hang."""
    fspool.create("a")
    fspool.pin("a", "before")
    empty(fspool.path + "/a")
    os.rmdir(fspool.path + "/a")
    if kind == "fifo":
        os.mkfifo(fspool.path + "/a")
    elif kind == "file":
        put(fspool.path + "/a", b"foreign")
    if change == "revert" and kind == "nothing":
        attempt(changes(fspool, "a")[change])
    else:
        with refused():
            changes(fspool, "a")[change]()
    fspool.refresh()
    if kind == "file":
        with open(fspool.path + "/a", "rb") as file:
            assert file.read() == b"foreign"


@local
@pytest.mark.parametrize("change", ["delete", "wipe", "clone"])
def test_very_deep_tree(fspool, change):
    """10,000 folders: it works, or an error says that it does not."""
    fspool.create("a")
    make_deep(fspool.device("a"), 10000)
    try:
        changes(fspool, "a")[change]()
    except libvirt.libvirtError:
        assert change == "clone"
    assert fspool.daemon.conn.isAlive()
    if change == "wipe":
        assert fspool.blank("a")
    wait_for(lambda: not fspool.files.leftovers(), 60, "all removed")


@local
def test_undeletable_file(fspool):
    """Section 6: an error, or work for later; and then it goes."""
    fspool.create("a", content="one")
    path = fspool.device("a") + "/sub/deeper/file"
    fd = os.open(path, os.O_RDONLY)
    set_immutable(fd, True)
    try:
        attempt(changes(fspool, "a")["delete"])
        fspool.refresh()
        assert fspool.files.at_rest(2) or fspool.has("a") or (
            not os.path.lexists(path))
    finally:
        set_immutable(fd, False)
        os.close(fd)
    fspool.refresh()
    attempt(changes(fspool, "a")["delete"])
    wait_for(lambda: not fspool.files.leftovers(), 20, "all removed")
    assert fspool.names() == []


# Names and metadata on disk


def test_directories_with_impossible_names(fspool):
    """Section 6: skipped, and left alone."""
    top = os.fsencode(fspool.path)
    names = [b"\xff\xfe", b"new\nline", b"a@b", b"a@1", b"a@live", b"ctrl\x01"]
    for name in names:
        os.makedirs(os.path.join(top, name, b"content"))
    fspool.create("real")
    with fspool.untouched():
        fspool.restart()
    assert fspool.names() == ["real"] and fspool.virt.XMLDesc(0)
    with refused(MISSING):
        fspool.vol("a@1")


@once
@pytest.mark.parametrize("kind", sorted(BROKEN))
def test_broken_attribute(fspool, kind):
    """Section 6: no crash, no data lost, and the pool goes on."""
    fspool.create("a", content="one", keep=2)
    fspool.cycle("a", "two")
    place = fspool.device("a")
    os.setxattr(place, fspool.files.metadata_name(place), BROKEN[kind])
    fspool.restart()
    fspool.create("c")
    if fspool.has("a"):
        assert fspool.holds("a", "two") and fspool.vol("a").XMLDesc(0)
    assert os.path.exists(place + "/data") and len(fspool.files.kept()) == 1


def test_attribute_is_short(fspool):
    """Section 5: one extended attribute of at most 200 bytes."""
    name = "a" * 40 + "/" + "\u00fc" * 30
    fspool.create("s" * 180, content="one", keep=10000)
    fspool.clone("s" * 180, name)
    fspool.cycle(name, "two")
    fspool.pin(name, "w")
    for each in fspool.names():
        place = fspool.device(each)
        if fspool.files.metadata_name(place):
            assert len(fspool.files.metadata(place)) <= 200


def test_attribute_of_another_item(fspool):
    """Section 5: a name that does not match: volume facts are ignored."""
    fspool.create("a", content="one", keep=9)
    fspool.create("b", content="two")
    name = fspool.files.metadata_name(fspool.device("a"))
    os.setxattr(fspool.device("b"), name,
                os.getxattr(fspool.device("a"), name))
    fspool.restart()
    node = fspool.dump("b").find("revisions")
    assert node is None or node.get("keep") != "9"


def test_copied_pool_directory(fspool, fs):
    """Section 5: what others copied is there, and owned by nobody else."""
    fspool.create("a", content="one")
    shutil.copytree(fspool.path + "/a", fspool.path + "/b", symlinks=True)
    fspool.refresh()
    fspool.delete("a")
    assert fspool.names() == ["b"]
    assert os.path.exists(fspool.path + "/b/data") and fs.path


@pytest.mark.parametrize("inside", [False, True])
def test_target_path_of_the_document(fspool, outside, inside):
    """Section 4: target path: below the pool, or refused or ignored."""
    path = fspool.path + "/a" if inside else outside + "/sub"
    try:
        fspool.virt.createXML(item_xml("a", target=f"<path>{path}</path>"), 0)
    except libvirt.libvirtError:
        assert not inside
        return
    assert fspool.device("a").startswith(fspool.path + "/")
    fspool.cycle("a", "one")
    fspool.delete("a")


def test_upload_into_a_swapped_item(fspool, fs, outside):
    """Section 6: between the call and the finish."""
    fspool.create("a", content="one")
    stream = fspool.upload("a", tree_tar(fs.path, "two"), finish=False)
    os.rename(fspool.path + "/a", fspool.path + "/moved")
    os.symlink(outside, fspool.path + "/a")
    attempt(stream.finish)
    assert os.path.exists(fspool.path + "/moved/data")
