# SPDX-License-Identifier: LGPL-2.1-or-later
"""vol-upload and vol-download (design section 3)."""

import contextlib
import os
import re
import subprocess
import sys
import time

import libvirt
import pytest

from filesystems import run
from pools import (BLOCK, INVALID, MIB, Pool, pattern, refused, volume_xml,
                   wait_for)
from streams import abort, begin_download, download, receive, upload


def test_upload_replaces_the_content(pool):
    """Section 3: upload A."""
    pool.create("a", content="one")
    upload(pool, "a", pattern("two"))
    assert pool.holds("a", "two")


def test_former_state_becomes_a_revision(pool):
    """Section 3: its former state becomes a revision (L30)."""
    pool.create("a", content="one")
    upload(pool, "a", pattern("two"))
    (ident,) = pool.revisions("a")
    assert pool.holds(f"a@{ident}", "one")


def test_upload_prunes_as_retention_says(pool):
    """Section 2: keep unpinned revisions stay."""
    pool.create("a", content="0", keep=2)
    for number in range(1, 5):
        upload(pool, "a", pattern(str(number)))
    assert [pool.holds(f"a@{i}", t)
            for i, t in zip(pool.revisions("a"), "23")] == [True, True]


def test_head_changes_only_at_finish(pool):
    """Section 3: the head changes once, inside the stream's finish."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    assert pool.holds("a", "one")
    assert pool.revisions("a") == []
    stream.finish()
    assert pool.holds("a", "two")


def test_upload_is_no_live_copy(pool):
    """Section 5: staging is not the live copy."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    assert not pool.dirty("a") and not pool.has("a@live")
    abort(stream)


def test_abort_leaves_the_head(pool):
    """Section 3: an abort leaves the head as it was (L31)."""
    pool.create("a", content="one")
    with pool.untouched():
        abort(upload(pool, "a", pattern("two"), finish=False))
        wait_for(lambda: not pool.files.leftovers(), what="staging removed")
    assert pool.revisions("a") == []


def test_upload_works_after_an_abort(pool):
    """H6: a stale import never blocks."""
    pool.create("a", content="one")
    abort(upload(pool, "a", pattern("two"), finish=False))
    upload(pool, "a", pattern("three"))
    assert pool.holds("a", "three")


def test_disconnect_leaves_the_head(pool, daemon):
    """Section 3: a disconnect leaves the head as it was."""
    pool.create("a", content="one")
    code = ("import sys, libvirt, os\n"
            "c = libvirt.open(sys.argv[1])\n"
            "v = c.storagePoolLookupByName(sys.argv[2])"
            ".storageVolLookupByName('a')\n"
            "s = c.newStream(0)\n"
            "v.upload(s, 0, 0, 0)\n"
            "s.send(b'x' * 200000)\n"
            "os._exit(0)\n")
    subprocess.run([sys.executable, "-c", code, daemon.uri, pool.name],
                   check=True)
    wait_for(lambda: not pool.files.leftovers(), what="staging removed")
    assert pool.holds("a", "one") and pool.revisions("a") == []


