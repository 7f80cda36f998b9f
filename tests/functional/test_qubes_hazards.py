# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hazards H* and tests N* of Qubes' drivers that other files do not name.

Elsewhere: H1 N02 N21 test_inuse, test_delete, test_streams; H2 H3 H5 H18 N03
N04 N13 N14 test_revisions; H8 H19 test_boot; H9 N01 test_crash; H10 H22
test_lifecycle; H11 H13 N09 N10 test_concurrency; N12 test_faults; N16
test_pool.

H4, N05: there is no mode -1, test_bad_keep_is_refused in test_revisions; what
it leaves, live copies or revisions without a head, stays: test_adoption (lone
dirty files), test_create (orphaned revisions). H17: also commit-prune in
test_crash. H21: commit-prune in test_faults, and revisions that are in use in
test_inuse.

Of LVM alone: H7 test_thin_hazards; H14 (cache of lvs) test_thin_admin; H20
test_thin_limits; N11 test_thin_names.
"""

import fcntl
import glob
import os
import subprocess
import threading
import time

import libvirt
import pytest

from filesystems import MKFS, run
from locales import danish, speaks_danish
from pools import (MIB, MISSING, pattern, refused, snapshot_of, volume_xml,
                   wait_for)
from reflinkpool import ReflinkPool
from straced import held_up
from users import qemu

FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")


def test_h6_n06_stale_staging_is_removed_at_start(pool):
    """H6, N06: what no living process holds never blocks the volume."""
    pool.create("a", content="one")
    pool.virt.destroy()
    with open(pool.files.stage("a"), "wb") as file:
        file.write(pattern("half"))
    pool.virt.create(0)
    assert not os.path.exists(pool.files.stage("a"))
    pool.cycle("a", "two")


def test_h6_n06_stale_staging_is_removed_at_refresh(pool):
    """H6: removed at pool start or refresh."""
    pool.create("a", content="one")
    with open(pool.files.stage("a"), "wb") as file:
        file.write(pattern("half"))
    pool.refresh()
    assert pool.files.at_rest() == [] and pool.names() == ["a"]


def test_h6_staging_that_a_process_holds_is_kept(pool):
    """Section 6: held means: flock on the file."""
    pool.create("a", content="one")
    with open(pool.files.stage("a"), "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        pool.refresh()
        assert os.path.exists(pool.files.stage("a"))
        with refused():
            from_stage(pool)
    pool.refresh()
    assert pool.files.at_rest() == []


def from_stage(pool):
    """An operation that needs the staging file's name."""
    stream = pool.daemon.conn.newStream(0)
    pool.vol("a").upload(stream, 0, 0, 0)
    stream.send(b"x")
    stream.finish()


def test_h12_n17_failed_start_leaves_nothing_dirty(pools, small):
    """H12, N17: a start that fails half-way undoes what it made."""
    pool = pools(small).up()
    pool.create("a", content="one")
    os.unlink(pool.files.head("a"))
    os.mkdir(pool.files.head("a"))
    with refused():
        pool.start("a")
    os.rmdir(pool.files.head("a"))
    assert not os.path.exists(pool.files.live("a"))
    assert pool.files.at_rest() == []


def test_h14_file_made_since_the_refresh_is_not_overwritten(pool):
    """H14: a stale view must not drive destructive decisions."""
    pool.create("a", content="one", keep=5)
    pool.cycle("a", "two")
    (first,) = pool.revisions("a")
    path = f"{pool.files.head('a')}.{first + 1}@2024-01-01T00:00:00Z"
    with open(path, "wb") as file:
        file.write(pattern("by hand"))
    try:
        pool.cycle("a", "three")
    except libvirt.libvirtError:
        pool.refresh()
    with open(path, "rb") as file:
        assert file.read() == pattern("by hand")
    pool.refresh()
    assert pool.holds(f"a@{first}", "one")


