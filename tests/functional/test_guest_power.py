# SPDX-License-Identifier: LGPL-2.1-or-later
"""A loss of power at any flush of the disk below a reflink pool (section 6).

test_crash.py cuts between system calls, with all completed writes in order.
Here the device mapper logs the writes of the disk, so that what is looked at is
what a disk with a volatile cache is sure to have: it needs a guest.
"""

import contextlib
import itertools
import os

import libvirt
import pytest

from crashrig import differences, view
from filesystems import MIB, MKFS, run
from logwrites import Log, LogWrites, flushes, replayed, some_of
from operations import BY_NAME
from pools import usually
from reflinkpool import ReflinkPool

pytestmark = pytest.mark.crash

SIZE = 512 * MIB
KINDS = ["xfs", "btrfs"]
NAMES = ["commit-prune", "commit-unsynced", "clone", "create", "start",
         "start-snapshot", "stage", "pin", "revert", "upload", "wipe",
         "copy-between-pools"]
# The others take long.
USUAL = [("commit-prune", "xfs"), ("commit-prune", "btrfs"),
         ("clone", "btrfs")]


@contextlib.contextmanager
def mounted(kind, device, where):
    """The file system of a device, at that place."""
    os.makedirs(where, exist_ok=True)
    run("mount", "-o", "noatime", device, where)
    try:
        yield
    finally:
        run("umount", where)
        if kind == "btrfs":
            run("btrfs", "device", "scan", "--forget", device, check=False)


def logged_run(disks, daemon, kind, operation):
    """Run it on a disk that logs; (pool, log's disk, before, after)."""
    disk, log = disks.add(SIZE), disks.add(2048 * MIB)
    device = LogWrites(f"logged-{os.getpid()}", disk, log)
    run(*MKFS[kind], device.path)
    where = os.path.join(disks.folder, "mnt")
    with mounted(kind, device.path, where):
        pool = ReflinkPool(daemon, where, keep=2).up()
        operation.prepare(pool)
        before = view(pool)
        run("sync")
        device.mark("begin")
        operation.run(pool)
        device.mark("end")
        after = view(pool)
        pool.virt.destroy()
    device.close()
    disks.drop(disk)
    return pool, where, log, before, after


def problems(pool, operation, before, after, last):
    """What is wrong with the state that is mounted."""
    try:
        pool.begin()
        seen = view(pool)
        good = operation.complete if last else operation.accepts
        if not good(seen, before, after):
            yield f"{differences(seen, before)}; {differences(seen, after)}"
        if pool.files.at_rest():
            yield f"left over: {pool.files.leftovers()}"
        operation.use(pool)
    except (AssertionError, OSError, libvirt.libvirtError) as error:
        yield str(error)
        pool.daemon.ensure()
    if pool.virt.isActive():
        pool.virt.destroy()


@pytest.mark.timeout_seconds(1800)
@pytest.mark.parametrize("name, kind", usually(
    USUAL, [case for case in itertools.product(NAMES, KINDS)
            if case not in USUAL]))
def test_loss_of_power(disks, daemon, kind, name):
    """Section 6: the state after each flush is old or new, complete."""
    operation = BY_NAME[name]
    pool, where, log, before, after = logged_run(disks, daemon, kind,
                                                 operation)
    points = some_of(flushes(Log(log), "begin", "end"))
    assert points, "no flushes were seen"
    failures = []
    try:
        for number, disk in replayed(disks, log, SIZE, points):
            with mounted(kind, disk, where):
                failures += [f"entry {number} of {points}: {text}" for text
                             in problems(pool, operation, before, after,
                                         number == points[-1])]
            disks.drop(disk)
    finally:
        pool.forget()
    assert not failures, "\n".join(failures)
