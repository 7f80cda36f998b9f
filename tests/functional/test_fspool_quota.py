# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's quota records, others' too, and full file systems (5, 6)."""

import os
import subprocess
import time

import libvirt
import pytest

from filesystems import run
from fsplaces import FsHome, enable_quota, limit_project
from fstrees import archive, member, put, tar_of, write_until_full
from pools import INVALID, MIB, pattern, refused, wait_for


LIMIT = 32 * MIB
INVALID_ARG = libvirt.VIR_ERR_INVALID_ARG
SLACK = 2 * MIB

limits = pytest.mark.needs("limits")


def records_are(fs, before, pool):
    """Whether the kernel has no record that it had not before."""
    pool.refresh()
    fs.removed()
    return set(fs.records()) <= before


@pytest.mark.usually_once
@limits
def test_records_go_with_the_item(fspool, fs):
    """Section 3: delete: the quota record is freed."""
    fspool.create("other", LIMIT)
    before = set(fs.records())
    fspool.create("a", LIMIT, content="one", keep=3)
    fspool.cycle("a", "two")
    fspool.pin("a", "w")
    fspool.clone("a", "d/b")
    fspool.delete("a", libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)
    fspool.delete("d/b")
    wait_for(lambda: records_are(fs, before, fspool), 60, "records freed")
    assert fspool.size("other") == LIMIT


@limits
def test_records_go_with_revisions(fspool, fs):
    """Section 2: what retention removes, an abort, a refused operation."""
    fspool.create("a", LIMIT, content="one", keep=1)
    fspool.cycle("a", "two")
    before = len(fs.records())
    for number in range(4):
        fspool.cycle("a", f"more {number}")
    fspool.pin("a", "w")
    fspool.delete("a@w")
    with refused():
        fspool.upload("a", b"no archive")

    def freed():
        fspool.refresh()
        fs.removed()
        return len(fs.records()) <= before
    wait_for(freed, 60, "records freed")


@pytest.mark.needs("btrfs", "limits")
def test_other_groups_stay(fspool, fs):
    """Section 5: what is not ours is never removed."""
    other = fs.path + "/other"
    run("btrfs", "subvolume", "create", other)
    run("btrfs", "qgroup", "create", "1/77777", fs.path)
    run("btrfs", "qgroup", "limit", str(64 * MIB), "1/77777", fs.path)
    try:
        theirs = {"0/5", "1/77777", "0/" + subprocess.check_output(
            ["btrfs", "inspect-internal", "rootid", other],
            text=True).strip()}
        before = fs.records()
        fspool.create("a", LIMIT, content="one")
        fspool.cycle("a", "two")
        fspool.delete("a")
        fspool.restart()
        after = fs.records()
        assert after["1/77777"] == before["1/77777"]
        assert theirs <= set(after)
    finally:
        run("btrfs", "qgroup", "destroy", "1/77777", fs.path)
        run("btrfs", "subvolume", "delete", other)


def limit_by_hand(pool, name, size):
    """As an administrator does."""
    run("btrfs", "qgroup", "limit", str(size), pool.device(name))


@pytest.mark.needs("btrfs", "full")
def test_limit_that_was_set_by_hand_is_changed(fspool):
    """Section 5: the kernel's records are the only store of limits."""
    fspool.create("a", LIMIT)
    limit_by_hand(fspool, "a", 2 * LIMIT)
    with refused(INVALID_ARG, match="shrink"):
        fspool.vol("a").resize(LIMIT, 0)
    fspool.vol("a").resize(LIMIT, libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK)
    fspool.refresh()
    assert fspool.size("a") == LIMIT


@pytest.mark.needs("btrfs", "full")
@pytest.mark.parametrize("change", ["revert", "upload", "wipe", "clone"])
def test_limit_that_was_set_by_hand_stays(fspool, change):
    """Section 5: likewise."""
    fspool.create("a", LIMIT, content="one")
    fspool.cycle("a", "two")
    limit_by_hand(fspool, "a", 2 * LIMIT)
    if change == "revert":
        fspool.revert("a", fspool.revisions("a")[0])
    elif change == "upload":
        fspool.upload("a", archive(member("file", b"content")))
    elif change == "wipe":
        fspool.vol("a").wipe(0)
    else:
        fspool.clone("a", "b")
    fspool.refresh()
    assert fspool.size("b" if change == "clone" else "a") == 2 * LIMIT


def check_new_quotas(pool):
    pool.create("a", content="one")
    time.sleep(3)   # from then on a refresh does not read them again
    pool.refresh()
    enable_quota(pool.path, "full")
    limit_by_hand(pool, "a", LIMIT)
    pool.refresh()
    assert pool.size("a") == LIMIT and pool.vol("a").info()[2] > 0
    pool.remove()


@pytest.mark.needs("btrfs", "full")
def test_quotas_switched_on_while_the_pool_runs(fspools, workspace):
    """Section 9: a refresh shows what is there."""
    home = FsHome("btrfs-none", workspace, 320 * MIB, "unlimited.img")
    try:
        check_new_quotas(fspools(home.path, features="required='no'").up())
    finally:
        home.close()


