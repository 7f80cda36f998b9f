# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening a tree that Qubes' file-reflink driver made (design section 5)."""

import os
import shutil

import pytest

from pools import MIB, pattern, snapshot_of

NEW = ".img.{}@2024-05-0{}T10:00:00Z"
OLD = ".img@2019-03-0{}T08:00:00Z"


def put(pool, name, tag, size=MIB):
    """A file as Qubes leaves it: no metadata."""
    path = os.path.join(pool.path, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(pattern(tag, size))
    return path


@pytest.fixture
def tree(pools):
    """A pool's directory before libvirt ever saw it."""
    pool = pools(keep=2).define()
    os.makedirs(pool.path)
    return pool


def begin(pool):
    return pool.begin()


def test_plain_image_is_a_persistent_raw_volume(tree):
    """Section 5: no metadata = a persistent raw volume."""
    put(tree, "appvms/work/private.img", "p", 2 * MIB)
    begin(tree)
    name = "appvms/work/private"
    assert tree.names() == [name]
    assert tree.size(name) == 2 * MIB
    assert tree.dump(name).find("target/format").get("type") == "raw"
    node = tree.dump(name).find("lifecycle")
    assert node is None or (node.get("snapOnStart"),
                            node.get("saveOnStop")) == ("no", "yes")


def test_numbered_revisions_are_read(tree):
    """Section 5: revision N."""
    put(tree, "vm/root.img", "now")
    put(tree, "vm/root" + NEW.format(3, 1), "three")
    put(tree, "vm/root" + NEW.format(4, 2), "four")
    begin(tree)
    assert tree.revisions("vm/root") == [3, 4]
    assert tree.holds("vm/root@3", "three")


def test_revision_date_is_its_time(tree):
    """Qubes 4.1: time = mtime of the superseded clean file."""
    put(tree, "vm/root.img", "now")
    put(tree, "vm/root" + NEW.format(3, 1), "three")
    begin(tree)
    (node,) = tree.revision_nodes("vm/root")
    assert "2024-05-01T10:00:00Z" in (node.get("created"),
                                      node.get("superseded"))


def test_older_form_of_revisions_is_read(tree):
    """Section 5: the older NAME.img@YYYY-...Z is read too."""
    put(tree, "vm/root.img", "now")
    put(tree, "vm/root" + OLD.format(1), "first")
    put(tree, "vm/root" + OLD.format(2), "second")
    begin(tree)
    ids = tree.revisions("vm/root")
    assert len(ids) == 2
    assert tree.holds(f"vm/root@{ids[0]}", "first")
    assert tree.holds(f"vm/root@{ids[1]}", "second")


def test_older_form_is_stable_and_usable(tree):
    """Such a revision has one id, and can be reverted to."""
    put(tree, "vm/root.img", "now")
    put(tree, "vm/root" + OLD.format(1), "first")
    put(tree, "vm/root" + NEW.format(7, 2), "seven")
    begin(tree)
    ids = tree.revisions("vm/root")
    tree.refresh()
    assert tree.revisions("vm/root") == ids and 7 in ids
    (old,) = [i for i in ids if i != 7]
    tree.revert("vm/root", old)
    assert tree.holds("vm/root", "first")


def test_next_id_goes_on(tree):
    """Section 5: highest seen + 1."""
    put(tree, "root.img", "now")
    put(tree, "root" + NEW.format(3, 1), "three")
    begin(tree)
    tree.cycle("root", "next")
    assert tree.revisions("root") == [3, 4]


def test_reading_changes_nothing(tree):
    """Section 5: an existing Qubes pool can be opened as it is."""
    put(tree, "vm/root.img", "now")
    put(tree, "vm/root" + NEW.format(3, 1), "three")
    put(tree, "vm/root" + NEW.format(4, 1), "four")
    put(tree, "vm/root" + NEW.format(5, 1), "five")
    put(tree, "vm/private-dirty.img", "private")
    put(tree, "vm/root-import.img", "import")
    with tree.untouched():
        begin(tree)
        tree.refresh()
        tree.restart()


def test_opening_does_not_prune(tree):
    """Section 5: nothing is destroyed on a default."""
    put(tree, "root.img", "now")
    for number in range(1, 6):
        put(tree, "root" + NEW.format(number, number), str(number))
    begin(tree)
    assert tree.revisions("root") == [1, 2, 3, 4, 5]


def test_dirty_file_with_head_is_a_dirty_volume(tree):
    """Section 5: NAME-dirty.img is the live copy."""
    put(tree, "root.img", "now")
    put(tree, "root-dirty.img", "running")
    begin(tree)
    assert tree.dirty("root") and tree.holds("root@live", "running")
    tree.commit("root")
    assert tree.holds("root", "running")


def test_lone_dirty_file_is_listed(tree):
    """Section 5: a live file without head is listed as NAME@live (H4)."""
    put(tree, "vm/private-dirty.img", "private")
    begin(tree)
    assert tree.names() == ["vm/private@live"]
    assert tree.holds("vm/private@live", "private")


def test_lone_dirty_file_is_never_removed_by_itself(tree):
    """Section 5: never removed or committed by itself."""
    path = put(tree, "private-dirty.img", "private")
    begin(tree)
    tree.refresh()
    tree.restart()
    assert tree.files.all() == ["private-dirty.img"]
    assert os.path.exists(path)


def test_commit_of_a_lone_dirty_file_is_a_rename(tree):
    """Section 5: an explicit commit is then a plain rename (L09)."""
    path = put(tree, "private-dirty.img", "private")
    inode = os.stat(path).st_ino
    begin(tree)
    tree.create_from("private@live", "private")
    assert tree.holds("private", "private")
    assert os.stat(tree.files.head("private")).st_ino == inode
    assert tree.revisions("private") == []
    assert not tree.dirty("private")


def test_stale_precache_is_not_used(tree):
    """Section 6: a precache is only ours when its head is."""
    put(tree, "root.img", "now")
    put(tree, "root-precache.img", "older")
    begin(tree)
    tree.start("root")
    assert tree.holds("root@live", "now")


def test_qubes_import_is_never_removed(tree):
    """Section 5: Qubes' own -import is never removed unasked."""
    put(tree, "root.img", "now")
    path = put(tree, "root-import.img", "import")
    begin(tree)
    tree.cycle("root", "next")
    tree.refresh()
    with open(path, "rb") as file:
        assert file.read() == pattern("import")


def link_pair(tree):
    """A template and a snapshot volume whose clean file is its inode."""
    put(tree, "template/root.img", "template")
    os.makedirs(tree.path + "/app")
    os.link(tree.files.head("template/root"), tree.files.head("app/root"))
    put(tree, "app/root-dirty.img", "running")


def test_hard_linked_snapshot_volume_is_listed(tree):
    """Section 5: Qubes' snapshot volumes share the template's inode."""
    link_pair(tree)
    begin(tree)
    assert tree.names() == ["app/root", "app/root@live", "template/root"]


def test_hard_linked_head_is_cloned_apart_before_a_change(tree):
    """Section 5: cloned apart before it is changed."""
    link_pair(tree)
    begin(tree)
    tree.vol("app/root@live").delete(0)
    tree.vol("app/root").resize(2 * MIB, 0)
    assert tree.size("template/root") == MIB
    assert tree.holds("template/root", "template")
    assert os.stat(tree.files.head("template/root")).st_nlink == 1


def test_metadata_is_never_on_a_shared_inode(tree):
    """Section 5: never written to an inode that has two of our names."""
    link_pair(tree)
    begin(tree)
    tree.redefine("app/root", keep=5)
    tree.refresh()
    assert tree.dump("app/root").find("revisions").get("keep") == "5"
    node = tree.dump("template/root").find("revisions")
    assert node is None or node.get("keep") != "5"
    assert tree.holds("template/root", "template")


def test_shared_inode_is_no_unfinished_commit(tree):
    """A shared inode is no proof of an unfinished commit."""
    link_pair(tree)
    begin(tree)
    tree.cycle("template/root", "new template")
    assert tree.holds("app/root", "template")
    tree.commit("app/root")
    assert tree.holds("app/root", "running")
    assert tree.holds("template/root", "new template")


def test_revision_hard_linked_by_a_copy_is_kept(tree):
    """Cp -al makes such pairs; nothing is lost."""
    put(tree, "root.img", "now")
    os.link(tree.files.head("root"), tree.path + "/root" + NEW.format(9, 1))
    begin(tree)
    tree.cycle("root", "next")
    assert tree.holds("root", "next")
    assert any(tree.holds(f"root@{i}", "now") for i in tree.revisions("root"))


def test_facts_come_from_siblings(tree):
    """Section 5: volume facts come from the newest sibling with metadata."""
    begin(tree)
    tree.create("root", content="0", keep=4)
    for tag in "123":
        tree.cycle("root", tag)
    tree.virt.destroy()
    # What a Qubes commit leaves: a head that is a new file.
    head = tree.files.head("root")
    os.unlink(head)
    put(tree, "root.img", "by qubes")
    begin(tree)
    assert tree.dump("root").find("revisions").get("keep") == "4"
    assert len(tree.revisions("root")) == 3
    tree.cycle("root", "4")
    assert len(tree.revisions("root")) == 4


def test_sibling_facts_are_warned_of(tree, daemon):
    """Section 5: with a warning."""
    begin(tree)
    tree.create("root", content="0", keep=4)
    tree.cycle("root", "1")
    tree.virt.destroy()
    os.unlink(tree.files.head("root"))
    put(tree, "root.img", "by qubes")
    before = len(daemon.log())
    begin(tree)
    assert "root" in daemon.log()[before:]


def test_copied_file_gives_no_volume_facts(tree):
    """Section 5: a name that does not match means a copied file."""
    begin(tree)
    tree.create("src", content="source")
    tree.create("snap", None, lifecycle=snapshot_of("src"), keep=7)
    tree.virt.destroy()
    shutil.copy2(tree.files.head("snap"), tree.files.head("copy"))
    assert tree.files.metadata(tree.files.head("copy")), "xattr not copied"
    begin(tree)
    node = tree.dump("copy").find("lifecycle")
    assert node is None or node.get("snapOnStart") == "no"
    revisions = tree.dump("copy").find("revisions")
    assert revisions is None or revisions.get("keep") != "7"


def test_copied_file_keeps_its_format(tree):
    """Section 5: content facts hold for a copy too."""
    begin(tree)
    tree.create("q", 4 * MIB, fmt="qcow2")
    tree.virt.destroy()
    shutil.copy2(tree.files.head("q"), tree.files.head("copy"))
    begin(tree)
    assert tree.dump("copy").find("target/format").get("type") == "qcow2"


def test_qubes_can_read_what_we_wrote(tree):
    """Section 5: read by Qubes again: names as Qubes has them."""
    begin(tree)
    tree.create("appvms/work/private", content="0")
    tree.cycle("appvms/work/private", "1")
    names = os.listdir(tree.path + "/appvms/work")
    names = [n for n in names if "precache" not in n]
    assert len(names) == 2 and "private.img" in names
    (other,) = [n for n in names if n != "private.img"]
    number, date = other[len("private.img."):].split("@")
    assert number.isdigit() and len(date) == len("2024-05-01T10:00:00Z")


def test_deletion_of_an_adopted_volume(tree):
    """Section 3: its unpinned revisions go with it."""
    put(tree, "vm/root.img", "now")
    put(tree, "vm/root" + NEW.format(3, 1), "three")
    put(tree, "vm/root" + OLD.format(1), "first")
    put(tree, "vm/root2.img", "other")
    begin(tree)
    tree.delete("vm/root")
    assert tree.files.all() == ["vm/root2.img"]


def used_again(tree, keep):
    """A volume whose ids 1 to 3 retention and a deletion used up, and that
    Qubes, which sees no revision, then started and stopped."""
    begin(tree)
    tree.create("root", content="0", keep=1)
    for tag in "123":
        tree.cycle("root", tag)
    tree.redefine("root", keep=keep)
    tree.delete("root@3")
    tree.virt.destroy()
    os.rename(tree.files.head("root"), tree.path + "/root" + NEW.format(1, 1))
    put(tree, "root.img", "by qubes")
    begin(tree)


@pytest.mark.parametrize("keep", [1, 3])
def test_id_that_qubes_used_again_is_a_revision(tree, keep):
    """Section 5: Qubes uses ids again: one below our next id, and at or below
    what retention once removed, is a revision; no refresh takes it."""
    used_again(tree, keep)
    for _ in range(2):
        assert tree.revisions("root") == [1]
        assert tree.holds("root@1", "3") and tree.holds("root", "by qubes")
        tree.restart()


def test_id_that_qubes_used_again_goes_as_retention_says(tree):
    """Section 2: the oldest goes first: that of the lower id."""
    used_again(tree, 1)
    tree.cycle("root", "5")
    for _ in range(2):
        assert tree.revisions("root") == [4]
        assert tree.holds("root@4", "by qubes")
        tree.refresh()


def test_id_that_qubes_used_again_stays_over_a_commit(tree):
    """Section 2: keep says what stays, whatever an earlier one removed."""
    used_again(tree, 3)
    tree.cycle("root", "5")
    for _ in range(2):
        assert tree.revisions("root") == [1, 4]
        assert tree.holds("root@1", "3")
        assert tree.holds("root@4", "by qubes")
        tree.refresh()


def test_id_that_qubes_used_again_stays_over_a_redefine(tree):
    """The same where the head gets metadata again without a commit."""
    used_again(tree, 3)
    tree.redefine("root", keep=4)
    tree.refresh()
    assert tree.revisions("root") == [1] and tree.holds("root@1", "3")


def test_link_under_an_id_that_was_used_is_kept(tree):
    """Section 6: unfinished is only what has an id to come: a link of the
    head under a used one becomes a revision of its own."""
    begin(tree)
    tree.create("root", content="0", keep=3)
    tree.cycle("root", "1")
    tree.delete("root@1")
    tree.virt.destroy()
    os.link(tree.files.head("root"), tree.path + "/root" + NEW.format(1, 1))
    begin(tree)
    assert tree.revisions("root") == [1] and tree.holds("root@1", "1")
    tree.cycle("root", "2")
    tree.refresh()
    assert tree.revisions("root") == [1, 2] and tree.holds("root@1", "1")


def test_snapshot_of_an_adopted_volume_is_outdated_by_a_commit(tree):
    """Section 4: outdated = of an older generation than its source's."""
    put(tree, "t.img", "one")
    begin(tree).create("v", None, lifecycle=snapshot_of("t"))
    tree.start("v")
    assert tree.state("v")[:2] == (True, False)
    tree.cycle("t", "two")
    assert tree.state("v")[:2] == (True, True)
