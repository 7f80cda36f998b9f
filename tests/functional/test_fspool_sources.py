# SPDX-License-Identifier: LGPL-2.1-or-later
"""fspools on a volume of another pool (design section 4)."""

import contextlib
import os
import subprocess
import sys
import threading
import time

import libvirt
import pytest

from daemon import apart
from filesystems import loop_devices_of, run
from fsplaces import IN_GUEST
from fspoolpool import FsPool, stock_pool
from fstrees import (archive, destroy, member, mount_of, put,
                     write_until_full)
from pools import (INVALID, MIB, refused, running, usually, volume_xml,
                   wait_for)
from reflinkpool import ReflinkPool


OVERWRITE = libvirt.VIR_STORAGE_POOL_BUILD_OVERWRITE
NO_OVERWRITE = libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE
# Where the kernel has quotas for them.
FORMATS = (usually(["xfs"], ["ext4"], pytest.mark.long) if IN_GUEST
           else ["btrfs"])
WITHOUT_QUOTAS = ["ext4", "xfs"]
SIZE = 512 * MIB
VOLUME = "fsdata"


class Source:
    """A volume of a pool, and fspools on it."""

    def __init__(self, daemon, virt, folder):
        self.daemon, self.virt, self.folder = daemon, virt, folder
        self.made = []
        virt.createXML(volume_xml(VOLUME, SIZE, fmt="raw"), 0)

    @property
    def image(self):
        return self.virt.storageVolLookupByName(VOLUME).path()

    def pool(self, fmt, volume=VOLUME, pool=None, name=None, **options):
        """A defined fspool on a volume, by default ours."""
        source = (f"<volume pool='{pool or self.virt.name()}' volume="
                  f"'{volume}'/><format type='{fmt}'/>")
        made = FsPool(self.daemon, self.folder, source=source, name=name,
                      **options)
        self.made.append(made)
        return made.define()

    def free(self):
        """Whether nobody has the image."""
        return loop_devices_of(self.image) == []

    def close(self):
        self.daemon.ensure()
        for pool in reversed(self.made):
            pool.forget()
            run("umount", "-l", pool.path, check=False)
            destroy(pool.path)


@pytest.fixture(params=["dir", "reflink"] if not IN_GUEST else usually(
    ["dir"], ["reflink"], pytest.mark.long))
def source(request, daemon, workspace):
    """A volume in a stock pool, and in one of ours."""
    folder = os.path.join(workspace.path, "sources")
    os.makedirs(folder, exist_ok=True)
    if request.param == "dir":
        with stock_pool(daemon, folder + "/stock") as virt:
            made = Source(daemon, virt, folder)
            yield made
            made.close()
        return
    image = workspace.image("holder.img", "xfs", 1024 * MIB)
    where = workspace.mount(image)
    pool = ReflinkPool(daemon, where).up()
    made = Source(daemon, pool.virt, folder)
    yield made
    made.close()
    pool.remove()
    workspace.umount(where)
    os.unlink(image)


@pytest.fixture(params=FORMATS)
def fmt(request):
    """The format of the file system."""
    return request.param


@contextlib.contextmanager
def looked_at(image):
    """Somebody has each loop device of an image open for a while, as udev."""
    done = threading.Event()

    def look():
        while not done.wait(0.005):
            for node in loop_devices_of(image):
                with contextlib.suppress(OSError), open(node, "rb"):
                    time.sleep(0.3)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def started(source, fmt, **options):
    """A built, running fspool."""
    return source.pool(fmt, **options).up()


# Build, start, stop


def loop_setting(node, name):
    """As the kernel has it."""
    path = f"/sys/block/{os.path.basename(node)}/loop/{name}"
    with open(path, encoding="ascii") as file:
        return file.read().strip()


