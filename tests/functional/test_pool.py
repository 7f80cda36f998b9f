# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pool itself (design sections 3, 4 and 6)."""

import contextlib
import os
import shutil
import threading
import time
import xml.etree.ElementTree as ET

import libvirt
import pytest

from daemon import apart
from filesystems import run
from pools import INVALID, MIB, pattern, refused

BUILD_OVERWRITE = libvirt.VIR_STORAGE_POOL_BUILD_OVERWRITE
BUILD_NO_OVERWRITE = libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE


def test_build_makes_the_directory(pools):
    """Section 3: pool-build makes the directory."""
    pool = pools().define()
    pool.virt.build(0)
    assert os.path.isdir(pool.path)


def test_build_takes_the_permissions(pools):
    """Stock: <permissions> of the target."""
    pool = pools()
    xml = pool.xml().replace("</path>", "</path><permissions><mode>0750</mode>"
                             "<owner>0</owner><group>0</group></permissions>")
    pool.daemon.conn.storagePoolDefineXML(xml, 0)
    pool.virt.build(0)
    assert os.stat(pool.path).st_mode & 0o777 == 0o750


def test_build_of_an_existing_directory_keeps_it(pools):
    """A build never touches images that are there."""
    pool = pools().define()
    os.makedirs(pool.path)
    with open(pool.path + "/a.img", "wb") as file:
        file.write(pattern("mine"))
    pool.virt.build(0)
    pool.virt.create(0)
    assert pool.holds("a", "mine")


def test_both_overwrite_flags_are_refused(pools):
    """Section 3: they mean what they mean elsewhere in libvirt."""
    pool = pools().define()
    with refused():
        pool.virt.build(BUILD_OVERWRITE | BUILD_NO_OVERWRITE)


def test_start_without_directory_fails(pools):
    """N16: a pool whose directory is absent does not start, and later does."""
    pool = pools().define()
    with refused():
        pool.virt.create(0)
    os.makedirs(pool.path)
    pool.virt.create(0)
    assert pool.virt.isActive()


def test_start_with_a_file_in_place_fails(pools):
    """Section 6: pool start says what is wrong."""
    pool = pools().define()
    with open(pool.path, "wb"):
        pass
    with refused():
        pool.virt.create(0)


