# SPDX-License-Identifier: LGPL-2.1-or-later
"""What libvirt's users expect of any storage pool, whatever its type.

The matrix follows the storage scripts of libvirt-TCK: life cycle, autostart,
redefinition, unique ids, inactive pools, lookups, copies, streams. A file for
each kind of volume says how its pools are made.
"""

import re
import uuid

import libvirt
import pytest

from pools import EXIST, INVALID, MISSING, refused
from streams import download, upload

NO_POOL = libvirt.VIR_ERR_NO_STORAGE_POOL
FAILED = libvirt.VIR_ERR_OPERATION_FAILED
RUNNING = libvirt.VIR_STORAGE_POOL_RUNNING
ACTIVE = libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE
PERSISTENT = libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT
# Calls that need a pool that runs, with what they are called with.
NEED_RUNNING = {
    "numOfVolumes": (), "listVolumes": (), "listAllVolumes": (0,),
    "refresh": (0,), "storageVolLookupByName": ("a",), "destroy": (),
    "createXML": ("<volume><name>b</name><capacity>1</capacity></volume>", 0)}


def renamed(xml, name, ident):
    """The document with another name and another id."""
    return re.sub(r"<name>[^<]*</name>(<uuid>[^<]*</uuid>)?",
                  f"<name>{name}</name><uuid>{ident}</uuid>", xml, count=1)


def listed(pool, flags):
    """Whether a list of pools with such flags has it."""
    return pool.name in [virt.name() for virt
                         in pool.daemon.conn.listAllStoragePools(flags)]


