# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pytest plugin of test_fspool_*.py: file systems, and pools on them.

The fixture fs is a file system of each kind that the kernel has; a test marks
what it needs of one. What cannot run under this kernel is none here.
"""

import os
import tempfile

import pytest

from filesystems import MIB
from fsplaces import IN_GUEST, ONE_FILE_SYSTEM, FsHome, NfsHome, kinds
from fspoolpool import FsPool
from fstrees import destroy, listing, put
from pools import pattern


# Where every test runs; a test of what they differ in runs on all kinds.
USUAL = ("btrfs-full", "xfs-none", "xfs-project", "ext4-project", "nfs")
ALL_KINDS = ("limits", "quota", "items")
# Crashes where a tree is copied, and no snapshot.
COPIED = "xfs-none", "upload-prune"


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(*features): the file systems "
                            "that a test of fspool is for")
    config.addinivalue_line("markers", "only_guest: needs another kernel")
    config.addinivalue_line("markers", "only_host: not again in a guest")
    config.addinivalue_line("markers", "usually_once: knows nothing of file "
                            "systems; on all of them only with --long")


def pytest_generate_tests(metafunc):
    """Each test runs on all kinds that have what it needs."""
    if "fs" in metafunc.fixturenames:
        needs = sum((m.args for m in
                     metafunc.definition.iter_markers("needs")), ())
        one = ONE_FILE_SYSTEM or (
            not metafunc.config.getoption("long")
            and any(metafunc.definition.iter_markers("usually_once")))
        found = kinds(*needs)[:1 if one else None]
        metafunc.parametrize("fs", found or ["nowhere"],
                             indirect=True, scope="session")


def is_elsewhere(item, kind):
    """Whether another kernel, or nobody, is asked that."""
    if kind != "reflink":
        return True
    params = item.callspec.params if hasattr(item, "callspec") else {}
    wrong = "only_host" if IN_GUEST else "only_guest"
    return (params.get("fs") == "nowhere"
            or item.get_closest_marker(wrong) is not None)


def is_unusual(item):
    """Whether the test shows nothing new on its kind of file system."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    name = os.path.basename(str(item.fspath)).split(".")[0]
    part = name.replace("test_fspool_", "")
    if part == "crash":  # every step of a copy of a tree takes long
        if item.originalname == "test_killed_recovery_is_repeated":
            return params["fsrig"] != USUAL[0]
        return params["fsrig"] != USUAL[0] and (
            (params["fsrig"], params.get("name")) != COPIED)
    kind = params.get("fs", USUAL[0])
    return kind not in USUAL and part not in ALL_KINDS


def pytest_collection_modifyitems(config, items):
    """What cannot run here is no test here."""
    kind = config.getoption("pool_type")
    everything = config.getoption("all_file_systems")
    others = [i for i in items if os.path.basename(str(i.fspath)).startswith(
        "test_fspool_") and (is_elsewhere(i, kind) or
                             not everything and is_unusual(i))]
    config.hook.pytest_deselected(items=others)
    items[:] = [i for i in items if i not in others]


@pytest.fixture(scope="session")
def fs(request, workspace):
    """A file system of the kind that the test's name has."""
    kind = request.param
    home = (NfsHome if kind == "nfs" else FsHome)(kind, workspace)
    yield home
    home.close()


@pytest.fixture
def small_fs(fs, workspace):
    """A file system of that kind that can be filled."""
    home = FsHome(fs.kind, workspace, 320 * MIB, f"small-{fs.kind}.img")
    yield home
    home.close()


@pytest.fixture
def fspools(daemon, fs):
    """Makes pools and takes them away after the test."""
    made = []

    def make(place=None, **options):
        pool = FsPool(daemon, place or fs.path, **options)
        made.append(pool)
        return pool

    yield make
    daemon.ensure()
    for pool in reversed(made):
        pool.remove()


@pytest.fixture
def fspool(fspools):
    """A running pool."""
    return fspools().up()


@pytest.fixture
def outside(fs):
    """A folder beside the pools that nobody may touch."""
    path = tempfile.mkdtemp(prefix="outside-", dir=fs.path)
    os.mkdir(path + "/sub")
    put(path + "/secret", pattern("secret"))
    put(path + "/sub/inner", b"inner")
    before = listing(path, top=True), os.lstat(path + "/secret").st_nlink
    yield path
    after = listing(path, top=True), os.lstat(path + "/secret").st_nlink
    destroy(path)
    assert after == before
