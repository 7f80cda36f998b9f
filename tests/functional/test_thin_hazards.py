# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hazards H* and tests N* of Qubes' lvm_thin driver, on thin pools.

Of both pool types: H1 N02 test_inuse, test_delete; H8 H19 test_boot; H16 N13
test_revisions; H22 N22 test_lifecycle; and with --all-thin H10 test_lifecycle,
H11 H13 N09 N10 test_concurrency, H18 N14 test_revisions.
Of thin pools: N01 test_thin_crash, test_thin_power; H9 test_thin_crash; H14
N19 test_thin_admin; H20 N12 N15 test_thin_limits; N11 test_thin_names; N16
test_thin_pool; N20 test_thin_processes.

H4, N05: there is no mode -1; revisions without a head are kept, and the newest
is the head: test_thin_adoption, which has Qubes' import (H6), too. H17:
commit-prune in test_thin_crash. H21: below, and commit-prune with a process
that fails in test_thin_crash. H12, N17: below, and full pools in
test_thin_limits.
"""

import contextlib
import glob
import os
import threading

import libvirt
import pytest

from domains import check_import_waits
from pools import (INVALID, MIB, pattern, refused, snapshot_of, usually,
                   wait_for)
from streams import upload
from users import looking_udev, opened
from volumegroup import lvm

SHRINK = libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK
FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")


def revision_tags(pool, name, tags):
    """Which of these contents the revisions hold, oldest first."""
    return [t for i in pool.revisions(name) for t in tags
            if pool.holds(f"{name}@{i}", t)]


@pytest.mark.parametrize("call", usually(["revert", "delete"], [
    "wipe", "upload", "shrink", "commit"]))
def test_h1_reader_keeps_its_data(pool, call):
    """H1, I#7376: refused with nothing touched, or the reader reads on."""
    pool.create("a", 4 * MIB, content="one")
    pool.cycle("a", "two")
    (first,) = pool.revisions("a")
    if call == "commit":
        pool.start("a")
        pool.write("a@live", pattern("three"))
    calls = {"revert": lambda: pool.revert("a", first),
             "wipe": lambda: pool.vol("a").wipe(0),
             "delete": lambda: pool.delete("a"),
             "upload": lambda: upload(pool, "a", pattern("sent")),
             "shrink": lambda: pool.vol("a").resize(MIB, SHRINK),
             "commit": lambda: pool.commit("a")}
    done = False
    with open(pool.device("a"), "rb", buffering=0) as reader:
        data = reader.read(MIB)
        before = pool.files.tree()
        try:
            calls[call]()
            done = True
        except libvirt.libvirtError as error:
            assert error.get_error_code() == INVALID
            assert pool.files.tree() == before
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while part := reader.read(MIB):
            data += part
    assert data == pattern("two", 4 * MIB)
    if not done:
        calls[call]()


@pytest.mark.slow
def test_h1_udev_beside_a_reader_refuses_nothing(pool):
    """udev looks into a device when it likes, and is no user of it."""
    pool.create("a", content="one")
    with opened(pool.device("a"), readonly=True), \
            looking_udev(pool.device("a")):
        for _ in range(10):
            pool.start("a")
            pool.discard("a")


@pytest.mark.slow
def test_h1_revision_being_read_is_not_pruned(pool):
    """H1, H21, N21: deferred; then gone, or intact."""
    pool.create("a", 4 * MIB, content="one")
    pool.cycle("a", "two")
    (first,) = pool.revisions("a")
    with open(pool.device(f"a@{first}"), "rb", buffering=0) as reader:
        data = reader.read(MIB)
        pool.cycle("a", "three")
        pool.cycle("a", "four")
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while part := reader.read(MIB):
            data += part
    assert data == pattern("one", 4 * MIB)
    if first in pool.revisions("a"):
        assert pool.holds(f"a@{first}", "one")
    pool.cycle("a", "five")
    assert first not in pool.revisions("a")
    assert revision_tags(pool, "a", ["one", "two", "three", "four"]) == [
        "four"]


@pytest.mark.slow
def test_h5_revert_is_undone_by_a_revert(pool):
    """H5: the abandoned state is a revision; the chosen one stays."""
    pool.create("a", content="one", keep=2)
    pool.cycle("a", "two")
    pool.revert("a", pool.revisions("a")[0])
    assert revision_tags(pool, "a", ["one", "two"]) == ["one", "two"]
    pool.revert("a", pool.revisions("a")[-1])
    assert pool.holds("a", "two")


def staged(pool):
    """What a daemon that died during an upload leaves."""
    files = pool.files
    tag = files.volume(files.head("a")).tags[0]
    return files.copy(files.head("a"), files.stage("a"), "--addtag", tag)


def test_h6_n06_stale_staging_is_removed(pool):
    """H6, N06: staging that nobody holds goes at start and at refresh."""
    pool.create("a", content="one")
    for again in (pool.restart, pool.refresh):
        staged(pool)
        again()
        assert pool.files.all() == ["a"]
    pool.cycle("a", "two")


