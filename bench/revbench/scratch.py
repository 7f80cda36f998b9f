# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems on loop devices, to measure on, and the cache in front of them."""

import os
import re
import subprocess
import tempfile
import time

MKFS = {
    "btrfs": ["mkfs.btrfs", "-q"],
    # What mkfs.xfs makes by default; said aloud because the numbers rest on it.
    "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"],
}
NAMES = {"xfs": "XFS", "btrfs": "Btrfs"}


def run(*command):
    return subprocess.run(command, check=True, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout


class FileSystem:
    """A fresh file system of a kind, mounted as long as the context lasts.

    The loop device passes requests on with O_DIRECT where it can, so that a cold
    cache is cold: otherwise the host's page cache would answer for the disk.
    """

    def __init__(self, kind, scratch, size=24 << 30):
        self.kind = kind
        self.size = size
        self.folder = tempfile.mkdtemp(prefix="bench-%s-" % kind, dir=scratch)
        self.image = os.path.join(self.folder, "image")
        self.path = os.path.join(self.folder, "mnt")
        self.options = "noatime"
        self.loop = None
        self.mounted = False
        self.direct = False

    def __enter__(self):
        try:
            self._make()
        except Exception:
            self.__exit__()
            raise
        return self

    def _make(self):
        with open(self.image, "wb") as image:
            os.truncate(image.fileno(), self.size)
        os.mkdir(self.path)
        self.loop = run("losetup", "--show", "--find", self.image).strip()
        try:
            run("losetup", "--direct-io=on", self.loop)
            self.direct = True
        except subprocess.CalledProcessError:
            pass
        run(*MKFS[self.kind], self.loop)
        run("mount", "-o", self.options, self.loop, self.path)
        self.mounted = True

    def __exit__(self, *_exc):
        if self.mounted and not self._unmount():
            # An error left a file open: both go when the program does.
            subprocess.run(["umount", "--lazy", self.path], check=False)
        if self.loop:
            subprocess.run(["losetup", "-d", self.loop], check=False)
        if os.path.exists(self.image):
            os.unlink(self.image)
        if os.path.isdir(self.path):
            os.rmdir(self.path)
        os.rmdir(self.folder)

    def _unmount(self):
        # Whoever removed files last may still be about it.
        for _ in range(25):
            if subprocess.run(["umount", self.path], check=False,
                              stderr=subprocess.DEVNULL).returncode == 0:
                return True
            time.sleep(0.2)
        return False

    def settle(self, seconds=0.05):
        """Let write-back and the file system's own background work end."""
        run("sync", "-f", self.path)
        time.sleep(seconds)

    def drop_caches(self):
        run("sync", "-f", self.path)
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as knob:
            knob.write("3\n")

    def describe(self):
        mkfs = MKFS[self.kind][0]
        version = subprocess.run([mkfs, "-V"], check=False, text=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT).stdout.strip().splitlines()[0]
        return "%s on a loop device (%s), made by `%s` (%s)" % (
            NAMES[self.kind],
            "O_DIRECT" if self.direct else "through the page cache",
            " ".join(MKFS[self.kind]), version)


def write_extents(path, extents, chunk=4096, spacing=8192):
    """A file of EXTENTS extents: written blocks with holes between them."""
    block = os.urandom(chunk)
    with open(path, "r+b" if os.path.exists(path) else "wb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size < extents * spacing:
            os.ftruncate(file.fileno(), max(extents * spacing, 1 << 20))
        for number in range(extents):
            os.pwrite(file.fileno(), block, number * spacing)
        os.fsync(file.fileno())


def count_extents(path):
    """Extents of the file's map; filefrag's own sum takes neighbours on the disk together."""
    return len(re.findall(r"^ *\d+:", run("filefrag", "-v", path), re.M))
