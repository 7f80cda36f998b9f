# SPDX-License-Identifier: LGPL-2.1-or-later
"""Giving a thin pool back to Qubes, by the commands of the how-to."""

import os
import re
import subprocess
import textwrap

import pytest

from filesystems import TOP
from pools import pattern, usually
from volumegroup import lvm

DOCUMENT = os.path.join(TOP, "docs", "HOWTO-ADOPT-QUBES.md")
VM = "vm-work-private"


def documented(part):
    """The commands of each block in a part of the how-to."""
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read().split(f"\n## {part}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^( *)```\n(.*?)^\1```$", text, re.M | re.S)
    return [re.split(r"^# ", textwrap.dedent(block), flags=re.M)[1:]
            for _, block in blocks]


def shell(pool, commands):
    """What an administrator of that pool types; the outputs together."""
    text = ""
    for command in commands:
        assert "qubes_dom0" in command
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c",
             command.replace("qubes_dom0", pool.group.name)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False)
        # Where grep finds no line it says so.
        good = (0, 1) if "grep" in command else (0,)
        assert done.returncode in good, done.stderr
        text += done.stdout
    return text


def stored(pool):
    """All that there is, but for the tags."""
    return {name: facts[:2] + facts[3:]
            for name, facts in pool.files.tree().items()}


def told(pool, *fields):
    """What LVM says of the thin volumes, by name."""
    out = lvm("lvs", "--noheadings", "--separator", ";", "-o",
              ",".join(("lv_name",) + fields), "-S", "segtype=thin",
              pool.group.name).stdout
    rows = [line.strip().split(";") for line in out.splitlines()]
    return {row[0]: row[1:] for row in rows}


def in_use(pool):
    """A volume with everything that it can have."""
    pool.create(VM)
    pool.cycle(VM, "one")
    pool.cycle(VM, "two")
    pool.pin(VM, "before-upgrade")
    pool.cycle(VM, "three")
    pool.start(VM)
    pool.write(VM + "@live", pattern("four"))
    return pool


@pytest.mark.parametrize("activation", usually(["all"], ["live"]))
def test_going_back(pools, activation):
    """Section 5: read by Qubes again: the how-to's commands, one by one."""
    plus, activate, untag = documented("Going back")
    pool = in_use(pools(activation=activation, keep=3).up())
    pool.commit(VM)
    assert shell(pool, plus).split() == [VM + "+pin+before-upgrade"]
    pool.delete(VM + "@before-upgrade")
    assert shell(pool, plus) == ""
    ids = pool.revisions(VM)
    pool.virt.destroy()
    pool.virt.undefine()
    before = stored(pool)
    assert any("libvirt.next=" in tags
               for (tags,) in told(pool, "lv_tags").values())

    if activation == "live":
        shell(pool, activate)
    shell(pool, untag)

    names = [VM] + [f"{VM}-{ident}-back" for ident in ids]
    assert len(ids) == 3
    # Active, to be activated at boot, and without tags.
    assert told(pool, "lv_tags", "lv_skip_activation", "lv_active") == {
        name: ["", "", "active"] for name in names}
    assert stored(pool) == before
    for name, tag in zip(names, ("four", "one", "two", "three")):
        with open(pool.files.place(name), "rb") as file:
            assert file.read() == pattern(tag), name