def test_staging_of_somebody_else_is_kept(pool):
    """Section 5: without our tag it is not ours."""
    pool.create("a", content="one")
    place = pool.files.put(pool.files.stage("a"), pattern("half"))
    pool.refresh()
    pool.restart()
    assert pool.files.exists(place)


def test_h6_staging_that_a_process_holds_is_kept(pool):
    """Section 6: held means: somebody has it open."""
    pool.create("a", content="one")
    place = staged(pool)
    with opened(place):
        pool.refresh()
        assert pool.files.exists(place)
    pool.refresh()
    assert not pool.files.exists(place)


@pytest.mark.parametrize("call", usually(["commit"], [
    "revert", "start", "discard", "clone", "delete", "wipe", "resize"]))
def test_h7_n07_inactive_volumes(pool, call):
    """H7, N07: what is inactive is there all the same."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    live = call in ("commit", "discard")
    if live:
        pool.start("a")
        pool.write("a@live", pattern("three"))
    for name in pool.files.all():
        pool.files.change(pool.files.place(name), "-an")
    (first,) = pool.revisions("a")
    {"start": lambda: pool.start("a"), "commit": lambda: pool.commit("a"),
     "discard": lambda: pool.discard("a"),
     "clone": lambda: pool.clone("a", "b"),
     "revert": lambda: pool.revert("a", first),
     "delete": lambda: pool.delete("a"),
     "wipe": lambda: pool.vol("a").wipe(0),
     "resize": lambda: pool.vol("a").resize(2 * MIB, 0)}[call]()
    pool.restart()
    wanted = {"start": "two", "commit": "three", "discard": "two",
              "clone": "two", "revert": "one"}
    if call in wanted:
        assert pool.holds("a", wanted[call])
    if call == "start":
        assert pool.holds("a@live", "two")
    if call == "delete":
        assert pool.files.all() == []
    if call == "resize":
        assert pool.size("a") == 2 * MIB


def test_h7_inactive_leftover_does_not_block_a_start(pool):
    """H7, I#3964: an inactive live copy is one: told, and continued."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.files.change(pool.files.live("a"), "-an")
    with refused(libvirt.VIR_ERR_STORAGE_VOL_EXIST, INVALID):
        pool.start("a")
    pool.restart()
    assert pool.holds("a@live", "two")
    pool.files.change(pool.files.live("a"), "-an")
    pool.discard("a")
    pool.start("a")


@pytest.mark.slow
def test_merge_that_is_put_off_loses_no_revision(pool, spy):
    """Section 6: LVM merges once nobody has the head open any more."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    spy.plan("slow", 2)
    errors = []

    def commit():
        try:
            pool.commit("a")
        except libvirt.libvirtError as error:
            errors.append(error)

    job = threading.Thread(target=commit)
    job.start()
    wait_for(lambda: len(spy.commands()) == 2, 20, "the merge")
    with opened(pool.device("a")):
        job.join()
        assert [e.get_error_code() for e in errors] == [INVALID]
        pool.refresh()
        assert pool.holds("a", "one") and len(pool.revisions("a")) == 1
    pool.refresh()
    assert pool.holds("a", "two")
    assert revision_tags(pool, "a", ["one", "two"]) == ["one"]
    assert not pool.dirty("a") and pool.generation("a") == 2


def test_import_keeps_its_marks_until_it_is_the_head(pool, spy):
    """Section 8: also where LVM fails at the first of the renames."""
    @contextlib.contextmanager
    def failing():
        spy.plan("fail", 2)
        with refused(match="injected failure"):
            yield
        spy.reset()
    check_import_waits(pool, failing())


def test_revision_of_a_merge_that_never_came_takes_no_place(pool, spy, daemon):
    """H9, N01: nor while somebody reads it, when it cannot be removed."""
    pool.create("a", content="one", keep=2)
    pool.cycle("a", "two")
    pool.cycle("a", "three")
    before = pool.files.all()
    pool.start("a")
    pool.write("a@live", pattern("four"))
    spy.plan("during", 1)
    with refused():
        pool.commit("a")
    daemon.wait_dead()
    spy.reset()
    (unfinished,) = wait_for(
        lambda: set(pool.files.all()) - {"a-snap", *before}, 20, "the process")
    place = pool.files.place(unfinished)
    wait_for(lambda: os.path.exists(place), 20, "udev")
    with opened(place, readonly=True):
        daemon.restart()
        pool.begin()
        pool.commit("a")
        assert revision_tags(pool, "a", ["one", "two", "three"]) == [
            "two", "three"]
        assert len(pool.revisions("a")) == 2
    pool.refresh()
    assert len(pool.files.all()) == 3 and pool.holds("a", "four")


def test_wipe_that_failed_leaves_no_facts_to_a_later_head(pool, spy):
    """Section 6: LVM numbers its thin devices, and uses numbers again."""
    pool.create("s", content="s")
    pool.clone("s", "a")
    spy.plan("fail", 3)
    with refused(match="injected failure"):
        pool.vol("a").wipe(0)
    spy.reset()
    pool.cycle("a", "two")
    pool.refresh()
    assert pool.holds("a", "two")
    assert pool.dump("a").find("origin").get("volume") == "s"


def test_h12_n17_failed_start_leaves_nothing_dirty(pool, spy):
    """H12, N17: a start that fails leaves nothing behind."""
    pool.create("a", content="one")
    spy.plan("fail", 1)
    with refused(match="injected failure"):
        pool.start("a")
    spy.reset()
    assert not pool.dirty("a") and pool.files.all() == ["a"]
    pool.start("a")


def test_h15_n08_read_only_volume(pool):
    """H15, N08: a read-only LV can be started, stopped and removed."""
    pool.create("a", content="one")
    pool.files.change(pool.files.head("a"), "-pr")
    pool.refresh()
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.commit("a")
    assert pool.holds("a", "two")
    pool.delete("a")
    assert pool.files.all() == []


@pytest.mark.slow
def test_n18_another_pool_object_finds_everything(pool):
    """N18: revisions, dirty state and facts are the group's."""
    pool.create("s", content="s")
    pool.create("a", content="one", keep=4)
    pool.cycle("a", "two")
    pool.pin("a", "w")
    pool.start("a")
    pool.write("a@live", pattern("three"))
    pool.create("n", None, lifecycle=snapshot_of("s"))
    names = pool.names()
    pool.forget()
    pool.name += "-again"
    pool.define().begin()
    assert pool.names() == names
    assert pool.dirty("a") and pool.holds("a@live", "three")
    assert pool.dump("a").find("revisions").get("keep") == "4"
    assert pool.dump("n").find("lifecycle").get("source") == "s"


