# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the pools of the behaviour tests lie, for each pool type."""

import os

from filesystems import MIB, run
from reflinkpool import ReflinkPool
from thinpool import ThinPool
from volumegroup import VolumeGroup

GIB = 1024 * MIB


class ReflinkHome:
    """A file system that can clone; every pool has a directory."""

    KINDS = ("xfs", "btrfs")

    def __init__(self, kind, workspace):
        self.workspace = workspace
        self.image = workspace.image(kind + ".img", kind, GIB)
        self.path = workspace.mount(self.image)
        os.chmod(self.path, 0o711)

    def pool(self, daemon, directory=None, **options):
        return ReflinkPool(daemon, directory or self.path, **options)

    def elsewhere(self, pools, request):
        """A pool that shares no storage with others."""
        return pools(request.getfixturevalue("ext4"), required="no").up()

    def close(self):
        self.workspace.umount(self.path)
        os.unlink(self.image)


class ThinHome:
    """Volume groups with a thin pool each, made when they are needed.

    All thin pools have one name, as those of different hosts have. Extents are
    as small as the sizes that the tests use; test_thin_pool.py has larger ones.
    """

    KINDS = ("thin",)
    THIN = "vm-pool"

    def __init__(self, kind, workspace):
        self.workspace = workspace
        self.path = os.path.join(workspace.path, kind)
        os.mkdir(self.path)
        self.groups, self.loops = [], []
        self.pools = []

    def disk(self):
        """A disk that nobody uses."""
        if not self.groups:
            return os.environ["GUEST_DISKS"].split()[0], 4 * GIB
        path = os.path.join(self.path, f"disk{len(self.groups)}")
        with open(path, "wb") as file:
            file.truncate(3 * GIB)
        loop = run("losetup", "--find", "--show", path).stdout.strip()
        os.unlink(path)
        self.loops.append(loop)
        return loop, 2 * GIB

    def group(self):
        """A group without a pool of the daemon."""
        self.pools = [pool for pool in self.pools if not pool.removed]
        used = [pool.group for pool in self.pools]
        for group in self.groups:
            if group not in used:
                return group
        device, size = self.disk()
        group = VolumeGroup(f"vg-{os.getpid()}-{len(self.groups)}", device)
        self.groups.append(group)
        group.add_thin_pool(self.THIN, size)
        return group

    def pool(self, daemon, group=None, **options):
        pool = ThinPool(daemon, group or self.group(), self.THIN, **options)
        self.pools.append(pool)
        return pool

    def elsewhere(self, pools, request):
        """A pool in another group, which every second pool of a test has."""
        del request
        return pools().up()

    def close(self):
        for group in self.groups:
            group.close()
        for loop in self.loops:
            run("losetup", "-d", loop, check=False)


HOMES = {"reflink": ReflinkHome, "qubes-thin": ThinHome}
