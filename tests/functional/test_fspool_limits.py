# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits of items, as the kernel's quotas keep them (sections 3 and 4)."""

import os

import libvirt
import pytest

from filesystems import run
from fspoolpool import UNSUPPORTED
from fstrees import (FULL, archive, folder, limited, member, put,
                     write_until_full)
from pools import INVALID, MIB, wait_for


LIMIT = 32 * MIB
SLACK = 2 * MIB
SHRINK = libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK
DELTA = libvirt.VIR_STORAGE_VOL_RESIZE_DELTA
ARGUMENT = libvirt.VIR_ERR_INVALID_ARG
REQUIRED_NO = "required='no'"


def room(pool, name, most=4 * LIMIT):
    """How much can be written to an item; it is removed again."""
    path = pool.device(name) + "/room"
    done = write_until_full(path, most)
    os.unlink(path)
    run("sync", "-f", pool.path)
    return done


def fits(done, limit=LIMIT):
    """Whether a limit let that much through: file systems want some of it for
    themselves, or are late by what is on its way."""
    return limit // 2 <= done <= limit + SLACK


limits = pytest.mark.needs("limits")


@limits
def test_limit_is_told(fspool):
    """Section 4: <capacity> is the space limit."""
    vol = fspool.create("a", LIMIT)
    assert vol.info()[1] == LIMIT
    assert int(fspool.dump("a").find("capacity").text) == LIMIT


@limits
def test_limit_is_the_kernels(fspool, daemon):
    """Section 5: metadata: the kernel's quota records."""
    fspool.create("a", LIMIT)
    fspool.create("d/b", 2 * LIMIT)
    fspool.create("c")
    daemon.restart()
    fspool.begin()
    for again in (fspool.refresh, fspool.restart):
        again()
        assert [fspool.size(n) for n in ("a", "c", "d/b")] == [
            LIMIT, 0, 2 * LIMIT]


@limits
def test_limit_is_in_the_kernels_records(fspool, fs):
    """Section 5: where other tools see it, too."""
    before = set(fs.records())
    fspool.create("a", LIMIT)
    new = [limit for ident, (_, limit) in fs.records().items()
           if ident not in before]
    assert LIMIT in new


@limits
def test_write_beyond_the_limit_fails(fspool):
    """Section 4: a space limit."""
    fspool.create("a", LIMIT)
    assert fits(room(fspool, "a"))


