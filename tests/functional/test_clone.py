# SPDX-License-Identifier: LGPL-2.1-or-later
"""create-from A to a new name (design section 3, second row)."""

import os
import threading

import libvirt
import pytest

from filesystems import run
from pools import (EXIST, MIB, MISSING, VOLATILE, Pool, pattern, refused,
                   snapshot_of, volume_xml)
from test_held import held


def test_clone_has_the_content(pool):
    """Section 3: an instant clone."""
    pool.create("a", content="one")
    pool.clone("a", "b")
    assert pool.holds("b", "one")
    assert pool.size("b") == MIB


def test_clone_copies_nothing(pool):
    """Section 1: instant clones."""
    pool.create("a", content="one")
    pool.clone("a", "b")
    assert pool.files.shares(pool.files.head("b"))


def test_clone_is_independent(pool):
    """Section 3: independent both ways (Z21, Z22)."""
    pool.create("a", content="one")
    pool.clone("a", "b")
    pool.cycle("a", "two")
    assert pool.holds("b", "one")
    pool.cycle("b", "three")
    assert pool.holds("a", "two")
    pool.delete("a")
    pool.refresh()
    assert pool.holds("b", "three")


def test_clone_of_a_revision(pool):
    """Section 3: also from A@ID."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    pool.clone(f"a@{ident}", "b")
    assert pool.holds("b", "one")


def test_clone_of_a_pinned_revision(pool):
    """Section 3: also from A@ID, a word too."""
    pool.create("a", content="one")
    pool.pin("a", "w")
    pool.cycle("a", "two")
    pool.clone("a@w", "b")
    assert pool.holds("b", "one")


def test_clone_of_a_live_copy(pool):
    """Section 3: also from A@live, a backup of a running machine."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.clone("a@live", "b")
    assert pool.holds("b", "two")
    assert pool.holds("a", "one")
    assert not pool.dirty("b")


def test_clone_of_running_volume_has_committed_state(pool):
    """Z19: a clone made while running has the data from before the start."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.clone("a", "b")
    assert pool.holds("b", "one")


def test_clone_has_no_revisions(pool):
    """A clone is a volume of its own."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.pin("a", "w")
    pool.clone("a", "b")
    assert pool.revisions("b") == [] and pool.pins("b") == []


def test_larger_clone_is_grown(pool):
    """A larger capacity in the document is honoured (R02)."""
    pool.create("a", content="one")
    pool.create_from("a", "b", xml=volume_xml("b", 2 * MIB))
    assert pool.read("b") == pattern("one") + bytes(MIB)


def test_clone_of_what_has_grown_is_not_cut(pool):
    """Section 3: a clone: a machine may have grown the source meanwhile."""
    pool.create("a", content="one")
    os.truncate(pool.files.head("a"), 4 * MIB)
    pool.create_from("a", "b", xml=volume_xml("b", 2 * MIB))
    assert pool.read("b") == pattern("one") + bytes(3 * MIB)


def test_clone_of_qcow2_that_has_grown_is_not_cut(pool):
    """The same with the size that the image's header tells."""
    pool.create("q", fmt="qcow2")
    run("qemu-img", "resize", "-q", "-f", "qcow2", pool.device("q"), "4M")
    pool.create_from("q", "b", xml=volume_xml("b", 2 * MIB, fmt="qcow2"))
    assert pool.size("b") == 4 * MIB


def test_allocation_of_the_document_is_ignored(pool):
    """Section 3: <allocation> of the dumped XML is ignored."""
    pool.create("a", 8 * MIB)
    pool.create_from("a", "b", xml=volume_xml("b", 8 * MIB,
                                              allocation=8 * MIB))
    assert pool.files.used(pool.files.head("b")) == 0


def test_format_is_kept(pool):
    """Section 3: the recorded format is kept."""
    pool.create("q", 4 * MIB, fmt="qcow2")
    pool.clone("q", "r")
    pool.refresh()
    assert pool.dump("r").find("target/format").get("type") == "qcow2"


def test_other_format_is_refused(pool):
    """Section 3: asking for another format is refused."""
    pool.create("a", content="one")
    pool.create("q", 4 * MIB, fmt="qcow2")
    with pool.refuses():
        pool.create_from("a", "b", xml=volume_xml("b", MIB, fmt="qcow2"))
    with pool.refuses():
        pool.create_from("q", "b", xml=volume_xml("b", 4 * MIB, fmt="raw"))


def test_clone_onto_existing_volume_is_refused(pool):
    """Section 3: anything else onto an existing name."""
    pool.create("a", content="one")
    pool.create("b", content="two")
    with pool.refuses(EXIST):
        pool.clone("a", "b")


