# SPDX-License-Identifier: LGPL-2.1-or-later
"""Retention, revert, pinned revisions, ids (design sections 2 and 3)."""

import contextlib
import os
import time

import libvirt
import pytest

from pools import (EXIST, INVALID, MIB, MISSING, pattern, refused, volume_xml,
                   wait_for)
from streams import receive


def grow(pool, name, tags, **options):
    """A volume with this history; the last tag is the head."""
    pool.create(name, content=tags[0], **options)
    for tag in tags[1:]:
        pool.cycle(name, tag)


def history(pool, name, tags):
    """Whether the revisions hold these patterns, oldest first."""
    ids = pool.revisions(name)
    return len(ids) == len(tags) and all(
        pool.holds(f"{name}@{i}", t) for i, t in zip(ids, tags))


def test_default_keep_is_one(pool):
    """Section 2: the pool's default is 1."""
    grow(pool, "a", "1234")
    assert history(pool, "a", "3")


def test_keep_of_the_pool(pools):
    """Section 2: a volume without its own value follows the pool's."""
    pool = pools(keep=2).up()
    grow(pool, "a", "12345")
    assert history(pool, "a", "34")


def test_keep_of_the_volume(pools):
    """Section 2: its own value goes first."""
    pool = pools(keep=1).up()
    grow(pool, "a", "12345", keep=3)
    assert history(pool, "a", "234")


def test_keep_of_the_volume_survives_refresh(pool):
    """Section 5: keep is in the metadata."""
    grow(pool, "a", "123", keep=3)
    pool.restart()
    pool.cycle("a", "4")
    assert history(pool, "a", "123")


def test_keep_zero_keeps_nothing(pool):
    """Section 2: 0 is allowed (L14, Z26)."""
    grow(pool, "a", "123", keep=0)
    assert pool.revisions("a") == []
    assert pool.files.revision_ids("a") == []
    assert pool.holds("a", "3")


def test_keep_zero_of_the_pool(pools):
    """Section 2: 0 is allowed for the pool too."""
    pool = pools(keep=0).up()
    grow(pool, "a", "123")
    assert pool.revisions("a") == []


def test_volume_follows_a_changed_pool_value(pools, daemon):
    """Section 2: follows the pool's value, also when that changes."""
    pool = pools(keep=1).up()
    grow(pool, "a", "12")
    pool.virt.destroy()
    daemon.conn.storagePoolDefineXML(pool.xml(keep=3), 0)
    pool.virt.create(0)
    for tag in "345":
        pool.cycle("a", tag)
    assert history(pool, "a", "234")


@pytest.mark.parametrize("keep", ["-1", "x", "", "1.5", "4294967296",
                                  "99999999999999999999"])
def test_bad_keep_is_refused(pool, keep):
    """Section 2: a count."""
    with pool.refuses():
        pool.create("a", keep=keep)


def test_large_keep(pool):
    """Many revisions stay when asked for."""
    count = pool.few(25)
    grow(pool, "a", [str(n) for n in range(count)], keep=100)
    assert history(pool, "a", [str(n) for n in range(count - 1)])


def test_ids_grow(pool):
    """Section 2: ID is a positive integer that only grows."""
    seen = []
    pool.create("a", content="0")
    for number in range(5):
        pool.cycle("a", str(number + 1))
        seen += pool.revisions("a")
    assert seen == sorted(set(seen)) and seen[0] > 0


def test_ids_are_not_reused_after_delete(pool):
    """Section 2: an id is never used again for that volume (H18)."""
    grow(pool, "a", "123", keep=5)
    last = max(pool.revisions("a"))
    for ident in pool.revisions("a"):
        pool.delete(f"a@{ident}")
    pool.cycle("a", "4")
    assert min(pool.revisions("a")) > last


def test_ids_are_not_reused_after_keep_zero(pool):
    """N14: revision ids never reused after keep=0 (H18)."""
    grow(pool, "a", "123", keep=2)
    last = max(pool.revisions("a"))
    pool.redefine("a", keep=0)
    assert pool.revisions("a") == []
    pool.restart()
    pool.redefine("a", keep=2)
    pool.cycle("a", "4")
    assert min(pool.revisions("a")) > last


def test_ids_are_not_reused_after_refresh(pool):
    """Section 5: the next id is recorded with the volume."""
    grow(pool, "a", "123")
    last = max(pool.revisions("a"))
    pool.delete(f"a@{last}")
    pool.refresh()
    pool.cycle("a", "4")
    assert min(pool.revisions("a")) > last


