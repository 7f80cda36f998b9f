# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening a thin pool that Qubes' lvm_thin driver made (design section 5).

L numbers are the acceptance tests of that driver. Its volumes have no tags,
and names of one form: vm-NAME, with -snap, -<epoch>-back and -import.
"""

import pytest

from pools import MIB, pattern, refused, snapshot_of
from volumegroup import lvm

VM = "vm-work-private"
OLD, NEW = 1521065904, 1521065905      # 2018-03-14T22:18:24 and :25


class Qubes:
    """What Qubes left in the group, before libvirt ever saw it."""

    def __init__(self, pool):
        self.pool, self.files = pool, pool.files

    def put(self, name, tag):
        return self.files.put(self.files.place(name), pattern(tag))

    def snap(self, name, new):
        """A thin snapshot, as Qubes makes it."""
        return self.files.copy(self.files.place(name), self.files.place(new))

    def begin(self):
        return self.pool.begin()


@pytest.fixture
def qubes(pools):
    """A group, and a pool of it that has not been started."""
    return Qubes(pools(keep=2).define())


def test_plain_volume_is_a_persistent_raw_volume(qubes):
    """Section 5: no metadata = a persistent raw volume."""
    qubes.put(VM, "now")
    pool = qubes.begin()
    assert pool.names() == [VM] and pool.holds(VM, "now")
    assert pool.size(VM) == MIB
    node = pool.dump(VM).find("lifecycle")
    assert node is None or (node.get("snapOnStart"),
                            node.get("saveOnStop")) == ("no", "yes")


def test_l10_revisions_are_read(qubes):
    """L10, L09: ID = epoch; the time is that of the id."""
    qubes.put(VM, "now")
    qubes.put(f"{VM}-{OLD}-back", "old")
    qubes.put(f"{VM}-{NEW}-back", "new")
    pool = qubes.begin()
    assert pool.revisions(VM) == [OLD, NEW]
    assert pool.holds(f"{VM}@{OLD}", "old")
    assert [n.get("superseded") for n in sorted(
        pool.revision_nodes(VM), key=lambda n: int(n.get("id")))] == [
            "2018-03-14T22:18:24Z", "2018-03-14T22:18:25Z"]


def test_l10_cycle_of_an_adopted_volume(qubes):
    """L10: START, STOP: oldest goes, plain becomes the newest revision."""
    head = qubes.put(VM, "now")
    qubes.put(f"{VM}-{OLD}-back", "old")
    qubes.put(f"{VM}-{NEW}-back", "new")
    pool = qubes.begin()
    pool.start(VM)
    assert qubes.files.volume(qubes.files.live(VM)).origin == VM
    pool.write(VM + "@live", pattern("next"))
    pool.commit(VM)
    assert pool.holds(VM, "next") and qubes.files.exists(head)
    first, second = pool.revisions(VM)
    assert first == NEW and second > NEW
    assert pool.holds(f"{VM}@{first}", "new")
    assert pool.holds(f"{VM}@{second}", "now")
    pool.delete(VM)
    assert qubes.files.all() == []


@pytest.mark.parametrize("keep", [0, 1])
def test_l11_l13_live_copy_commits(qubes, keep):
    """L11, L13: plain + snap: STOP without START."""
    qubes.put(VM, "now")
    qubes.snap(VM, VM + "-snap")
    with open(qubes.files.live(VM), "r+b") as file:
        file.write(pattern("running"))
    pool = qubes.begin()
    assert pool.dirty(VM) and pool.holds(VM + "@live", "running")
    pool.redefine(VM, keep=keep)
    pool.commit(VM)
    assert pool.holds(VM, "running") and not pool.dirty(VM)
    assert len(pool.revisions(VM)) == keep


def test_l12_start_of_a_dirty_volume_keeps_the_live_copy(qubes):
    """L12: START keeps the working copy of a crash."""
    qubes.put(VM, "now")
    live = qubes.put(VM + "-snap", "running")
    before = qubes.files.identity(live)
    pool = qubes.begin()
    with refused():
        pool.start(VM)
    assert qubes.files.identity(live) == before
    assert pool.holds(VM + "@live", "running") and pool.revisions(VM) == []


def test_l09_interrupted_commit_is_undone(qubes):
    """L09, section 6: head missing, live copy there: rename it back."""
    old = qubes.put(f"{VM}-{OLD}-back", "old")
    new = qubes.put(f"{VM}-{NEW}-back", "new")
    qubes.snap(f"{VM}-{NEW}-back", VM + "-snap")
    with open(qubes.files.live(VM), "r+b") as file:
        file.write(pattern("running"))
    identities = [qubes.files.identity(p) for p in (old, new)]
    pool = qubes.begin()
    assert pool.holds(VM, "new") and pool.dirty(VM)
    assert pool.revisions(VM) == [OLD]
    assert [qubes.files.identity(p) for p in (old, qubes.files.head(VM))] == (
        identities)
    pool.commit(VM)
    assert pool.holds(VM, "running")
    assert [pool.holds(f"{VM}@{i}", t) for i, t in zip(
        pool.revisions(VM), ("old", "new"))] == [True, True]


def test_head_missing_with_revisions_only(qubes):
    """Section 6: the newest is the head (H5: a revert of Qubes' driver)."""
    qubes.put(f"{VM}-{OLD}-back", "old")
    qubes.put(f"{VM}-{NEW}-back", "new")
    pool = qubes.begin()
    assert pool.holds(VM, "new")
    pool.cycle(VM, "next")
    assert pool.holds(VM, "next")
    assert [t for i in pool.revisions(VM) for t in ("old", "new")
            if pool.holds(f"{VM}@{i}", t)] == ["old", "new"]


def test_interrupted_import_is_kept(qubes):
    """Section 5: Qubes' own -import is never removed unasked (H6)."""
    qubes.put(f"{VM}-{NEW}-back", "now")
    place = qubes.put(VM + "-import", "import")
    pool = qubes.begin()
    assert pool.holds(VM, "now")
    pool.cycle(VM, "next")
    pool.refresh()
    pool.restart()
    with open(place, "rb") as file:
        assert file.read() == pattern("import")


def test_lone_live_copy_is_listed_and_kept(qubes):
    """Section 5: a live LV without head: an AppVM's running root."""
    place = qubes.put("vm-app-root-snap", "running")
    before = qubes.files.identity(place)
    pool = qubes.begin()
    assert pool.names() == ["vm-app-root@live"]
    pool.refresh()
    pool.restart()
    assert qubes.files.identity(place) == before
    with pool.refuses():
        pool.create("vm-app-root")
    pool.create_from("vm-app-root@live", "vm-app-root")
    assert pool.names() == ["vm-app-root"]
    assert qubes.files.identity(qubes.files.head("vm-app-root")) == before
    assert pool.holds("vm-app-root", "running")


def test_reading_changes_nothing(qubes):
    """Section 5: an existing Qubes pool can be opened as it is."""
    qubes.put(VM, "now")
    for number in range(4):
        qubes.put(f"{VM}-{OLD + number}-back", str(number))
    qubes.put("vm-app-root-snap", "running")
    qubes.put("vm-app-volatile", "scratch")
    qubes.put(VM + "-import", "import")
    qubes.put("root", "dom0")
    with qubes.pool.untouched():
        pool = qubes.begin()
        pool.refresh()
        pool.restart()
        assert len(pool.revisions(VM)) == 4
    assert all(not v.tags for v in qubes.files.volumes().values())


@pytest.mark.slow
def test_tags_only_on_what_was_changed(qubes):
    """Section 5: LVs are tagged only once we change them."""
    qubes.put(VM, "now")
    qubes.put("vm-other-private", "other")
    qubes.put(f"vm-other-private-{OLD}-back", "older")
    pool = qubes.begin()
    pool.cycle(VM, "next")
    pool.clone("vm-other-private", "vm-third-private")
    tagged = {n for n, v in qubes.files.volumes().items() if v.tags}
    assert not {n for n in tagged if n.startswith("vm-other")}
    assert {n for n in tagged if n.startswith(VM)}


def test_qubes_can_read_what_we_wrote(qubes):
    """Section 5: handed back: Qubes' names, thin, no activation skip."""
    qubes.put(VM, "now")
    pool = qubes.begin()
    pool.cycle(VM, "one")
    pool.cycle(VM, "two")
    pool.start(VM)
    first, second = pool.revisions(VM)
    pool.virt.destroy()
    pool.virt.undefine()
    volumes = qubes.files.volumes()
    assert sorted(volumes) == sorted([VM, VM + "-snap", f"{VM}-{first}-back",
                                      f"{VM}-{second}-back"])
    assert not any("ACTIVATION_SKIP" in v.flags for v in volumes.values())
    # What its driver does next: commit by two renames, and prune.
    full = qubes.pool.group.name
    lvm("lvrename", "-q", "-q", f"{full}/{VM}", f"{full}/{VM}-{second + 9}-back")
    lvm("lvrename", "-q", "-q", f"{full}/{VM}-snap", f"{full}/{VM}")
    lvm("lvremove", "-q", "-q", "-f", f"{full}/{VM}-{first}-back")
    pool.define().begin()
    assert pool.revisions(VM) == [second, second + 9]
    assert pool.holds(VM, "two") and pool.holds(f"{VM}@{second + 9}", "two")
    pool.cycle(VM, "three")
    assert pool.holds(VM, "three")


@pytest.mark.slow
def test_facts_come_from_siblings(qubes):
    """Section 5: if siblings have metadata, from the newest of them."""
    pool = qubes.begin()
    pool.create(VM, content="0", keep=4)
    for tag in "123":
        pool.cycle(VM, tag)
    pool.virt.destroy()
    qubes.files.remove(qubes.files.head(VM))
    qubes.put(VM, "by qubes")
    before = len(pool.daemon.log())
    pool.begin()
    assert pool.dump(VM).find("revisions").get("keep") == "4"
    assert VM in pool.daemon.log()[before:]
    assert len(pool.revisions(VM)) == 3
    pool.cycle(VM, "4")
    assert len(pool.revisions(VM)) == 4


def test_copied_tag_gives_no_volume_facts(qubes):
    """Section 5: a name that does not match means a copy."""
    pool = qubes.begin()
    pool.create("src", content="source")
    pool.create("snap", None, lifecycle=snapshot_of("src"), keep=7)
    files = qubes.files
    (tag,) = files.volume(files.head("snap")).tags
    files.copy(files.head("snap"), files.place("copy"), "--addtag", tag)
    pool.refresh()
    node = pool.dump("copy").find("lifecycle")
    assert node is None or node.get("snapOnStart") == "no"
    revisions = pool.dump("copy").find("revisions")
    assert revisions is None or revisions.get("keep") != "7"


@pytest.mark.slow
def test_vm_names_that_contain_each_other(qubes):
    """I#4680: VM foo with volume root, VM foo-root with its own."""
    names = ["vm-foo-root", "vm-foo-root-root", "vm-foo-root-private",
             "vm-foo-1-back-private"]
    for name in names:
        qubes.put(name, name)
        qubes.put(f"{name}-{OLD}-back", name + " old")
    pool = qubes.begin()
    for name in names:
        assert pool.holds(name, name)
        assert pool.revisions(name) == [OLD]
        assert pool.holds(f"{name}@{OLD}", name + " old")
    pool.delete("vm-foo-root")
    assert all(pool.holds(n, n) and pool.revisions(n) for n in names[1:])


@pytest.mark.slow
def test_shapes_without_a_volume_are_plain_volumes(qubes):
    """Untagged X-snap belongs to X if there is an X, or X begins with vm-."""
    for name in ("data", "data-snap", f"data-{OLD}-back", "lone-snap",
                 f"lone-{OLD}-back", "other-snap", f"x-{OLD}-back"):
        qubes.put(name, name)
    pool = qubes.begin()
    assert pool.names() == sorted([
        "data", "data@live", f"data@{OLD}", "lone-snap", f"lone-{OLD}-back",
        "other-snap", f"x-{OLD}-back"])
    with pool.untouched():
        pool.refresh()
    pool.delete("other-snap")
    # Its parts would have names that mean something else.
    with pool.refuses():
        pool.start("lone-snap")
    assert pool.holds("lone-snap", "lone-snap")
    assert pool.holds(f"lone-{OLD}-back", f"lone-{OLD}-back")


def test_volumes_of_other_tools_are_plain(qubes):
    """Section 5: listed as plain volumes, never renamed or removed."""
    names = ["root", "swap", "docker-thin_1", "backup.2024"]
    for name in names:
        qubes.put(name, name)
    with qubes.pool.untouched():
        pool = qubes.begin()
        assert pool.names() == sorted(names)
        pool.restart()


@pytest.mark.slow
def test_next_id_goes_on_after_a_clock_ahead(qubes):
    """Section 5: highest seen + 1, also where that is in the future."""
    ahead = 4102444800      # 2100
    qubes.put(VM, "now")
    qubes.put(f"{VM}-{ahead}-back", "ahead")
    pool = qubes.begin()
    pool.cycle(VM, "next")
    assert pool.revisions(VM) == [ahead, ahead + 1]
    assert pool.holds(f"{VM}@{ahead + 1}", "now")


def test_dirty_live_copy_is_the_only_one_active(qubes):
    """H8: inactive after a reboot, as Qubes never activates it."""
    qubes.put(VM, "now")
    live = qubes.put(VM + "-snap", "running")
    qubes.files.change(live, "-an")
    pool = qubes.begin()
    assert pool.holds(VM + "@live", "running")
    pool.commit(VM)
    assert pool.holds(VM, "running")


@pytest.mark.slow
def test_volumes_with_activation_skip(qubes):
    """A snapshot made without -kn is inactive; it is a volume all the same."""
    qubes.put("vm-a-private", "one")
    lvm("lvcreate", "-q", "-q", "-s", "-n", "vm-b-private",
        f"{qubes.pool.group.name}/vm-a-private")
    pool = qubes.begin()
    assert pool.names() == ["vm-a-private", "vm-b-private"]
    pool.start("vm-b-private")
    assert pool.holds("vm-b-private@live", "one")
    pool.clone("vm-b-private", "vm-c-private")
    assert pool.holds("vm-c-private", "one")
