# SPDX-License-Identifier: LGPL-2.1-or-later
"""vol-wipe (design section 3)."""

import os

import libvirt
import pytest

from pools import INVALID, MIB, pattern


def test_wipe_makes_zeros(pool):
    """Section 3: head becomes zeros."""
    pool.create("a", content="one")
    pool.vol("a").wipe(0)
    assert pool.blank("a") and pool.size("a") == MIB


def test_wipe_keeps_the_size_it_has_by_now(pool):
    """Section 3: a machine may have grown it since the last refresh."""
    pool.create("a", content="one")
    os.truncate(pool.files.head("a"), 4 * MIB)
    pool.vol("a").wipe(0)
    assert pool.blank("a") and pool.size("a") == 4 * MIB


def test_wipe_frees_the_blocks(pool):
    """Section 3: by a fresh empty image or volume: blocks are freed."""
    pool.create("a", content="one")
    pool.vol("a").wipe(0)
    assert pool.files.used(pool.files.head("a")) == 0


def test_wipe_takes_a_fresh_image(pool):
    """The image that had the data is not written, whoever may have it open."""
    pool.create("a", content="one")
    place = pool.files.head("a")
    before = pool.files.identity(place)
    pool.vol("a").wipe(0)
    assert pool.files.identity(place) != before


def test_wipe_makes_no_revision(pool):
    """Section 3: no revision is made of it."""
    pool.create("a", content="secret")
    pool.vol("a").wipe(0)
    assert pool.revisions("a") == []
    for name in pool.files.all():
        with open(os.path.join(pool.path, name), "rb") as file:
            assert pattern("secret")[:4096] not in file.read(), name
    assert pool.files.all()


def test_wipe_keeps_older_revisions(pool):
    """Section 3: older revisions keep what they hold."""
    pool.create("a", content="one", keep=3)
    pool.cycle("a", "two")
    pool.cycle("a", "three")
    pool.pin("a", "w")
    before = pool.contents("a")
    pool.vol("a").wipe(0)
    assert pool.contents("a") == before
    assert pool.holds("a@w", "three")


@pytest.mark.parametrize("algorithm", [libvirt.VIR_STORAGE_VOL_WIPE_ALG_ZERO,
                                       libvirt.VIR_STORAGE_VOL_WIPE_ALG_TRIM])
def test_algorithms_zero_and_trim(pool, algorithm):
    """Section 3: algorithms zero and trim."""
    pool.create("a", content="one")
    pool.vol("a").wipePattern(algorithm, 0)
    assert pool.blank("a")


@pytest.mark.parametrize("algorithm", [
    libvirt.VIR_STORAGE_VOL_WIPE_ALG_NNSA, libvirt.VIR_STORAGE_VOL_WIPE_ALG_DOD,
    libvirt.VIR_STORAGE_VOL_WIPE_ALG_BSI,
    libvirt.VIR_STORAGE_VOL_WIPE_ALG_GUTMANN,
    libvirt.VIR_STORAGE_VOL_WIPE_ALG_SCHNEIER,
    libvirt.VIR_STORAGE_VOL_WIPE_ALG_RANDOM])
def test_other_algorithms_are_refused(pool, algorithm):
    """Section 3: others refused: blocks are not overwritten."""
    pool.create("a", content="one")
    with pool.refuses():
        pool.vol("a").wipePattern(algorithm, 0)


def test_refused_while_dirty(pool):
    """Section 3: refused while dirty."""
    pool.create("a", content="one")
    pool.start("a")
    with pool.refuses(INVALID):
        pool.vol("a").wipe(0)


def test_wipe_keeps_facts(pool):
    """Section 5: keep and next id are the volume's."""
    pool.create("a", content="one", keep=3)
    pool.cycle("a", "two")
    last = max(pool.revisions("a"))
    pool.vol("a").wipe(0)
    pool.restart()
    assert pool.dump("a").find("revisions").get("keep") == "3"
    pool.cycle("a", "three")
    assert max(pool.revisions("a")) > last


def test_wipe_keeps_permissions(pool):
    """Section 5: owner and mode are the volume's too."""
    pool.create("a", content="one",
                target="<permissions><mode>0640</mode></permissions>")
    pool.vol("a").wipe(0)
    assert os.stat(pool.files.head("a")).st_mode & 0o777 == 0o640


def test_wipe_drops_the_precache(pool):
    """Section 6: the next start has the wiped content, not the precache."""
    pool.create("a", content="one")
    pool.cycle("a", "two", old=True)
    pool.wait_precache("a")
    pool.vol("a").wipe(0)
    pool.start("a")
    assert pool.blank("a@live")


def test_wiped_qcow2_is_a_usable_image(pool):
    """Section 5: the recorded format is what the file holds."""
    pool.create("q", 4 * MIB, fmt="qcow2")
    try:
        pool.vol("q").wipe(0)
    except libvirt.libvirtError:
        assert pool.read("q")[:4] == b"QFI\xfb"
        return
    pool.refresh()
    kind = pool.dump("q").find("target/format").get("type")
    assert (kind == "qcow2") == (pool.read("q")[:4] == b"QFI\xfb")
    assert pool.size("q") == 4 * MIB


def test_no_format_probing_after_a_wipe(pool):
    """The refresh after a wipe probes no guest data."""
    pool.create("q", 2 * MIB, fmt="qcow2")
    header = pool.read("q")
    pool.create("a", 4 * MIB)
    pool.write("a", header)
    pool.cycle("a", "x")
    pool.vol("a").wipe(0)
    assert pool.dump("a").find("target/format").get("type") == "raw"


def test_unmodified_virsh_wipes(pool):
    """Section 1: an unmodified virsh."""
    pool.create("a", content="one")
    pool.daemon.virsh("vol-wipe", "a", "--pool", pool.name, "--algorithm",
                      "trim")
    assert pool.blank("a")
