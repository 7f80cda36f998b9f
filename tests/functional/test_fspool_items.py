# SPDX-License-Identifier: LGPL-2.1-or-later
"""Items: made, listed, adopted, deleted (design sections 3 to 5)."""

import os

import libvirt
import pytest

from filesystems import run
from fstrees import SUBVOLUME_INODE, destroy, fill, put
from pools import EXIST, INVALID, MISSING, refused, wait_for


WITH_PINS = libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS


def test_new_item_is_an_empty_directory(fspool):
    """Section 4: an item is a directory; its path is its name by default."""
    vol = fspool.create("a")
    assert vol.path() == fspool.path + "/a"
    assert os.path.isdir(vol.path()) and fspool.blank("a")


@pytest.mark.needs("btrfs")
def test_new_item_is_a_subvolume(fspool):
    """Section 5: on Btrfs a subvolume."""
    fspool.create("a")
    fspool.create("d/b")
    for name in ("a", "d/b"):
        assert os.stat(fspool.device(name)).st_ino == SUBVOLUME_INODE


def test_default_permissions(fspool):
    """Section 4: mode (default 0755)."""
    fspool.create("a")
    assert fspool.permissions("a") == (0o755, 0, 0)


def test_permissions_of_the_document_are_taken(fspool):
    """Section 4: mode, owner, group."""
    fspool.create("a", mode="0750", owner=12, group=34)
    assert fspool.permissions("a") == (0o750, 12, 34)
    node = fspool.dump("a").find("target/permissions")
    assert [int(node.find("mode").text, 8), node.find("owner").text,
            node.find("group").text] == [0o750, "12", "34"]


def test_permissions_are_told_anew(fspool):
    """Section 4: what is printed is what is."""
    fspool.create("a")
    os.chmod(fspool.device("a"), 0o700)
    fspool.refresh()
    assert int(fspool.dump("a").find("target/permissions/mode").text,
               8) == 0o700


def test_type_and_format(fspool):
    """Section 4: <volume type='dir'>."""
    vol = fspool.create("a")
    assert vol.info()[0] == libvirt.VIR_STORAGE_VOL_DIR
    root = fspool.dump("a")
    assert root.get("type") == "dir"
    assert root.find("target/format").get("type") == "dir"
    assert root.find("key").text == root.find("target/path").text


def test_capacity_is_optional(fspool):
    """Section 4: 0 or absent: none."""
    fspool.create("a", None)
    fspool.create("b", 0)
    assert fspool.size("a") == 0 and fspool.size("b") == 0


def test_format_dir_is_accepted(fspool):
    """Section 4: the format of every item."""
    fspool.create("a", fmt="dir")
    assert fspool.has("a")


@pytest.mark.parametrize("fmt", ["raw", "qcow2", "no-such-format"])
@pytest.mark.needs("once")
def test_other_format_is_refused(fspool, fmt):
    """Section 4: an item is no image."""
    with fspool.refuses():
        fspool.create("a", fmt=fmt)
    assert fspool.names() == []


@pytest.mark.needs("once")
def test_preallocated_metadata_is_refused(fspool):
    """A directory has none, as a raw image has none."""
    with fspool.refuses(libvirt.VIR_ERR_CONFIG_UNSUPPORTED):
        fspool.create(
            "a", flags=libvirt.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA)
    assert fspool.names() == []


def test_fresh_item_has_no_past(fspool):
    """Section 4: state of a new volume."""
    fspool.create("a")
    dirty, outdated, generation = fspool.state("a")
    assert not dirty and not outdated and generation >= 1
    assert fspool.revisions("a") == [] and fspool.pins("a") == []


def test_new_item_is_listed_at_once(fspool):
    """Section 3: by name, key (= path) and path."""
    conn = fspool.daemon.conn
    for name in ("a", "d/e/b"):
        vol = fspool.create(name)
        assert vol.key() == vol.path()
        assert conn.storageVolLookupByKey(vol.key()).name() == name
        assert conn.storageVolLookupByPath(vol.path()).name() == name
    assert fspool.names() == ["a", "d/e/b"]


def test_items_survive_a_refresh_and_a_restart(fspool):
    """Section 5: metadata travels with the storage."""
    fspool.create("a", content="one", keep=7)
    fspool.create("d/e/b", mode="0700")
    for again in (fspool.refresh, fspool.restart):
        again()
        assert fspool.names() == ["a", "d/e/b"]
        assert fspool.holds("a", "one")
        assert fspool.dump("a").find("revisions").get("keep") == "7"


