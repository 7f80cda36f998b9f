# SPDX-License-Identifier: LGPL-2.1-or-later
"""vol-resize (design section 3)."""

import os
import subprocess

import libvirt
import pytest

from filesystems import run
from pools import INVALID, MIB, VOLATILE, pattern, refused, wait_for
from users import qemu

SHRINK = libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK
DELTA = libvirt.VIR_STORAGE_VOL_RESIZE_DELTA
ALLOCATE = libvirt.VIR_STORAGE_VOL_RESIZE_ALLOCATE


def test_grow(pool):
    """Section 3: grow; what is added is zeros."""
    pool.create("a", content="one")
    pool.vol("a").resize(3 * MIB, 0)
    assert pool.size("a") == 3 * MIB
    assert pool.read("a") == pattern("one") + bytes(2 * MIB)


def test_grow_is_on_disk(pool):
    """Section 3: refresh reads everything anew."""
    pool.create("a")
    pool.vol("a").resize(3 * MIB, 0)
    pool.refresh()
    assert pool.size("a") == 3 * MIB
    assert pool.files.size(pool.files.head("a")) == 3 * MIB


def test_grow_stays_sparse(pool):
    """R10: a sparse volume that was resized still has no blocks."""
    pool.create("a", 111 * MIB)
    pool.vol("a").resize(222 * MIB, 0)
    assert pool.files.used(pool.files.head("a")) == 0


def test_grow_by_delta(pool):
    """Stock's DELTA flag."""
    pool.create("a")
    pool.vol("a").resize(MIB, DELTA)
    assert pool.size("a") == 2 * MIB


def test_grow_with_allocation(pool):
    """Stock's ALLOCATE flag."""
    pool.create("a")
    pool.vol("a").resize(4 * MIB, ALLOCATE)
    assert os.stat(pool.files.head("a")).st_blocks * 512 >= 3 * MIB


def test_same_size_succeeds(pool):
    """Section 3: the same size succeeds and does nothing."""
    pool.create("a", content="one")
    with pool.untouched():
        pool.vol("a").resize(MIB, 0)


def test_same_odd_size_succeeds(pool):
    """Stock refuses it below the allocation."""
    pool.create("a", 1000)
    pool.write("a", b"x" * 1000)
    with pool.untouched():
        pool.vol("a").resize(1000, 0)


def test_smaller_needs_the_flag(pool):
    """Section 3: smaller needs the SHRINK flag."""
    pool.create("a", 2 * MIB, content="one")
    with pool.refuses():
        pool.vol("a").resize(MIB, 0)


def test_shrink_of_a_written_image(pool):
    """Stock refuses to shrink a written image."""
    pool.create("a", 2 * MIB, content="one")
    pool.vol("a").resize(MIB, SHRINK)
    assert pool.read("a") == pattern("one", 2 * MIB)[:MIB]
    assert pool.size("a") == MIB


def test_shrink_by_delta(pool):
    """Stock's DELTA with SHRINK subtracts."""
    pool.create("a", 3 * MIB, content="one")
    pool.vol("a").resize(MIB, SHRINK | DELTA)
    assert pool.size("a") == 2 * MIB


def test_shrink_never_probes_guest_data(pool):
    """Section 3: a raw image that looks like qcow2 is cut as raw."""
    pool.create("q", 2 * MIB, fmt="qcow2")
    header = pool.read("q")[:65536]
    pool.create("a", 8 * MIB)
    pool.write("a", header)
    pool.vol("a").resize(4 * MIB, SHRINK)
    assert os.stat(pool.files.head("a")).st_size == 4 * MIB
    assert pool.size("a") == 4 * MIB


def test_qcow2_grows_inside(pool):
    """A qcow2 volume's capacity is the guest's size."""
    pool.create("q", 2 * MIB, fmt="qcow2")
    pool.vol("q").resize(8 * MIB, 0)
    pool.refresh()
    assert pool.size("q") == 8 * MIB
    out = subprocess.run(["qemu-img", "info", pool.files.head("q")],
                         capture_output=True, text=True, check=True).stdout
    assert f"{8 * MIB} bytes" in out