@limits
def test_limit_holds_in_folders(fspool):
    """Section 4: of the whole tree."""
    fspool.create("a", LIMIT)
    os.makedirs(fspool.device("a") + "/d/e")
    write_until_full(fspool.device("a") + "/first", LIMIT // 4)
    done = write_until_full(fspool.device("a") + "/d/e/second", 4 * LIMIT)
    assert fits(done, LIMIT * 3 // 4)


@limits
def test_items_have_their_own_limits(fspool):
    """Section 4: one item's use is not another's."""
    for name in ("a", "b", "d/c"):
        fspool.create(name, LIMIT)
    for name in ("a", "b", "d/c"):
        put(fspool.device(name) + "/keep", os.urandom(4 * MIB))
        assert fits(room(fspool, name), LIMIT - 4 * MIB)


@limits
@pytest.mark.parametrize("capacity", [None, 0])
def test_no_limit(fspool, capacity):
    """Section 4: 0 or absent: none."""
    fspool.create("a", capacity)
    assert room(fspool, "a", 2 * LIMIT) == 2 * LIMIT


@limits
def test_odd_limit_is_rounded_up(fspool):
    """Section 4: what is told is what the kernel keeps, and no less."""
    fspool.create("a", 1000001)
    assert 1000001 <= fspool.size("a") <= 1000001 + 65536
    size = fspool.size("a")
    fspool.refresh()
    assert fspool.size("a") == size


@limits
def test_use_is_the_kernels(fspool):
    """Section 4: <allocation>: the use as the kernel's tables report it."""
    fspool.create("a", LIMIT)
    put(fspool.device("a") + "/file", os.urandom(8 * MIB))
    run("sync", "-f", fspool.path)
    assert 8 * MIB <= fspool.vol("a").info()[2] <= 8 * MIB + SLACK
    os.unlink(fspool.device("a") + "/file")

    def freed():
        run("sync", "-f", fspool.path)
        return fspool.vol("a").info()[2] <= SLACK
    wait_for(freed, 30, "space freed")


@limits
@pytest.mark.parametrize("capacity", [1 << 62, (1 << 63) - 1, (1 << 64) - 1])
def test_huge_limit(fspool, capacity):
    """Section 4: taken, or refused with nothing made; never a small one."""
    try:
        fspool.create("a", capacity)
    except libvirt.libvirtError:
        assert fspool.names() == [] and fspool.files.at_rest() == []
        return
    assert fspool.size("a") >= capacity - 65536 or fspool.size("a") == 0
    assert room(fspool, "a", LIMIT) == LIMIT


# Inodes


@pytest.mark.needs("files")
def test_file_limit(fspool):
    """Section 4: <limits><files max='N'/></limits>: the inode limit."""
    fspool.create("a", LIMIT, files=20)
    for again in (None, fspool.restart):
        if again:
            again()
        assert fspool.files_max("a") == 20
    made = 0
    try:
        with limited():
            for made in range(100):
                put(f"{fspool.device('a')}/{made}")
    except OSError as error:
        assert error.errno in FULL
    assert 15 <= made <= 20


@pytest.mark.needs("!files")
def test_file_limit_that_nothing_keeps_is_refused(fspool):
    """Section 4: refused with nothing made."""
    with fspool.refuses(*UNSUPPORTED):
        fspool.create("a", files=20)
    assert fspool.names() == []


# Where nothing enforces a limit


@pytest.mark.needs("!limits")
def test_limit_that_nothing_keeps_is_refused(fspool):
    """Section 4: no quotas, no limit, and nothing made."""
    with fspool.refuses(*UNSUPPORTED):
        fspool.create("a", LIMIT)
    fspool.create("b", content="one")
    with fspool.refuses(*UNSUPPORTED):
        fspool.create_from("b", "c", xml="<volume><name>c</name><capacity>"
                           f"{LIMIT}</capacity></volume>")
    with fspool.refuses(*UNSUPPORTED):
        fspool.vol("b").resize(LIMIT, 0)
    assert fspool.names() == ["b"]


@pytest.mark.needs("!limits")
def test_limit_that_need_not_be_kept(fspools):
    """Section 4: required='no': it stands for nothing, and reads 0."""
    pool = fspools(features=REQUIRED_NO).up()
    pool.create("a", LIMIT, files=20)
    assert pool.size("a") == 0 and pool.files_max("a") == 0
    assert room(pool, "a", 2 * LIMIT) == 2 * LIMIT


@limits
def test_limit_is_kept_where_it_need_not_be(fspools):
    """Section 4: 'no' is no reason to forget a limit."""
    pool = fspools(features=REQUIRED_NO).up()
    pool.create("a", LIMIT)
    assert pool.size("a") == LIMIT and fits(room(pool, "a"))


# Resizing


@limits
def test_resize_grows(fspool):
    """Section 3: resize: change of the limit."""
    fspool.create("a", LIMIT, content="one")
    fspool.vol("a").resize(2 * LIMIT, 0)
    assert fspool.size("a") == 2 * LIMIT
    fspool.restart()
    assert fspool.size("a") == 2 * LIMIT and fspool.holds("a", "one")
    assert fits(room(fspool, "a"), 2 * LIMIT)


@limits
def test_resize_by_delta(fspool):
    """Section 3: stock meaning of DELTA."""
    fspool.create("a", LIMIT)
    fspool.vol("a").resize(LIMIT, DELTA)
    assert fspool.size("a") == 2 * LIMIT


@limits
@pytest.mark.parametrize("less", [LIMIT, 2 * LIMIT, 1 << 62])
def test_shrinking_by_all_of_a_limit_does_not_lift_it(fspool, less):
    """Section 4: a capacity of 0 is no limit, and not a small one."""
    fspool.create("a", LIMIT)
    with fspool.refuses(ARGUMENT, match="'a'"):
        fspool.vol("a").resize(less, DELTA | SHRINK)
    assert fspool.size("a") == LIMIT and fits(room(fspool, "a"))


@limits
def test_limit_is_lifted_by_its_new_value(fspool):
    """Section 4: 0: none; the API takes 0 with SHRINK."""
    fspool.create("a", LIMIT)
    fspool.vol("a").resize(0, SHRINK)
    assert fspool.size("a") == 0
    fspool.restart()
    assert room(fspool, "a", 2 * LIMIT) == 2 * LIMIT


@limits
@pytest.mark.parametrize("flags", [DELTA, DELTA | SHRINK])
def test_no_limit_is_not_changed_by_a_difference(fspool, flags):
    """Section 3: more than no limit is not a limit."""
    fspool.create("a")
    with fspool.refuses(ARGUMENT, match="'a'"):
        fspool.vol("a").resize(LIMIT, flags)
    assert room(fspool, "a", 2 * LIMIT) == 2 * LIMIT


@limits
def test_resize_to_the_same_size(fspool):
    """Section 3: the same size succeeds and does nothing."""
    fspool.create("a", LIMIT)
    with fspool.untouched():
        fspool.vol("a").resize(LIMIT, 0)
    assert fspool.size("a") == LIMIT


@limits
def test_smaller_needs_the_flag(fspool):
    """Section 3: smaller needs the SHRINK flag."""
    fspool.create("a", 2 * LIMIT)
    with fspool.refuses():
        fspool.vol("a").resize(LIMIT, 0)
    assert fspool.size("a") == 2 * LIMIT
    fspool.vol("a").resize(LIMIT, SHRINK)
    assert fspool.size("a") == LIMIT and fits(room(fspool, "a"))


@limits
def test_limit_below_the_use(fspool):
    """Section 3: refused, or nothing more can be written; no data goes."""
    fspool.create("a", LIMIT)
    data = os.urandom(16 * MIB)
    put(fspool.device("a") + "/file", data)
    run("sync", "-f", fspool.path)
    try:
        fspool.vol("a").resize(8 * MIB, SHRINK)
    except libvirt.libvirtError:
        assert fspool.size("a") == LIMIT
    else:
        assert write_until_full(fspool.device("a") + "/more", LIMIT) <= SLACK
    with open(fspool.device("a") + "/file", "rb") as file:
        assert file.read() == data


@limits
def test_unlimited_item_gets_a_limit(fspool):
    """Section 3: resize of one that has none."""
    fspool.create("a", content="one")
    fspool.vol("a").resize(LIMIT, 0)
    assert fspool.size("a") == LIMIT and fits(room(fspool, "a"))


@limits
def test_adopted_item_gets_a_limit_or_a_reason(fspool):
    """Section 3: a directory that was there; never a limit that is none."""
    os.mkdir(fspool.path + "/web")
    fspool.refresh()
    try:
        fspool.vol("web").resize(LIMIT, 0)
    except libvirt.libvirtError as error:
        assert error.get_error_code() in UNSUPPORTED + (INVALID,)
        assert fspool.size("web") == 0
        return
    assert fspool.size("web") == LIMIT and fits(room(fspool, "web"))


@limits
def test_unmodified_virsh_resizes(fspool):
    """Section 1: an unmodified virsh."""
    fspool.daemon.virsh("vol-create-as", fspool.name, "a", "8M")
    fspool.daemon.virsh("vol-resize", "a", "16M", "--pool", fspool.name)
    assert fspool.size("a") == 16 * MIB


# Clones, reverts, uploads


def half_full(pool, name="a"):
    """An item that has more than half of what it may have."""
    pool.create(name, LIMIT)
    put(pool.device(name) + "/half", os.urandom(LIMIT * 5 // 8))
    run("sync", "-f", pool.path)


@limits
def test_clone_has_the_sources_limit(fspool):
    """Section 3: absent: the source's limit."""
    fspool.create("a", LIMIT, content="one")
    fspool.create_from("a", "b", xml="<volume><name>b</name></volume>")
    assert fspool.size("b") == LIMIT
    assert fits(room(fspool, "b")) and fits(room(fspool, "a"))


@limits
def test_clone_may_have_its_own_limit(fspool):
    """Section 3: a limit in the document is taken."""
    fspool.create("a", LIMIT, content="one")
    fspool.create_from("a", "b", xml="<volume><name>b</name><capacity>"
                       f"{2 * LIMIT}</capacity></volume>")
    assert fspool.size("b") == 2 * LIMIT and fspool.size("a") == LIMIT
    assert fits(room(fspool, "b"), 2 * LIMIT)


@limits
@pytest.mark.parametrize("name", ["b", "a@w"])
def test_clone_does_not_count_for_its_source(fspool, name):
    """Section 3: a clone of more than half of the limit has room."""
    half_full(fspool)
    fspool.create_from("a", name)
    assert os.path.getsize(fspool.device(name) + "/half") == LIMIT * 5 // 8
    assert room(fspool, "a") >= LIMIT // 8
    assert fspool.files.at_rest() == []


def full(pool, name="a"):
    """An item that is as large as it may be, and has its first state pinned."""
    pool.create(name, LIMIT, content="one")
    pool.pin(name, "w")
    for part in range(64):  # one large write leaves room for small ones
        if not write_until_full(f"{pool.device(name)}/{part}", LIMIT):
            break
    run("sync", "-f", pool.path)


def contents(pool, name):
    """What is in the files. A write that did not fit may have changed a time
    for which there was no room, either."""
    return [(entry[0], entry[8]) for entry in pool.digest(name)]


def at_limit(pool, name):
    """Whether the item still has its limit, and no more fits into it."""
    pool.refresh()
    more = write_until_full(pool.device(name) + "/more", LIMIT)
    return pool.size(name) == LIMIT and more <= SLACK


@limits
def test_full_item_is_cloned(fspool):
    """Section 3: a clone has the source's limit, and what it has."""
    full(fspool)
    fspool.clone("a", "b")
    assert contents(fspool, "b") == contents(fspool, "a")
    assert fspool.size("b") == LIMIT and at_limit(fspool, "a")
    assert fspool.files.at_rest() == []


@limits
def test_full_state_is_reverted_to(fspool):
    """Section 3: revert, from and to a state that is full."""
    full(fspool)
    before = contents(fspool, "a")
    fspool.revert("a", "w")
    assert fspool.holds("a", "one")
    fspool.revert("a", fspool.revisions("a")[0])
    assert contents(fspool, "a") == before and fspool.size("a") == LIMIT
    fspool.restart()
    assert contents(fspool, "a") == before and fspool.size("a") == LIMIT
    fspool.cycle("a", "two")
    assert fspool.holds("a", "two") and fits(room(fspool, "a"))


@limits
def test_full_item_is_redefined(fspool):
    """Section 3: what is known of an item does not depend on its room."""
    full(fspool)
    fspool.redefine("a", keep=7)
    fspool.restart()
    assert fspool.dump("a").find("revisions").get("keep") == "7"
    assert at_limit(fspool, "a")


@limits
def test_clone_into_a_smaller_limit(fspool):
    """Section 3: refused with nothing left, or nothing more fits into it."""
    half_full(fspool)
    xml = f"<volume><name>b</name><capacity>{LIMIT // 4}</capacity></volume>"
    try:
        fspool.create_from("a", "b", xml=xml)
    except libvirt.libvirtError:
        assert fspool.names() == ["a"] and fspool.files.at_rest() == []
        return
    assert fspool.size("b") == LIMIT // 4
    assert room(fspool, "b") <= LIMIT // 4 + SLACK


@limits
def test_limit_stays_over_revert_and_upload(fspool):
    """Section 5: volume facts are carried over before the switch."""
    fspool.create("a", LIMIT, content="one")
    fspool.pin("a", "w")
    for change in (lambda: fspool.cycle("a", "two"),
                   lambda: fspool.revert("a", "w"),
                   lambda: fspool.vol("a").wipe(0)):
        change()
        assert fspool.size("a") == LIMIT
        fspool.refresh()
        assert fspool.size("a") == LIMIT and fits(room(fspool, "a"))


@limits
def test_revert_after_a_resize(fspool):
    """Section 3: the limit is the item's; a revert leaves it as it is."""
    fspool.create("a", LIMIT, content="one")
    fspool.pin("a", "w")
    fspool.vol("a").resize(2 * LIMIT, 0)
    fspool.revert("a", "w")
    assert fspool.size("a") == 2 * LIMIT
    assert fits(room(fspool, "a"), 2 * LIMIT)


@limits
def test_upload_beyond_the_limit_changes_nothing(fspool):
    """Section 6: out of space is refused, with an error that says so."""
    fspool.create("a", 8 * MIB, content="one")
    data = archive(folder("."), member("big", os.urandom(24 * MIB)))
    with fspool.refuses(match="limit|space|quota"):
        fspool.upload("a", data)
    assert fspool.holds("a", "one") and fspool.revisions("a") == []


@pytest.mark.needs("files")
def test_upload_of_too_many_files_changes_nothing(fspool):
    """Section 6: the inode limit counts, too."""
    fspool.create("a", files=50)
    data = archive(*(member(f"f{n}") for n in range(200)))
    with fspool.refuses():
        fspool.upload("a", data)
    assert fspool.blank("a")
