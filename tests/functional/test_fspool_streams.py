# SPDX-License-Identifier: LGPL-2.1-or-later
"""vol-upload and vol-download of items: tar archives (design section 3)."""

import gzip
import os
import socket
import subprocess
import sys
import tarfile

import libvirt
import pytest

from daemon import apart
from fstrees import (SMALL, archive, content, destroy, fill, folder, listing,
                     make_deep, member, members, put, tar_of, tree_tar, untar)
from pools import INVALID, MIB, refused, running, wait_for
from streams import abort, begin_download, download, receive


END = 1024  # two blocks of zeros


@pytest.fixture
def scratch(fs):
    """A place for what archives hold."""
    path = fs.path + "/scratch"
    yield path
    destroy(path)


# Uploads


def test_upload_replaces_the_content(fspool):
    """Section 3: a tar archive, whole."""
    fspool.create("a", content="one")
    fspool.cycle("a", "two")
    assert fspool.holds("a", "two")


def test_former_state_becomes_a_revision(fspool):
    """Section 3: its former state becomes a revision."""
    fspool.create("a", content="one")
    fspool.cycle("a", "two")
    (ident,) = fspool.revisions("a")
    assert fspool.holds(f"a@{ident}", "one")


def test_item_changes_only_at_finish(fspool):
    """Section 3: the head changes once, inside the stream's finish."""
    fspool.create("a", content="one")
    stream = fspool.upload("a", SMALL, finish=False)
    assert fspool.holds("a", "one") and fspool.revisions("a") == []
    stream.finish()
    assert content(fspool, "a") == b"content"


def test_abort_leaves_the_item(fspool):
    """Section 3: an abort leaves the head as it was."""
    fspool.create("a", content="one")
    with fspool.untouched():
        abort(fspool.upload("a", SMALL, finish=False))
    assert fspool.revisions("a") == []
    fspool.cycle("a", "two")
    assert fspool.holds("a", "two")


def test_disconnect_leaves_the_item(fspool, daemon):
    """Section 3: a disconnect leaves the head as it was."""
    fspool.create("a", content="one")
    code = ("import sys, libvirt, os\n"
            "c = libvirt.open(sys.argv[1])\n"
            "v = c.storagePoolLookupByName(sys.argv[2])"
            ".storageVolLookupByName('a')\n"
            "s = c.newStream(0)\n"
            "v.upload(s, 0, 0, 0)\n"
            "s.send(sys.stdin.buffer.read())\n"
            "os._exit(0)\n")
    with fspool.untouched():
        subprocess.run([sys.executable, "-c", code, daemon.uri, fspool.name],
                       input=SMALL, check=True)
        wait_for(lambda: not fspool.files.leftovers(), what="staging removed")
    assert fspool.revisions("a") == []


def test_dead_daemon_leaves_the_item(fspool, daemon):
    """Section 3: a dead daemon leaves the head as it was; no leftovers."""
    fspool.create("a", content="one")
    stream = fspool.upload("a", SMALL, finish=False)
    daemon.kill()
    abort(stream)
    daemon.restart()
    fspool.begin()
    assert fspool.holds("a", "one") and fspool.revisions("a") == []
    assert fspool.files.at_rest() == []
    fspool.cycle("a", "two")


def test_upload_prunes_as_retention_says(fspool):
    """Section 2: keep unpinned revisions stay."""
    fspool.create("a", content="0", keep=2)
    for number in range(1, 5):
        fspool.cycle("a", str(number))
    assert fspool.history("a") == ["2", "3"]


@pytest.mark.parametrize("options", [{"offset": 512}, {"length": 512}])
def test_part_of_an_archive_is_refused(fspool, options):
    """Section 3: offset must be 0, and no more than length can be sent."""
    fspool.create("a", content="one")
    with fspool.refuses():
        fspool.upload("a", SMALL, **options)


def test_length_of_the_archive_is_accepted(fspool):
    """Section 3: length keeps its stock meaning."""
    fspool.create("a", content="one")
    fspool.upload("a", SMALL, length=len(SMALL))
    assert content(fspool, "a") == b"content"


CUTS = [0, 1, 511, 512, 513, 1024, 1500, -1, -512, -1024, -1025, -1536]


@pytest.mark.needs("few")
@pytest.mark.parametrize("cut", CUTS)
def test_cut_archive_is_refused(fspool, cut):
    """Section 3: what was cut off never counts as complete."""
    data = SMALL.rstrip(b"\0")
    data += bytes(-len(data) % 512 + END)
    fspool.create("a", content="one")
    with fspool.refuses():
        fspool.upload("a", data[:cut])
    assert fspool.holds("a", "one")


