# SPDX-License-Identifier: LGPL-2.1-or-later
"""Revisions of items: pins, reverts, retention, wipe (sections 2 and 3)."""

import os
import time

import libvirt
import pytest

from fspoolpool import UNSUPPORTED, item_xml
from fstrees import SUBVOLUME_INODE, destroy, fill, put
from pools import EXIST, INVALID, MIB, MISSING, refused
from streams import abort, begin_download


DENIED = UNSUPPORTED + (INVALID, libvirt.VIR_ERR_OPERATION_DENIED,
                        libvirt.VIR_ERR_INVALID_ARG)


def grow(pool, name, tags, **options):
    """An item that had these contents, one after the other."""
    pool.create(name, content=tags[0], **options)
    for tag in tags[1:]:
        pool.cycle(name, tag)


# Pinned revisions


def test_pin_records_the_item(fspool):
    """Section 3: A to A@word: record the head as a pinned revision."""
    fspool.create("a")
    fill(fspool.device("a"), "everything", full=True)
    vol = fspool.pin("a", "before-upgrade")
    assert vol.name() == "a@before-upgrade"
    assert fspool.holds("a@before-upgrade", "everything")
    assert fspool.pins("a") == ["before-upgrade"]
    assert fspool.revisions("a") == []


def test_pin_does_not_change_the_item(fspool):
    """Section 3: the head is what it was."""
    fspool.create("a", content="one")
    identity = fspool.files.identity(fspool.device("a"))
    fspool.pin("a", "w")
    assert fspool.holds("a", "one")
    assert fspool.files.identity(fspool.device("a")) == identity
    fspool.write("a", "two")
    assert fspool.holds("a", "two")


def test_pin_is_independent_of_the_item(fspool):
    """Section 6: revisions that users ask for are clones."""
    fspool.create("a", content="one")
    fspool.pin("a", "w")
    put(fspool.device("a") + "/data", b"written in place")
    fspool.write("a", "two")
    assert fspool.holds("a@w", "one")


@pytest.mark.needs("btrfs")
def test_pin_is_read_only(fspool):
    """Section 2: an earlier committed state; on Btrfs nobody writes to it."""
    fspool.create("a", content="one")
    fspool.pin("a", "w")
    assert os.stat(fspool.device("a@w")).st_ino == SUBVOLUME_INODE
    with pytest.raises(OSError):
        put(fspool.device("a@w") + "/new")


def test_existing_pin_is_refused(fspool):
    """Section 3: onto an existing name."""
    fspool.create("a", content="one")
    fspool.pin("a", "w")
    with fspool.refuses(EXIST):
        fspool.pin("a", "w")


@pytest.mark.needs("once")
@pytest.mark.parametrize("word", ["", "1x", "-x", "x.y", "x/y", "x y", "0",
                                  "x@y", "\u00fc", "x" * 300])
def test_bad_word_is_refused(fspool, word):
    """Section 2: a word instead of a number."""
    fspool.create("a", content="one")
    with fspool.refuses():
        fspool.pin("a", word)
    assert fspool.names() == ["a"]


@pytest.mark.needs("!btrfs")
def test_pin_of_an_item_after_an_unfinished_switch_stays(fspool):
    """Section 6: the mark of a switch is the item's, and no revision's."""
    fspool.create("a", content="one")
    put(fspool.device("a") + "/large", os.urandom(24 * MIB))
    head = fspool.device("a")
    stream = begin_download(fspool, "a")  # a refresh leaves the item alone
    os.setxattr(head, fspool.files.metadata_name(head),
                fspool.files.metadata(head).encode() + b"&P=1")
    fspool.refresh()
    abort(stream)
    fspool.pin("a", "w")
    fspool.restart()
    assert fspool.pins("a") == ["w"]
    assert fspool.digest("a@w") == fspool.digest("a")


def test_pin_of_another_item_is_refused(fspool):
    """Section 3: only A's own content is recorded as A@word."""
    fspool.create("a", content="one")
    fspool.create("b", content="two")
    for target in ("b@w", "b@7", "absent@w"):
        with fspool.refuses():
            fspool.create_from("a", target)
    assert fspool.pins("b") == []


def test_retention_never_removes_a_pin(fspool):
    """Section 2: pinned, retention never removes it."""
    fspool.create("a", content="one", keep=1)
    fspool.pin("a", "w")
    for tag in ("two", "three", "four"):
        fspool.cycle("a", tag)
    fspool.restart()
    assert fspool.pins("a") == ["w"] and fspool.holds("a@w", "one")
    assert fspool.history("a") == ["three"]