def test_dead_daemon_leaves_the_head(pool, daemon):
    """Section 3: a dead daemon leaves the head as it was; no leftovers."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    daemon.kill()
    abort(stream)
    daemon.restart()
    pool.begin()
    assert pool.holds("a", "one") and pool.revisions("a") == []
    assert pool.files.at_rest() == []
    upload(pool, "a", pattern("three"))
    assert pool.holds("a", "three")


def test_offset_and_length(pool):
    """Section 3: offset, length and the size keep their stock meaning."""
    pool.create("a", 4 * MIB, content="one")
    upload(pool, "a", pattern("new"), offset=2 * MIB, length=MIB)
    old = pattern("one", 4 * MIB)
    assert pool.read("a") == old[:2 * MIB] + pattern("new") + old[3 * MIB:]


def test_shorter_upload_keeps_the_size(pool):
    """A plain upload keeps the rest of the image."""
    pool.create("a", 4 * MIB, content="one")
    upload(pool, "a", pattern("new"))
    assert pool.read("a") == pattern("new") + pattern("one", 4 * MIB)[MIB:]
    assert pool.size("a") == 4 * MIB


def test_more_than_length_is_an_error(pool):
    """Stock: no more than length can be sent."""
    pool.create("a", 4 * MIB, content="one")
    with pytest.raises(libvirt.libvirtError):
        upload(pool, "a", pattern("new", 2 * MIB), length=MIB)
    assert pool.holds("a", "one")


def test_offset_beyond_the_end(pool):
    """An offset beyond the end is either an error or a grown head."""
    pool.create("a", content="one")
    try:
        upload(pool, "a", pattern("x", 4096), offset=2 * MIB)
    except libvirt.libvirtError:
        assert pool.holds("a", "one")
        return
    assert pool.read("a")[:MIB] == pattern("one")


def test_empty_upload(pool):
    """Nothing sent, nothing changed in content (G20)."""
    pool.create("a", content="one")
    upload(pool, "a", b"")
    assert pool.holds("a", "one")


def test_sparse_upload_by_virsh(pool, tmp_path):
    """Section 3: sparse streams; holes of the file are holes."""
    pool.create("a", 16 * MIB)
    file = tmp_path / "sparse"
    with open(file, "wb") as out:
        out.truncate(16 * MIB)
        out.seek(8 * MIB)
        out.write(pattern("mid"))
    pool.daemon.virsh("vol-upload", "a", str(file), "--pool", pool.name,
                      "--sparse")
    data = pool.read("a")
    assert data[8 * MIB:9 * MIB] == pattern("mid")
    assert not any(data[:8 * MIB]) and not any(data[9 * MIB:])
    assert pool.files.used(pool.files.head("a")) < 4 * MIB


def test_sparse_upload_sets_the_size(pool, tmp_path):
    """2 MiB that end in a hole, onto 8, leave 2 (stock)."""
    pool.create("a", 8 * MIB, content="one")
    file = tmp_path / "sparse"
    with open(file, "wb") as out:
        out.write(pattern("new"))
        out.truncate(2 * MIB)
    pool.daemon.virsh("vol-upload", "a", str(file), "--pool", pool.name,
                      "--sparse")
    assert pool.read("a")[:MIB] == pattern("new")
    assert pool.size("a") == 2 * MIB
    assert pool.files.size(pool.files.head("a")) == 2 * MIB


def test_plain_upload_by_virsh(pool, tmp_path):
    """Section 1: an unmodified virsh."""
    pool.create("a", content="one")
    file = tmp_path / "plain"
    file.write_bytes(pattern("two"))
    pool.daemon.virsh("vol-upload", "a", str(file), "--pool", pool.name)
    assert pool.holds("a", "two")
    assert len(pool.revisions("a")) == 1


def test_refused_while_dirty(pool):
    """Section 3: refused while dirty (G19)."""
    pool.create("a", content="one")
    pool.start("a")
    with pool.refuses(INVALID):
        upload(pool, "a", pattern("two"))


def test_finish_is_refused_when_the_volume_changed(pool):
    """Section 3: refused when at finish the volume has changed."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    try:
        pool.cycle("a", "three")
    except libvirt.libvirtError:
        # As good: the other operation is the one that is refused.
        stream.finish()
        assert pool.holds("a", "two")
        return
    with refused():
        stream.finish()
    assert pool.holds("a", "three")


def test_finish_is_refused_when_a_machine_wrote_to_the_head(pool):
    """Section 3: also when a machine used the head directly, and is gone."""
    pool.create("a", content="one", keep=0)
    stream = upload(pool, "a", pattern("two", BLOCK), 2 * BLOCK, BLOCK,
                    finish=False)
    run("qemu-io", "-f", "raw", "-c", f"write -q -P 0x5a 0 {BLOCK}",
        pool.device("a"))
    with refused(INVALID, match="changed"):
        stream.finish()
    assert pool.read("a") == b"\x5a" * BLOCK + pattern("one")[BLOCK:]


def test_redefine_during_an_upload_is_no_change(pool):
    """Section 3: the content is what must not have changed."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    pool.redefine("a", keep=5)
    stream.finish()
    assert pool.holds("a", "two")


def test_start_during_an_upload_is_consistent(pool):
    """Section 3: either the start or the finish is refused."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    try:
        pool.start("a")
    except libvirt.libvirtError as error:
        assert error.get_error_code() == INVALID
        stream.finish()
        assert pool.holds("a", "two")
        return
    with refused():
        stream.finish()
    assert pool.holds("a", "one") and pool.dirty("a")


