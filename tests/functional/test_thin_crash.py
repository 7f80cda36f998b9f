# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kills and failures at every LVM process (design section 6, N01)."""

import os

import libvirt
import pytest

from crashrig import differences, view
from disks import Disks
from operations import BY_NAME, Operation, regenerated
from pools import pattern, usually
from thincrash import MOST_PROCESSES, ThinRig, by_content

pytestmark = pytest.mark.crash

NAMES = ["create", "create-snapshot", "clone", "clone-revision",
         "clone-larger", "start", "start-snapshot", "stage", "commit",
         "commit-prune", "commit-staged", "commit-own-revision",
         "commit-keep-0", "discard", "revert", "pin", "redefine",
         "redefine-prune", "grow", "shrink", "resize-live", "upload", "wipe",
         "delete", "delete-pinned", "delete-revision", "copy-between-pools"]
# Those that take more than one process, where a kill finds a state between.
LONG = ["commit-prune", "revert", "upload", "delete-pinned"]
# Each takes a minute or two. In the usual run: each way of failing once, on a
# switch by merge or one by renames.
USUAL = {"test_daemon_killed": ("revert",),
         "test_failing_process": ("commit-prune",),
         "test_process_that_fails_late": ("revert",),
         "test_process_that_outlives_the_daemon": ("commit-prune",)}


def operations(test, names=tuple(NAMES)):
    """All of them, most of them marked as slow."""
    return usually(USUAL[test], [n for n in names if n not in USUAL[test]])


def named(name):
    """The operation, with what lies between its processes here."""
    operation = BY_NAME[name]
    if name in ("grow", "shrink"):
        return Operation(name, operation.prepare, operation.run, regenerated)
    return operation



@pytest.fixture(scope="module")
def thin_rig(workspace, daemon, spy):
    """A thin pool whose state can be put back."""
    folder = os.path.join(workspace.path, "thin-rig")
    os.makedirs(folder, exist_ok=True)
    some = Disks(folder)
    a_rig = ThinRig(some, daemon, spy)
    yield a_rig
    a_rig.close()
    some.close()


def undisturbed(rig, operation):
    """The views before and after, and the number of processes."""
    before = rig.restore(operation)
    commands, problem = rig.run(operation)
    assert problem is None, problem
    assert commands, "no processes were seen"
    return before, by_content(view(rig.pool)), len(commands)


def cut(rig, operation, action, before, after):
    """Cut the operation at each of its processes; the failures."""
    failures, state = [], after
    for number in range(1, MOST_PROCESSES):
        if state != before:
            rig.restore(operation)
        where = f"{operation.name}: {action} process {number}"
        state = None
        try:
            commands, problem = rig.run(operation, action, number)
            if len(commands) < number:
                assert problem is None, problem
                return failures
            where += f" ({commands[number - 1]})"
            if action in ("fail", "late"):
                told = by_content(view(rig.pool))
                if problem is None:
                    assert operation.complete(told, before, after), (
                        f"{where}: success was told")
                assert operation.accepts(told, before, after), (
                    f"{where}: after the error {differences(told, before)}")
                rig.spy.reset()
                rig.pool.refresh()
            else:
                rig.after_kill()
            state = rig.check(operation, before, after, where)
            if action == "orphan":
                rig.spy.wait_orphan()
                rig.pool.refresh()
                state = rig.check(operation, before, after, where)
        except (AssertionError, OSError, libvirt.libvirtError) as error:
            failures.append(f"{where}: {error}")
    return failures


@pytest.mark.timeout_seconds(400)
@pytest.mark.parametrize("name", operations("test_daemon_killed"))
def test_daemon_killed(thin_rig, name):
    """N01: kill -9 at every process, which ends its work; a pool start.

    That is the state between it and the next one. Before the first, there is
    nothing.
    """
    operation = named(name)
    before, after, _ = undisturbed(thin_rig, operation)
    failures = cut(thin_rig, operation, "during", before, after)
    assert not failures, "\n".join(failures)


