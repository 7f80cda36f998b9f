# SPDX-License-Identifier: LGPL-2.1-or-later
"""Full thin pools, broken groups, large sectors (design section 6)."""

import contextlib
import os
import threading
import time

import libvirt
import pytest

import thinfill
from disks import Faulty
from operations import other_pool_volume
from pools import INVALID, MIB, pattern, refused, volume_xml, wait_for
from streams import upload
from thincalls import CALLS, some
from thinpool import ThinPool
from users import opened
from volumegroup import lvm

NO_ROOM = (libvirt.VIR_ERR_OPERATION_FAILED, INVALID,
           libvirt.VIR_ERR_INTERNAL_ERROR)


def all_refused(pool, match):
    """Everything that takes room is refused with the reason; no trace."""
    with pool.untouched():
        for call in CALLS.values():
            with refused(*NO_ROOM, match=match):
                call(pool)


def test_data_nearly_full(own):
    """Section 6: refused before anything changes, with the reason (N12)."""
    pool = own()
    some(pool)
    thinfill.fill_data(pool, 97)
    all_refused(pool, "(?<!meta)data")
    pool.commit("r")
    assert pool.holds("r", "two")
    pool.delete(f"r@{pool.revisions('r')[0]}")
    pool.refresh()
    pool.delete("filler")
    for name, call in CALLS.items():
        if name in ("create", "start", "pin"):
            call(pool)
    assert pool.dirty("a")


@pytest.mark.slow
def test_metadata_nearly_full(own):
    """Section 6: the same for thin metadata (N12, I#3243)."""
    pool = own()
    some(pool)
    extra = thinfill.fill_metadata(pool, 96)
    all_refused(pool, "metadata")
    pool.commit("r")
    assert pool.holds("r", "two")
    extra.drop()
    pool.start("a")
    pool.write("a@live", pattern("three"))
    pool.commit("a")
    assert pool.holds("a", "three")


@pytest.mark.slow
def test_commit_where_lvm_takes_no_snapshot(own):
    """LVM has limits of its own, below ours: here a quarter of 4 MiB."""
    pool = own()
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    devices = thinfill.fill_metadata(pool, 80)
    try:
        with refused(*NO_ROOM):
            pool.clone("a", "b")
        pool.commit("a")
        assert pool.holds("a", "two")
        assert [pool.holds(f"a@{i}", "one") for i in pool.revisions("a")] == [
            True]
    finally:
        devices.drop()


@pytest.mark.slow
def test_copy_where_blocks_are_not_zeroed(own, tmp_path):
    """Beside the data of a copy are zeros, not what another volume left."""
    pool = own()
    pool.create("a")
    # Nor does the disk below forget what was there.
    for change in (["-Z", "n"], ["--discards", "nopassdown"]):
        lvm("lvchange", "-q", "-q", *change,
            f"{pool.group.name}/{pool.thin}")
    thinfill.fill_data(pool, 90)
    pool.files.remove(pool.files.place("filler"))
    # The kernel gives each block once before it gives one again.
    thinfill.fill_data(pool, 30)
    pool.refresh()
    pool.outside = str(tmp_path / "stock")
    far = other_pool_volume(pool)
    with open(far.path(), "r+b") as file:
        file.truncate(0)
        file.truncate(MIB)
        for at in range(0, MIB, 128 * 1024):
            file.seek(at + 8192)
            file.write(b"x" * 4096)
        file.seek(0)
        content = file.read()
    pool.create_from(far, "b", xml=volume_xml("b"))
    stock = far.storagePoolLookupByVolume()
    stock.destroy()
    stock.undefine()
    assert pool.read("b") == content


def test_discard_and_delete_work_when_full(own):
    """N12: what frees room always works."""
    pool = own()
    some(pool)
    thinfill.fill_data(pool, 97)
    extra = thinfill.fill_metadata(pool, 96)
    pool.refresh()
    pool.discard("r")
    pool.delete("b")
    pool.delete("a")
    pool.delete("filler")
    extra.drop()
    assert pool.names() == ["r"]
    pool.start("r")
    assert pool.holds("r@live", "one")