def test_pin_can_be_deleted(fspool):
    """Section 3: delete A@ID drops that revision."""
    fspool.create("a", content="one")
    fspool.pin("a", "w")
    fspool.delete("a@w")
    assert fspool.names() == ["a"] and fspool.files.kept() == []
    assert fspool.files.at_rest() == []
    fspool.pin("a", "w")
    assert fspool.holds("a@w", "one")


# Reverts


def test_revert_brings_content_back(fspool):
    """Section 3: the chosen revision's content becomes the head."""
    grow(fspool, "a", ["one", "two", "three"], keep=2)
    fspool.revert("a", fspool.revisions("a")[0])
    assert fspool.holds("a", "one")
    fspool.restart()
    assert fspool.holds("a", "one")


def test_revert_keeps_everything(fspool):
    """Section 3: the head becomes a revision, the chosen one stays; a revert
    prunes nothing."""
    grow(fspool, "a", ["one", "two", "three"], keep=2)
    before = fspool.revisions("a")
    fspool.revert("a", before[0])
    assert fspool.history("a") == ["one", "two", "three"]
    assert fspool.revisions("a")[:2] == before


def test_next_upload_prunes(fspool):
    """Section 3: the next one does."""
    grow(fspool, "a", ["one", "two", "three"], keep=2)
    fspool.revert("a", fspool.revisions("a")[0])
    fspool.cycle("a", "four")
    assert fspool.history("a") == ["three", "one"]


def test_revert_to_a_pin(fspool):
    """Section 3: A@ID may have a word, too."""
    fspool.create("a", content="one", keep=0)
    fspool.pin("a", "w")
    fspool.write("a", "two")
    fspool.revert("a", "w")
    assert fspool.holds("a", "one") and fspool.history("a") == ["two"]
    assert fspool.pins("a") == ["w"] and fspool.holds("a@w", "one")


def test_revert_can_be_undone(fspool):
    """H5: by a revert to the newest revision."""
    grow(fspool, "a", ["one", "two"])
    fspool.revert("a", fspool.revisions("a")[0])
    fspool.revert("a", fspool.revisions("a")[-1])
    assert fspool.holds("a", "two")


def test_reverted_item_is_written_as_any_other(fspool):
    """Section 6: writing to the head does not change the revision."""
    grow(fspool, "a", ["one", "two"])
    (ident,) = fspool.revisions("a")
    fspool.revert("a", ident)
    put(fspool.device("a") + "/data", b"written in place")
    fspool.write("a", "three")
    assert fspool.holds("a", "three") and fspool.holds(f"a@{ident}", "one")


def test_revert_keeps_the_path(fspool):
    """Section 5: the tree changes, not the item's path."""
    grow(fspool, "d/a", ["one", "two"])
    path = fspool.device("d/a")
    fspool.revert("d/a", fspool.revisions("d/a")[0])
    assert fspool.device("d/a") == path == fspool.path + "/d/a"


def test_revert_keeps_what_is_the_volumes(fspool):
    """Section 5: keep, owner and mode belong to the volume."""
    fspool.create("a", content="one", keep=7, mode="0750", owner=12, group=34)
    fspool.pin("a", "w")
    fspool.write("a", "two")
    fspool.revert("a", "w")
    fspool.restart()
    assert fspool.dump("a").find("revisions").get("keep") == "7"
    assert fspool.permissions("a") == (0o750, 12, 34)


def test_revert_keeps_all_that_a_tree_has(fspool):
    """Section 6: the old or the new state, complete."""
    fspool.create("a")
    fill(fspool.device("a"), "everything", full=True)
    fspool.pin("a", "w")
    fspool.write("a", "two")
    fspool.revert("a", "w")
    assert fspool.holds("a", "everything")


def test_revert_to_unknown_is_refused(fspool):
    """Section 3: refused with nothing touched."""
    grow(fspool, "a", ["one", "two", "three"], keep=2)
    vol = fspool.vol(f"a@{fspool.revisions('a')[0]}")
    fspool.cycle("a", "four")
    with fspool.refuses(MISSING):
        fspool.create_from(vol, "a", xml=item_xml("a"))


def test_revert_to_another_items_revision_is_refused(fspool):
    """Section 3: onto an existing name."""
    grow(fspool, "a", ["one", "two"])
    fspool.create("b", content="three")
    with fspool.refuses(EXIST):
        fspool.create_from(f"a@{fspool.revisions('a')[0]}", "b")


# Ids and retention


