# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes as disks of machines that run for real (design section 8)."""

import hashlib
import os
import xml.etree.ElementTree as ET

import libvirt
import pytest

from machine import Machine
from pools import MIB, pattern, refused, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout_seconds(600)]

UNSUPPORTED = libvirt.VIR_ERR_CONFIG_UNSUPPORTED
SIZE = 4 * MIB
MODULES = ("virtio_pci", "virtio_blk")


def disk(pool, volume, target, readonly=False, fmt="raw"):
    """The element of a disk."""
    return (f"<disk type='volume' device='disk'><driver name='qemu' "
            f"type='{fmt}'/><source pool='{pool.name}' volume='{volume}'/>"
            f"<target dev='{target}' bus='virtio'/>"
            f"{'<readonly/>' if readonly else ''}</disk>")


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
    """By its name; the head is as before until the commit."""
    pool.create("a", SIZE, content="one")
    pool.start("a")
    machine("echo -n written >/dev/vda && sync",
            disk(pool, "a@live", "vda")).run()
    assert pool.holds("a", "one") and begins(pool, "a@live", b"written")
    pool.commit("a")
    assert begins(pool, "a", b"written")
    assert pool.holds(f"a@{pool.revisions('a')[0]}", "one")


def test_machine_reads_a_revision(pool, machine):
    """Numbered and pinned ones, read-only."""
    pool.create("a", SIZE, content="one")
    pool.pin("a", "w")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    out = machine("cat /dev/vda /dev/vdb | md5sum; "
                  "echo x >/dev/vda && exit 1; true",
                  disk(pool, f"a@{ident}", "vda", True),
                  disk(pool, "a@w", "vdb", True)).run()
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
    vm = machine("true", disk(pool, volume, "vda"))
    with refused(UNSUPPORTED, match="readonly"):
        vm.start()
    assert not vm.alive() and pool.holds(volume, "one")


def test_machine_on_a_head(pool, machine):
    """It writes to the volume itself."""
    pool.create("a", SIZE, content="one")
    machine("echo -n written >/dev/vda && sync", disk(pool, "a", "vda")).run()
    assert begins(pool, "a", b"written") and pool.revisions("a") == []


def test_used_live_copy_is_kept(pool, machine):
    """While a machine runs on it, it is neither committed nor discarded."""
    pool.create("a", SIZE, content="one")
    pool.start("a")
    vm = machine("sleep 1000", disk(pool, "a@live", "vda"))
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
    vm = machine("until [ -b /dev/vdb ]; do sleep 1; done; "
                 "until [ -b /dev/vdc ]; do sleep 1; done; "
                 "dd if=/dev/vdb of=/dev/vdc bs=65536 conv=fsync",
                 disk(pool, "a", "vda", True))
    vm.start()
    wait_for(lambda: "begin\n" in vm.output(), 100, "booted")
    domain = daemon.conn.lookupByName(vm.name)
    with refused(UNSUPPORTED, match="readonly"):
        domain.attachDevice(disk(pool, f"a@{ident}", "vdb"))
    domain.attachDevice(disk(pool, f"a@{ident}", "vdb", True))
    domain.attachDevice(disk(pool, "a@live", "vdc"))
    wait_for(lambda: not vm.alive(), 200, "the machine is off")
    assert pool.holds("a@live", "one") and pool.holds("a", "two")


def test_machine_on_an_overlay(pool, machine):
    """qcow2: what libvirt tracks is the chain that the volume tells."""
    pool.create("base", SIZE, content="base")
    pool.create("a", SIZE, fmt="qcow2", extra=(
        f"<backingStore><path>{pool.device('base')}</path>"
        "<format type='raw'/></backingStore>"))
    vm = machine("head -c 4096 /dev/vda | md5sum; sleep 1000",
                 disk(pool, "a", "vda", fmt="qcow2"))
    domain = vm.start()
    node = ET.fromstring(domain.XMLDesc(0)).find(".//disk/backingStore")
    assert node.find("source").get("file") == pool.device("base")
    assert node.find("format").get("type") == "raw"
    last = node.find("backingStore")
    assert last is not None and len(last) == 0
