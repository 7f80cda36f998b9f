# SPDX-License-Identifier: LGPL-2.1-or-later
"""EIO and ENOSPC at every step, and full file systems (design section 6)."""

import contextlib
import errno
import os
import re

import libvirt
import pytest

from crashrig import (MOST_STEPS, Stepper, check, differences, result_of,
                      view)
from domains import check_import_waits
from filesystems import run
from operations import BY_NAME, NAMES, READING, REFRESHES, operation_on
from pools import MIB, pattern, refused
from streams import upload


def fails_at(rig, operation, image, step, number, *options):
    """Run it with one failing call; (pool, step or None, error or None)."""
    pool = rig.load(image)
    problem = None
    with Stepper(rig, "-e", f"{step}:{number}", *options) as tracer:
        try:
            operation.run(pool)
        except libvirt.libvirtError as error:
            problem = error
        if len(tracer.steps()) < step:
            tracer.settle()
        steps = tracer.steps()
    return pool, steps[step - 1] if len(steps) >= step else None, problem


def check_fault(pool, operation, before, after, at, problem):
    """Reported or done; nothing lost; no leftovers after a refresh."""
    seen = view(pool)
    if problem is None:
        assert operation.complete(seen, before, after), (
            f"success was told, but: {differences(seen, after)}")
    else:
        assert problem.get_error_message()
        assert operation.accepts(seen, before, after), (
            f"neither old {differences(seen, before)} "
            f"nor new {differences(seen, after)}")
    pool.refresh()
    check(pool, operation, before, after, at)


def check_failed_refresh(pool, operation, before, after, at, problem):
    """Only what could not be read is missing, until the next refresh."""
    if problem is None:
        seen = view(pool)
        lost = {re.split("[@ ]", name)[0] for name in set(before) - set(seen)}
        other = {name for name in differences(seen, before) if name in seen}
        assert len(lost) <= 1, lost
        assert other <= {name + " facts" for name in lost}, other
    else:
        assert at.split(" ", 1)[1] == pool.path, problem
    pool.begin()
    check(pool, operation, before, after, at)


def fails_everywhere(rig, operation, number, check_one, *options):
    """Run it with each of its calls failing in turn; the failures."""
    image, before, after = result_of(rig, operation)
    failures = []
    for step in range(1, MOST_STEPS):
        pool, at, problem = fails_at(rig, operation, image, step, number,
                                     *options)
        if at is None:
            break
        try:
            check_one(pool, operation, before, after, at, problem)
        except (AssertionError, OSError, libvirt.libvirtError) as error:
            failures.append(f"step {step} ({at}; told: {problem}): {error}")
            rig.daemon.ensure()
    rig.unload()
    assert step > 1, "no steps were seen"
    return failures


@pytest.mark.crash
@pytest.mark.timeout_seconds(300)
@pytest.mark.parametrize("number", [
    pytest.param(errno.EIO, id="EIO"),
    pytest.param(errno.ENOSPC, id="ENOSPC", marks=pytest.mark.long)])
@pytest.mark.parametrize("name", NAMES)
def test_failing_call(rig, name, number):
    """Section 6: an error at any step: reported, nothing lost."""
    failures = fails_everywhere(rig, operation_on(rig.kind, name), number,
                                check_fault)
    assert not failures, "\n".join(failures)


@pytest.mark.crash
@pytest.mark.timeout_seconds(300)
@pytest.mark.parametrize("name", READING)
def test_failing_read(rig, name):
    """Section 6: an error of any call that reads: reported, nothing lost."""
    failures = fails_everywhere(rig, operation_on(rig.kind, name), errno.EIO,
                                check_fault, "-R")
    assert not failures, "\n".join(failures)


@pytest.mark.crash
@pytest.mark.timeout_seconds(300)
@pytest.mark.parametrize("name", REFRESHES)
def test_failing_read_of_a_refresh(rig, name):
    """Section 6: one bad file or directory never fails a refresh: it is
    skipped, and the others are listed."""
    failures = fails_everywhere(rig, BY_NAME[name], errno.EIO,
                                check_failed_refresh, "-R")
    assert not failures, "\n".join(failures)


