# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hostile names, tags and content of logical volumes (design section 6)."""

import os

import libvirt
import pytest

from filesystems import run
from pools import MIB, pattern, snapshot_of
from volumegroup import lvm

SHRINK = libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK


def retag(pool, name, *texts):
    """Put these in place of our tags of a volume."""
    files = pool.files
    place = files.place(name)
    options = []
    for tag in files.volume(place).tags:
        options += ["--deltag", tag]
    for text in texts:
        options += ["--addtag", text]
    files.change(place, *options)


BROKEN = {
    "empty": "libvirt=", "garbage": "libvirt=#!&#", "text": "libvirt=hello",
    "version": "libvirt=2&x=y", "half": "libvirt=1&fo",
    "no-value": "libvirt=1&format", "unknown-key": "libvirt=1&unheard=of",
    "bad-escape": "libvirt=1&format=!zz", "cut-escape": "libvirt=1&format=ra!7",
    "huge-number": "libvirt=1&gen=" + "9" * 60, "negative": "libvirt=1&gen=-4",
    "long": "libvirt=1&f=" + "x" * 1000, "many": "libvirt=1" + "&k=v" * 200,
    "doubled": "libvirt=1&format=raw&format=qcow2",
    "path": "libvirt=1&format=raw&name=../../etc/passwd",
    "qcow2": "libvirt=1&format=qcow2", "case": "LIBVIRT=1&keep=5",
    "nearly": "libvirt1&keep=5",
}


def test_broken_tags(pool):
    """Section 6: half-written tags: a warning, no crash, no failed refresh."""
    pool.create("a", content="one", keep=2)
    pool.cycle("a", "two")
    pool.files.put(pool.files.place("b"), pattern("bee"))
    for kind, text in BROKEN.items():
        for name in "ab":
            retag(pool, name, text)
        pool.refresh()
        for name, tag in (("a", "two"), ("b", "bee")):
            assert pool.holds(name, tag), kind
            assert pool.vol(name).XMLDesc(0)
        assert len(pool.files.revision_ids("a")) == 1
    pool.cycle("a", "three")
    assert pool.holds("a", "three")


@pytest.mark.slow
def test_every_cut_of_a_real_tag(pool):
    """A half-written tag, at some lengths."""
    pool.create("s", content="src")
    pool.create("a", None, lifecycle=snapshot_of("s"), keep=3)
    (whole,) = pool.files.volume(pool.files.head("a")).tags
    for length in range(8, len(whole), 5):
        retag(pool, "a", whole[:length])
        pool.refresh()
        assert pool.holds("s", "src") and pool.holds("a", "src")


def test_two_of_our_tags(pool):
    """Two tags that contradict each other: neither is an error."""
    pool.create("a", content="one", keep=2)
    (tag,) = pool.files.volume(pool.files.head("a")).tags
    retag(pool, "a", tag, "libvirt=1&keep=9")
    pool.refresh()
    pool.cycle("a", "two")
    assert pool.holds("a", "two")
    assert len(pool.files.volume(pool.files.head("a")).tags) <= 2


def test_tags_of_others_stay(pool):
    """Section 5: another tool's tags are none of our business."""
    pool.create("a", content="one")
    place = pool.files.head("a")
    others = {"backup", "owner=me", "x/y", "libvirtd"}
    for tag in sorted(others):
        pool.files.change(place, "--addtag", tag)
    pool.redefine("a", keep=4)
    assert others <= set(pool.files.volume(place).tags)


def test_tag_is_short(pool):
    """Section 5: one compact tag in LVM's characters."""
    source = "s" * 40
    pool.create(source, content="src")
    pool.create("a" * 50, None, lifecycle=snapshot_of(source), keep=3)
    pool.start("a" * 50)
    for name, volume in pool.files.volumes().items():
        (ours,) = volume.tags
        assert len(ours) <= 256 and ours.startswith("libvirt=1&"), name
        assert set(ours) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
            "_+.-/=!:&#")


