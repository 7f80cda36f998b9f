# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs in examples/, run as a user runs them."""

import os
import subprocess
import sys

import pytest

from filesystems import TOP
from pools import MIB, pattern


def example(name, *words, check=True):
    """Run one; its output."""
    done = subprocess.run([sys.executable, f"{TOP}/examples/{name}", *words],
                          capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture
def manager(pool):
    """Run a command of qubes_manager.py; its lines of output."""
    def run(*words, check=True):
        return example("qubes_manager.py", pool.name, *words,
                       check=check).stdout.split("\n")[:-1]
    return run


def write(path, tag, size=MIB):
    """As a running machine does."""
    with open(path, "r+b", buffering=0) as disk:
        disk.write(pattern(tag, size))
        os.fsync(disk.fileno())


def reads(path, tag, size=MIB):
    """Whether a disk begins so."""
    with open(path, "rb") as disk:
        return disk.read(size) == pattern(tag, size)


@pytest.mark.timeout_seconds(400)
def test_flag_matrix_of_the_manager(pool, manager):
    """root is the template's again, private is kept, volatile is blank."""
    manager("template", "debian", "4")
    (root,) = manager("start", "debian")
    write(root, "system")
    manager("stop", "debian")
    manager("app", "work", "debian", "4")
    for number in range(3):
        root, private, volatile = manager("start", "work")
        assert reads(root, "system")
        if number:
            assert reads(private, f"mine {number - 1}")
        with open(volatile, "rb") as disk:
            assert not any(disk.read(MIB))
        for path, tag in ((root, "changed"), (private, f"mine {number}"),
                          (volatile, "swap")):
            write(path, tag)
        manager("stop", "work")
    assert reads(pool.device("work-private"), "mine 2")


def test_manager_tells_who_is_outdated(manager):
    """After an update of the template, until the machine starts anew."""
    manager("template", "debian", "4")
    for name in ("work", "mail"):
        manager("app", name, "debian", "4")
    manager("start", "work")
    assert manager("outdated") == []
    (root,) = manager("start", "debian")
    write(root, "update")
    manager("stop", "debian")
    manager("start", "mail")
    assert manager("outdated") == ["work"]
    manager("stop", "work")
    root, _, _ = manager("start", "work")
    assert reads(root, "update") and manager("outdated") == []


def test_manager_rolls_back(pool, manager):
    """An update that went wrong."""
    manager("template", "debian", "4")
    for tag in ("good", "bad"):
        (root,) = manager("start", "debian")
        write(root, tag)
        manager("stop", "debian")
    state, _, volume = manager("history", "debian")[-1].split()
    assert volume == "debian-root"
    manager("rollback", "debian", state)
    assert reads(pool.device("debian-root"), "good")


def test_manager_starts_all_or_nothing(pool, manager, writer):
    """No live copy is left of a start that failed."""
    manager("template", "debian", "4")
    manager("app", "work", "debian", "4")
    with writer(pool.device("work-private")):
        manager("start", "work", check=False)
        assert not any(name.endswith("@live") for name in pool.names())
    manager("start", "work")
    assert pool.has("work-root@live") and pool.has("work-volatile@live")


def test_manager_knows_its_machines(pool, manager):
    """What is not there is an error, and changes nothing."""
    done = example("qubes_manager.py", pool.name, "start", "absent",
                   check=False)
    assert done.returncode != 0 and "absent" in done.stderr
    assert manager("outdated") == [] and pool.names() == []


def test_manager_removes(pool, manager):
    """Everything of a machine."""
    manager("template", "debian", "4")
    manager("app", "work", "debian", "4")
    manager("remove", "work")
    manager("remove", "debian")
    assert pool.names() == []


def test_backup_of_a_running_machine(pool, tmp_path):
    """What it has written up to now, sparse, and nothing left over."""
    pool.create("a", 64 * MIB)
    pool.start("a")
    write(pool.device("a@live"), "now")
    path = tmp_path / "a.img"
    example("backup.py", pool.name, "a", str(path))
    assert os.stat(path).st_size == 64 * MIB and reads(path, "now")
    assert os.stat(path).st_blocks * 512 < 8 * MIB
    assert pool.names() == ["a", "a@live"]
    assert os.listdir(tmp_path) == ["a.img"]


def test_backup_of_a_volume_at_rest(pool, tmp_path):
    """Its head."""
    pool.create("a", MIB, content="one")
    path = tmp_path / "a.img"
    example("backup.py", pool.name, "a", str(path))
    assert reads(path, "one") and pool.names() == ["a"]


def test_backup_that_fails_leaves_nothing(pool, tmp_path):
    """Neither a file nor a clone."""
    pool.create("a", MIB, content="one")
    os.mkdir(tmp_path / "a.img.part")
    assert example("backup.py", pool.name, "a", str(tmp_path / "a.img"),
                   check=False).returncode != 0
    assert pool.names() == ["a"] and not os.path.exists(tmp_path / "a.img")


@pytest.mark.parametrize("status", [0, 1])
def test_start_commit(pool, status):
    """Commits what a command did, and discards it when that fails."""
    pool.create("a", MIB, content="one")
    example("start_commit.py", pool.name, "a", "sh", "-c",
            f"printf two >'$DISK'; exit {status}", check=False)
    with open(pool.device("a"), "rb") as disk:
        assert (disk.read(3) == b"two") == (status == 0)
    assert not pool.dirty("a")
