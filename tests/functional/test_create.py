# SPDX-License-Identifier: LGPL-2.1-or-later
"""vol-create (design section 3, first row)."""

import os
import stat

import libvirt
import pytest


from pools import (MIB, SNAPSHOT, VOLATILE, pattern, refused, snapshot_of,
                   volume_xml)


def test_blank_volume_is_sparse_zeros(pool):
    """Section 3: blank, sparse."""
    pool.create("a", 64 * MIB)
    place = pool.files.head("a")
    assert (pool.files.size(place), pool.files.used(place)) == (64 * MIB, 0)
    assert pool.blank("a")


def test_info_tells_capacity_and_type(pool):
    """Section 9: vol-info is one stat."""
    pool.create("a", 3 * MIB)
    kind, capacity, allocation = pool.vol("a").info()
    assert (kind, capacity, allocation) == (
        pool.VOLUME_KIND, 3 * MIB, 0)


def test_image_mode_is_0600(pool):
    """Section 5: images are made 0600."""
    pool.create("a")
    pool.cycle("a", "x")
    pool.pin("a", "w")
    for name in pool.files.all():
        mode = os.stat(os.path.join(pool.path, name)).st_mode
        assert stat.S_IMODE(mode) == 0o600, name


def test_permissions_of_the_document_are_taken(pool):
    """DAC permissions as libvirt's own file backends keep them."""
    pool.create("a", target="<permissions><mode>0640</mode><owner>12</owner>"
                            "<group>34</group></permissions>")
    info = os.stat(pool.files.head("a"))
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (
        0o640, 12, 34)


def test_permissions_stay_over_a_commit(pool):
    """Section 5: a commit carries owner and mode over to the live inode."""
    pool.create("a", target="<permissions><mode>0640</mode><owner>12</owner>"
                            "<group>34</group></permissions>")
    pool.cycle("a", "x")
    info = os.stat(pool.files.head("a"))
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (
        0o640, 12, 34)


def test_allocation_is_preallocated(pool):
    """Section 3: reflink preallocates what <allocation> asks for."""
    pool.create("a", 8 * MIB, allocation=8 * MIB)
    assert os.stat(pool.files.head("a")).st_blocks * 512 >= 8 * MIB
    assert pool.vol("a").info()[2] >= 8 * MIB


def test_partial_allocation(pool):
    """Section 3: as much as asked for, and no more than that."""
    pool.create("a", 8 * MIB, allocation=2 * MIB)
    used = os.stat(pool.files.head("a")).st_blocks * 512
    assert 2 * MIB <= used < 8 * MIB


def test_allocation_without_space_is_refused(pool):
    """Section 6: out of space is refused before anything changes."""
    with pool.refuses():
        pool.create("a", 1 << 40, allocation=1 << 40)
    assert pool.names() == []


def test_capacity_is_required_for_blank(pool):
    """A blank volume has no size to take over."""
    with pool.refuses():
        pool.virt.createXML(volume_xml("a", None), 0)


def test_zero_capacity_works(pool):
    """A volume may be empty (H2-like edge; stock allows it)."""
    pool.create("a", 0)
    assert pool.size("a") == 0


def test_odd_capacity_is_kept(pool):
    """Files have any size."""
    pool.create("a", 1000001)
    assert pool.size("a") == 1000001


def test_huge_capacity_is_refused_cleanly(pool):
    """What the file system cannot hold leaves nothing behind."""
    with pool.refuses():
        pool.create("a", (1 << 64) - 1)
    assert pool.files.all() == []


