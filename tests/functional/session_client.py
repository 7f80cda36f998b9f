# SPDX-License-Identifier: LGPL-2.1-or-later
"""What test_session.py runs beside an unprivileged daemon."""

import os
import sys

from daemon import Daemon
from pools import pattern, refused, snapshot_of
from reflinkpool import ReflinkPool
from streams import download, upload


def cycle(pool):
    """The whole life of a volume."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    (ident,) = pool.revisions("a")
    pool.clone(f"a@{ident}", "b")
    pool.pin("a", "w")
    pool.revert("a", ident)
    assert pool.holds("a", "one") and pool.holds("b", "one")
    pool.create("n", None, lifecycle=snapshot_of("a"))
    pool.start("n")
    pool.discard("n")
    upload(pool, "b", pattern("three"))
    assert download(pool, "b") == pattern("three")
    pool.vol("b").wipe(0)
    pool.vol("b").resize(2 << 20, 0)


def attributes(pool):
    """Unprivileged daemons keep metadata in the user namespace."""
    pool.create("a", content="one", keep=5)
    pool.restart()
    assert pool.dump("a").find("revisions").get("keep") == "5"
    names = os.listxattr(pool.files.head("a"))
    assert "user.libvirt.storage" in names, names
    assert "trusted.libvirt.storage" not in names


def owner(pool):
    """Files belong to the daemon's user."""
    pool.create("a")
    assert os.stat(pool.files.head("a")).st_uid == os.stat(pool.path).st_uid
    assert os.stat(pool.files.head("a")).st_uid != 0


def forbidden(pool):
    """What the user may not do is refused by the kernel, and reported."""
    folder = pool.path + "/closed"
    os.makedirs(folder, mode=0o700)
    pool.create("a", content="one")
    pool.refresh()
    with refused():
        pool.create("closed/x")
    assert pool.names() == ["a"]


def foreign(pool):
    """A file of another user is skipped or listed, but fails no refresh."""
    with open(pool.files.head("root-owned"), "wb") as file:
        file.write(b"x" * 4096)
    os.chmod(pool.files.head("root-owned"), 0o600)
    pool.create("a", content="one")
    pool.refresh()
    assert pool.has("a")


def restart(pool):
    """A dead unprivileged daemon loses nothing."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    pool.daemon.restart()
    pool.begin()
    pool.commit("a")
    assert pool.holds("a", "two")


if __name__ == "__main__":
    a_pool = ReflinkPool(Daemon(), None, name="s" + sys.argv[1],
                         path=sys.argv[2])
    a_pool.up()
    try:
        globals()[sys.argv[1]](a_pool)
        a_pool.refresh()
        assert a_pool.files.at_rest() == []
    finally:
        a_pool.remove()
    print("done")
