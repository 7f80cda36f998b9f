# SPDX-License-Identifier: LGPL-2.1-or-later
"""What others find while an operation is held half-way (design section 9)."""

import contextlib
import os
import signal
import threading
import time

import libvirt
import pytest

from daemon import apart
from pools import (INVALID, MIB, MISSING, pattern, refused, running,
                   snapshot_of, volume_xml, wait_for)
from preload import STEPS
from streams import abort, upload


@contextlib.contextmanager
def held(holds, name, pool, operation):
    """operation(pool) waits in the call of that name; lets it go on."""
    holds.arm(name)
    with apart(pool) as other, running(operation, other):
        with holds.during(name):
            yield lambda: holds.release(name)


def step(pool, name):
    """What does that in a pool of the type."""
    return STEPS[pool.TYPE][name]


@contextlib.contextmanager
def suspended(daemon):
    """The daemon does nothing."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


def export(stock):
    """Copies a live copy into a stock pool."""
    xml = volume_xml("copy.raw", MIB, fmt="raw")

    def copied(pool):
        target = pool.daemon.conn.storagePoolLookupByName(stock.name())
        target.createXMLFrom(xml, pool.vol("a@live"), 0)

    return copied


def discard(pool):
    pool.discard("a")


def deleted_s(pool):
    pool.delete("s")


def started(pool):
    """A volume with a written live copy."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))


def test_commit_of_a_live_copy_that_is_copied_is_refused(holds, pool, stock):
    """Section 3: what would replace something in use is refused."""
    started(pool)
    with held(holds, "fdatasync", pool, export(stock)):
        with pool.refuses(INVALID, match="'a@live'"):
            pool.commit("a")
    pool.commit("a")
    assert pool.holds("a", "two") and "a@live" not in pool.names()


def test_copy_that_begins_during_a_discard_is_refused(holds, pool, stock):
    """Section 6: a definition in use is not freed before the copy has ended;
    and a live copy that was removed is in nobody's way."""
    started(pool)
    told = []

    def refused_export(other):
        with refused(MISSING, match="a@live"):
            export(stock)(other)
        told.append("refused")

    with held(holds, step(pool, "removal"), pool, discard) as go_on:
        with apart(pool) as other, running(refused_export, other):
            time.sleep(0.3)
            go_on()
    assert told == ["refused"] and stock.listVolumes() == []
    assert pool.names() == ["a"]
    pool.start("a")
    assert pool.holds("a@live", "one") and pool.names() == ["a", "a@live"]


def test_volume_is_not_made_to_start_from_one_that_is_deleted(holds, pool):
    """Section 3: the source of a snapshot volume is there."""
    pool.create("a", content="one")
    pool.create("s", content="source")
    redefined = []

    def redefine():
        with refused(MISSING, match="'s'"):
            pool.redefine("a", snapshot_of("s"))
        redefined.append("refused")

    with held(holds, step(pool, "removal"), pool, deleted_s) as go_on:
        with running(redefine):
            time.sleep(0.3)
            go_on()
    assert redefined == ["refused"] and pool.names() == ["a"]
    pool.start("a")
    assert pool.holds("a@live", "one")


def cloned_to_start_from_s(pool):
    """A clone of one volume that starts from another."""
    pool.create("a", content="one")
    xml = volume_xml("b", lifecycle=snapshot_of("s"))
    return lambda other: other.create_from("a", "b", xml=xml)


def copied_to_start_from_s(pool, elsewhere):
    """The same, of another pool's volume."""
    elsewhere.create("a", content="one")
    xml = volume_xml("b", lifecycle=snapshot_of("s"))

    def copy_it(other):
        source = other.daemon.conn.storagePoolLookupByName(elsewhere.name)
        return other.create_from(source.storageVolLookupByName("a"), "b",
                                 xml=xml)

    return copy_it


@pytest.fixture(params=["clone", "copy"])
def made_to_start_from_s(request, pool, elsewhere):
    """What makes a volume 'b' that starts from 's'."""
    if request.param == "clone":
        return cloned_to_start_from_s(pool)
    return copied_to_start_from_s(pool, elsewhere)


def test_delete_spares_what_a_new_volume_is_to_start_from(
        holds, pool, made_to_start_from_s):
    """Section 3: refused while it is another volume's lifecycle source."""
    pool.create("s", content="source")
    outcome = []

    def delete():
        with refused(INVALID):
            pool.delete("s")
        outcome.append("refused")

    with held(holds, step(pool, "making"), pool,
              made_to_start_from_s) as go_on:
        with running(delete):
            time.sleep(0.3)
            go_on()
    assert outcome == ["refused"]
    pool.start("b")
    assert pool.holds("b@live", "source")


def test_volume_is_not_made_to_start_from_one_that_is_being_deleted(
        holds, pool, made_to_start_from_s):
    """Section 3: the source of a new snapshot volume is there."""
    pool.create("s", content="source")
    outcome = []

    def make():
        with refused(MISSING, match="'s'"):
            made_to_start_from_s(pool)
        outcome.append("refused")

    with held(holds, step(pool, "removal"), pool, deleted_s) as go_on:
        with running(make):
            time.sleep(0.3)
            go_on()
    assert outcome == ["refused"] and not pool.has("b")


