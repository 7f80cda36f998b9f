# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems with quotas for directories, and trees to put into them."""

import fcntl
import os
import struct

from .scratch import FileSystem

# linux/btrfs.h; the older tools know but one kind of quotas.
BTRFS_IOC_QUOTA_CTL, BTRFS_IOC_QUOTA_RESCAN_WAIT = 0xC0109428, 0x942E
ENABLE = {"full": 1, "simple": 4}
TITLES = {
    "btrfs": "Btrfs, no quotas", "btrfs-full": "Btrfs, full quotas",
    "btrfs-simple": "Btrfs, simple quotas", "xfs": "XFS, no quotas",
    "xfs-project": "XFS, project quotas",
}
FILES_IN_DIRECTORY = 100
CONTENT = 4096


class TreeFileSystem(FileSystem):
    """A fresh file system, named by what it is and what quotas it has."""

    def __init__(self, kind, scratch):
        base, _, self.quota = kind.partition("-")
        super().__init__(base, scratch)
        self.title = TITLES[kind]
        if self.quota == "project":
            self.options += ",prjquota"

    @property
    def limits(self):
        return bool(self.quota)

    def _make(self):
        super()._make()
        if self.quota in ENABLE:
            descriptor = os.open(self.path, os.O_RDONLY)
            fcntl.ioctl(descriptor, BTRFS_IOC_QUOTA_CTL, struct.pack("QQ", ENABLE[self.quota], 0))
            if self.quota == "full":
                fcntl.ioctl(descriptor, BTRFS_IOC_QUOTA_RESCAN_WAIT)
            os.close(descriptor)

    def describe(self):
        return super().describe() + (", with %s quotas" % self.quota if self.quota else ", without quotas")


def fill_tree(path, files):
    """FILES files of a block each, in directories of a hundred."""
    for number in range(files):
        folder = os.path.join(path, "d%04d" % (number // FILES_IN_DIRECTORY))
        if number % FILES_IN_DIRECTORY == 0:
            os.mkdir(folder)
        with open(os.path.join(folder, "f%04d" % number), "wb") as file:
            file.write(os.urandom(CONTENT))


def item_xml(name, capacity=None):
    limit = "" if capacity is None else "<capacity>%d</capacity>" % capacity
    return "<volume type='dir'><name>%s</name>%s</volume>" % (name, limit)
