# SPDX-License-Identifier: LGPL-2.1-or-later
"""An fspool itself, in a directory (design sections 3 to 6, 9, 10).

Those on another pool's volume, or on a server, are in test_fspool_sources.py.
"""

import contextlib
import ctypes
import os
import re
import shutil
import stat
import struct
import time
import xml.etree.ElementTree as ET

import libvirt
import pytest

from filesystems import run
from fstrees import LIBC, fill, put
from pools import INVALID, MIB, refused, wait_for
from test_pool import EVENTS


VALIDATE = libvirt.VIR_STORAGE_POOL_DEFINE_VALIDATE
BUILD_OVERWRITE = libvirt.VIR_STORAGE_POOL_BUILD_OVERWRITE
BUILD_NO_OVERWRITE = libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE
WIRE_LIMIT = 16384
ITEMS = 10000

once = pytest.mark.needs("once")


# Building, starting, ending


def test_build_makes_the_directory(fspools):
    """Section 3: pool-build makes the directory."""
    pool = fspools().define()
    pool.virt.build(0)
    assert os.path.isdir(pool.path)


def test_build_takes_the_permissions(fspools):
    """Section 4: <permissions> of the target."""
    pool = fspools(permissions="<permissions><mode>0750</mode><owner>12"
                               "</owner><group>34</group></permissions>").up()
    info = os.stat(pool.path)
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (
        0o750, 12, 34)


def test_build_keeps_what_is_there(fspools):
    """A build never touches trees that are there."""
    pool = fspools().define()
    os.makedirs(pool.path + "/web", mode=0o700)
    fill(pool.path + "/web", "mine")
    pool.virt.build(0)
    pool.virt.create(0)
    assert pool.names() == ["web"] and pool.holds("web", "mine")
    assert pool.permissions("web") == (0o700, 0, 0)


@once
def test_both_overwrite_flags_are_refused(fspools):
    """Section 3: they mean what they mean elsewhere in libvirt."""
    pool = fspools().define()
    with refused():
        pool.virt.build(BUILD_OVERWRITE | BUILD_NO_OVERWRITE)


def test_start_without_the_directory_fails(fspools):
    """N16: and does once it is there."""
    pool = fspools().define()
    with refused():
        pool.virt.create(0)
    assert not os.path.exists(pool.path) and not pool.virt.isActive()
    os.makedirs(pool.path)
    pool.virt.create(0)
    assert pool.virt.isActive()


@once
def test_start_with_a_file_in_place_fails(fspools):
    """Section 6: pool start says what is wrong."""
    pool = fspools().define()
    put(pool.path, b"foreign")
    with refused():
        pool.virt.create(0)


def test_own_folder(fspool):
    """Section 5: .fspool at the pool's root, 0700, never listed."""
    fspool.create("a", content="one")
    fspool.cycle("a", "two")
    info = os.lstat(fspool.files.own)
    assert stat.S_ISDIR(info.st_mode) and info.st_mode & 0o777 == 0o700
    assert (info.st_uid, info.st_gid) == (0, 0)
    assert set(os.listdir(fspool.files.own)) <= {"revisions", "staging",
                                                 "trash"}


@once
def test_own_folder_stays_closed_in_an_open_pool(fspools):
    """Section 5: whatever the pool's own mode."""
    pool = fspools(permissions="<permissions><mode>0777</mode>"
                               "</permissions>").up()
    pool.create("a")
    assert os.lstat(pool.files.own).st_mode & 0o777 == 0o700


def test_probe_leaves_nothing(fspools):
    """Section 6: pool start probes; nothing of that stays."""
    pool = fspools().up()
    assert set(os.listdir(pool.path)) <= {".fspool"}
    assert pool.files.at_rest() == [] and pool.files.kept() == []


def test_stop_leaves_all_trees(fspool):
    """A stopped pool's storage is as it was."""
    fspool.create("a", content="one")
    fspool.pin("a", "w")
    with fspool.untouched():
        fspool.virt.destroy()
    fspool.virt.create(0)
    assert fspool.names() == ["a", "a@w"]


