# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that logs its writes, and images of what a loss of power leaves.

The device mapper's log-writes target logs a write once it is followed by a
flush, so the log up to a flush is what a disk with a volatile cache is sure to
have then. A write that goes past the cache (FUA) is logged at once; a file
system ends what it promises with one, after the flush.
"""

import os
import struct

from filesystems import run

MAGIC = 0x6a736677736872
SUPER, ENTRY = "<QQQI", "<QQQQ"
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
MOST_POINTS = 8


class LogWrites:
    """A device in front of a disk, with a log on another disk."""

    def __init__(self, name, disk, log):
        self.name, self.log = name, log
        self.path = "/dev/mapper/" + name
        size = run("blockdev", "--getsz", disk).stdout.strip()
        run("dmsetup", "create", name, "--table",
            f"0 {size} log-writes {disk} {log}")

    def mark(self, text):
        run("dmsetup", "message", self.name, "0", "mark", text)

    def close(self):
        """The log is complete once the device is gone."""
        run("dmsetup", "remove", "--retry", self.name, check=False)


class Log:
    """The entries of a log."""

    def __init__(self, path):
        self.file = open(path, "rb")
        magic, _, self.count, self.unit = struct.unpack(
            SUPER, self.file.read(struct.calcsize(SUPER)))
        assert magic == MAGIC, "no log of writes"

    def __iter__(self):
        """(flags, first byte, number of bytes, data or text of a mark)"""
        at = self.unit
        for _ in range(self.count):
            self.file.seek(at)
            head = self.file.read(self.unit)
            sector, count, flags, length = struct.unpack_from(ENTRY, head)
            at += self.unit
            data = b""
            if flags & MARK:
                data = head[struct.calcsize(ENTRY):][:length].decode()
            elif not flags & DISCARD:
                data = self.file.read(count * self.unit)
                at += count * self.unit
            yield flags, sector * self.unit, count * self.unit, data

    def close(self):
        self.file.close()


def apply(image, flags, first, length, data):
    """Do to an image what an entry says."""
    if flags & MARK or not length:
        return
    if not flags & DISCARD:
        os.pwrite(image, data, first)
        return
    zeros = bytes(1 << 20)
    for at in range(first, first + length, len(zeros)):
        end = min(at + len(zeros), first + length)
        if any(os.pread(image, end - at, at)):
            os.pwrite(image, zeros[:end - at], at)


def flushes(log, begin, end):
    """The indices, between two marks, of entries after which more is sure."""
    inside, found = False, []
    for number, (flags, _, _, data) in enumerate(log):
        if flags & MARK:
            inside = data.rstrip("\0") == begin or (
                inside and data.rstrip("\0") != end)
        elif inside and flags & (FLUSH | FUA):
            found.append(number)
    return found


def some_of(points):
    """Not more than can be looked at, with the first and the last."""
    if len(points) <= MOST_POINTS:
        return points
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return sorted({points[round(i * step)] for i in range(MOST_POINTS)})


def replayed(disks, log, size, wanted, offset=0):
    """A disk with what is there after each of these entries of the log."""
    base = os.path.join(disks.folder, "base")
    with open(base, "wb") as file:
        file.truncate(size)
    fd = os.open(base, os.O_RDWR)
    try:
        for number, entry in enumerate(Log(log)):
            apply(fd, *entry)
            if number in wanted:
                copy = f"{base}-{number}"
                run("cp", "--sparse=always", base, copy)
                yield number, disks.attach(copy, offset=offset)
    finally:
        os.close(fd)
        os.unlink(base)