def test_dirty_volume_resizes_its_live_copy_only(pool):
    """Section 3: while dirty it resizes the live copy only (L07)."""
    pool.create("a", content="one")
    pool.start("a")
    pool.vol("a").resize(2 * MIB, 0)
    assert pool.files.size(pool.files.head("a")) == MIB
    assert pool.files.size(pool.files.live("a")) == 2 * MIB


def test_info_shows_the_heads_size_until_commit(pool):
    """Section 3: vol-info of A shows the head's size until the commit."""
    pool.create("a", content="one")
    pool.start("a")
    pool.vol("a").resize(2 * MIB, 0)
    assert pool.size("a") == MIB
    assert pool.size("a@live") == 2 * MIB
    pool.commit("a")
    assert pool.size("a") == 2 * MIB


def test_resize_while_dirty_is_taken_back(pool):
    """Section 3: it is taken back with the live copy."""
    pool.create("a", content="one")
    pool.start("a")
    pool.vol("a").resize(2 * MIB, 0)
    pool.discard("a")
    assert pool.size("a") == MIB
    assert pool.files.size(pool.files.head("a")) == MIB


def test_checks_while_dirty_are_against_the_live_size(pool):
    """Section 3: all checks against the live copy's size."""
    pool.create("a", 2 * MIB, content="one")
    pool.start("a")
    pool.vol("a").resize(4 * MIB, 0)
    with pool.refuses():
        pool.vol("a").resize(3 * MIB, 0)
    pool.vol("a").resize(3 * MIB, SHRINK)
    assert pool.size("a@live") == 3 * MIB


def test_delta_while_dirty_is_against_the_live_size(pool):
    """Section 3: DELTA against the live copy's size."""
    pool.create("a", content="one")
    pool.start("a")
    pool.vol("a").resize(MIB, DELTA)
    pool.vol("a").resize(MIB, DELTA)
    assert pool.size("a@live") == 3 * MIB


def block_resize(machine, path, size):
    """What virsh blockresize has QEMU do."""
    machine.stdin.write(f"truncate {size}\n")
    machine.stdin.flush()
    wait_for(lambda: os.stat(path).st_size == size, what="block resize")


def test_live_copy_that_its_machine_has_grown_is_not_cut(pool):
    """Section 3: smaller than it is, not than it was, needs the flag."""
    pool.create("a", content="one")
    pool.start("a")
    with qemu(pool.device("a@live")) as machine:
        block_resize(machine, pool.files.live("a"), 4 * MIB)
        with pool.refuses(libvirt.VIR_ERR_INVALID_ARG):
            pool.vol("a").resize(2 * MIB, 0)
    assert pool.files.size(pool.files.live("a")) == 4 * MIB


def test_head_that_its_machine_has_grown_is_not_cut(pool):
    """The same with a head that a machine has used directly."""
    pool.create("a", content="one")
    with qemu(pool.device("a")) as machine:
        block_resize(machine, pool.files.head("a"), 4 * MIB)
    with pool.refuses(libvirt.VIR_ERR_INVALID_ARG):
        pool.vol("a").resize(2 * MIB, 0)
    assert pool.files.size(pool.files.head("a")) == 4 * MIB


def test_qcow2_that_was_grown_is_not_cut(pool):
    """The same with the size that the image's header tells."""
    pool.create("q", fmt="qcow2")
    run("qemu-img", "resize", "-q", "-f", "qcow2", pool.device("q"), "4M")
    with pool.refuses(libvirt.VIR_ERR_INVALID_ARG):
        pool.vol("q").resize(2 * MIB, 0)


