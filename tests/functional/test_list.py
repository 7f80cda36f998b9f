# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists and lookups (design section 3)."""

import os
import xml.etree.ElementTree as ET

import pytest

from pools import MISSING, refused
from streams import upload

WIRE_LIMIT = 16384


def full(pool):
    """A volume with all that a volume can have; returns the names."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.pin("a", "word")
    pool.start("a")
    (ident,) = pool.revisions("a")
    return ["a", f"a@{ident}", "a@live", "a@word"]


def test_everything_is_listed(pool):
    """Section 3: head, live copy and revisions are all listed."""
    names = sorted(full(pool))
    assert pool.names() == names


def test_everything_is_listed_by_the_old_call(pool):
    """The older list call knows the same."""
    names = sorted(full(pool))
    assert sorted(pool.virt.listVolumes()) == names
    assert pool.virt.numOfVolumes() == 4


def test_everything_is_looked_up(pool):
    """Section 3: by name, key (= path) and path."""
    conn = pool.daemon.conn
    for name in full(pool):
        vol = pool.vol(name)
        assert vol.name() == name and vol.key() == vol.path()
        assert vol.path() == pool.files.of(name)
        assert conn.storageVolLookupByKey(vol.key()).name() == name
        assert conn.storageVolLookupByPath(vol.path()).name() == name


def test_lists_are_the_same_after_refresh_and_restart(pool):
    """Section 3: read everything anew."""
    names = sorted(full(pool))
    pool.refresh()
    assert pool.names() == names
    pool.restart()
    assert pool.names() == names


def test_keys_are_unique(pool):
    """A doubled key would be lost silently."""
    full(pool)
    keys = [v.key() for v in pool.virt.listAllVolumes(0)]
    assert len(set(keys)) == len(keys)


def test_virsh_list_details(pool):
    """Section 9: vol-list --details with an unmodified virsh."""
    names = full(pool)
    out = pool.daemon.virsh("vol-list", pool.name, "--details").stdout
    assert {line.split()[0] for line in out.strip().splitlines()} == set(names)


def test_virsh_path_and_info(pool):
    """Section 3: vol-path, vol-info."""
    for name in full(pool):
        out = pool.daemon.virsh("vol-path", name, "--pool", pool.name).stdout
        assert out.strip() == pool.files.of(name)
        info = pool.daemon.virsh("vol-info", name, "--pool", pool.name,
                                 "--bytes").stdout
        assert f"{pool.size(name)} bytes" in info


def test_dump_lists_the_revisions(pool):
    """Section 4: children of <revisions>."""
    names = full(pool)
    listed = [n.get("name") for n in pool.revision_nodes("a")]
    assert sorted(listed) == sorted(n for n in names if n not in
                                    ("a", "a@live"))


def test_revisions_left_out(pools):
    """Section 3: list='no' leaves revisions out of lists."""
    pool = pools(listed="no").up()
    names = full(pool)
    assert set(pool.names()) == {"a", "a@live"}
    assert set(pool.virt.listVolumes()) == {"a", "a@live"}
    assert len(pool.revision_nodes("a")) == len(names) - 2


def test_left_out_revisions_are_still_reachable(pools):
    """Section 3: still reachable by name, key and path."""
    pool = pools(listed="no").up()
    conn = pool.daemon.conn
    for name in full(pool):
        vol = pool.vol(name)
        assert conn.storageVolLookupByKey(vol.path()).name() == name
        assert conn.storageVolLookupByPath(vol.path()).name() == name
        assert vol.info()[1] == 1 << 20


def test_left_out_revisions_still_work(pools):
    """Section 3: every operation on them works."""
    pool = pools(listed="no", keep=2).up()
    pool.create("a", content="one")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    pool.restart()
    pool.clone(f"a@{ident}", "b")
    pool.revert("a", ident)
    assert pool.holds("a", "one") and pool.holds("b", "one")
    pool.delete(f"a@{ident}")
    assert ident not in pool.revisions("a")
    assert ET.fromstring(pool.virt.XMLDesc(0)).find("revisions").get(
        "list") == "no"


def test_lookup_by_foreign_path_finds_nothing(pool):
    """Section 6: nothing outside the pool."""
    pool.create("a")
    conn = pool.daemon.conn
    for path in ("/etc/passwd", pool.path, pool.path + "/absent.img"):
        with refused(MISSING):
            conn.storageVolLookupByPath(path)


def fill(pool, count):
    """Empty head files made by hand."""
    for number in range(count):
        fd = os.open(f"{pool.path}/v{number:05}.img", os.O_CREAT | os.O_RDWR,
                     0o600)
        os.close(fd)


@pytest.mark.slow
def test_as_many_as_the_wire_takes(pools):
    """Section 3: libvirt's wire lists at most 16,384 volumes."""
    pool = pools().define()
    pool.virt.build(0)
    fill(pool, WIRE_LIMIT)
    pool.virt.create(0)
    assert len(pool.names()) == WIRE_LIMIT
    with pool.refused_over_the_limit():
        pool.create("one-too-many")
    assert not os.path.exists(pool.files.head("one-too-many"))
    assert len(pool.names()) == WIRE_LIMIT


@pytest.mark.slow
def test_limit_counts_revisions_that_are_listed(pools):
    """Section 3: what would go over the limit is refused, by any operation."""
    pool = pools().define()
    pool.virt.build(0)
    fill(pool, WIRE_LIMIT)
    pool.virt.create(0)
    for operation in (lambda: pool.start("v00000"),
                      lambda: pool.pin("v00000", "w"),
                      lambda: pool.clone("v00000", "another")):
        with pool.refused_over_the_limit():
            operation()
    pool.delete("v00001")
    pool.pin("v00000", "w")
    assert len(pool.names()) == WIRE_LIMIT


@pytest.mark.slow
def test_full_list_has_room_for_what_adds_nothing(pools):
    """Section 3: a live copy that is committed makes room for a revision, and
    without revisions an upload adds nothing."""
    pool = pools().define()
    pool.virt.build(0)
    fill(pool, WIRE_LIMIT - 1)
    pool.virt.create(0)
    pool.start("v00000")
    pool.write("v00000@live", b"new")
    pool.commit("v00000")
    assert pool.revisions("v00000") == [1]
    pool.redefine("v00001", keep=0)
    upload(pool, "v00001", b"")
    with pool.refused_over_the_limit():
        upload(pool, "v00002", b"")
    assert len(pool.names()) == WIRE_LIMIT


@pytest.mark.slow
def test_unlisted_revisions_do_not_count(pools):
    """Section 3: list='no' is the way to have more."""
    pool = pools(listed="no").define()
    pool.virt.build(0)
    fill(pool, WIRE_LIMIT)
    pool.virt.create(0)
    pool.pin("v00000", "w")
    assert pool.pins("v00000") == ["w"]
    assert len(pool.names()) == WIRE_LIMIT
