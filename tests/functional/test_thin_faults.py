# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks below a thin pool that fail for a while (design section 6)."""

import contextlib
import threading
import time

import libvirt
import pytest

from daemon import apart
from disks import Faulty
from pools import MIB, pattern, refused, usually
from streams import abort, upload
from thincalls import CALLS, some
from thinpool import CHECK, ThinPool
from volumegroup import VolumeGroup, lvm

CHANGES = CALLS | {
    "commit": lambda p: p.commit("r"),
    "wipe": lambda p: p.vol("a").wipe(),
    "delete": lambda p: p.delete("b"),
}
TOLD = ("error", "error_writes")
HANG = 5        # long enough to come to the disk


@pytest.fixture
def faulty(disks, daemon):
    """A pool with some volumes, on a disk that can be made to fail."""
    disk = Faulty(disks.add(256 * MIB))
    group = VolumeGroup(disk.name, disk.path)
    pool = ThinPool(daemon, group, "vm-pool")
    pool.disk = disk
    try:
        group.add_thin_pool("vm-pool", 64 * MIB, 4 * MIB)
        some(pool.up())
        yield pool
    finally:
        disk.heal()
        daemon.ensure()
        pool.forget()
        group.close()
        disk.close()


def heal(pool):
    """The disk works again, and the pool is started anew."""
    with contextlib.suppress(libvirt.libvirtError):
        pool.virt.destroy()
    lvm("vgchange", "-q", "-q", "-an", pool.group.name, check=False)
    pool.group.drop_devices("--retry")
    pool.disk.heal()
    lvm("vgchange", "-q", "-q", "-an", pool.group.name)
    pool.begin()


def is_as_before(pool):
    """What some() has made, no more and no less."""
    (ident,) = pool.revisions("a")
    assert pool.names() == ["a", f"a@{ident}", "b", "r", "r@live"]
    assert pool.holds("a", "two") and pool.holds(f"a@{ident}", "one")
    assert pool.holds("b", "bee")
    assert pool.holds("r", "one") and pool.holds("r@live", "two")
    assert pool.files.at_rest() == []


@pytest.mark.timeout_seconds(240)
@pytest.mark.parametrize("way", usually(TOLD[:1], TOLD[1:]))
def test_disk_that_fails(faulty, way):
    """Errors are told, nothing hangs, and nothing is lost."""
    faulty.disk.fail(way)
    for call in CHANGES.values():
        with refused():
            call(faulty)
    heal(faulty)
    is_as_before(faulty)


@pytest.mark.slow
@pytest.mark.timeout_seconds(240)
@pytest.mark.parametrize("call", ["create", "start", "commit", "revert",
                                  "upload"])
def test_disk_that_loses_what_is_written(faulty, call):
    """As a loss of power before the operation: the pool is as it was."""
    faulty.disk.fail("drop_writes")
    with contextlib.suppress(libvirt.libvirtError):
        CHANGES[call](faulty)
    heal(faulty)
    is_as_before(faulty)


@pytest.mark.slow
@pytest.mark.parametrize("way", TOLD)
def test_disk_that_fails_during_an_upload(faulty, way):
    """Section 3: finish reports every write error; the head stays."""
    stream = upload(faulty, "b", pattern("sent"), finish=False)
    faulty.disk.fail(way)
    with refused():
        stream.finish()
    abort(stream)
    heal(faulty)
    is_as_before(faulty)


@pytest.mark.slow
@pytest.mark.parametrize("way", TOLD)
def test_refresh_while_the_disk_fails(faulty, way):
    """The daemon tells, or goes on; the next start finds everything."""
    faulty.disk.fail(way)
    with contextlib.suppress(libvirt.libvirtError):
        faulty.refresh()
    heal(faulty)
    is_as_before(faulty)


@pytest.mark.slow
@pytest.mark.timeout_seconds(240)
def test_metadata_that_the_kernel_cannot_write(faulty):
    """It notes that the pool needs a check: told, with what helps."""
    begin = faulty.group.superblock_at(faulty.thin)
    faulty.disk.fail_between("error_writes", begin + 4096, begin + 4 * MIB)
    with refused():
        CALLS["create"](faulty)
    faulty.disk.heal()
    assert "needs_check" in faulty.group.status(faulty.thin, "-tpool")
    for call in (CALLS | {"delete": CHANGES["delete"]}).values():
        with refused(match=CHECK):
            call(faulty)
    assert faulty.holds("r@live", "two")
    faulty.put_away()
    faulty.check_as_told()
    faulty.begin()
    is_as_before(faulty)
    CALLS["create"](faulty)
    faulty.commit("r")
    assert faulty.holds("r", "two")


@pytest.mark.slow
@pytest.mark.timeout_seconds(240)
@pytest.mark.parametrize("call", CHANGES)
def test_others_are_served_while_a_disk_hangs(faulty, pools, daemon, call):
    """Section 9: what waits for a disk keeps no lock that others need."""
    other = pools().up()
    job = threading.Thread(target=CHANGES[call], args=(faulty,))
    with faulty.disk.hanging():
        job.start()
        time.sleep(HANG)
        assert job.is_alive()
        assert daemon.answers(faulty.name)
        with apart(other) as pool:
            pool.create("x", content="one")
            pool.clone("x", "y")
        assert job.is_alive()
    job.join()
    faulty.refresh()
    assert faulty.files.at_rest() == []
    assert other.holds("y", "one")


@pytest.mark.slow
@pytest.mark.parametrize("way", TOLD)
def test_others_are_served_while_a_disk_fails(faulty, pools, way):
    """Section 9: a pool on another disk knows nothing of it."""
    other = pools().up()
    faulty.disk.fail(way)
    other.create("x", content="one")
    with refused():
        CALLS["create"](faulty)
    other.cycle("x", "two")
    other.refresh()
    other.delete("x")
    assert other.names() == []
    heal(faulty)
    is_as_before(faulty)
