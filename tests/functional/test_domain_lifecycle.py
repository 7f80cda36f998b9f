# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live copies that start and stop with their domains (design section 8).

The domains have no system to boot: what a guest would write, the test does.
"""

import contextlib
import os
import pathlib
import signal
import threading
import time
import types

import libvirt
import pytest

from domains import (disk, disk_on, domains, emulator_of, mark, owner,
                     state_file)
from pools import (INVALID, MIB, VOLATILE, pattern, refused, snapshot_of,
                   wait_for)
from preload import preloaded


pytestmark = pytest.mark.usually_once


@pytest.fixture
def domain(daemon, pool):
    """Makes a domain with volumes of the pool as disks."""
    with domains(daemon) as new:
        def make(*volumes, devices="", **options):
            return new([disk_on(pool, volume, f"vd{chr(ord('a') + number)}")
                        for number, volume in enumerate(volumes)] + [devices],
                       **options)
        yield make


def test_start_makes_and_stop_commits(pool, domain):
    """Persistent: what was written becomes the head."""
    pool.create("a", content="one")
    vm = domain("a@live").start()
    assert owner(pool) == (vm.uuid, "started")
    pool.write("a@live", pattern("two"))
    vm.stop()
    assert not pool.dirty("a") and pool.holds("a", "two")
    assert pool.holds(f"a@{pool.revisions('a')[0]}", "one")


def test_snapshot_and_volatile_volumes_start_afresh(pool, domain):
    """A root, and swap: each run begins with the source's state, or none."""
    pool.create("base", content="one")
    pool.create("root", None, lifecycle=snapshot_of("base"))
    pool.create("swap", lifecycle=VOLATILE)
    for _ in range(2):
        vm = domain("root@live", "swap@live").start()
        assert pool.holds("root@live", "one")
        assert not any(pool.read("swap@live"))
        for name in ("root", "swap"):
            pool.write(name + "@live", pattern("written"))
        vm.stop()
        assert not pool.has("root@live") and not pool.has("swap@live")
    assert pool.holds("base", "one")


def test_live_copy_of_persistent_volume_is_continued(pool, domain):
    """What is there holds what somebody has not lost yet."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("before"))
    vm = domain("a@live").start()
    assert pool.holds("a@live", "before")
    vm.stop()
    assert pool.holds("a", "before")


def test_leftover_of_snapshot_volume_is_replaced(pool, domain):
    pool.create("base", content="one")
    pool.create("root", None, lifecycle=snapshot_of("base"))
    pool.start("root")
    pool.write("root@live", pattern("leftover"))
    domain("root@live").start()
    assert pool.holds("root@live", "one")


def test_live_copy_of_another_domain_is_refused(pool, domain):
    pool.create("a", content="one")
    first = domain("a@live").start()
    pool.write("a@live", pattern("two"))
    with refused(INVALID, match=first.uuid):
        domain("a@live").start()
    assert owner(pool) == (first.uuid, "started")
    assert pool.holds("a@live", "two")
    first.stop()
    assert pool.holds("a", "two")


def test_failed_prepare_is_undone(pool, domain):
    """What this start made goes; what was there before stays."""
    pool.create("a", content="a")
    pool.create("b", content="b")
    pool.start("b")
    pool.write("b@live", pattern("before"))
    with refused(libvirt.VIR_ERR_NO_STORAGE_VOL):
        domain("a@live", "b@live", "none@live").start()
    assert not pool.dirty("a")
    assert pool.holds("b@live", "before") and owner(pool, "b") is None


def test_domain_that_never_started_is_undone(pool, domain):
    """The emulator fails, after the live copies were made."""
    pool.create("a", content="a")
    pool.create("b", content="b")
    pool.start("b")
    pool.write("b@live", pattern("before"))
    with refused():
        domain("a@live", "b@live", boot="<kernel>/nowhere</kernel>").start()
    assert not pool.dirty("a") and pool.revisions("b") == []
    assert pool.holds("b@live", "before") and owner(pool, "b") is None


def test_saved_domain_goes_on_with_its_live_copy(pool, domain, tmp_path):
    """Save and restore: neither committed nor made anew."""
    pool.create("base", content="one")
    pool.create("root", None, lifecycle=snapshot_of("base"))
    vm = domain("root@live").start()
    pool.write("root@live", pattern("two"))
    vm.virt().save(str(tmp_path / "saved"))
    assert owner(pool, "root") == (vm.uuid, "saved")
    with refused(INVALID, match=vm.uuid):
        domain("root@live").start()
    vm.daemon.conn.restore(str(tmp_path / "saved"))
    assert owner(pool, "root") == (vm.uuid, "started")
    assert pool.holds("root@live", "two")
    vm.stop()
    assert not pool.has("root@live")


def test_restore_that_fails_keeps_the_live_copy(pool, domain, tmp_path):
    """It is what the memory in the file goes with: the next restore finds it,
    also where the mark was lost with a daemon that was killed."""
    pool.create("base", content="one")
    pool.create("root", None, lifecycle=snapshot_of("base"))
    vm = domain("root@live").start()
    vm.virt().save(str(tmp_path / "saved"))
    pool.write("root@live", pattern("two"))
    mark(pool, "root", vm.uuid, "started")
    vm.daemon.conn.restore(str(tmp_path / "saved"))
    assert pool.holds("root@live", "two")
    assert owner(pool, "root") == (vm.uuid, "started")


@pytest.fixture
def emulator(tmp_path):
    """One that hangs while it should load memory, until told otherwise."""
    hangs = tmp_path / "hangs"
    program = tmp_path / "emulator"
    program.write_text(f"""#!/bin/sh