def test_clone_of_other_volumes_live_copy_onto_head_is_refused(pool):
    """Section 3: only A's own live copy commits to A."""
    pool.create("a", content="one")
    pool.create("b", content="two")
    pool.start("a")
    with pool.refuses(EXIST):
        pool.create_from("a@live", "b")


def test_clone_of_other_volumes_revision_onto_head_is_refused(pool):
    """Section 3: only A's own revision reverts A."""
    pool.create("a", content="one")
    pool.create("b", content="two")
    pool.cycle("a", "three")
    (ident,) = pool.revisions("a")
    with pool.refuses(EXIST):
        pool.create_from(f"a@{ident}", "b")


def test_existing_pin_is_refused(pool):
    """Section 3: onto an existing name."""
    pool.create("a", content="one")
    pool.pin("a", "w")
    with pool.refuses(EXIST):
        pool.pin("a", "w")


def test_origin_is_recorded(pool):
    """Section 4: <origin> tells where the content came from."""
    pool.create("a", content="one")
    pool.clone("a", "b")
    pool.refresh()
    node = pool.dump("b").find("origin")
    assert node.get("volume") == "a"
    assert int(node.get("generation")) == pool.generation("a")


def test_origin_is_nested_to_the_first(pool):
    """Section 4: nested up to the first."""
    pool.create("a", content="one")
    pool.clone("a", "b")
    pool.clone("b", "c")
    node = pool.dump("c").find("origin")
    assert node.get("volume") == "b"
    assert node.find("origin").get("volume") == "a"


def test_clone_needs_no_backing(pool):
    """Section 7: the chain of a clone ends at once."""
    pool.create("a", content="one")
    pool.clone("a", "b")
    node = pool.dump("b").find("backingStore")
    assert node is not None and len(node) == 0 and not node.attrib


def test_lifecycle_of_a_dumped_snapshot_volume_is_kept(pool):
    """Section 4: vol-clone works on everything listed."""
    pool.create("s", content="one")
    pool.create("a", None, lifecycle=snapshot_of("s"))
    pool.clone("a", "b")
    assert pool.dump("b").find("lifecycle").get("source") == "s"


def test_vol_clone_works_on_everything_listed(pool):
    """Section 4: what dumpxml prints can be fed back, by stock virsh."""
    pool.create("s", content="one")
    pool.create("p", content="two")
    pool.cycle("p", "three")
    pool.pin("p", "word")
    pool.start("p")
    pool.create("v", lifecycle=VOLATILE)
    if "qcow2" in pool.FORMATS:
        pool.create("q", 4 * MIB, fmt="qcow2")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    for number, name in enumerate(pool.names()):
        done = pool.daemon.virsh("vol-clone", "--pool", pool.name, "--", name,
                                 f"copy{number}", check=False)
        assert done.returncode == 0, (name, done.stderr)
        assert pool.read(f"copy{number}") == pool.read(name), name


def test_virsh_vol_create_from(pool, tmp_path):
    """Section 3: vol-create-from is the other client command."""
    pool.create("a", content="one")
    file = tmp_path / "b.xml"
    file.write_text(volume_xml("b"))
    pool.daemon.virsh("vol-create-from", pool.name, str(file), "a",
                      "--inputpool", pool.name)
    assert pool.holds("b", "one")


def test_prefer_new_clone_to_existing_folder(pool):
    """A nested clone makes its folders."""
    pool.create("a", content="one")
    pool.clone("a", "deep/er/b")
    assert pool.holds("deep/er/b", "one")


def test_missing_source_is_reported(pool):
    """A volume that went away meanwhile (H13)."""
    pool.create("a", content="one")
    vol = pool.vol("a")
    pool.files.remove(pool.files.head("a"))
    with refused():
        pool.create_from(vol, "b", xml=volume_xml("b"))
    assert not pool.has("b")
    assert pool.files.at_rest() == []


def test_copy_between_pools(pools):
    """Section 3: from another pool."""
    one, two = pools().up(), pools().up()
    one.create("a", content="one")
    two.clone(one.vol("a"), "b")
    assert two.holds("b", "one")
    assert two.files.at_rest() == []


def test_copy_from_elsewhere(pool, elsewhere):
    """Section 3: from another pool: a copy."""
    elsewhere.create("a", 3 * MIB, content="one")
    pool.clone(elsewhere.vol("a"), "b")
    assert pool.holds("b", "one")
    assert pool.size("b") == 3 * MIB