@pytest.mark.needs("project")
def test_other_projects_stay(fspool, fs):
    """Section 5: ids that others use are not taken, nor their limits."""
    fspool.create("probe", LIMIT)
    first = max(fs.records())
    taken = range(first + 1, first + 6)
    for ident in taken:
        place = f"{fs.path}/other-{ident}"
        os.mkdir(place)
        run("chattr", "+P", "-p", str(ident), place)
        limit_project(fs.device, ident, LIMIT * 3)
    try:
        before = fs.records()
        for number in range(8):
            fspool.create(f"a{number}", LIMIT)
        after = fs.records()
        assert {i: after[i] for i in taken} == {i: before[i] for i in taken}
        assert len(after) - len(before) == 8
    finally:
        for ident in taken:
            limit_project(fs.device, ident, 0)
            os.rmdir(f"{fs.path}/other-{ident}")


@pytest.mark.needs("project")
def test_record_of_a_file_that_stays_open_goes_later(fspool, fs):
    """Section 6: what had to wait is done by a refresh, at the latest."""
    before = set(fs.records())
    fspool.create("a", LIMIT, content="one")
    with open(fspool.device("a") + "/data", "rb"):
        fspool.delete("a")
        assert fspool.files.at_rest() == []
        time.sleep(4)  # until the daemon has looked, and found it counted
        assert not set(fs.records()) <= before
    wait_for(lambda: records_are(fs, before, fspool), 60, "records freed")


# A project that two items have


def moved_out(pool):
    """An item whose folder was moved out of it by hand, and is an item now: it
    still has the project."""
    pool.create("a", LIMIT, keep=3)
    os.mkdir(pool.device("a") + "/inner")
    put(pool.device("a") + "/inner/file", os.urandom(MIB))
    os.rename(pool.device("a") + "/inner", pool.path + "/moved")
    return pool.refresh()


def settle(pool):
    """From then on a refresh does not read again what has not changed."""
    time.sleep(3)
    pool.refresh()


def is_limited(pool, name):
    """Whether the limit is still the kernel's, and nothing gets past it."""
    pool.refresh()
    path = pool.device(name) + "/room"
    done = write_until_full(path, 2 * LIMIT)
    os.unlink(path)
    return pool.size(name) == LIMIT and done <= LIMIT + SLACK


@pytest.mark.needs("project")
def test_folder_that_moves_out_of_a_settled_item(fspool):
    """What moves from deep in it changes nothing that a refresh looks at."""
    fspool.create("a", LIMIT)
    os.makedirs(fspool.device("a") + "/deep/inner")
    settle(fspool)
    os.rename(fspool.device("a") + "/deep/inner", fspool.path + "/moved")
    fspool.refresh()
    for name in ("a", "moved"):
        with fspool.refuses(INVALID, match="clone"):
            fspool.vol(name).resize(2 * LIMIT, 0)
    settle(fspool)
    os.rmdir(fspool.path + "/moved")
    fspool.refresh()
    fspool.vol("a").resize(2 * LIMIT, 0)
    assert fspool.size("a") == 2 * LIMIT


@pytest.mark.needs("project")
@pytest.mark.parametrize("gone,left", [("a", "moved"), ("moved", "a")])
def test_limit_stays_with_who_has_the_project(fspool, gone, left):
    """Section 5: the record is an item's as long as it has the project."""
    moved_out(fspool).delete(gone)
    assert fspool.files.at_rest() == []
    assert is_limited(fspool, left)


@pytest.mark.needs("project")
@pytest.mark.parametrize("changed,other", [("a", "moved"), ("moved", "a")])
def test_upload_leaves_the_limit_of_who_has_the_project(fspool, changed,
                                                        other):
    """Section 2: a revision has no limit, but does not take another's."""
    moved_out(fspool).cycle(changed, "two")
    assert is_limited(fspool, other) and is_limited(fspool, changed)
    fspool.restart()
    assert is_limited(fspool, other) and is_limited(fspool, changed)


@pytest.mark.needs("project")
@pytest.mark.parametrize("name", ["a", "moved"])
def test_limit_of_two_items_is_not_changed_for_one(fspool, name):
    """Section 3: refused, with the way out; a clone has a limit of its own."""
    moved_out(fspool)
    with fspool.refuses(INVALID, match="clone"):
        fspool.vol(name).resize(2 * LIMIT, 0)
    fspool.clone(name, "own")
    fspool.vol("own").resize(2 * LIMIT, 0)
    assert fspool.size("own") == 2 * LIMIT
    assert fspool.size("a") == fspool.size("moved") == LIMIT


@pytest.mark.needs("project")
def test_two_items_with_a_project_are_told(fspool, daemon):
    """Section 5: a refresh warns of what claims the same project."""
    before = len(daemon.log())
    moved_out(fspool)
    told = [line for line in daemon.log()[before:].splitlines()
            if "'a'" in line and "'moved'" in line]
    assert told