def test_operation_whose_pool_is_stopped_meanwhile(holds, pool):
    """Section 9: its client is told what has become of it."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    told = []

    def commit(other):
        with refused(INVALID, match="has been done"):
            other.commit("a")
        told.append("done")

    with held(holds, step(pool, "making"), pool, commit):
        pool.virt.destroy()
    assert told == ["done"]
    pool.virt.create()
    assert pool.holds("a", "two") and not pool.dirty("a")


def test_daemon_answers_while_an_upload_ends(holds, pool, stock, daemon):
    """Section 9: the end of an upload is waited for by its client alone."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    holds.arm("fsync")
    with running(stream.finish) as finished, holds.during("fsync"):
        assert daemon.answers(stock.name()) and not finished
        # One call only: a second one at once, a client before 10.0 may not
        # send while another of its threads waits for a reply.
        assert daemon.conn.getLibVersion(), "by the same connection"
    (ident,) = pool.revisions("a")
    assert pool.holds("a", "two") and pool.holds(f"a@{ident}", "one")


def test_upload_that_is_ended_twice(holds, pool, daemon):
    """By two threads of a client: the first does it, and the other is told
    so, unless it comes when nothing is left to be ended."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    holds.arm("fsync")
    before, errors = daemon.pid, []

    def end(how):
        try:
            how()
        except libvirt.libvirtError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=end, args=(how,))
               for how in (stream.finish, stream.abort)]
    with suspended(daemon):         # so that it gets both at once
        for thread in threads:
            thread.start()
            time.sleep(0.3)
    with holds.during("fsync"), apart(pool) as beside:
        assert "a" in beside.names()
    for thread in threads:
        thread.join()
    assert all("being ended already" in error for error in errors)
    wait_for(lambda: pool.revisions("a"), what="the upload has ended")
    assert pool.holds("a", "two")
    assert daemon.pid == before and pool.files.at_rest() == []


def test_daemon_answers_while_an_upload_is_removed(holds, pool, daemon):
    """Section 9: an abort does not wait for the storage, either."""
    pool.create("a", content="one")
    stream = upload(pool, "a", pattern("two"), finish=False)
    removal = step(pool, "removal")
    holds.arm(removal)
    with running(abort, stream), holds.during(removal):
        assert daemon.answers(pool.name)
    assert pool.holds("a", "one") and pool.files.at_rest() == []


SPARSE = libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM


@contextlib.contextmanager
def held_hole(holds, pool):
    """An upload of which a hole is being made."""
    stream = pool.daemon.conn.newStream(0)
    pool.vol("a").upload(stream, 0, 0, SPARSE)
    hole = step(pool, "hole")
    holds.arm(hole)
    stream.sendHole(MIB)
    with holds.during(hole):
        yield stream


@pytest.mark.usually_once
def test_others_go_on_while_a_hole_is_made(holds, pool, daemon):
    """Section 9: a large hole takes long."""
    pool.create("a", 2 * MIB)
    with held_hole(holds, pool) as stream:
        assert daemon.answers(pool.name)
    stream.send(pattern("two"))
    stream.finish()
    assert pool.read("a") == bytes(MIB) + pattern("two")


@pytest.mark.usually_once
@pytest.mark.timeout_seconds(400)
def test_data_waits_at_the_client_while_a_hole_is_made(holds, pool, daemon):
    """Section 9: it is not gathered in the daemon's memory."""
    pool.create("a", 129 * MIB)
    block = pattern("two")

    def send_the_rest(stream):
        for _ in range(128):
            rest = block
            while rest:
                rest = rest[stream.send(rest):]

    with contextlib.ExitStack() as stack:
        with held_hole(holds, pool) as stream:
            before = daemon.resident()
            stack.enter_context(running(send_the_rest, stream))
            time.sleep(2)
            assert daemon.resident() - before < 64 * MIB
    stream.finish()
    assert pool.read("a") == bytes(MIB) + 128 * block


@pytest.mark.usually_once
def test_client_that_leaves_while_a_hole_is_made(holds, pool, daemon):
    """Section 3: a client that goes away has changed nothing."""
    pool.create("a", content="one")
    with apart(pool) as other, held_hole(holds, other):
        other.daemon.drop()
        assert daemon.answers(pool.name)
    wait_for(lambda: pool.files.at_rest() == [], what="the end of the upload")
    assert pool.holds("a", "one")


def create_snapshot_volume(pool):
    pool.create("n", None, lifecycle=snapshot_of("a"))


def begin_upload(pool):
    abort(upload(pool, "a", b"", finish=False))


@pytest.mark.usually_once
@pytest.mark.parametrize("operation", [create_snapshot_volume, begin_upload],
                         ids=lambda f: f.__name__)
def test_pool_is_not_stopped_while_data_is_copied(holds, pools, ext4,
                                                  operation):
    """Section 9: what copies data is a job, by whatever call it was asked."""
    pool = pools(ext4, required="no").up()
    pool.create("a", content="one")
    with held(holds, "pwrite", pool, operation):
        with refused(match="asynchronous jobs"):
            pool.virt.destroy()
    pool.restart()
    assert pool.holds("a", "one") and pool.files.at_rest() == []
