# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a document asks for beside content is done or refused, never ignored
(design section 3)."""

import json

import libvirt
import pytest

from filesystems import run
from fspoolpool import stock_pool
from pools import MIB, pattern, snapshot_of, volume_xml

UNSUPPORTED = libvirt.VIR_ERR_CONFIG_UNSUPPORTED
PREALLOCATED = libvirt.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA
LUKS = "<encryption format='luks'/>"
NOCOW = "<nocow/>"
# Where content may come from.
ORIGINS = ["clone", "live", "stage", "lifecycle", "backing", "copy"]


def lies_on(path):
    """A <backingStore>."""
    return f"<backingStore><path>{path}</path></backingStore>"


def make(pool, elsewhere, origin, target="", extra="", flags=0):
    """A volume "b", or a live copy of "a", with content of another."""
    name = "a@live" if origin == "stage" else "b"
    if origin == "lifecycle":
        return pool.virt.createXML(volume_xml(
            name, None, snapshot_of("a"), target=target, extra=extra), flags)
    if origin == "backing":
        return pool.virt.createXML(volume_xml(
            name, None, fmt="raw", target=target,
            extra=lies_on(pool.device("a"))), flags)
    source = {"clone": pool.vol("a"), "stage": pool.vol("x"),
              "copy": elsewhere.vol("a")}.get(origin)
    return pool.create_from(
        source or pool.vol("a@live"), name, flags=flags,
        xml=volume_xml(name, MIB, target=target, extra=extra))


@pytest.fixture(name="origins")
def volumes_to_take_content_from(pool, elsewhere, request):
    """What make() reads."""
    for name in ("a", "x"):
        pool.create(name, content="one")
    elsewhere.create("a", content="one")
    if "live" in request.node.name:
        pool.start("a")
    return pool, elsewhere


@pytest.mark.parametrize("origin", ORIGINS)
def test_encryption_of_what_is_not_encrypted_is_refused(origins, origin):
    """Nobody may take plaintext for encrypted."""
    with origins[0].refuses(UNSUPPORTED, match="'(b|a@live)'.*encrypted"):
        make(*origins, origin, target=LUKS)


def test_encrypted_image_is_copied_as_it_is(pool, daemon, workspace):
    """What was dumped can be fed back."""
    with stock_pool(daemon, workspace.path + "/encrypted") as stock:
        # magic, version, and where the data begins: all that libvirt reads
        header = b"LUKS\xba\xbe\0\1" + bytes(99) + b"\2"
        with open(workspace.path + "/encrypted/s", "wb") as file:
            file.write(header + pattern("s")[len(header):])
        stock.refresh(0)
        vol = stock.storageVolLookupByName("s")
        assert "<encryption format='luks'" in vol.XMLDesc(0)
        pool.create_from(vol, "b")
        assert pool.read("b") == header + pattern("s")[len(header):]


@pytest.mark.parametrize("origin", ["blank", *ORIGINS])
def test_no_cow_is_refused(origins, origin):
    """An image without copy-on-write could not be cloned."""
    pool = origins[0]
    with pool.refuses(UNSUPPORTED, match="'(b|a@live)'.*copy-on-write"):
        if origin == "blank":
            pool.create("b", target=NOCOW)
        else:
            make(*origins, origin, target=NOCOW)


@pytest.mark.parametrize("origin", ORIGINS)
def test_preallocated_metadata_of_a_copy_is_refused(origins, origin):
    """What is taken as it is has the metadata that it has."""
    with origins[0].refuses(UNSUPPORTED, match="'(b|a@live)'.*preallocat"):
        make(*origins, origin, flags=PREALLOCATED)


def test_preallocated_metadata_of_a_raw_volume_is_refused(pool):
    """As for libvirt's own pools."""
    with pool.refuses(UNSUPPORTED, match="'a'.*preallocated"):
        pool.create("a", flags=PREALLOCATED)


@pytest.mark.parametrize("origin", ["clone", "live", "stage", "copy"])
def test_backing_store_of_a_raw_copy_is_refused(origins, origin):
    """A copy lies on what its source lies on."""
    with origins[0].refuses(UNSUPPORTED, match="'(b|a@live)'.*'/other'"):
        make(*origins, origin, extra=lies_on("/other"))


def test_backing_store_of_an_overlay_is_kept(pool):
    """What was dumped can be fed back, and nothing else."""
    pool.create("base")
    pool.create("a", fmt="qcow2", extra=lies_on(pool.device("base")))
    pool.clone("a", "b")
    assert pool.dump("b").findtext("backingStore/path") == pool.device("base")
    with pool.refuses(UNSUPPORTED, match="'c'.*'/other'"):
        pool.create_from("a", "c", xml=volume_xml(
            "c", fmt="qcow2", extra=lies_on("/other")))


def test_cluster_size_of_qcow2(pool):
    """Stock's <clusterSize>, which it hands on to qemu-img."""
    pool.create("a", fmt="qcow2", target="<clusterSize unit='KiB'>128"
                                         "</clusterSize>")
    told = run("qemu-img", "info", "--output=json", pool.device("a")).stdout
    assert json.loads(told)["cluster-size"] == 128 << 10


def test_allocation_of_a_qcow2_volume_with_a_new_size_is_refused(pool):
    """As for libvirt's own pools: the space of its clusters is its own."""
    pool.create("a", fmt="qcow2")
    with pool.refuses(UNSUPPORTED, match="allocated.*'a'"):
        pool.vol("a").resize(4 * MIB, libvirt.VIR_STORAGE_VOL_RESIZE_ALLOCATE)
