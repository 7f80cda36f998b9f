# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pool itself: a thin pool in a volume group (design sections 3 and 4)."""

import os
import xml.etree.ElementTree as ET

import libvirt
import pytest

import thinfill
from filesystems import run
from pools import INVALID, MIB, pattern, refused, wait_for
from streams import begin_download, download, receive, upload
from thinpool import ThinPool
from users import opened
from volumegroup import VolumeGroup, lvm, metadata_text

GIB = 1024 * MIB
OVERWRITE = libvirt.VIR_STORAGE_POOL_BUILD_OVERWRITE
NO_OVERWRITE = libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE
EXTENT = 4 * MIB        # LVM's own choice


@pytest.fixture
def unbuilt(disks, daemon, request):
    """A defined pool on an empty disk."""
    made = []

    def make(*sizes, thin="vm-pool"):
        devices = [disks.add(size) for size in sizes or (GIB,)]
        name = f"built-{os.getpid()}-{len(made)}"
        group = VolumeGroup.built(name, devices[0])
        pool = ThinPool(daemon, group, thin, devices=devices)
        made.append(pool)
        return pool.define()

    yield make
    for pool in made:
        pool.forget()
        pool.group.close()


# Build and delete


def test_build_makes_group_and_thin_pool(unbuilt):
    """Section 3: pool-build: VG and thin pool on the devices."""
    pool = unbuilt()
    pool.virt.build(0)
    pool.virt.create(0)
    size, free, area = pool.group.about("vg_size", "vg_free", "vg_mda_size")
    assert area >= 60 * MIB         # 10,000 volumes, each with revisions
    assert free <= size // 20       # the thin pool has nearly all
    pool.create("a", EXTENT, content="one")
    pool.cycle("a", "two")
    assert pool.holds("a", "two")
    assert pool.virt.info()[1] > size * 0.9


def test_built_metadata_fits_the_pool(unbuilt):
    """Section 3: thin metadata sized for the pool."""
    pool = unbuilt(8 * GIB)
    pool.virt.build(0)
    volumes = pool.group.metadata()["logical_volumes"]
    data, meta = (int(volumes[f"{pool.thin}_{part}"]["segment1"][
        "extent_count"]) * EXTENT for part in ("tdata", "tmeta"))
    chunk = int(volumes[pool.thin]["segment1"]["chunk_size"]) * 512
    # 64 bytes for each chunk are what LVM takes; revisions share chunks.
    assert meta >= data // chunk * 64
    assert meta < data // 10


@pytest.mark.slow
def test_build_on_two_disks(unbuilt):
    """Section 4: <device> may be given more than once."""
    pool = unbuilt(GIB, GIB)
    pool.virt.build(0)
    pool.virt.create(0)
    assert pool.group.about("pv_count") == [2]
    assert pool.virt.info()[1] > 1.5 * GIB


@pytest.mark.parametrize("flags", [0, NO_OVERWRITE])
def test_build_respects_signatures(unbuilt, flags):
    """Section 3: existing signatures are respected."""
    pool = unbuilt()
    run("mkfs.ext4", "-q", pool.devices[0])
    with open(pool.devices[0], "rb") as file:
        before = file.read(MIB)
    with refused(match="ext4|signature|overwrite"):
        pool.virt.build(flags)
    with open(pool.devices[0], "rb") as file:
        assert file.read(MIB) == before


def test_build_overwrites_when_told(unbuilt):
    """Section 3: --overwrite."""
    pool = unbuilt()
    run("mkfs.ext4", "-q", pool.devices[0])
    pool.virt.build(OVERWRITE)
    pool.virt.create(0)
    pool.create("a", EXTENT, content="one")
    assert pool.holds("a", "one")


def test_build_with_one_bad_disk_touches_none(unbuilt):
    """Section 3: nothing half done, on several disks either."""
    pool = unbuilt(GIB, GIB)
    run("mkfs.xfs", "-q", pool.devices[1])
    with refused():
        pool.virt.build(NO_OVERWRITE)
    for device, kind in zip(pool.devices, ("", "xfs")):
        out = run("blkid", "-p", "-s", "TYPE", "-o", "value", device,
                  check=False).stdout
        assert out.strip() == kind


