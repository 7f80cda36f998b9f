# SPDX-License-Identifier: LGPL-2.1-or-later
"""Thin pools whose metadata cannot be changed (design section 6).

It is told what to do, and nothing is worsened: LVM notes what it has a thin
pool make or remove before it asks the pool, which may refuse.
"""

import os
import struct

import pytest

from pools import pattern, refused, usually
from thincalls import CALLS, some
from thinpool import CHECK
from volumegroup import lvm

BLOCK = 4096
NEEDS_CHECK = 1


def crc32c(data):
    """The checksum of Castagnoli, not inverted at its end."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc


def flag(pool):
    """Note what the kernel does when it could not write a change."""
    at = pool.group.superblock_at(pool.thin)
    fd = os.open(pool.group.device, os.O_RDWR)
    try:
        os.posix_fadvise(fd, at, BLOCK, os.POSIX_FADV_DONTNEED)
        block = bytearray(os.pread(fd, BLOCK, at))
        flags, = struct.unpack_from("<I", block, 4)
        struct.pack_into("<I", block, 4, flags | NEEDS_CHECK)
        struct.pack_into("<I", block, 0, crc32c(block[4:]) ^ 160774)
        os.pwrite(fd, block, at)
        os.fsync(fd)
    finally:
        os.close(fd)


def more(pool):
    """Volumes for all calls, and a live copy that is discarded."""
    some(pool)
    pool.create("s", content="one")
    pool.start("s")
    pool.write("s@live", pattern("two"))


@pytest.fixture
def flagged(own):
    """A pool that needs a check, and runs all the same."""
    pool = own()
    more(pool)
    pool.put_away()
    flag(pool)
    return pool.begin()


def first(pool):
    return pool.revisions("a")[0]


MAKING = CALLS | {"wipe": lambda p: p.vol("a").wipe()}
REMOVALS = {
    "discard": lambda p: p.discard("s"),
    "delete-revision": lambda p: p.delete(f"a@{first(p)}"),
    "delete": lambda p: p.delete("b"),
    "delete-all": lambda p: p.delete("a"),
}


def all_refused(pool, calls):
    """With what to do about it; LVM's records stay as they are."""
    before = pool.group.metadata()["logical_volumes"]
    for call in calls.values():
        with refused(match=CHECK):
            call(pool)
    assert pool.group.metadata()["logical_volumes"] == before


def test_nothing_is_removed_from_a_pool_that_needs_a_check(flagged):
    """What the pool would not forget is not forgotten by LVM either."""
    all_refused(flagged, REMOVALS)
    assert flagged.holds("s@live", "two") and flagged.holds("b", "bee")


@pytest.mark.slow
def test_nothing_is_made_in_a_pool_that_needs_a_check(flagged):
    """Refused before anything changes; what is there can be read."""
    all_refused(flagged, MAKING)
    assert flagged.holds("a", "two")
    assert flagged.holds(f"a@{first(flagged)}", "one")


@pytest.mark.slow
@pytest.mark.parametrize("keep", usually([0], [1]))
def test_commit_in_a_pool_that_needs_a_check(flagged, keep):
    """A commit by renames asks nothing of the pool; it prunes later."""
    flagged.redefine("r", keep=keep)
    flagged.commit("r")
    flagged.refresh()
    assert flagged.holds("r", "two") and not flagged.dirty("r")
    (kept,) = flagged.revisions("r")
    assert flagged.holds(f"r@{kept}", "one")


@pytest.mark.slow
def test_pool_that_was_checked_as_told_works(flagged):
    """The advice is one that helps."""
    all_refused(flagged, {"create": CALLS["create"]})
    flagged.put_away()
    flagged.check_as_told()
    flagged.begin()
    flagged.commit("r")
    flagged.clone("a", "n")
    for call in REMOVALS.values():
        call(flagged)
    assert flagged.holds("r", "two") and flagged.holds("n", "two")
    assert flagged.names() == ["n", "r", f"r@{flagged.revisions('r')[0]}", "s"]


@pytest.mark.slow
def test_check_that_fails_is_told(own, wrapped, configured):
    """LVM's own words, with what to do; that done, all works."""
    pool = own()
    more(pool)
    pool.put_away()
    before = pool.group.metadata()["logical_volumes"]
    configured('global { thin_check_executable = "/bin/false" }')
    with refused(match="Check of pool .*lvconvert --repair"):
        pool.virt.create(0)
    assert pool.group.metadata()["logical_volumes"] == before
    wrapped("")
    pool.put_away()
    lvm("lvconvert", "-q", "-q", "-y", "--repair",
        f"{pool.group.name}/{pool.thin}")
    pool.begin()
    pool.commit("r")
    assert pool.holds("r", "two") and pool.holds("a", "two")
    assert pool.names() == ["a", f"a@{first(pool)}", "b", "r",
                            f"r@{pool.revisions('r')[0]}", "s", "s@live"]