def test_delete_during_an_upload_is_consistent(pool):
    """Section 3: what a stream uses is not deleted."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    with refused(INVALID):
        pool.delete("a")
    stream.finish()
    assert pool.holds("a", "two")


def test_second_upload_is_refused_meanwhile(pool):
    """Section 3: a stream uses the volume."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    with refused(INVALID):
        upload(pool, "a", pattern("three"))
    stream.finish()
    assert pool.holds("a", "two")


def test_refresh_during_an_upload(pool):
    """Section 6: a refresh never removes work in progress."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    pool.refresh()
    pool.refresh()
    stream.finish()
    assert pool.holds("a", "two")


def test_pool_stop_during_an_upload(pool):
    """Nothing holds the pool while a stream runs."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    try:
        pool.virt.destroy()
    except libvirt.libvirtError:
        stream.finish()
        assert pool.holds("a", "two")
        return
    try:
        stream.finish()
    except libvirt.libvirtError:
        pass
    pool.virt.create(0)
    assert pool.holds("a", "one") or pool.holds("a", "two")
    assert pool.files.at_rest() == []


def test_upload_to_the_live_copy_writes_in_place(pool):
    """Section 3: upload to A@live writes in place."""
    pool.create("a", content="one")
    pool.start("a")
    place = pool.files.live("a")
    before = pool.files.identity(place)
    upload(pool, "a@live", pattern("two"))
    assert pool.files.identity(place) == before
    assert pool.holds("a@live", "two") and pool.holds("a", "one")
    pool.commit("a")
    assert pool.holds("a", "two")


def test_upload_without_space_reports_the_error(pools, small):
    """Section 3: finish reports every write error."""
    pool = pools(small).up()
    pool.create("a", content="one")
    pool.create("big", 600 * MIB)
    block = pattern("fill", 8 * MIB)
    with refused():
        upload(pool, "big", block * 70)
    wait_for(lambda: not pool.files.leftovers(), what="staging removed")
    assert pool.blank("big") and pool.revisions("big") == []
    assert pool.holds("a", "one")
    upload(pool, "a", pattern("two"))
    assert pool.holds("a", "two")


def test_upload_without_space_names_the_volume(pools, small):
    """Whichever call meets the error: the number of an open file says
    nothing to anybody."""
    pool = pools(small).up()
    pool.create("big", 600 * MIB)
    for _ in range(3):
        with refused(match=f"'big' in pool '{pool.name}': No space left"):
            upload(pool, "big", pattern("fill", 8 * MIB) * 70)


def test_last_write_error_is_reported(pools, small):
    """Stock loses the last one, for every end of space."""
    pool = pools(small).up()
    pool.create("a", 64 * MIB)
    fill = small + "/fill"
    data = pattern("tail", 4 * MIB)
    with open(fill, "wb") as file:
        free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
        os.posix_fallocate(file.fileno(), 0, free - 3 * MIB)
    try:
        upload(pool, "a", data)
    except libvirt.libvirtError:
        assert pool.blank("a")
    else:
        assert pool.read("a")[:4 * MIB] == data
    os.unlink(fill)
    pool.refresh()
    assert pool.files.at_rest() == []


def test_upload_keeps_the_permissions(pool):
    """Section 5: a switch carries owner and mode over."""
    pool.create("a", target="<permissions><mode>0640</mode><owner>12</owner>"
                            "<group>34</group></permissions>")
    upload(pool, "a", pattern("two"))
    info = os.stat(pool.files.head("a"))
    assert (info.st_mode & 0o777, info.st_uid, info.st_gid) == (0o640, 12, 34)


def test_upload_never_guesses_a_format(pool):
    """Section 5: a raw volume stays raw, whatever is uploaded."""
    pool.create("q", 2 * MIB, fmt="qcow2")
    image = pool.read("q")
    pool.create("a", 4 * MIB)
    upload(pool, "a", image)
    pool.refresh()
    assert pool.dump("a").find("target/format").get("type") == "raw"
    assert pool.size("a") == 4 * MIB


