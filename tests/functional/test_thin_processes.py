# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many LVM processes an operation takes (design section 10)."""

import pytest

from pools import MIB, pattern, snapshot_of
from streams import download, upload

MOST = {
    "refresh": 1, "create": 1, "clone": 1, "clone-revision": 1, "start": 1,
    "start-snapshot": 1, "pin": 1, "redefine": 1, "resize": 2, "discard": 2,
    "commit": 4, "commit-keep-0": 4, "revert": 4, "upload": 4, "stage": 4,
    "list": 0, "info": 0, "dump": 0,
}

CALLS = {
    "refresh": lambda p: p.refresh(),
    "create": lambda p: p.create("n"),
    "clone": lambda p: p.clone("a", "n"),
    "clone-revision": lambda p: p.clone(f"a@{p.revisions('a')[0]}", "n"),
    "start": lambda p: p.start("a"),
    "start-snapshot": lambda p: p.start("s"),
    "pin": lambda p: p.pin("a", "w"),
    "redefine": lambda p: p.redefine("a", keep=5),
    "resize": lambda p: p.vol("a").resize(2 * MIB, 0),
    "discard": lambda p: p.discard("r"),
    "commit": lambda p: p.commit("r"),
    "commit-keep-0": lambda p: p.commit("z"),
    "revert": lambda p: p.revert("a", p.revisions("a")[0]),
    "upload": lambda p: upload(p, "a", pattern("x")),
    "stage": lambda p: p.stage("b", "a"),
    "list": lambda p: p.names(),
    "info": lambda p: [v.info() for v in p.virt.listAllVolumes(0)],
    "dump": lambda p: [v.XMLDesc(0) for v in p.virt.listAllVolumes(0)],
}


@pytest.fixture(scope="module")
def counted(home, daemon, spy):
    """A pool with volumes in every state, used by all tests here."""
    a_pool = home.pool(daemon, keep=1).up()
    a_pool.create("a", content="one")
    a_pool.cycle("a", "two")
    a_pool.create("b", content="bee")
    a_pool.create("s", None, lifecycle=snapshot_of("b"))
    for name, keep in (("r", 1), ("z", 0)):
        a_pool.create(name, content="one", keep=1)
        a_pool.cycle(name, "two")
        a_pool.start(name)
        a_pool.write(name + "@live", pattern("three"))
        if not keep:
            a_pool.redefine(name, keep=0)
    assert spy
    yield a_pool
    a_pool.remove()


def put_back(pool, name):
    """Undo what the call did, for the next test."""
    for extra in ("n", "a@live", "s@live", "a@w"):
        if pool.has(extra):
            pool.delete(extra)
    if name == "resize":
        pool.vol("a").resize(MIB, 1 << 2)
    if name in ("discard", "commit", "commit-keep-0"):
        volume = "z" if name == "commit-keep-0" else "r"
        pool.start(volume)
        pool.write(volume + "@live", pattern(name))
    if name == "redefine":
        pool.redefine("a", keep=1)


@pytest.mark.parametrize("name", sorted(MOST))
def test_number_of_processes(counted, spy, name):
    """Section 10: lvm processes of each operation."""
    spy.reset()
    CALLS[name](counted)
    commands = spy.commands()
    put_back(counted, name)
    assert len(commands) <= MOST[name], "\n".join(commands)


@pytest.mark.parametrize("call", ["commit", "wipe"])
def test_merge_needs_no_look(counted, spy, call):
    """What the head is, the kernel tells, also of one that was just made."""
    counted.create("m", content="one", keep=5)
    if call == "commit":
        counted.start("m")
        counted.write("m@live", pattern("two"))
    spy.reset()
    {"commit": lambda: counted.commit("m"),
     "wipe": lambda: counted.vol("m").wipe(0)}[call]()
    commands = [line.split()[0] for line in spy.commands()]
    counted.delete("m")
    assert commands == {"commit": ["lvcreate", "lvconvert"],
                        "wipe": ["lvcreate", "lvchange", "lvconvert"]}[call]


def test_download_of_an_idle_volume(counted, spy):
    """A stable image: one snapshot, taken and removed."""
    spy.reset()
    assert len(download(counted, "a")) == counted.size("a")
    assert len(spy.commands()) <= 2, "\n".join(spy.commands())


def test_number_does_not_grow(counted, spy):
    """N20: the number of processes is that of one volume, not of all."""
    for number in range(6):
        counted.clone("b", f"more{number}")
    spy.reset()
    counted.refresh()
    counted.start("a")
    assert len(spy.commands()) <= 2, "\n".join(spy.commands())
    counted.discard("a")
    for number in range(6):
        counted.delete(f"more{number}")


def test_commands_are_restricted(counted, spy):
    """Section 3 of the contract: the VG and its disks, explicit fields."""
    spy.reset()
    counted.refresh()
    (line,) = spy.commands()
    assert counted.group.name in line and "json" in line
    assert counted.group.device in line     # --devices, or a filter
    assert " -o all" not in line and "percent" not in line


def test_commands_that_miss_no_disk(counted, spy):
    """What LVM does also with disks missing has to see them all: vgextend in
    test_thin_admin.py; everything else looks at the group's own only."""
    spy.reset()
    counted.start("a")
    counted.redefine("a", keep=7)
    counted.discard("a")
    for line in spy.commands():
        unrestricted = line.startswith(("lvremove ", "lvchange "))
        assert (counted.group.device in line) != unrestricted, line
