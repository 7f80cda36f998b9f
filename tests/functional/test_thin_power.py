# SPDX-License-Identifier: LGPL-2.1-or-later
"""A loss of power at any flush of the disk (design section 6, N01)."""

import os

import libvirt
import pytest

from crashrig import differences, view
from disks import SHIFT, shifted
from filesystems import MIB, run
from logwrites import Log, LogWrites, apply, flushes
from operations import BY_NAME
from thincrash import by_content
from thinpool import ThinPool
from volumegroup import VolumeGroup, lvm

pytestmark = [pytest.mark.crash, pytest.mark.slow]

SIZE = 256 * MIB
MOST_POINTS = 8


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


def images(disks, log, wanted):
    """A disk with what is there after each of these entries."""
    base = os.path.join(disks.folder, "base")
    with open(base, "wb") as file:
        file.truncate(SIZE)
    fd = os.open(base, os.O_RDWR)
    try:
        for number, entry in enumerate(Log(log)):
            apply(fd, *entry)
            if number in wanted:
                copy = f"{base}-{number}"
                run("cp", "--sparse=always", base, copy)
                yield number, disks.attach(copy, offset=SHIFT)
    finally:
        os.close(fd)
        os.unlink(base)


def some_of(points):
    """Not more than can be looked at, with the first and the last."""
    if len(points) <= MOST_POINTS:
        return points
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return sorted({points[round(i * step)] for i in range(MOST_POINTS)})


@pytest.mark.timeout_seconds(1800)
@pytest.mark.parametrize("name", ["start", "commit-prune", "revert", "upload",
                                  "wipe"])
def test_loss_of_power(disks, daemon, name):
    """Section 6: the state after each flush is old or new, complete."""
    operation = BY_NAME[name]
    pool, log, before, after = logged_run(disks, daemon, operation)
    points = some_of(flushes(Log(log), "begin", "end"))
    assert points, "no flushes were seen"
    failures = []
    try:
        for number, disk in images(disks, log, points):
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
