# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks that tests take as they need them: loop devices on sparse files."""

import contextlib
import os
import subprocess

from filesystems import MIB, run
from pools import wait_for

SHIFT = MIB


def shifted(name, device):
    """A device on another, from 1 MiB on.

    LVM sees the physical volume in one of them only.
    """
    size = int(run("blockdev", "--getsz", device).stdout) - SHIFT // 512
    run("dmsetup", "create", name, "--table",
        f"0 {size} linear {device} {SHIFT // 512}")
    return "/dev/mapper/" + name


class Faulty:
    """A device in front of a disk, that can be made to fail."""

    # What it is while it does: all fails, or what is written does, or is lost
    # and nobody told.
    WAYS = {"error": "error",
            "error_writes": "flakey {place} 0 1 1 error_writes",
            "drop_writes": "flakey {place} 0 1 1 drop_writes"}
    WELL = "linear {place}"

    def __init__(self, disk):
        self.name = "faulty-" + os.path.basename(disk)
        self.disk = disk
        self.path = shifted(self.name, disk)
        self.size = int(run("blockdev", "--getsz", self.path).stdout)

    def part(self, begin, end, target):
        """The line of its table for sectors from begin to end."""
        place = f"{self.disk} {SHIFT // 512 + begin}"
        return f"{begin} {end - begin} " + target.format(place=place)

    def become(self, *parts):
        run("dmsetup", "suspend", "--noflush", self.name)
        subprocess.run(["dmsetup", "load", self.name], check=True, text=True,
                       input="\n".join(parts))
        run("dmsetup", "resume", self.name)

    def fail(self, way):
        self.become(self.part(0, self.size, self.WAYS[way]))

    def fail_between(self, way, begin, end):
        """Those bytes fail, and no others."""
        begin, end = begin // 512, end // 512
        self.become(self.part(0, begin, self.WELL),
                    self.part(begin, end, self.WAYS[way]),
                    self.part(end, self.size, self.WELL))

    def heal(self):
        self.become(self.part(0, self.size, self.WELL))

    @contextlib.contextmanager
    def hanging(self):
        """Whoever asks it for something waits."""
        run("dmsetup", "suspend", "--nolockfs", self.name)
        try:
            yield
        finally:
            run("dmsetup", "resume", self.name)

    def close(self):
        run("dmsetup", "remove", "--retry", self.name, check=False)


class Disks:
    """Loop devices, and the files below a folder that they are on."""

    def __init__(self, folder):
        self.folder = folder
        self.loops = {}
        self.count = 0

    def add(self, size, sector=512):
        """An empty disk."""
        self.count += 1
        path = os.path.join(self.folder, f"disk{self.count}")
        with open(path, "wb") as file:
            file.truncate(size)
        return self.attach(path, sector)

    def attach(self, path, sector=512, offset=0):
        """A disk with what the file has."""
        loop = run("losetup", "--find", "--show", "--sector-size", str(sector),
                   "--offset", str(offset), path).stdout.strip()
        self.loops[loop] = path
        return loop

    def detach(self, loop):
        """Take the disk away; returns its file."""
        run("losetup", "-d", loop)
        # It goes once nobody has it open, udev for one.
        name = os.path.basename(loop)
        wait_for(lambda: not os.path.exists(f"/sys/block/{name}/loop"), 30,
                 f"end of {loop}")
        return self.loops.pop(loop)

    def drop(self, loop):
        """Take the disk away for ever."""
        os.unlink(self.detach(loop))

    def close(self):
        for loop in list(self.loops):
            run("losetup", "-d", loop, check=False)
            os.unlink(self.loops.pop(loop))