def test_higher_id_raises_the_next(pool):
    """Section 5: the larger of the recorded one and the highest seen + 1."""
    grow(pool, "a", "12")
    (first,) = pool.revisions("a")
    high = first + 100000
    pool.files.rename(pool.files.revision("a", first),
                      pool.files.new_revision("a", high))
    pool.refresh()
    pool.redefine("a", keep=2)
    pool.cycle("a", "3")
    assert pool.revisions("a") == [high, high + 1]


def test_retention_goes_by_id_not_by_clock(pools):
    """Section 2: by ID, never by clock (H2)."""
    pool = pools(keep=2).up()
    grow(pool, "a", "123")
    first, second = pool.revisions("a")
    head = pool.files.head("a")
    for ident, year in ((first, 2199), (second, 1980)):
        os.rename(pool.files.revision("a", ident),
                  f"{head}.{ident}@{year}-01-01T00:00:00Z")
    pool.refresh()
    pool.cycle("a", "4")
    assert history(pool, "a", "23")


def test_old_file_times_do_not_matter(pools):
    """N03: clock set back a year between cycles, as the files see it (H2)."""
    pool = pools(keep=2).up()
    pool.create("a", content="0")
    for number, years in enumerate((0, 1, 3, 2, 5), 1):
        pool.start("a")
        pool.write("a@live", pattern(str(number)))
        pool.age("a@live", years * 365 * 86400)
        pool.commit("a")
    assert history(pool, "a", "34")
    assert pool.holds("a", "5")


def test_ten_commits_in_a_second(pools):
    """N04: ten cycles, as quick as they go (H3)."""
    pool = pools(keep=10).up()
    pool.create("a", 4096, content="0")
    began = time.monotonic()
    for number in range(1, 11):
        pool.cycle("a", str(number))
    took = time.monotonic() - began
    assert history(pool, "a", [str(n) for n in range(10)])
    assert pool.holds("a", "10")
    assert took < 10


# Redefinition


def test_lower_keep_prunes_at_once(pool):
    """Section 3: a lower explicit keep prunes at once (N13)."""
    grow(pool, "a", "12345", keep=4)
    pool.redefine("a", keep=1)
    assert history(pool, "a", "4")
    assert pool.files.revision_ids("a") == pool.revisions("a")


def test_redefine_without_elements_changes_nothing(pool):
    """Section 3: an absent element leaves what is."""
    grow(pool, "a", "1234", keep=3)
    with pool.untouched():
        pool.redefine("a")
    assert pool.dump("a").find("revisions").get("keep") == "3"


def test_redefine_changes_nothing_else(pool):
    """Section 3: capacity and content stay."""
    grow(pool, "a", "12")
    xml = volume_xml("a", 8 * MIB, keep=2)
    pool.create_from("a", "a", xml=xml)
    assert pool.size("a") == MIB and pool.holds("a", "2")
    assert history(pool, "a", "1")


def test_redefine_does_not_change_permissions(pool):
    """Section 3: nothing but lifecycle and keep."""
    grow(pool, "a", "12")
    pool.redefine("a", keep=2, target="<permissions><mode>0666</mode>"
                  "</permissions>")
    assert os.stat(pool.files.head("a")).st_mode & 0o777 == 0o600


def test_redefine_by_clone_onto_itself(pool):
    """Section 3: A to A; the dumped XML changes nothing."""
    grow(pool, "a", "12", keep=2)
    pool.create_from("a", "a")
    assert history(pool, "a", "1") and pool.holds("a", "2")


def test_redefine_keeps_what_a_revert_has_left(pool):
    """Section 3: only a lower keep prunes; the dumped one is the same."""
    grow(pool, "a", "123", keep=2)
    pool.revert("a", pool.revisions("a")[0])
    pool.create_from("a", "a", xml=pool.vol("a").XMLDesc())
    assert history(pool, "a", "123")


def test_redefine_of_the_lifecycle(pool):
    """Section 3: take <lifecycle> from the XML."""
    pool.create("s", content="source")
    pool.create("a", content="own")
    pool.redefine("a", "<lifecycle snapOnStart='yes' saveOnStop='no' "
                       "source='s'/>")
    pool.refresh()
    pool.start("a")
    assert pool.holds("a@live", "source")


def test_bad_redefine_is_refused(pool):
    """Section 2: (yes, yes) is refused."""
    pool.create("a", content="own")
    with pool.refuses():
        pool.redefine("a", "<lifecycle snapOnStart='yes' saveOnStop='yes' "
                           "source='a'/>")


