# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an unmodified virsh does, command by command (design section 1).

Elsewhere: vol-create-as test_create; vol-clone test_clone; vol-delete
test_delete; vol-resize test_resize; vol-upload and vol-download test_streams;
vol-wipe test_wipe; vol-list, vol-path and vol-info test_list; pool-define
test_xml; find-storage-pool-sources, pool-capabilities and pool-list test_pool.
"""

import os

import pytest

from pools import PERSISTENT, VOLATILE, pattern, volume_xml

BAD = "<unheard-of/>"


@pytest.fixture
def virsh(pool, tmp_path):
    """virsh COMMAND with the pool's name, or a document, where asked for."""
    def run(*words, xml=None, check=True):
        file = tmp_path / "document.xml"
        file.write_text(xml or "")
        known = {"POOL": pool.name, "FILE": str(file)}
        return pool.daemon.virsh(*[known.get(w, w) for w in words],
                                 check=check)
    return run


def fails(done, *words):
    """It ended with an error message that has these words."""
    assert done.returncode != 0
    assert all(word in done.stderr for word in words), done.stderr


def test_pin(pool, virsh):
    """Section 3: create-from A to A@word."""
    pool.create("a", content="one")
    virsh("vol-clone", "a", "a@before-upgrade", "--pool", "POOL")
    pool.cycle("a", "two")
    assert pool.pins("a") == ["before-upgrade"]
    assert pool.holds("a@before-upgrade", "one")


def test_start_commit_revert(pool, virsh):
    """Section 3: A to A@live, A@live to A, A@ID to A."""
    pool.create("a", content="one")
    virsh("vol-clone", "a", "a@live", "--pool", "POOL")
    pool.write("a@live", pattern("two"))
    virsh("vol-clone", "a@live", "a", "--pool", "POOL")
    assert pool.holds("a", "two") and not pool.dirty("a")
    (first,) = pool.revisions("a")
    virsh("vol-clone", f"a@{first}", "a", "--pool", "POOL")
    assert pool.holds("a", "one") and len(pool.revisions("a")) == 2


def test_stage(pool, virsh):
    """Section 3: create-from X to A@live; vol-delete gives it up."""
    pool.create("x", content="new")
    pool.create("a", content="one")
    virsh("vol-clone", "x", "a@live", "--pool", "POOL")
    assert pool.holds("a@live", "new") and pool.holds("a", "one")
    virsh("vol-delete", "a@live", "--pool", "POOL")
    assert not pool.dirty("a") and pool.holds("a", "one")


def test_redefine(pool, virsh):
    """Section 3: create-from A to A takes <lifecycle> and keep alone."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    virsh("vol-create-from", "POOL", "FILE", "a", "--inputpool", "POOL",
          xml=volume_xml("a", lifecycle=VOLATILE, keep=7))
    life = pool.dump("a").find("lifecycle")
    assert (life.get("snapOnStart"), life.get("saveOnStop")) == ("no", "no")
    assert pool.dump("a").find("revisions").get("keep") == "7"
    assert pool.holds("a", "two") and len(pool.revisions("a")) == 1


def test_redefine_prunes(pool, virsh):
    """Section 3: a lower explicit keep prunes at once."""
    pool.create("a", content="0", keep=3)
    for tag in "123":
        pool.cycle("a", tag)
    last = pool.revisions("a")[-1]
    virsh("vol-create-from", "POOL", "FILE", "a", "--inputpool", "POOL",
          xml=volume_xml("a", keep=1))
    assert pool.revisions("a") == [last]


def test_create_validate(pool, virsh):
    """Section 4: vol-create --validate takes a good document."""
    virsh("vol-create", "POOL", "FILE", "--validate",
          xml=volume_xml("a", lifecycle=PERSISTENT, keep=2))
    assert pool.names() == ["a"]
    assert pool.dump("a").find("revisions").get("keep") == "2"


def test_create_validate_refuses(pool, virsh):
    """Section 4: and no bad one, which is taken without it."""
    document = volume_xml("a", extra=BAD)
    with pool.untouched():
        fails(virsh("vol-create", "POOL", "FILE", "--validate", xml=document,
                    check=False), "unheard-of")
    virsh("vol-create", "POOL", "FILE", xml=document)
    assert pool.names() == ["a"]


def test_create_from_validate(pool, virsh):
    """Section 4: vol-create-from --validate takes a good document."""
    pool.create("a", content="one")
    virsh("vol-create-from", "POOL", "FILE", "a", "--inputpool", "POOL",
          "--validate", xml=volume_xml("b", keep=2))
    assert pool.holds("b", "one")
    assert pool.dump("b").find("revisions").get("keep") == "2"


def test_create_from_validate_refuses(pool, virsh):
    """Section 4: and no bad one, which is taken without it."""
    pool.create("a", content="one")
    command = ["vol-create-from", "POOL", "FILE", "a", "--inputpool", "POOL"]
    document = volume_xml("b", extra=BAD)
    with pool.untouched():
        fails(virsh(*command, "--validate", xml=document, check=False),
              "unheard-of")
    virsh(*command, xml=document)
    assert pool.holds("b", "one")


@pytest.mark.parametrize("flag", ["--overwrite", "--no-overwrite"])
def test_pool_build_makes_the_directory(pools, daemon, flag):
    """Section 3: either flag alone, on nothing."""
    pool = pools().define()
    daemon.virsh("pool-build", pool.name, flag)
    assert os.listdir(pool.path) == []
    daemon.virsh("pool-start", pool.name)
    pool.create("a", content="one")


@pytest.mark.parametrize("flag", ["--overwrite", "--no-overwrite"])
def test_pool_build_keeps_what_is_there(pool, daemon, flag):
    """Stock: a directory is kept with all that is in it, whatever the flag."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.virt.destroy()
    with pool.untouched():
        daemon.virsh("pool-build", pool.name, flag)
    daemon.virsh("pool-start", pool.name)
    assert pool.holds("a", "two") and len(pool.revisions("a")) == 1


def test_pool_build_takes_one_flag(pools, daemon):
    """Section 3: they mean what they mean elsewhere in libvirt."""
    pool = pools().define()
    fails(daemon.virsh("pool-build", pool.name, "--overwrite",
                       "--no-overwrite", check=False), "mutually exclusive")
    assert not os.path.exists(pool.path)


def test_pool_delete(pool, daemon):
    """Section 3: pool-delete removes the directory of a stopped pool."""
    fails(daemon.virsh("pool-delete", pool.name, check=False), pool.name)
    daemon.virsh("pool-destroy", pool.name)
    daemon.virsh("pool-delete", pool.name)
    assert not os.path.exists(pool.path)
    assert pool.virt.isPersistent()


def test_pool_delete_keeps_volumes(pool, daemon):
    """Stock: only an empty directory goes."""
    pool.create("a", content="one")
    pool.virt.destroy()
    with pool.untouched():
        fails(daemon.virsh("pool-delete", pool.name, check=False), pool.path)
    daemon.virsh("pool-start", pool.name)
    assert pool.holds("a", "one")