@pytest.mark.usually_once
class Behaviour:
    """Tests with a function make, for a pool that is not defined yet."""

    @pytest.fixture
    def make(self):
        raise NotImplementedError

    @pytest.fixture
    def up(self, make):
        """A running pool."""
        return make().up()

    def test_transient_life_cycle(self, make, daemon):
        """It is gone when it stops."""
        pool = make()
        pool.prepare()
        virt = daemon.conn.storagePoolCreateXML(pool.xml(), 0)
        assert virt.isActive() and not virt.isPersistent()
        assert listed(pool, ACTIVE) and not listed(pool, PERSISTENT)
        virt.destroy()
        with refused(NO_POOL):
            daemon.conn.storagePoolLookupByName(pool.name)

    def test_transient_pool_becomes_persistent(self, make, daemon):
        """By a definition while it runs."""
        pool = make()
        pool.prepare()
        virt = daemon.conn.storagePoolCreateXML(pool.xml(), 0)
        pool.define()
        assert virt.isActive() and virt.isPersistent()
        virt.destroy()
        assert not pool.virt.isActive()

    def test_transient_pool_has_no_autostart(self, make, daemon):
        """It has no place where that would be kept."""
        pool = make()
        pool.prepare()
        virt = daemon.conn.storagePoolCreateXML(pool.xml(), 0)
        with refused():
            virt.setAutostart(1)
        assert not virt.autostart()
        virt.destroy()

    def test_persistent_life_cycle(self, up, daemon):
        """Defined and running, stopped, and no more."""
        assert up.virt.isActive() and up.virt.isPersistent()
        assert listed(up, ACTIVE) and up.virt.info()[0] == RUNNING
        up.virt.destroy()
        assert not listed(up, ACTIVE) and listed(up, PERSISTENT)
        up.virt.create(0)
        up.virt.destroy()
        up.virt.undefine()
        with refused(NO_POOL):
            daemon.conn.storagePoolLookupByName(up.name)

    def test_running_pool_is_neither_started_nor_undefined(self, up):
        """Both need one that does not run."""
        with refused(INVALID):
            up.virt.create(0)
        with refused(INVALID):
            up.virt.undefine()
        assert up.virt.isActive() and up.virt.isPersistent()

    def test_autostart_of_a_persistent_pool(self, up, daemon):
        """It is kept, also by a daemon that starts anew."""
        assert not up.virt.autostart()
        up.virt.setAutostart(1)
        up.virt.destroy()
        daemon.restart_as_after_boot()
        assert up.virt.autostart() and up.virt.isActive()
        up.virt.setAutostart(0)
        up.virt.destroy()
        daemon.restart_as_after_boot()
        assert not up.virt.autostart() and not up.virt.isActive()

    def test_redefinition(self, up):
        """It takes effect when the pool starts again."""
        up.keep = 7
        up.define()
        up.restart()
        assert "keep='7'" in up.virt.XMLDesc(0).replace('"', "'")

    def test_printed_document_defines_the_same(self, up, daemon):
        """What is printed can be given back."""
        up.define()
        up.virt.destroy()
        text = up.virt.XMLDesc(0)
        daemon.conn.storagePoolDefineXML(text, 0)
        assert up.virt.XMLDesc(0) == text
        up.virt.create(0)

    @pytest.mark.parametrize("call", ["storagePoolDefineXML",
                                      "storagePoolCreateXML"])
    def test_names_and_ids_are_unique(self, up, daemon, call):
        """Neither the name with another id, nor the id with another name."""
        other = str(uuid.uuid4())
        with refused(FAILED):
            getattr(daemon.conn, call)(renamed(up.xml(), up.name, other), 0)
        with refused(FAILED):
            getattr(daemon.conn, call)(
                renamed(up.xml(), "other", up.virt.UUIDString()), 0)
        assert up.virt.isActive()

    def test_pool_is_found(self, up, daemon):
        """By its name and both forms of its id."""
        for found in (
                daemon.conn.storagePoolLookupByName(up.name),
                daemon.conn.storagePoolLookupByUUIDString(
                    up.virt.UUIDString()),
                daemon.conn.storagePoolLookupByUUID(up.virt.UUID())):
            assert found.name() == up.name
        with refused(NO_POOL):
            daemon.conn.storagePoolLookupByUUIDString(str(uuid.uuid4()))

    @pytest.mark.parametrize("call", NEED_RUNNING)
    def test_inactive_pool_refuses(self, up, call):
        """It has no volumes, and nothing to read or to stop."""
        up.create("a")
        virt = up.virt
        virt.destroy()
        with refused(INVALID):
            getattr(virt, call)(*NEED_RUNNING[call])
        assert not virt.isActive()

    def test_volume_is_found(self, up, daemon):
        """By its name, path and key; its pool by it."""
        vol = up.create("a")
        for found in (up.vol("a"), daemon.conn.storageVolLookupByPath(
                vol.path()), daemon.conn.storageVolLookupByKey(vol.key())):
            assert (found.name(), found.key()) == ("a", vol.key())
            assert found.storagePoolLookupByVolume().name() == up.name

    def test_missing_volume_is_not_found(self, up, daemon):
        """And all calls say so in the same way."""
        vol = up.create("a")
        path, key = vol.path(), vol.key()
        vol.delete(0)
        for lookup, word in ((up.vol, "a"),
                             (daemon.conn.storageVolLookupByPath, path),
                             (daemon.conn.storageVolLookupByKey, key)):
            with refused(MISSING):
                lookup(word)
        with refused(MISSING):
            vol.delete(0)

    def test_lists_agree(self, up):
        """All calls that list volumes, or count them."""
        for name in ("a", "b", "c"):
            up.create(name)
        assert sorted(up.virt.listVolumes()) == up.names() == ["a", "b", "c"]
        assert up.virt.numOfVolumes() == 3
        up.delete("b")
        assert sorted(up.virt.listVolumes()) == up.names() == ["a", "c"]

    def test_existing_name_is_refused(self, up):
        """And the volume is as before."""
        up.create("a", content="one")
        with up.refuses(EXIST):
            up.create("a")
        assert up.holds("a", "one")

    def test_printed_document_makes_the_same(self, up):
        """What a volume prints makes such a volume again."""
        vol = up.create("a")
        text, size = vol.XMLDesc(0), up.size("a")
        vol.delete(0)
        up.virt.createXML(text, 0)
        assert up.size("a") == size and up.blank("a")

    def test_copy_has_the_digest(self, up):
        """Until one of both is written to."""
        up.create("a", content="one")
        up.clone("a", "b")
        assert up.digest("a") == up.digest("b")
        up.cycle("a", "two")
        assert up.digest("a") != up.digest("b") and up.holds("b", "one")

    def test_copy_of_a_copy(self, up):
        """When the first is gone."""
        up.create("a", content="one")
        up.clone("a", "b")
        up.delete("a")
        up.clone("b", "c")
        assert up.holds("c", "one")

    def test_download_goes_into_another_volume(self, up):
        """What comes from a volume makes its equal."""
        up.create("a", content="one")
        up.create("b", content="two")
        data = download(up, "a")
        upload(up, "b", data)
        assert up.digest("a") == up.digest("b")
        assert download(up, "b") == data

    def test_wiped_volume_is_blank(self, up):
        """And still there."""
        up.create("a", content="one")
        up.vol("a").wipe(0)
        assert up.blank("a")

    def test_volumes_outlive_the_pool(self, up):
        """It stops, is undefined, and defined again."""
        up.create("a", content="one")
        up.cycle("a", "two")
        up.virt.destroy()
        up.virt.undefine()
        up.define()
        up.virt.create(0)
        assert up.holds("a", "two")
        assert up.holds(f"a@{up.revisions('a')[0]}", "one")

    def test_sizes_of_the_pool(self, up):
        """They fit together."""
        up.create("a", content="one")
        _, capacity, allocation, available = up.virt.info()
        assert 0 < available <= capacity and allocation <= capacity