def build_over_a_group(pool, *options):
    """Have it built over a group that LVM made; returns the group's parts."""
    name = pool.group.name
    lvm("vgcreate", "-q", "-q", "-y", name, pool.devices[0])
    if options:
        lvm("vgchange", "-q", "-q", "-y", *options, name)
    before = pool.group.metadata()
    pool.virt.build(OVERWRITE)
    return before


def test_build_finds_the_group_whatever_lvm_prints(unbuilt, configured):
    """A group that is there stays, also if reports look otherwise."""
    pool = unbuilt()
    configured('report { output_format = "json" }')
    before = build_over_a_group(pool)
    assert pool.group.metadata()["id"] == before["id"]
    pool.virt.create(0)


def test_build_over_the_group_of_another_host_is_refused(unbuilt):
    """What LVM may not look into is not absent: nothing is overwritten."""
    pool = unbuilt()
    with refused(match="system ID"):
        build_over_a_group(pool, "--systemid", "other")
    assert pool.group.metadata()["system_id"] == "other"


def test_two_groups_of_one_name_are_told(unbuilt):
    """Neither is taken for the other, and both stay as they are."""
    pool = unbuilt(GIB, GIB)
    for device in pool.devices:     # LVM makes no second one that it sees
        lvm("vgcreate", "-q", "-q", "-y", "--devices", device,
            pool.group.name, device)
    before = [metadata_text(device) for device in pool.devices]
    try:
        with refused(match="vg_uuid"):
            pool.virt.build(OVERWRITE)
        with refused(match="same name"):
            pool.virt.create(0)
        assert [metadata_text(each) for each in pool.devices] == before
    finally:
        run("wipefs", "-q", "-a", pool.devices[1])


@pytest.mark.parametrize("flags", [0, OVERWRITE, NO_OVERWRITE])
def test_build_of_what_is_there_keeps_it(pool, flags):
    """A build never touches volumes that are there."""
    pool.create("a", content="one")
    pool.virt.destroy()
    pool.devices = (pool.group.device,)
    pool.define()
    with pool.untouched():
        try:
            pool.virt.build(flags)
        except libvirt.libvirtError:
            pass
    pool.virt.create(0)
    assert pool.holds("a", "one")


def test_delete_removes_the_group(unbuilt):
    """Section 3: pool-delete removes VG and thin pool."""
    pool = unbuilt()
    pool.virt.build(0)
    pool.virt.delete(0)
    assert lvm("vgs", pool.group.name, check=False).returncode != 0
    assert run("blkid", "-p", pool.devices[0], check=False).stdout == ""


def test_delete_keeps_a_pool_with_volumes(pool):
    """As with a directory: only an empty pool goes."""
    pool.create("a", content="one")
    pool.virt.destroy()
    with pool.untouched(), refused():
        pool.virt.delete(0)
    pool.virt.create(0)
    assert pool.holds("a", "one")


def test_delete_keeps_a_group_with_other_volumes(unbuilt):
    """Section 5: LVs of other tools are never removed."""
    pool = unbuilt(GIB)
    name = pool.group.name
    lvm("vgcreate", "-q", "-q", "-y", name, pool.devices[0])
    lvm("lvcreate", "-q", "-q", "-y", "-L", "16m", "-n", "root", name)
    pool.group.add_thin_pool(pool.thin, 256 * MIB)
    try:
        pool.virt.delete(0)
    except libvirt.libvirtError:
        pass
    assert "root" in pool.group.metadata()["logical_volumes"]


# Start and stop


