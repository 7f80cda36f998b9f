# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of volumes (design sections 2 and 5)."""

import os

import libvirt
import pytest

from pools import EXIST, MISSING, pattern, refused, volume_xml

BAD_NAME = (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_XML_ERROR,
            libvirt.VIR_ERR_XML_DETAIL, libvirt.VIR_ERR_OPERATION_INVALID,
            libvirt.VIR_ERR_CONFIG_UNSUPPORTED, EXIST)


def test_plain_name(pool):
    """Section 5: NAME.img, or the logical volume NAME, is the head."""
    vol = pool.create("work-root")
    assert vol.path() == pool.files.head("work-root")
    assert [os.path.join(pool.path, n) for n in pool.files.all()] == [
        vol.path()]


def test_nested_name_makes_folders(pool):
    """Section 2: a name may have parts separated by /."""
    vol = pool.create("appvms/work/private")
    assert vol.name() == "appvms/work/private"
    assert os.path.isfile(pool.path + "/appvms/work/private.img")
    assert pool.names() == ["appvms/work/private"]


def test_nested_name_survives_refresh(pool):
    """Section 3: pool-refresh reads everything anew, folders too."""
    pool.create("appvms/work/private", content="a")
    pool.create("appvms/mail/private", content="b")
    pool.refresh()
    assert pool.names() == ["appvms/mail/private", "appvms/work/private"]
    assert pool.holds("appvms/work/private", "a")


def test_nested_life_cycle(pool):
    """Section 2: nested names work for every operation."""
    pool.create("a/b/c", content="one")
    pool.cycle("a/b/c", "two")
    (first,) = pool.revisions("a/b/c")
    assert pool.holds(f"a/b/c@{first}", "one")
    pool.clone("a/b/c", "x/y")
    pool.pin("a/b/c", "keepme")
    pool.revert("a/b/c", first)
    assert pool.holds("a/b/c", "one")
    assert pool.holds("x/y", "two")


def test_deleted_nested_volume_leaves_no_file(pool):
    """Section 3: a deleted volume leaves nothing that blocks its name."""
    pool.create("a/b")
    pool.delete("a/b")
    assert pool.files.all() == []
    pool.create("a")
    assert pool.names() == ["a"]


@pytest.mark.parametrize("name", [
    "has space", "dots.and-dashes_", "ünïcödé", "a&b<c>'\"", "-leading-dash",
    ".hidden", "name.img", "x~y", "100%", "a#b", "plus+colon:"])
def test_unusual_name_works(pool, name):
    """Section 2: what is not refused works, through the whole cycle."""
    pool.create(name, content="one")
    pool.cycle(name, "two")
    pool.refresh()
    assert pool.holds(name, "two")
    assert pool.vol(name).key() == pool.vol(name).path()
    assert len(pool.revisions(name)) == 1


@pytest.mark.parametrize("name", [
    "", ".", "..", "../x", "a/../x", "a/./x", "a//x", "/abs", "a/", "a/..",
    "tab\tname", "line\nname", "del\x7fname", "a@b@c", "a@@1", "@1", "@live",
    "@", "a@", "a@0", "a@-1", "a@01", "a@1x", "a@_x", "a/b@c/d", "a@x/y",
    "a@live/x"])
def test_bad_name_is_refused(pool, name):
    """Section 2: refused with a clear error and nothing touched."""
    pool.create("a")
    with pool.refuses(*BAD_NAME):
        pool.create(name)


@pytest.mark.parametrize("name", ["new@live", "new@1", "new@word"])
def test_blank_volume_under_revision_name_is_refused(pool, name):
    """Section 2: @ where no volume may have one."""
    with pool.refuses(*BAD_NAME, MISSING):
        pool.create(name)


@pytest.mark.parametrize("name", ["a@live", "a@7", "a@word"])
def test_blank_volume_onto_part_of_volume_is_refused(pool, name):
    """Section 3: vol-create makes heads only."""
    pool.create("a")
    with pool.refuses(*BAD_NAME):
        pool.create(name)


def test_clone_under_new_revision_number_is_refused(pool):
    """Section 3: nobody but the pool gives revision numbers."""
    pool.create("a")
    pool.create("b")
    with pool.refuses(*BAD_NAME):
        pool.clone("a", "b@9")
    with pool.refuses(*BAD_NAME):
        pool.clone("a", "a@9")