case "$*" in *-incoming*) [ ! -e {hangs} ] || exec sleep 600;; esac
exec /usr/bin/qemu-system-x86_64 "$@"
""")
    program.chmod(0o755)
    hangs.touch()
    return types.SimpleNamespace(
        xml=f"<emulator>{program}</emulator>", goes_on=hangs.unlink)


def program_of(vm):
    """What its emulator is just now."""
    with contextlib.suppress(FileNotFoundError, ValueError), \
            open(f"/proc/{emulator_of(vm.name)}/comm", encoding="ascii") as file:
        return file.read()
    return None


def test_restore_that_is_cut_keeps_the_live_copy(pool, domain, daemon,
                                                 emulator):
    """Its memory is still in the file, and goes with just this copy: neither
    a crash of the emulator nor of the daemon ends what never went on."""
    pool.create("base", content="one")
    pool.create("root", None, lifecycle=snapshot_of("base"))
    pool.create("data", content="one")
    pool.virt.setAutostart(1)
    vm = domain("root@live", "data@live", devices=emulator.xml).define()
    vm.virt().create()
    for name in ("root", "data"):
        pool.write(name + "@live", pattern("two"))
    vm.virt().managedSave()
    thread = threading.Thread(target=vm.try_to_start_defined)
    thread.start()
    wait_for(lambda: program_of(vm) == "sleep\n", 20, "it loads the memory")
    daemon.kill()
    vm.kill_emulator()
    thread.join()
    daemon.restart()
    wait_for(lambda: not vm.runs(), 60, "the domain is off")
    for name in ("root", "data"):
        wait_for(lambda: owner(pool, name) == (vm.uuid, "saved"), 20,
                 "it is kept")
        assert pool.holds(name + "@live", "two")
    emulator.goes_on()
    vm.virt().create()
    for name in ("root", "data"):
        assert pool.holds(name + "@live", "two")
        assert owner(pool, name) == (vm.uuid, "started")
    vm.stop()
    assert not pool.has("root@live") and pool.holds("data", "two")


def test_plugged_in_live_copy_of_a_saved_domain(pool, domain):
    """The memory goes with it as with those that the start has made."""
    pool.create("swap", lifecycle=VOLATILE)
    pool.start("swap")
    vm = domain().define()
    vm.virt().create()
    vm.virt().attachDevice(disk_on(pool, "swap@live", "sda", bus="usb"))
    pool.write("swap@live", pattern("two"))
    vm.virt().managedSave()
    assert owner(pool, "swap") == (vm.uuid, "saved")
    vm.virt().create()
    assert pool.holds("swap@live", "two")


def test_transient_disk_leaves_nothing(pool, domain):
    """What is written to it goes to an overlay, which ends with the domain."""
    pool.create("a", content="one")
    transient = disk(f"file='{pool.files.live('a')}'", kind="file").replace(
        "</disk>", "<transient/></disk>")
    for _ in range(2):
        vm = domain(devices=transient).start()
        assert owner(pool) == (vm.uuid, "started")
        vm.stop()
        assert not pool.dirty("a") and pool.revisions("a") == []
    assert pool.holds("a", "one")


def test_read_only_disk_does_not_drive(pool, domain):
    """Who cannot write has nothing to commit."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    reader = disk_on(pool, "a@live", readonly=True)
    domain(devices=reader).start().stop()
    assert pool.dirty("a") and pool.holds("a", "one") and owner(pool) is None