def test_start_without_group_fails_and_later_works(disks, groups, daemon):
    """N16: VG absent at daemon start: inactive; a later start works."""
    group = groups()
    pool = ThinPool(daemon, group, "vm-pool").up()
    try:
        pool.create("a", content="one")
        pool.virt.setAutostart(1)
        pool.virt.destroy()
        lvm("vgchange", "-q", "-q", "-an", group.name)
        path = disks.detach(group.device)
        daemon.restart_as_after_boot()
        assert not pool.virt.isActive() and pool.virt.autostart()
        with refused(match=group.name):
            pool.virt.create(0)
        group.device = disks.attach(path)
        pool.virt.create(0)
        assert pool.holds("a", "one")
    finally:
        pool.remove()


def test_start_without_thin_pool_fails(pools):
    """Section 6: pool start says what is missing."""
    pool = pools()
    pool.thin = "absent"
    pool.define()
    with refused(match="absent"):
        pool.virt.create(0)
    pool.forget()
    pool.thin = "vm-pool"


def test_start_on_a_plain_volume_fails(pools):
    """A logical volume that is no thin pool is not taken for one."""
    pool = pools()
    lvm("lvcreate", "-q", "-q", "-y", "-l", "1", "-n", "plain",
        pool.group.name)
    try:
        pool.thin = "plain"
        pool.define()
        with refused():
            pool.virt.create(0)
    finally:
        pool.forget()
        pool.thin = "vm-pool"
        lvm("lvremove", "-q", "-q", "-y", pool.group.name + "/plain")


