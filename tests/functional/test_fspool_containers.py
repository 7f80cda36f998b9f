# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directory volumes in LXC containers, which need a kernel with cgroups and
project quotas: in a guest (docs/pool-fspool.md)."""

import os
import shutil

import libvirt
import pytest

from pools import MIB, refused, wait_for

pytestmark = [pytest.mark.only_guest, pytest.mark.needs("project")]

LIMIT = 16 * MIB
# Root is not held to a limit on ext4 while it has this.
WITHOUT = ("<features><capabilities policy='default'>"
           "<sys_resource state='off'/></capabilities></features>")
XML = """<domain type='lxc'><name>{name}</name><memory>65536</memory>
<os><type>exe</type><init>/bin/sh</init><initarg>-c</initarg>
<initarg>{script}</initarg></os>{extra}<devices>
<filesystem type='volume' accessmode='passthrough'>
<source pool='{pool}' volume='{volume}'/><target dir='/'/></filesystem>
<console type='pty'/></devices></domain>"""


class Container:
    """A container whose root is a volume."""

    def __init__(self, pool, volume, script, extra=""):
        uri = os.environ["LIBVIRT_DEFAULT_URI"].replace("qemu", "lxc", 1)
        self.conn = libvirt.open(uri)
        self.name = pool.name + "-container"
        self.xml = XML.format(name=self.name, script=script, extra=extra,
                              pool=pool.name, volume=volume)

    def alive(self):
        """Whether it runs."""
        return any(d.name() == self.name for d in self.conn.listAllDomains())

    def run(self):
        """Start it, and wait until its script has ended."""
        domain = self.conn.createXML(self.xml, 0)
        try:
            wait_for(lambda: not self.alive(), 120, "the container is gone")
        finally:
            if self.alive():
                domain.destroy()


@pytest.fixture
def root(fspool):
    """A volume with what a container needs; its path."""
    fspool.create("web/root", LIMIT)
    path = fspool.device("web/root")
    for name in ("bin", "proc", "sys", "dev", "tmp", "run"):
        os.mkdir(f"{path}/{name}")
    shutil.copy("/bin/busybox", path + "/bin")
    os.symlink("busybox", path + "/bin/sh")
    return path


def test_root_of_a_container(fspool, root):
    """What is written in it is in the volume."""
    Container(fspool, "web/root", "echo hello &gt; /made").run()
    with open(root + "/made", "rb") as file:
        assert file.read() == b"hello\n"


def test_container_goes_back(fspool, root):
    """An earlier state of the root, with what it had then."""
    fspool.pin("web/root", "fresh")
    Container(fspool, "web/root", "echo hello &gt; /made").run()
    assert os.path.exists(root + "/made")
    fspool.revert("web/root", "fresh")
    Container(fspool, "web/root", "echo $? &gt; /again").run()
    assert sorted(set(os.listdir(root)) & {"made", "again"}) == ["again"]


def test_limit_holds_in_a_container(fspool, root):
    """Its root cannot write past it, without CAP_SYS_RESOURCE."""
    Container(fspool, "web/root", "/bin/busybox dd if=/dev/zero of=/big "
              "bs=65536 count=400", WITHOUT).run()
    assert os.stat(root + "/big").st_size < LIMIT
    fspool.refresh()
    assert fspool.vol("web/root").info()[2] <= LIMIT


@pytest.mark.parametrize("volume,match", [("absent", "absent"),
                                          ("web/root", "not active")])
def test_container_without_its_volume(fspool, root, volume, match):
    """It does not start, with the reason."""
    if volume == "web/root":
        fspool.virt.destroy()
    container = Container(fspool, volume, "true")
    with refused(match=match):
        container.run()
    assert not container.alive() and os.path.isdir(root)
