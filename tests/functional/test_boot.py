# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a pool start does to live copies of an earlier boot (section 6)."""

import contextlib

import pytest

from filesystems import run
from pools import VOLATILE, pattern, snapshot_of
from users import loop, qemu

BOOT_ID = "/proc/sys/kernel/random/boot_id"


@contextlib.contextmanager
def another_boot(daemon, tmp_path):
    """A daemon that sees the boot id of another boot."""
    fake = tmp_path / "boot_id"
    fake.write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    run("mount", "--bind", str(fake), BOOT_ID)
    try:
        daemon.restart()
        yield
    finally:
        run("umount", BOOT_ID)
        daemon.restart()


def started(pool):
    """Three started volumes, one of each life cycle."""
    pool.create("p", content="p")
    pool.create("n", None, lifecycle=snapshot_of("p"))
    pool.create("v", lifecycle=VOLATILE)
    for name in "pnv":
        pool.start(name)
        pool.write(name + "@live", pattern("written"))
    pool.virt.destroy()
    return pool


def test_start_after_a_reboot_cleans_up(pool, daemon, tmp_path):
    """Section 6: those of snapshot and volatile volumes are removed (H19)."""
    started(pool)
    with another_boot(daemon, tmp_path):
        pool.begin()
        assert pool.names() == ["n", "p", "p@live", "v"]
        assert pool.holds("p@live", "written")
        assert pool.files.at_rest() == []


def test_start_that_was_killed_is_finished(pool, daemon, tmp_path):
    """Section 6: libvirt notes that a pool runs before anything is done about
    what is in it; the next daemon does that."""
    pool.create("v", lifecycle=VOLATILE)
    pool.start("v")
    pool.write("v@live", pattern("written"))
    with another_boot(daemon, tmp_path):
        assert pool.virt.isActive() and not pool.dirty("v")


def test_live_copy_of_persistent_volume_is_kept(pool, daemon, tmp_path):
    """Section 6: kept and reported, and the next commit has it (H8)."""
    started(pool)
    with another_boot(daemon, tmp_path):
        pool.begin()
        assert pool.dirty("p")
        pool.commit("p")
        assert pool.holds("p", "written")
        assert len(pool.revisions("p")) == 1


def test_restart_in_the_same_boot_keeps_all(pool, daemon):
    """Section 6: only those that stem from an earlier boot."""
    started(pool)
    daemon.restart()
    pool.begin()
    assert [pool.dirty(n) for n in "pnv"] == [True, True, True]


def test_refresh_after_a_reboot_keeps_all(pool, daemon, tmp_path):
    """Section 6: removed at pool start only."""
    started(pool)
    with another_boot(daemon, tmp_path):
        pass
    pool.begin()
    pool.refresh()
    assert [pool.dirty(n) for n in "pnv"] == [True, True, True]


@pytest.mark.parametrize("user", [qemu, loop])
def test_used_live_copy_is_kept(pool, daemon, tmp_path, user):
    """Section 6: when nobody uses them."""
    started(pool)
    with user(pool.files.live("n")), another_boot(daemon, tmp_path):
        pool.begin()
        assert pool.dirty("n") and not pool.dirty("v")
        assert pool.holds("n@live", "written")


def test_live_copy_without_our_mark_is_kept(pool, daemon, tmp_path):
    """Section 6: when our mark says so; a file without it is not ours."""
    pool.create("p", content="p")
    pool.create("n", None, lifecycle=snapshot_of("p"))
    pool.virt.destroy()
    pool.files.put(pool.files.live("n"), pattern("foreign"))
    with another_boot(daemon, tmp_path):
        pool.begin()
        assert pool.dirty("n") and pool.holds("n@live", "foreign")


def test_unwritten_live_copy_of_an_earlier_boot_commits(pool, daemon,
                                                        tmp_path):
    """Section 3: dropped as unwritten only in the same boot."""
    pool.create("p", content="p")
    pool.start("p")
    pool.virt.destroy()
    with another_boot(daemon, tmp_path):
        pool.begin()
        pool.commit("p")
        assert not pool.dirty("p") and pool.holds("p", "p")
        assert len(pool.revisions("p")) == 1


def test_staged_content_survives_a_reboot(pool, daemon, tmp_path):
    """Section 6: what was staged is a live copy of a persistent volume."""
    pool.create("p", content="p")
    pool.create("x", content="x")
    pool.stage("x", "p")
    pool.virt.destroy()
    with another_boot(daemon, tmp_path):
        pool.begin()
        pool.commit("p")
        assert pool.holds("p", "x")
        assert not pool.files.exists(pool.files.live("p"))