@pytest.mark.slow
def test_start_activates_all(pool):
    """Section 4: activation='all', the default; H8 for live copies."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    pool.start("a")
    pool.write("a@live", pattern("three"))
    pool.virt.destroy()
    lvm("vgchange", "-q", "-q", "-an", pool.group.name)
    pool.virt.create(0)
    for name in pool.names():
        assert os.path.exists(pool.device(name)), name
    pool.commit("a")
    assert pool.holds("a", "three")


def test_start_with_a_volume_that_cannot_be_activated(pool):
    """Section 6: one bad LV does not keep the others from being used."""
    for name in "ab":
        pool.create(name, content=name)
    device = pool.group.mapper(pool.thin) + "-tpool"
    ident = pool.files.volume(pool.files.head("b")).device_id
    pool.virt.destroy()
    pool.files.change(pool.files.head("b"), "-an")
    thinfill.message(device, f"delete {ident}")
    try:
        pool.begin()
        assert pool.names() == ["a", "b"] and pool.holds("a", "a")
        pool.cycle("a", "two")
        with refused():
            pool.start("b")
    finally:
        thinfill.message(device, f"create_thin {ident}")


def test_activation_live(pools):
    """Section 4: heads stay inactive; everything works all the same."""
    pool = pools(activation="live", keep=2).up()
    pool.create("a")
    assert not pool.group.active("a")
    pool.start("a")
    pool.write("a@live", pattern("one"))
    assert not pool.group.active("a")
    pool.commit("a")
    pool.cycle("a", "two")
    pool.clone("a", "b")
    pool.pin("a", "w")
    (_, second) = pool.revisions("a")
    active = [n for n in pool.files.all() if pool.group.active(n)]
    assert active == []
    pool.revert("a", second)
    pool.vol("a").resize(2 * MIB, 0)
    pool.start("a")
    assert pool.read("a@live") == pattern("one") + bytes(MIB)
    pool.refresh()
    pool.restart()
    assert [n for n in pool.files.all() if pool.group.active(n)] == ["a-snap"]
    pool.discard("a")
    assert pool.size("a") == 2 * MIB


@pytest.mark.slow
def test_activation_live_and_streams(pools, tmp_path):
    """Section 4: what is inactive is activated for as long as needed."""
    pool = pools(activation="live").up()
    pool.create("a")
    file = tmp_path / "data"
    file.write_bytes(pattern("sent"))

    def none_active():
        """The end of a stream is cleaned up after in the background."""
        wait_for(lambda: not any(map(pool.group.active, pool.files.all())))

    pool.daemon.virsh("vol-upload", "a", str(file), "--pool", pool.name)
    none_active()
    pool.daemon.virsh("vol-download", "a", str(file) + ".out", "--pool",
                      pool.name)
    assert (tmp_path / "data.out").read_bytes() == pattern("sent")
    none_active()
    pool.vol("a").wipe(0)
    none_active()


def test_stop_leaves_what_is_in_use(pool):
    """Section 3: stop without tearing down volumes in use."""
    pool.create("a", content="one")
    pool.start("a")
    pool.write("a@live", pattern("two"))
    with opened(pool.device("a@live")) as fd:
        pool.virt.destroy()
        assert pool.group.active("a-snap")
        os.pwrite(fd, pattern("three"), 0)
        os.fsync(fd)
        pool.virt.create(0)
        assert pool.dirty("a")
    pool.commit("a")
    assert pool.holds("a", "three")


# What else is in the group


def test_other_volumes_of_the_group_are_left_alone(pool):
    """Section 5: LVs of other tools: neither listed nor touched."""
    name = pool.group.name
    lvm("lvcreate", "-q", "-q", "-y", "-l", "4", "-n", "a-snap", name)
    lvm("lvcreate", "-q", "-q", "-y", "-l", "1", "-n", "root", name)
    pool.group.add_thin_pool("other", 64 * MIB, 4 * MIB)
    lvm("lvcreate", "-q", "-q", "-V", "1m", "-n", "b-9-back", "--thinpool",
        name + "/other")
    try:
        rest = {n: v for n, v in pool.group.metadata()[
            "logical_volumes"].items()}
        pool.create("b", content="one")
        pool.cycle("b", "two")
        pool.refresh()
        (ident,) = pool.revisions("b")
        assert pool.names() == ["b", f"b@{ident}"]
        pool.create("a", content="one")
        with refused():
            pool.start("a")
        pool.delete("b")
        pool.delete("a")
        pool.restart()
        now = pool.group.metadata()["logical_volumes"]
        assert {n: now.get(n) for n in rest if n != pool.thin} == {
            n: v for n, v in rest.items() if n != pool.thin}
    finally:
        lvm("lvremove", "-q", "-q", "-ff", "-y", f"{name}/a-snap",
            f"{name}/root", f"{name}/other")


def test_second_pool_on_the_thin_pool_is_refused(pool, daemon):
    """Duplicate pools; another thin pool of the group is another pool."""
    with refused():
        ThinPool(daemon, pool.group, pool.thin).define()
    other = ThinPool(daemon, pool.group, "another").define()
    other.forget()


# Sizes


@pytest.mark.slow
def test_sizes_are_rounded_up_to_extents(groups, daemon):
    """Sizes are whole extents, of 4 MiB by default; zero is refused."""
    pool = ThinPool(daemon, groups(extent=EXTENT), "vm-pool").up()
    try:
        for asked, told in ((1, EXTENT), (EXTENT, EXTENT),
                            (EXTENT + 1, 2 * EXTENT)):
            pool.create(f"a{asked}", asked)
            assert pool.size(f"a{asked}") == told
            assert pool.files.size(pool.files.head(f"a{asked}")) == told
        with pool.refuses():
            pool.create("z", 0)
        vol = pool.vol("a1")
        vol.resize(EXTENT + 1, 0)
        assert pool.size("a1") == 2 * EXTENT
        vol.resize(EXTENT, libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK)
        assert pool.size("a1") == EXTENT
        with pool.refuses():
            vol.resize(0, libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK)
    finally:
        pool.remove()


def reported(pool):
    """(size, used) of data and of metadata, as the document has them."""
    node = ET.fromstring(pool.virt.XMLDesc(0)).find("source/thinPool")
    return [tuple(int(node.find(part).get(key)) for key in ("size", "used"))
            for part in ("data", "metadata")]


def counted(pool):
    """The same, as the kernel has them."""
    words = pool.group.status(pool.thin, "-tpool")
    (meta, all_meta), (data, all_data) = (
        map(int, word.split("/")) for word in words[4:6])
    chunk = int(pool.group.metadata()["logical_volumes"][pool.thin][
        "segment1"]["chunk_size"]) * 512
    return [(all_data * chunk, data * chunk), (all_meta * 4096, meta * 4096)]


def test_document_tells_size_and_use(pool):
    """Section 4: output adds data and metadata size and use (L04, L110)."""
    pool.create("a", 8 * MIB, content="one")
    pool.start("a")
    pool.refresh()
    (size, used), _ = told = reported(pool)
    assert told == counted(pool)
    assert used >= 8 * MIB
    assert pool.virt.info()[1:] == [size, used, size - used]
    root = ET.fromstring(pool.virt.XMLDesc(0))
    assert root.find("target/path").text == f"/dev/{pool.group.name}"


def test_use_is_read_after_each_change(pool):
    """Section 9: read from the thin pool after each change."""
    before = pool.virt.info()[2]
    pool.create("a", 8 * MIB, content="one")
    pool.clone("a", "b")
    assert pool.virt.info()[2] - before == 8 * MIB
    assert reported(pool) == counted(pool)
    pool.delete("a")
    pool.delete("b")
    assert pool.virt.info()[2] == before


def test_use_is_right_once_the_thin_pool_has_grown(own):
    """Section 4: size and use are the kernel's, whoever extends the pool."""
    pool = own()
    pool.create("a", 8 * MIB, content="one")
    lvm("lvextend", "-q", "-q", "-l", "+64", f"{pool.group.name}/{pool.thin}")
    pool.pin("a", "w")
    (size, used), _ = told = reported(pool)
    assert told == counted(pool)
    assert pool.virt.info()[1:] == [size, used, size - used]