@pytest.mark.needs("project")
def test_last_of_two_items_frees_the_record(fspool, fs):
    """Section 3: delete: the quota record is freed, by who is the last."""
    before = set(fs.records())
    moved_out(fspool).delete("moved")
    fspool.delete("a")
    wait_for(lambda: records_are(fs, before, fspool), 60, "records freed")


# A project that somebody else made


THEIRS = 4242


@pytest.fixture
def foreign(fspool, fs):
    """An item, and a directory elsewhere, of a project of /etc/projects."""
    places = [fspool.path + "/web", fs.path + "/elsewhere"]
    for place in places:
        os.mkdir(place)
        run("chattr", "+P", "-p", str(THEIRS), place)
    limit_project(fs.device, THEIRS, LIMIT)
    put(places[0] + "/data", b"one")
    yield fspool.refresh()
    os.rmdir(places[1])
    limit_project(fs.device, THEIRS, 0)


def limit_of_theirs(fs):
    """As the kernel has it."""
    return fs.records()[THEIRS][1]


@pytest.mark.needs("project")
def test_limit_of_a_foreign_project_is_shown(foreign):
    """Section 4: limits are read back from the kernel."""
    assert foreign.size("web") == LIMIT


@pytest.mark.needs("project")
@pytest.mark.parametrize("change", ["upload", "revert", "wipe", "delete"])
def test_limit_of_a_foreign_project_stays(foreign, fs, change):
    """Section 5: what is not ours is never changed, others may need it."""
    if change == "upload":
        foreign.cycle("web", "two")
    elif change == "revert":
        foreign.cycle("web", "two")
        foreign.revert("web", foreign.revisions("web")[0])
    elif change == "wipe":
        foreign.vol("web").wipe(0)
    else:
        foreign.delete("web")
    assert limit_of_theirs(fs) == LIMIT
    foreign.restart()
    assert limit_of_theirs(fs) == LIMIT


@pytest.mark.needs("project")
def test_limit_of_a_foreign_project_stays_without_files(foreign, fs):
    """Section 5: likewise, when the last directory that has it goes."""
    os.rename(fs.path + "/elsewhere", foreign.path + "/elsewhere")
    foreign.refresh()
    foreign.delete("web")
    foreign.delete("elsewhere")
    os.mkdir(fs.path + "/elsewhere")
    foreign.restart()
    assert limit_of_theirs(fs) == LIMIT


@pytest.mark.needs("project")
def test_limit_of_a_foreign_project_is_not_resized(foreign, fs):
    """Section 3: refused, with the way out; a clone has its own limit."""
    with foreign.refuses(INVALID, match=f"{THEIRS}.*clone"):
        foreign.vol("web").resize(2 * LIMIT, 0)
    assert limit_of_theirs(fs) == LIMIT
    foreign.clone("web", "own")
    foreign.vol("own").resize(2 * LIMIT, 0)
    assert foreign.size("own") == 2 * LIMIT
    assert limit_of_theirs(fs) == LIMIT


@pytest.mark.needs("project")
def test_upload_to_a_foreign_project_has_a_limit(foreign):
    """Section 2: the new content has the limit of the old."""
    foreign.cycle("web", "two")
    foreign.refresh()
    assert is_limited(foreign, "web")


@pytest.mark.needs("simple")
def test_nested_subvolume_does_not_escape(fspool):
    """Section 4: the limit holds for the whole tree."""
    fspool.create("a", LIMIT)
    inner = fspool.device("a") + "/inner"
    run("btrfs", "subvolume", "create", inner)
    assert write_until_full(inner + "/file", 3 * LIMIT) <= LIMIT + SLACK


# Full file systems


@pytest.mark.needs("local")
def test_full_file_system(fspools, small_fs):
    """Section 6: out of space: refused, with every item as it was."""
    pool = fspools(small_fs.path).up()
    pool.create("a", content="one")
    put(pool.device("a") + "/large", os.urandom(24 * MIB))
    write_until_full(small_fs.path + "/fill", 1024 * MIB)
    before = pool.digest("a")
    for call in (lambda: pool.upload("a", tar_of(pool.device("a"))),
                 lambda: pool.upload("a", archive(member(
                     "b", pattern("b", 48 * MIB)))),
                 lambda: pool.clone("a", "b"), lambda: pool.create("c")):
        try:
            call()
        except libvirt.libvirtError:
            continue
    assert pool.files.at_rest() == []
    os.unlink(small_fs.path + "/fill")
    pool.restart()
    assert pool.digest("a") == before or pool.revisions("a")
    for name in set(pool.names()) & {"b"}:
        assert pool.digest(name) == before
    pool.cycle("a", "two")
    assert pool.holds("a", "two")


# The pool's own sizes


def test_pool_has_the_file_systems_sizes(fspool):
    """Section 9: read from the file system, not added up."""
    run("sync", "-f", fspool.path)
    fspool.refresh()
    _, capacity, allocation, available = fspool.virt.info()
    info = os.statvfs(fspool.path)
    assert capacity == info.f_blocks * info.f_frsize
    assert abs(available - info.f_bavail * info.f_frsize) <= 16 * MIB
    assert allocation + available <= capacity