def test_h14_live_file_made_since_the_refresh_is_not_overwritten(pool):
    """H14: a live copy that Qubes made meanwhile is kept."""
    pool.create("a", content="one")
    with open(pool.files.live("a"), "wb") as file:
        file.write(pattern("by qubes"))
    with refused():
        pool.start("a")
    pool.refresh()
    assert pool.dirty("a") and pool.holds("a@live", "by qubes")


def test_h15_n08_read_only_file_goes_through_a_cycle(pool):
    """H15, N08: a read-only volume can be stopped and removed."""
    pool.create("a", target="<permissions><mode>0400</mode></permissions>")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.commit("a")
    assert pool.holds("a", "two")
    pool.delete("a")
    assert pool.files.all() == []


def test_n07_loop_device_left_over_a_cycle(pool):
    """N07: a loop device on the former live copy does not confuse a start."""
    pool.create("a", content="one")
    pool.start("a")
    loop = run("losetup", "--find", "--show",
               pool.device("a@live")).stdout.strip()
    try:
        with refused(libvirt.VIR_ERR_OPERATION_INVALID):
            pool.commit("a")
    finally:
        run("losetup", "-d", loop)
    pool.write("a@live", pattern("two"))
    pool.commit("a")
    pool.start("a")
    assert pool.holds("a@live", "two")


def test_n15_sectors_of_4096_bytes(daemon, workspace, filesystem):
    """N15: a file system on a device with 4096-byte logical sectors."""
    kind = os.path.basename(filesystem).split(".")[0]
    image = os.path.join(workspace.path, "sectors.img")
    with open(image, "wb") as file:
        file.truncate(320 * MIB)
    loop = run("losetup", "--find", "--show", "--sector-size", "4096",
               image).stdout.strip()
    where = image + ".mnt"
    os.makedirs(where, exist_ok=True)
    try:
        run(*MKFS[kind], loop)
        run("mount", loop, where)
        workspace.mounts.append((where, loop))
        pool = ReflinkPool(daemon, where).up()
        pool.create("a", content="one")
        pool.create("odd", 1000001, content="odd")
        pool.cycle("a", "two")
        pool.clone("odd", "odd2")
        assert pool.holds("a", "two")
        assert pool.read("odd2") == pattern("odd", 1000001)
        pool.remove()
        workspace.umount(where)
    finally:
        run("losetup", "-d", loop)
        os.unlink(image)


def test_n18_moved_pool_keeps_everything(pool, daemon):
    """N18: a move preserves revisions and dirty state."""
    pool.create("s", content="s")
    pool.create("a", content="one", keep=4)
    pool.cycle("a", "two")
    pool.pin("a", "w")
    pool.start("a")
    pool.write("a@live", pattern("three"))
    pool.create("n", None, lifecycle=snapshot_of("s"))
    names = pool.names()
    pool.virt.destroy()
    pool.virt.undefine()
    os.rename(pool.path, pool.path + "-moved")
    moved = ReflinkPool(daemon, None, name=pool.name,
                        path=pool.path + "-moved")
    moved.define()
    moved.virt.create(0)
    assert moved.names() == names
    assert moved.dirty("a") and moved.holds("a@live", "three")
    assert moved.dump("a").find("revisions").get("keep") == "4"
    assert moved.dump("n").find("lifecycle").get("source") == "s"


@pytest.fixture
def wrapped(daemon):
    """Restart the daemon with words before its command line."""
    def wrap(words):
        daemon.drop()
        subprocess.run([os.environ["LIBVIRTD_RESTART"]], check=True,
                       env=dict(os.environ, LIBVIRTD_WRAPPER=words))

    yield wrap
    daemon.restart()


def test_n19_foreign_locale(pool, wrapped, tmp_path):
    """N19: LC_ALL=da_DK in the environment."""
    wrapped(danish(tmp_path) + " TZ=Asia/Kathmandu")
    assert speaks_danish(pool.daemon.pid)
    pool.begin()
    pool.create("å", content="one")
    pool.cycle("å", "two")
    (node,) = pool.revision_nodes("å")
    form = "%Y-%m-%dT%H:%M:%SZ"
    told = time.strptime(node.get("superseded"), form)
    assert abs(time.mktime(told) - time.timezone - time.time()) < 300