@pytest.mark.timeout_seconds(400)
@pytest.mark.parametrize("name", operations("test_failing_process"))
def test_failing_process(thin_rig, name):
    """Section 3: every n-th lvm fails: told, nothing lost, no leftovers."""
    operation = named(name)
    before, after, _ = undisturbed(thin_rig, operation)
    failures = cut(thin_rig, operation, "fail", before, after)
    assert not failures, "\n".join(failures)


@pytest.mark.timeout_seconds(400)
@pytest.mark.parametrize("name", operations("test_process_that_fails_late"))
def test_process_that_fails_late(thin_rig, name):
    """An lvm that has done its work and says that it has failed, as when it
    cannot activate what it has merged: the state is the old or the new one."""
    operation = named(name)
    before, after, _ = undisturbed(thin_rig, operation)
    failures = cut(thin_rig, operation, "late", before, after)
    assert not failures, "\n".join(failures)


@pytest.mark.timeout_seconds(400)
@pytest.mark.parametrize("name", operations(
    "test_process_that_outlives_the_daemon", LONG))
def test_process_that_outlives_the_daemon(thin_rig, name):
    """An lvm that waits for LVM's lock goes on when the daemon is killed; what
    it is about to do is not taken for undone by the next daemon."""
    operation = named(name)
    before, after, _ = undisturbed(thin_rig, operation)
    failures = cut(thin_rig, operation, "orphan", before, after)
    assert not failures, "\n".join(failures)


@pytest.mark.slow
@pytest.mark.timeout_seconds(900)
@pytest.mark.parametrize("name", LONG)
def test_use_after_a_kill(thin_rig, name):
    """N01: after each of them the volume is startable, with new ids."""
    operation = BY_NAME[name]
    _, _, count = undisturbed(thin_rig, operation)
    for number in range(1, count + 1):
        thin_rig.restore(operation)
        thin_rig.run(operation, "during", number)
        operation.use(thin_rig.after_kill())


@pytest.mark.slow
@pytest.mark.timeout_seconds(900)
def test_repeated_crashes_evict_no_revision(thin_rig):
    """H9, N01: crash a commit again and again; no revision goes."""
    operation = BY_NAME["commit-prune"]
    _, _, count = undisturbed(thin_rig, operation)
    failures = []
    for number in range(1, count + 1):
        thin_rig.restore(operation)
        pool, history = thin_rig.pool, ["one", "two", "three", "live"]
        for _ in range(3):
            if not pool.has("a@live"):
                assert pool.holds("a", history[-1])
                history.append(f"round {len(history)}")
                pool.start("a")
                pool.write("a@live", pattern(history[-1]))
            assert pool.holds("a@live", history[-1])
            assert pool.holds("a", history[-2])
            commands, _ = thin_rig.run(operation, "during", number)
            if len(commands) < number:
                break
            thin_rig.after_kill()
        thin_rig.spy.reset()
        if pool.has("a@live"):
            pool.commit("a")
        kept = [t for i in pool.revisions("a") for t in history
                if pool.holds(f"a@{i}", t)]
        if kept[-2:] != history[-3:-1] or not pool.holds("a", history[-1]):
            failures.append(f"process {number}: {kept}, {history}")
    assert not failures, "\n".join(failures)


@pytest.mark.slow
@pytest.mark.timeout_seconds(900)
@pytest.mark.parametrize("name", ["commit", "revert", "upload"])
def test_killed_recovery_is_repeated(thin_rig, name):
    """Section 6: the next pool start repairs what the last one left."""
    operation = BY_NAME[name]
    before, after, count = undisturbed(thin_rig, operation)
    failures = []
    for number in range(1, count + 1):
        for step in range(1, MOST_PROCESSES):
            thin_rig.restore(operation)
            thin_rig.run(operation, "during", number)
            thin_rig.daemon.wait_dead()
            thin_rig.daemon.restart()
            thin_rig.spy.plan("during", step)
            try:
                thin_rig.pool.begin()
            except libvirt.libvirtError:
                pass
            if len(thin_rig.spy.commands()) < step:
                break
            try:
                thin_rig.after_kill()
                thin_rig.check(operation, before, after,
                               f"{number}, recovery killed at {step}")
            except (AssertionError, libvirt.libvirtError) as error:
                failures.append(str(error))
    assert not failures, "\n".join(failures)
