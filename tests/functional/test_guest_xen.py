# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live copies that start and stop with Xen's machines (design section 8),
which name them by path: in a guest that is Domain-0."""

import contextlib
import os
import pathlib
import threading
import uuid

import libvirt
import pytest

from domains import owner
from machine import KERNEL, initramfs
from pools import (INVALID, MIB, VOLATILE, pattern, refused, snapshot_of,
                   wait_for)

MODULES = ("xen-blkfront",)
XML = """\
<domain type='xen'><name>{name}</name><uuid>{uuid}</uuid>
<memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='xenpv'>linux</type>
<kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=hvc0 quiet</cmdline></os>
<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot>
<on_crash>destroy</on_crash><devices>{devices}</devices></domain>
"""
DISK = """<disk type='block' device='disk'><driver name='phy'/>
<source dev='{path}'/><target dev='xvd{letter}' bus='xen'/></disk>"""
# What a machine does.
WRITES = "printf {} | dd of=/dev/xvda bs=4096 conv=sync,fsync 2>/dev/null"
WAITS = "sleep 1000"
CRASHES = "echo c >/proc/sysrq-trigger"


class XenMachine:
    """A machine that runs one script, and then is off."""

    def __init__(self, daemon, folder, devices, script, kernel):
        self.daemon, self.script = daemon, script
        self.uuid = str(uuid.uuid4())
        self.name = f"xen-{self.uuid[:8]}"
        self.xml = XML.format(
            name=self.name, uuid=self.uuid, kernel=kernel, devices=devices,
            initrd=initramfs(f"{folder}/{self.name}", script, MODULES))

    def conn(self):
        return libvirt.open(self.daemon.uri.replace("qemu", "xen", 1))

    def start(self):
        self.conn().createXML(self.xml, 0)
        return self

    def start_paused(self):
        """It is there, and takes no time to boot."""
        self.conn().createXML(self.xml, libvirt.VIR_DOMAIN_START_PAUSED)
        return self

    def virt(self):
        return self.conn().lookupByUUIDString(self.uuid)

    def alive(self):
        return any(d.UUIDString() == self.uuid
                   for d in self.conn().listAllDomains(
                       libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE))

    def wait(self):
        wait_for(lambda: not self.alive(), 120, "the machine is off")

    def run(self):
        self.start().wait()

    def try_to_save(self):
        """While the daemon may go away."""
        with contextlib.suppress(libvirt.libvirtError):
            self.virt().managedSave()

    def drop(self):
        with contextlib.suppress(libvirt.libvirtError):
            self.virt().destroy()
        with contextlib.suppress(libvirt.libvirtError):
            self.virt().undefineFlags(
                libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)


@pytest.fixture
def machine(daemon, pool, tmp_path):
    """Makes a machine with live copies of volumes as disks."""
    made = []

    def make(*names, script="true", kernel=KERNEL + "/boot/vmlinux", more=""):
        disks = [DISK.format(path=pool.files.live(name), letter=letter)
                 for name, letter in zip(names, "abc")]
        made.append(XenMachine(daemon, tmp_path, "".join(disks) + more,
                               script, kernel))
        return made[-1]
    yield make
    for each in made:
        each.drop()


def begins_on(device):
    """The word that a machine has written to a disk, read from the disk."""
    with open(device, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read(16).rstrip(b"\0").decode()


def begins(pool, name):
    """Likewise, to a volume."""
    return begins_on(pool.device(name))


def test_machine_commits_what_it_wrote(pool, machine):
    """When it is off, with the former state as a revision."""
    pool.create("a", content="one")
    machine("a", script=WRITES.format("two")).run()
    assert not pool.dirty("a") and begins(pool, "a") == "two"
    assert pool.holds(f"a@{pool.revisions('a')[0]}", "one")


@pytest.mark.slow
def test_snapshot_and_volatile_volumes_start_afresh(pool, machine):
    """Each run begins with the source's state, or none."""
    pool.create("base", content="one")
    pool.create("root", None, lifecycle=snapshot_of("base"))
    pool.create("swap", lifecycle=VOLATILE)
    for _ in range(2):
        vm = machine("root", "swap").start_paused()
        assert owner(pool, "root") == (vm.uuid, "started")
        assert pool.holds("root@live", "one")
        assert not any(pool.read("swap@live"))
        for name in ("root", "swap"):
            pool.write(name + "@live", pattern("written"))
        vm.virt().destroy()
        assert not pool.has("root@live") and not pool.has("swap@live")
    assert pool.holds("base", "one")


def test_saved_machine_goes_on_with_its_live_copy(pool, machine):
    """Its memory goes with just this copy: it is neither discarded when the
    machine is saved, nor made anew when it goes on."""
    pool.create("base", 4 * MIB)
    pool.create("root", None, lifecycle=snapshot_of("base"))
    vm = machine("root", script=f"{WRITES.format('before')}; {WAITS}")
    vm.conn().defineXML(vm.xml).create()
    wait_for(lambda: begins(pool, "root@live") == "before", 120, "a write")
    vm.virt().managedSave()
    assert owner(pool, "root") == (vm.uuid, "saved")
    vm.virt().create()
    assert owner(pool, "root") == (vm.uuid, "started")
    assert begins(pool, "root@live") == "before"
    vm.virt().destroy()
    assert not pool.has("root@live")


