# SPDX-License-Identifier: LGPL-2.1-or-later
"""A loss of power at any flush of the disk (design section 6, N01)."""

import os

import libvirt
import pytest

from crashrig import differences, view
from disks import SHIFT, shifted
from filesystems import MIB, run
from logwrites import Log, LogWrites, flushes, replayed, some_of
from operations import BY_NAME, Operation
from pools import pattern
from thincrash import by_content
from thinpool import ThinPool
from volumegroup import VolumeGroup, lvm

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SIZE = 256 * MIB


def write_and_commit(pool):
    """What a machine wrote last, and never told a disk to keep."""
    fd = os.open(pool.device("a@live"), os.O_WRONLY)
    try:
        os.pwrite(fd, pattern("unsynced"), 0)
    finally:
        os.close(fd)
    pool.commit("a")


def half_written(seen, before, after):
    """Before the switch the live copy may have anything, and nothing else."""
    del after
    live = "a@live"
    return seen.keys() == before.keys() and all(
        seen[k] == before[k] for k in seen if k != live)


OPERATIONS = {name: BY_NAME[name] for name in (
    "start", "commit-prune", "commit-staged", "revert", "upload", "wipe")}
OPERATIONS["commit-unsynced"] = Operation(
    "commit-unsynced", BY_NAME["commit"].prepare, write_and_commit,
    half_written)


def logged_run(disks, daemon, operation):
    """Run it on a disk that logs; (pool, log's disk, before, after)."""
    disk, log = disks.add(SIZE), disks.add(1024 * MIB)
    device = LogWrites(f"logged-{os.getpid()}", disk, log)
    top = shifted(f"top-{os.getpid()}", device.path)
    group = VolumeGroup(f"power-{os.getpid()}", top)
    group.add_thin_pool("vm-pool", 128 * MIB)
    pool = ThinPool(daemon, group, "vm-pool", keep=2)
    pool.up()
    operation.prepare(pool)
    before = by_content(view(pool))
    run("sync")
    device.mark("begin")
    operation.run(pool)
    device.mark("end")
    after = by_content(view(pool))
    pool.virt.destroy()
    lvm("vgchange", "-q", "-q", "-an", group.name)
    run("dmsetup", "remove", "--retry", top)
    device.close()
    # An image of it in its place is the only one of that name.
    disks.drop(disk)
    return pool, log, before, after


@pytest.mark.timeout_seconds(1800)
@pytest.mark.parametrize("name", OPERATIONS)
def test_loss_of_power(disks, daemon, name):
    """Section 6: the state after each flush is old or new, complete."""
    operation = OPERATIONS[name]
    pool, log, before, after = logged_run(disks, daemon, operation)
    points = some_of(flushes(Log(log), "begin", "end"))
    assert points, "no flushes were seen"
    failures = []
    try:
        for number, disk in replayed(disks, log, SIZE, points, SHIFT):
            daemon.restart()
            pool.group.device = disk
            try:
                pool.begin()
                seen = by_content(view(pool))
                good = operation.accepts(seen, before, after)
                if number == points[-1]:
                    good = operation.complete(seen, before, after)
                if not good or pool.files.at_rest():
                    failures.append(f"entry {number} of {points}: "
                                    f"{differences(seen, before)}; "
                                    f"{differences(seen, after)}")
                # Whether LVM makes and removes volumes there, too.
                operation.use(pool)
            except (AssertionError, OSError, libvirt.libvirtError) as error:
                failures.append(f"entry {number} of {points}: {error}")
                daemon.ensure()
            if pool.virt.isActive():
                pool.virt.destroy()
            lvm("vgchange", "-q", "-q", "-an", pool.group.name)
            disks.drop(disk)
    finally:
        pool.forget()
    assert not failures, "\n".join(failures)
