# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every operation that changes a pool, as crash and fault tests run it."""

import os
import time

import libvirt

from filesystems import run
from pools import MIB, VOLATILE, pattern, snapshot_of, volume_xml
from streams import upload
from users import loop

WITH_PINS = libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS
SHRINK = libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK


CLONING = ("xfs", "btrfs")
# On the last, a pool makes copies instead of clones.
KINDS = (*CLONING, "ext4")


class Operation:
    """prepare, run; which states are the old or the new one."""

    def __init__(self, name, prepare, run, between=None):
        self.name, self.prepare, self.run = name, prepare, run
        self._between = between

    def accepts(self, seen, before, after):
        """Whether a crash may leave this."""
        return seen in (before, after) or (
            self._between is not None and self._between(seen, before, after))

    def complete(self, seen, before, after):
        """Whether a call that returned success may leave this."""
        return self.accepts(seen, before, after) and seen != before

    @staticmethod
    def use(pool):
        """Afterwards the volume can be started, written and committed."""
        name = "a" if pool.has("a") else None
        if pool.has("a@live"):
            if name is None:
                pool.commit("a")
            else:
                pool.discard("a")
        if not pool.has("a"):
            pool.create("a", content="fresh")
        seen = pool.files.revision_ids("a")
        pool.redefine("a", keep=9)
        pool.cycle("a", "used")
        assert pool.holds("a", "used")
        new = [i for i in pool.revisions("a") if i not in seen]
        assert len(new) == 1 and new[0] > max(seen, default=0), (seen, new)
        pool.cycle("a", "used again")
        pool.refresh()
        assert pool.holds("a", "used again")
        assert pool.files.at_rest() == []


class InPlace(Operation):
    """One that writes what others see: a crash leaves any part of it."""

    def complete(self, seen, before, after):
        return seen == after


class UnsyncedCommit(InPlace):
    """Until the commit, the live copy is as far on disk as it happens to be."""

    @staticmethod
    def _without_live(seen):
        return {k: v for k, v in seen.items() if k != "a@live"}

    def accepts(self, seen, before, after):
        return seen == after or (
            "a@live" in seen
            and self._without_live(seen) == self._without_live(before))


class Precaching(Operation):
    """One after which the next live copy is cloned ahead."""

    @staticmethod
    def use(pool):
        """The precache, if there is one, is what a start would make."""
        if not pool.has("a@live"):
            content = pool.read("a")
            pool.start("a")
            assert pool.read("a@live") == content
            pool.discard("a")
        Operation.use(pool)


def one(pool, **options):
    """A volume."""
    pool.create("a", content="one", **options)


def two(pool, keep=3):
    """A volume with two revisions."""
    pool.create("a", content="one", keep=keep)
    pool.cycle("a", "two")
    pool.cycle("a", "three")


def running(pool, keep=3):
    """A volume with two revisions and a written live copy."""
    two(pool, keep)
    pool.start("a")
    pool.write("a@live", pattern("live"))


def quiet(pool):
    """A volume without a precache."""
    two(pool)
    pool.redefine("a")
    pool.write("a", pattern("four"))
    pool.refresh()


def precached(pool):
    """A volume with a precache."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    pool.wait_precache("a")


def pair(pool):
    """Another volume beside it."""
    two(pool)
    pool.create("x", 2 * MIB, content="staged")


def pinned(pool):
    two(pool)
    pool.pin("a", "w")


def sourced(pool):
    two(pool)
    pool.create("n", None, lifecycle=snapshot_of("a"))


def staged(pool):
    """A live copy that is no snapshot of the head."""
    pair(pool)
    pool.stage("x", "a")


def own_revision(pool):
    """A live copy of an earlier state, which is not the head's."""
    two(pool)
    pool.stage(f"a@{first(pool)}", "a")
    with open(pool.device("a@live"), "r+b") as file:
        file.write(pattern("edited"))


def started(pool):
    """A volume with a live copy that was not written to."""
    two(pool)
    pool.start("a")


def commit_unsynced(pool):
    """Commit what a machine wrote and never flushed."""
    with open(pool.device("a@live"), "r+b") as file:
        file.write(pattern("unsynced"))
    pool.commit("a")


def unwritten(pool):
    """A live copy, so old that the head of it is, that nobody wrote to."""
    two(pool)
    pool.age("a")
    pool.refresh()
    pool.start("a")


def volatile(pool):
    """A volume that is blank at every start, beside another."""
    two(pool)
    pool.create("v", lifecycle=VOLATILE)


def qcow2(pool):
    """A written volume of the format qcow2, beside another."""
    one(pool)
    pool.create("q", 4 * MIB, fmt="qcow2")
    run("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 128k", "-c", "flush",
        pool.device("q"))
    pool.refresh()


def mixed(pool):
    """Volumes in all states, one with more revisions than the pool keeps."""
    two(pool, keep=9)
    pool.cycle("a", "four")
    pool.cycle("a", "five")
    pool.pin("a", "w")
    pool.start("a")
    pool.create("x", 2 * MIB, content="x")
    pool.create("d/n", content="n")


