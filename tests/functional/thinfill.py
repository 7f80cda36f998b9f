# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fills thin pools: their data, and their metadata without any data."""

import fcntl
import os
import struct
import subprocess

from filesystems import MIB

# _IOWR(0xfd, 14, struct dm_ioctl): a message to a target.
DM_TARGET_MSG = 0xc138fd0e
HEADER = "=3I4x2Q3I4x"


def message(device, text):
    """What dmsetup message does, without a process for each."""
    payload = struct.pack("=Q", 0) + text.encode() + b"\0"
    size = 312 + len(payload)
    head = struct.pack("=3I", 4, 0, 0) + struct.pack(
        "=IIIiIIIQ", size, 312, 0, 0, 0, 0, 0, 0)
    head += device.encode().ljust(128, b"\0")
    buffer = bytearray(head.ljust(312, b"\0") + payload)
    with open("/dev/mapper/control", "rb+", buffering=0) as control:
        fcntl.ioctl(control.fileno(), DM_TARGET_MSG, buffer)


def usage(pool):
    """Used and all blocks of metadata, and of data."""
    words = pool.group.status(pool.thin, "-tpool")
    return [tuple(map(int, word.split("/"))) for word in words[4:6]]


class Devices:
    """Thin devices that LVM knows nothing of: each takes metadata."""

    FIRST = 9000000

    def __init__(self, pool):
        self.device = pool.group.mapper(pool.thin) + "-tpool"
        self.count = 0

    def add(self, count):
        for _ in range(count):
            message(self.device, f"create_thin {self.FIRST + self.count}")
            self.count += 1

    def drop(self):
        while self.count:
            self.count -= 1
            message(self.device, f"delete {self.FIRST + self.count}")


def fill_data(pool, percent):
    """A volume that has the rest of the data, up to that percentage."""
    _, (used, whole) = usage(pool)
    chunks = whole * percent // 100 - used
    pool.files.blank(pool.files.place("filler"), (chunks + 1) * 65536)
    fd = os.open(pool.files.place("filler"), os.O_WRONLY)
    try:
        block = b"\xa5" * MIB
        for at in range(0, chunks * 65536, MIB):
            os.pwrite(fd, block[:chunks * 65536 - at], at)
        os.fsync(fd)
    finally:
        os.close(fd)


def fill_metadata(pool, percent):
    """Thin devices that have the metadata, up to that percentage."""
    devices = Devices(pool)
    while True:
        (used, whole), _ = usage(pool)
        missing = whole * percent // 100 - used
        if missing <= 0:
            return devices
        devices.add(max(1, missing // 2))


def settle(pool):
    """The kernel tells of what was done once it has committed it."""
    subprocess.run(["sync"], check=True)
    return usage(pool)
