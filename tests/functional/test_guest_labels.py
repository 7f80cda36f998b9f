# SPDX-License-Identifier: LGPL-2.1-or-later
"""SELinux labels of images and trees, under a kernel that has SELinux."""

import os

import pytest

from filesystems import run
from fspoolpool import FsPool
from fstrees import put
from pools import pattern
from streams import upload

ATTRIBUTE = "security.selinux"
FILE, IMAGE, MOVED = (f"system_u:object_r:{kind}_t"
                      for kind in ("file", "image", "moved"))
HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module", autouse=True)
def selinux(tmp_path_factory, daemon):
    """A kernel with a policy, and a daemon that knows."""
    policy = tmp_path_factory.mktemp("selinux") / "policy"
    run("secilc", "-M", "false", "-o", str(policy), "-f", "/dev/null",
        os.path.join(HERE, "labels.cil"))
    if not os.path.ismount("/sys/fs/selinux"):
        run("mount", "-t", "selinuxfs", "none", "/sys/fs/selinux")
    with open("/sys/fs/selinux/load", "wb", buffering=0) as load:
        load.write(policy.read_bytes())
    # libselinux takes it for a sign that SELinux is in use.
    os.makedirs("/etc/selinux", exist_ok=True)
    with open("/etc/selinux/config", "w", encoding="ascii") as file:
        file.write("SELINUX=permissive\n")
    daemon.restart()


def label(path):
    """The label of a file."""
    return os.getxattr(path, ATTRIBUTE).rstrip(b"\0").decode()


def relabel(path, new):
    """Give it a label."""
    os.setxattr(path, ATTRIBUTE, new.encode() + b"\0")


def told(pool, name):
    """The label in the document of a volume."""
    return pool.dump(name).findtext("target/permissions/label")


@pytest.fixture(name="image")
def labelled(pool):
    """A pool whose volume has two revisions, and a label of its own."""
    pool.create("a", content="one", keep=3)
    pool.cycle("a", "two")
    pool.cycle("a", "three")
    relabel(pool.device("a"), IMAGE)
    pool.refresh()
    return pool


def test_label_is_told(image):
    """Section 4: <label> among the permissions, as of stock pools."""
    assert told(image, "a") == IMAGE


def test_new_volume_has_the_file_systems_label(pool):
    """No label is made up."""
    pool.create("a", content="one")
    assert label(pool.device("a")) == FILE == told(pool, "a")


CHANGES = {
    "commit": lambda pool: pool.cycle("a", "four"),
    "revert": lambda pool: pool.revert("a", pool.revisions("a")[0]),
    "upload": lambda pool: upload(pool, "a", pattern("sent")),
    "wipe": lambda pool: pool.vol("a").wipe(0),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_label_stays_with_the_volume(image, change):
    """Section 5: a switch carries the label over to the new inode."""
    CHANGES[change](image)
    assert label(image.device("a")) == IMAGE == told(image, "a")
    image.refresh()
    assert told(image, "a") == IMAGE


def test_live_copy_gets_the_label(image):
    """Section 3: start takes owner, mode and label over."""
    image.start("a")
    assert label(image.device("a@live")) == IMAGE == told(image, "a@live")


def test_label_of_the_live_copy_goes_with_the_machine(image):
    """What a security driver gave the live copy is not the volume's."""
    image.start("a")
    relabel(image.device("a@live"), MOVED)
    image.write("a@live", pattern("four"))
    image.commit("a")
    assert image.holds("a", "four")
    assert label(image.device("a")) == IMAGE


def test_trees_keep_their_labels(daemon, filesystem):
    """Section 3: a clone of a tree has all attributes."""
    pool = FsPool(daemon, filesystem, features="").up()
    try:
        pool.create("a")
        place = pool.device("a")
        put(place + "/file", b"x")
        relabel(place + "/file", IMAGE)
        relabel(place, MOVED)
        pool.clone("a", "b")
        copy = pool.device("b")
        assert label(copy + "/file") == IMAGE and label(copy) == MOVED
    finally:
        pool.remove()
