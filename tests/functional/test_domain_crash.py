# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon killed at every step of what a domain does to its volumes."""

import pytest

from crashrig import run_killed
from domains import disk_on, domains
from pools import pattern, snapshot_of, usually, wait_for

STRIDE = 6
MOST = 100

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.usually_once,
              pytest.mark.timeout_seconds(900)]


@pytest.fixture(params=usually([1], range(2, STRIDE + 1), pytest.mark.long))
def steps(request):
    """Each sixth step; the rest with --long."""
    return range(request.param, MOST, STRIDE)


@pytest.fixture
def domain(daemon):
    """Makes a domain on live copies."""
    with domains(daemon) as new:
        yield lambda pool, *volumes: new(
            disk_on(pool, f"{volume}@live", f"vd{volume}")
            for volume in volumes)


def killed(rig, pool, step, run):
    """Whether there was such a step; then there is a new daemon."""
    if len(run_killed(rig, step, run)) < step:
        return False
    rig.daemon.wait_dead()
    rig.daemon.restart()
    pool.begin()
    return True


def at_each(rig, steps, scene):
    """Play a scene for each step on a file system of its own, until it returns
    that there is no such step."""
    done = 0
    for step in steps:
        if not scene(rig.load(rig.blank), step):
            break
        done += 1
    rig.unload()
    assert done > 0, "no steps were seen"


@pytest.mark.parametrize("rig", ["xfs"], indirect=True)
def test_daemon_killed_while_a_domain_ends(rig, steps, domain):
    """What it wrote is committed by the next daemon, or the domain finds it
    when it starts again."""
    def scene(pool, step):
        pool.create("a", content="one")
        vm = domain(pool, "a").start()
        pool.write("a@live", pattern("two"))
        if not killed(rig, pool, step, vm.stop):
            return False
        wait_for(lambda: not vm.runs(), 20, "the domain is over")
        assert pool.holds("a@live" if pool.dirty("a") else "a", "two")
        vm.start().stop()
        assert pool.holds("a", "two") and not pool.dirty("a")
        assert pool.holds(f"a@{pool.revisions('a')[0]}", "one")
        assert pool.files.at_rest() == []
        return True
    at_each(rig, steps, scene)


@pytest.mark.parametrize("rig", ["xfs"], indirect=True)
def test_daemon_killed_while_a_domain_is_saved(rig, steps, domain):
    """What its memory goes with is there as long as the memory is."""
    def scene(pool, step):
        pool.create("base", content="one")
        pool.create("a", None, lifecycle=snapshot_of("base"))
        vm = domain(pool, "a").define()
        vm.virt().create()
        pool.write("a@live", pattern("two"))
        if not killed(rig, pool, step, vm.virt().managedSave):
            return False
        if not vm.runs() and vm.virt().hasManagedSaveImage():
            vm.virt().create()
            assert pool.holds("a@live", "two")
        vm.drop()
        return True
    at_each(rig, steps, scene)


@pytest.mark.parametrize("rig", ["xfs"], indirect=True)
def test_daemon_killed_while_live_copies_are_made(rig, steps, domain):
    """The next start goes on with what was there, and makes the rest."""
    def scene(pool, step):
        pool.create("a", content="a")
        pool.create("b", content="b")
        pool.start("b")
        pool.write("b@live", pattern("before"))
        vm = domain(pool, "a", "b")
        if not killed(rig, pool, step, vm.try_to_start):
            vm.stop()
            return False
        if not vm.runs():
            assert pool.holds("b@live" if pool.dirty("b") else "b", "before")
            vm.start()
        vm.stop()
        assert pool.holds("a", "a") and pool.holds("b", "before")
        assert not pool.dirty("a") and not pool.dirty("b")
        assert pool.files.at_rest() == []
        return True
    at_each(rig, steps, scene)