def test_redefine_works_while_dirty(pool):
    """The retention of a running machine's disk can be changed."""
    grow(pool, "a", "12")
    pool.start("a")
    pool.redefine("a", keep=4)
    pool.write("a@live", pattern("3"))
    pool.commit("a")
    assert history(pool, "a", "12")


# Revert


def test_revert_brings_content_back(pool):
    """Section 3: the chosen revision's content becomes the head."""
    grow(pool, "a", "123", keep=2)
    pool.revert("a", pool.revisions("a")[0])
    assert pool.holds("a", "1")


def test_revert_keeps_everything(pool):
    """Section 3: head becomes a revision, the chosen one stays, no prune."""
    grow(pool, "a", "123", keep=2)
    pool.revert("a", pool.revisions("a")[0])
    assert history(pool, "a", "123")


def test_commit_after_revert_prunes(pool):
    """Section 3: a revert prunes nothing; the next commit does."""
    grow(pool, "a", "123", keep=2)
    pool.revert("a", pool.revisions("a")[0])
    pool.cycle("a", "4")
    assert history(pool, "a", "31")


def test_revert_can_be_undone(pool):
    """H5: a revert is undone by reverting to the newest revision."""
    grow(pool, "a", "12")
    pool.revert("a", pool.revisions("a")[0])
    pool.revert("a", pool.revisions("a")[-1])
    assert pool.holds("a", "2")


def test_revert_with_keep_zero_keeps_the_head(pool):
    """Section 3: a revert prunes nothing."""
    grow(pool, "a", "1", keep=0)
    pool.pin("a", "w")
    pool.cycle("a", "2")
    pool.revert("a", "w")
    assert pool.holds("a", "1")
    assert history(pool, "a", "2")
    assert pool.pins("a") == ["w"]


def test_revert_brings_the_size_back(pool):
    """Qubes 4.4: the size is that of the revision."""
    grow(pool, "a", "12")
    pool.vol("a").resize(3 * MIB, 0)
    pool.revert("a", pool.revisions("a")[0])
    assert pool.size("a") == MIB
    pool.refresh()
    assert pool.size("a") == MIB


def test_revert_to_unknown_id_is_refused(pool):
    """G15: refused before touching the storage."""
    grow(pool, "a", "123", keep=2)
    vol = pool.vol(f"a@{pool.revisions('a')[0]}")
    pool.cycle("a", "4")
    with pool.refuses(MISSING):
        pool.create_from(vol, "a", xml="<volume><name>a</name><capacity>1"
                                       "</capacity></volume>")


def test_revert_does_not_change_volume_facts(pool):
    """Section 5: lifecycle and keep belong to the volume."""
    grow(pool, "a", "12")
    pool.redefine("a", keep=7)
    pool.revert("a", pool.revisions("a")[0])
    pool.refresh()
    assert pool.dump("a").find("revisions").get("keep") == "7"


def test_reverted_head_is_independent_of_the_revision(pool):
    """Section 6: writing to the head must not change the revision."""
    grow(pool, "a", "12")
    (ident,) = pool.revisions("a")
    pool.revert("a", ident)
    pool.write("a", pattern("direct"))
    assert pool.holds(f"a@{ident}", "1")


# Pinned revisions


def test_pin_records_the_head(pool):
    """Section 3: A to A@word."""
    pool.create("a", content="1")
    vol = pool.pin("a", "before-upgrade")
    assert vol.name() == "a@before-upgrade"
    assert vol.path() == pool.files.pin("a", "before-upgrade")
    assert pool.holds("a@before-upgrade", "1")


def test_retention_never_removes_a_pin(pool):
    """Section 2: pinned: retention never removes it."""
    pool.create("a", content="1", keep=0)
    pool.pin("a", "w")
    for tag in "234":
        pool.cycle("a", tag)
    pool.restart()
    assert pool.pins("a") == ["w"] and pool.holds("a@w", "1")


def test_pin_does_not_count_for_retention(pool):
    """Section 2: keep = how many unpinned revisions stay."""
    pool.create("a", content="1", keep=2)
    pool.pin("a", "w")
    for tag in "2345":
        pool.cycle("a", tag)
    assert history(pool, "a", "34")


def test_pin_is_independent_of_the_head(pool):
    """Section 6: revisions users ask for are clones, never links."""
    pool.create("a", content="1")
    pool.pin("a", "w")
    pool.write("a", pattern("direct"))
    assert pool.holds("a@w", "1")
    assert (pool.files.identity(pool.files.pin("a", "w"))
            != pool.files.identity(pool.files.head("a")))


