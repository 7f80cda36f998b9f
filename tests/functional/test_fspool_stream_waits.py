# SPDX-License-Identifier: LGPL-2.1-or-later
"""Streams of items while storage is slow: who waits for it (section 9)."""

import contextlib
import os
import subprocess
import sys

import libvirt
import pytest

from fstrees import SMALL, archive, content, member, put
from pools import MIB, running, wait_for
from streams import abort, begin_download, download


# Uploads


@pytest.fixture
def held(fspools, holds):
    """A pool with an item, whose daemon's calls can be held."""
    pool = fspools(name="held").up()
    pool.create("a", content="one")
    pool.calls = holds
    yield pool
    for call in ("pwrite", "pread", "syncfs", "flock", "renameat2"):
        holds.release(call)


def large():
    """An archive of more than is written back at once."""
    return archive(member("large", bytes(96 * MIB)))


@pytest.mark.needs("few", "local")
def test_daemon_answers_while_an_upload_waits_for_storage(held, daemon):
    """Section 9: what waits keeps no other client waiting."""
    held.calls.arm("pwrite")
    with running(held.upload, "a", large()):
        wait_for(lambda: held.calls.is_held("pwrite"), what="a write held")
        answered = daemon.answers("held")
        held.calls.release("pwrite")
    assert answered and len(content(held, "a", "large")) == 96 * MIB


@pytest.mark.needs("few", "local")
def test_daemon_answers_while_an_upload_is_aborted(held, daemon):
    """Section 9: an abort does not wait for the storage, either."""
    held.calls.arm("pwrite")
    stream = held.upload("a", SMALL, finish=False)
    wait_for(lambda: held.calls.is_held("pwrite"), what="a write held")
    with running(abort, stream):
        answered = daemon.answers("held")
        held.calls.release("pwrite")
    assert answered and held.holds("a", "one")
    assert held.revisions("a") == [] and held.files.at_rest() == []
    held.cycle("a", "two")
    assert held.holds("a", "two")


@pytest.mark.needs("few", "local")
def test_upload_is_written_back_before_its_end(held, daemon):
    """Section 9: what is left for the end, when others wait, is short."""
    held.calls.arm("syncfs")
    with running(lambda: held.upload("a", large(), finish=False)) as result:
        wait_for(lambda: held.calls.is_held("syncfs"), what="a sync held")
        answered = daemon.answers("held")
        held.calls.release("syncfs")
    abort(result[0])
    assert answered


def ended(stream):
    """The end of a stream, whatever its client is told."""
    with contextlib.suppress(libvirt.libvirtError):
        stream.finish()


def finishing(held):
    """An upload of which all has come but the end, which will be held."""
    stream = held.upload("a", SMALL, finish=False)
    held.calls.arm("syncfs")
    return stream


@pytest.mark.needs("few", "local")
def test_daemon_answers_while_an_upload_ends(held, fspools, daemon):
    """Section 9: the end of an upload is waited for by its client alone."""
    fspools(name="other").up()
    with running(finishing(held).finish) as result, held.calls.during("syncfs"):
        assert daemon.answers("other") and not result
        assert daemon.conn.getLibVersion(), "by the same connection"
    assert content(held, "a") == b"content" and held.history("a") == ["one"]


UPLOADER = """
import sys, libvirt
conn = libvirt.open(sys.argv[1])
stream = conn.newStream(0)
pool = conn.storagePoolLookupByName(sys.argv[2])
pool.storageVolLookupByName('a').upload(stream, 0, 0, 0)
stream.send(sys.stdin.buffer.read(int(sys.argv[3])))
sys.stdin.buffer.read()
stream.finish()
"""


def uploader(daemon, pool):
    """A client that has sent all, and ends the upload with its input."""
    client = subprocess.Popen(
        [sys.executable, "-c", UPLOADER, daemon.uri, pool.name,
         str(len(SMALL))], stdin=subprocess.PIPE)
    client.stdin.write(SMALL)
    client.stdin.flush()
    wait_for(pool.files.leftovers, what="an upload")
    return client