def test_crashed_machine_leaves_what_its_volume_wants(pool, machine):
    """Its kernel panics: onCrash decides. What is kept stays the machine's."""
    pool.create("a", lifecycle="<lifecycle onCrash='keep'/>")
    pool.create("b", 4 * MIB)
    vm = machine("b", "a", script=f"{WRITES.format('one')}; {CRASHES}")
    vm.run()
    assert pool.dirty("a") and owner(pool, "a") == (vm.uuid, "started")
    assert not pool.dirty("b") and begins(pool, "b") == "one"


@pytest.mark.parametrize("cause", ["kernel", "network"])
def test_machine_that_cannot_start_is_undone(pool, machine, cause):
    """Before it is made, and while: what this start made goes, and what was
    there before stays."""
    pool.create("a", content="a")
    pool.create("b", content="b")
    pool.start("b")
    pool.write("b@live", pattern("before"))
    options = {
        "kernel": {"kernel": "/dev/null"},
        "network": {"more": "<interface type='network'>"
                            "<source network='nowhere'/></interface>"}}
    with refused():
        machine("a", "b", **options[cause]).start()
    assert not pool.dirty("a") and pool.revisions("a") == []
    assert pool.holds("b@live", "before") and owner(pool, "b") is None


@pytest.mark.slow
def test_live_copy_of_another_machine_is_refused(pool, machine):
    pool.create("a", content="one")
    first = machine("a").start_paused()
    with refused(INVALID, match=first.uuid):
        machine("a").start_paused()
    assert owner(pool, "a") == (first.uuid, "started")


def test_live_copy_that_another_tool_made_is_left_to_it(pool, machine):
    """Qubes makes its own, just before the start, and commits it when the
    machine is off."""
    pool.create("a", content="one")
    pool.files.copy(pool.files.head("a"), pool.files.live("a"))
    before = pool.files.volume(pool.files.live("a"))
    vm = machine("a").start_paused()
    pool.write("a@live", pattern("two"))
    vm.virt().destroy()
    assert pool.files.volume(pool.files.live("a")) == before
    assert pool.holds("a", "one") and pool.holds("a@live", "two")


@pytest.mark.slow
def test_dumped_machine_has_crashed(pool, machine, tmp_path):
    """As QEMU's: a dump that ends it leaves what onCrash says."""
    pool.create("a", 4 * MIB, lifecycle="<lifecycle onCrash='keep'/>")
    vm = machine("a", script=f"{WRITES.format('one')}; {WAITS}").start()
    wait_for(lambda: begins(pool, "a@live") == "one", 120, "a write")
    vm.virt().coreDump(str(tmp_path / "core"), libvirt.VIR_DUMP_CRASH)
    assert pool.dirty("a") and owner(pool, "a") == (vm.uuid, "started")


@pytest.fixture
def block_script():
    """What Xen runs when a disk comes or goes: it can be held as it goes."""
    own = pathlib.Path("/etc/xen/scripts/block")
    text = own.read_text(encoding="utf-8")
    hold = pathlib.Path("/run/hold-block")
    own.write_text(text.replace("\n", f"""
[ "$1" = add ] || while [ -e {hold} ]; do touch {hold}.reached; sleep 1; done
""", 1), encoding="utf-8")
    yield hold
    hold.unlink(missing_ok=True)
    own.write_text(text, encoding="utf-8")


@pytest.mark.slow
def test_daemon_killed_before_a_saved_machine_is_gone(pool, machine, daemon,
                                                      block_script):
    """It is saved, and its memory goes with just this copy: the next daemon
    removes what is left of the machine, and nothing else."""
    pool.create("base", 4 * MIB)
    pool.create("root", None, lifecycle=snapshot_of("base"))
    pool.virt.setAutostart(1)
    vm = machine("root", script=f"{WRITES.format('before')}; {WAITS}")
    vm.conn().defineXML(vm.xml).create()
    wait_for(lambda: begins(pool, "root@live") == "before", 120, "a write")
    block_script.touch()
    thread = threading.Thread(target=vm.try_to_save)
    thread.start()
    wait_for(block_script.with_suffix(".reached").exists, 120, "it is saved")
    daemon.kill()
    thread.join()
    block_script.unlink()
    daemon.restart()
    wait_for(lambda: not vm.alive(), 60, "it is gone")
    assert owner(pool, "root") == (vm.uuid, "saved")
    assert begins(pool, "root@live") == "before"


@pytest.mark.slow
def test_machine_that_ended_while_no_daemon_ran(pool, machine, daemon):
    """The next daemon commits what it wrote."""
    pool.virt.setAutostart(1)
    pool.create("a", 4 * MIB)
    vm = machine("a", script=f"sleep 20; {WRITES.format('one')}").start()
    daemon.kill()
    wait_for(lambda: begins_on(pool.files.live("a")) == "one", 120, "a write")
    daemon.restart()
    vm.wait()
    wait_for(lambda: not pool.dirty("a"), 60, "a commit")
    assert begins(pool, "a") == "one"
