# SPDX-License-Identifier: LGPL-2.1-or-later
"""vol-delete (design section 3)."""

import os
import resource

import libvirt
import pytest

from pools import INVALID, MISSING, pattern, refused, snapshot_of
from users import loop

WITH_PINS = libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS
FILES = 200
ZEROED = libvirt.VIR_STORAGE_VOL_DELETE_ZEROED


def test_delete_removes_all(pool):
    """Section 3: delete A."""
    pool.create("a", content="one")
    pool.delete("a")
    assert pool.files.all() == [] and pool.names() == []


def test_unpinned_revisions_go_with_it(pool):
    """Section 3: virt-manager always deletes without flags."""
    pool.create("a", content="one", keep=3)
    for tag in ("two", "three"):
        pool.cycle("a", tag)
    pool.delete("a")
    assert pool.files.all() == [] and pool.names() == []


def test_pinned_revisions_refuse(pool):
    """Section 3: refused while it has pinned revisions."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.pin("a", "w")
    with pool.refuses(INVALID):
        pool.delete("a")
    assert len(pool.revisions("a")) == 1


def test_pinned_revisions_go_with_the_flag(pool):
    """Section 3: unless --delete-snapshots is given."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.pin("a", "w")
    pool.delete("a", WITH_PINS)
    assert pool.files.all() == [] and pool.names() == []


@pytest.fixture
def few_files(daemon):
    """The daemon may have fewer files open than usual."""
    _, most = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE,
                              (FILES, most))
    yield
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)


def with_many_revisions(pool):
    """A volume with more revisions than files can be open."""
    pool.create("a", content="one")
    for number in range(FILES + 50):
        pool.pin("a", f"w{number}")


def test_many_revisions_go_with_it(pool, few_files):
    """Section 3: as many as there may be."""
    with_many_revisions(pool)
    pool.delete("a", WITH_PINS)
    assert pool.files.all() == [] and pool.names() == []


def test_one_of_many_revisions_in_use_refuses(pool, few_files):
    """Section 3: before the first of them is removed."""
    with_many_revisions(pool)
    with loop(pool.files.pin("a", f"w{FILES}")):
        with pool.refuses(INVALID):
            pool.delete("a", WITH_PINS)
    pool.delete("a", WITH_PINS)
    assert pool.files.all() == []


def test_virsh_delete_snapshots(pool):
    """Section 1: an unmodified virsh."""
    pool.create("a", content="one")
    pool.pin("a", "w")
    done = pool.daemon.virsh("vol-delete", "a", "--pool", pool.name,
                             check=False)
    assert done.returncode != 0
    pool.daemon.virsh("vol-delete", "a", "--pool", pool.name,
                      "--delete-snapshots")
    assert pool.names() == []


def test_dirty_volume_refuses(pool):
    """Section 3: refused while dirty."""
    pool.create("a", content="one")
    pool.start("a")
    for flags in (0, WITH_PINS):
        with pool.refuses(INVALID):
            pool.delete("a", flags)


def test_source_of_a_snapshot_volume_refuses(pool):
    """Section 3: refused while it is another volume's lifecycle source."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    with pool.refuses(INVALID, match="n"):
        pool.delete("s")
    pool.delete("n")
    pool.delete("s")
    assert pool.names() == []


def test_source_refuses_after_a_refresh(pool):
    """Section 5: the source is in the metadata."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.restart()
    with pool.refuses(INVALID):
        pool.delete("s")


def test_name_can_be_used_again(pool):
    """Qubes 4.4: stale size or revisions must not leak into a new volume."""
    pool.create("a", 2 << 20, content="one", keep=2)
    pool.cycle("a", "two")
    pool.delete("a")
    pool.create("a")
    assert pool.blank("a") and pool.revisions("a") == []
    assert pool.size("a") == pool.rounded(1 << 20)
    assert pool.dump("a").find("origin") is None


def test_siblings_with_a_common_prefix_stay(pool):
    """H11: root, root2, root.img and the like are other volumes."""
    names = ["root", "root2", "root-x", "root.img", "root.img.1", "roo"]
    for name in names:
        pool.create(name, content=name)
        pool.cycle(name, name + "!")
        pool.pin(name, "w")
    pool.delete("root", WITH_PINS)
    for name in names[1:]:
        assert pool.holds(name, name + "!")
        assert len(pool.revisions(name)) == 1 and pool.pins(name) == ["w"]


def test_deleted_twice(pool):
    """A volume that is gone is an error of the caller."""
    pool.create("a")
    vol = pool.vol("a")
    vol.delete(0)
    with refused(MISSING):
        vol.delete(0)


def test_head_removed_by_hand(pool):
    """What is gone already can be deleted, or is not found."""
    pool.create("a", content="one")
    pool.files.remove(pool.files.head("a"))
    try:
        pool.delete("a")
    except libvirt.libvirtError:
        pool.refresh()
    assert not pool.has("a")


def test_only_own_files_go(pool):
    """Section 5: Qubes' own -import and foreign files are never removed."""
    pool.create("a", content="one")
    others = ["a-import.img", "a.img~tmp", "a.txt", "a.img.bak", "a.img.x@y"]
    for name in others:
        with open(os.path.join(pool.path, name), "wb") as file:
            file.write(b"foreign")
    pool.delete("a")
    assert pool.files.all() == sorted(others)


def test_deferred_delete_of_a_downloaded_volume(pool):
    """N02: remove while an export is open: refused, or the reader is safe."""
    pool.create("a", 16 << 20, content="one")
    stream = pool.daemon.conn.newStream(0)
    pool.vol("a").download(stream, 0, 0, 0)
    data = stream.recv(1000)
    try:
        pool.delete("a")
    except libvirt.libvirtError as error:
        assert error.get_error_code() == INVALID
    while True:
        part = stream.recv(200000)
        if not part:
            break
        data += part
    stream.finish()
    assert data == pattern("one", 16 << 20)


def test_zeroed_flag(pool):
    """Stock's ZEROED flag is honoured or refused, never half done."""
    pool.create("a", content="one")
    try:
        pool.delete("a", ZEROED)
    except libvirt.libvirtError:
        assert pool.holds("a", "one")
    else:
        assert pool.files.all() == []


def test_live_copy_of_snapshot_volume_can_be_deleted_with_source_busy(pool):
    """A discard needs nothing of the source."""
    pool.create("s", content="one")
    pool.create("n", None, lifecycle=snapshot_of("s"))
    pool.start("s")
    pool.start("n")
    pool.discard("n")
    assert not pool.dirty("n") and pool.dirty("s")


def test_what_has_gone_already_is_deleted(pool):
    """As in libvirt's own pools: there is nothing left to do."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.files.remove(pool.files.head("a"))
    pool.delete("a")
    assert pool.names() == [] and pool.files.all() == []


def test_folder_that_has_gone_already_is_deleted(pool):
    """The same with all that there was."""
    pool.create("d/a", content="one")
    pool.files.remove(pool.files.head("d/a"))
    os.rmdir(pool.path + "/d")
    pool.delete("d/a")
    assert pool.names() == []


@pytest.mark.parametrize("part", ["live", "w", "1"])
def test_part_that_has_gone_already_is_deleted(pool, part):
    """The same of a live copy, and of a revision."""
    pool.create("a", content="one", keep=1)
    pool.cycle("a", "two")
    pool.pin("a", "w")
    pool.start("a")
    name = f"a@{pool.revisions('a')[0] if part == '1' else part}"
    pool.files.remove(pool.files.of(name))
    pool.delete(name)
    assert not pool.has(name) and pool.holds("a", "two")