@pytest.mark.parametrize("data", [b"A" * MIB, b"QFI\xfb\0\0\0\x09", b""],
                         ids=["text", "version", "empty"])
def test_upload_of_no_qcow2_image_is_refused(pool, data):
    """Section 5: an image has the format that is recorded."""
    pool.create("q", 2 * MIB, fmt="qcow2")
    with pool.refuses(INVALID, match="'q'.*qcow2"):
        upload(pool, "q", data or bytes(65536))
    assert pool.size("q") == 2 * MIB and pool.revisions("q") == []


def test_size_of_what_is_no_qcow2_image(pool):
    """Section 5: nothing is read from a header that is none."""
    pool.create("q", 2 * MIB, fmt="qcow2")
    pool.write("q", b"A" * 65536)
    before = len(pool.daemon.log())
    pool.refresh()
    assert pool.size("q") == pool.files.size(pool.files.head("q"))
    assert re.search(f"q.img.*{pool.name}", pool.daemon.log()[before:])


# Downloads


def test_download(pool):
    """Section 3: download."""
    pool.create("a", content="one")
    assert download(pool, "a") == pattern("one")


def test_download_offset_and_length(pool):
    """Stock meaning of offset and length."""
    pool.create("a", 4 * MIB, content="one")
    got = download(pool, "a", offset=MIB + 5, length=1000)
    assert got == pattern("one", 4 * MIB)[MIB + 5:MIB + 1005]


def test_download_of_every_kind(pool):
    """Section 8.0: download from a revision works with stock tools."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.pin("a", "w")
    pool.start("a")
    pool.write("a@live", pattern("three"))
    (ident,) = pool.revisions("a")
    assert download(pool, f"a@{ident}") == pattern("one")
    assert download(pool, "a@w") == pattern("two")
    assert download(pool, "a@live") == pattern("three")


def test_download_is_stable_over_commits(pool):
    """Section 3: a stable image, even while commits go on."""
    size = 16 * MIB
    pool.create("a", size, content="one")
    stream = begin_download(pool, "a")
    head = stream.recv(100000)
    for tag in ("two", "three", "four"):
        pool.cycle("a", tag)
    rest = receive(stream)
    stream.finish()
    assert head + rest == pattern("one", size)


def test_download_is_stable_over_a_revert(pool):
    """N02: a revert during an export (H1): the export goes on, and the revert
    is done or refused; nothing is lost either way."""
    size = 16 * MIB
    pool.create("a", size, content="one", keep=3)
    pool.cycle("a", "two")
    (first,) = pool.revisions("a")
    stream = begin_download(pool, "a")
    start = stream.recv(100000)
    try:
        pool.revert("a", first)
    except libvirt.libvirtError as error:
        assert error.get_error_code() == INVALID, error
        expected = {"a": "two", f"a@{first}": "one"}
    else:
        last = pool.revisions("a")[-1]
        expected = {"a": "one", f"a@{first}": "one", f"a@{last}": "two"}
    rest = receive(stream)
    stream.finish()
    assert start + rest == pattern("two", size)
    assert [n for n, t in expected.items() if not pool.holds(n, t)] == []
    assert pool.names() == sorted(expected)


def test_download_of_dirty_volume_is_the_committed_state(pool):
    """Qubes 1.2: an export while running yields the pre-start state."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    assert download(pool, "a") == pattern("one")


def test_download_of_the_live_copy_is_stable(pool):
    """Section 3: a stable image."""
    size = 32 * MIB
    pool.create("a", size, content="one")
    pool.start("a")
    stream = begin_download(pool, "a@live")
    first = stream.recv(1000)
    pool.write("a@live", pattern("two", size))
    rest = receive(stream)
    stream.finish()
    assert first + rest == pattern("one", size)


def test_sparse_download_by_virsh(pool, tmp_path):
    """Section 3: sparse streams supported."""
    pool.create("a", 64 * MIB)
    pool.write("a", pattern("x"), 32 * MIB)
    file = tmp_path / "out"
    pool.daemon.virsh("vol-download", "a", str(file), "--pool", pool.name,
                      "--sparse")
    assert file.read_bytes() == pool.read("a")
    assert os.stat(file).st_blocks * 512 <= 2 * MIB


