# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directory volumes in virtual machines, by virtiofs (docs/pool-fspool.md)."""

import os

import libvirt
import pytest

from domains import disk_on
from fstrees import put
from machine import Machine
from pools import refused

pytestmark = [pytest.mark.needs("once"), pytest.mark.slow]

# This build looks for it below its own prefix.
SHARE = """<filesystem type='volume' accessmode='passthrough'>
<driver type='virtiofs'/><binary path='/usr/lib/qemu/virtiofsd'/><source pool='{pool}' volume='{volume}'/>
<target dir='data'/></filesystem>"""
MODULES = ("virtio_pci", "virtiofs")


@pytest.fixture
def machine(fspool, daemon, tmp_path):
    """Makes a machine that has a volume of the pool."""
    def make(script, volume="web/data"):
        return Machine(daemon, str(tmp_path), f"{fspool.name}-vm", script,
                       SHARE.format(pool=fspool.name, volume=volume), MODULES)
    return make


@pytest.mark.timeout_seconds(300)
def test_machine_shares_a_volume(fspool, machine):
    """What the host has is seen in the machine, and the other way round."""
    fspool.create("web/data", mode="0777")
    put(fspool.device("web/data") + "/from-host", b"hello")
    out = machine("mount -t virtiofs data /mnt && cat /mnt/from-host && "
                  "echo world >/mnt/from-machine").run()
    assert out.strip() == "hello"
    with open(fspool.device("web/data") + "/from-machine", "rb") as file:
        assert file.read() == b"world\n"


def test_inactive_pool(fspool, machine):
    """The machine does not start, with the reason."""
    fspool.create("web/data")
    vm = machine("true")
    fspool.virt.destroy()
    with refused(match="not active"):
        vm.start()
    assert not vm.alive()


def test_missing_volume(fspool, machine):
    """Likewise."""
    vm = machine("true", "absent")
    with refused(match="absent"):
        vm.start()
    assert not vm.alive() and not os.path.exists(fspool.path + "/absent")


def test_volume_is_no_disk(fspool, daemon, tmp_path):
    """Section 8: a directory as a disk is refused, with what to do instead:
    libvirt would make up a file system of it."""
    fspool.create("a", content="one")
    vm = Machine(daemon, str(tmp_path), f"{fspool.name}-vm", "true",
                 disk_on(fspool, "a"))
    with refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, match="<filesystem>"):
        vm.start()
    assert not vm.alive() and fspool.holds("a", "one")
