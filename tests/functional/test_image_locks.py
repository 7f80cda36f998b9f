# SPDX-License-Identifier: LGPL-2.1-or-later
"""Image locks: looked for, and taken for the whole switch (section 3).

As QEMU has them (block/file-posix.c): shared OFD locks on one byte for each
permission that is used, from byte 100 on; 1 is to write, 3 to resize.
"""

import contextlib
import fcntl
import os
import struct
import threading

import libvirt
import pytest

from filesystems import run
from pools import INVALID, MIB, pattern, snapshot_of, wait_for
from preload import preloaded
from straced import held_up
from streams import begin_download, receive, upload

WRITE, RESIZE = 101, 103
RENAME = "renameat,renameat2"
BY_QEMU = b"\x5a" * 65536


@contextlib.contextmanager
def locked(path, byte):
    """An open file with QEMU's shared lock on that byte."""
    with open(path, "r+b") as file:
        lock = struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        yield


def qemu_writes(path):
    """Let a QEMU that insists on its locks write; what it says if it fails."""
    image = f"driver=raw,file.driver=file,file.locking=on,file.filename={path}"
    done = run("qemu-io", "-c", "write -P 0x5a 0 65536", "--image-opts", image,
               check=False)
    return done.stderr if done.returncode else ""


def prepared(pool, operation):
    """A volume that the operation is for; what it is, and the place that it
    takes the content from or replaces."""
    pool.create("a", content="one", keep=5)
    pool.cycle("a", "two")
    (first,) = pool.revisions("a")
    if operation == "commit":
        pool.start("a")
        pool.write("a@live", pattern("new"))
    calls = {"commit": lambda: pool.commit("a"),
             "revert": lambda: pool.revert("a", first),
             "upload": lambda: upload(pool, "a", pattern("new")),
             "delete": lambda: pool.delete("a")}
    return calls[operation], "a@live" if operation == "commit" else "a"


@pytest.mark.parametrize("byte", [WRITE, RESIZE])
@pytest.mark.parametrize("operation", ["commit", "revert", "upload", "delete"])
def test_locked_image_refuses(pool, operation, byte):
    """Section 3: refused while QEMU's lock is held, naming the volume."""
    call, name = prepared(pool, operation)
    with locked(pool.device(name), byte):
        with pool.refuses(INVALID, match=f"'{name}' is in use"):
            call()
    call()
    assert pool.has("a") == (operation != "delete")


@pytest.mark.parametrize("byte", [WRITE, RESIZE])
def test_locked_head_refuses_a_commit(pool, byte):
    """Section 3: the head that would become a revision counts as well."""
    call, _ = prepared(pool, "commit")
    with locked(pool.device("a"), byte):
        with pool.refuses(INVALID, match="'a' is in use"):
            call()
    call()
    assert pool.holds("a", "new")


@contextlib.contextmanager
def before_the_rename(pool, call, report):
    """While the call has linked the revision and not renamed the new head."""
    known = pool.files.revision_ids("a")
    errors = []

    def body():
        try:
            call()
        except Exception as error:      # pylint: disable=broad-except
            errors.append(error)

    job = threading.Thread(target=body)
    with held_up(pool.daemon, report, RENAME, 3):
        job.start()
        try:
            wait_for(lambda: pool.files.revision_ids("a") != known,
                     what="the link")
            yield pool.files.revision_ids("a")[-1]
            assert job.is_alive(), "the switch was not held up"
        finally:
            job.join()
    assert errors == []


@pytest.mark.parametrize("operation", ["commit", "revert", "upload"])
def test_lock_is_taken_for_the_switch(pool, operation, tmp_path):
    """Crash-review: to test a lock and then act is a race: a QEMU that comes
    in between is kept out, and writes into no file that becomes a revision."""
    call, name = prepared(pool, operation)
    with before_the_rename(pool, call, tmp_path / "calls") as ident:
        places = {pool.files.head("a"), pool.files.revision("a", ident),
                  pool.files.of(name)}
        said = {place: qemu_writes(place) for place in places}
    assert all("lock" in text for text in said.values()), said
    assert pool.holds("a", "one" if operation == "revert" else "new")
    assert pool.holds(f"a@{ident}", "two")


