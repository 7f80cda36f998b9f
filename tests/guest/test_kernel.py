# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest has what tests come to it for."""

import json
import os

import libvirt
import pytest


def test_device_mapper_has_the_targets(call):
    found = {line.split()[0] for line in call("dmsetup", "targets").splitlines()}
    assert {"linear", "error", "thin", "thin-pool", "snapshot", "flakey", "delay",
            "log-writes"} <= found


@pytest.mark.parametrize("kind, options", [
    ("xfs", "prjquota"), ("ext4", "prjquota"), ("btrfs", "defaults")])
def test_file_systems(call, tmp_path, kind, options):
    image, place = tmp_path / "image", tmp_path / "mount"
    place.mkdir()
    with open(image, "wb") as f:
        os.truncate(f.fileno(), 320 << 20)
    more = ("-O", "quota,project") if kind == "ext4" else ()
    call(f"mkfs.{kind}", "-q", *more, image)
    call("mount", "-o", f"loop,{options}", image, place)
    try:
        assert call("stat", "-f", "-c", "%T", place).strip().startswith(kind[:3])
    finally:
        call("umount", place)


def test_thin_pool(call, thin_pool):
    """Volumes have links, and say what they take, also to lvs."""
    group, _, pool = thin_pool.partition("/")
    call("lvcreate", "-q", "-V", "1G", "-n", "a", "--thinpool", pool, group)
    assert os.path.realpath(f"/dev/{group}/a").startswith("/dev/dm-")
    with open(f"/dev/{group}/a", "r+b") as f:
        f.write(b"x" * (1 << 20))
        os.fsync(f.fileno())
    call("lvcreate", "-q", "-s", "-kn", "-n", "b", f"{group}/a")
    with open(f"/dev/{group}/b", "rb") as f:
        assert f.read(2 << 20) == b"x" * (1 << 20) + bytes(1 << 20)
    status = call("dmsetup", "status", f"{group}-{pool}-tpool").split()
    assert status[2] == "thin-pool" and status[5] == "16/4096" and status[7] == "rw"
    report = json.loads(call("lvs", "--reportformat", "json", "-o", "lv_name,data_percent",
                             "--select", f"lv_name={pool}", group))
    row, = report["report"][0]["lv"]
    assert row == {"lv_name": pool, "data_percent": "0.39"}


def test_daemon_answers_the_distribution_client(call):
    with libvirt.open() as connection:
        assert connection.listAllStoragePools() == []
    assert call("/usr/bin/virsh", "uri").strip() == os.environ["LIBVIRT_DEFAULT_URI"]


def test_daemon_starts_anew(call):
    def pid():
        with open(os.environ["LIBVIRTD_PID_FILE"], encoding="ascii") as f:
            return int(f.read())
    before = pid()
    call(os.environ["LIBVIRTD_RESTART"])
    assert pid() != before
    call("/usr/bin/virsh", "uri")


def test_results_reach_the_host():
    """The junit file has to."""
    assert os.path.ismount(os.environ["GUEST_RESULTS"])