def test_copy_to_elsewhere_stays_sparse(pool, elsewhere):
    """Section 3: a sparse copy."""
    pool.create("a", 64 * MIB)
    pool.write("a", pattern("x"), 32 * MIB)
    elsewhere.clone(pool.vol("a"), "b")
    assert elsewhere.files.used(elsewhere.files.head("b")) <= 2 * MIB
    assert elsewhere.read("b") == pool.read("a")


def test_copy_from_a_stock_dir_pool(pools, daemon):
    """Section 3: from another pool, of any type."""
    path = pools.home + "/stock"
    os.makedirs(path, exist_ok=True)
    xml = (f"<pool type='dir'><name>stock</name><target><path>{path}</path>"
           "</target></pool>")
    stock = daemon.conn.storagePoolCreateXML(xml, 0)
    try:
        vol = stock.createXML(volume_xml("s.raw", MIB, fmt="raw"), 0)
        with open(vol.path(), "r+b") as file:
            file.write(pattern("stock"))
        here = pools().up()
        here.clone(vol, "b")
        assert here.holds("b", "stock")
    finally:
        stock.destroy()


def test_copy_to_a_stock_dir_pool(pools, daemon):
    """Section 1: every client drives them; an export by vol-create-from."""
    path = pools.home + "/stock-out"
    os.makedirs(path, exist_ok=True)
    xml = (f"<pool type='dir'><name>stock-out</name><target><path>{path}"
           "</path></target></pool>")
    stock = daemon.conn.storagePoolCreateXML(xml, 0)
    try:
        here = pools().up()
        here.create("a", content="one")
        vol = stock.createXMLFrom(volume_xml("o.raw", MIB, fmt="raw"),
                                  here.vol("a"), 0)
        with open(vol.path(), "rb") as file:
            assert file.read() == pattern("one")
    finally:
        stock.destroy()


def test_copy_shows_progress(pool, elsewhere, daemon):
    """Section 9: progress is reported through allocation."""
    size = 192 * MIB
    elsewhere.create("a", size)
    block = pattern("big", 8 * MIB)
    for offset in range(0, size, len(block)):
        elsewhere.write("a", block, offset)
    seen = set()
    conn = libvirt.open(daemon.uri)
    watched = conn.storagePoolLookupByName(pool.name)
    for turn in range(10):
        # One copy can be too quick for a look at it in the middle.
        name = f"b{turn}"
        job = threading.Thread(target=Pool.clone,
                               args=(pool, elsewhere.vol("a"), name))
        job.start()
        while job.is_alive():
            try:
                seen.add(watched.storageVolLookupByName(name).info()[2])
            except libvirt.libvirtError:
                continue
        job.join()
        assert pool.size(name) == size
        pool.delete(name)
        if any(0 < s < size for s in seen):
            return
    pytest.fail(f"seen only {sorted(seen)}")


@pytest.mark.parametrize("size", [111111, 222222, 333333])
def test_odd_sizes_clone_exactly(pool, size):
    """R01-R03: equal content, another inode."""
    pool.create("a", size, content="odd")
    pool.clone("a", "b")
    assert pool.read("b") == pattern("odd", pool.rounded(size))
    files = pool.files
    assert files.identity(files.head("a")) != files.identity(files.head("b"))


def test_start_is_no_clone_of_another_format(pool):
    """Section 3: start takes the recorded format over."""
    pool.create("q", 4 * MIB, fmt="qcow2")
    pool.start("q")
    node = pool.dump("q@live").find("target/format")
    assert node.get("type") == "qcow2"


def test_clone_after_commit_has_new_data(pool):
    """Z18: a clone after the stop has the new data."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.clone("a", "b")
    assert pool.holds("b", "two")
    assert pool.dump("b").find("origin").get("generation") == str(
        pool.generation("a"))


@pytest.mark.parametrize("place", ["here", "elsewhere"])
def test_clone_that_could_not_start_is_refused(pool, elsewhere, place):
    """Section 3: the source of a snapshot volume is in its pool."""
    origin = {"here": pool, "elsewhere": elsewhere}[place]
    origin.create("a", content="one")
    xml = volume_xml("b", MIB, snapshot_of("absent"))
    with pool.refuses(MISSING, match="'absent'"):
        pool.create_from(origin.vol("a"), "b", xml=xml)
    assert "b" not in pool.names()


def test_copy_in_a_pool_that_copies_shows_progress(pools, ext4, holds):
    """Section 9: progress is reported through allocation."""
    pool = pools(ext4, required="no").up()
    pool.create("a", 8 * MIB, content="one")
    with held(holds, "fsetxattr", pool, lambda pool: pool.clone("a", "b")):
        assert pool.vol("b").info()[2] == 8 * MIB
    assert pool.holds("b", "one")