def test_import_is_not_replaced(pool, domain):
    """A snapshot volume's, which waits for its commit."""
    pool.create("base", content="one")
    pool.create("other", content="other")
    pool.create("root", None, lifecycle=snapshot_of("base"))
    pool.stage("other", "root")
    with refused(INVALID, match="imported"):
        domain("root@live").start()
    assert pool.holds("root@live", "other")


def test_snapshot_below_survives_a_pool_start(pool, snapshot):
    """It is marked as what a saved domain goes on with."""
    vm = snapshot
    vm.stop()
    assert owner(pool) == (vm.uuid, "saved")


def test_internal_snapshot_is_kept(pool, domain):
    """Going back to it stops the domain, and starts it with the same copy."""
    pool.create("root", fmt="qcow2", lifecycle=VOLATILE)
    vm = domain(devices=disk_on(pool, "root@live", fmt="qcow2"))
    virt = vm.define().virt()
    virt.create()
    snapshot = virt.snapshotCreateXML("<domainsnapshot/>", 0)
    virt.revertToSnapshot(snapshot, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_FORCE)
    assert vm.alive() and owner(pool, "root") == (vm.uuid, "started")
    snapshot.delete(0)


def test_managed_save(pool, domain):
    pool.create("a", content="one")
    vm = domain("a@live").define()
    vm.virt().create()
    pool.write("a@live", pattern("two"))
    vm.virt().managedSave()
    assert owner(pool) == (vm.uuid, "saved")
    vm.virt().create()
    assert pool.holds("a@live", "two")
    vm.stop()
    assert pool.holds("a", "two") and len(pool.revisions("a")) == 1


def test_shut_down_while_no_daemon_ended_it(pool, domain, daemon):
    """The daemon was killed after it had recorded that: it is no crash."""
    pool.create("a", content="one", lifecycle=(
        "<lifecycle saveOnStop='yes' onCrash='discard'/>"))
    pool.virt.setAutostart(1)
    vm = domain("a@live").start()
    pool.write("a@live", pattern("two"))
    emulator = emulator_of(vm.name)
    daemon.kill()
    recorded = pathlib.Path(state_file(vm.name, "xml"))
    recorded.write_text(recorded.read_text(encoding="utf-8").replace(
        "<domstatus state='running' reason='booted'",
        "<domstatus state='shutdown' reason='user'"),
        encoding="utf-8")
    os.kill(emulator, signal.SIGKILL)
    daemon.restart()
    wait_for(lambda: not vm.runs(), 20, "the domain is over")
    wait_for(lambda: not pool.dirty("a"), 20, "what it wrote is committed")
    assert pool.holds("a", "two")


