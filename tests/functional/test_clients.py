# SPDX-License-Identifier: LGPL-2.1-or-later
"""The distribution's virt-install, virt-clone and virt-xml, unmodified."""

import contextlib
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET

import libvirt
import pytest

from pools import MIB, pattern

pytestmark = pytest.mark.usually_once

TOOLS = "/usr/share/virt-manager"
PATCH = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     "../../examples/virt-manager.patch")
NAME = f"client-{os.getpid()}"


@pytest.fixture
def tool(daemon):
    """Runs one of the tools against the daemon; its domains go."""
    def call(name, *args, folder=TOOLS):
        env = dict(os.environ, HOME="/nonexistent", LC_ALL="C",
                   PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=folder)
        env.pop("LD_LIBRARY_PATH", None)
        done = subprocess.run(
            ["/usr/bin/python3", "-c", "import sys; from virtinst import "
             f"{name} as it; sys.exit(it.runcli())", "--connect", daemon.uri,
             *args], env=env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    yield call
    for domain in daemon.conn.listAllDomains():
        if domain.name().startswith(NAME):
            with contextlib.suppress(libvirt.libvirtError):
                domain.destroy()
            with contextlib.suppress(libvirt.libvirtError):
                domain.undefine()


def install(tool, *disks, **options):
    """A machine on these disks, which is started."""
    args = []
    for disk in disks:
        args += ["--disk", disk]
    tool("virtinstall", "--name", NAME, "--memory", "32", "--import",
         "--virt-type", "qemu", "--osinfo", "generic", "--graphics", "none",
         "--network", "none", "--noautoconsole", *args, **options)


def disks_of(daemon, name=NAME):
    """What the disks of a domain are."""
    root = ET.fromstring(daemon.conn.lookupByName(name).XMLDesc(0))
    return [node.get("file") or node.get("dev") or node.get("volume")
            for node in root.findall("devices/disk/source")]


def test_virt_install_on_a_volume(pool, daemon, tool):
    """An existing one, by its name."""
    pool.create("a", content="one")
    install(tool, f"vol={pool.name}/a")
    assert disks_of(daemon) == [pool.device("a")]


def test_virt_install_on_a_live_copy(pool, daemon, tool):
    """It starts and stops with the machine from then on."""
    pool.create("a", content="one")
    pool.start("a")
    install(tool, f"vol={pool.name}/a@live")
    assert disks_of(daemon) == [pool.device("a@live")]
    pool.write("a@live", pattern("two"))
    domain = daemon.conn.lookupByName(NAME)
    domain.destroy()
    assert not pool.dirty("a") and pool.holds("a", "two")
    domain.create()
    assert pool.dirty("a")


@pytest.fixture
def patched(tmp_path):
    """The tools with our patch."""
    shutil.copytree(TOOLS + "/virtinst", tmp_path / "virtinst")
    subprocess.run(["git", "apply", "--include=virtinst/*", PATCH],
                   cwd=tmp_path, check=True,
                   env=dict(os.environ, GIT_CEILING_DIRECTORIES="/"))
    return str(tmp_path)


def test_patched_virt_install_makes_the_volume(pool, daemon, tool, patched):
    """In the pool, with a size."""
    fmt = ",format=raw" if pool.TYPE == "reflink" else ""
    install(tool, f"pool={pool.name},size=0.0625{fmt}", folder=patched)
    (name,) = pool.names()
    assert disks_of(daemon) == [pool.device(name)]
    assert pool.size(name) == 64 * MIB


def test_patched_virt_clone_makes_the_volume(pool, daemon, tool, patched):
    """As a clone of the pool's, and finds it."""
    pool.create("a", content="one")
    install(tool, f"vol={pool.name}/a")
    daemon.conn.lookupByName(NAME).destroy()
    tool("virtclone", "--original", NAME, "--name", NAME + "-clone",
         "--auto-clone", folder=patched)
    (name,) = [n for n in pool.names() if n != "a"]
    assert disks_of(daemon, NAME + "-clone") == [pool.device(name)]
    assert pool.holds(name, "one")


def test_virt_clone(pool, daemon, tool):
    """With a clone of the volume, made before: its own would look for a file
    of the volume's name (docs/domains.md)."""
    pool.create("a", content="one")
    install(tool, f"vol={pool.name}/a")
    daemon.conn.lookupByName(NAME).destroy()
    pool.clone("a", "b")
    tool("virtclone", "--original", NAME, "--name", NAME + "-clone",
         "--preserve-data", "--file", pool.device("b"))
    assert disks_of(daemon, NAME + "-clone") == [pool.device("b")]
    daemon.conn.lookupByName(NAME + "-clone").create()
    assert pool.holds("b", "one")


def test_virt_xml_adds_a_disk(pool, daemon, tool):
    """Of another volume."""
    pool.create("a", content="one")
    pool.create("b", content="b")
    install(tool, f"vol={pool.name}/a")
    daemon.conn.lookupByName(NAME).destroy()
    tool("virtxml", NAME, "--add-device", "--disk", f"vol={pool.name}/b")
    assert disks_of(daemon) == [pool.device("a"), pool.device("b")]