@pytest.mark.slow
def test_live_copy_outlives_a_full_pool(own):
    """N12: writes fail at 100 %; what was written before is not lost."""
    pool = own(when_full="y")
    pool.create("r", 16 * MIB)
    pool.start("r")
    pool.write("r@live", pattern("two", 4 * MIB))
    thinfill.fill_data(pool, 100)
    with pytest.raises(OSError), opened(pool.device("r@live")) as fd:
        os.pwrite(fd, pattern("more", 8 * MIB), 8 * MIB)
        os.fsync(fd)
    pool.refresh()
    assert pool.dirty("r")
    assert pool.read("r@live")[:4 * MIB] == pattern("two", 4 * MIB)
    pool.files.remove(pool.files.place("filler"))
    pool.refresh()
    pool.commit("r")
    assert pool.read("r")[:4 * MIB] == pattern("two", 4 * MIB)
    pool.cycle("r", "three")
    assert pool.holds("r", "three")


def test_upload_that_fills_the_pool(own):
    """Section 3: finish reports every write error; the head stays."""
    pool = own(when_full="y")
    pool.create("a", content="one")
    pool.create("big", 128 * MIB)
    with refused():
        upload(pool, "big", pattern("fill", 8 * MIB) * 9)
    wait_for(lambda: not pool.files.leftovers(), what="staging removed")
    assert pool.blank("big") and pool.revisions("big") == []
    assert pool.holds("a", "one")
    upload(pool, "a", pattern("two"))
    assert pool.holds("a", "two")


