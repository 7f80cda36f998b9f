# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures: a daemon, storage that can clone, a fresh pool per test."""

import itertools
import os
import shutil
import signal

import pytest

# Before these are imported: what differed stands in the error.
pytest.register_assert_rewrite("behaviour", "crashrig", "pools", "thincrash",
                               "fsplaces", "fspoolpool", "fstrees")

# pylint: disable=wrong-import-position
import differences
from crashrig import Rig, build_stepper
from daemon import Daemon, Watchdog
from disks import Disks
from filesystems import MIB, Workspace
from fsplaces import ONE_FILE_SYSTEM
from fspoolpool import stock_pool
from homes import HOMES
from lvmspy import LvmSpy
from operations import CLONING, KINDS, USUAL, fits
from preload import holding
from thinpool import ThinPool
from users import USERS, WRITERS
from volumegroup import VolumeGroup, lvm

NUMBERS = itertools.count(1)
TEST_SECONDS = int(os.environ.get("REFLINK_TEST_SECONDS", "180"))


def pytest_addoption(parser):
    parser.addoption("--pool-type", choices=sorted(HOMES), default="reflink",
                     help="the type of the pools under test")
    parser.addoption("--all-thin", action="store_true", help="with qubes-thin, "
                     "also tests of code that the types share")
    parser.addoption("--long", action="store_true",
                     help="also the tests with the mark long")
    parser.addoption("--all-file-systems", action="store_true",
                     help="every test of fspool on every file system")


def pytest_configure(config):
    """Our marks."""
    # Being told to end shall clean up too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "crash: kills and power losses")
    config.addinivalue_line("markers", "timeout_seconds(n): hangs after n s")
    config.addinivalue_line("markers", "slow: takes more than some seconds")
    config.addinivalue_line("markers", "long: much the same as another test, "
                            "which the usual run has; for --long")
    # File systems and fixtures of test_fspool_*.py.
    config.pluginmanager.import_plugin("fsplugin")


def parameters(item):
    """The values that a test runs with."""
    return item.callspec.params if hasattr(item, "callspec") else {}


def is_unfit(item):
    """An operation that is the same on that file system as on others."""
    params = parameters(item)
    return ("rig" in params and "name" in params
            and not fits(params["rig"], params["name"]))


def is_long(item):
    """What adds little to the rest, and takes minutes."""
    params = parameters(item)
    if item.get_closest_marker("long"):
        return True
    if item.get_closest_marker("usually_once"):
        kind = item.config.getoption("pool_type")
        return params.get("home", HOMES[kind].KINDS[0]) != HOMES[kind].KINDS[0]
    if "rig" not in params:
        return False
    if item.originalname in USUAL:
        usual = USUAL[item.originalname].get(params["rig"], ())
        return params["name"] not in usual
    return params["rig"] not in CLONING


def pytest_generate_tests(metafunc):
    """Every test with a pool runs on all storage of the type under test."""
    kind = metafunc.config.getoption("pool_type")
    if "home" in metafunc.fixturenames:
        storage = HOMES[kind].KINDS[:1 if ONE_FILE_SYSTEM else None]
        metafunc.parametrize("home", storage, indirect=True, scope="session")
    if "user" in metafunc.fixturenames and "user" not in sum(
            (m.args[0].split(",") for m in
             metafunc.definition.iter_markers("parametrize")), []):
        users = USERS[kind]
        metafunc.parametrize("user", list(users.values()), ids=list(users))


def pytest_ignore_collect(collection_path, config):
    """What is not named on the command line, and would be left out anyhow."""
    if collection_path.name.startswith("test_") and differences.nothing_left(
            collection_path, config.getoption("pool_type"),
            config.getoption("all_thin")):
        return True
    return None


def pytest_collection_modifyitems(config, items):
    """Without a daemon nothing can be tested, which is a failure."""
    if "LIBVIRTD_PID_FILE" not in os.environ:
        raise pytest.UsageError("run under scripts/with-libvirtd")
    kind = config.getoption("pool_type")
    if kind == "qubes-thin" and not os.environ.get("GUEST_DISKS"):
        raise pytest.UsageError("run under scripts/with-guest --disk 8G")
    unfit = differences.find(items, kind, config.getoption("all_thin"))
    for item in items:
        if is_long(item):
            item.add_marker("long")
    long = config.getoption("long")
    unwanted = [item for item in items if item in unfit or is_unfit(item)
                or not long and item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=unwanted)
    items[:] = [item for item in items if item not in unwanted]


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


