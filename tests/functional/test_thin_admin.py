# SPDX-License-Identifier: LGPL-2.1-or-later
"""A second administrator, and settings that LVM's output depends on."""

import contextlib
import threading

import libvirt
import pytest

from filesystems import run
from locales import danish, speaks_danish
from pools import MIB, pattern, refused, usually
from users import opened
from volumegroup import lvm


class Meanwhile:
    """Commands of somebody else, one after the other, in the same group."""

    def __init__(self, pool):
        self.group, self.thin = pool.group.name, pool.thin
        self.running = True
        self.errors, self.rounds = [], 0
        self.thread = threading.Thread(target=self.work)

    def work(self):
        group = self.group
        lvm("lvcreate", "-q", "-q", "-V", "1m", "-n", "other", "--thinpool",
            f"{group}/{self.thin}")
        while self.running:
            try:
                lvm("lvcreate", "-q", "-q", "-s", "-kn", "-n", "mine",
                    f"{group}/other")
                lvm("lvrename", "-q", "-q", f"{group}/mine", f"{group}/his")
                lvm("lvremove", "-q", "-q", "-f", f"{group}/his")
                self.rounds += 1
            except RuntimeError as error:
                self.errors.append(str(error))
                lvm("lvremove", "-q", "-q", "-f", f"{group}/mine",
                    f"{group}/his", check=False)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.running = False
        self.thread.join()


@pytest.mark.slow
@pytest.mark.timeout_seconds(400)
def test_commands_meanwhile(pool):
    """lvcreate, lvrename, lvremove of another while everything is used."""
    pool.create("a", content="0", keep=2)
    with Meanwhile(pool) as other:
        for number in range(1, 4):
            pool.cycle("a", str(number))
            pool.clone("a", f"c{number}")
            pool.refresh()
            pool.delete(f"c{number}")
        pool.revert("a", pool.revisions("a")[0])
    assert other.errors == [] and other.rounds > 0
    assert pool.holds("a", "1")
    pool.refresh()
    assert "other" in pool.names()
    assert pool.files.all() == sorted(
        ["a", "other"] + [f"a-{i}-back" for i in pool.revisions("a")])


# What a stale view must not decide (H14)


def test_h14_removed_head(pool):
    """H14: the head that somebody removed: refused, nothing else lost."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.create("b", content="bee")
    (ident,) = pool.revisions("a")
    pool.files.remove(pool.files.head("a"))
    for call in (lambda: pool.start("a"), lambda: pool.clone("a", "c"),
                 lambda: pool.pin("a", "w")):
        with refused():
            call()
    assert set(pool.files.all()) >= {"b", f"a-{ident}-back"}
    pool.refresh()
    assert pool.holds("b", "bee")


@pytest.mark.slow
def test_h14_replaced_head(pool):
    """H14: another volume under the name: not taken for the old one."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.files.remove(pool.files.head("a"))
    pool.files.put(pool.files.head("a"), pattern("other"))
    with contextlib.suppress(libvirt.libvirtError):
        pool.commit("a")
    pool.refresh()
    held = {pool.read(n)[:64] for n in pool.names()}
    assert pattern("other")[:64] in held and pattern("two")[:64] in held