@pytest.mark.only_host  # a guest has its images in memory: no direct I/O
def test_image_is_not_cached_twice(source, fmt):
    """Section 4: direct I/O; and the loop device goes with its last user."""
    pool = started(source, fmt)
    (node,) = loop_devices_of(source.image)
    assert loop_setting(node, "dio") == "1"
    assert loop_setting(node, "autoclear") == "1"
    pool.virt.destroy()
    assert source.free()


def test_build_start_and_stop(source, fmt):
    """Section 4: a file system on another pool's volume, and all of it gone
    from the host afterwards."""
    pool = source.pool(fmt)
    pool.virt.build(0)
    assert mount_of(pool.path) is None and source.free()
    pool.virt.create(0)
    assert mount_of(pool.path)[0] == fmt
    pool.create("a", content="one")
    pool.virt.destroy()
    assert mount_of(pool.path) is None
    wait_for(source.free, what="the loop device is gone")
    pool.virt.create(0)
    assert "a" in pool.names() and pool.holds("a", "one")


def test_mounted_without_suid_and_devices(source, fmt):
    """Section 6: what lies in an image is not trusted."""
    pool = started(source, fmt)
    assert {"nosuid", "nodev"} <= mount_of(pool.path)[1]


def test_every_operation_works(source, fmt):
    """Section 3: as in a directory."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    pool.pin("a", "w")
    pool.clone(f"a@{ident}", "d/b")
    pool.revert("a", ident)
    pool.restart()
    assert pool.holds("a", "one") and pool.holds("d/b", "one")
    assert pool.holds("a@w", "two")
    pool.delete("a", libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)
    pool.virt.destroy()
    assert mount_of(pool.path) is None


def test_limits_work(source, fmt):
    """Section 4: mounted with quotas."""
    pool = started(source, fmt)
    pool.create("a", 16 * MIB)
    pool.restart()
    assert pool.size("a") == 16 * MIB
    assert write_until_full(pool.device("a") + "/file",
                            64 * MIB) <= 18 * MIB


@pytest.mark.only_host
@pytest.mark.parametrize("mode", ["full", "simple"])
def test_mode_of_btrfs_quotas(source, mode):
    """Section 4: <features><quota mode=.../>: chosen at pool-build."""
    pool = started(source, "btrfs", features=f"mode='{mode}'")
    pool.create("a", 16 * MIB)
    fsid = run("findmnt", "-no", "UUID", pool.path).stdout.strip()
    with open(f"/sys/fs/btrfs/{fsid}/qgroups/mode", encoding="ascii") as file:
        assert file.read().strip() in {"full": ("qgroup",),
                                       "simple": ("squota",)}[mode]
    assert write_until_full(pool.device("a") + "/file",
                            64 * MIB) <= 18 * MIB


@pytest.mark.only_host
@pytest.mark.parametrize("kind", WITHOUT_QUOTAS)
@pytest.mark.parametrize("features", ["", "required='no'"])
def test_kernel_without_quotas(source, kind, features):
    """Section 6: it starts, or says why not and leaves nothing behind."""
    pool = source.pool(kind, features=features)
    try:
        pool.virt.build(0)
        pool.virt.create(0)
    except libvirt.libvirtError:
        assert mount_of(pool.path) is None
        wait_for(source.free, what="the loop device is gone")
        return
    pool.create("a", content="one")
    pool.virt.destroy()
    assert mount_of(pool.path) is None


def test_build_refuses_what_has_content(source, fmt):
    """Section 3: without OVERWRITE no data is lost."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    pool.virt.destroy()
    for flags in (0, NO_OVERWRITE):
        with refused():
            pool.virt.build(flags)
    with refused():
        pool.virt.build(OVERWRITE | NO_OVERWRITE)
    pool.virt.create(0)
    assert pool.holds("a", "one")
    pool.virt.destroy()
    pool.virt.build(OVERWRITE)
    pool.virt.create(0)
    assert not pool.has("a")