def test_aborted_download_leaves_nothing(pool):
    """No leftovers of a stable image."""
    pool.create("a", 16 * MIB, content="one")
    with pool.untouched():
        stream = begin_download(pool, "a")
        stream.recv(1000)
        abort(stream)
        time.sleep(0.2)
    pool.cycle("a", "two")
    assert pool.holds("a", "two")


def test_stream_close_on_stopped_pool(pool):
    """A stream's close does not revive a stopped pool."""
    pool.create("a", 16 * MIB, content="one")
    stream = begin_download(pool, "a")
    stream.recv(1000)
    try:
        pool.virt.destroy()
    except libvirt.libvirtError:
        abort(stream)
        return
    abort(stream)
    time.sleep(0.3)
    assert not pool.virt.isActive()
    pool.virt.create(0)
    assert pool.names() == ["a"]


def test_copy_while_target_is_downloaded(pools):
    """Two pools: a download from one, a copy to the other."""
    one, two = pools().up(), pools().up()
    one.create("a", 8 * MIB, content="one")
    stream = begin_download(one, "a")
    Pool.create_from(two, one.vol("a"), "b", xml=volume_xml("b", 8 * MIB))
    assert receive(stream) == pattern("one", 8 * MIB)
    stream.finish()
    assert two.holds("b", "one")


WATCHER = """
import sys, libvirt
libvirt.virEventRegisterDefaultImpl()
conn = libvirt.open(sys.argv[1])
pool = conn.storagePoolLookupByName(sys.argv[2])


def tell(conn, pool, opaque):
    xml = pool.storageVolLookupByName('a').XMLDesc(0)
    generation = xml.partition("generation='")[2].partition("'")[0]
    print(generation, pool.info()[2], flush=True)


conn.storagePoolEventRegisterAny(pool,
    libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH, tell, None)
print('watching', flush=True)
while True:
    libvirt.virEventRunDefaultImpl()
"""


@contextlib.contextmanager
def refresh_events(pool, tmp_path):
    """A function for the refresh events so far, each with what a client sees
    when it comes: (generation of a, the pool's allocation)."""
    output = tmp_path / "events"

    def lines():
        return output.read_text().splitlines()

    with open(output, "w", encoding="ascii") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", WATCHER, pool.daemon.uri, pool.name],
            stdout=file)
    try:
        wait_for(lines, what="the watcher")
        yield lambda: [tuple(map(int, line.split())) for line in lines()[1:]]
    finally:
        process.kill()
        process.wait()


def test_upload_ends_with_an_event(pool, tmp_path):
    """Stock: a refresh event tells clients, once all of it is done."""
    pool.create("a", 16 * MIB)
    with refresh_events(pool, tmp_path) as events:
        upload(pool, "a", pattern("two", 16 * MIB))
        wait_for(events, what="the event")
        assert events() == [(2, pool.virt.info()[2])]


def written_out(pool, name):
    """What a live copy takes, none of it still on its way: Btrfs counts what
    is used with its transactions, not with each fsync."""
    os.sync()
    return pool.files.used(pool.files.live(name))


def test_upload_in_place_ends_with_an_event(pool, tmp_path):
    """Stock: so it is with a live copy, and the pool's sizes are new."""
    pool.create("a", 16 * MIB)
    pool.start("a")
    os.sync()
    pool.refresh()
    before = pool.virt.info()[2]
    with refresh_events(pool, tmp_path) as events:
        stream = upload(pool, "a@live", os.urandom(16 * MIB), finish=False)
        wait_for(lambda: written_out(pool, "a") >= 8 * MIB)
        stream.finish()
        wait_for(events, what="the event")
        (generation, used), = events()
        assert generation == 1 and used - before >= 8 * MIB


def test_upload_that_fails_is_no_event(pool, tmp_path):
    """Nothing has changed then."""
    pool.create("a", content="one")
    with refresh_events(pool, tmp_path) as events:
        abort(upload(pool, "a", pattern("two"), finish=False))
        stream = upload(pool, "a", pattern("two"), finish=False)
        pool.cycle("a", "three")
        with refused(INVALID):
            stream.finish()
        pool.refresh()
        wait_for(events, what="the event of the refresh")
        assert [generation for generation, _ in events()] == [2]
