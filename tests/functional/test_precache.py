# SPDX-License-Identifier: LGPL-2.1-or-later
"""When a live copy is cloned ahead, and when it is used (section 6).

That some two and a half seconds after a commit, if at all.
"""

import os
import time

import pytest

from filesystems import run
from pools import pattern, wait_for
from straced import held_up
from users import qemu

DELAY = 2.5     # from the commit to the clone
AFTER = 3.5     # no clone is made any more


def committed(pool):
    """A volume whose head, old enough, was just committed; when that was."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    return time.monotonic()


def is_made(pool, since):
    """Whether there is a precache once it is too late for one."""
    time.sleep(since + AFTER - time.monotonic())
    return os.path.exists(pool.files.precache("a"))


def test_none_while_the_head_is_open_for_writing(pool):
    """Section 6: none while the head is open for writing."""
    since = committed(pool)
    with qemu(pool.device("a")):
        assert not is_made(pool, since)


def test_made_while_the_head_is_read(pool):
    """Section 6: a reader changes nothing, and is no reason for none."""
    committed(pool)
    with qemu(pool.device("a"), readonly=True):
        pool.wait_precache("a")


def test_none_of_a_head_written_just_now(pool):
    """Section 6: none of a head younger than 2 s: a coarse clock could hide
    a write behind the clone."""
    since = committed(pool)
    time.sleep(DELAY - 0.8)
    pool.write("a", pattern("by hand"))
    assert not is_made(pool, since)
    pool.start("a")
    assert pool.holds("a@live", "by hand")


def test_none_of_a_head_younger_than_two_seconds(pool):
    """Section 6: 2 s, wherever in a second the clone comes."""
    # The clone is early in a second then, and the write late in another.
    time.sleep((0.8 - time.time()) % 1)
    since = committed(pool)
    written = time.time() + DELAY - 1.6
    os.utime(pool.files.head("a"), (written, written))
    assert not is_made(pool, since)


def test_older_head_gets_one(pool):
    """Section 6: the same with a head that is old enough."""
    committed(pool)
    written = time.time() + DELAY - 3.5
    os.utime(pool.files.head("a"), (written, written))
    pool.wait_precache("a")


def test_write_at_once_makes_it_unused(pool):
    """Section 6: valid only for the head that it is a clone of."""
    committed(pool)
    pool.wait_precache("a")
    pool.write("a", pattern("by hand"))
    pool.start("a")
    assert pool.holds("a@live", "by hand")


@pytest.mark.parametrize("call", ["fsync", "renameat2"])
def test_write_after_the_clone_is_in_the_live_copy(pool, tmp_path, call):
    """Section 6: the head before and after the clone: one that is written
    while the clone is made durable, or named, makes it unused."""
    committed(pool)
    with held_up(pool.daemon, tmp_path / "calls", call, 2):
        wait_for(pool.is_cloning, what="clone")
        time.sleep(0.5)
        with open(pool.device("a"), "r+b") as file:
            file.write(pattern("by hand"))
        assert pool.is_cloning()
        assert not os.path.exists(pool.files.precache("a"))
        wait_for(lambda: not pool.is_cloning(), what="end of the clone")
    assert os.path.exists(pool.files.precache("a")) == (call == "renameat2")
    pool.start("a")
    assert pool.holds("a@live", "by hand")


def test_machine_can_start_on_the_head_meanwhile(pool, holds):
    """Section 6: nobody waits for a clone that is made ahead."""
    committed(pool)
    holds.arm("fsync")
    with holds.during("fsync"):
        assert pool.is_cloning()
        run("qemu-io", "-f", "raw", "-c", "length", pool.device("a"))