def test_each_step_lets_go_of_the_volume(source, fmt):
    """Section 3: what follows works at once, whoever looks at the disk."""
    pool = source.pool(fmt)
    with looked_at(source.image):
        pool.virt.build(0)
        pool.virt.create(0)
        pool.virt.destroy()
        with refused():
            pool.virt.build(0)
        pool.virt.create(0)


def test_build_refuses_any_content(source, fmt):
    """Section 3: another's as well."""
    run("mkfs.ext4", "-q", "-F", source.image)
    pool = source.pool(fmt)
    with refused():
        pool.virt.build(0)
    assert run("blkid", "-po", "value", "-s", "TYPE",
               source.image).stdout.strip() == "ext4"


def test_build_of_a_mounted_volume_is_refused(source, fmt):
    """Section 3: what is in use is not overwritten."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    with refused():
        pool.virt.build(OVERWRITE)
    assert pool.holds("a", "one")


# What start refuses


def fails_to_start(source, pool, match=None):
    """The start fails, and leaves neither a mount nor a loop device."""
    with refused(match=match):
        pool.virt.create(0)
    assert not pool.virt.isActive() and mount_of(pool.path) is None
    with contextlib.suppress(libvirt.libvirtError):
        wait_for(source.free, what="the loop device is gone")


def test_volume_that_was_never_built(source, fmt):
    """Section 6: a start says what is missing."""
    pool = source.pool(fmt)
    os.makedirs(pool.path)
    fails_to_start(source, pool)


def test_volume_of_another_format(source, fmt):
    """Section 6: formats are never guessed."""
    pool = source.pool(fmt)
    os.makedirs(pool.path)
    run("mkfs.ext4" if fmt != "ext4" else "mkfs.xfs",
        "-qF" if fmt != "ext4" else "-q", source.image)
    fails_to_start(source, pool)


def test_missing_volume(source, fmt):
    """A source volume that is not there."""
    pool = source.pool(fmt, volume="absent")
    os.makedirs(pool.path)
    fails_to_start(source, pool, match="absent")


def test_missing_pool(source, fmt):
    """A source pool that is not there."""
    pool = source.pool(fmt, pool="no-such-pool")
    os.makedirs(pool.path)
    fails_to_start(source, pool, match="no-such-pool")


def test_inactive_pool(source, fmt):
    """A source pool that is not active is named, and started by nobody."""
    pool = started(source, fmt)
    pool.virt.destroy()
    source.virt.destroy()
    with refused(match=source.virt.name()):
        pool.virt.create(0)
    assert not pool.virt.isActive() and mount_of(pool.path) is None
    assert not source.virt.isActive()
    source.virt.create(0)
    pool.virt.create(0)
    assert pool.virt.isActive()


def test_pool_on_itself(source, fmt):
    """A pool whose source is a volume of its own."""
    with refused():
        pool = source.pool(fmt, pool="ouroboros", name="ouroboros")
        os.makedirs(pool.path)
        pool.virt.create(0)


def test_volume_of_two_pools(source, fmt):
    """A file system is mounted once."""
    pool = started(source, fmt)
    with refused(match="conflict"):
        source.pool(fmt, name=pool.name + "-other")
    pool.create("a", content="one")


def test_something_else_is_mounted_there(source, fmt):
    """A mount that is there is neither hidden nor taken for ours."""
    pool = source.pool(fmt)
    pool.virt.build(0)
    run("mount", "-t", "tmpfs", "foreign", pool.path)
    put(pool.path + "/foreign", b"foreign")
    try:
        with refused():
            pool.virt.create(0)
        assert mount_of(pool.path)[0] == "tmpfs"
        assert os.listdir(pool.path) == ["foreign"]
    finally:
        run("umount", pool.path)
    pool.virt.create(0)
    assert pool.virt.isActive()


def test_target_that_is_a_link(source, fmt, workspace):
    """Section 6: no symbolic link followed."""
    pool = source.pool(fmt)
    pool.virt.build(0)
    os.rmdir(pool.path)
    elsewhere = workspace.path + "/elsewhere"
    os.makedirs(elsewhere, exist_ok=True)
    os.symlink(elsewhere, pool.path)
    fails_to_start(source, pool)
    assert mount_of(elsewhere) is None and os.path.islink(pool.path)
    os.unlink(pool.path)
    os.rmdir(elsewhere)


@pytest.mark.parametrize("source", ["reflink"], indirect=True)
def test_revision_as_a_source_is_refused(source, fmt):
    """Section 2: a revision is not written to."""
    vol = source.virt.storageVolLookupByName(VOLUME)
    source.virt.createXMLFrom(volume_xml(VOLUME + "@w", SIZE), vol, 0)
    with refused():
        pool = source.pool(fmt, volume=VOLUME + "@w")
        pool.virt.build(0)
    with refused():
        pool = source.pool(fmt, volume=VOLUME + "@w")
        os.makedirs(pool.path, exist_ok=True)
        pool.virt.create(0)


# While it is in use


def test_busy_pool_does_not_stop(source, fmt):
    """Section 3: what is in use is refused, and goes on working."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    fd = os.open(pool.device("a") + "/data", os.O_RDONLY)
    try:
        with refused(INVALID, match=pool.name):
            pool.virt.destroy()
        assert pool.virt.isActive() and mount_of(pool.path)
        assert pool.holds("a", "one")
        pool.cycle("a", "two")
    finally:
        os.close(fd)
    pool.virt.destroy()
    assert mount_of(pool.path) is None