def test_pin_of_another_volume_is_refused(pool):
    """Section 3: only A itself is recorded as A@word."""
    pool.create("a")
    pool.create("b")
    with pool.refuses(*BAD_NAME):
        pool.clone("a", "b@word")


@pytest.mark.parametrize("name", ["x-dirty", "x-precache", "d/x-dirty",
                                  "x-dirty-dirty"])
def test_name_that_collides_with_own_files_is_refused(pool, name):
    """Section 2: names that would collide with the files of section 5."""
    with pool.refuses(*BAD_NAME):
        pool.create(name)


def test_collision_is_refused_for_clones_too(pool):
    """Section 2: refused everywhere."""
    pool.create("x")
    pool.create("y")
    with pool.refuses(*BAD_NAME):
        pool.clone("y", "x-dirty")


def test_overlong_part_is_refused(pool):
    """Section 2: names over the file system's limits."""
    with pool.refuses():
        pool.create("n" * 256)


def test_name_whose_revision_would_not_fit_is_refused(pool):
    """Section 2: a volume that could never be committed is not made."""
    with pool.refuses():
        pool.create("n" * 250)


def test_overlong_path_is_refused(pool):
    """Section 2: names over the file system's limits."""
    with pool.refuses():
        pool.create("/".join(["d" * 200] * 22))


@pytest.mark.parametrize("word", ["1word", "_x", "w" * 65, "a.b",
                                  "a b", "ü"])
def test_bad_pin_word_is_refused(pool, word):
    """Section 2: a word names a pinned revision."""
    pool.create("a", content="one")
    with pool.refuses(*BAD_NAME):
        pool.pin("a", word)


def test_longest_pin_word_works(pool):
    """Section 2: a word as long as may be."""
    pool.create("a", content="one")
    pool.pin("a", "w" * 64)
    assert pool.pins("a") == ["w" * 64]


def test_word_for_volume_with_at_in_folder_is_refused(pool):
    """Section 2: more than one @, or @ in a folder."""
    with pool.refuses(*BAD_NAME):
        pool.create("fo@ld/x")


def test_bad_lookup_is_not_found(pool):
    """Section 3: a name that no volume may have is just not there."""
    pool.create("a")
    for name in ("../a", "a@@1", "a@", "/a", "a@live", "a@1", "a@w"):
        with refused():
            pool.vol(name)


def test_name_in_the_way_as_folder_is_refused(pool):
    """Section 2: a volume whose folder is another volume's file."""
    pool.create("x")
    with pool.refuses():
        pool.create("x.img/y")


@pytest.mark.parametrize("folder", [
    "a.img", "a-dirty.img", "a-precache.img", "a-import.img", "a.img.stage",
    "a.img.new", "a.img.pin-w", "d/a-dirty.img", "a-dirty.img/d"])
def test_name_in_the_way_as_folder_of_a_later_file_is_refused(pool, folder):
    """Section 2: the folder would be in the place of a file of "a"."""
    with pool.refuses(*BAD_NAME, match="'.*/x'"):
        pool.create(folder + "/x")
    pool.create("b")
    with pool.refuses(*BAD_NAME, match="'.*/x'"):
        pool.clone("b", folder + "/x")


def test_volume_in_such_a_folder_can_be_used(pool):
    """What is there is read, copied and deleted."""
    pool.files.put(pool.files.head("a-dirty.img/x"), pattern("one"))
    pool.refresh()
    pool.start("a-dirty.img/x")
    pool.discard("a-dirty.img/x")
    pool.clone("a-dirty.img/x", "b")
    pool.delete("a-dirty.img/x")
    assert pool.holds("b", "one") and pool.names() == ["b"]
    assert not os.path.exists(pool.files.live("a"))


def test_existing_name_is_refused(pool):
    """Section 3: vol-create does not replace a volume."""
    pool.create("a", content="one")
    with pool.refuses(EXIST):
        pool.create("a")


def test_names_differ_by_case(pool):
    """Names are bytes; case counts."""
    pool.create("Vol", content="upper")
    pool.create("vol", content="lower")
    assert pool.holds("Vol", "upper")


def test_name_element_is_required(pool):
    """Section 2: empty names are refused."""
    xml = volume_xml("x").replace("<name>x</name>", "")
    with pool.refuses():
        pool.virt.createXML(xml, 0)