@pytest.mark.parametrize("offset", ["-1y", "+30y"])
def test_n03_daemon_with_another_clock(pool, wrapped, offset):
    """N03, H2: the daemon's clock set back or forth between cycles."""
    if not FAKETIME:
        pytest.skip("Debian package libfaketime is not installed")
    pool.create("a", content="0", keep=2)
    pool.cycle("a", "1")
    wrapped(f"env LD_PRELOAD={FAKETIME[0]} FAKETIME={offset} "
            "DONT_FAKE_MONOTONIC=1")
    pool.begin()
    for number in range(2, 5):
        pool.cycle("a", str(number))
    ids = pool.revisions("a")
    assert [pool.holds(f"a@{i}", t) for i, t in zip(ids, "23")] == [True] * 2
    assert len(ids) == 2 and pool.holds("a", "4")


@pytest.mark.slow
def test_n20_five_hundred_volumes_with_revisions(pool):
    """N20: 500 volumes with three revisions: short start, right result."""
    pool.virt.destroy()
    for number in range(500):
        base = f"{pool.path}/vm{number}.img"
        for suffix in ("", ".1@2024-01-01T00:00:00Z",
                       ".2@2024-01-01T00:00:00Z", ".3@2024-01-01T00:00:00Z"):
            with open(base + suffix, "wb") as file:
                file.truncate(MIB)
    began = time.monotonic()
    pool.virt.create(0)
    took = time.monotonic() - began
    assert len(pool.names()) == 2000
    assert took < 5
    began = time.monotonic()
    pool.start("vm250")
    assert time.monotonic() - began < 2


def test_r25_nothing_is_copied_by_a_cycle(pool):
    """R25: a cycle moves no data: space used does not grow with size."""
    size = 64 * MIB
    pool.create("a", size, content="big", keep=0)
    run("sync", "-f", pool.path)
    free = os.statvfs(pool.path).f_bavail * os.statvfs(pool.path).f_frsize
    for _ in range(3):
        pool.start("a")
        pool.write("a@live", pattern("small", 4096))
        pool.commit("a")
    run("sync", "-f", pool.path)
    now = os.statvfs(pool.path).f_bavail * os.statvfs(pool.path).f_frsize
    assert free - now < 16 * MIB


def test_h9_next_id_in_use_by_an_unfinished_commit(pool):
    """H9: link made, rename not: same inode, N >= next id: N is undone."""
    pool.create("a", content="one", keep=3)
    pool.cycle("a", "two")
    (first,) = pool.revisions("a")
    pool.start("a")
    pool.write("a@live", pattern("three"))
    pool.virt.destroy()
    os.link(pool.files.head("a"),
            f"{pool.files.head('a')}.{first + 1}@2026-01-01T00:00:00Z")
    pool.virt.create(0)
    assert pool.revisions("a") == [first]
    assert pool.dirty("a") and pool.holds("a", "two")
    assert os.stat(pool.files.head("a")).st_nlink == 1
    pool.commit("a")
    assert [pool.holds(f"a@{i}", t) for i, t in
            zip(pool.revisions("a"), ("one", "two"))] == [True, True]


def test_rolling_back_is_safe_while_a_guest_runs(pool):
    """Section 6: recovery rolls back, also while a guest runs."""
    pool.create("a", content="one", keep=3)
    pool.cycle("a", "two")
    (first,) = pool.revisions("a")
    pool.start("a")
    with qemu(pool.files.live("a")) as guest:
        pool.virt.destroy()
        os.link(pool.files.head("a"),
                f"{pool.files.head('a')}.{first + 1}@2026-01-01T00:00:00Z")
        pool.virt.create(0)
        assert pool.revisions("a") == [first]
        guest.stdin.write("write -P 0x5a 0 65536\nlength\n")
        guest.stdin.flush()
        while "wrote" not in guest.stdout.readline():
            pass
    pool.commit("a")
    assert pool.read("a")[:65536] == b"\x5a" * 65536