@pytest.mark.parametrize("what", [None, "commit", "discard", "keep"])
def test_crash(pool, domain, what):
    """onCrash: committed, unless the volume says otherwise."""
    pool.create("a", content="one", lifecycle=(
        f"<lifecycle saveOnStop='yes' onCrash='{what}'/>" if what else ""))
    vm = domain("a@live").start()
    pool.write("a@live", pattern("two"))
    vm.kill()
    assert pool.dirty("a") == (what == "keep")
    assert pool.holds("a", "one" if what in ("keep", "discard") else "two")
    if what == "keep":
        assert pool.holds("a@live", "two") and owner(pool) is None


def test_daemon_that_starts_anew_changes_nothing(pool, domain, daemon):
    """Under a domain that runs; also when it was killed."""
    pool.create("a", content="one")
    vm = domain("a@live").start()
    pool.write("a@live", pattern("two"))
    daemon.restart()
    pool.begin()
    assert vm.runs() and owner(pool) == (vm.uuid, "started")
    vm.stop()
    assert pool.holds("a", "two")


def test_live_copy_by_its_path(pool, domain):
    """As libxl and LXC name it."""
    pool.create("a", content="one")
    path = pool.files.live("a")
    vm = domain(devices=disk(f"dev='{path}'", kind="block")
                if path.startswith("/dev/") else
                disk(f"file='{path}'", kind="file"))
    vm.start()
    assert owner(pool) == (vm.uuid, "started")
    pool.write("a@live", pattern("two"))
    vm.stop()
    assert pool.holds("a", "two")


@pytest.fixture
def snapshot(pool, domain, tmp_path):
    """A domain with an overlay on its live copy."""
    pool.create("a", content="one")
    vm = domain("a@live").start()
    vm.virt().snapshotCreateXML(
        "<domainsnapshot><disks><disk name='vda' snapshot='external'>"
        f"<source file='{tmp_path}/overlay'/></disk></disks>"
        "</domainsnapshot>", libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
        | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA)
    return vm


def test_external_snapshot_keeps_the_live_copy(pool, snapshot):
    """The live copy is not the top image any more: it is left dirty."""
    vm = snapshot
    vm.stop()
    assert pool.dirty("a") and pool.holds("a@live", "one")
    assert f"a snapshot of domain '{vm.name}' lies on it" in vm.daemon.log()


