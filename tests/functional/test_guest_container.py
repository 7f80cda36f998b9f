# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live copies that start and stop with LXC containers (design section 8),
which name them by path, and need a kernel with cgroups: in a guest."""

import os
import shutil
import signal
import subprocess
import tempfile

import pytest

from pools import MIB, snapshot_of, wait_for
from reflinkpool import ReflinkPool
from test_fspool_containers import Container

# Once in some twenty starts, the emulated kernel's container does not end.
pytestmark = pytest.mark.long

SIZE = 16 * MIB
XML = """<domain type='lxc'><name>{name}</name><memory>65536</memory>
<os><type>exe</type><init>/bin/sh</init><initarg>-c</initarg>
<initarg>{script}</initarg></os><devices>
<filesystem type='file' accessmode='passthrough'><driver type='loop'
format='raw'/><source file='{path}'/><target dir='/'/></filesystem>
<console type='pty'/></devices></domain>"""


@pytest.fixture
def pool(daemon, filesystem):
    """A pool at a short path: LXC takes images with less than 64 letters."""
    with tempfile.TemporaryDirectory(dir="/") as short:
        subprocess.run(["mount", "--bind", filesystem, short], check=True)
        a_pool = ReflinkPool(daemon, short).up()
        yield a_pool
        a_pool.remove()
        subprocess.run(["umount", short], check=True)


@pytest.fixture
def root(pool, tmp_path):
    """A volume with a file system of what a container needs."""
    tree = tmp_path / "tree"
    for name in ("bin", "proc", "sys", "dev", "tmp", "run"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin")
    (tree / "bin" / "sh").symlink_to("busybox")
    pool.create("root", SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-d", str(tree),
                    pool.device("root")], check=True)
    return "root"


def container_on(pool, volume, script):
    """A container on the live copy, which is to run such a script."""
    container = Container(pool, volume, script)
    container.xml = XML.format(name=container.name, script=script,
                               path=pool.files.live(volume))
    return container


def run(pool, volume, script):
    """Let a container on the live copy run such a script."""
    container_on(pool, volume, script).run()


def end_of(container):
    """Kill its first process, and wait for the one that looks after it."""
    with open(f"{os.environ['LIBVIRTD_ROOT']}/run/libvirt/lxc/"
              f"{container.name}.pid", encoding="ascii") as file:
        keeper = file.read().strip()
    with open(f"/proc/{keeper}/task/{keeper}/children",
              encoding="ascii") as file:
        os.kill(int(file.read().split()[0]), signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{keeper}"), 60, "its end")


def has(pool, volume, name):
    """What a volume's file system has in a file."""
    return subprocess.run(["debugfs", "-R", f"cat /{name}",
                           pool.device(volume)], check=True,
                          capture_output=True, text=True).stdout


def test_container_commits_what_it_wrote(pool, root):
    """At each stop, with the former state as a revision."""
    for number in (1, 2):
        run(pool, root, f"echo {number} &gt; /made")
        assert not pool.dirty(root)
        assert has(pool, root, "made") == f"{number}\n"
    assert len(pool.revisions(root)) == 1


def test_container_that_ended_while_no_daemon_ran(pool, root, daemon):
    """It had run: the next daemon commits what it wrote."""
    pool.virt.setAutostart(1)
    container = container_on(pool, root,
                             "echo 1 &gt; /made; sync; exec /bin/busybox sleep 600")
    container.conn.createXML(container.xml, 0)
    wait_for(lambda: has(pool, f"{root}@live", "made") == "1\n", 60, "a file")
    daemon.kill()
    end_of(container)
    daemon.restart()
    wait_for(lambda: not pool.dirty(root), 60, "a commit")
    assert has(pool, root, "made") == "1\n"


def test_container_on_a_snapshot_starts_afresh(pool, root):
    """What it wrote is gone, and the template as it was."""
    pool.create("app", None, lifecycle=snapshot_of(root))
    for _ in range(2):
        run(pool, "app", "ls /made || echo x &gt; /made; ls /made &gt; /dev/null")
        assert not pool.has("app@live")
    assert has(pool, root, "made") == ""
