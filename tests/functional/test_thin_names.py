# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names and formats of thin volumes (design sections 2 and 5)."""

import libvirt
import pytest

from pools import INVALID, MIB, pattern, refused, usually, volume_xml
from streams import upload
from test_names import BAD_NAME
from volumegroup import lvm

LONGEST_DEVICE = 127
LONGEST_SUFFIX = 18     # -<epoch>-back, each dash twice


def longest(group, dashes):
    """The longest name with so many dashes in it."""
    room = (LONGEST_DEVICE - LONGEST_SUFFIX - 1
            - len(group.name.replace("-", "--")) - 2 * dashes)
    return "v" + "-" * dashes + "n" * (room - 1)


@pytest.mark.parametrize("name", usually(["dots.and_dashes-"], [
    "plus+sign", "A1", "9"]))
def test_unusual_name_works(pool, name):
    """Section 2: what LVM takes works, through the whole cycle."""
    pool.create(name, content="one")
    pool.cycle(name, "two")
    pool.pin(name, "w")
    pool.refresh()
    assert pool.holds(name, "two") and pool.holds(f"{name}@w", "two")
    (ident,) = pool.revisions(name)
    assert pool.files.all() == sorted(
        [name, f"{name}-{ident}-back", f"{name}+pin+w"])


@pytest.mark.parametrize("name", [
    "a/b", "has space", "ünïcödé", "a&b", "a#b", "a:b", "a~b", "100%", "a,b",
    "-leading", "a'b", "a=b"])
def test_name_that_lvm_does_not_take_is_refused(pool, name):
    """Section 2: names over LVM's limits: refused, nothing touched."""
    with pool.refuses(*BAD_NAME):
        pool.create(name)


def test_name_that_lvm_keeps_for_itself_is_refused(pool):
    """Section 2: with LVM's own words."""
    for name in ("snapshot", "pvmove0", "a_tdata", "a_tmeta", "x_mlog",
                 "x_rimage_0"):
        with pool.refuses(match="reserved"):
            pool.create(name)


@pytest.mark.parametrize("name", [
    "x-snap", "x-import", "x-1521065904-back", "x-7-back", "x+stage",
    "x+stage3", "x+pin+word"])
def test_name_that_collides_with_own_volumes_is_refused(pool, name):
    """Section 2: names that would collide with the LVs of section 5."""
    pool.create("x", content="one")
    with pool.refuses(*BAD_NAME):
        pool.create(name)
    with pool.refuses(*BAD_NAME):
        pool.clone("x", name)


@pytest.mark.parametrize("name", usually(["x-a1-back", "x+pin"], [
    "x-snap2", "x-back", "xsnap", "x+pinned+w", "x-import-2"]))
def test_name_that_only_looks_like_one_works(pool, name):
    """Section 2: what is not refused works."""
    pool.create("x", content="one")
    pool.create(name, content="two")
    pool.refresh()
    assert pool.names() == sorted(["x", name])
    pool.start("x")
    assert pool.holds(name, "two") and not pool.dirty(name)


@pytest.mark.slow
@pytest.mark.parametrize("dashes", [0, 3])
def test_longest_name_works(pool, dashes):
    """Section 5: every derived name still fits the device mapper."""
    name = longest(pool.group, dashes)
    with pool.refuses(*BAD_NAME):
        pool.create(name + "n")
    pool.create(name, content="one")
    pool.cycle(name, "two")
    (ident,) = pool.revisions(name)
    device = pool.group.mapper(f"{name}-{ident}-back")
    assert len(device) == LONGEST_DEVICE
    assert pool.group.status(f"{name}-{ident}-back")[2] == "thin"
    assert pool.holds(f"{name}@{ident}", "one")


@pytest.mark.parametrize("call", usually(["commit", "upload"], ["revert"]))
def test_name_too_long_for_revisions_is_refused(pool, call):
    """Section 5: another tool's volume; before anything is changed."""
    name = longest(pool.group, 0) + "n"
    pool.files.put(pool.files.head(name), pattern("one"))
    if call == "commit":
        pool.files.put(pool.files.live(name), pattern("two"))
    if call == "revert":
        pool.files.put(pool.files.new_revision(name, 7), pattern("old"))
    pool.refresh()
    with pool.refuses(INVALID, match=f"name of volume '{name}' is too long"):
        {"commit": lambda: pool.commit(name),
         "upload": lambda: upload(pool, name, pattern("sent")),
         "revert": lambda: pool.revert(name, 7)}[call]()
    assert pool.holds(name, "one")


def test_word_that_does_not_fit_is_refused(pool):
    """Section 5: pins have names of their own length."""
    name = longest(pool.group, 0)
    pool.create(name, content="one")
    with pool.refuses(*BAD_NAME):
        pool.pin(name, "w" * 64)
    pool.pin(name, "word")
    assert pool.pins(name) == ["word"]


def test_names_of_other_logical_volumes_are_taken(pool):
    """Section 5: nothing of another tool is replaced."""
    pool.create("a", content="one")
    lvm("lvcreate", "-q", "-q", "-l", "1", "-n", "other", pool.group.name)
    try:
        for name in ("other", pool.thin, pool.thin + "_tmeta"):
            with pool.refuses():
                pool.create(name)
            with pool.refuses():
                pool.clone("a", name)
    finally:
        lvm("lvremove", "-q", "-q", "-y", pool.group.name + "/other")


def test_plain_volume_does_not_become_part_of_another(pool):
    """Section 2: a new volume takes no volume of another tool over."""
    for name in ("n-snap", "n-1521065904-back"):
        pool.files.put(pool.files.place(name), pattern(name))
    pool.refresh()
    assert pool.names() == ["n-1521065904-back", "n-snap"]
    with pool.refuses():
        pool.create("n")
    pool.create("m", content="one")
    with pool.refuses():
        pool.clone("m", "n")


def test_other_formats_are_refused(pool):
    """Volumes are raw: everything else would be written into a raw one."""
    pool.create("a", content="one")
    for fmt in ("qcow2", "vmdk", "qed"):
        with pool.refuses():
            pool.create("q", fmt=fmt)
        with pool.refuses():
            pool.create_from("a", "q", xml=volume_xml("q", MIB, fmt=fmt))
    pool.create("r", fmt="raw")
    pool.create_from("a", "s", xml=volume_xml("s", MIB, fmt="raw"))
    assert pool.holds("s", "one")


def test_guest_data_is_never_taken_for_a_format(pool):
    """Section 5: a volume with a qcow2 header in it is raw."""
    pool.create("a", 4 * MIB)
    header = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(16) + (
        1 << 40).to_bytes(8, "big") + bytes(80)
    pool.write("a", header)
    pool.refresh()
    assert pool.dump("a").find("target/format") is None or (
        pool.dump("a").find("target/format").get("type") == "raw")
    assert pool.size("a") == 4 * MIB
    assert pool.dump("a").find("backingStore/path") is None


@pytest.mark.slow
def test_names_of_two_groups_are_apart(pools):
    """I#3776: thin pools of one name in two groups."""
    one, two = pools().up(), pools().up()
    assert one.thin == two.thin
    one.create("a", content="one")
    two.create("a", content="two")
    one.start("a")
    two.cycle("a", "three")
    two.clone(one.vol("a"), "b")
    assert two.holds("b", "one") and two.holds("a", "three")
    assert one.dirty("a") and not two.dirty("a")
    with refused(libvirt.VIR_ERR_STORAGE_VOL_EXIST):
        two.create_from(one.vol("a"), "a")