def test_qemu_after_the_switch_has_the_new_file(pool):
    """The locks end with the switch, and the path is the new head's then."""
    call, _ = prepared(pool, "commit")
    call()
    assert qemu_writes(pool.device("a")) == ""
    assert pool.read("a") == BY_QEMU + pattern("new")[len(BY_QEMU):]
    assert pool.holds(f"a@{pool.revisions('a')[-1]}", "two")


def test_locks_end_with_the_operation(pool, daemon, tmp_path):
    """A child that the daemon has just forked has its open files, and their
    locks, until it executes its program: no operation takes that for a use."""
    errors, done = [], threading.Event()

    def cycles():
        virt = libvirt.open(daemon.uri).storagePoolLookupByName(pool.name)
        while not done.is_set() and not errors:
            try:
                virt.createXMLFrom("<volume><name>a@live</name></volume>",
                                   virt.storageVolLookupByName("a"), 0)
                virt.storageVolLookupByName("a@live").delete(0)
            except libvirt.libvirtError as error:
                errors.append(str(error))

    with preloaded(daemon, tmp_path, "slowfork"):
        pool.begin()
        pool.create("a", content="one")
        thread = threading.Thread(target=cycles)
        thread.start()
        for number in range(10):    # each forks a qemu-img
            pool.create(f"q{number}", fmt="qcow2")
        done.set()
        thread.join()
    assert errors == []


def test_download_keeps_writers_out_where_it_cannot_be_cloned(pools, ext4):
    """Section 3: required='no': from its begin to its end."""
    pool = pools(ext4, required="no").up()
    pool.create("a", content="one")
    stream = begin_download(pool, "a")
    assert "lock" in qemu_writes(pool.files.head("a"))
    assert receive(stream) == pattern("one")
    stream.finish()
    assert qemu_writes(pool.files.head("a")) == ""


def test_readers_let_each_other_in_where_nothing_can_be_cloned(pools, ext4):
    """Section 3: required='no': a source is shared, and kept from writers."""
    pool = pools(ext4, required="no").up()
    pool.create("a", content="one")
    for name in "mn":
        pool.create(name, None, lifecycle=snapshot_of("a"))
    streams = [begin_download(pool, "a"), begin_download(pool, "a")]
    pool.clone("a", "b")
    for name in "mn":
        pool.start(name)
    assert "lock" in qemu_writes(pool.files.head("a"))
    for stream in streams:
        assert receive(stream) == pattern("one")
        stream.finish()
    assert all(pool.holds(name, "one") for name in ("b", "m@live", "n@live"))
    assert qemu_writes(pool.files.head("a")) == ""


def test_commit_goes_on_during_a_download_that_is_no_clone(pools, ext4):
    """Section 3: a stable image, even while commits go on."""
    pool = pools(ext4, required="no").up()
    pool.create("a", content="one")
    stream = begin_download(pool, "a")
    for tag in ("two", "three"):
        pool.cycle("a", tag)
    assert receive(stream) == pattern("one")
    stream.finish()
    assert pool.holds("a", "three")


@pytest.mark.parametrize("size, flags", [
    (2 * MIB, 0), (MIB // 2, libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK)])
def test_what_is_downloaded_is_not_resized_in_place(pools, ext4, size, flags):
    """Section 3: a stable image: what cannot be cloned changes in place."""
    pool = pools(ext4, required="no").up()
    pool.create("a", content="one")
    stream = begin_download(pool, "a")
    with pool.refuses(INVALID, match="'a' is in use"):
        pool.vol("a").resize(size, flags)
    assert receive(stream) == pattern("one")
    stream.finish()
    pool.vol("a").resize(size, flags)


def test_what_is_downloaded_is_not_written_in_place(pools, ext4):
    """Section 3: a stable image: an upload to a live copy writes in place."""
    pool = pools(ext4, required="no").up()
    pool.create("a", content="one")
    pool.start("a")
    stream = begin_download(pool, "a@live")
    with pool.refuses(INVALID, match="'a@live' is in use"):
        upload(pool, "a@live", pattern("two"))
    assert receive(stream) == pattern("one")
    stream.finish()
    upload(pool, "a@live", pattern("two"))
