# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes as disks of machines that run for real (design section 8)."""

import hashlib
import os
import xml.etree.ElementTree as ET

import libvirt
import pytest

from domains import disk_on, kill_emulator
from machine import Machine
from pools import (MIB, VOLATILE, pattern, refused, snapshot_of, wait_for)

pytestmark = [pytest.mark.slow, pytest.mark.usually_once,
              pytest.mark.timeout_seconds(600)]

UNSUPPORTED = libvirt.VIR_ERR_CONFIG_UNSUPPORTED
SIZE = 4 * MIB
MODULES = ("virtio_pci", "virtio_blk")


@pytest.fixture
def machine(daemon, tmp_path):
    """Makes a machine with such disks."""
    made = []

    def make(script, *disks):
        vm = Machine(daemon, str(tmp_path), f"vm-{os.getpid()}-{len(made)}",
                     script, "".join(disks), MODULES)
        made.append(vm)
        return vm
    yield make
    for vm in made:
        if vm.alive():
            daemon.conn.lookupByName(vm.name).destroy()


def begins(pool, volume, text):
    """Whether a volume has that at its beginning."""
    with open(pool.device(volume), "rb") as file:
        return file.read(len(text)) == text


def test_machine_writes_to_its_live_copy(pool, machine):
    """By its name; the head is as before until the machine is off."""
    pool.create("a", SIZE, content="one")
    vm = machine("echo -n written >/dev/vda && sync; echo done; sleep 1000",
                 disk_on(pool, "a@live", "vda"))
    domain = vm.start()
    wait_for(lambda: "done\n" in vm.output(), 200, "it has written")
    assert pool.holds("a", "one") and begins(pool, "a@live", b"written")
    domain.destroy()
    assert not pool.dirty("a") and begins(pool, "a", b"written")
    assert pool.holds(f"a@{pool.revisions('a')[0]}", "one")


def test_machine_reads_a_revision(pool, machine):
    """Numbered and pinned ones, read-only."""
    pool.create("a", SIZE, content="one")
    pool.pin("a", "w")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    out = machine("cat /dev/vda /dev/vdb | md5sum; "
                  "echo x >/dev/vda && exit 1; true",
                  disk_on(pool, f"a@{ident}", "vda", readonly=True),
                  disk_on(pool, "a@w", "vdb", readonly=True)).run()
    data = pattern("one", pool.size("a"))
    assert hashlib.md5(data + data).hexdigest() in out
    assert pool.holds(f"a@{ident}", "one") and pool.holds("a@w", "one")


@pytest.mark.parametrize("name", ["number", "word"])
def test_revision_is_no_disk_to_write_to(pool, machine, name):
    """Section 8: refused, with what to do."""
    pool.create("a", SIZE, content="one")
    pool.pin("a", "w")
    pool.cycle("a", "two")
    volume = "a@w" if name == "word" else f"a@{pool.revisions('a')[0]}"
    vm = machine("true", disk_on(pool, volume, "vda"))
    with refused(UNSUPPORTED, match="readonly"):
        vm.start()
    assert not vm.alive() and pool.holds(volume, "one")


def test_machine_on_a_head(pool, machine):
    """It writes to the volume itself."""
    pool.create("a", SIZE, content="one")
    machine("echo -n written >/dev/vda && sync", disk_on(pool, "a", "vda")).run()
    assert begins(pool, "a", b"written") and pool.revisions("a") == []


def test_used_live_copy_is_kept(pool, machine):
    """While a machine runs on it, it is neither committed nor discarded."""
    pool.create("a", SIZE, content="one")
    vm = machine("sleep 1000", disk_on(pool, "a@live", "vda"))
    vm.start()
    wait_for(lambda: "begin\n" in vm.output(), 100, "booted")
    for call in (pool.commit, pool.discard):
        with refused():
            call("a")
    assert vm.alive() and pool.dirty("a")


def test_hot_plug(pool, machine, daemon):
    """A live copy, and a revision, which has to be read-only."""
    pool.create("a", SIZE, content="one")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    pool.start("a")
    vm = machine("until [ -b /dev/vdb ]; do sleep 1; done; echo seen; "
                 "until [ -b /dev/vdc ]; do sleep 1; done; "
                 "dd if=/dev/vdb of=/dev/vdc bs=65536 conv=fsync",
                 disk_on(pool, "a", "vda", readonly=True))
    vm.start()
    wait_for(lambda: "begin\n" in vm.output(), 100, "booted")
    domain = daemon.conn.lookupByName(vm.name)
    with refused(UNSUPPORTED, match="readonly"):
        domain.attachDevice(disk_on(pool, f"a@{ident}", "vdb"))
    domain.attachDevice(disk_on(pool, f"a@{ident}", "vdb", readonly=True))
    # The machine names disks in the order in which it finds them.
    wait_for(lambda: "seen\n" in vm.output(), 100, "it has the first disk")
    domain.attachDevice(disk_on(pool, "a@live", "vdc"))
    wait_for(lambda: not vm.alive(), 200, "the machine is off")
    assert "end 0\n" in vm.output(), vm.output()
    assert pool.holds("a@live", "one") and pool.holds("a", "two")


