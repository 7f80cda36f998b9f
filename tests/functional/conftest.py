# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures: a daemon, file systems that can clone, a fresh pool per test."""

import errno
import os
import signal

import pytest

from crashrig import Rig, build_stepper
from daemon import Daemon, Watchdog
from filesystems import MIB, Workspace
from reflinkpool import Pool

TEST_SECONDS = int(os.environ.get("REFLINK_TEST_SECONDS", "180"))


def pytest_configure(config):
    """Our marks."""
    # Being told to end shall clean up too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "crash: kills and power losses")
    config.addinivalue_line("markers", "timeout_seconds(n): hangs after n s")
    config.addinivalue_line("markers", "slow: takes more than some seconds")


def is_repetition(item):
    """What another test or the other file system covers; long to run."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    if item.originalname == "test_daemon_killed":
        # test_state_left_by_a_kill has the other states on both.
        return (params["rig"] == "btrfs"
                and params["name"] not in ("commit-prune", "upload"))
    if item.originalname == "test_failing_call":
        return (params["rig"] == "btrfs") == (params["number"] == errno.EIO)
    return False


def pytest_collection_modifyitems(config, items):
    """Without a daemon nothing can be tested, which is a failure."""
    if "LIBVIRTD_PID_FILE" not in os.environ:
        raise pytest.UsageError("run under scripts/with-libvirtd")
    repetitions = [item for item in items if is_repetition(item)]
    config.hook.pytest_deselected(items=repetitions)
    items[:] = [item for item in items if item not in repetitions]


@pytest.fixture(scope="session")
def daemon():
    """The daemon that with-libvirtd started."""
    the_daemon = Daemon()
    yield the_daemon
    the_daemon.drop()


@pytest.fixture(autouse=True)
def watchdog(daemon, request):
    """No test hangs for ever, and each finds a daemon that answers."""
    daemon.ensure()
    mark = request.node.get_closest_marker("timeout_seconds")
    seconds = mark.args[0] if mark else TEST_SECONDS
    with Watchdog(daemon, seconds) as dog:
        yield
    assert not dog.fired, f"no answer from the daemon within {seconds} s"


@pytest.fixture(scope="session")
def workspace(daemon):
    """A folder for images and mounts."""
    space = Workspace()
    yield space
    space.close()


@pytest.fixture(scope="session", params=["xfs", "btrfs"])
def filesystem(request, workspace):
    """The mount point of a file system that can clone."""
    image = workspace.image(request.param + ".img", request.param, 1024 * MIB)
    where = workspace.mount(image)
    os.chmod(where, 0o711)
    yield where
    workspace.umount(where)
    os.unlink(image)


@pytest.fixture(scope="session")
def ext4(workspace):
    """The mount point of a file system that cannot clone."""
    image = workspace.image("ext4.img", "ext4", 256 * MIB)
    where = workspace.mount(image)
    yield where
    workspace.umount(where)
    os.unlink(image)


@pytest.fixture
def small(workspace, filesystem, request):
    """A small file system of the same kind, to be filled."""
    kind = os.path.basename(filesystem).split(".")[0]
    image = workspace.image(f"small-{kind}.img", kind, 320 * MIB)
    where = workspace.mount(image)
    yield where
    workspace.umount(where)
    os.unlink(image)


@pytest.fixture(scope="session")
def stepper(workspace):
    """The compiled stepper."""
    return build_stepper(workspace.path)


@pytest.fixture(scope="session", params=["xfs", "btrfs"])
def rig(request, workspace, daemon, stepper):
    """A file system whose every state can be looked at."""
    a_rig = Rig(workspace, daemon, request.param, stepper)
    yield a_rig
    a_rig.close()


@pytest.fixture
def pools(daemon, filesystem):
    """Makes pools and takes them away after the test."""
    made = []

    def make(directory=None, **options):
        a_pool = Pool(daemon, directory or filesystem, **options)
        made.append(a_pool)
        return a_pool

    make.home = filesystem
    yield make
    daemon.ensure()
    for a_pool in reversed(made):
        a_pool.remove()


@pytest.fixture
def pool(pools):
    """A running pool in a directory of its own."""
    return pools().up()
