# SPDX-License-Identifier: LGPL-2.1-or-later
"""start, stage, commit, discard (design sections 2 and 3)."""

import os

import pytest

from pools import (EXIST, INVALID, MIB, MISSING, VOLATILE, pattern, refused,
                   snapshot_of, volume_xml)
from streams import upload


def test_start_makes_live_copy_of_head(pool):
    """Section 3: start: make the live copy."""
    pool.create("a", content="one")
    vol = pool.start("a")
    assert vol.name() == "a@live"
    assert vol.path() == pool.files.live("a")
    assert pool.holds("a@live", "one")
    assert pool.dirty("a")


def test_start_of_missing_volume_fails(pool):
    """There is nothing to start."""
    pool.create("a", content="one")
    with pool.refuses():
        pool.create_from("a", "absent@live")


def test_second_start_is_refused(pool):
    """Section 3: a live copy that is there is not replaced."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    with pool.refuses(EXIST, INVALID):
        pool.start("a")
    assert pool.holds("a@live", "two")


def test_running_volume_does_not_change_the_head(pool):
    """Qubes 1.2: a running VM never writes to the committed object."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    assert pool.holds("a", "one")


def test_commit_makes_live_copy_the_head(pool):
    """Section 3: commit."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    vol = pool.commit("a")
    assert vol.name() == "a"
    assert pool.holds("a", "two")
    assert not pool.has("a@live")
    assert not pool.dirty("a")


def test_commit_keeps_former_head_as_revision(pool):
    """Section 3: the head becomes the next revision."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    assert pool.holds(f"a@{ident}", "one")
    assert pool.files.revision_ids("a") == [ident]


def test_commit_switches_by_rename(pool):
    """Section 6: the live inode becomes the head, the head the revision."""
    pool.create("a", content="one")
    head = os.stat(pool.files.head("a")).st_ino
    pool.start("a")
    pool.write("a@live", pattern("two"))
    live = os.stat(pool.files.live("a")).st_ino
    pool.commit("a")
    (ident,) = pool.revisions("a")
    assert os.stat(pool.files.head("a")).st_ino == live
    assert os.stat(pool.files.revision("a", ident)).st_ino == head


def test_commit_without_live_copy_is_refused(pool):
    """H10: a commit without anything to commit changes nothing."""
    pool.create("a", content="one")
    pool.start("a")
    vol = pool.vol("a@live")
    pool.discard("a")
    with pool.refuses(MISSING, INVALID):
        pool.create_from(vol, "a", xml=volume_xml("a"))
    assert pool.revisions("a") == []


def test_discard_drops_the_live_copy(pool):
    """Section 3: delete A@live."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.discard("a")
    assert pool.holds("a", "one")
    assert not pool.dirty("a")
    assert not pool.files.exists(pool.files.live("a"))
    assert pool.revisions("a") == []


def test_start_works_after_discard(pool):
    """The next start has the head's content."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.discard("a")
    pool.start("a")
    assert pool.holds("a@live", "one")


def test_live_copy_survives_refresh_and_restart(pool):
    """Section 6: live copies of persistent volumes are kept, reported."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.refresh()
    assert pool.dirty("a") and pool.holds("a@live", "two")
    pool.restart()
    assert pool.dirty("a") and pool.holds("a@live", "two")
    pool.commit("a")
    assert pool.holds("a", "two")


def test_live_copy_survives_the_daemon(pool, daemon):
    """Section 6: a restart of the daemon loses nothing."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    daemon.restart()
    pool.begin()
    assert pool.dirty("a") and pool.holds("a@live", "two")


def test_start_copies_nothing(pool):
    """Section 1: a start copies nothing."""
    pool.create("a", content="one")
    pool.start("a")
    assert pool.files.shares(pool.files.live("a"))


def test_start_takes_permissions_over(pool):
    """DAC permissions as libvirt's own file backends keep them."""
    pool.create("a", target="<permissions><mode>0640</mode><owner>12</owner>"
                            "<group>34</group></permissions>")
    pool.start("a")
    info = os.stat(pool.files.live("a"))
    assert (info.st_mode & 0o777, info.st_uid, info.st_gid) == (0o640, 12, 34)


# Snapshot volumes


def test_snapshot_volume_starts_from_its_source(pool):
    """Section 2: fresh live copy of the source volume's head."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.cycle("s", "two")
    pool.start("n")
    assert pool.holds("n@live", "two")


def test_snapshot_of_running_source_has_its_committed_state(pool):
    """I03: both running: the consumer sees the state before the start."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.start("s")
    pool.write("s@live", pattern("two"))
    pool.start("n")
    assert pool.holds("n@live", "one")


