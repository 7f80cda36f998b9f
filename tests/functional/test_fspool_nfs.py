# SPDX-License-Identifier: LGPL-2.1-or-later
"""fspools in a directory of a server (design section 4): in a guest."""

import os

import pytest

from filesystems import run
from fsplaces import NfsHome
from fspoolpool import FsPool
from fstrees import destroy, mount_of
from pools import INVALID, refused

pytestmark = pytest.mark.only_guest


@pytest.fixture(scope="module")
def server(workspace):
    """A server in this machine."""
    home = NfsHome("nfs", workspace)
    yield home
    home.close()


@pytest.fixture
def remote(daemon, workspace, server):
    """A pool of a server's directory, not started."""
    made = []

    def make(folder=server.EXPORT, version="4.2"):
        pool = FsPool(daemon, workspace.path, source=(
            f"<host name='{server.HOST}'/><dir path='{folder}'/>"
            f"<format type='nfs'/><protocol ver='{version}'/>"))
        made.append(pool.define())
        return pool

    yield make
    daemon.ensure()
    for pool in made:
        pool.forget()
        run("umount", "-l", pool.path, check=False)
        destroy(pool.path)


def test_remote_pool(remote):
    """Section 4: a directory of a server."""
    pool = remote()
    pool.virt.build(0)
    pool.virt.create(0)
    kind, options = mount_of(pool.path)
    assert kind == "nfs4" and "vers=4.2" in options
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.clone("a", "d/b")
    pool.restart()
    assert pool.holds("a", "two") and pool.history("a") == ["one"]
    assert pool.holds("d/b", "two")
    pool.virt.destroy()
    assert mount_of(pool.path) is None


def test_remote_directory_that_is_missing(remote):
    """Section 6: a start that fails leaves nothing."""
    pool = remote("/absent")
    os.makedirs(pool.path)
    with refused():
        pool.virt.create(0)
    assert mount_of(pool.path) is None and not pool.virt.isActive()


def test_remote_pool_that_is_busy(remote):
    """Section 3: as a local one."""
    pool = remote().up()
    pool.create("a", content="one")
    with open(pool.device("a") + "/data", "rb"):
        with refused(INVALID, match=pool.name):
            pool.virt.destroy()
        assert pool.virt.isActive()
    pool.virt.destroy()


@pytest.mark.parametrize("folder", ["/x,suid", "-o", "/a b", "/$(x)"])
def test_remote_directory_is_no_option(remote, folder):
    """Section 6: refused, whatever its name looks like."""
    with refused():
        pool = remote(folder)
        os.makedirs(pool.path)
        pool.virt.create(0)