def test_default_keep_is_one(fspool):
    """Section 2: the pool's default is 1."""
    grow(fspool, "a", ["one", "two", "three"])
    assert fspool.history("a") == ["two"]


@pytest.mark.parametrize("keep,left", [(0, []), (2, ["two", "three"])])
def test_pools_keep(fspools, keep, left):
    """Section 2: a volume without its own value follows the pool's."""
    pool = fspools(keep=keep).up()
    grow(pool, "a", ["one", "two", "three", "four"])
    assert pool.history("a") == left and pool.holds("a", "four")
    assert pool.files.at_rest() == []


def test_own_keep(fspools):
    """Section 2: retention of a volume."""
    pool = fspools(keep=0).up()
    grow(pool, "a", ["one", "two", "three"], keep=2)
    pool.restart()
    assert pool.history("a") == ["one", "two"]


def test_ids_grow_and_are_never_used_again(fspool):
    """Section 2: never used again for that volume."""
    grow(fspool, "a", ["one", "two"])
    seen = []
    for number in range(3):
        (ident,) = fspool.revisions("a")
        assert ident > max(seen, default=0)
        seen.append(ident)
        fspool.delete(f"a@{ident}")
        (fspool.refresh, fspool.restart, fspool.refresh)[number]()
        fspool.cycle("a", f"again {number}")


def test_lower_keep_prunes_at_once(fspool):
    """Section 3: redefine."""
    grow(fspool, "a", ["one", "two", "three", "four"], keep=3)
    fspool.redefine("a", keep=1)
    assert fspool.history("a") == ["three"]
    assert fspool.files.at_rest() == [] and len(fspool.files.kept()) == 1


def test_redefine_without_elements_changes_nothing(fspool):
    """Section 3: an absent element leaves what is."""
    grow(fspool, "a", ["one", "two", "three"], keep=2)
    with fspool.untouched():
        fspool.redefine("a")
    assert fspool.dump("a").find("revisions").get("keep") == "2"


def test_redefine_changes_nothing_else(fspool):
    """Section 3: nothing else changes."""
    fspool.create("a", content="one", mode="0700")
    xml = item_xml("a", 0, keep=4, mode="0777", owner=12)
    fspool.create_from("a", "a", xml=xml)
    fspool.restart()
    assert fspool.dump("a").find("revisions").get("keep") == "4"
    assert fspool.permissions("a") == (0o700, 0, 0)
    assert fspool.holds("a", "one") and fspool.revisions("a") == []


def test_generation_counts_changes(fspool):
    """Section 4: generation counts the head's content changes."""
    grow(fspool, "a", ["one", "two"])
    first = fspool.generation("a")
    fspool.cycle("a", "three")
    fspool.revert("a", fspool.revisions("a")[0])
    fspool.pin("a", "w")
    fspool.redefine("a", keep=5)
    fspool.restart()
    assert fspool.generation("a") == first + 2


# Single revisions


def test_revision_can_be_deleted(fspool):
    """Section 3: delete A@ID."""
    grow(fspool, "a", ["one", "two", "three", "four"], keep=3)
    fspool.delete(f"a@{fspool.revisions('a')[1]}")
    assert fspool.history("a") == ["one", "three"]
    assert fspool.files.at_rest() == []


def test_revisions_are_listed_and_found(fspool):
    """Section 3: by name, key (= path) and path."""
    grow(fspool, "d/a", ["one", "two"])
    fspool.pin("d/a", "word")
    (ident,) = fspool.revisions("d/a")
    conn = fspool.daemon.conn
    assert fspool.names() == ["d/a", f"d/a@{ident}", "d/a@word"]
    for name in fspool.names():
        vol = fspool.vol(name)
        assert vol.info()[0] == libvirt.VIR_STORAGE_VOL_DIR
        assert conn.storageVolLookupByKey(vol.key()).name() == name
        assert conn.storageVolLookupByPath(vol.path()).name() == name


def test_revisions_lie_in_the_pools_own_folder(fspool):
    """Section 5: .fspool/revisions, one directory each."""
    for name in ("a", "d/e/a"):
        grow(fspool, name, ["one", "two"])
        fspool.pin(name, "w")
    below = fspool.path + "/.fspool/revisions/"
    names = [n for n in fspool.names() if "@" in n]
    assert len(names) == len(fspool.files.kept()) == 4
    for name in names:
        path = fspool.device(name)
        assert os.path.dirname(path) + "/" == below
        assert path.endswith("@" + name.split("@")[1])