def test_delete_removes_an_empty_pool(fspool):
    """Section 3: pool-delete removes the directory."""
    fspool.create("a", content="one")
    fspool.delete("a")
    wait_for(lambda: not fspool.files.leftovers(), what="all removed")
    fspool.virt.destroy()
    fspool.virt.delete(0)
    assert not os.path.exists(fspool.path)


@pytest.mark.needs("local")
def test_start_on_a_read_only_file_system(fspools, small_fs):
    """Section 6: pool start says what is missing, and not something else."""
    pool = fspools(small_fs.path).up()
    pool.create("a", content="one")
    pool.virt.destroy()
    with small_fs.read_only(), refused(libvirt.VIR_ERR_SYSTEM_ERROR,
                                       match="read-only"):
        pool.virt.create(0)
    pool.virt.create(0)
    assert pool.holds("a", "one")


@pytest.mark.needs("local")
def test_refresh_on_a_read_only_file_system(fspools, small_fs):
    """Section 6: a refresh does not fail, and stop the pool, for what it
    cannot clean up."""
    pool = fspools(small_fs.path).up()
    pool.create("a", content="one")
    pool.cycle("a", "two")
    with small_fs.read_only():
        pool.refresh()
        assert pool.virt.isActive() and pool.names() == ["a", "a@1"]
    pool.refresh()
    assert pool.holds("a", "two") and pool.history("a") == ["one"]


@pytest.mark.parametrize("left", ["item", "revision", "file", "folder"])
def test_delete_keeps_a_pool_that_holds_something(fspool, left):
    """Section 3: nothing is lost by a pool-delete."""
    fspool.create("a", content="one")
    fspool.pin("a", "w")
    if left != "item":
        shutil.rmtree(fspool.path + "/a")
    if left in ("file", "folder"):
        fspool.refresh()
        fspool.delete("a@w")
    if left == "file":
        put(fspool.path + "/foreign", b"foreign")
    if left == "folder":
        os.makedirs(fspool.path + "/d/e")
    fspool.virt.destroy()
    with refused():
        fspool.virt.delete(0)
    fspool.virt.create(0)
    if left in ("item", "revision"):
        assert fspool.holds("a@w", "one")
    else:
        assert os.path.exists(fspool.path + "/foreign") or os.path.exists(
            fspool.path + "/d/e")


def test_active_pool_is_not_deleted(fspool):
    """Stock: an active pool is in use."""
    with fspool.refuses(INVALID):
        fspool.virt.delete(0)


