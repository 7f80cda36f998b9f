# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inode numbers that repeat: subvolumes of Btrfs inside a pool (section 6)."""

import os
import shutil

import pytest

from filesystems import run
from pools import INVALID, MIB, pattern
from users import loop


@pytest.fixture
def twins(pools):
    """A pool with the volume a and, in a subvolume, its twin sub/a: another
    volume whose files have the same inode numbers."""
    if "btrfs" not in pools.home:
        pytest.skip("one numbering for all of the file system")
    pool = pools(keep=3).define()
    run("btrfs", "subvolume", "create", pool.path)
    pool.virt.create(0)
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.files.at_rest()
    run("btrfs", "subvolume", "snapshot", pool.path, pool.path + "/sub")
    pool.refresh()
    assert_twins(pool, "a", "sub/a")
    return pool


def assert_twins(pool, name, other):
    """Two files that only the device tells apart."""
    one, two = (os.stat(pool.files.of(n)) for n in (name, other))
    assert one.st_ino == two.st_ino and one.st_dev != two.st_dev


def test_twins_are_two_volumes(twins):
    """Each has its own content and revisions, after refresh and restart."""
    twins.cycle("sub/a", "three")
    twins.refresh()
    twins.restart()
    assert twins.holds("a", "two") and twins.holds("sub/a", "three")
    assert len(twins.revisions("a")) == 1
    assert len(twins.revisions("sub/a")) == 2


def test_twin_is_no_hard_link_of_the_head(twins):
    """Section 5: cloned apart is what shares the inode, not its number."""
    before = twins.files.identity(twins.files.head("a"))
    with_twin = twins.files.identity(twins.files.head("sub/a"))
    twins.redefine("a", keep=5)
    twins.restart()
    assert twins.files.identity(twins.files.head("a")) == before
    assert twins.files.identity(twins.files.head("sub/a")) == with_twin
    assert twins.dump("a").find("revisions").get("keep") == "5"
    assert twins.dump("sub/a").find("revisions").get("keep") != "5"


def test_revision_with_the_number_of_a_head_is_kept(twins):
    """Section 6: unfinished is what is the same device and inode: a revision
    in the subvolume, with an id to come, is none of the head outside."""
    twins.virt.destroy()
    head, place = twins.files.head("sub/a"), twins.files.new_revision(
        "sub/a", 9)
    os.rename(head, place)
    shutil.copy(place, head)
    twins.virt.create(0)
    assert_twins(twins, "a", "sub/a@9")
    before = twins.files.tree()
    twins.refresh()
    twins.restart()
    assert twins.files.tree() == before
    assert twins.holds("sub/a@9", "two") and 9 in twins.revisions("sub/a")


def test_unfinished_commit_beside_a_twin_is_undone(twins):
    """Section 6: the same name and inode in one subvolume: undone there."""
    (first,) = twins.revisions("a")
    twins.virt.destroy()
    os.link(twins.files.head("a"), twins.files.new_revision("a", first + 1))
    os.rename(twins.files.head("sub/a"),
              twins.files.new_revision("sub/a", first + 1))
    twins.files.put(twins.files.head("sub/a"), pattern("other"))
    twins.virt.create(0)
    assert twins.revisions("a") == [first]
    assert twins.holds(f"sub/a@{first + 1}", "two")
    assert twins.holds("sub/a", "other")


def test_loop_device_on_the_twin_is_no_user(twins):
    """Section 3: who uses the twin does not keep the volume from changes."""
    with loop(twins.device("sub/a")):
        with twins.refuses(INVALID):
            twins.delete("sub/a")
        twins.cycle("a", "three")
        twins.delete("a")
    assert twins.holds("sub/a", "two")


def test_precache_of_the_twin_is_not_used(twins):
    """Section 6: a precache is of one volume."""
    twins.cycle("a", "three", old=True)
    twins.wait_precache("a")
    run("cp", "-a", "--preserve=all", twins.files.precache("a"),
        twins.files.precache("sub/a"))
    twins.start("sub/a")
    assert twins.holds("sub/a@live", "two")


def test_overlay_on_its_twin_is_no_loop(twins):
    """Section 7: a chain is a loop if it comes back to the same file."""
    twins.create("q", 4 * MIB, fmt="qcow2")
    run("btrfs", "subvolume", "snapshot", twins.path, twins.path + "/next")
    twins.refresh()
    assert_twins(twins, "q", "next/q")
    run("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b",
        twins.files.head("next/q"), twins.files.head("q"))
    twins.refresh()
    member = twins.dump("q").find("backingStore")
    assert member.find("path").text == twins.files.head("next/q")
    assert member.find("format").get("type") == "qcow2"