def test_archive_with_the_least_end_is_accepted(fspool):
    """Section 3: two blocks of zeros, no more, are an end."""
    data = SMALL.rstrip(b"\0")
    data += bytes(-len(data) % 512 + END)
    fspool.create("a", content="one")
    fspool.upload("a", data)
    assert content(fspool, "a", "d/file") == b"more"


def test_more_zeros_are_accepted(fspool):
    """Section 3: archives are padded to whole records."""
    fspool.create("a")
    fspool.upload("a", SMALL + bytes(3 * 10240))
    assert content(fspool, "a") == b"content"


@pytest.mark.needs("few")
@pytest.mark.parametrize("data", [
    SMALL + b"x", SMALL + bytes(512) + b"garbage" * 200, SMALL + SMALL,
    b"garbage" * 1000, bytes(10), b"\xff" * 512 + bytes(1024),
    SMALL[:100] + b"9" + SMALL[101:], SMALL[:150] + b"7" + SMALL[151:]],
    ids=["byte", "garbage", "twice", "no-tar", "short", "no-header",
         "mode", "checksum"])
def test_bad_archive_is_refused(fspool, data):
    """Section 3: a bad archive changes nothing."""
    fspool.create("a", content="one")
    with fspool.refuses():
        fspool.upload("a", data)
    assert fspool.holds("a", "one") and fspool.revisions("a") == []


@pytest.mark.needs("few")
@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "posix"])
def test_formats(fspool, scratch, form):
    """Section 3: what GNU tar makes, in any of its forms."""
    os.makedirs(scratch)
    put(scratch + "/file", b"content")
    os.symlink("file", scratch + "/link")
    os.link(scratch + "/file", scratch + "/hard")
    data = subprocess.run(["tar", "--create", "--format=" + form, "-C",
                           scratch, "."], capture_output=True,
                          check=True).stdout
    fspool.create("a")
    fspool.upload("a", data)
    assert content(fspool, "a", "link") == b"content"
    assert os.stat(fspool.device("a") + "/hard").st_nlink == 2


def test_long_names(fspool, scratch):
    """Section 3: names that no old header holds."""
    os.makedirs(scratch)
    for name in ("n" * 255, "d" * 120 + "/" + "f" * 255):
        os.makedirs(os.path.dirname(f"{scratch}/{name}"), exist_ok=True)
        put(f"{scratch}/{name}", name.encode())
    for form in ("gnu", "posix"):
        fspool.create(form)
        data = subprocess.run(["tar", "--create", "--format=" + form, "-C",
                               scratch, "."], capture_output=True,
                              check=True).stdout
        fspool.upload(form, data)
        assert content(fspool, form, "n" * 255) == b"n" * 255


def test_compressed_archive(fspool):
    """Section 3: unpacked, or refused with nothing changed."""
    fspool.create("a", content="one")
    try:
        fspool.upload("a", gzip.compress(SMALL))
    except libvirt.libvirtError:
        assert fspool.holds("a", "one") and fspool.files.at_rest() == []
    else:
        assert content(fspool, "a") == b"content"


def test_top_entry_has_the_items_mode(fspool):
    """Section 3: '.' of the archive is the item."""
    fspool.create("a")
    fspool.upload("a", archive(folder(".", mode=0o700), member("file")))
    assert fspool.permissions("a") == (0o700, 0, 0)


def test_without_a_top_entry_the_mode_stays(fspool):
    """Section 5: a switch carries owner and mode over."""
    fspool.create("a", mode="0750", owner=12, group=34)
    fspool.upload("a", archive(member("file", b"content")))
    assert fspool.permissions("a") == (0o750, 12, 34)
    assert content(fspool, "a") == b"content"


def test_empty_archive_empties_the_item(fspool):
    """Section 3: an archive of nothing is one."""
    fspool.create("a", content="one")
    fspool.upload("a", bytes(10240))
    assert fspool.blank("a") and fspool.history("a") == ["one"]


def test_upload_by_virsh(fspool, fs, tmp_path):
    """Section 1: an unmodified virsh."""
    fspool.create("a", content="one")
    file = tmp_path / "tar"
    file.write_bytes(tree_tar(fs.path, "two"))
    fspool.daemon.virsh("vol-upload", "a", str(file), "--pool", fspool.name)
    assert fspool.holds("a", "two") and fspool.history("a") == ["one"]


def test_sparse_stream_is_refused_or_works(fspool, fs, tmp_path):
    """Section 3: with a clear error."""
    fspool.create("a", content="one")
    file = tmp_path / "tar"
    file.write_bytes(tree_tar(fs.path, "two"))
    done = fspool.daemon.virsh("vol-upload", "a", str(file), "--pool",
                               fspool.name, "--sparse", check=False)
    assert fspool.holds("a", "one" if done.returncode else "two")
    assert fspool.files.at_rest() == []