def test_volume_info_follows_the_guest(pool):
    """Section 9: one device-mapper status: what is mapped right now."""
    pool.create("a", 8 * MIB)
    assert pool.vol("a").info()[1:] == [8 * MIB, 0]
    pool.write("a", pattern("x"), 2 * MIB)
    assert pool.vol("a").info()[1:] == [8 * MIB, MIB]


# Sources


def test_sources_are_found(pool, daemon, groups):
    """Section 3: existing VGs with thin pools."""
    other = groups(thin=None)
    root = ET.fromstring(daemon.conn.findStoragePoolSources("qubes-thin",
                                                            None))
    found = {(s.findtext("name"), t.get("name"))
             for s in root.findall("source") for t in s.findall("thinPool")}
    assert (pool.group.name, pool.thin) in found
    assert other.name not in {name for name, _ in found}
    out = daemon.virsh("find-storage-pool-sources", "qubes-thin").stdout
    assert pool.group.name in out


def test_found_source_makes_a_pool(groups, daemon):
    """Section 3: what is found can be defined as it is."""
    group = groups()
    root = ET.fromstring(daemon.conn.findStoragePoolSources("qubes-thin",
                                                            None))
    (source,) = [s for s in root.findall("source")
                 if s.findtext("name") == group.name]
    virt = daemon.conn.storagePoolCreateXML(
        "<pool type='qubes-thin'><name>found</name>"
        f"{ET.tostring(source, encoding='unicode')}</pool>", 0)
    try:
        assert virt.isActive()
    finally:
        virt.destroy()


def test_capabilities_and_type(pool, daemon):
    """Section 3: pool-capabilities; the document's type."""
    root = ET.fromstring(daemon.conn.getStoragePoolCapabilities(0))
    types = {n.get("type"): n.get("supported") for n in root.findall("pool")}
    assert types["qubes-thin"] == "yes"
    assert ET.fromstring(pool.virt.XMLDesc(0)).get("type") == "qubes-thin"


def test_undefined_activation_is_refused(pools):
    """Section 4: activation='all|live'."""
    with refused():
        pools(activation="some").define()


def test_volume_of_a_stopped_pool_is_refused(pool):
    """Stock: an inactive pool has no volumes."""
    pool.create("a")
    vol = pool.vol("a")
    pool.virt.destroy()
    with refused(INVALID, libvirt.VIR_ERR_NO_STORAGE_VOL):
        vol.info()