# A machine as Qubes has them: its root is the template's at every start, its
# private disk is kept, its volatile disk is blank.

APP = r"""
word() { head -c 16 /dev/$1 | tr -d '\0'; }
echo "root=$(word vda) private=$(word vdb) volatile=$(word vdc)"
count=$(word vdb)
count=$((count + 1))
for disk in vda vdb vdc; do echo -n $count >/dev/$disk || exit 1; done
sync
echo written
"""


class Qubes:
    """A template and a machine of it."""

    def __init__(self, pool, machine):
        self.pool, self.machine = pool, machine
        pool.create("debian-root", SIZE)
        pool.write("debian-root", b"one")
        pool.create("work-root", None, lifecycle=snapshot_of("debian-root"))
        pool.create("work-private", SIZE)
        pool.create("work-volatile", SIZE, lifecycle=VOLATILE)

    def update(self, version):
        """Boot the template, which changes its root."""
        self.machine(f"echo -n '{version}' >/dev/vda && sync", disk_on(
            self.pool, "debian-root@live", "vda")).run()

    def app(self, script=APP):
        """The machine, which tells what it found and writes to all disks."""
        return self.machine(script, *(
            disk_on(self.pool, f"work-{kind}@live", target) for kind, target
            in (("root", "vda"), ("private", "vdb"), ("volatile", "vdc"))))

    def found(self):
        """What the machine tells in a run."""
        (line,) = [line for line in self.app().run().split("\n")
                   if line.startswith("root=")]
        return line

    def at_rest(self):
        return not any(name.endswith("@live") for name in self.pool.names())


@pytest.fixture
def qubes(pool, machine):
    """The template holds "one"."""
    return Qubes(pool, machine)


def test_flag_matrix_of_a_machine(qubes):
    """Section 1: over runs, and an update of its template."""
    for count in ("", "1", "2"):
        assert qubes.found() == f"root=one private={count} volatile="
    qubes.update("two")
    assert qubes.found() == "root=two private=3 volatile="
    assert qubes.at_rest()


def test_update_while_a_machine_runs(qubes):
    """It goes on with what it began with, and is outdated until it ends."""
    vm = qubes.app(APP + "sleep 1000")
    domain = vm.start()
    wait_for(lambda: "written\n" in vm.output(), 100, "it has written")
    qubes.update("two")
    assert qubes.pool.dump("work-root").find("state").get("outdated") == "yes"
    domain.destroy()
    assert qubes.found() == "root=two private=1 volatile="


@pytest.mark.parametrize("killed", ["emulator", "daemon", "both"])
def test_kill_under_a_machine(qubes, daemon, killed):
    """What it wrote to its private disk is kept, and nothing else."""
    vm = qubes.app(APP + "sleep 1000")
    vm.start()
    wait_for(lambda: "written\n" in vm.output(), 100, "it has written")
    if killed != "emulator":
        daemon.kill()
    if killed != "daemon":
        kill_emulator(vm.name)
    if killed != "emulator":
        daemon.restart()
        qubes.pool.begin()
    if killed == "daemon":
        vm.destroy()
    wait_for(qubes.at_rest, 60, "what it wrote is kept or gone")
    assert qubes.found() == "root=one private=1 volatile="


def test_machine_on_an_overlay(pool, machine):
    """qcow2: what libvirt tracks is the chain that the volume tells."""
    pool.create("base", SIZE, content="base")
    pool.create("a", SIZE, fmt="qcow2", extra=(
        f"<backingStore><path>{pool.device('base')}</path>"
        "<format type='raw'/></backingStore>"))
    vm = machine("head -c 4096 /dev/vda | md5sum; sleep 1000",
                 disk_on(pool, "a", "vda", fmt="qcow2"))
    domain = vm.start()
    node = ET.fromstring(domain.XMLDesc(0)).find(".//disk/backingStore")
    assert node.find("source").get("file") == pool.device("base")
    assert node.find("format").get("type") == "raw"
    last = node.find("backingStore")
    assert last is not None and len(last) == 0