def test_default_lifecycle_is_persistent(pool):
    """Section 2: (no, yes) persistent, the default."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    assert pool.holds("a", "two")


def test_volatile_volume(pool):
    """Section 2: (no, no) volatile."""
    pool.create("a", lifecycle=VOLATILE)
    node = pool.dump("a").find("lifecycle")
    assert (node.get("snapOnStart"), node.get("saveOnStop")) == ("no", "no")


def test_snapshot_volume_is_clone_of_source(pool):
    """Section 3: with a source, an instant clone; capacity optional."""
    pool.create("src", 2 * MIB, content="s")
    pool.create("snap", None, lifecycle=snapshot_of("src"))
    assert pool.holds("snap", "s")
    node = pool.dump("snap").find("lifecycle")
    assert node.get("source") == "src"


def test_snapshot_volume_is_no_hard_link(pool):
    """Section 5: metadata is never on an inode with two of our names."""
    pool.create("src", content="s")
    pool.create("snap", None, lifecycle=snapshot_of("src"))
    assert os.stat(pool.files.head("snap")).st_nlink == 1


def test_snapshot_volume_may_be_larger(pool):
    """Section 3: the capacity of the document is the size."""
    pool.create("src", content="s")
    pool.create("snap", 3 * MIB, lifecycle=snapshot_of("src"))
    data = pool.read("snap")
    assert data == pattern("s") + bytes(2 * MIB)


@pytest.mark.parametrize("lifecycle", [
    "<lifecycle snapOnStart='yes' saveOnStop='yes' source='src'/>",
    "<lifecycle snapOnStart='yes' saveOnStop='yes'/>",
    "<lifecycle snapOnStart='yes' saveOnStop='no'/>",
    "<lifecycle snapOnStart='no' saveOnStop='yes' source='src'/>",
    "<lifecycle snapOnStart='no' saveOnStop='no' source='src'/>",
    "<lifecycle snapOnStart='maybe' saveOnStop='no' source='src'/>",
    SNAPSHOT % "'absent'", SNAPSHOT % "'../src'", SNAPSHOT % "'snap'",
    SNAPSHOT % "'src@live'", SNAPSHOT % "'src@1'", SNAPSHOT % "''"])
def test_bad_lifecycle_is_refused(pool, lifecycle):
    """Section 2: source is a volume of the pool, exactly for snapshots."""
    pool.create("src")
    with pool.refuses():
        pool.create("snap", lifecycle=lifecycle)
    assert pool.names() == ["src"]


def test_backing_store_of_same_format_is_a_clone(pool):
    """Section 3: a <backingStore> in the pool: an instant clone."""
    pool.create("base", 2 * MIB, content="b")
    backing = (f"<backingStore><path>{pool.files.head('base')}</path>"
               "<format type='raw'/></backingStore>")
    pool.virt.createXML(volume_xml("a", None, fmt="raw", extra=backing), 0)
    assert pool.holds("a", "b")
    assert pool.dump("a").find("backingStore/path") is None


def test_backing_store_elsewhere_is_refused_for_raw(pool, pools):
    """A raw image cannot have a backing file outside the pool."""
    path = pools.home + "/outside.raw"
    with open(path, "wb") as file:
        file.write(bytes(MIB))
    backing = (f"<backingStore><path>{path}</path>"
               "<format type='raw'/></backingStore>")
    with pool.refuses():
        pool.virt.createXML(volume_xml("a", MIB, extra=backing), 0)
    os.unlink(path)


def test_qcow2_volume(pool):
    """Section 5: the format is in the metadata, never guessed."""
    pool.create("q", 8 * MIB, fmt="qcow2")
    with open(pool.files.head("q"), "rb") as file:
        assert file.read(4) == b"QFI\xfb"
    pool.refresh()
    assert pool.dump("q").find("target/format").get("type") == "qcow2"
    assert pool.size("q") == 8 * MIB


def test_qcow2_over_raw_is_an_overlay(pool):
    """Section 3: qcow2 over anything else is a real overlay."""
    pool.create("base", 4 * MIB, content="b")
    backing = (f"<backingStore><path>{pool.files.head('base')}</path>"
               "<format type='raw'/></backingStore>")
    pool.virt.createXML(volume_xml("q", 4 * MIB, fmt="qcow2", extra=backing),
                        0)
    node = pool.dump("q").find("backingStore")
    assert node.find("path").text == pool.files.head("base")
    assert node.find("format").get("type") == "raw"


def test_unknown_format_is_refused(pool):
    """Formats: raw and qcow2."""
    for fmt in ("vmdk", "dir", "no-such-format"):
        with pool.refuses():
            pool.create("a", fmt=fmt)
    assert pool.files.all() == []


def test_orphaned_revisions_block_the_name(pool):
    """Section 3: refused while NAME@... of a former volume remain."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.files.remove(pool.files.head("a"))
    pool.refresh()
    with pool.refuses():
        pool.create("a")


def test_create_adds_nothing_that_was_there(pool):
    """Section 5: O_EXCL: what appeared meanwhile is kept."""
    place = pool.files.put(pool.files.head("a"), b"foreign")
    with refused():
        pool.create("a")
    with open(place, "rb") as file:
        assert file.read(7) == b"foreign"


def test_symlink_in_the_way_is_not_followed(pool, pools):
    """Section 6: no symbolic link is followed."""
    target = pools.home + "/target-of-link"
    os.symlink(target, pool.files.head("a"))
    with refused():
        pool.create("a")
    assert not os.path.exists(target)


def test_new_volume_is_listed_at_once(pool):
    """Section 3: lists know it, by name, key and path."""
    vol = pool.create("a")
    conn = pool.daemon.conn
    assert conn.storageVolLookupByKey(vol.key()).name() == "a"
    assert conn.storageVolLookupByPath(vol.path()).name() == "a"
    assert pool.names() == ["a"]


def test_unknown_flags_are_refused(pool):
    """Flags that nobody knows are refused."""
    with pool.refuses():
        pool.create("a", flags=1 << 20)


def test_reflink_flag_is_accepted(pool):
    """virt-manager passes it."""
    pool.create("a", content="one")
    pool.clone("a", "b", flags=libvirt.VIR_STORAGE_VOL_CREATE_REFLINK)
    assert pool.holds("b", "one")


def test_prealloc_metadata_for_qcow2(pool):
    """Stock's flag means what it means for other file pools."""
    pool.create("q", 8 * MIB, fmt="qcow2",
                flags=libvirt.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA)
    assert pool.size("q") == 8 * MIB


def test_unmodified_virsh_creates(pool):
    """Section 1: every operation works with an unmodified virsh."""
    pool.daemon.virsh("vol-create-as", pool.name, "v", "5M")
    assert pool.size("v") == 5 * MIB


def test_fresh_volume_has_generation_and_no_revision(pool):
    """Section 4: state of a new volume."""
    pool.create("a")
    dirty, outdated, generation = pool.state("a")
    assert not dirty and not outdated and generation >= 1
    assert pool.revisions("a") == [] and pool.pins("a") == []


def test_create_while_live_orphan_is_there_is_refused(pool):
    """Section 5: a live file without head may be the only copy."""
    pool.files.put(pool.files.live("vm-a"), pattern("only copy"))
    pool.refresh()
    with pool.refuses():
        pool.create("vm-a")
    assert pool.holds("vm-a@live", "only copy")
