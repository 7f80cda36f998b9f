# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many clients, and work in the background (design sections 3, 6, 9)."""

import contextlib
import os
import threading
import time

import libvirt
import pytest

from daemon import apart
from fspoolpool import FsPool
from fstrees import put
from pools import MIB, running, wait_for



@pytest.mark.needs("local")
def test_pool_answers_while_a_copy_runs(fspool, fspools, ext4):
    """Section 9: what copies runs with the pool unlocked."""
    other = fspools(ext4).up()
    other.create("a", content="one")
    for number in range(40):
        put(f"{other.device('a')}/{number}", os.urandom(MIB))
    job = threading.Thread(target=fspool.clone, args=(other.vol("a"), "b"))
    job.start()
    slowest = 0
    with apart(fspool) as watched:
        while job.is_alive():
            began = time.monotonic()
            watched.names()
            slowest = max(slowest, time.monotonic() - began)
    job.join()
    assert slowest < 5
    assert len(os.listdir(fspool.device("b"))) == 43


@pytest.mark.needs("local")
def test_copy_tells_how_far_it_is(fspool, fspools, ext4, holds):
    """Section 3: reports progress, as the allocation of what is made."""
    fspool.begin()
    other = fspools(ext4).up()
    other.create("a")
    put(other.device("a") + "/large", os.urandom(8 * MIB))
    os.setxattr(other.device("a") + "/large", "user.comes", b"after the data")
    holds.arm("fsetxattr")
    with running(fspool.clone, other.vol("a"), "b"), \
            holds.during("fsetxattr"), apart(fspool) as watched:
        assert watched.vol("b").info()[2] >= 8 * MIB
    assert fspool.has("b")


@pytest.mark.needs("local")
def test_refresh_while_a_copy_runs(fspool, fspools, ext4):
    """Section 6: a refresh never removes work in progress."""
    other = fspools(ext4).up()
    other.create("a", content="one")
    for number in range(2000):
        put(f"{other.device('a')}/{number}", b"x")
    job = threading.Thread(target=fspool.clone, args=(other.vol("a"), "b"))
    job.start()
    with apart(fspool) as beside:
        while job.is_alive():
            with contextlib.suppress(libvirt.libvirtError):
                beside.refresh()
    job.join()
    assert len(os.listdir(fspool.device("b"))) == 2003
    assert fspool.files.at_rest() == []


def client(daemon, pool, number, problems):
    """One of many clients: the life of an item."""
    name = f"c{number % 2}/i{number}"
    try:
        own = FsPool(daemon, None, name=pool.name, path=pool.path)
        own.create(name, content=f"tag {number}")
        own.cycle(name, f"second {number}")
        own.pin(name, "w")
        own.revert(name, own.revisions(name)[0])
        assert own.holds(name, f"tag {number}")
        own.clone(name, f"copy{number}")
        own.delete(name, libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)
    except (AssertionError, OSError, libvirt.libvirtError) as error:
        problems.append(f"{number}: {error}")


def test_many_clients(fspool, daemon):
    """Section 3: each volume has a lock, and no more is locked."""
    problems = []
    jobs = [threading.Thread(target=client, args=(daemon, fspool, number,
                                                  problems))
            for number in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert problems == []
    assert fspool.names() == [f"copy{n}" for n in range(8)]
    wait_for(lambda: not fspool.files.leftovers(), 20, "all removed")


@pytest.mark.only_host
@pytest.mark.needs("local", "clones", "!btrfs")
def test_stop_interrupts_a_removal(fspool, holds):
    """Section 6: what is left of the tree goes after the next start."""
    fspool.begin().create("a")
    for number in range(100):
        put(f"{fspool.device('a')}/{number}")
    holds.arm("unlinkat")
    fspool.delete("a")
    with holds.during("unlinkat"), apart(fspool) as beside:
        stop = threading.Thread(target=fspool.virt.destroy)
        stop.start()
        wait_for(lambda: not beside.virt.isActive(), what="a stop")
        holds.release("unlinkat")
        stop.join()
    assert fspool.files.leftovers()
    fspool.virt.create()
    wait_for(lambda: not fspool.files.leftovers(), 20, "all removed")


@pytest.mark.needs("local")
def test_nothing_of_a_stopped_pool_is_open(fspools, small_fs):
    """Work in the background ends with the pool: its storage can go."""
    pool = fspools(small_fs.path).up()
    pool.create("a")
    for number in range(3000):
        put(f"{pool.device('a')}/{number}")
    pool.delete("a")
    pool.virt.destroy()
    done = small_fs.shelf.umount(small_fs.path)
    small_fs.shelf.mount(small_fs.image, small_fs.path)
    assert done, "busy: something is left open"
