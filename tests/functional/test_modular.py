# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains and storage in daemons of their own (design section 8)."""

import contextlib
import copy
import os
import subprocess

import libvirt
import pytest

from daemon import Daemon
from domains import Domain, disk, disk_on
from pools import pattern, wait_for
from pools import running as meanwhile
from streams import upload

pytestmark = pytest.mark.usually_once

DAEMONS = {"storage": "virtstoraged", "qemu": "virtqemud"}


@contextlib.contextmanager
def running(programs, name, driver, sock=None, wrapper=()):
    """A connection to one of the daemons, while it runs."""
    root = os.environ["LIBVIRTD_ROOT"]
    sock = f"{root}/run/libvirt/{sock or name + '-sock'}"
    with subprocess.Popen([*wrapper, f"{programs}/{name}", "-f",
                           f"{root}/etc/libvirt/libvirtd.conf",
                           "-p", f"{root}/run/{name}.pid"]) as process:
        try:
            wait_for(lambda: os.path.exists(sock), 60, f"{name} runs")
            conn = libvirt.open(f"{driver}+unix:///system?socket={sock}")
            yield conn
            conn.close()
        finally:
            process.terminate()


@pytest.fixture
def programs(daemon):
    """Where the daemons are; libvirtd, which does all they do, is stopped."""
    folder = os.path.dirname(os.readlink(f"/proc/{daemon.pid}/exe"))
    daemon.drop()
    subprocess.run([os.environ["LIBVIRTD_RESTART"], "stop"], check=True)
    # One daemon looks for the other one's socket where distributions have a link.
    with contextlib.suppress(FileExistsError):
        os.symlink("../run", os.environ["LIBVIRTD_ROOT"] + "/var/run")
    yield folder
    daemon.restart()


@pytest.fixture
def modular(pool, programs):
    """Connections to the daemons that are in libvirtd's place."""
    with contextlib.ExitStack() as stack:
        yield {driver: stack.enter_context(running(programs, name, driver))
               for driver, name in DAEMONS.items()}


def test_live_copy_of_another_daemons_pool(pool, modular):
    """virtqemud has virtstoraged make, mark and commit it."""
    storage = modular["storage"].storagePoolLookupByName(pool.name)
    vol = storage.createXML("<volume><name>a</name><capacity unit='MiB'>1"
                            "</capacity></volume>", 0)
    vm = Domain(None, disk_on(pool, "a@live"))
    virt = modular["qemu"].createXML(vm.xml, 0)
    live = storage.storageVolLookupByName("a@live")
    assert f"<domain uuid='{vm.uuid}' use='started'/>" in live.XMLDesc(0)
    with open(live.path(), "r+b") as file:
        file.write(pattern("two"))
    virt.destroy()
    storage.refresh(0)
    with open(vol.path(), "rb") as file:
        assert file.read() == pattern("two")
    assert "a@live" not in [v.name() for v in storage.listAllVolumes()]


@pytest.fixture
def proxied(holds, pool, programs):
    """A pool that its clients come to by the daemon for old ones."""
    through = copy.copy(pool)
    with running(programs, "virtstoraged", "storage",
                 wrapper=holds.wrapper), \
            running(programs, "virtproxyd", "storage", "libvirt-sock") as conn:
        through.daemon = Daemon()
        through.daemon.uri = conn.getURI()
        yield through
        through.daemon.drop()


def test_proxy_answers_while_an_upload_ends(holds, proxied):
    """Neither daemon has its other clients wait for the end of a stream."""
    proxied.create("a")
    stream = upload(proxied, "a", pattern("two"), finish=False)
    holds.arm("fsync")
    with meanwhile(stream.finish) as finished, holds.during("fsync"):
        assert proxied.daemon.answers(proxied.name) and not finished
    with open(proxied.device("a"), "rb") as file:
        assert file.read() == pattern("two")


def test_other_domains_need_no_storage_daemon(programs, tmp_path):
    """Its pools, and what is in them, are nothing to a domain on files."""
    image = str(tmp_path / "plain.img")
    with open(image, "wb") as file:
        file.write(pattern("plain"))
    vm = Domain(None, disk(f"file='{image}'", "vda", "file"))
    with running(programs, "virtqemud", "qemu") as conn:
        virt = conn.createXML(vm.xml, 0)
        virt.destroy()