@pytest.mark.parametrize("activation", usually(["all"], ["live"]))
def test_h14_head_exchanged_meanwhile(pools, activation):
    """H14: a merge goes to what the live copy is a snapshot of, whatever its
    name is by then: that keeps its content."""
    pool = pools(activation=activation).up()
    pool.create("a")
    pool.cycle("a", "one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    files = pool.files
    files.rename(files.head("a"), files.head("x"))
    files.put(files.head("a"), pattern("other"))
    if activation == "live":
        files.change(files.head("a"), "-an")
    pool.commit("a")
    pool.refresh()
    (ident,) = pool.revisions("a")
    held = {"x": "one", "a": "two", f"a-{ident}-back": "other"}
    for name, tag in held.items():
        with files.readable(name) as path, open(path, "rb") as file:
            assert file.read() == pattern(tag), name


def test_h14_live_copy_made_meanwhile(pool):
    """H14: a live copy that Qubes made meanwhile is kept."""
    pool.create("a", content="one")
    pool.files.put(pool.files.live("a"), pattern("by qubes"))
    with refused():
        pool.start("a")
    pool.refresh()
    assert pool.dirty("a") and pool.holds("a@live", "by qubes")


@pytest.mark.slow
def test_h14_revision_name_taken_meanwhile(pool):
    """H14: what has the next revision's name is not replaced."""
    ahead = 4102444800
    pool.create("a", content="one", keep=5)
    pool.files.put(pool.files.new_revision("a", ahead - 1), pattern("old"))
    pool.refresh()
    pool.start("a")
    pool.write("a@live", pattern("two"))
    place = pool.files.put(pool.files.new_revision("a", ahead),
                           pattern("by hand"))
    with contextlib.suppress(libvirt.libvirtError):
        pool.commit("a")
    with open(place, "rb") as file:
        assert file.read() == pattern("by hand")
    pool.refresh()
    if pool.dirty("a"):
        assert pool.holds("a", "one")
        pool.commit("a")
    assert pool.holds("a", "two")
    assert any(pool.holds(f"a@{i}", "one") for i in pool.revisions("a"))


@pytest.mark.slow
def test_h14_renamed_head(pool):
    """H14: refused under the old name, a volume under the new."""
    pool.create("a", content="one")
    pool.files.rename(pool.files.head("a"), pool.files.head("b"))
    with refused():
        pool.start("a")
    pool.refresh()
    assert pool.names() == ["b"] and pool.holds("b", "one")
    pool.cycle("b", "two")
    assert pool.holds("b", "two")


@pytest.mark.slow
def test_h14_removed_live_copy(pool):
    """H14: a commit without a live copy changes nothing."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.files.remove(pool.files.live("a"))
    with pool.untouched():
        with refused():
            pool.commit("a")
    pool.refresh()
    assert pool.holds("a", "one") and not pool.dirty("a")
    pool.cycle("a", "three")


@pytest.mark.slow
def test_device_that_is_just_being_made(pool):
    """A client may ask for a volume while LVM makes its device, and gives it
    a table, in two steps: the volume is not active yet."""
    pool.create("a")
    device = pool.group.mapper("a")
    pool.files.change(pool.files.head("a"), "-an")
    run("dmsetup", "create", device, "--notable")
    try:
        assert pool.vol("a").info()[1] == pool.rounded(MIB)
        assert not pool.dirty("a")
    finally:
        run("dmsetup", "remove", "--retry", device)
        pool.files.change(pool.files.head("a"), "-ay")


def test_h14_resized_meanwhile(pool):
    """A size that somebody changed is the size after the next refresh."""
    pool.create("a", content="one")
    lvm("lvextend", "-q", "-q", "-L", "4m", f"{pool.group.name}/a")
    pool.start("a")
    pool.refresh()
    assert pool.size("a") == pool.size("a@live") == 4 << 20
    pool.commit("a")
    assert pool.size("a") == 4 << 20


@pytest.mark.slow
def test_disk_added_meanwhile_is_not_missed(pool, disks):
    """vgextend, and no refresh since: nothing takes the disk for missing."""
    pool.create("a", content="one")
    pool.start("a")
    disk = disks.add(64 * MIB)
    lvm("vgextend", "-q", "-q", "-y", pool.group.name, disk)
    try:
        with pool.refuses(match="refresh the pool"):
            pool.clone("a", "b")
        pool.discard("a")
        pool.redefine("a", keep=5)
        checked = lvm("vgck", pool.group.name)
        assert checked.stdout + checked.stderr == ""
        pool.refresh()
        pool.cycle("a", "two")
        assert pool.holds("a", "two")
    finally:
        lvm("vgreduce", "-q", "-q", pool.group.name, disk)


@pytest.mark.slow
def test_disk_taken_away_is_forgotten(pool, disks):
    """vgreduce: once refreshed, the pool does not ask for the disk again."""
    pool.create("a", content="one")
    disk = disks.add(64 * MIB)
    lvm("vgextend", "-q", "-q", "-y", pool.group.name, disk)
    pool.refresh()
    lvm("vgreduce", "-q", "-q", pool.group.name, disk)
    pool.refresh()
    disks.drop(disk)
    pool.refresh()
    pool.redefine("a", keep=5)
    pool.delete("a")
    assert pool.files.all() == []


def test_merge_of_another_tool_is_left_to_it(pool):
    """Section 5: one that LVM has put off is not for the pool to finish."""
    files = pool.files
    head = files.put(files.place("tool"), pattern("now"))
    files.copy(head, files.place("before"))
    with opened(head):
        lvm("lvconvert", "-q", "-q", "-y", "--merge",
            f"{pool.group.name}/before")
    before = pool.group.metadata()["logical_volumes"]
    try:
        pool.refresh()
        assert pool.group.metadata()["logical_volumes"] == before
        with open(head, "rb") as file:
            assert file.read() == pattern("now")
    finally:
        files.change(head, "-an")
        files.change(head, "-ay")


# Environment and configuration


def whole_cycle(pool):
    """Everything whose LVM output is read."""
    pool.begin()
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.pin("a", "w")
    pool.revert("a", pool.revisions("a")[0])
    pool.clone("a", "b")
    pool.vol("b").resize(3 << 20, 0)
    pool.refresh()
    assert pool.holds("a", "one") and pool.size("b") == 3 << 20
    assert len(pool.revisions("a")) == 2 and pool.pins("a") == ["w"]
    pool.delete("b")


@pytest.mark.slow
def test_n19_foreign_locale(pool, wrapped, tmp_path):
    """N19: LC_ALL=da_DK in the environment (I#3753)."""
    wrapped(danish(tmp_path) + " TZ=Asia/Kathmandu")
    assert speaks_danish(pool.daemon.pid)
    whole_cycle(pool)


UNUSUAL = """
log { prefix = "lvm says: " verbose = 1 silent = 0 command_names = 1 }
global { units = "G" suffix = 0 si_unit_consistency = 0 }
report { compact_output = 1 prefixes = 1 quoted = 1 headings = 0 aligned = 0
         binary_values_as_numeric = 1 separator = "|" list_item_delimiter = ";"
         time_format = "%x" output_format = "basic" lvs_cols = "lv_name" }
"""


@pytest.mark.slow
def test_unusual_lvm_configuration(pool, configured):
    """I#7020, I#10023: settings that change what LVM prints, and how."""
    configured(UNUSUAL)
    whole_cycle(pool)


def test_files_of_the_daemon_do_not_reach_lvm(pool, spy):
    """What LVM would warn of on its standard error stays away."""
    before = len(pool.daemon.log())
    pool.create("a", content="one")
    pool.cycle("a", "two")
    assert spy.commands()
    assert "leaked" not in pool.daemon.log()[before:]


def test_no_file_is_closed_twice(pool):
    """Another thread's file could have its number by then."""
    before = len(pool.daemon.log())
    pool.create("a", content="one")
    pool.cycle("a", "two")
    assert "invalid fd" not in pool.daemon.log()[before:]
