# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many clients at once (design section 9)."""

import os
import threading
import time

import libvirt
import pytest

from pools import INVALID, MIB, pattern, volume_xml, wait_for
from streams import begin_download, receive, upload
from test_held import held


def many(daemon, count, work):
    """Run work(connection, number) in count threads; their errors."""
    errors = []
    barrier = threading.Barrier(count)

    def body(number):
        conn = libvirt.open(daemon.uri)
        try:
            barrier.wait()
            work(conn, number)
        except Exception as error:      # pylint: disable=broad-except
            errors.append(f"{number}: {error!r}")
        finally:
            conn.close()

    threads = [threading.Thread(target=body, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def live_xml(name, size=MIB):
    return volume_xml(name, size)


def test_twenty_clients_clone_one_volume(pool, daemon):
    """Clones from many clients at once."""
    pool.create("a", content="one")

    def work(conn, number):
        virt = conn.storagePoolLookupByName(pool.name)
        for turn in range(5):
            virt.createXMLFrom(volume_xml(f"c{number}-{turn}"),
                               virt.storageVolLookupByName("a"), 0)

    count = pool.few(20)
    assert many(daemon, count, work) == []
    assert len(pool.names()) == 5 * count + 1
    assert all(pool.holds(f"c{n}-4", "one") for n in range(count))


def test_twenty_clients_start_their_volumes(pool, daemon):
    """N10: consumers start while the template is committed (H13)."""
    pool.create("t", content="0")
    count = pool.few(20)
    for number in range(count):
        pool.create(f"v{number}", None, lifecycle="<lifecycle "
                    "snapOnStart='yes' saveOnStop='no' source='t'/>")
    running = [True]

    def commits():
        number = 0
        while running[0]:
            number += 1
            pool.cycle("t", str(number % 7))

    def work(conn, number):
        virt = conn.storagePoolLookupByName(pool.name)
        for _ in range(5):
            head = virt.storageVolLookupByName(f"v{number}")
            live = virt.createXMLFrom(live_xml(f"v{number}@live"), head, 0)
            with open(live.path(), "rb") as file:
                data = file.read()
            assert data in {pattern(str(n)) for n in range(7)}, "torn"
            live.delete(0)

    job = threading.Thread(target=commits)
    job.start()
    try:
        errors = many(daemon, count, work)
    finally:
        running[0] = False
        job.join()
    assert errors == []


def test_refresh_while_twenty_clients_work(pool, daemon):
    """A pool refresh meanwhile: no error, nothing lost."""
    count = pool.few(20)
    for number in range(count):
        pool.create(f"v{number}", content="0")
    running = [True]
    failures = []

    def refreshes():
        while running[0]:
            try:
                pool.refresh()
            except libvirt.libvirtError as error:
                failures.append(str(error))
            time.sleep(0.01)

    def work(conn, number):
        virt = conn.storagePoolLookupByName(pool.name)
        name = f"v{number}"
        for turn in range(4):
            head = virt.storageVolLookupByName(name)
            live = virt.createXMLFrom(live_xml(name + "@live"), head, 0)
            with open(live.path(), "r+b") as file:
                file.write(pattern(f"{number}/{turn}"))
            virt.createXMLFrom(live_xml(name), live, 0)

    job = threading.Thread(target=refreshes)
    job.start()
    try:
        errors = many(daemon, count, work)
    finally:
        running[0] = False
        job.join()
    assert errors == [] and failures == []
    for number in range(count):
        assert pool.holds(f"v{number}", f"{number}/3")
        assert len(pool.revisions(f"v{number}")) == 1


def test_one_start_wins(pool, daemon):
    """Section 3: each volume has a lock, exclusive for its own changes."""
    pool.create("a", content="one")
    won = []

    def work(conn, number):
        virt = conn.storagePoolLookupByName(pool.name)
        try:
            virt.createXMLFrom(live_xml("a@live"),
                               virt.storageVolLookupByName("a"), 0)
            won.append(number)
        except libvirt.libvirtError as error:
            assert error.get_error_code() in (
                libvirt.VIR_ERR_STORAGE_VOL_EXIST, INVALID), error

    assert many(daemon, 20, work) == []
    assert len(won) == 1 and pool.holds("a@live", "one")


def test_one_commit_wins(pool, daemon):
    """Section 3: a live copy is committed once."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    won = []

    def work(conn, number):
        virt = conn.storagePoolLookupByName(pool.name)
        try:
            virt.createXMLFrom(live_xml("a"),
                               virt.storageVolLookupByName("a@live"), 0)
            won.append(number)
        except libvirt.libvirtError:
            pass

    assert many(daemon, 10, work) == []
    assert len(won) == 1
    assert pool.holds("a", "two") and len(pool.revisions("a")) == 1


def test_create_of_one_name(pool, daemon):
    """Exactly one of many clients makes the volume."""
    won = []

    def work(conn, number):
        virt = conn.storagePoolLookupByName(pool.name)
        try:
            virt.createXML(volume_xml("same"), 0)
            won.append(number)
        except libvirt.libvirtError:
            pass

    assert many(daemon, 20, work) == []
    assert len(won) == 1 and pool.names() == ["same"]


def test_delete_while_others_clone(pool, daemon):
    """A source that is being cloned is not pulled away half-way."""
    count = pool.few(10)
    for number in range(count):
        pool.create(f"s{number}", content="src")

    def work(conn, number):
        virt = conn.storagePoolLookupByName(pool.name)
        name = f"s{number // 2}"
        try:
            vol = virt.storageVolLookupByName(name)
            if number % 2:
                vol.delete(0)
            else:
                virt.createXMLFrom(volume_xml(f"c{number}"), vol, 0)
        except libvirt.libvirtError as error:
            assert error.get_error_code() in (
                INVALID, libvirt.VIR_ERR_NO_STORAGE_VOL), error

    assert many(daemon, 2 * count, work) == []
    for name in pool.names():
        assert pool.holds(name, "src"), name
    assert pool.files.at_rest() == []


def test_siblings_with_a_common_prefix(pool, daemon):
    """N09: root and root2, started and stopped at once (H11)."""
    pool.create("root", content="r")
    pool.create("root2", content="s")

    def work(conn, number):
        virt = conn.storagePoolLookupByName(pool.name)
        name = ("root", "root2")[number]
        for _ in range(pool.few(60)):
            live = virt.createXMLFrom(live_xml(name + "@live"),
                                      virt.storageVolLookupByName(name), 0)
            live.delete(0)

    assert many(daemon, 2, work) == []
    assert pool.holds("root", "r") and pool.holds("root2", "s")
    assert pool.files.at_rest() == []


def revert_and_back(pool, turn):
    """Revert, and drop the revision that it makes."""
    del turn
    pool.revert("a", pool.revisions("a")[0])
    pool.delete(f"a@{pool.revisions('a')[-1]}")


def start_and_commit(pool, turn):
    pool.cycle("a", str(turn))


def start_and_discard(pool, turn):
    del turn
    pool.start("a")
    pool.discard("a")


def stage_and_discard(pool, turn):
    del turn
    pool.stage("s", "a")
    pool.discard("a")


def pin_and_delete(pool, turn):
    pool.pin("a", f"w{turn}")
    pool.delete(f"a@w{turn}")


def create_and_delete(pool, turn):
    pool.create(f"c{turn}")
    pool.delete(f"c{turn}")


def clone_and_delete(pool, turn):
    pool.clone("a", f"c{turn}")
    pool.delete(f"c{turn}")


def redefine(pool, turn):
    pool.redefine("a", keep=3 + turn % 2)


def wipe(pool, turn):
    del turn
    pool.vol("a").wipe(0)


def resize(pool, turn):
    pool.vol("a").resize((turn + 2) * MIB, 0)


SHORT = [revert_and_back, start_and_commit, start_and_discard,
         stage_and_discard, pin_and_delete, create_and_delete,
         clone_and_delete, redefine, wipe, resize]


def in_the_background(daemon, pool, work):
    """A thread that does work(virt, turn) until it is told to end, what tells
    it, and its errors."""
    ended, errors = threading.Event(), []

    def body():
        conn = libvirt.open(daemon.uri)
        virt = conn.storagePoolLookupByName(pool.name)
        turn = 0
        try:
            while not ended.is_set():
                turn += 1
                work(virt, turn)
        except libvirt.libvirtError as error:
            errors.append(str(error))
        finally:
            conn.close()

    return threading.Thread(target=body), ended, errors


@pytest.mark.parametrize("operation", SHORT, ids=lambda f: f.__name__)
def test_no_asynchronous_jobs_for_short_operations(pool, daemon, operation):
    """No 'pool has asynchronous jobs running' for what is O(1): neither for a
    refresh meanwhile, nor for the operation."""
    for name in "as":
        pool.create(name, content="one", keep=3)
    pool.cycle("a", "two")
    refreshes = []

    def refresh(virt, turn):
        virt.refresh(0)
        refreshes.append(turn)

    job, ended, errors = in_the_background(daemon, pool, refresh)
    job.start()
    try:
        turn = 0
        while turn < pool.few(20) or len(refreshes) < pool.few(20):
            assert job.is_alive(), errors
            turn += 1
            operation(pool, turn)
    finally:
        ended.set()
        job.join()
    assert errors == []


def test_short_operations_during_a_copy(holds, pool, elsewhere):
    """Section 9: what copies data holds up no other volume of its pool."""
    elsewhere.create("far", content="far")
    for name in "as":
        pool.create(name, content="one", keep=3)
    pool.cycle("a", "two")

    def copy(other):
        virt = other.daemon.conn.storagePoolLookupByName(elsewhere.name)
        other.create_from(virt.storageVolLookupByName("far"), "copy")

    with held(holds, "fsync", pool, copy):
        for turn, operation in enumerate(SHORT, 1):
            operation(pool, turn)
    assert pool.holds("copy", "far")


def test_copies_of_one_volume(pool, elsewhere, daemon):
    """Section 3: who reads a volume keeps nobody else from reading it."""
    pool.create("a", content="one")

    def work(conn, number):
        there = conn.storagePoolLookupByName(elsewhere.name)
        source = conn.storagePoolLookupByName(
            pool.name).storageVolLookupByName("a")
        for turn in range(pool.few(40)):
            there.createXMLFrom(volume_xml(f"c{number}-{turn}"), source,
                                0).delete(0)

    assert many(daemon, pool.few(8), work) == []


def test_copies_in_opposite_directions(pool, elsewhere, daemon):
    """Section 9: nobody waits for two pools in two orders."""
    both = (pool, elsewhere)
    count = pool.few(12)
    for number in range(count):
        both[number % 2].create(f"s{number}", content="one")
    before = [one.names() for one in both]

    def look(here, there):
        for _ in range(pool.few(1500)):
            here.listAllVolumes(0)
            there.info()

    def work(conn, number):
        here, there = (conn.storagePoolLookupByName(both[which].name)
                       for which in (number % 2, 1 - number % 2))
        if number >= 8:
            look(here, there)
            return
        source = here.storageVolLookupByName(f"s{number}")
        for turn in range(pool.few(150)):
            xml = volume_xml(f"c{number}-{turn}")
            there.createXMLFrom(xml, source, 0).delete(0)

    assert many(daemon, count, work) == []
    assert [one.names() for one in both] == before


def test_uploads_and_commits_of_many_volumes(pool, daemon):
    """Streams of many clients at once do not disturb each other."""
    count = pool.few(8)
    for number in range(count):
        pool.create(f"v{number}", content="0")

    def work(conn, number):
        virt = conn.storagePoolLookupByName(pool.name)
        stream = conn.newStream(0)
        vol = virt.storageVolLookupByName(f"v{number}")
        vol.upload(stream, 0, 0, 0)
        data, sent = pattern(f"up{number}"), 0
        while sent < len(data):
            sent += stream.send(data[sent:sent + 100000])
        stream.finish()

    assert many(daemon, count, work) == []
    for number in range(count):
        assert pool.holds(f"v{number}", f"up{number}")
    assert pool.files.at_rest() == []


def test_list_while_everything_changes(pool, daemon):
    """Lists and dumps while volumes come and go: no crash, no bad name."""
    pool.create("a", content="one")

    def work(conn, number):
        virt = conn.storagePoolLookupByName(pool.name)
        for turn in range(pool.few(15)):
            if number % 2:
                for vol in virt.listAllVolumes(0):
                    try:
                        vol.XMLDesc(0)
                        vol.info()
                    except libvirt.libvirtError as error:
                        assert error.get_error_code() == (
                            libvirt.VIR_ERR_NO_STORAGE_VOL), error
            else:
                vol = virt.createXMLFrom(volume_xml(f"c{number}-{turn}"),
                                         virt.storageVolLookupByName("a"), 0)
                vol.delete(0)

    assert many(daemon, 12, work) == []
    assert pool.names() == ["a"]


def test_stable_download_during_uploads(pool):
    """Section 3: a download is stable while the volume is replaced."""
    pool.create("a", 8 * MIB, content="one")
    stream = begin_download(pool, "a")
    first = stream.recv(10)
    try:
        upload(pool, "a", pattern("two", 8 * MIB))
    except libvirt.libvirtError as error:
        assert error.get_error_code() == INVALID
    assert first + receive(stream) == pattern("one", 8 * MIB)
    stream.finish()


@pytest.mark.parametrize("what", ["fds", "threads"])
def test_nothing_leaks(pool, daemon, what):
    """A hundred cycles leave the daemon as it was."""
    folder = {"fds": "fd", "threads": "task"}[what]
    pool.create("a", content="one")

    def count():
        return len(os.listdir(f"/proc/{daemon.pid}/{folder}"))

    for turn in range(3):
        pool.cycle("a", f"warm{turn}")
    before = count()
    for turn in range(pool.few(30)):
        pool.cycle("a", str(turn))
        pool.clone("a", "b")
        pool.delete("b")
        upload(pool, "a", pattern("up"))
    time.sleep(1)
    assert count() <= before + 5


def resident(daemon):
    """The bytes of memory that the daemon has."""
    with open(f"/proc/{daemon.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_rounds_of_create_start_discard_delete(pool, daemon):
    """N09: round after round leaves no file, no descriptor, no memory."""
    def rounds(count):
        for _ in range(count):
            pool.create("a")
            pool.start("a")
            pool.discard("a")
            pool.delete("a")

    def descriptors():
        return len(os.listdir(f"/proc/{daemon.pid}/fd"))

    rounds(pool.few(50))
    assert pool.files.at_rest() == []
    before, memory = descriptors(), resident(daemon)
    rounds(pool.few(500))
    assert pool.files.at_rest() == [] and pool.files.all() == []
    wait_for(lambda: descriptors() <= before + 2, what="files closed")
    assert resident(daemon) - memory < 4 * MIB


@pytest.mark.parametrize("work", ["create", "clone"])
def test_folder_that_is_emptied_during_a_create(pool, holds, work):
    """Section 3: deleting one volume does not fail another."""
    pool.create("d/a")
    pool.create("c", content="one")
    operation = {"create": lambda pool: pool.create("d/b"),
                 "clone": lambda pool: pool.clone("c", "d/b")}[work]
    with held(holds, "fsetxattr", pool, operation):
        pool.delete("d/a")
    assert pool.names() == ["c", "d/b"]