def test_pin_of_a_dirty_volume_is_the_committed_state(pool):
    """Section 3: record the head."""
    pool.create("a", content="1")
    pool.start("a")
    pool.write("a@live", pattern("2"))
    pool.pin("a", "w")
    assert pool.holds("a@w", "1")


def test_pin_can_be_deleted(pool):
    """Section 3: delete A@ID drops that revision."""
    pool.create("a", content="1")
    pool.pin("a", "w")
    pool.delete("a@w")
    assert pool.pins("a") == []
    assert not pool.files.exists(pool.files.pin("a", "w"))


# Single revisions


def test_revision_can_be_deleted(pool):
    """Section 3: delete A@ID."""
    grow(pool, "a", "1234", keep=3)
    pool.delete(f"a@{pool.revisions('a')[1]}")
    assert history(pool, "a", "13")


def test_upload_to_a_revision_is_refused(pool):
    """Section 3: upload to a revision is refused."""
    grow(pool, "a", "12")
    stream = pool.daemon.conn.newStream(0)
    with pool.refuses(INVALID, libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
                      libvirt.VIR_ERR_OPERATION_DENIED):
        pool.vol(f"a@{pool.revisions('a')[0]}").upload(stream, 0, 0, 0)


@pytest.mark.parametrize("call", ["resize", "wipe"])
def test_change_of_a_revision_is_refused(pool, call):
    """Section 2: a revision is an earlier committed state."""
    grow(pool, "a", "12")
    vol = pool.vol(f"a@{pool.revisions('a')[0]}")
    with pool.refuses():
        if call == "resize":
            vol.resize(8 * MIB, 0)
        else:
            vol.wipe(0)


def test_start_onto_revision_is_refused(pool):
    """Section 3: anything else onto an existing name."""
    grow(pool, "a", "12")
    ident = pool.revisions("a")[0]
    with pool.refuses(EXIST):
        pool.create_from("a", f"a@{ident}")


def test_revision_times_are_told(pool):
    """Section 4: created and superseded."""
    grow(pool, "a", "12")
    (node,) = pool.revision_nodes("a")
    form = "%Y-%m-%dT%H:%M:%SZ"
    created = time.strptime(node.get("created"), form)
    superseded = time.strptime(node.get("superseded"), form)
    assert created <= superseded
    assert node.get("name") == f"a@{node.get('id')}"


def test_revision_in_use_is_deferred(pool):
    """Section 3: retention defers what is in use (N02)."""
    grow(pool, "a", "12")
    (first,) = pool.revisions("a")
    stream = pool.daemon.conn.newStream(0)
    pool.vol(f"a@{first}").download(stream, 0, 0, 0)
    pool.cycle("a", "3")
    assert receive(stream) == pattern("1")
    stream.finish()
    wait_for(lambda: pool.cycle("a", "4") and first not in pool.revisions("a"),
             what="deferred prune")


@contextlib.contextmanager
def deferred(pool, writer):
    """The only revision of a volume that retention keeps one of is open, so
    that the next commit leaves it; afterwards it is not."""
    grow(pool, "a", "12")
    (first,) = pool.revisions("a")
    with writer(pool.device(f"a@{first}"), readonly=True):
        pool.cycle("a", "3")
        yield first
    pool.refresh()


def test_deferred_revision_goes_with_a_refresh(pool, writer):
    """Section 3: once it is not in use."""
    with deferred(pool, writer):
        pass
    assert history(pool, "a", "2")


def test_deferred_revision_that_is_to_be_kept_stays(pool, writer):
    """Section 3: retention keeps as many as it is told to by then."""
    with deferred(pool, writer):
        pool.redefine("a", keep=2)
    assert history(pool, "a", "12")


def test_deferred_revision_that_was_reverted_to_stays(pool, writer):
    """Section 3: a revert prunes nothing, and the chosen one stays."""
    with deferred(pool, writer) as first:
        pool.revert("a", first)
    assert history(pool, "a", "123") and pool.holds("a", "1")


def test_missing_revision_does_not_fail_a_refresh(pool):
    """Section 6: what was removed by hand is just gone."""
    grow(pool, "a", "123", keep=2)
    first, second = pool.revisions("a")
    pool.files.remove(pool.files.revision("a", first))
    pool.refresh()
    assert pool.revisions("a") == [second]
    with refused(MISSING):
        pool.vol(f"a@{first}")
