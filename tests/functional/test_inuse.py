# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is in use is refused or deferred (design section 3)."""

import contextlib
import fcntl
import os
import signal
import threading
import time
import xml.etree.ElementTree as ET

import pytest

from daemon import apart
from filesystems import run
from pools import (BLOCK, INVALID, MIB, pattern, refused, snapshot_of,
                   volume_xml, wait_for)
from straced import held_up
from streams import begin_download, download, receive, upload
from users import loop, loop_elsewhere, qemu


def prepared(pool):
    """A volume with a revision and a written live copy."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.start("a")
    pool.write("a@live", pattern("three"))
    return pool.revisions("a")[0]


def test_commit_of_used_live_copy_is_refused(pool, user):
    """Section 3: what would replace something in use is refused."""
    prepared(pool)
    with user(pool.device("a@live")):
        with pool.refuses(INVALID):
            pool.commit("a")
    pool.commit("a")
    assert pool.holds("a", "three")


def test_discard_of_used_live_copy_is_refused(pool, user):
    """Section 3: what would remove something in use is refused."""
    prepared(pool)
    with user(pool.device("a@live")):
        with pool.refuses(INVALID):
            pool.discard("a")
    pool.discard("a")
    assert pool.holds("a", "two")


@pytest.mark.parametrize("operation", ["start", "revert", "upload", "wipe",
                                       "resize", "delete"])
def test_writer_on_the_head_refuses(pool, writer, operation):
    """Section 3: also while a domain writes to the head directly."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    calls = {"start": lambda: pool.start("a"),
             "revert": lambda: pool.revert("a", ident),
             "upload": lambda: upload(pool, "a", pattern("x")),
             "wipe": lambda: pool.vol("a").wipe(0),
             "resize": lambda: pool.vol("a").resize(2 * MIB, 0),
             "delete": lambda: pool.delete("a")}
    with writer(pool.device("a")):
        with pool.refuses(INVALID):
            calls[operation]()
    calls[operation]()


def test_writer_on_the_head_refuses_a_commit(pool, writer):
    """Section 3: commit too."""
    prepared(pool)
    with writer(pool.device("a")):
        with pool.refuses(INVALID):
            pool.commit("a")
    pool.commit("a")


@pytest.mark.parametrize("kind", ["qemu", "loop"])
@pytest.mark.parametrize("operation", ["redefine", "resize"])
def test_used_head_with_another_link_keeps_its_inode(pool, operation, kind):
    """Section 5: a head that shares its inode is cloned apart: not while
    somebody writes to it, whose later writes would be lost."""
    pool.create("a", content="one")
    calls = {"redefine": lambda: pool.redefine("a", keep=5),
             "resize": lambda: pool.vol("a").resize(2 * MIB, 0)}
    link = pool.path + "-other-link"
    os.link(pool.files.head("a"), link)
    try:
        with {"qemu": qemu, "loop": loop}[kind](pool.device("a")):
            with pool.refuses(INVALID, match="'a' is in use"):
                calls[operation]()
        calls[operation]()
        assert not os.path.samefile(link, pool.files.head("a"))
    finally:
        os.unlink(link)


def test_reader_of_a_head_with_another_link_allows_a_redefine(pool):
    """What it reads goes on existing, under the other name."""
    pool.create("a", content="one")
    link = pool.path + "-other-link"
    os.link(pool.files.head("a"), link)
    try:
        with loop(pool.device("a"), "--read-only"):
            pool.redefine("a", keep=5)
        assert pool.holds("a", "one")
    finally:
        os.unlink(link)


def test_loop_device_on_the_head_refuses(pool):
    """Section 3: a loop device is a user."""
    pool.create("a", content="one")
    with loop(pool.device("a")):
        for call in (lambda: pool.delete("a"),
                     lambda: pool.vol("a").wipe(0)):
            with pool.refuses(INVALID):
                call()


def test_loop_device_is_known_without_its_path(pool):
    """Section 3: also one whose path is gone, as after a removal."""
    prepared(pool)
    other = pool.path + "/../other-name"
    os.link(pool.files.live("a"), other)
    with loop(other):
        os.unlink(other)
        with pool.refuses(INVALID):
            pool.commit("a")
    pool.commit("a")