def test_snapshot_volume_is_stable_while_it_runs(pool):
    """I03: commits of the source do not reach a running consumer."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.start("n")
    pool.cycle("s", "two")
    assert pool.holds("n@live", "one")
    pool.discard("n")
    pool.start("n")
    assert pool.holds("n@live", "two")


def test_snapshot_volume_forgets_its_writes(pool):
    """I04: own writes vanish on restart."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.start("n")
    pool.write("n@live", pattern("scratch"))
    pool.discard("n")
    pool.start("n")
    assert pool.holds("n@live", "one")


def test_outdated_tells_of_a_newer_source(pool):
    """Section 4: outdated = made from an older generation of its source."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.start("n")
    assert not pool.state("n")[1]
    pool.cycle("s", "two")
    assert pool.state("n")[1]


def test_outdated_survives_a_refresh(pool):
    """Section 3: refresh reads everything anew."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.start("n")
    pool.refresh()
    assert not pool.state("n")[1]
    pool.cycle("s", "two")
    pool.refresh()
    assert pool.state("n")[1]


def test_outdated_ends_with_the_live_copy(pool):
    """L50: stopped means not outdated."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.start("n")
    pool.cycle("s", "two")
    pool.discard("n")
    assert not pool.state("n")[1]
    pool.start("n")
    assert not pool.state("n")[1]


def test_revert_of_the_source_outdates(pool):
    """Qubes 4.4: a revert installs older content: outdated all the same."""
    pool.create("s", content="one")
    pool.cycle("s", "two")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.start("n")
    pool.revert("s", pool.revisions("s")[0])
    assert pool.state("n")[1]


def test_removed_source_fails_the_start_cleanly(pool):
    """N17: a start that cannot be leaves nothing dirty."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.files.remove(pool.files.head("s"))
    pool.refresh()
    with refused():
        pool.start("n")
    assert not pool.dirty("n")
    assert not pool.files.exists(pool.files.live("n"))


# Volatile volumes


def test_volatile_volume_starts_blank(pool):
    """Section 2: the live copy starts blank."""
    pool.create("v", 2 * MIB, lifecycle=VOLATILE)
    pool.start("v")
    assert pool.size("v@live") == 2 * MIB
    assert pool.blank("v@live")


def test_volatile_volume_has_the_size_its_head_has_by_now(pool):
    """A machine may have grown the head since the last refresh."""
    pool.create("v", lifecycle=VOLATILE)
    os.truncate(pool.files.head("v"), 4 * MIB)
    pool.start("v")
    assert pool.size("v@live") == 4 * MIB
    assert pool.blank("v@live")


def test_volatile_volume_is_blank_again(pool):
    """I00: markers are gone after a restart."""
    pool.create("v", lifecycle=VOLATILE)
    pool.start("v")
    pool.write("v@live", pattern("secret"))
    pool.discard("v")
    pool.start("v")
    assert pool.blank("v@live")


# Staging


def test_stage_brings_content_and_size(pool):
    """Section 3: stage X's content and size as A's live copy."""
    pool.create("x", 2 * MIB, content="new")
    pool.create("a", content="one")
    pool.stage("x", "a")
    assert pool.read("a@live") == pattern("new", 2 * MIB)
    assert pool.holds("a", "one")


def test_staged_content_commits(pool):
    """I05/L33: import into an existing volume, then commit."""
    pool.create("x", 2 * MIB, content="new")
    pool.create("a", content="one")
    pool.stage("x", "a")
    pool.commit("a")
    assert pool.read("a") == pattern("new", 2 * MIB)
    assert pool.size("a") == 2 * MIB
    (ident,) = pool.revisions("a")
    assert pool.holds(f"a@{ident}", "one")


def test_staged_content_discards(pool):
    """L31: a given up import leaves the current state."""
    pool.create("x", 2 * MIB, content="new")
    pool.create("a", content="one")
    pool.stage("x", "a")
    pool.discard("a")
    assert pool.holds("a", "one") and pool.revisions("a") == []


def test_stage_onto_dirty_volume_is_refused(pool):
    """Qubes 4.4: an import into a running volume must not be overwritten."""
    pool.create("x", content="new")
    pool.create("a", content="one")
    pool.start("a")
    with pool.refuses(EXIST, INVALID):
        pool.stage("x", "a")


def test_stage_of_identical_content_commits(pool):
    """Section 3: a staged live copy is never dropped as unwritten."""
    pool.create("a", content="one")
    pool.clone("a", "x")
    pool.stage("x", "a")
    pool.settle()
    pool.commit("a")
    assert len(pool.revisions("a")) == 1


def test_stage_from_a_revision_of_another(pool):
    """Section 3: X is anything that can be cloned."""
    pool.create("x", content="old")
    pool.cycle("x", "new")
    pool.create("a", content="one")
    pool.stage(f"x@{pool.revisions('x')[0]}", "a")
    pool.commit("a")
    assert pool.holds("a", "old")