@pytest.mark.slow
def test_upload_of_many_files(fspool):
    """Section 3: 20,000 files."""
    fspool.create("a")
    fspool.upload("a", archive(*(member(f"d{n % 100}/f{n}", b"x", mode=0o600)
                                 for n in range(20000))))
    assert len(listing(fspool.device("a"))) == 20100


# Uploads and everything else


def test_second_upload_is_refused_meanwhile(fspool):
    """Section 3: a stream uses the item."""
    fspool.create("a", content="one")
    stream = fspool.upload("a", SMALL, finish=False)
    for call in (lambda: fspool.cycle("a", "two"),
                 lambda: fspool.delete("a"), lambda: fspool.vol("a").wipe(0)):
        with refused(INVALID):
            call()
    stream.finish()
    assert content(fspool, "a") == b"content"


def test_refresh_during_an_upload(fspool):
    """Section 6: a refresh never removes work in progress."""
    fspool.create("a", content="one")
    stream = fspool.upload("a", SMALL, finish=False)
    fspool.refresh()
    fspool.refresh()
    stream.finish()
    assert content(fspool, "a") == b"content"


def test_revert_during_an_upload_is_consistent(fspool):
    """Section 3: one of them is refused."""
    fspool.create("a", content="one")
    fspool.pin("a", "w")
    fspool.write("a", "two")
    stream = fspool.upload("a", SMALL, finish=False)
    try:
        fspool.revert("a", "w")
    except libvirt.libvirtError:
        stream.finish()
        assert content(fspool, "a") == b"content"
        assert fspool.history("a") == ["two"]
        return
    with refused():
        stream.finish()
    assert fspool.holds("a", "one") and fspool.files.at_rest() == []


def test_pool_stop_during_an_upload(fspool):
    """Nothing holds the pool while a stream runs."""
    fspool.create("a", content="one")
    stream = fspool.upload("a", SMALL, finish=False)
    try:
        fspool.virt.destroy()
    except libvirt.libvirtError:
        stream.finish()
        assert content(fspool, "a") == b"content"
        return
    abort(stream)
    fspool.virt.create(0)
    assert fspool.holds("a", "one") and fspool.files.at_rest() == []


# Downloads


def test_download_is_an_archive(fspool, scratch):
    """Section 3: download = tar; GNU tar makes the same tree of it."""
    fspool.create("a")
    fill(fspool.device("a"), "everything", full=True)
    untar(download(fspool, "a"), scratch)
    assert listing(scratch) == listing(fspool.device("a"))


@pytest.mark.needs("local")
def test_download_from_a_read_only_file_system(fspools, small_fs, scratch):
    """Section 3: what an error has made read-only can be taken away."""
    pool = fspools(small_fs.path).up()
    pool.create("a", content="one")
    with small_fs.read_only():
        data = download(pool, "a")
        assert pool.virt.isActive()
    untar(data, scratch)
    assert listing(scratch) == listing(pool.device("a"))
    assert pool.files.at_rest() == []


def test_download_and_upload_are_the_same_tree(fspool):
    """Section 3: what comes out goes in."""
    fspool.create("a", mode="0750", owner=12, group=34)
    fill(fspool.device("a"), "everything", full=True)
    data = download(fspool, "a")
    fspool.create("b")
    fspool.upload("b", data)
    assert listing(fspool.device("b"), top=True) == listing(
        fspool.device("a"), top=True)
    info = os.stat(fspool.device("b") + "/sparse")
    assert info.st_blocks * 512 < MIB


def test_download_is_the_same_twice(fspool):
    """An unchanged tree is the same bytes."""
    fspool.create("a")
    fill(fspool.device("a"), "everything", full=True)
    assert download(fspool, "a") == download(fspool, "a")


def test_download_of_revisions(fspool, scratch):
    """Section 3: from a revision, too."""
    fspool.create("a", content="one")
    fspool.cycle("a", "two")
    fspool.pin("a", "w")
    (ident,) = fspool.revisions("a")
    for name in (f"a@{ident}", "a@w"):
        untar(download(fspool, name), scratch)
        assert listing(scratch) == fspool.digest(name)
        destroy(scratch)


def test_download_of_an_empty_item(fspool, scratch):
    """An archive of nothing but the item itself."""
    fspool.create("a", mode="0700")
    untar(download(fspool, "a"), scratch)
    assert os.listdir(scratch) == []


def test_download_leaves_sockets_out(fspool, scratch):
    """tar has none; that is no reason to fail."""
    fspool.create("a", content="one")
    socket.socket(socket.AF_UNIX).bind(fspool.device("a") + "/socket")
    untar(download(fspool, "a"), scratch)
    assert not os.path.lexists(scratch + "/socket")
    assert os.path.exists(scratch + "/data")