def test_loop_device_of_another_namespace(pool, tmp_path):
    """Section 3: also one whose path leads to another file here."""
    prepared(pool)
    name = os.path.basename(pool.files.live("a"))
    (tmp_path / name).write_bytes(pattern("something else"))
    with loop_elsewhere(pool.path, str(tmp_path), name):
        with pool.refuses(INVALID):
            pool.commit("a")
    pool.commit("a")


def test_loop_device_that_gets_another_file(pool):
    """What is remembered of a device holds for the file that it had."""
    for name in "ab":
        pool.create(name, content=name)
    with loop(pool.device("a")) as device:
        with pool.refuses(INVALID):
            pool.delete("a")
        run("losetup", "-d", device)
        run("losetup", device, pool.device("b"))
        pool.delete("a")
        with pool.refuses(INVALID):
            pool.delete("b")
    pool.delete("b")


LOOP_CHANGE_FD = 0x4C06


def test_loop_device_whose_file_is_exchanged(pool):
    """The same, where that happens while the device is in use."""
    for name in "ab":
        pool.create(name, content=name)
    with loop(pool.device("a"), "--read-only") as device:
        with pool.refuses(INVALID):
            pool.delete("a")
        with open(device, "rb") as opened, \
                open(pool.device("b"), "rb") as file:
            fcntl.ioctl(opened, LOOP_CHANGE_FD, file.fileno())
        pool.delete("a")
        with pool.refuses(INVALID):
            pool.delete("b")
    pool.delete("b")


def test_read_only_loop_device_allows_a_commit(pool):
    """What it reads goes on existing: the head becomes a revision."""
    prepared(pool)
    with loop(pool.device("a"), "--read-only"):
        pool.commit("a")
    assert pool.holds("a", "three")


def test_loop_device_without_a_size_learns_of_one(pool):
    """Section 3: loop devices on the file learn of a resize."""
    pool.create("a", 0)
    pool.start("a")
    with loop(pool.device("a@live")) as device:
        pool.vol("a@live").resize(2 * MIB, 0)
        size = run("blockdev", "--getsize64", device).stdout
    assert int(size) == 2 * MIB


def test_clone_of_open_head_works(pool, writer):
    """Section 3: clones of an open image are crash-consistent."""
    pool.create("a", content="one")
    with writer(pool.device("a")):
        pool.clone("a", "b")
    assert pool.holds("b", "one")


def test_clone_of_open_live_copy_works(pool, user):
    """Section 3: a backup of a running machine."""
    prepared(pool)
    with user(pool.device("a@live")):
        pool.clone("a@live", "b")
    assert pool.holds("b", "three")


def test_clone_has_what_the_writer_wrote(pool):
    """Section 3: crash-consistent: what was written before is in it."""
    prepared(pool)
    with qemu(pool.device("a@live")) as process:
        process.stdin.write("write -P 0x5a 0 65536\nlength\n")
        process.stdin.flush()
        while "wrote" not in process.stdout.readline():
            pass
        pool.clone("a@live", "b")
    assert pool.read("b")[:65536] == b"\x5a" * 65536


READERS = {
    "clone": lambda pool, name: pool.clone(name, "b"),
    "download": download,
    "stage": lambda pool, name: pool.stage(name, "x"),
    "start": lambda pool, name: pool.start(name),
    "pin": lambda pool, name: pool.pin(name, "w"),
}


@pytest.mark.parametrize("operation, name", [
    ("clone", "a"), ("download", "a"), ("stage", "a"), ("start", "a"),
    ("pin", "a"), ("clone", "a@live"), ("download", "a@live"),
    ("stage", "a@live")])
def test_open_image_is_not_copied_where_it_cannot_be_cloned(
        pools, ext4, operation, name):
    """Section 3: required='no': refused while it is open."""
    pool = pools(ext4, required="no").up()
    pool.create("a", content="one")
    pool.create("x", content="x")
    if name == "a@live":
        pool.start("a")
    with qemu(pool.device(name)):
        with pool.refuses(INVALID, match=f"'{name}'"):
            READERS[operation](pool, name)
    READERS[operation](pool, name)
    result = {"clone": "b", "stage": "x@live", "start": "a@live",
              "pin": "a@w", "download": name}[operation]
    assert pool.holds(result, "one")