# What Qubes, or somebody with cp, left: files without metadata.


def adopted(pool):
    """A head and an older revision."""
    pool.files.put(pool.files.head("a"), pattern("one"))
    pool.files.put(pool.files.new_revision("a", 3), pattern("three"))
    pool.refresh()


def adopted_running(pool):
    """A head, an older revision and a live copy."""
    pool.files.put(pool.files.live("a"), pattern("live"))
    adopted(pool)


def lone(pool):
    """A live copy without a head."""
    pool.files.put(pool.files.live("a"), pattern("live"))
    pool.refresh()


def linked(pool):
    """A head that is another one's inode."""
    pool.files.put(pool.files.head("x"), pattern("template"))
    os.link(pool.files.head("x"), pool.files.head("a"))
    pool.refresh()


def linked_running(pool):
    """The same, with a live copy."""
    pool.files.put(pool.files.live("a"), pattern("live"))
    linked(pool)


def first(pool):
    return pool.revisions("a")[0]


def unpruned(seen, before, after):
    """The new state, with revisions that were to go still there."""
    extra = {k: v for k, v in seen.items() if k not in after}
    rest = {k: v for k, v in seen.items() if k in after}
    return rest == after and all(before.get(k) == v and "@" in k
                                 for k, v in extra.items())


def partly_deleted(seen, before, after):
    """Deleting goes revisions first, then the head."""
    if "a" not in seen:
        return False
    return all(before.get(k) == v for k, v in seen.items()) and (
        seen["a"] == before["a"])


def regenerated(seen, before, after):
    """The old size with the new generation, which goes ahead of it."""
    return seen == {**before, "a facts": after["a facts"]}


def partly_written(seen, before, _):
    """Anything in the live copy; all else as it was."""
    return {**seen, "a@live": None} == {**before, "a@live": None}


def renumbered(seen, before, after):
    """The old state with the new volume facts, which go ahead of a switch."""
    return without_facts(seen) == without_facts(before) and all(
        value in (before[name], after[name]) for name, value in seen.items()
        if name.endswith(" facts"))


def without_facts(seen):
    return {k: v for k, v in seen.items() if not k.endswith(" facts")}


def other_pool_volume(pool):
    """A volume of a stock pool, outside the file system under test."""
    conn = pool.daemon.conn
    try:
        stock = conn.storagePoolLookupByName("rig-source")
    except libvirt.libvirtError:
        stock = conn.storagePoolDefineXML(
            "<pool type='dir'><name>rig-source</name><target><path>"
            f"{pool.outside}</path></target></pool>", 0)
        stock.build(0)
    if not stock.isActive():
        stock.create(0)
    try:
        return stock.storageVolLookupByName("far.raw")
    except libvirt.libvirtError:
        vol = stock.createXML(volume_xml("far.raw", MIB, fmt="raw"), 0)
        with open(vol.path(), "r+b") as file:
            file.write(pattern("far"))
        return vol


def copy_far(pool):
    pool.create_from(other_pool_volume(pool), "b", xml=volume_xml("b"))


def stage_far(pool):
    pool.create_from(other_pool_volume(pool), "a@live",
                     xml=volume_xml("a@live"))


def grow_in_place(pool):
    """Grow a head that a loop device has open, which keeps its inode."""
    with loop(pool.files.head("a")):
        pool.vol("a").resize(2 * MIB, 0)


def commit_and_precache(pool, seconds=4):
    """Commit, and wait for the precache, or for the end of the daemon."""
    pool.commit("a")
    end = time.monotonic() + seconds
    while (time.monotonic() < end and pool.daemon.alive()
           and not pool.files.exists(pool.files.precache("a"))):
        time.sleep(0.02)