def test_delta_is_against_the_size_it_has_by_now(pool):
    """Stock's DELTA: nobody has to refresh the pool for it."""
    pool.create("a", content="one")
    os.truncate(pool.files.head("a"), 4 * MIB)
    pool.vol("a").resize(MIB, DELTA)
    assert pool.size("a") == 5 * MIB
    pool.vol("a").resize(2 * MIB, DELTA | SHRINK)
    assert pool.size("a") == 3 * MIB


def test_size_it_has_by_now_succeeds(pool):
    """Section 3: the same size succeeds and does nothing."""
    pool.create("a", content="one")
    os.truncate(pool.files.head("a"), 4 * MIB)
    with pool.untouched():
        pool.vol("a").resize(4 * MIB, 0)


def test_live_copy_by_its_own_name(pool):
    """Section 3: A@live can be resized by its own name."""
    pool.create("a", content="one")
    pool.start("a")
    pool.vol("a@live").resize(2 * MIB, 0)
    assert pool.size("a@live") == 2 * MIB and pool.size("a") == MIB


def test_live_copy_of_volatile_volume(pool):
    """Qubes 4.4: works for a running volatile volume too."""
    pool.create("v", lifecycle=VOLATILE)
    pool.start("v")
    pool.vol("v@live").resize(2 * MIB, 0)
    assert pool.size("v@live") == 2 * MIB


def test_resize_leaves_revisions(pool):
    """Section 3: resize makes and changes no revision."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.pin("a", "w")
    before = pool.contents("a")
    pool.vol("a").resize(2 * MIB, 0)
    assert pool.contents("a") == before
    assert pool.size("a@w") == MIB


def test_start_after_resize_has_the_new_size(pool):
    """A precache of the old size is stale (section 6)."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    pool.wait_precache("a")
    pool.vol("a").resize(2 * MIB, 0)
    pool.start("a")
    assert pool.size("a@live") == 2 * MIB


@pytest.mark.parametrize("which", ["a", "a@live"])
def test_loop_device_learns_of_it(pool, which):
    """Section 3: loop devices on the file learn of it (R10)."""
    pool.create("a", content="one")
    if which == "a@live":
        pool.start("a")
    loop = run("losetup", "--find", "--show",
               pool.device(which)).stdout.strip()
    try:
        pool.vol(which).resize(2 * MIB, 0)
        size = run("blockdev", "--getsize64", loop).stdout.strip()
        assert int(size) == 2 * MIB
    finally:
        run("losetup", "-d", loop)


def test_loop_device_keeps_a_head_from_shrinking(pool):
    """Section 3: what is in use does not lose its ground."""
    pool.create("a", content="one")
    loop = run("losetup", "--find", "--show", pool.device("a")).stdout.strip()
    try:
        with refused(INVALID):
            pool.vol("a").resize(MIB // 2, libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK)
    finally:
        run("losetup", "-d", loop)
    assert pool.holds("a", "one")


def test_loop_device_over_a_link_learns_of_it(pool, pools):
    """R10: found by the file, not by its name."""
    pool.create("a", content="one")
    pool.start("a")
    link = pools.home + "/link-to-" + pool.name
    os.symlink(pool.device("a@live"), link)
    loop = run("losetup", "--find", "--show", link).stdout.strip()
    try:
        pool.vol("a@live").resize(2 * MIB, 0)
        size = run("blockdev", "--getsize64", loop).stdout.strip()
        assert int(size) == 2 * MIB
    finally:
        run("losetup", "-d", loop)
        os.unlink(link)


def test_zero_with_shrink(pool):
    """The API takes 0 with SHRINK."""
    pool.create("a", content="one")
    pool.vol("a").resize(0, SHRINK)
    assert pool.size("a") == 0


def test_unmodified_virsh_resizes(pool):
    """Section 1: an unmodified virsh."""
    pool.create("a", content="one")
    pool.daemon.virsh("vol-resize", "a", "2M", "--pool", pool.name)
    pool.daemon.virsh("vol-resize", "a", "1M", "--shrink", "--pool",
                      pool.name)
    assert pool.holds("a", "one")
