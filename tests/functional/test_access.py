# SPDX-License-Identifier: LGPL-2.1-or-later
"""Access control: creating is no right to change or remove (section 9)."""

import os

import libvirt
import pytest

from pools import refused
from preload import preloaded

# virAccessPermStorageVol
NONE, DELETE, DATA_WRITE = "", 3, 7


class Denials:
    """A daemon that refuses one permission on volumes."""

    def __init__(self, folder):
        self.file = os.path.join(folder, "denied")

    def of(self, permission):
        """From now on."""
        with open(self.file, "w", encoding="ascii") as file:
            file.write(str(permission))


@pytest.fixture
def denials(daemon, tmp_path):
    """No permission is refused at first."""
    those = Denials(tmp_path)
    with preloaded(daemon, tmp_path, "deny", DENY_FILE=those.file):
        yield those


@pytest.fixture
def written(pool, denials):
    """A volume with a revision and a live copy, and one beside it."""
    pool.begin()
    pool.create("a", content="one", keep=3)
    pool.cycle("a", "two")
    pool.create("b", content="b")
    return pool


CALLS = {
    "commit": lambda pool: pool.commit("a"),
    "revert": lambda pool: pool.revert("a", pool.revisions("a")[0]),
    "stage": lambda pool: pool.stage("b", "a"),
    "redefine": lambda pool: pool.redefine("a", keep=1),
    "clone": lambda pool: pool.clone("a", "c"),
    "start": lambda pool: pool.start("a"),
    "pin": lambda pool: pool.pin("a", "word"),
}
NEEDS = {
    "commit": (DATA_WRITE, DELETE),
    "revert": (DATA_WRITE,),
    "stage": (DATA_WRITE,),
    "redefine": (DATA_WRITE, DELETE),
}


@pytest.mark.parametrize("permission", [DATA_WRITE, DELETE],
                         ids=["data_write", "delete"])
@pytest.mark.parametrize("name", CALLS)
def test_permission_that_an_operation_needs(written, denials, name,
                                            permission):
    """Section 9: what changes or removes content asks for just that."""
    pool = written
    if name == "commit":
        pool.start("a")
    denials.of(permission)
    if permission in NEEDS.get(name, ()):
        with pool.untouched(), refused(libvirt.VIR_ERR_ACCESS_DENIED):
            CALLS[name](pool)
        denials.of(NONE)
    CALLS[name](pool)