COMMON = [
    Operation("create", one, lambda p: p.create("b")),
    Operation("create-preallocated", one,
              lambda p: p.create("b", allocation=MIB)),
    Operation("create-nested", one, lambda p: p.create("d/e/b")),
    Operation("create-qcow2", one, lambda p: p.create("b", fmt="qcow2")),
    Operation("create-snapshot", two,
              lambda p: p.create("b", None, lifecycle=snapshot_of("a"))),
    Operation("clone", two, lambda p: p.clone("a", "b")),
    Operation("clone-revision", two,
              lambda p: p.clone(f"a@{first(p)}", "b")),
    Operation("clone-larger", two,
              lambda p: p.clone("a", "b", xml=volume_xml("b", 4 * MIB))),
    Operation("start", quiet, lambda p: p.start("a")),
    Operation("start-precached", precached, lambda p: p.start("a")),
    Operation("start-snapshot", sourced, lambda p: p.start("n")),
    Operation("stage", pair, lambda p: p.stage("x", "a")),
    Operation("commit", running, lambda p: p.commit("a")),
    Operation("commit-prune", lambda p: running(p, keep=2),
              lambda p: p.commit("a"), unpruned),
    UnsyncedCommit("commit-unsynced", started, commit_unsynced),
    Operation("commit-staged", staged, lambda p: p.commit("a")),
    Operation("commit-own-revision", own_revision, lambda p: p.commit("a")),
    Operation("commit-keep-0", lambda p: running(p, keep=0),
              lambda p: p.commit("a"), unpruned),
    Operation("discard", running, lambda p: p.discard("a")),
    Operation("revert", two, lambda p: p.revert("a", first(p))),
    Operation("pin", two, lambda p: p.pin("a", "word")),
    Operation("redefine", two, lambda p: p.redefine("a", keep=4)),
    Operation("redefine-prune", two, lambda p: p.redefine("a", keep=1),
              unpruned),
    Operation("grow", two, lambda p: p.vol("a").resize(2 * MIB, 0)),
    Operation("shrink", two, lambda p: p.vol("a").resize(MIB // 2, SHRINK)),
    Operation("resize-live", running,
              lambda p: p.vol("a").resize(2 * MIB, 0)),
    Operation("upload", two, lambda p: upload(p, "a", pattern("sent"))),
    Operation("wipe", two, lambda p: p.vol("a").wipe(0)),
    Operation("delete", two, lambda p: p.delete("a"), partly_deleted),
    Operation("delete-pinned", pinned, lambda p: p.delete("a", WITH_PINS),
              partly_deleted),
    Operation("delete-revision", two, lambda p: p.delete(f"a@{first(p)}")),
    Operation("copy-between-pools", one, copy_far),
]

# What only an image in a directory can be, and what takes other ways to the
# same switch.
SPECIAL = [
    Operation("start-volatile", volatile, lambda p: p.start("v")),
    Operation("stage-far", two, stage_far),
    Operation("commit-unwritten", unwritten, lambda p: p.commit("a")),
    Precaching("precache", unwritten, commit_and_precache),
    Operation("commit-lone", lone, lambda p: p.commit("a")),
    Operation("commit-adopted", adopted_running, lambda p: p.commit("a"),
              renumbered),
    Operation("commit-linked", linked_running, lambda p: p.commit("a"),
              renumbered),
    Operation("revert-adopted", adopted, lambda p: p.revert("a", 3),
              renumbered),
    Operation("redefine-linked", linked, lambda p: p.redefine("a", keep=4)),
    Operation("grow-linked", linked, lambda p: p.vol("a").resize(2 * MIB, 0)),
    Operation("grow-in-place", two, grow_in_place, regenerated),
    InPlace("upload-live", running,
            lambda p: upload(p, "a@live", pattern("sent")), partly_written),
    Operation("wipe-qcow2", qcow2, lambda p: p.vol("q").wipe(0)),
    Operation("grow-qcow2", qcow2,
              lambda p: p.vol("q").resize(8 * MIB, 0)),
]

# They change nothing where nothing is to be cleaned up.
REFRESHING = [
    Operation("refresh", mixed, lambda p: p.refresh()),
    Operation("restart", mixed, lambda p: p.restart()),
]

OPERATIONS = COMMON + SPECIAL
BY_NAME = {o.name: o for o in OPERATIONS + REFRESHING}
NAMES = [o.name for o in OPERATIONS]
REFRESHES = [o.name for o in REFRESHING]
READING = ["commit", "start", "start-precached", "commit-linked", "revert",
           "upload", "clone", "delete-pinned"]

# What has other steps in a pool without clones: copies, or changes in place.
IN_PLACE = ("grow", "shrink", "grow-linked")
COPYING = ("create-snapshot", "clone", "clone-larger", "start",
           "start-snapshot", "stage", "commit-prune", "commit-unwritten",
           "revert", "pin", "upload", "redefine-linked", *IN_PLACE)


def fits(kind, name):
    """Whether the operation is worth a run on that file system."""
    return kind in CLONING or name in COPYING


def operation_on(kind, name):
    """The operation, with what a crash may leave on that file system."""
    operation = BY_NAME[name]
    if kind in CLONING or name not in IN_PLACE:
        return operation
    return Operation(name, operation.prepare, operation.run, regenerated)


# Where the usual run has which; all others are much the same, and for --long.
USUAL = {
    "test_loss_of_power": {
        "xfs": [o.name for o in COMMON] + [
            "precache", "commit-lone", "commit-linked", "grow-in-place",
            "upload-live"],
        "btrfs": [o.name for o in COMMON],
        "ext4": ["commit-prune"]},
    "test_state_left_by_a_kill": {"xfs": [o.name for o in COMMON]},
    # test_state_left_by_a_kill has the states that the others leave.
    "test_daemon_killed": {
        "xfs": ["commit-prune", "upload", "revert", "delete-pinned"],
        "btrfs": ["commit-prune", "upload"]},
    "test_killed_recovery_is_repeated": {"xfs": ["commit-prune"]},
    "test_failing_call": {
        "xfs": [o.name for o in COMMON] + [
            "commit-linked", "grow-in-place", "upload-live"]},
    "test_failing_read": {"xfs": ["commit", "start"]},
    "test_failing_read_of_a_refresh": {"xfs": ["refresh"]},
    "test_killed_removal_of_leftovers": {
        "xfs": ["staging", "unfinished-switch", "old-live-copy"]},
}