@pytest.mark.parametrize("change", ["upload", "revert", "wipe", "delete"])
def test_download_is_stable(fspool, scratch, change):
    """Section 3: a stable image, even while changes go on."""
    fspool.create("a", content="old")
    fspool.pin("a", "w")
    put(fspool.device("a") + "/zz-large", os.urandom(24 * MIB))
    before = fspool.digest("a")
    stream = begin_download(fspool, "a")
    first = stream.recv(1000)
    calls = {"upload": lambda: fspool.cycle("a", "two"),
             "revert": lambda: fspool.revert("a", "w"),
             "wipe": lambda: fspool.vol("a").wipe(0),
             "delete": lambda: fspool.delete(
                 "a", libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)}
    try:
        calls[change]()
    except libvirt.libvirtError as error:
        assert error.get_error_code() == INVALID
    data = first + receive(stream)
    stream.finish()
    untar(data, scratch)
    assert listing(scratch) == before


@pytest.mark.needs("btrfs")
@pytest.mark.parametrize("change", ["upload", "revert", "delete"])
def test_reader_of_a_revision_that_stalls_is_in_nobodys_way(fspool, scratch,
                                                            change):
    """Section 3: a snapshot is read, whatever becomes of the volume."""
    fspool.create("a", content="old", keep=1)
    put(fspool.device("a") + "/zz-large", os.urandom(24 * MIB))
    before = fspool.digest("a")
    fspool.cycle("a", "new")
    name = f"a@{fspool.revisions('a')[0]}"
    stream = begin_download(fspool, name)
    first = stream.recv(1000)
    with apart(fspool) as beside:
        if change == "upload":  # which prunes what is read
            beside.cycle("a", "two")
        elif change == "revert":
            beside.revert("a", beside.revisions("a")[0])
        else:
            beside.delete("a", libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)
    data = first + receive(stream)
    stream.finish()
    untar(data, scratch)
    assert listing(scratch) == before
    wait_for(lambda: fspool.refresh().files.at_rest() == [], what="rest")


def test_aborted_download_leaves_nothing(fspool):
    """No leftovers of a stable image."""
    fspool.create("a")
    put(fspool.device("a") + "/large", os.urandom(24 * MIB))
    with fspool.untouched():
        stream = begin_download(fspool, "a")
        stream.recv(1000)
        abort(stream)
    fspool.cycle("a", "two")
    assert fspool.holds("a", "two")


@pytest.mark.needs("btrfs")
def test_refresh_while_a_download_begins(fspool, holds, scratch):
    """Section 6: a refresh never removes work in progress."""
    fspool.begin().create("a", content="one")
    holds.arm("flock")
    with running(download, fspool, "a") as result:
        try:
            wait_for(lambda: holds.is_held("flock"), what="a snapshot made")
            with apart(fspool) as beside:
                beside.refresh()
        finally:
            holds.release("flock")
    untar(result[0], scratch)
    assert listing(scratch) == fspool.digest("a")
    assert fspool.files.at_rest() == []


def test_download_by_virsh(fspool, tmp_path):
    """Section 1: an unmodified virsh."""
    fspool.create("a", content="one")
    file = tmp_path / "tar"
    fspool.daemon.virsh("vol-download", "a", str(file), "--pool", fspool.name)
    with tarfile.open(file) as tar:
        names = {n.removeprefix("./").rstrip("/") for n in tar.getnames()}
    assert {"data", "link", "sub", "sub/hard", "sub/deeper/file"} <= names


def test_part_of_a_download(fspool):
    """Section 3: refused, or that part of the archive."""
    fspool.create("a", content="one")
    whole = download(fspool, "a")
    try:
        part = download(fspool, "a", offset=512, length=1024)
    except libvirt.libvirtError:
        return
    assert part == whole[512:1536]


@pytest.mark.needs("local")
def test_download_of_a_very_deep_tree(fspool):
    """An error that says so, or an archive; no crash, nothing left."""
    fspool.create("a")
    make_deep(fspool.device("a"), 10000)
    try:
        assert len(download(fspool, "a")) > 10000
    except libvirt.libvirtError:
        pass
    assert fspool.names() == ["a"] and fspool.daemon.conn.isAlive()
    assert fspool.files.at_rest() == []


def test_what_gnu_tar_packs_after_an_upload(fspool, fs):
    """Section 3: the tree is the archive's, to the last attribute."""
    fspool.create("a")
    data = tree_tar(fs.path, "everything", full=True)
    fspool.upload("a", data)
    assert members(tar_of(fspool.device("a"))) == members(data)
