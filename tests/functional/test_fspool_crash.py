# SPDX-License-Identifier: LGPL-2.1-or-later
"""An fspool after a kill or a loss of power at any step (section 6)."""

import os
import subprocess

import libvirt
import pytest

from crashrig import (MOST_STEPS, Rig, check, check_images,
                      differences, killed_at, killed_everywhere, result_of,
                      run_killed, view)
from fsplaces import IN_GUEST, FEATURES, Shelf
from fspoolpool import FsPool
from fstrees import put
from operations import Operation, partly_deleted, unpruned
from pools import MIB, usually, wait_for

pytestmark = pytest.mark.crash

WITH_PINS = libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS
LIMIT = 32 * MIB
# The others are like one of these; there are many steps.
KINDS = ["xfs-project", "ext4-project"] if IN_GUEST else [
    "btrfs-full", "btrfs-simple", "xfs-none", "ext4-none"]


class FsRig(Rig):
    """One kind of file system with an fspool in it."""

    def __init__(self, workspace, daemon, kind, stepper):
        super().__init__(Shelf(workspace, kind), daemon, kind, stepper)
        self.features = FEATURES[kind].split()

    def pool(self):
        """The pool in the mounted file system, not started."""
        pool = FsPool(self.daemon, None, name=f"rig-{self.kind}",
                      path=os.path.join(self.where, "p"), keep=2)
        # Not below the stepper.
        pool.scratch = self.store
        return pool.define()


class FsOperation(Operation):
    """An operation on items; what it needs of the file system."""

    def __init__(self, name, prepare, run, between=None, needs=None):
        super().__init__(name, prepare, run, between)
        self.needs = needs

    @staticmethod
    def use(pool):
        """Afterwards the item can be changed, and its ids only grow."""
        if not pool.has("a"):
            pool.create("a", content="fresh")
        seen = pool.revisions("a")
        pool.redefine("a", keep=9)
        pool.cycle("a", "used")
        new = [i for i in pool.revisions("a") if i not in seen]
        assert len(new) == 1 and new[0] > max(seen, default=0), (seen, new)
        pool.revert("a", new[0])
        pool.clone("a", "after")
        pool.delete("after")
        pool.refresh()
        assert pool.files.at_rest() == []
        listed = [n for n in pool.names() if "@" in n]
        assert len(pool.files.kept()) == len(listed)


def one(pool):
    """An item."""
    pool.create("a", content="one", keep=3)


def two(pool, keep=3):
    """An item with two revisions."""
    pool.create("a", content="one", keep=keep)
    pool.cycle("a", "two")
    pool.cycle("a", "three")


def pruning(pool):
    """One whose next revision costs the oldest."""
    two(pool, keep=2)


def pinned(pool):
    """One that has a pinned revision, too."""
    two(pool)
    pool.pin("a", "w")


def limited(pool):
    """An item with a limit."""
    pool.create("a", LIMIT, content="one", keep=3)
    pool.cycle("a", "two")


def first(pool):
    return pool.revisions("a")[0]


OPERATIONS = {o.name: o for o in [
    FsOperation("create", one, lambda p: p.create("b", mode="0700")),
    FsOperation("create-nested", one, lambda p: p.create("d/e/b")),
    FsOperation("create-limited", one, lambda p: p.create("b", LIMIT),
                needs="limits"),
    FsOperation("clone", two, lambda p: p.clone("a", "b")),
    FsOperation("clone-nested", two, lambda p: p.clone("a", "d/b")),
    FsOperation("clone-limited", limited, lambda p: p.clone("a", "b"),
                needs="limits"),
    FsOperation("clone-revision", two, lambda p: p.clone(f"a@{first(p)}",
                                                         "b")),
    FsOperation("revert", two, lambda p: p.revert("a", first(p))),
    FsOperation("revert-pinned", pinned, lambda p: p.revert("a", "w")),
    FsOperation("revert-limited", limited, lambda p: p.revert("a", first(p)),
                needs="limits"),
    FsOperation("pin", two, lambda p: p.pin("a", "word")),
    FsOperation("redefine", two, lambda p: p.redefine("a", keep=4)),
    FsOperation("redefine-prune", two, lambda p: p.redefine("a", keep=1),
                unpruned),
    FsOperation("upload", two, lambda p: p.cycle("a", "sent")),
    FsOperation("upload-prune", pruning, lambda p: p.cycle("a", "sent"),
                unpruned),
    FsOperation("wipe", two, lambda p: p.vol("a").wipe(0)),
    FsOperation("resize", limited, lambda p: p.vol("a").resize(2 * LIMIT, 0),
                needs="limits"),
    FsOperation("delete", two, lambda p: p.delete("a"), partly_deleted),
    FsOperation("delete-pinned", pinned, lambda p: p.delete("a", WITH_PINS),
                partly_deleted),
    FsOperation("delete-nested", lambda p: p.create("d/e/b", content="one"),
                lambda p: p.delete("d/e/b")),
    FsOperation("delete-revision", two, lambda p: p.delete(f"a@{first(p)}")),
]}

PAIRS = [(kind, name) for kind in KINDS for name, o in OPERATIONS.items()
         if o.needs is None or o.needs in FEATURES[kind].split()]
# Each takes half a minute. In the usual run: all that has a step of its own.
USUAL = ("create-limited", "clone-nested", "revert-limited", "redefine-prune",
         "upload-prune", "delete-pinned")