def test_h16_prune_removes_the_oldest_ids_and_nothing_else(pool):
    """H16: what is safe from a prune is known by what it is: the head, the
    live copy, pins, and what other volumes have under the same ids."""
    for name in ("a", "a2"):
        pool.create(name, content="0", keep=3)
        for tag in "123":
            pool.cycle(name, tag)
    ids = pool.revisions("a")
    pool.revert("a", ids[0])
    pool.pin("a", f"r{ids[1]}")
    pool.start("a")
    pool.write("a@live", pattern("running"))
    others = pool.contents("a2")
    newest = pool.revisions("a")[-1]
    pool.redefine("a", keep=1)
    assert pool.revisions("a") == [newest] and pool.holds(f"a@{newest}", "3")
    assert pool.holds("a", "0") and pool.holds("a@live", "running")
    assert pool.holds(f"a@r{ids[1]}", "0")
    assert pool.contents("a2") == others and len(others) == 3


def test_h16_prune_keeps_the_state_that_was_reverted_to(pool):
    """H16: the head goes on when the revision that it came from goes."""
    pool.create("a", content="one", keep=1)
    pool.cycle("a", "two")
    (first,) = pool.revisions("a")
    pool.revert("a", first)
    pool.redefine("a", keep=0)
    assert pool.revisions("a") == [] and pool.holds("a", "one")
    pool.restart()
    assert pool.holds("a", "one") and not pool.has(f"a@{first}")


def test_h17_prune_comes_after_the_switch(pool, tmp_path):
    """H17: until the new state is in place, no old revision is gone."""
    pool.create("a", content="0", keep=2)
    for tag in "12":
        pool.cycle("a", tag)
    ids = pool.revisions("a")
    pool.start("a")
    pool.write("a@live", pattern("3"))
    job = threading.Thread(target=pool.commit, args=("a",))
    with held_up(pool.daemon, tmp_path / "calls", "renameat,renameat2", 2):
        job.start()
        wait_for(lambda: len(pool.files.revision_ids("a")) == 3,
                 what="the link")
        time.sleep(0.5)
        assert job.is_alive() and pool.files.revision_ids("a")[:2] == ids
        with open(pool.files.head("a"), "rb") as file:
            assert file.read() == pattern("2")
        job.join()
    assert pool.holds("a", "3")
    assert pool.revisions("a") == [ids[1], ids[1] + 1]


def test_h21_n21_released_revision_is_gone_or_intact(pool, writer):
    """H21, N21: held open, pruned and released: once it is gone, a revert to
    it fails and changes nothing; until then it has its content."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    (first,) = pool.revisions("a")
    held = pool.vol(f"a@{first}")
    with writer(pool.device(f"a@{first}"), readonly=True):
        pool.cycle("a", "three")
        assert pool.holds(f"a@{first}", "one")
    pool.revert("a", first)
    assert pool.holds("a", "one")
    pool.cycle("a", "four")
    assert first not in pool.revisions("a")
    with pool.refuses(MISSING):
        pool.revert("a", first)
    with pool.refuses(MISSING):
        pool.create_from(held, "a", xml=volume_xml("a"))
    assert pool.holds("a", "four")


def test_h22_n22_start_and_crash_evict_nothing(pool, daemon):
    """H22, N22: a start, a kill before any write, a commit: the older state
    that differs is still there."""
    pool.create("a", content="one", keep=1)
    pool.cycle("a", "two")
    before, generation = pool.contents("a"), pool.generation("a")
    for _ in range(3):
        pool.start("a")
        daemon.kill()
        daemon.restart()
        pool.begin()
        assert pool.dirty("a") and pool.holds("a@live", "two")
        pool.commit("a")
        assert not pool.dirty("a") and pool.holds("a", "two")
    assert pool.contents("a") == before and len(before) == 1
    assert pool.generation("a") == generation
