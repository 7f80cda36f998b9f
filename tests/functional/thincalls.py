# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a thin pool is asked for that cannot take it."""

from pools import pattern
from streams import upload

# What takes room, and so is refused first.
CALLS = {
    "create": lambda p: p.create("n"),
    "clone": lambda p: p.clone("a", "n"),
    "start": lambda p: p.start("a"),
    "pin": lambda p: p.pin("a", "w"),
    "revert": lambda p: p.revert("a", p.revisions("a")[0]),
    "upload": lambda p: upload(p, "a", pattern("x")),
    "stage": lambda p: p.stage("b", "a"),
}


def some(pool):
    """A volume with a revision, another, and one with a live copy."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.create("b", content="bee")
    pool.create("r", content="one")
    pool.start("r")
    pool.write("r@live", pattern("two"))