def test_pool_without_hard_links_is_refused(rig):
    """Section 6: pool start probes what the pool relies on, links too."""
    pool = rig.load_stopped(rig.blank)
    with Stepper(rig) as tracer:
        pool.virt.create(0)
    link = [step.split()[0] for step in tracer.steps()].index("linkat") + 1
    pool.virt.destroy()
    with Stepper(rig, "-e", f"{link}:{errno.EPERM}"):
        with refused(libvirt.VIR_ERR_SYSTEM_ERROR, match="hard links"):
            pool.virt.create(0)
    assert not pool.virt.isActive()
    pool.virt.create(0)
    assert pool.files.all() == []
    rig.unload()


# Full file systems


def fill(where, leave):
    """Fill a file system but for some bytes; the file that fills it."""
    path = where + "/fill"
    with open(path, "wb") as file:
        while True:
            info = os.statvfs(where)
            free = info.f_bavail * info.f_frsize - leave
            if free < MIB:
                break
            try:
                file.write(b"\xa5" * min(free, 16 * MIB))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                break
    return path


@pytest.fixture
def full(pools, small):
    """A pool with some volumes on a file system that is full then."""
    pool = pools(small, keep=2).up()
    pool.create("a", 8 * MIB, content="one")
    pool.cycle("a", "two")
    pool.create("r", 8 * MIB, content="one")
    pool.start("r")
    pool.write("r@live", pattern("two", 8 * MIB))
    pool.filler = fill(small, 0)
    return pool


@pytest.mark.parametrize("call", ["upload", "preallocate", "wipe", "start",
                                  "clone", "pin", "revert", "grow"])
def test_full_file_system(full, call):
    """Section 6: refused with the reason, or done: nothing between (N12)."""
    pool = full
    calls = {
        "upload": lambda: upload(pool, "a", pattern("x", 8 * MIB)),
        "preallocate": lambda: pool.create("n", 64 * MIB,
                                           allocation=64 * MIB),
        "wipe": lambda: pool.vol("a").wipe(0),
        "start": lambda: pool.start("a"),
        "clone": lambda: pool.clone("a", "n"),
        "pin": lambda: pool.pin("a", "w"),
        "revert": lambda: pool.revert("a", pool.revisions("a")[0]),
        "grow": lambda: pool.vol("a").resize(16 * MIB, 0),
    }
    before = view(pool)
    try:
        calls[call]()
    except libvirt.libvirtError:
        assert view(pool) == before
    os.unlink(pool.filler)
    pool.refresh()
    assert pool.files.at_rest() == []
    assert pool.holds("r", "one") and pool.holds("r@live", "two")


def test_commit_works_when_full(full):
    """N12: stop and commit still work on a full pool."""
    full.commit("r")
    assert full.holds("r", "two")


def test_discard_works_when_full(full):
    """N12: what frees space always works."""
    full.discard("r")
    full.delete(f"a@{full.revisions('a')[0]}")
    full.delete("a")
    assert full.names() == ["r"]


def test_preallocation_beyond_the_free_space(pools, small):
    """Section 6: refused before anything changes, with an error that says
    which space is short."""
    pool = pools(small).up()
    with pool.refuses(match="space|full|ENOSPC"):
        pool.create("a", 4096 * MIB, allocation=4096 * MIB)
    assert pool.files.all() == []


def test_file_lost_behind_the_pools_back(pool):
    """A file that vanished is an error of that volume alone."""
    pool.create("a", content="one")
    pool.create("b", content="two")
    pool.start("a")
    os.unlink(pool.files.live("a"))
    with refused():
        pool.commit("a")
    pool.refresh()
    assert pool.holds("a", "one") and pool.holds("b", "two")
    assert not pool.dirty("a")


def test_read_only_file_system(pools, small, workspace):
    """A read-only file system: errors are told, nothing hangs."""
    pool = pools(small).up()
    pool.create("a", content="one")
    run("mount", "-o", "remount,ro", small)
    try:
        for call in (lambda: pool.create("b"), lambda: pool.start("a"),
                     lambda: pool.delete("a")):
            with refused():
                call()
        assert pool.holds("a", "one")
    finally:
        run("mount", "-o", "remount,rw", small)
    pool.refresh()
    assert pool.names() == ["a"]


@contextlib.contextmanager
def unchangeable(folder):
    """Nothing can be made in that directory, which a commit has to."""
    run("chattr", "+i", folder)
    try:
        with refused(match="cannot keep the former state"):
            yield
    finally:
        run("chattr", "-i", folder)


def test_import_keeps_its_marks_until_it_is_the_head(pool):
    """Section 8: also where the commit fails after it has written metadata."""
    check_import_waits(pool, unchangeable(pool.path))