def test_hole_ends_where_the_upload_does(pool):
    """Section 3: an upload to a part leaves all that lies behind it."""
    pool.create("a", 4 * MIB, content="one")
    stream = pool.daemon.conn.newStream(0)
    pool.vol("a").upload(stream, 0, MIB,
                         libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
    stream.sendHole(3 * MIB)
    stream.finish()
    assert pool.read("a") == bytes(MIB) + pattern("one", 4 * MIB)[MIB:]


def test_finish_is_refused_when_the_heads_device_was_made_anew(pool):
    """Section 3: nothing tells what was written to a device that is gone."""
    pool.create("a", content="one")
    head = pool.files.head("a")
    stream = upload(pool, "a", pattern("two"), finish=False)
    pool.files.change(head, "-an")
    pool.files.change(head, "-ay")
    with refused(INVALID, match="changed"):
        stream.finish()
    assert pool.holds("a", "one") and pool.files.at_rest() == []


@pytest.mark.slow
def test_readers_of_an_inactive_head_do_not_disturb_an_upload(pools):
    """Section 4, activation='live': what a download activates is no change."""
    pool = pools(activation="live").up()
    pool.create("a", 4 * MIB)
    reading = begin_download(pool, "a")
    stream = upload(pool, "a", pattern("two", 4 * MIB), finish=False)
    receive(reading)
    reading.finish()
    wait_for(lambda: not pool.group.active("a"), what="the end of a download")
    stream.finish()
    assert download(pool, "a") == pattern("two", 4 * MIB)


def test_upload_of_any_length_makes_holes(pool, tmp_path):
    """A length of -1 is to virsh all that there is."""
    pool.create("a", 4 * MIB, content="one")
    image = tmp_path / "image"
    image.write_bytes(pattern("two", MIB))
    os.truncate(image, 4 * MIB)
    pool.daemon.virsh("vol-upload", "--pool", pool.name, "a", str(image),
                      "--sparse", "--length", "-1")
    assert pool.read("a") == pattern("two", MIB) + bytes(3 * MIB)


def test_what_stages_is_refused_during_an_upload(pool, elsewhere):
    """Section 3: in use is what a stream writes to, and the error says so."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    elsewhere.create("x", content="sent")
    stream = upload(pool, "a", pattern("three"), finish=False)
    for call in (lambda: pool.revert("a", pool.revisions("a")[0]),
                 lambda: pool.vol("a").wipe(),
                 lambda: pool.create_from(elsewhere.vol("x"), "a@live")):
        with refused(INVALID, match="being uploaded to"):
            call()
    stream.finish()
    assert pool.holds("a", "three")


# Blocks of any size


@pytest.fixture
def odd(groups, daemon):
    """A pool whose blocks have 192 KiB, which is no power of two."""
    group = groups(size=256 * MIB, thin=None)
    group.add_thin_pool("vm-pool", 96 * MIB, 4 * MIB, chunk=192 * 1024)
    pool = ThinPool(daemon, group, "vm-pool").up()
    yield pool
    pool.forget()


def test_hole_where_blocks_are_no_power_of_two(odd):
    """Section 3: a hole holds zeros, and nothing of the image before."""
    odd.create("a", 8 * MIB, content="one")
    begin = 384 * 1024
    stream = odd.daemon.conn.newStream(0)
    odd.vol("a").upload(stream, 0, 8 * MIB,
                        libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
    stream.send(pattern("two", begin)[:begin // 2])
    stream.send(pattern("two", begin)[begin // 2:])
    stream.sendHole(8 * MIB - begin)
    stream.finish()
    assert odd.read("a") == pattern("two", begin) + bytes(8 * MIB - begin)


def test_wipe_where_blocks_are_no_power_of_two(odd):
    """Section 3: a wiped volume holds zeros, also across each GiB."""
    odd.create("a", 2 * GIB + 512 * MIB)
    odd.write("a", pattern("secret", 2 * MIB), GIB - MIB)
    odd.vol("a").wipe()
    with open(odd.device("a"), "rb") as file:
        file.seek(GIB - MIB)
        assert not any(file.read(2 * MIB))
    assert odd.vol("a").info()[2] < 2 * MIB