def stops(pool):
    """Whether a pool can be stopped by now."""
    with contextlib.suppress(libvirt.libvirtError):
        pool.virt.destroy()
    return not pool.virt.isActive()


def refuses_to_stop(pool):
    """As something in it is open."""
    with refused(INVALID, match=pool.name):
        pool.virt.destroy()


UPLOADER = """
import sys, libvirt
conn = libvirt.open(sys.argv[1])
vol = conn.storagePoolLookupByName(sys.argv[2]).storageVolLookupByName('a')
stream = conn.newStream(0)
vol.upload(stream, 0, 0, 0)
while data := sys.stdin.buffer.read1():
    while data:
        data = data[stream.send(data):]
"""


def feed(pipe, data):
    """Write as much as the reader takes, who goes on waiting for more."""
    with contextlib.suppress(BrokenPipeError):
        pipe.write(data)
        pipe.flush()


@pytest.mark.only_host
@pytest.mark.parametrize("size", [MIB // 64, 96 * MIB], ids=["part", "full"])
def test_pool_stops_after_an_upload_that_hung(holds, source, fmt, size):
    """Section 6: what was given up lets go when the storage answers."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    holds.arm("pwrite")
    data = archive(member("f", bytes(size)))
    with subprocess.Popen([sys.executable, "-c", UPLOADER, pool.daemon.uri,
                           pool.name], stdin=subprocess.PIPE) as client:
        with running(feed, client.stdin, data), holds.during("pwrite"):
            client.kill()
            client.wait()
            with refused(INVALID, match=pool.name):
                pool.virt.destroy()
    wait_for(lambda: stops(pool), 30, "the pool stops")
    assert mount_of(pool.path) is None
    pool.virt.create(0)
    assert pool.holds("a", "one") and pool.files.at_rest() == []


@pytest.mark.only_host
def test_stop_that_fails_loses_no_result(holds, source):
    """Section 6: what ends while somebody tries to stop the pool is known to
    it when it goes on."""
    pool = started(source, "ext4")
    for name in "abc":
        pool.create(name, content=name)
    holds.arm("unlinkat")
    pool.delete("a")
    with holds.during("unlinkat"), apart(pool) as other, \
            apart(pool) as stopped, open(pool.device("b") + "/data", "rb"):
        holds.arm("renameat2")
        with running(other.delete, "c"), holds.during("renameat2"):
            stop = threading.Thread(target=refuses_to_stop, args=(stopped,))
            stop.start()
            wait_for(lambda: not pool.virt.isActive(), what="a stop")
        holds.release("unlinkat")
        stop.join()
        assert pool.names() == ["b"]
    assert stops(pool)


def test_start_after_a_refresh_that_failed(source, fmt):
    """Libvirt ends a pool then, also one that cannot be unmounted; with the
    next start all of it is there again."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    pool.pin("a", "w")
    time.sleep(3)   # from then on a refresh does not read them again
    pool.refresh()
    own = pool.path + "/.fspool"
    fd = os.open(pool.device("a") + "/data", os.O_RDONLY)
    try:
        os.rename(own, own + "-away")
        with refused():
            pool.virt.refresh(0)
        assert not pool.virt.isActive() and mount_of(pool.path)
        os.rename(own + "-away", own)
        pool.virt.create(0)
    finally:
        os.close(fd)
    assert pool.holds("a", "one") and pool.holds("a@w", "one")


def test_autostart_of_both_pools(source, fmt, daemon):
    """At boot, the one that holds the volume comes first: libvirt itself
    starts pools in the order of a hash with a seed."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    for virt in (source.virt, pool.virt):
        virt.setAutostart(1)
    for _ in range(4):
        for virt in (pool.virt, source.virt):
            virt.destroy()
        daemon.restart_as_after_boot()
        source.virt = daemon.conn.storagePoolLookupByName(source.virt.name())
        assert source.virt.isActive() and pool.virt.isActive()
        assert pool.holds("a", "one")


def test_daemon_restarts(source, fmt, daemon):
    """A mounted pool is found again: the same mount, active."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    image = source.image
    daemon.restart()
    assert pool.virt.isActive() and pool.holds("a", "one")
    assert len(loop_devices_of(image)) == 1
    pool.virt.destroy()
    assert mount_of(pool.path) is None
    wait_for(lambda: not loop_devices_of(image),
             what="the loop device is gone")


def test_mount_that_went_away(source, fmt, daemon):
    """An unmounted file system is no active pool after a restart."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    daemon.kill()
    run("umount", pool.path)
    daemon.restart()
    if pool.virt.isActive():
        assert mount_of(pool.path)
    else:
        pool.virt.create(0)
    assert pool.holds("a", "one")


def test_volume_that_grew(source, fmt):
    """A refresh takes up the new size."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    before = pool.virt.info()[1]
    source.virt.storageVolLookupByName(VOLUME).resize(2 * SIZE, 0)
    pool.refresh()
    assert pool.virt.info()[1] >= before + SIZE * 3 // 4
    assert pool.holds("a", "one")
    free = os.statvfs(pool.path)
    assert free.f_blocks * free.f_frsize >= before + SIZE * 3 // 4


@pytest.mark.parametrize("source", ["reflink"], indirect=True)
def test_used_volume_is_not_deleted(source, fmt):
    """Section 3: a loop device uses the volume."""
    pool = started(source, fmt)
    with refused(INVALID):
        source.virt.storageVolLookupByName(VOLUME).delete(0)
    pool.create("a", content="one")


def test_full_volume(source, fmt):
    """Section 6: out of space, and every item as it was."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    write_until_full(pool.device("a") + "/fill", 2 * SIZE)
    with contextlib.suppress(libvirt.libvirtError):
        pool.cycle("a", "two")
    with contextlib.suppress(OSError):
        os.unlink(pool.device("a") + "/fill")
    assert pool.files.at_rest() == []
    pool.restart()
    assert pool.tag("a") in ("one", "two")


def test_pool_delete_keeps_the_volume(source, fmt):
    """Section 3: what goes is the mount point."""
    pool = started(source, fmt)
    pool.create("a", content="one")
    pool.virt.destroy()
    pool.virt.delete(0)
    assert not os.path.exists(pool.path)
    os.makedirs(pool.path)
    pool.virt.create(0)
    assert pool.holds("a", "one")