def test_open_source_starts_no_snapshot_where_it_cannot_be_cloned(pools,
                                                                  ext4):
    """Section 3: nor is it copied as the source of a snapshot volume."""
    pool = pools(ext4, required="no").up()
    pool.create("a", content="one")
    pool.create("n", None, lifecycle=snapshot_of("a"))
    with qemu(pool.device("a")):
        with pool.refuses(INVALID, match="'a'"):
            pool.start("n")
    pool.start("n")
    assert pool.holds("n@live", "one")


@pytest.mark.parametrize("name", ["a", "a@live"])
def test_open_image_is_not_copied_to_another_pool(pool, elsewhere, name):
    """Section 3: nor to a pool that could clone."""
    elsewhere.create("a", content="one")
    elsewhere.start("a")
    with qemu(elsewhere.device(name)):
        with elsewhere.untouched(), pool.refuses(INVALID, match=f"'{name}'"):
            pool.clone(elsewhere.vol(name), "b")
        assert pool.names() == []
    pool.clone(elsewhere.vol(name), "b")
    assert pool.holds("b", "one")


def test_copy_of_an_open_image_is_crash_consistent(pool, elsewhere, tmp_path):
    """Section 3: a copy of what can be cloned shows one moment: not a later
    write without an earlier one, to where the copy had been already."""
    pool.create("a", content="one")
    pool.start("a")
    new = pattern("two", BLOCK)
    job = threading.Thread(target=elsewhere.clone,
                           args=(pool.vol("a@live"), "b"))
    with held_up(pool.daemon, tmp_path / "calls", "pwrite64", 1), \
            open(pool.device("a@live"), "r+b", buffering=0) as machine:
        job.start()
        wait_for(elsewhere.files.leftovers, what="copy")
        time.sleep(0.3)
        for offset in (0, MIB - BLOCK):
            os.pwrite(machine.fileno(), new, offset)
        assert job.is_alive()
        job.join()
    data = elsewhere.read("b")
    first, last = data[:BLOCK] == new, data[-BLOCK:] == new
    assert first or not last, "torn"


@contextlib.contextmanager
def half_copied(pool, stock, size):
    """The daemon stands still in the middle of a copy of 'a@live' into a stock
    pool; whether it was caught there, and the copy when it has ended."""
    xml = volume_xml("b.raw", size, fmt="raw")
    found = {"caught": False}
    with apart(pool) as other:
        target = other.daemon.conn.storagePoolLookupByName(stock.name())
        source = other.vol("a@live")
        job = threading.Thread(target=target.createXMLFrom,
                               args=(xml, source, 0))
        job.start()
        path = os.path.join(ET.fromstring(stock.XMLDesc()).findtext(
            "target/path"), "b.raw")
        while job.is_alive() and not found["caught"]:
            with contextlib.suppress(FileNotFoundError):
                found["caught"] = os.stat(path).st_blocks > 0
        os.kill(pool.daemon.pid, signal.SIGSTOP)
        try:
            yield found
        finally:
            os.kill(pool.daemon.pid, signal.SIGCONT)
            job.join()
    with open(path, "rb") as file:
        found["first"] = file.read(BLOCK)
        file.seek(-BLOCK, os.SEEK_END)
        found["last"] = file.read(BLOCK)


def test_copy_of_an_open_image_to_a_stock_pool(pool, stock):
    """Section 3: exports are crash-consistent as well: they show no later
    write without an earlier one, to where the copy had been already."""
    size = 192 * MIB
    pool.create("a", size)
    pool.start("a")
    block = pattern("one", 8 * MIB)
    for offset in range(0, size, len(block)):
        pool.write("a@live", block, offset)
    new = pattern("two", BLOCK)
    with open(pool.device("a@live"), "r+b", buffering=0) as machine, \
            half_copied(pool, stock, size) as found:
        for offset in (0, size - BLOCK):
            os.pwrite(machine.fileno(), new, offset)
        os.fsync(machine.fileno())
    assert found["caught"], "too quick"
    assert found["first"] == new or found["last"] != new, "torn"


def test_open_image_is_not_copied_to_a_stock_pool(pools, ext4, stock):
    """Section 3: where nothing can be cloned."""
    pool = pools(ext4, required="no").up()
    pool.create("a", content="one")
    pool.start("a")
    xml = volume_xml("b.raw", MIB, fmt="raw")
    with qemu(pool.device("a@live")):
        with pool.untouched(), refused(INVALID, match="'a@live'"):
            stock.createXMLFrom(xml, pool.vol("a@live"), 0)
    assert stock.listVolumes() == []
    copy = stock.createXMLFrom(xml, pool.vol("a@live"), 0)
    with open(copy.path(), "rb") as file:
        assert file.read() == pattern("one")