def fill_area(pool, rest):
    """Leave so many bytes of the group's metadata area: tags take the others."""
    (free,) = pool.group.about("vg_mda_free")
    number = 0
    while free > rest:
        words = []
        for _ in range(max(1, (free - rest) // 2000)):
            words += ["--addtag", f"t{number}-" + "x" * 900]
            number += 1
        lvm("lvchange", "-q", "-q", *words, pool.group.name + "/b")
        (free,) = pool.group.about("vg_mda_free")


@pytest.mark.slow
def test_group_metadata_nearly_full(own):
    """Section 6: little free metadata area in the VG: refused early."""
    pool = own(metadata=512 * 1024)
    some(pool)
    place = pool.files.place("b")
    # The area holds the old text and the new one.
    (size,) = pool.group.about("vg_mda_size")
    fill_area(pool, size // 2 // 50)
    pool.refresh()
    all_refused(pool, "metadata")
    pool.files.change(place, *sum((["--deltag", t] for t in
                                   pool.files.volume(place).tags
                                   if t.startswith("t")), []))
    pool.start("a")
    assert pool.holds("a@live", "two")


@pytest.mark.slow
def test_reserve_of_group_metadata_is_kept_between_refreshes(own):
    """Section 6: refused early, and what is left is for commits."""
    pool = own(metadata=512 * 1024)
    some(pool)
    fill_area(pool, 34 * 1024)
    pool.refresh()
    with refused(*NO_ROOM, match="metadata area .* is nearly full"):
        for number in range(12):
            pool.clone("a", f"n{number}")
    (free,) = pool.group.about("vg_mda_free")
    assert free > 24 * 1024
    pool.commit("r")
    assert pool.holds("r", "two")


# What is broken


def restore(pool, file):
    lvm("vgcfgrestore", "-q", "-q", "-y", "--force", "-f", file,
        pool.group.name)


@pytest.mark.slow
@pytest.mark.parametrize("active", [False, True], ids=["inactive", "active"])
def test_transaction_id_mismatch_is_reported(own, tmp_path, active):
    """H20: VG metadata of an old backup: told, and not worsened."""
    pool = own()
    some(pool)
    group, older = pool.group.name, tmp_path / "older"
    newer = tmp_path / "newer"
    lvm("vgcfgbackup", "-q", "-q", "-f", older, group)
    pool.create("later")
    lvm("vgcfgbackup", "-q", "-q", "-f", newer, group)
    pool.virt.destroy()
    if not active:
        lvm("vgchange", "-q", "-q", "-an", group)
    restore(pool, older)
    before = pool.group.metadata()["logical_volumes"]
    with refused(match="transaction"):
        pool.virt.create(0)
        pool.create("n")
    assert pool.group.metadata()["logical_volumes"] == before
    with contextlib.suppress(libvirt.libvirtError):
        pool.virt.destroy()
    restore(pool, newer)
    lvm("vgchange", "-q", "-q", "-an", group)
    pool.virt.create(0)
    assert pool.holds("a", "two") and pool.holds("r@live", "two")


@pytest.mark.slow
def test_missing_disk_is_reported(own, disks):
    """Section 6: a PV is missing: told; nothing is reduced or repaired."""
    pool = own()
    some(pool)
    second = disks.add(64 * MIB)
    group = pool.group.name
    lvm("vgextend", "-q", "-q", "-y", group, second)
    lvm("lvextend", "-q", "-q", "-l", "+32", f"{group}/vm-pool", second)
    pool.virt.destroy()
    lvm("vgchange", "-q", "-q", "-an", group)
    path = disks.detach(second)
    before = pool.group.metadata()["logical_volumes"]
    with refused(match="missing|partial|couldn't find device|not found"):
        pool.virt.create(0)
        pool.start("a")
    assert pool.group.metadata()["logical_volumes"] == before
    with contextlib.suppress(libvirt.libvirtError):
        pool.virt.destroy()
    lvm("vgchange", "-q", "-q", "-an", group, check=False)
    disks.attach(path)
    pool.virt.create(0)
    assert pool.holds("a", "two") and pool.holds("r@live", "two")


@pytest.fixture
def second(disks):
    """A second disk for a group, that can be made to fail."""
    disk = Faulty(disks.add(64 * MIB))
    yield disk
    disk.heal()
    disk.close()


@pytest.mark.slow
@pytest.mark.parametrize("refreshed", [False, True], ids=["", "refreshed"])
def test_disk_that_a_running_pool_misses(second, own, refreshed):
    """Section 6: told; once it is back, nothing is lost, nor noted of it."""
    pool = own()
    some(pool)
    group = pool.group.name
    lvm("vgextend", "-q", "-q", "-y", group, second.path)
    lvm("lvextend", "-q", "-q", "-l", "+32", f"{group}/vm-pool", second.path)
    pool.refresh()
    before = pool.group.metadata()["logical_volumes"]
    second.fail("error")
    if refreshed:
        pool.refresh()
    for name in ("create", "clone", "start", "pin", "upload"):
        with refused(match="missing"):
            CALLS[name](pool)
    for change in (lambda: pool.discard("r"), lambda: pool.delete("b"),
                   lambda: pool.redefine("a", keep=3)):
        with refused(match="missing"):
            change()
    assert pool.group.metadata()["logical_volumes"] == before
    second.heal()
    pool.begin()
    assert pool.holds("a", "two") and pool.holds("r@live", "two")
    assert lvm("vgs", "--noheadings", "-o", "vg_missing_pv_count",
               group).stdout.strip() == "0"
    pool.commit("r")
    assert pool.holds("r", "two")


# Large sectors, slow commands


@pytest.mark.slow
def test_n15_sectors_of_4096_bytes(groups, daemon):
    """N15: a disk with 4096-byte logical sectors (I#4974)."""
    pool = ThinPool(daemon, groups(sector=4096), "vm-pool").up()
    try:
        pool.create("a", content="one")
        pool.cycle("a", "two")
        pool.clone("a", "b")
        upload(pool, "b", pattern("sent", MIB - 512), offset=512)
        pool.vol("a").resize(2 * MIB, 0)
        pool.revert("a", pool.revisions("a")[0])
        assert pool.holds("a", "one")
        assert pool.read("b")[512:] == pattern("sent", MIB - 512)
        pool.vol("b").wipe(0)
        assert pool.blank("b")
    finally:
        pool.remove()


@pytest.mark.slow
def test_h20_slow_command_is_waited_for(pool, spy):
    """H20: LVM processes are never killed on a time limit."""
    pool.create("a", content="one")
    spy.plan("slow", 1)
    began = time.monotonic()
    pool.start("a")
    assert time.monotonic() - began > 7
    assert pool.holds("a@live", "one")


def test_others_are_served_during_a_slow_command(pool, spy):
    """Section 9: what waits runs with the pool unlocked."""
    pool.create("a", content="one")
    pool.create("b", content="two")
    spy.plan("slow", 1)
    job = threading.Thread(target=pool.start, args=("a",))
    job.start()
    wait_for(spy.commands, what="the command")
    slowest = 0
    while job.is_alive():
        began = time.monotonic()
        conn = libvirt.open(pool.daemon.uri)
        conn.listAllStoragePools(0)
        conn.close()
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.1)
    job.join()
    assert slowest < 4
    assert pool.dirty("a")


def test_capacity_of_too_many_extents_is_refused(pool):
    """Section 3: LVM counts them in 32 bits, and begins anew beyond that."""
    pool.create("a", content="one")
    most = (1 << 32) - 1
    for capacity in ((most + 6) * pool.group.extent, (1 << 63) - 1):
        with pool.refuses(match="'n' can have .* at most"):
            pool.create("n", capacity)
        with pool.refuses(match="'n' can have .* at most"):
            pool.create_from("a", "n", xml=volume_xml("n", capacity))
        with pool.refuses(match="'a' can have .* at most"):
            pool.vol("a").resize(capacity, 0)