@pytest.fixture(scope="session")
def home(request, workspace):
    """Where the pools lie."""
    kind = request.config.getoption("pool_type")
    a_home = HOMES[kind](request.param, workspace)
    yield a_home
    a_home.close()


@pytest.fixture(scope="session")
def filesystem(home):
    """The mount point of a file system that can clone."""
    return home.path


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


@pytest.fixture(scope="session", params=KINDS)
def rig(request, workspace, daemon, stepper):
    """A file system whose every state can be looked at."""
    a_rig = Rig(workspace, daemon, request.param, stepper)
    yield a_rig
    a_rig.close()


@pytest.fixture
def holds(daemon, tmp_path):
    """Single calls of the daemon can be held."""
    with holding(daemon, tmp_path) as those:
        yield those


@pytest.fixture
def pools(daemon, home):
    """Makes pools and takes them away after the test."""
    made = []

    def make(place=None, **options):
        a_pool = home.pool(daemon, place, **options)
        made.append(a_pool)
        return a_pool

    make.home = home.path
    yield make
    daemon.ensure()
    for a_pool in reversed(made):
        a_pool.remove()


@pytest.fixture
def pool(pools):
    """A running pool that has its storage for itself."""
    return pools().up()


@pytest.fixture
def writer(request):
    """Something that has an image open as a running machine has."""
    return WRITERS[request.config.getoption("pool_type")]


@pytest.fixture
def elsewhere(pools, home, request):
    """A running pool that shares no storage with any other."""
    return home.elsewhere(pools, request)


@pytest.fixture
def stock(daemon, pools, request):
    """A pool of a stock type, whose copies read what they copy as it is."""
    if "holds" in request.fixturenames:
        request.getfixturevalue("holds")  # which starts the daemon anew
    with stock_pool(daemon, pools.home + "/stock-copies") as virt:
        yield virt


# What only tests of thin pools need


@pytest.fixture
def disks(workspace, request):
    """More disks, for one test."""
    folder = os.path.join(workspace.path, request.node.name.partition("[")[0])
    os.makedirs(folder, exist_ok=True)
    some = Disks(folder)
    yield some
    some.close()


@pytest.fixture
def groups(disks):
    """Makes volume groups, and takes them away after the test."""
    made = []

    def make(size=1024 * MIB, thin="vm-pool", data=None, sector=512,
             **options):
        name = f"test-{os.getpid()}-{next(NUMBERS)}"
        group = VolumeGroup(name, disks.add(size, sector), **options)
        made.append(group)
        if thin:
            group.add_thin_pool(thin, data or size // 2)
        return group

    yield make
    for group in made:
        group.close()


@pytest.fixture
def own(groups, daemon):
    """A small group with a pool of its own."""
    made = []

    def make(data=64 * MIB, meta=4 * MIB, when_full=None, **options):
        group = groups(size=256 * MIB, thin=None, **options)
        group.add_thin_pool("vm-pool", data, meta)
        if when_full:
            lvm("lvchange", "-q", "-q", "--errorwhenfull", when_full,
                group.name + "/vm-pool")
        pool = ThinPool(daemon, group, "vm-pool")
        made.append(pool)
        return pool.up()

    yield make
    daemon.ensure()
    for pool in made:
        pool.forget()


@pytest.fixture
def wrapped(daemon):
    """A daemon with words before its command line."""
    before = os.environ.get("LIBVIRTD_WRAPPER", "")

    def wrap(words):
        os.environ["LIBVIRTD_WRAPPER"] = words
        daemon.restart()

    yield wrap
    os.environ["LIBVIRTD_WRAPPER"] = before
    daemon.restart()


@pytest.fixture
def configured(wrapped, tmp_path):
    """A daemon whose LVM has such a lvm.conf; it passes no variable on."""

    def configure(text):
        (tmp_path / "lvm.conf").write_text(text)
        program = tmp_path / "lvm"
        program.write_text(f"#!/bin/sh\nLVM_SYSTEM_DIR='{tmp_path}' exec "
                           f"{shutil.which('lvm')} \"$@\"\n")
        program.chmod(0o755)
        wrapped(f"env PATH={tmp_path}:{os.environ['PATH']}")

    return configure


@pytest.fixture(scope="module")
def spy(workspace, daemon):
    """An lvm that counts and fails, for the daemon."""
    a_spy = LvmSpy(workspace.path, daemon)
    a_spy.start()
    yield a_spy
    a_spy.stop()