def each_operation(test):
    """On every kind of file system; most are for the long run."""
    pairs = [pair if pair[1] in USUAL
             else pytest.param(*pair, marks=pytest.mark.long) for pair in PAIRS]
    return pytest.mark.parametrize("fsrig,name", pairs, indirect=["fsrig"],
                                   scope="session")(test)


each_kind = pytest.mark.parametrize("fsrig", KINDS, indirect=True,
                                    scope="session")


@pytest.fixture(scope="session")
def fsrig(request, workspace, daemon, stepper):
    """A file system whose every state can be looked at."""
    rig = FsRig(workspace, daemon, request.param, stepper)
    yield rig
    rig.close()


@each_operation
@pytest.mark.timeout_seconds(600)
def test_loss_of_power(fsrig, name):
    """Section 6: loss of power at any step: old or new, complete."""
    operation = OPERATIONS[name]
    before, after, final, images = fsrig.collect(operation, power=True)
    assert images, "no steps were seen"
    failures = check_images(fsrig, operation, images, before, after)
    seen = view(fsrig.load(final))
    fsrig.unload()
    if not operation.complete(seen, before, after):
        failures.append("not durable when the call returned: "
                        f"{differences(seen, after)}")
    assert not failures, "\n".join(failures)


@each_operation
@pytest.mark.timeout_seconds(600)
def test_state_left_by_a_kill(fsrig, name):
    """Section 6: the trees as a kill at any step leaves them."""
    operation = OPERATIONS[name]
    before, after, _, images = fsrig.collect(operation, power=False)
    assert images, "no steps were seen"
    failures = check_images(fsrig, operation, images, before, after)
    assert not failures, "\n".join(failures)


@each_operation
@pytest.mark.long
@pytest.mark.timeout_seconds(1800)
def test_daemon_killed(fsrig, name):
    """Section 6: kill -9 at every step, a new daemon, a pool start."""
    operation = OPERATIONS[name]
    step, failures = killed_everywhere(fsrig, operation)
    assert step > 1, "no steps were seen"
    assert not failures, "\n".join(failures)


@each_kind
@pytest.mark.slow
@pytest.mark.timeout_seconds(1800)
@pytest.mark.parametrize("name", usually(["upload-prune"], [
    "revert", "delete"], pytest.mark.long))
def test_killed_recovery_is_repeated(fsrig, name):
    """Section 6: also when the pool start before was killed at any step."""
    operation = OPERATIONS[name]
    before, after, _, images = fsrig.collect(operation, power=False)
    failures = []
    for number, (path, at) in enumerate(images):
        for step in range(1, 12) if number % 3 == 0 else ():
            pool = fsrig.load_killed(path, step)
            if pool is None:
                break
            try:
                check(pool, operation, before, after,
                      f"{at}, recovery killed at {step}", use=False)
            except (AssertionError, OSError, libvirt.libvirtError) as error:
                failures.append(str(error))
        os.unlink(path)
    fsrig.unload()
    assert not failures, "\n".join(failures)


def large(pool):
    """An item whose removal takes a while, and one beside it."""
    pool.create("a", content="one")
    pool.create("b", content="two")
    for number in range(40):
        place = f"{pool.device('a')}/{number}"
        os.mkdir(place)
        for inner in range(40):
            put(f"{place}/{inner}", b"x")
    subprocess.run(["sync", "-f", pool.path], check=True)


@each_kind
@pytest.mark.timeout_seconds(600)
def test_killed_delete_is_resumed(fsrig):
    """Section 6: a removal that was interrupted, again and again, ends; and
    the item is never seen in part."""
    operation = FsOperation("delete-large", large, lambda p: p.delete("a"))
    image, before = fsrig.prepared(operation)
    pool = fsrig.load(image)
    for step in (2, 3, 40, 400, 700):
        steps = run_killed(fsrig, step, lambda: pool.delete("a")
                           if pool.has("a") else pool.refresh())
        if len(steps) >= step:
            fsrig.daemon.wait_dead()
        fsrig.daemon.restart()
        pool.begin()
        seen = view(pool)
        assert seen.get("b") == before["b"]
        assert seen.get("a") in (None, before["a"])
    if pool.has("a"):
        pool.delete("a")
    wait_for(lambda: not pool.files.leftovers(), 60, "all removed")
    assert pool.names() == ["b"] and pool.holds("b", "two")
    fsrig.unload()


@each_kind
@pytest.mark.timeout_seconds(600)
def test_repeated_crashes_lose_no_revision(fsrig):
    """H9: an upload killed five times at a step; retention is kept."""
    operation = OPERATIONS["upload-prune"]
    image, _, _ = result_of(fsrig, operation)
    failures = []
    for step in range(3, MOST_STEPS, 9):
        pool = fsrig.load(image)
        hit = None
        for _ in range(5):
            hit = killed_at(fsrig, pool, operation, step)
            if hit is None:
                break
            tags = pool.history("a")
            wanted = (["one", "two"] if pool.holds("a", "three")
                      else ["two", "three"])
            if tags[-2:] != wanted:
                failures.append(f"step {step} ({hit}): {tags}")
            if not pool.holds("a", "three"):
                break
        if hit is None:
            break
    fsrig.unload()
    assert not failures, "\n".join(failures)