NAMES = ["a+stage", "b+stage7", "a+pin+", "a+pin+1word", "a+pin+live", "+stage",
         "a-0-back", "a-07-back", "a-99999999999999999999-back",
         "a-18446744073709551615-back", "a-9223372036854775807-back",
         "a-snap-snap", "a-snap-7-back", "a+pin+w-snap", "a-7-back-snap",
         "a+stage+pin+w", "c-snap+stage", "x+pin+w", "a.b-", "a_1"]


def test_hostile_names(pool):
    """Section 6: one bad LV never fails a refresh; keys stay unique."""
    pool.create("a", content="one")
    for name in NAMES:
        lvm("lvcreate", "-q", "-q", "-V", "1m", "-n", name, "--thinpool",
            f"{pool.group.name}/{pool.thin}")
    pool.refresh()
    vols = pool.virt.listAllVolumes(0)
    assert len({v.key() for v in vols}) == len(vols)
    for vol in vols:
        assert vol.XMLDesc(0)
        assert pool.vol(vol.name()).key() == vol.key()
    assert pool.holds("a", "one")
    there = set(pool.files.all())
    # Staging volumes that nobody holds are the only ones that may go.
    assert there >= {"a"} | {n for n in NAMES if "+stage" not in n}
    pool.cycle("a", "two")
    assert pool.holds("a", "two")
    pool.restart()
    assert pool.holds("a", "two")


def test_revision_with_the_largest_id(pool):
    """Section 5: the next id would be too large: refused, nothing lost."""
    pool.create("a", content="one")
    place = pool.files.new_revision("a", (1 << 63) - 1)
    pool.files.put(place, pattern("last"))
    pool.refresh()
    pool.start("a")
    pool.write("a@live", pattern("two"))
    try:
        pool.commit("a")
    except libvirt.libvirtError:
        assert pool.holds("a", "one") and pool.holds("a@live", "two")
    else:
        assert pool.holds("a", "two")
    assert pool.files.exists(place)


def test_live_name_of_another_kind(pool):
    """A revision or live copy that is no thin volume is not touched."""
    pool.create("a", content="one")
    name = pool.group.name
    lvm("lvcreate", "-q", "-q", "-y", "-l", "1", "-n", "a-snap", name)
    try:
        pool.refresh()
        assert pool.names() == ["a"]
        with pool.refuses():
            pool.start("a")
    finally:
        lvm("lvremove", "-q", "-q", "-ff", "-y", name + "/a-snap")


def test_guest_data_is_never_probed(pool):
    """Section 3: shrinking never probes; a guest's own LVM stays its own."""
    pool.create("a", 64 * MIB)
    run("mkfs.ext4", "-q", pool.device("a"))
    pool.vol("a").resize(4 * MIB, SHRINK)
    assert pool.size("a") == 4 * MIB
    pool.create("b", 32 * MIB)
    lvm("pvcreate", "-q", "-q", "-y", "--devices", pool.device("b"),
        "--config", "devices/scan_lvs=1", pool.device("b"))
    pool.start("b")
    pool.vol("b@live").resize(16 * MIB, SHRINK)
    pool.commit("b")
    pool.restart()
    assert pool.names() == sorted(["a", "b"] + [
        f"b@{i}" for i in pool.revisions("b")])
    assert pool.size("b") == 16 * MIB


@pytest.mark.slow
def test_group_of_the_same_name_in_a_guest(pool):
    """A guest that makes a volume group of our name changes nothing."""
    pool.create("g", 32 * MIB)
    with open(pool.device("g"), "r+b") as file, open(
            pool.group.device, "rb") as disk:
        # The label and the metadata of the real one.
        file.write(disk.read(20 * MIB))
        os.fsync(file.fileno())
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.restart()
    assert pool.holds("a", "two") and pool.has("g")