def test_items_survive_the_daemon(fspool, daemon):
    """Section 5: no side files, nothing in /etc."""
    fspool.create("a", content="one", keep=7)
    fspool.pin("a", "w")
    daemon.restart()
    fspool.begin()
    assert fspool.names() == ["a", "a@w"]
    assert fspool.dump("a").find("revisions").get("keep") == "7"


def test_existing_item_is_refused(fspool):
    """Section 3: onto an existing name."""
    fspool.create("a", content="one")
    with fspool.refuses(EXIST):
        fspool.create("a")


def test_directory_made_since_the_refresh_is_kept(fspool):
    """Section 5: what appeared meanwhile is nobody's to replace."""
    os.mkdir(fspool.path + "/a")
    fill(fspool.path + "/a", "mine")
    with fspool.refuses():
        fspool.create("a")


def test_unmodified_virsh_creates(fspool):
    """Section 1: every operation works with an unmodified virsh."""
    fspool.daemon.virsh("vol-create-as", fspool.name, "v", "0")
    assert fspool.names() == ["v"] and fspool.blank("v")


# What others put there


def test_directory_is_an_item(fspool):
    """Section 5: directories in the pool's root are items, unlimited."""
    os.mkdir(fspool.path + "/web", 0o750)
    fill(fspool.path + "/web", "mine")
    fspool.refresh()
    assert fspool.names() == ["web"] and fspool.holds("web", "mine")
    assert fspool.size("web") == 0 and fspool.files_max("web") == 0
    assert fspool.permissions("web") == (0o750, 0, 0)


def test_adopting_changes_nothing(fspool):
    """Section 5: tagged only once we change it."""
    os.makedirs(fspool.path + "/web/folder")
    with fspool.untouched():
        fspool.refresh()
        fspool.restart()
        assert fspool.names() == ["web"]


def test_adopted_item_has_all_operations(fspool):
    """Section 5: a persistent volume with the pool's retention."""
    os.mkdir(fspool.path + "/web")
    fill(fspool.path + "/web", "mine")
    fspool.refresh()
    fspool.clone("web", "copy")
    fspool.pin("web", "w")
    fspool.cycle("web", "two")
    fspool.restart()
    assert fspool.holds("web", "two") and fspool.history("web") == ["mine"]
    fspool.revert("web", "w")
    assert fspool.holds("web", "mine") and fspool.holds("copy", "mine")
    fspool.vol("web").wipe(0)
    fspool.delete("web", WITH_PINS)
    assert fspool.names() == ["copy"] and fspool.files.at_rest() == []


def test_files_in_the_pool_are_ignored(fspool, outside):
    """Files in the pool that are no directories are no items."""
    put(fspool.path + "/file", b"foreign")
    put(fspool.path + "/file.img", b"foreign")
    os.symlink(outside, fspool.path + "/link")
    os.mkfifo(fspool.path + "/fifo")
    fspool.create("a")
    with fspool.untouched():
        fspool.refresh()
        fspool.restart()
    assert fspool.names() == ["a"]


def test_name_of_a_foreign_file_is_refused(fspool):
    """Section 5: what is there is kept."""
    put(fspool.path + "/a", b"foreign")
    with fspool.refuses():
        fspool.create("a")
    with fspool.refuses():
        fspool.create("a/b")


def test_refresh_finds_new_and_lost_directories(fspool):
    """Section 3: read everything anew."""
    fspool.create("a")
    os.rmdir(fspool.path + "/a")
    os.mkdir(fspool.path + "/b")
    fspool.refresh()
    assert fspool.names() == ["b"]


def test_item_moved_by_hand_is_the_same(fspool):
    """Section 5: metadata travels; volume facts have the volume's name."""
    fspool.create("a", content="one", keep=9)
    os.rename(fspool.path + "/a", fspool.path + "/b")
    fspool.refresh()
    assert fspool.names() == ["b"] and fspool.holds("b", "one")


# Deleting


def test_delete_removes_all(fspool):
    """Section 3: delete A."""
    fspool.create("a")
    fill(fspool.device("a"), "everything", full=True)
    fspool.delete("a")
    assert fspool.names() == [] and not os.path.lexists(fspool.path + "/a")
    assert fspool.files.at_rest() == []


def test_unpinned_revisions_go_with_it(fspool):
    """Section 3: virt-manager always deletes without flags."""
    fspool.create("a", content="one", keep=3)
    fspool.cycle("a", "two")
    fspool.cycle("a", "three")
    fspool.delete("a")
    assert fspool.names() == [] and fspool.files.kept() == []