def test_pin_of_open_head_works(pool, writer):
    """Section 6: revisions that users ask for are clones."""
    pool.create("a", content="one")
    with writer(pool.device("a")):
        pool.pin("a", "w")
    assert pool.holds("a@w", "one")


def test_reader_of_the_head_allows_a_start(pool, writer):
    """A start replaces nothing that a reader reads."""
    pool.create("a", content="one")
    with writer(pool.device("a"), readonly=True):
        pool.start("a")
    assert pool.holds("a@live", "one")


@pytest.mark.parametrize("kind", ["qemu", "loop"])
def test_retention_defers_a_used_revision(pool, kind):
    """Section 3: retention defers what is in use (N02, N21)."""
    first = prepared(pool)
    path = pool.device(f"a@{first}")
    user = (qemu(path, readonly=True) if kind == "qemu" else loop(path))
    with user:
        pool.commit("a")
        assert first in pool.revisions("a")
        assert pool.holds(f"a@{first}", "one")
    pool.cycle("a", "four")
    assert first not in pool.revisions("a")
    assert len(pool.revisions("a")) == 1


def test_delete_of_a_used_revision_is_refused(pool, user):
    """Section 3: what would remove something in use is refused."""
    first = prepared(pool)
    with user(pool.device(f"a@{first}")):
        with pool.refuses(INVALID):
            pool.delete(f"a@{first}")
    pool.delete(f"a@{first}")


def test_delete_with_a_used_revision_is_refused(pool, writer):
    """Section 3: all or nothing: the head stays too."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    (first,) = pool.revisions("a")
    with writer(pool.device(f"a@{first}")):
        with pool.refuses(INVALID):
            pool.delete("a")


def test_lower_keep_defers_a_used_revision(pool):
    """Section 3: retention defers what is in use, at redefine as well."""
    first = prepared(pool)
    with loop(pool.device(f"a@{first}")):
        pool.redefine("a", keep=0)
        assert pool.files.revision_ids("a") == [first]


def test_qemu_can_open_after_every_operation(pool):
    """No lock of ours stays behind."""
    first = prepared(pool)
    pool.commit("a")
    pool.revert("a", pool.revisions("a")[-1])
    pool.clone("a", "b")
    pool.start("a")
    assert first
    for name in ("a", "b", "a@live"):
        with qemu(pool.device(name)) as process:
            process.stdin.write("write 0 4096\nlength\n")
            process.stdin.flush()
            assert "wrote" in process.stdout.readline()


def test_used_qcow2_head_refuses(pool):
    """QEMU's locks on a qcow2 image are the same."""
    pool.create("q", 4 * MIB, fmt="qcow2")
    with qemu(pool.device("q")):
        with pool.refuses(INVALID):
            pool.delete("q")


def test_refresh_while_in_use(pool, user):
    """Section 6: a refresh never removes what is in use."""
    prepared(pool)
    with user(pool.device("a@live")):
        with pool.untouched():
            pool.refresh()
    assert pool.dirty("a")


def test_stream_on_the_head_defers_the_removal(pool):
    """Section 3: a stream is a user: revert while an export is open (H1)."""
    pool.create("a", 8 * MIB, content="one", keep=1)
    pool.cycle("a", "two")
    stream = begin_download(pool, f"a@{pool.revisions('a')[0]}")
    start = stream.recv(1000)
    for tag in ("three", "four", "five"):
        pool.cycle("a", tag)
    assert start + receive(stream) == pattern("one", 8 * MIB)
    stream.finish()


def test_delete_of_streamed_revision_is_refused_or_safe(pool):
    """N02: refused, or the exporter still reads intact bytes."""
    pool.create("a", 8 * MIB, content="one")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    stream = begin_download(pool, f"a@{ident}")
    start = stream.recv(1000)
    try:
        with refused(INVALID):
            pool.delete(f"a@{ident}")
    except pytest.fail.Exception:
        assert ident not in pool.revisions("a")
    assert start + receive(stream) == pattern("one", 8 * MIB)
    stream.finish()
