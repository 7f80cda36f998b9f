# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a pool start removes, killed at any step (design section 6)."""

import os
import re

import pytest

from crashrig import MOST_STEPS, run_killed, view
from operations import Operation, adopted, precached, two, volatile
from pools import pattern

pytestmark = pytest.mark.crash

ATTRIBUTE = "trusted.libvirt.storage"


def staging(pool):
    """Staging of a process that died."""
    two(pool)
    pool.files.put(pool.files.stage("a"), pattern("half"))


def stale_precache(pool):
    """A precache of a head that was written since."""
    precached(pool)
    pool.write("a", pattern("three"))


def unfinished_switch(pool):
    """A revision that is the head, and came after it."""
    two(pool)
    os.link(pool.files.head("a"), pool.files.new_revision("a", 9))


def copied_revision(pool):
    """A revision that is the head of somebody else's making: cp -al."""
    adopted(pool)
    os.link(pool.files.head("a"), pool.files.new_revision("a", 9))


def old_live_copy(pool):
    """A live copy of a volatile volume, made before the host's last boot."""
    volatile(pool)
    pool.start("v")
    pool.write("v@live", pattern("old"))
    path = pool.files.live("v")
    text = os.getxattr(path, ATTRIBUTE)
    older = re.sub(rb"&t=[0-9a-f]+", b"&t=1", text)
    assert older != text
    os.setxattr(path, ATTRIBUTE, older)


# How it is left, and whether it is dealt with.
LEFTOVERS = {
    "staging": (staging, lambda p: not p.files.exists(p.files.stage("a"))),
    "precache": (stale_precache,
                 lambda p: not p.files.exists(p.files.precache("a"))),
    "unfinished-switch": (unfinished_switch,
                          lambda p: p.files.revision("a", 9) is None),
    "copied-revision": (copied_revision,
                        lambda p: os.stat(p.files.head("a")).st_nlink == 1),
    "old-live-copy": (old_live_copy, lambda p: not p.has("v@live")),
}


def everything(pool):
    """What a client sees, and the files that there are."""
    return view(pool), pool.files.all()


@pytest.mark.parametrize("name", LEFTOVERS)
def test_killed_removal_of_leftovers(rig, name):
    """Section 6: a pool start, also after one that was killed at any step,
    leaves what one does that nobody disturbs."""
    prepare, is_done = LEFTOVERS[name]
    image, _ = rig.prepared(Operation("left-" + name, prepare, None))
    pool = rig.load(image)
    assert is_done(pool)
    wanted = everything(pool)
    failures = []
    for step in range(1, MOST_STEPS):
        pool = rig.load_killed(image, step)
        if pool is None:
            break
        if not is_done(pool) or everything(pool) != wanted:
            failures.append(f"killed at {step}: {everything(pool)}")
    rig.unload()
    assert step > 1, "no steps were seen"
    assert not failures, "\n".join(failures)


def is_empty(pool):
    """Whether there is a pool's directory, or none, and nothing in it."""
    return not os.path.exists(pool.path) or os.listdir(pool.path) == []


@pytest.mark.parametrize("call", ["build", "delete"])
def test_killed_build_or_delete_is_repeated(rig, call):
    """Section 3: make, or remove, the directory; a kill at any step leaves
    what can be built, and used, then."""
    for step in range(1, MOST_STEPS):
        pool = rig.load_stopped(rig.blank)
        if call == "build":
            os.rmdir(pool.path)
        steps = run_killed(rig, step, getattr(pool.virt, call))
        if len(steps) < step:
            break
        rig.daemon.wait_dead()
        rig.daemon.restart()
        assert is_empty(pool)
        pool.virt.build(0)
        pool.virt.create(0)
        pool.create("a", content="one")
        assert pool.holds("a", "one")
    rig.unload()
    assert step > 1, "no steps were seen"