def test_pinned_revisions_refuse(fspool):
    """Section 3: refused while it has pinned revisions."""
    fspool.create("a", content="one")
    fspool.cycle("a", "two")
    fspool.pin("a", "w")
    with fspool.refuses(INVALID):
        fspool.delete("a")
    fspool.delete("a", WITH_PINS)
    assert fspool.names() == [] and fspool.files.kept() == []


def test_siblings_with_a_common_prefix_stay(fspool):
    """H11: web, web2, web/x and the like are other items."""
    names = ["web", "web2", "web-x", "web.1", "we", "x/web"]
    for name in names:
        fspool.create(name, content=name)
        fspool.pin(name, "w")
    fspool.delete("web", WITH_PINS)
    for name in names[1:]:
        assert fspool.holds(name, name) and fspool.pins(name) == ["w"]


def test_folder_of_deleted_items_is_no_item(fspool):
    """Section 5: it is not one, whether it stays or goes."""
    fspool.create("d/a")
    fspool.delete("d/a")
    fspool.refresh()
    assert fspool.names() == []
    fspool.create("d")
    assert fspool.names() == ["d"]


def test_folder_keeps_the_other_items(fspool):
    """Section 3: nothing else goes."""
    fspool.create("d/a")
    fspool.create("d/b", content="two")
    fspool.delete("d/a")
    fspool.refresh()
    assert fspool.names() == ["d/b"] and fspool.holds("d/b", "two")


def test_name_can_be_used_again(fspool):
    """Section 3: nothing of the former item leaks into a new one."""
    fspool.create("a", content="one", keep=5, mode="0700")
    fspool.cycle("a", "two")
    fspool.delete("a")
    fspool.create("a")
    assert fspool.blank("a") and fspool.revisions("a") == []
    assert fspool.permissions("a") == (0o755, 0, 0)
    node = fspool.dump("a").find("revisions")
    assert node is None or node.get("keep") != "5"


def test_deleted_twice(fspool):
    """A volume that is gone is an error of the caller."""
    vol = fspool.create("a")
    vol.delete(0)
    with refused(MISSING):
        vol.delete(0)


def test_delete_of_what_is_gone(fspool):
    """What is gone already can be deleted, or is not found."""
    fspool.create("a")
    os.rmdir(fspool.path + "/a")
    try:
        fspool.delete("a")
    except libvirt.libvirtError:
        fspool.refresh()
    assert fspool.names() == []


def run_all(*commands):
    """Run these one after the other."""
    for command in commands:
        run(*command)


@pytest.mark.usually_once
@pytest.mark.needs("btrfs")
def test_delete_takes_nested_subvolumes_along(fspool, fs):
    """Section 6: deleting is aware of subvolumes, read-only ones too."""
    fspool.create("a", content="one")
    path = fspool.device("a")
    make = ["btrfs", "subvolume"]
    run_all(make + ["create", path + "/inner"],
            make + ["create", path + "/inner/deeper"],
            make + ["snapshot", "-r", path + "/inner", path + "/sub/frozen"])
    put(path + "/inner/deeper/file", b"x")
    fspool.delete("a")
    wait_for(lambda: not fspool.files.leftovers(), 30, "removed")
    fs.removed()
    assert fspool.names() == []


@pytest.mark.slow
@pytest.mark.needs("local")
def test_pool_answers_while_a_tree_is_removed(fspool):
    """Section 9: deletes trees with the pool unlocked."""
    fspool.create("big")
    fspool.create("a")
    for number in range(200):
        place = f"{fspool.device('big')}/{number}"
        os.mkdir(place)
        for inner in range(200):
            put(f"{place}/{inner}")
    fspool.delete("big")
    assert fspool.names() == ["a"]
    fspool.create("b")
    wait_for(lambda: not fspool.files.leftovers(), 60, "removed")


@pytest.mark.parametrize("folder", [False, True], ids=["item", "folder"])
@pytest.mark.needs("once")
def test_item_that_has_gone_already_is_deleted(fspool, folder):
    """As in libvirt's own pools: there is nothing left to do."""
    fspool.create("d/a", content="one")
    fspool.cycle("d/a", "two")
    destroy(fspool.device("d/a"))
    if folder:
        os.rmdir(fspool.path + "/d")
    fspool.delete("d/a")
    assert fspool.names() == [] and fspool.files.kept() == []
    fspool.create("d/a")