def test_create_with_build(pools):
    """Stock: VIR_STORAGE_POOL_CREATE_WITH_BUILD."""
    pool = pools()
    pool.daemon.conn.storagePoolCreateXML(
        pool.xml(), libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
    assert pool.virt.isActive() and not pool.virt.isPersistent()


def test_delete_removes_the_directory(pool):
    """Section 3: pool-delete removes the directory."""
    pool.virt.destroy()
    pool.virt.delete(0)
    assert not os.path.exists(pool.path)


def test_delete_keeps_a_directory_with_volumes(pool):
    """Stock: only an empty directory goes."""
    pool.create("a", content="one")
    pool.virt.destroy()
    with refused():
        pool.virt.delete(0)
    pool.virt.create(0)
    assert pool.holds("a", "one")


def test_stop_leaves_all_files(pool):
    """A stopped pool's storage is as it was."""
    pool.create("a", content="one")
    pool.start("a")
    with pool.untouched():
        pool.virt.destroy()
    pool.virt.create(0)
    assert pool.names() == ["a", "a@live"]


def test_refresh_finds_new_and_lost_files(pool):
    """Section 3: read everything anew."""
    pool.create("a", content="one")
    pool.files.put(pool.files.head("b"), pattern("two"))
    pool.files.remove(pool.files.head("a"))
    pool.refresh()
    assert pool.names() == ["b"] and pool.holds("b", "two")


# Capacity


def statvfs(pool):
    """(capacity, available) as the file system tells."""
    info = os.statvfs(pool.path)
    return info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize


def test_capacity_is_the_file_systems(pool):
    """Section 9: read from the file system (G04)."""
    os.sync()
    pool.refresh()
    _, capacity, allocation, available = pool.virt.info()
    total, free = statvfs(pool)
    assert capacity == total
    assert abs(available - free) <= 16 * MIB
    assert allocation + available <= capacity


def test_capacity_is_read_after_each_change(pool):
    """Section 9: after each change, not added up."""
    # What tests before this one removed is given back at the next sync.
    run("sync", "-f", pool.path)
    before = statvfs(pool)[1]
    pool.create("a", 128 * MIB, allocation=128 * MIB)
    assert statvfs(pool)[1] < before
    assert abs(pool.virt.info()[3] - statvfs(pool)[1]) <= 16 * MIB
    pool.delete("a")
    # XFS frees space some time after the last close.
    run("sync", "-f", pool.path)
    pool.create("b")
    assert abs(pool.virt.info()[3] - statvfs(pool)[1]) <= 16 * MIB


def test_clones_larger_than_the_free_space(pools, small):
    """Available must not underflow."""
    pool = pools(small).up()
    pool.create("a", 40 * MIB, content="x")
    for number in range(12):
        pool.clone("a", f"b{number}")
    _, capacity, _, available = pool.virt.info()
    assert 0 < available < capacity
    pool.create("huge", 1 << 40)
    pool.clone("huge", "huge2")
    assert pool.virt.info()[3] < capacity


def test_allocation_capacity_on_refresh(pools):
    """<refresh><volume allocation='capacity'/></refresh> is honoured."""
    pool = pools(extra="<refresh><volume allocation='capacity'/></refresh>")
    pool.up()
    pool.create("a", 8 * MIB)
    pool.refresh()
    assert pool.vol("a").info()[1:] == [8 * MIB, 8 * MIB]


def test_allocation_default_on_refresh(pool):
    """Without it the allocation is what the file has."""
    pool.create("a", 8 * MIB)
    pool.refresh()
    assert pool.vol("a").info()[1:] == [8 * MIB, 0]


# The file system


def test_file_system_that_cannot_clone_is_refused(pools, ext4):
    """Section 6: pool start probes what it relies on and says what misses."""
    pool = pools(ext4).define()
    os.makedirs(pool.path, exist_ok=True)
    with refused(match="reflink|clone"):
        pool.virt.create(0)
    assert os.listdir(pool.path) == []


def test_features_required_no(pools, ext4):
    """Section 4: 'no': full sparse copies where it cannot clone."""
    pool = pools(ext4, required="no").up()
    pool.create("a", content="one")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    pool.clone("a", "b")
    pool.revert("a", ident)
    pool.pin("a", "w")
    assert pool.holds("a", "one") and pool.holds("b", "two")
    pool.restart()
    assert pool.holds("a@w", "one")


def test_required_no_keeps_copies_sparse(pools, ext4):
    """Section 4: full sparse copies."""
    pool = pools(ext4, required="no").up()
    pool.create("a", 64 * MIB)
    pool.write("a", pattern("x"), 8 * MIB)
    pool.clone("a", "b")
    assert os.stat(pool.files.head("b")).st_blocks * 512 <= 2 * MIB


def test_required_no_on_a_file_system_that_can(pools):
    """Section 4: 'no' is no reason to copy."""
    pool = pools(required="no").up()
    pool.create("a", content="one")
    pool.clone("a", "b")
    assert pool.files.shares(pool.files.head("b"))


def test_probe_leaves_nothing(pools):
    """Section 6: pool start probes; no file stays."""
    pool = pools().up()
    assert os.listdir(pool.path) == []


def test_nocow_directory_is_built_with_cow(pools):
    """NOCOW directories: copy-on-write is turned on at build."""
    if "btrfs" not in pools.home:
        pytest.skip("NOCOW is a thing of Btrfs")
    pool = pools().define()
    os.makedirs(pool.path)
    run("chattr", "+C", pool.path)
    pool.virt.build(0)
    assert "C" not in run("lsattr", "-d", pool.path).stdout.split()[0]
    pool.virt.create(0)
    pool.create("a", content="one")
    pool.cycle("a", "two")


def test_nocow_image_gets_a_clear_error(pool):
    """A NOCOW image gets a clear error."""
    if "btrfs" not in pool.path:
        pytest.skip("NOCOW is a thing of Btrfs")
    path = pool.files.head("a")
    with open(path, "wb"):
        pass
    run("chattr", "+C", path)
    with open(path, "wb") as file:
        file.write(pattern("one"))
    pool.refresh()
    with refused(match="nocow|copy.on.write|chattr"):
        pool.start("a")
    assert pool.names() == ["a"]


# Other pools, sources, capabilities


def test_second_pool_on_the_directory_is_refused(pool, pools):
    """Duplicate pools."""
    with refused():
        pools(path=pool.path).define()


@pytest.mark.parametrize("kind", ["dir", "fs"])
def test_stock_pool_on_the_directory_is_refused(pool, daemon, kind):
    """A dir or fs pool on the same path too."""
    source = "<source><device path='/dev/null'/></source>" * (kind == "fs")
    xml = (f"<pool type='{kind}'><name>dup-{pool.name}</name>{source}"
           f"<target><path>{pool.path}</path></target></pool>")
    try:
        other = daemon.conn.storagePoolDefineXML(xml, 0)
    except libvirt.libvirtError:
        return
    other.undefine()
    pytest.fail("a second pool on the same directory was taken")


def test_pool_on_a_stock_pools_directory_is_refused(pools, daemon):
    """The other way round."""
    pool = pools()
    os.makedirs(pool.path)
    stock = daemon.conn.storagePoolCreateXML(
        f"<pool type='dir'><name>stock-{pool.name}</name><target><path>"
        f"{pool.path}</path></target></pool>", 0)
    try:
        with refused():
            pool.define()
    finally:
        stock.destroy()


def test_sources_are_found(pool, daemon, workspace, ext4):
    """Section 3: mounted file systems that can clone."""
    root = ET.fromstring(daemon.conn.findStoragePoolSources("reflink", None))
    text = ET.tostring(root, encoding="unicode")
    assert root.tag == "sources"
    assert os.path.dirname(pool.path) in text
    assert ext4 not in text


def test_sources_by_virsh(daemon, filesystem):
    """Section 3: find-storage-pool-sources of an unmodified virsh."""
    out = daemon.virsh("find-storage-pool-sources", "reflink").stdout
    assert filesystem in out


def test_capabilities_name_the_types(daemon):
    """Section 3: pool-capabilities know the new types."""
    root = ET.fromstring(daemon.virsh("pool-capabilities").stdout)
    types = {n.get("type"): n.get("supported") for n in root.findall("pool")}
    assert types["reflink"] == "yes"
    assert {"qubes-thin", "fspool"} <= set(types)


def test_capabilities_name_the_formats(daemon):
    """Raw and qcow2 volumes."""
    root = ET.fromstring(daemon.conn.getStoragePoolCapabilities(0))
    (node,) = [n for n in root.findall("pool") if n.get("type") == "reflink"]
    formats = [v.text for v in node.iter("value")]
    assert "raw" in formats and "qcow2" in formats


def our_virsh():
    """The virsh that with-libvirtd put first in PATH."""
    return shutil.which("virsh")


@pytest.mark.parametrize("kind,found", [("reflink", True), ("dir", False),
                                        ("qubes-thin", False),
                                        ("fspool", False)])
def test_list_by_type(pool, daemon, kind, found):
    """Section 3: pool-list --type know the new types (our virsh)."""
    out = daemon.virsh("pool-list", "--type", kind, "--name",
                       binary=our_virsh()).stdout
    assert (pool.name in out.split()) == found


def test_other_types_say_that_they_are_missing(daemon, workspace):
    """qubes-thin and fspool: not supported by this build, no crash."""
    documents = [
        "<pool type='qubes-thin'><name>qt</name><source><name>vg</name>"
        "<thinPool name='tp'/></source></pool>",
        "<pool type='fspool'><name>fsp</name><target><path>"
        f"{workspace.path}/fsp</path></target></pool>"]
    for xml in documents:
        try:
            other = daemon.conn.storagePoolDefineXML(xml, 0)
        except libvirt.libvirtError:
            continue
        with refused():
            other.create(0)
        other.undefine()
    assert daemon.conn.isAlive()


# Asynchronous jobs, events, transient pools


def test_pool_answers_while_a_copy_runs(pool, elsewhere):
    """Section 9: what copies runs with the pool unlocked."""
    elsewhere.create("a", 64 * MIB, content="big")
    job = threading.Thread(target=pool.clone, args=(elsewhere.vol("a"), "b"))
    job.start()
    try:
        with apart(pool) as watched:
            while job.is_alive():
                watched.names()
    finally:
        job.join()
    assert pool.holds("b", "big")


def test_transient_pool(pools):
    """Stock: pool-create."""
    pool = pools()
    pool.prepare()
    pool.daemon.conn.storagePoolCreateXML(pool.xml(), 0)
    pool.create("a", content="one")
    pool.virt.destroy()
    with refused(libvirt.VIR_ERR_NO_STORAGE_POOL):
        assert pool.virt


def test_autostart(pool, daemon):
    """A pool marked for it starts with the daemon."""
    pool.create("a", content="one")
    pool.virt.setAutostart(1)
    pool.virt.destroy()
    daemon.restart_as_after_boot()
    assert pool.virt.isActive() and pool.holds("a", "one")


def test_pool_that_is_not_marked_stays_stopped(pool, daemon):
    """It is the mark that starts a pool."""
    pool.virt.destroy()
    daemon.restart_as_after_boot()
    assert not pool.virt.isActive()


def test_redefinition_takes_effect_at_the_next_start(pools, daemon):
    """Pool-define on an active pool."""
    pool = pools(keep=1).up()
    daemon.conn.storagePoolDefineXML(pool.xml(keep=5), 0)
    pool.restart()
    root = ET.fromstring(pool.virt.XMLDesc(0))
    assert root.find("revisions").get("keep") == "5"


def test_operations_on_a_stopped_pool_are_refused(pool):
    """Stock: an inactive pool has no volumes."""
    pool.create("a")
    virt = pool.virt
    virt.destroy()
    with refused(INVALID):
        virt.storageVolLookupByName("a")
    with refused(INVALID):
        virt.refresh(0)


EVENTS = """
import sys, libvirt
libvirt.virEventRegisterDefaultImpl()
conn = libvirt.open(sys.argv[1])
seen = []
pool = conn.storagePoolLookupByName(sys.argv[2])
conn.storagePoolEventRegisterAny(pool,
    libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
    lambda c, p, event, detail, o: seen.append(event), None)
conn.storagePoolEventRegisterAny(pool,
    libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH,
    lambda c, p, o: seen.append('refresh'), None)
pool.destroy()
pool.create(0)
pool.refresh(0)
timer = libvirt.virEventAddTimeout(100, lambda t, o: None, None)
for _ in range(20):
    libvirt.virEventRunDefaultImpl()
print(*seen)
"""


def test_events(pool, daemon):
    """Pool events reach a client."""
    out = run("/usr/bin/python3", "-c", EVENTS, daemon.uri, pool.name).stdout
    seen = out.split()
    assert str(libvirt.VIR_STORAGE_POOL_EVENT_STARTED) in seen
    assert str(libvirt.VIR_STORAGE_POOL_EVENT_STOPPED) in seen
    assert "refresh" in seen


def test_no_volume_is_missing_while_precaches_are_made(pool):
    """Section 6: stop and start read everything, whatever runs meanwhile."""
    for name in "ab":
        pool.create(name, content="0")
    for turn in range(15):
        for name in "ab":
            pool.cycle(name, str(turn))
        pool.restart()
    missing = []
    end = time.monotonic() + 3.5
    while time.monotonic() < end:
        pool.restart()
        names = pool.names()
        missing += [n for n in "ab" if n not in names]
    assert missing == []


def test_stopped_pool_is_left_alone(pool):
    """Work in the background ends with the pool: its files stay as is."""
    pool.create("a", content="0")
    for turn in range(5):
        pool.cycle("a", str(turn))
    pool.virt.destroy()
    names = pool.files.all()
    time.sleep(3.5)
    assert pool.files.all() == names


FRAGMENTS = 20000


@contextlib.contextmanager
def own_mount(workspace, filesystem):
    """A file system of the same kind, to be unmounted by the test."""
    kind = os.path.basename(filesystem).split(".")[0]
    image = workspace.image(f"own-{kind}.img", kind, 1024 * MIB)
    where = workspace.mount(image)
    try:
        yield where
    finally:
        if os.path.ismount(where):
            workspace.umount(where)
        os.unlink(image)


def create_fragmented(pool, name):
    """A volume that takes the file system long to clone and to remove."""
    pool.create(name, FRAGMENTS * 8192)
    fd = os.open(pool.device(name), os.O_WRONLY)
    try:
        for number in range(FRAGMENTS):
            os.pwrite(fd, b"x" * 4096, number * 8192)
        os.fsync(fd)
    finally:
        os.close(fd)


def test_unmount_after_a_stop_while_a_precache_is_made(pools, workspace,
                                                       filesystem):
    """Work in the background ends with the pool: nothing of it is open."""
    with own_mount(workspace, filesystem) as where:
        pool = pools(where).up()
        create_fragmented(pool, "a")
        pool.start("a")
        pool.write("a@live", b"written")
        pool.commit("a")
        end = time.monotonic() + 10
        while not pool.is_cloning():
            assert time.monotonic() < end, "no precache is made"
            time.sleep(0.001)
        began = time.monotonic()
        stop = threading.Thread(target=pool.virt.destroy)
        stop.start()
        with apart(pool) as beside:
            while stop.is_alive():
                beside.define()
                with contextlib.suppress(libvirt.libvirtError):
                    beside.refresh()
        assert time.monotonic() - began < 10
        assert not pool.virt.isActive()
        assert workspace.umount(where)


def test_unmount_after_a_stop_while_images_are_removed(pools, workspace,
                                                       filesystem):
    """The same: removed images are closed in the background."""
    with own_mount(workspace, filesystem) as where:
        pool = pools(where).up()
        create_fragmented(pool, "a")
        pool.pin("a", "w")
        pool.delete("a", libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)
        pool.virt.destroy()
        assert workspace.umount(where)


def test_n16_file_system_that_is_absent_at_daemon_start(pools, workspace,
                                                        filesystem, daemon):
    """N16: the pool stays stopped, others start; it starts once it is there.
    """
    with own_mount(workspace, filesystem) as where:
        pool, other = pools(where).up(), pools().up()
        pool.create("a", content="one")
        for each in (pool, other):
            each.virt.setAutostart(1)
            each.virt.destroy()
        assert workspace.umount(where)
        daemon.restart_as_after_boot()
        assert other.virt.isActive()
        assert not pool.virt.isActive() and pool.virt.autostart()
        with refused(match=pool.path):
            pool.virt.create(0)
        assert os.listdir(where) == []
        workspace.mount(where[:-len(".mnt")], where)
        pool.virt.create(0)
        assert pool.holds("a", "one")
        pool.virt.destroy()