@pytest.mark.needs("few", "local")
def test_client_that_dies_while_its_upload_ends(held, daemon):
    """Section 3: what has come to its end counts; the daemon lives on."""
    pid = daemon.pid
    held.calls.arm("syncfs")
    with uploader(daemon, held) as client:
        client.stdin.close()
        with held.calls.during("syncfs"):
            client.kill()
            assert daemon.answers("held")
    wait_for(lambda: held.revisions("a"), what="the upload's end")
    assert content(held, "a") == b"content" and held.history("a") == ["one"]
    assert held.files.at_rest() == [] and daemon.pid == pid


@pytest.mark.needs("few", "local")
def test_daemon_answers_while_a_lost_upload_is_removed(held, daemon):
    """Section 9: what a client leaves that has gone does not wait, either."""
    with uploader(daemon, held) as client:
        held.calls.arm("renameat2")
        client.kill()
        with held.calls.during("renameat2"):
            assert daemon.answers("held")
        client.stdin.close()
    wait_for(lambda: not held.files.leftovers(), what="staging removed")
    assert held.holds("a", "one") and held.revisions("a") == []


@pytest.mark.needs("few", "local")
def test_daemon_that_is_stopped_while_an_upload_ends(held, daemon):
    """Section 6: an orderly end waits for what is under way."""
    sock = os.environ["LIBVIRTD_ROOT"] + "/run/libvirt/libvirt-sock"
    stop = [os.environ["LIBVIRTD_RESTART"], "stop"]
    with running(ended, finishing(held)), running(subprocess.run, stop) as done:
        with held.calls.during("syncfs"):
            wait_for(lambda: not os.path.exists(sock), what="the daemon ends")
    assert done[0].returncode == 0
    daemon.restart()
    held.begin()
    assert content(held, "a") == b"content" and held.history("a") == ["one"]
    assert held.files.at_rest() == []


# Downloads


@pytest.fixture
def waiting(held):
    """A download that will wait for storage."""
    put(held.device("a") + "/large", os.urandom(24 * MIB))
    held.calls.arm("pread")
    return held


@pytest.mark.needs("few", "local")
def test_daemon_answers_while_a_download_waits_for_storage(waiting, daemon):
    """Section 9: what waits keeps no other client waiting."""
    with running(download, waiting, "a") as got, waiting.calls.during("pread"):
        assert daemon.answers("held") and not got
    assert len(got[0]) > 24 * MIB


@pytest.mark.needs("few", "local")
@pytest.mark.parametrize("end", ["finish", "abort"])
def test_daemon_answers_while_a_download_ends(waiting, daemon, end):
    """Section 9: the end of one does not, either."""
    stream = begin_download(waiting, "a")
    wait_for(lambda: waiting.calls.is_held("pread"), what="a read held")
    with running(getattr(stream, end)), waiting.calls.during("pread"):
        assert daemon.answers("held")
    assert waiting.files.at_rest() == []
    waiting.cycle("a", "two")
    assert waiting.holds("a", "two")


@pytest.mark.needs("few", "local")
def test_daemon_answers_while_a_lost_download_ends(waiting, daemon):
    """Section 9: nor that of one whose client has gone."""
    code = ("import sys, libvirt\n"
            "c = libvirt.open(sys.argv[1])\n"
            "v = c.storagePoolLookupByName('held').storageVolLookupByName('a')\n"
            "v.download(c.newStream(0), 0, 0, 0)\n"
            "sys.stdin.read()\n")
    with subprocess.Popen([sys.executable, "-c", code, daemon.uri],
                          stdin=subprocess.PIPE) as client:
        with waiting.calls.during("pread"):
            client.kill()
            assert daemon.answers("held")
    waiting.cycle("a", "two")
    assert waiting.holds("a", "two") and waiting.files.at_rest() == []