def test_revisions_are_no_items(fspool):
    """Section 5: .fspool is never listed."""
    grow(fspool, "a", ["one", "two"])
    fspool.pin("a", "w")
    fspool.refresh()
    assert not [n for n in fspool.names() if "fspool" in n]
    with refused(MISSING):
        fspool.vol(".fspool")


def test_revision_times_are_told(fspool):
    """Section 4: created and superseded."""
    grow(fspool, "a", ["one", "two"])
    (node,) = fspool.revision_nodes("a")
    form = "%Y-%m-%dT%H:%M:%SZ"
    created = time.strptime(node.get("created"), form)
    assert created <= time.strptime(node.get("superseded"), form)
    assert node.get("name") == f"a@{node.get('id')}"


@pytest.mark.parametrize("call", ["resize", "wipe", "upload", "pin"])
def test_change_of_a_revision_is_refused(fspool, call):
    """Section 2: a revision is an earlier committed state."""
    grow(fspool, "a", ["one", "two"])
    name = f"a@{fspool.revisions('a')[0]}"
    calls = {"resize": lambda: fspool.vol(name).resize(8 * MIB, 0),
             "wipe": lambda: fspool.vol(name).wipe(0),
             "upload": lambda: fspool.cycle(name, "three"),
             "pin": lambda: fspool.create_from("a", name)}
    with fspool.refuses(*DENIED + (EXIST,)):
        calls[call]()


def test_revision_removed_by_hand(fspool):
    """Section 6: it is just gone, and fails no refresh."""
    grow(fspool, "a", ["one", "two", "three"], keep=2)
    first, second = fspool.revisions("a")
    destroy(fspool.device(f"a@{first}"))
    fspool.refresh()
    assert fspool.revisions("a") == [second]


def test_orphaned_revisions_block_the_name(fspool):
    """Section 3: refused while NAME@... of a former volume remain."""
    grow(fspool, "a", ["one", "two"])
    fspool.pin("a", "w")
    destroy(fspool.device("a"))
    fspool.refresh()
    with fspool.refuses():
        fspool.create("a")
    assert len(fspool.files.kept()) == 2


def test_unlisted_revisions_are_reachable(fspools):
    """Section 3: list='no' leaves revisions out of lists."""
    pool = fspools(keep=2, listed="no").up()
    grow(pool, "a", ["one", "two"])
    pool.pin("a", "w")
    (ident,) = pool.revisions("a")
    for again in (pool.refresh, pool.restart):
        again()
        assert pool.names() == ["a"]
        for name, tag in ((f"a@{ident}", "one"), ("a@w", "two")):
            assert pool.holds(name, tag)
            conn = pool.daemon.conn
            path = pool.device(name)
            assert conn.storageVolLookupByPath(path).name() == name


# Wiping


def test_wipe_empties_the_item(fspool):
    """Section 3: head becomes zeros; of a tree, nothing."""
    fspool.create("a", mode="0750", owner=12, group=34, keep=3)
    fill(fspool.device("a"), "everything", full=True)
    fspool.vol("a").wipe(0)
    assert fspool.blank("a")
    assert fspool.permissions("a") == (0o750, 12, 34)
    assert fspool.dump("a").find("revisions").get("keep") == "3"
    assert fspool.files.at_rest() == []


def test_wipe_makes_no_revision(fspool):
    """Section 3: no revision is made of it, older ones keep what they hold."""
    grow(fspool, "a", ["one", "two"])
    fspool.pin("a", "w")
    fspool.vol("a").wipe(0)
    fspool.restart()
    assert fspool.blank("a") and fspool.history("a") == ["one"]
    assert fspool.holds("a@w", "two")


def test_wiped_item_can_be_used(fspool):
    """Section 3: as a fresh one."""
    fspool.create("a", content="one")
    fspool.vol("a").wipe(0)
    fspool.cycle("a", "two")
    assert fspool.holds("a", "two")


@pytest.mark.needs("once")
def test_other_algorithm_is_refused(fspool):
    """Section 3: algorithms zero and trim; others refused."""
    fspool.create("a", content="one")
    with fspool.refuses():
        fspool.vol("a").wipePattern(libvirt.VIR_STORAGE_VOL_WIPE_ALG_DOD, 0)
    fspool.vol("a").wipePattern(libvirt.VIR_STORAGE_VOL_WIPE_ALG_TRIM, 0)
    assert fspool.blank("a")


def test_unmodified_virsh_wipes(fspool):
    """Section 1: an unmodified virsh."""
    fspool.create("a", content="one")
    fspool.daemon.virsh("vol-wipe", "a", "--pool", fspool.name)
    assert fspool.blank("a")