@pytest.mark.slow
def test_renamed_group_keeps_everything(pools):
    """Section 5: metadata travels with the storage: vgrename."""
    pool = pools().up()
    group = pool.group
    pool.create("a", content="one", keep=4)
    pool.cycle("a", "two")
    pool.virt.destroy()
    pool.virt.undefine()
    old = group.name
    lvm("vgrename", "-q", "-q", old, old + "x")
    try:
        group.name = old + "x"
        pool.define().begin()
        assert pool.holds("a", "two") and len(pool.revisions("a")) == 1
        pool.cycle("a", "three")
        assert pool.dump("a").find("revisions").get("keep") == "4"
        pool.forget()
    finally:
        lvm("vgrename", "-q", "-q", old + "x", old)
        group.name = old


@pytest.fixture
def clock(pool, spy, daemon):
    """A daemon with another clock."""
    if not FAKETIME:
        pytest.skip("Debian package libfaketime is not installed")

    def change(when):
        spy.start(f"LD_PRELOAD={FAKETIME[0]}", f"FAKETIME={when}",
                  "DONT_FAKE_MONOTONIC=1")
        pool.begin()

    yield change
    daemon.drop()
    spy.start()


@pytest.mark.parametrize("offset", usually(["-1y"], ["+30y"]))
def test_h2_n03_daemon_with_another_clock(pool, clock, offset):
    """H2, N03: clock set back or forth between cycles."""
    pool.create("a", content="0", keep=2)
    pool.cycle("a", "1")
    clock(offset)
    for number in (2, 3):
        pool.cycle("a", str(number))
    assert revision_tags(pool, "a", "0123") == ["1", "2"]
    assert pool.holds("a", "3")
    assert pool.revisions("a") == sorted(set(pool.revisions("a")))


@pytest.mark.slow
def test_h3_n04_commits_in_one_second(pool, clock):
    """H3, N04: the clock stands still: ids grow all the same."""
    pool.create("a", content="0", keep=9)
    clock("@2026-01-01 12:00:00 x0.0001")
    for number in range(1, 5):
        pool.cycle("a", str(number))
    assert revision_tags(pool, "a", "01234") == list("0123")
    ids = pool.revisions("a")
    assert [i - ids[0] for i in ids] == [0, 1, 2, 3]


def test_write_that_is_not_counted_is_committed(pool):
    """Statistics can be switched off; what they do not show may be there."""
    pool.create("a", content="one")
    pool.start("a")
    device = os.path.basename(os.path.realpath(pool.device("a@live")))
    with open(f"/sys/block/{device}/queue/iostats", "w",
              encoding="ascii") as file:
        file.write("0")
    pool.write("a@live", pattern("two"))
    pool.commit("a")
    assert pool.holds("a", "two")


@pytest.mark.slow
def test_r25_nothing_is_copied_by_a_cycle(pool):
    """R25: a cycle takes no room beyond what is written."""
    pool.create("a", 64 * MIB, keep=0)
    pool.write("a", pattern("big", 16 * MIB))
    pool.refresh()
    used = pool.virt.info()[2]
    for _ in range(2):
        pool.start("a")
        pool.write("a@live", pattern("small", 4096))
        pool.commit("a")
    assert pool.virt.info()[2] - used <= 4 * 65536
