# SPDX-License-Identifier: LGPL-2.1-or-later
"""fspools in a directory of a server (design section 4): in a guest."""

import contextlib
import glob
import os
import tempfile
import types

import libvirt
import pytest

from crashrig import MOST_STEPS, check, killed_at, view
from daemon import apart
from filesystems import run
from fspoolpool import FsPool
from fstrees import destroy, mount_of
from pools import INVALID, refused, running, wait_for
from streams import download
from test_fspool_crash import OPERATIONS

pytestmark = [pytest.mark.only_guest, pytest.mark.needs("nfs")]


@pytest.fixture
def remote(daemon, workspace, fs):
    """A pool of a server's directory, not started."""
    made = []
    own = tempfile.mkdtemp(dir=fs.path)

    def make(folder=f"{fs.EXPORT}/{os.path.basename(own)}", version="4.2"):
        pool = FsPool(daemon, workspace.path, source=(
            f"<host name='{fs.HOST}'/><dir path='{folder}'/>"
            f"<format type='nfs'/><protocol ver='{version}'/>"))
        made.append(pool.define())
        return pool

    yield make
    daemon.ensure()
    for pool in made:
        pool.forget()
        run("umount", "-l", pool.path, check=False)
        destroy(pool.path)
    destroy(own)


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


@pytest.fixture
def server(fs):
    """The server, which answers again in the end."""
    yield fs
    fs.serve()


def begins(pool):
    """Whether a pool starts by now."""
    with contextlib.suppress(libvirt.libvirtError):
        pool.virt.create(0)
    return pool.virt.isActive()


def test_start_while_the_server_is_gone(remote, server, daemon):
    """Section 6: no callback hangs the daemon's other pools. A pool whose
    server does not answer cannot be unmounted, and is found at the start."""
    pool = remote()
    pool.virt.build(0)
    pool.virt.create(0)
    pool.create("a", content="one")
    server.serve(0)
    with refused():
        pool.virt.refresh(0)
    assert not pool.virt.isActive() and mount_of(pool.path)
    with refused(match=pool.name):
        pool.virt.create(0)
    with refused():
        pool.virt.delete(0)
    assert daemon.conn.listAllStoragePools()
    server.serve()
    wait_for(lambda: begins(pool), 120, "the server answers again")
    assert pool.holds("a", "one")


def test_directory_of_a_server_that_is_gone(fspool, server, daemon):
    """Section 6: nor does one on what somebody else has mounted."""
    fspool.create("a", content="one")
    server.serve(0)
    with refused(match=fspool.name):
        fspool.virt.refresh(0)
    assert not fspool.virt.isActive()
    with refused(match=fspool.name):
        fspool.virt.create(0)
    assert daemon.conn.listAllStoragePools()
    server.serve()
    wait_for(lambda: begins(fspool), 120, "the server answers again")
    assert fspool.holds("a", "one")


def test_daemon_starts_while_the_server_of_a_directory_is_gone(
        fspool, server, daemon):
    """Section 6: what does not answer keeps no daemon from its start."""
    fspool.create("a", content="one")
    server.serve(0)
    daemon.kill()
    daemon.restart()
    assert daemon.answers(fspool.name)
    server.serve()
    wait_for(lambda: begins(fspool), 120, "the server answers again")
    assert fspool.holds("a", "one")


def waits_for_the_server(pid):
    """Whether a thread of that process is in a call to an NFS server."""
    for path in glob.glob(f"/proc/{pid}/task/*/wchan"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            if "rpc_wait" in file.read():
                return True
    return False


@pytest.mark.parametrize("call", [
    pytest.param(lambda p: p.clone("a", "b"), id="clone"),
    pytest.param(lambda p: p.pin("a", "v"), id="pin", marks=pytest.mark.long),
    pytest.param(lambda p: p.revert("a", "w"), id="revert",
                 marks=pytest.mark.long),
    pytest.param(lambda p: download(p, "a"), id="download")])
def test_operation_while_the_server_is_gone(remote, server, daemon, call):
    """Section 9: what waits does so with the pool unlocked."""
    pool = remote()
    pool.virt.build(0)
    pool.virt.create(0)
    pool.create("a", content="one")
    pool.pin("a", "w")
    server.serve(0)
    with apart(pool) as beside, running(call, beside) as done:
        try:
            wait_for(lambda: waits_for_the_server(daemon.pid), 60, "a call")
            assert daemon.answers(pool.name)
        finally:
            server.serve()
    assert done


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


# Names and strides: each step takes some seconds.
KILLED = [("revert", 6)] + [
    pytest.param(name, 1, marks=pytest.mark.long)
    for name in ("revert", "wipe", "upload-prune", "create-nested", "clone",
                 "delete")]


@pytest.mark.crash
@pytest.mark.timeout_seconds(1800)
@pytest.mark.parametrize("name,stride", KILLED)
def test_daemon_killed(fspools, fs, stepper, workspace, daemon, name, stride):
    """Section 6: without an exchange, too: kill -9 at every step, a new
    daemon, a pool start: old or new, complete."""
    operation, failures = OPERATIONS[name], []

    def prepared():
        pool = fspools(keep=2).up()
        operation.prepare(pool)
        return pool, view(pool)

    pool, before = prepared()
    operation.run(pool)
    after = view(pool)
    pool.remove()
    for step in range(1, MOST_STEPS, stride):
        pool, _ = prepared()
        rig = types.SimpleNamespace(stepper=stepper, daemon=daemon,
                                    store=workspace.path, where=pool.path)
        hit = killed_at(rig, pool, operation, step)
        if hit is None:
            break
        try:
            check(pool, operation, before, after, hit)
        except (AssertionError, OSError, libvirt.libvirtError) as error:
            failures.append(f"step {step}: {error}")
        daemon.ensure()
        pool.remove()
    assert step > 5, "no steps were seen"
    assert not failures, "\n".join(failures)
