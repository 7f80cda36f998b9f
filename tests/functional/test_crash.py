# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kill or a loss of power at every step (design section 6, N01)."""

import os

import libvirt
import pytest

from crashrig import (check, check_images, differences, killed_at,
                      killed_everywhere, result_of, view)
from operations import BY_NAME, NAMES, operation_on
from pools import pattern, usually

pytestmark = pytest.mark.crash


@pytest.mark.timeout_seconds(300)
@pytest.mark.parametrize("name", NAMES)
def test_loss_of_power(rig, name):
    """Section 6: loss of power at any step: head old or new, complete."""
    operation = operation_on(rig.kind, name)
    before, after, final, images = rig.collect(operation, power=True)
    assert images, "no steps were seen"
    failures = check_images(rig, operation, images, before, after)
    seen = view(rig.load(final))
    rig.unload()
    if not operation.complete(seen, before, after):
        failures.append(f"not durable when the call returned: "
                        f"{differences(seen, after)}")
    assert not failures, "\n".join(failures)


@pytest.mark.timeout_seconds(300)
@pytest.mark.parametrize("name", NAMES)
def test_state_left_by_a_kill(rig, name):
    """Section 6: the files as a kill at any step leaves them."""
    operation = operation_on(rig.kind, name)
    before, after, _, images = rig.collect(operation, power=False)
    assert images, "no steps were seen"
    failures = check_images(rig, operation, images, before, after)
    assert not failures, "\n".join(failures)


@pytest.mark.slow
@pytest.mark.timeout_seconds(600)
@pytest.mark.parametrize("name", NAMES)
def test_daemon_killed(rig, name):
    """Section 6: kill -9 at every step, a new daemon, a pool start."""
    operation = operation_on(rig.kind, name)
    step, failures = killed_everywhere(rig, operation)
    assert step > 1, "no steps were seen"
    assert not failures, "\n".join(failures)


def next_round(pool, history):
    """Have a written live copy; a commit that was done moves history on."""
    if not pool.has("a@live"):
        assert pool.holds("a", history[-1])
        history.append(f"round {len(history)}")
        pool.start("a")
        pool.write("a@live", pattern(history[-1]))
    assert pool.holds("a@live", history[-1])
    assert pool.holds("a", history[-2])


@pytest.mark.slow
@pytest.mark.timeout_seconds(600)
def test_repeated_crashes_evict_no_revision(rig):
    """H9, N01: crash a commit five times at each step; no revision goes."""
    operation = BY_NAME["commit-prune"]
    image, _, _ = result_of(rig, operation)
    stride = 1 if rig.kind == "xfs" else 3
    step, failures = 1, []
    while True:
        pool = rig.load(image)
        history = ["one", "two", "three", "live"]
        hit = None
        for _ in range(5):
            next_round(pool, history)
            hit = killed_at(rig, pool, operation, step)
            if hit is None:
                break
            assert pool.files.at_rest() == []
        if hit is None:
            break
        next_round(pool, history)
        pool.commit("a")
        pool.cycle("a", "end")
        history.append("end")
        ids = pool.revisions("a")
        kept = [t for i in ids for t in history if pool.holds(f"a@{i}", t)]
        if kept != history[-3:-1]:
            failures.append(f"step {step} ({hit}): {kept}, {history}")
        step += stride
    rig.unload()
    assert step > 1, "no steps were seen"
    assert not failures, "\n".join(failures)


@pytest.mark.slow
@pytest.mark.timeout_seconds(600)
@pytest.mark.parametrize("name", usually(["commit-prune"], [
    "upload", "wipe-qcow2", "delete-pinned", "redefine-prune"],
    pytest.mark.long))
def test_killed_recovery_is_repeated(rig, name):
    """Section 6: the next pool start brings everything to a clean state,
    also when the one before it was killed at any step."""
    operation = BY_NAME[name]
    before, after, _, images = rig.collect(operation, power=False)
    keep = {}
    for path, at in images:
        if "rename" in at or "link" in at or "setxattr" in at:
            keep[path] = at
        else:
            os.unlink(path)
    failures = []
    for path, at in keep.items():
        for step in range(1, 12):
            pool = rig.load_killed(path, step)
            if pool is None:
                break
            try:
                check(pool, operation, before, after,
                      f"{at}, recovery killed at {step}", use=False)
            except (AssertionError, OSError, libvirt.libvirtError) as error:
                failures.append(str(error))
        os.unlink(path)
    rig.unload()
    assert not failures, "\n".join(failures)