def test_stage_from_another_pool(pool, elsewhere):
    """Section 3: from another pool too."""
    elsewhere.create("x", 2 * MIB, content="far")
    pool.create("a", content="one")
    pool.create_from(elsewhere.vol("x"), "a@live")
    pool.commit("a")
    assert pool.read("a") == pattern("far", 2 * MIB)


# Unwritten live copies, generations


def test_unwritten_live_copy_is_dropped(pool):
    """Section 3: never written: dropped by its commit (H22, N22)."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    before = pool.contents("a")
    generation = pool.generation("a")
    pool.settle()
    pool.start("a")
    pool.commit("a")
    assert not pool.dirty("a")
    assert pool.contents("a") == before
    assert pool.generation("a") == generation


def test_unwritten_live_copy_is_dropped_after_precache(pool):
    """The same when the start took the clone made ahead (H22)."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    before = pool.contents("a")
    pool.wait_precache("a")
    pool.start("a")
    pool.commit("a")
    assert pool.contents("a") == before
    assert not pool.dirty("a")


def test_live_copy_written_at_once_is_committed(pool):
    """Mtime and size still match after a write at once."""
    pool.create("a", content="0")
    lost = []
    for number in range(1, pool.few(41)):
        pool.start("a")
        pool.write("a@live", pattern(str(number), 4096), 4096)
        pool.commit("a")
        if pool.read("a")[4096:8192] != pattern(str(number), 4096):
            lost.append(number)
    assert not lost


def test_write_that_keeps_the_times_is_committed(pool):
    """A live copy whose mtime was put back was written all the same."""
    pool.create("a", content="one")
    pool.settle()
    pool.start("a")
    info = os.stat(pool.files.live("a"))
    pool.write("a@live", pattern("two"))
    os.utime(pool.files.live("a"), ns=(info.st_atime_ns, info.st_mtime_ns))
    pool.commit("a")
    assert pool.holds("a", "two")


def test_resized_live_copy_is_committed(pool):
    """Section 3: same size is a condition of the drop."""
    pool.create("a", content="one")
    pool.settle()
    pool.start("a")
    pool.vol("a@live").resize(2 * MIB, 0)
    pool.commit("a")
    assert pool.size("a") == 2 * MIB
    assert len(pool.revisions("a")) == 1


@pytest.mark.parametrize("how", ["commit", "revert", "wipe", "upload"])
def test_generation_counts_content_changes(pool, how):
    """Section 4: generation counts the head's content changes."""

    pool.create("a", content="one")
    pool.cycle("a", "two")
    before = pool.generation("a")
    if how == "commit":
        pool.cycle("a", "three")
    elif how == "revert":
        pool.revert("a", pool.revisions("a")[0])
    elif how == "wipe":
        pool.vol("a").wipe(0)
    else:
        upload(pool, "a", pattern("four"))
    assert pool.generation("a") == before + 1
    pool.refresh()
    assert pool.generation("a") == before + 1


def test_generation_ignores_what_changes_no_content(pool):
    """Section 4: pins, redefinition and discards are no content change."""
    pool.create("a", content="one")
    before = pool.generation("a")
    pool.pin("a", "w")
    pool.redefine("a", keep=3)
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.discard("a")
    assert pool.generation("a") == before


# Precache


def test_precache_is_made_after_a_commit(pool):
    """Section 6: the next live copy is cloned ahead."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    pool.wait_precache("a")
    with open(pool.files.precache("a"), "rb") as file:
        assert file.read() == pattern("two")


def test_precache_is_not_listed(pool):
    """Section 5: it is no volume."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    pool.wait_precache("a")
    pool.refresh()
    (ident,) = pool.revisions("a")
    assert pool.names() == ["a", f"a@{ident}"]


def test_start_takes_the_precache(pool):
    """Section 6: a start from a precache is a rename."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    pool.wait_precache("a")
    inode = os.stat(pool.files.precache("a")).st_ino
    pool.start("a")
    assert os.stat(pool.files.live("a")).st_ino == inode
    assert pool.holds("a@live", "two")


def test_stale_precache_is_not_used(pool):
    """R21-R24: a head that was changed by hand makes the precache stale."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    pool.wait_precache("a")
    info = os.stat(pool.files.head("a"))
    pool.write("a", pattern("by hand"))
    os.utime(pool.files.head("a"), ns=(info.st_atime_ns, info.st_mtime_ns))
    pool.start("a")
    assert pool.holds("a@live", "by hand")


def test_foreign_precache_is_not_used(pool):
    """R22: a precache that is not of this head is no live copy."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    pool.wait_precache("a")
    path = pool.files.precache("a")
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(pattern("evil"))
    pool.start("a")
    assert pool.holds("a@live", "two")


def test_precache_goes_with_the_volume(pool):
    """Section 6: deleting goes precache, revisions, head."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    pool.wait_precache("a")
    pool.delete("a")
    assert pool.files.all() == []