def test_transient_pool(fspools):
    """Stock: pool-create, with build."""
    pool = fspools()
    pool.daemon.conn.storagePoolCreateXML(
        pool.xml(), libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
    pool.create("a", content="one")
    pool.virt.destroy()
    with refused(libvirt.VIR_ERR_NO_STORAGE_POOL):
        assert pool.virt
    assert os.path.exists(pool.path + "/a/data")


def test_pool_is_active_after_a_restart_of_the_daemon(fspool, daemon):
    """A dead daemon is no reason for a pool to stop."""
    fspool.create("a", content="one")
    daemon.restart()
    assert fspool.virt.isActive() and fspool.holds("a", "one")


def test_autostart(fspool, daemon):
    """A pool marked for it starts with the daemon."""
    fspool.create("a", content="one")
    fspool.virt.setAutostart(1)
    fspool.virt.destroy()
    daemon.restart_as_after_boot()
    assert fspool.virt.isActive() and fspool.holds("a", "one")


def test_operations_on_a_stopped_pool_are_refused(fspool):
    """Stock: an inactive pool has no volumes."""
    fspool.create("a")
    virt = fspool.virt
    virt.destroy()
    for call in (lambda: virt.storageVolLookupByName("a"),
                 lambda: virt.refresh(0), lambda: fspool.create("b")):
        with refused(INVALID):
            call()


def test_moved_pool_keeps_everything(fspool, fspools):
    """Section 5: metadata travels with the storage."""
    fspool.create("d/a", content="one", keep=3)
    fspool.cycle("d/a", "two")
    fspool.pin("d/a", "w")
    revisions = fspool.revisions("d/a")
    fspool.virt.destroy()
    moved = fspools()
    os.rename(fspool.path, moved.path)
    moved.define()
    moved.virt.create(0)
    assert moved.revisions("d/a") == revisions
    assert moved.history("d/a") == ["one"] and moved.holds("d/a@w", "two")
    assert moved.dump("d/a").find("revisions").get("keep") == "3"
    assert moved.device("d/a") == moved.path + "/d/a"


def test_events(fspool, daemon):
    """Pool events reach a client."""
    seen = run("/usr/bin/python3", "-c", EVENTS, daemon.uri,
               fspool.name).stdout.split()
    assert {str(libvirt.VIR_STORAGE_POOL_EVENT_STARTED), "refresh",
            str(libvirt.VIR_STORAGE_POOL_EVENT_STOPPED)} <= set(seen)


# Documents


@once
@pytest.mark.parametrize("options", [
    {}, {"keep": 4}, {"keep": 0, "listed": "no"},
    {"features": "required='no'"}, {"features": "required='yes'"},
    {"features": "mode='full'"}, {"features": "mode='simple'"},
    {"features": "required='no' mode='simple'", "keep": 2}])
def test_document_round_trip(fspools, options):
    """Section 4: what is defined is what is printed, and valid."""
    pool = fspools(**options)
    virt = pool.daemon.conn.storagePoolDefineXML(pool.xml(), VALIDATE)
    root = ET.fromstring(virt.XMLDesc(0))
    assert root.get("type") == "fspool"
    assert root.find("target/path").text == pool.path
    if "keep" in options:
        assert root.find("revisions").get("keep") == str(options["keep"])
    if "features" in options:
        wanted = dict(re.findall(r"(\w+)='(\w+)'", options["features"]))
        assert root.find("features/quota").attrib == wanted
    text = virt.XMLDesc(libvirt.VIR_STORAGE_XML_INACTIVE)
    again = pool.daemon.conn.storagePoolDefineXML(text, VALIDATE)
    assert again.XMLDesc(libvirt.VIR_STORAGE_XML_INACTIVE) == text


@once
@pytest.mark.parametrize("features", ["required='maybe'", "mode='half'"])
@pytest.mark.parametrize("flags", [0, VALIDATE])
def test_bad_document_is_refused(fspools, features, flags):
    """Section 4: refused with and without validation."""
    pool = fspools(features=features)
    with refused():
        pool.daemon.conn.storagePoolDefineXML(pool.xml(), flags)


@once
def test_second_pool_on_the_directory_is_refused(fspool, fspools):
    """Two pools never share their storage."""
    with refused():
        fspools(path=fspool.path).define()


@once
def test_stock_pool_on_the_directory_is_refused(fspool, daemon):
    """A dir pool on the same path neither."""
    with refused():
        daemon.conn.storagePoolDefineXML(
            f"<pool type='dir'><name>dup-{fspool.name}</name><target><path>"
            f"{fspool.path}</path></target></pool>", 0).undefine()


@once
def test_redefinition_takes_effect_at_the_next_start(fspool, daemon):
    """Pool-define on an active pool."""
    daemon.conn.storagePoolDefineXML(fspool.xml(keep=5), 0)
    fspool.restart()
    root = ET.fromstring(fspool.virt.XMLDesc(0))
    assert root.find("revisions").get("keep") == "5"


@once
def test_capabilities(daemon, fspool):
    """Section 3: pool-capabilities know the type and its formats."""
    assert fspool
    root = ET.fromstring(daemon.virsh("pool-capabilities").stdout)
    (node,) = [n for n in root.findall("pool") if n.get("type") == "fspool"]
    assert node.get("supported") == "yes"
    assert {"nfs", "ext4", "xfs", "btrfs", "dir"} <= {
        value.text for value in node.iter("value")}


@once
@pytest.mark.parametrize("kind,found", [("fspool", True), ("dir", False),
                                        ("reflink", False)])
def test_list_by_type(fspool, daemon, kind, found):
    """Section 3: pool-list --type (our virsh)."""
    out = daemon.virsh("pool-list", "--type", kind, "--name",
                       binary=shutil.which("virsh")).stdout
    assert (fspool.name in out.split()) == found


@once
def test_unmodified_virsh_drives_it(fspools, tmp_path):
    """Section 1: an unmodified virsh does the whole life of a pool."""
    pool = fspools()
    file = tmp_path / "pool.xml"
    file.write_text(pool.xml())
    virsh = pool.daemon.virsh
    virsh("pool-define", str(file))
    virsh("pool-build", pool.name)
    virsh("pool-start", pool.name)
    virsh("vol-create-as", pool.name, "a", "0")
    assert "a" in virsh("vol-list", pool.name, "--details").stdout
    virsh("vol-delete", "a", "--pool", pool.name)
    virsh("pool-destroy", pool.name)
    virsh("pool-delete", pool.name)
    virsh("pool-undefine", pool.name)


# What a refresh costs

IN_ACCESS, IN_OPEN, IN_NONBLOCK = 0x1, 0x20, 0o4000


@contextlib.contextmanager
def watched(*paths):
    """A function for the number of reads and opens below these so far."""
    fd = LIBC.inotify_init1(IN_NONBLOCK)
    for path, mask in paths:
        assert LIBC.inotify_add_watch(fd, path.encode(),
                                      ctypes.c_uint32(mask)) >= 0

    def events():
        try:
            data, found = os.read(fd, 65536), 0
        except BlockingIOError:
            return 0
        while data:
            size = struct.unpack_from("iIII", data)[3]
            data, found = data[16 + size:], found + 1
        return found

    try:
        yield events
    finally:
        os.close(fd)


def test_refresh_never_walks_trees(fspool, fs):
    """Section 10: never a tree walk; nor does a look at an item."""
    fspool.create("a", 64 * MIB if fs.has("limits") else None, content="one")
    path = fspool.device("a")
    with watched((path, IN_ACCESS), (path + "/sub", IN_ACCESS | IN_OPEN),
                 (path + "/data", IN_ACCESS | IN_OPEN)) as events:
        fspool.refresh()
        fspool.restart()
        assert fspool.vol("a").info() and fspool.dump("a") is not None
        assert events() == 0
        os.listdir(path + "/sub")
        assert events() > 0


@pytest.mark.slow
@pytest.mark.usually_once
@pytest.mark.needs("local")
@pytest.mark.timeout_seconds(600)
def test_ten_thousand_items(fspool, fs):
    """Section 10: 10,000 items, and a refresh that takes no time."""
    limit = MIB if fs.has("limits") else None
    names = [f"i{number:05}" for number in range(ITEMS)]
    for name in names:
        fspool.create(name, limit)
    assert fspool.names() == names
    fspool.refresh()
    began = time.monotonic()
    fspool.refresh()
    took = time.monotonic() - began
    assert fspool.names() == names
    assert fspool.size(names[-1]) == (limit or 0)
    # The budget is 0.1 s on an idle machine.
    assert took < 1
    fspool.restart()
    assert len(fspool.names()) == ITEMS


@pytest.mark.slow
@once
@pytest.mark.timeout_seconds(300)
def test_more_directories_than_can_be_listed(fspool):
    """Section 3: what would go over the limit is refused with the reason."""
    fspool.create("a", content="one")
    for number in range(WIRE_LIMIT + 500):
        os.mkdir(f"{fspool.path}/d{number}")
    fspool.refresh()
    assert fspool.virt.isActive() and len(fspool.names()) <= WIRE_LIMIT
    with fspool.refused_over_the_limit():
        fspool.create("more")
    assert not os.path.exists(fspool.path + "/more")


@pytest.mark.slow
@once
def test_a_hundred_thousand_foreign_files(fspool):
    """Files are ignored, however many."""
    fspool.create("a", content="one")
    folder = os.open(fspool.path, os.O_RDONLY)
    for number in range(100000):
        os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY, 0o600,
                         dir_fd=folder))
    os.close(folder)
    began = time.monotonic()
    fspool.refresh()
    assert time.monotonic() - began < 5
    assert fspool.names() == ["a"]