def test_snapshot_that_was_brought_down(pool, snapshot):
    """The live copy is the top image again, and is committed."""
    vm = snapshot
    pool.write("a@live", pattern("two"))
    vm.virt().blockCommit("vda", None, None, 0,
                          libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE)
    wait_for(lambda: vm.virt().blockJobInfo("vda").get("cur") ==
             vm.virt().blockJobInfo("vda").get("end"), 60, "it is ready")
    vm.virt().blockJobAbort("vda", libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
    vm.stop()
    assert not pool.dirty("a") and pool.holds("a", "two")


def test_heads_and_other_disks_are_left_alone(pool, domain):
    pool.create("a", content="one")
    pool.create("b", content="b")
    pool.start("b")
    vm = domain("a").start()
    vm.stop()
    assert not pool.dirty("a") and pool.revisions("a") == []
    assert pool.dirty("b") and owner(pool, "b") is None


def test_domain_whose_volume_is_changed_by_hand(pool, domain):
    """Committed by the administrator while the domain was saved: it starts
    with the head then."""
    pool.create("a", content="one")
    vm = domain("a@live").define()
    vm.virt().create()
    vm.virt().managedSave()
    pool.write("a@live", pattern("two"))
    pool.commit("a")
    assert pool.holds("a", "two") and owner_is_free(pool)


def owner_is_free(pool):
    """No mark is carried over into a head."""
    return pool.dump("a").find("domain") is None


def test_domain_that_writes_nothing_leaves_no_revision(pool, domain):
    """Nor a live copy."""
    pool.create("a", content="one")
    domain("a@live").start().stop()
    assert not pool.dirty("a") and pool.revisions("a") == []


def test_autostart_at_boot(pool, domain, daemon):
    """The pool first, then the domain, whose live copy is made meanwhile."""
    pool.create("a", content="one")
    vm = domain("a@live").define()
    vm.virt().setAutostart(1)
    pool.virt.setAutostart(1)
    pool.virt.destroy()
    os.unlink(os.environ["LIBVIRTD_ROOT"] + "/run/libvirt/qemu/autostarted")
    daemon.restart_as_after_boot()
    wait_for(vm.alive, 60, "the domain runs")
    assert owner(pool) == (vm.uuid, "started")
    vm.stop()
    assert not pool.dirty("a")


def test_emulator_that_ends_while_no_daemon_runs(pool, domain, daemon):
    """The next daemon finds out, and commits."""
    pool.create("a", content="one")
    pool.virt.setAutostart(1)
    vm = domain("a@live").start()
    pool.write("a@live", pattern("two"))
    daemon.kill()
    vm.kill_emulator()
    daemon.restart()
    wait_for(lambda: not pool.dirty("a"), 60, "it is committed")
    assert pool.holds("a", "two")


def recorded_without_emulator(vm):
    """Whether libvirt has recorded a domain whose emulator does not run yet."""
    with contextlib.suppress(FileNotFoundError), \
            open(state_file(vm.name, "xml"), encoding="ascii") as file:
        return "pid='0'" in file.read()
    return False


def test_daemon_killed_just_before_the_emulator(pool, domain, daemon,
                                                tmp_path):
    """The next daemon ends the domain that libvirt has recorded."""
    pool.create("a", content="a")
    pool.create("b", content="b")
    pool.start("b")
    pool.write("b@live", pattern("before"))
    vm = domain("a@live", "b@live")
    with preloaded(daemon, tmp_path, "slowfork"):
        pool.begin()
        thread = threading.Thread(target=vm.try_to_start)
        thread.start()
        wait_for(lambda: recorded_without_emulator(vm), 20, "a record")
        daemon.kill()
        thread.join()
    pool.begin()
    wait_for(lambda: not pool.dirty("a"), 20, "what was made is gone")
    assert owner(pool, "b") is None and pool.holds("b@live", "before")
    vm.start()


# Seconds from the call on: all of a start, and a little more.
DELAYS = [0.05, 0.1, 0.2, 0.4] + [
    pytest.param(n * 0.03, marks=pytest.mark.long) for n in range(1, 25)]


@pytest.mark.slow
@pytest.mark.parametrize("delay", DELAYS)
def test_daemon_killed_while_a_domain_starts(pool, domain, daemon, delay):
    """Wherever that was: nothing is lost, and the domain starts again."""
    pool.create("a", content="a")
    pool.create("b", content="b")
    pool.start("b")
    pool.write("b@live", pattern("before"))
    vm = domain("a@live", "b@live")
    thread = threading.Thread(target=vm.try_to_start)
    thread.start()
    time.sleep(delay)
    daemon.kill()
    thread.join()
    daemon.restart()
    pool.begin()
    if not vm.runs():
        assert pool.holds("b@live" if pool.dirty("b") else "b", "before")
        vm.start()
    assert owner(pool, "a") == owner(pool, "b") == (vm.uuid, "started")
    vm.stop()
    assert pool.holds("a", "a") and pool.holds("b", "before")
    assert not pool.dirty("a") and not pool.dirty("b")


@pytest.mark.timeout_seconds(300)
def test_thirty_domains_start_at_once(pool, daemon, domain):
    """From one template, which commits meanwhile: none fails."""
    pool.create("base", MIB, content="one")
    # A commit that waits for all of them does so for 30 s at most.
    count = pool.few(30)
    for number in range(count):
        pool.create(f"r{number}", None, lifecycle=snapshot_of("base"))
    domains = [domain(f"r{number}@live") for number in range(count)]
    errors = []

    def start(one):
        try:
            libvirt.open(daemon.uri).createXML(
                one.xml, libvirt.VIR_DOMAIN_START_PAUSED)
        except libvirt.libvirtError as error:
            errors.append(str(error))
    threads = [threading.Thread(target=start, args=(one,)) for one in domains]
    for thread in threads:
        thread.start()
    for _ in range(5):
        pool.cycle("base", "one")
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(pool.holds(f"r{number}@live", "one") for number in range(count))
