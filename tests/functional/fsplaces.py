# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems for fspools, by what they can and what quotas they have."""

import contextlib
import ctypes
import errno
import fcntl
import os
import struct

from filesystems import MIB, TOP, run
from fstrees import LIBC
from pools import wait_for

NFS_SERVER = os.path.join(TOP, "subprojects", "guest", "nfs-server", "usr",
                          "sbin")
IN_GUEST = bool(os.environ.get("GUEST_DISKS"))
# For a run that is about something else, as another version of libvirt.
ONE_FILE_SYSTEM = os.environ.get("TEST_FILE_SYSTEMS") == "one"

# What each kind has. "once" is where tests run that are about no file system,
# "few" those that need not see all of them.
FEATURES = {
    "btrfs-full": "local btrfs full limits clones once few",
    "btrfs-simple": "local btrfs simple limits clones",
    "btrfs-none": "local btrfs clones",
    "xfs-none": "local clones",
    "ext4-none": "local few",
    "xfs-project": "guest local project limits files clones once few",
    "ext4-project": "guest local project limits files",
    "nfs": "guest nfs",
}
MOUNT_OPTIONS = {"xfs-none": ",nouuid", "xfs-project": ",nouuid,prjquota",
                 "ext4-project": ",prjquota"}

# Numbers of the kernel's that its older headers lack, or Python.
BTRFS_QUOTA_CTL, BTRFS_QUOTA_RESCAN_WAIT = 0xC0109428, 0x942E
QUOTA_CTL_ENABLE = {"full": 1, "simple": 4}
Q_GETNEXTQUOTA, Q_SETQUOTA, PRJQUOTA, QIF_BLIMITS = 0x800009, 0x800008, 2, 1
DQBLK = "QQQQQQQQII"


def kinds(*needs):
    """The kinds of file systems that this kernel has, with these features;
    with "!" before one, without it."""
    found = [kind for kind, features in FEATURES.items()
             if ("guest" in features.split()) == IN_GUEST
             and all((need.strip("!") in features.split())
                     != need.startswith("!") for need in needs)]
    if not os.path.exists("/sys/fs/btrfs/features/simple_quota"):
        found = [kind for kind in found if kind != "btrfs-simple"]
    return found


def quota_groups(path):
    """All of a Btrfs, or "" if one went while the tool was reading them."""
    done = run("btrfs", "qgroup", "show", "--raw", "--sync", "-r", path,
               check=False)
    assert done.returncode == 0 or "cannot find the qgroup" in done.stderr, \
        done.stderr
    return done.stdout if done.returncode == 0 else ""


class Shelf:
    """A workspace whose images are of one kind, with its quotas."""

    def __init__(self, workspace, kind):
        self.workspace, self.kind, self.path = workspace, kind, workspace.path

    def image(self, name, kind, size):
        base, _, quota = kind.partition("-")
        path = self.workspace.image(name, base, size)
        if kind == "ext4-project":
            run("tune2fs", "-O", "project,quota", "-Q", "prjquota", path)
        if quota in QUOTA_CTL_ENABLE:
            where = self.workspace.mount(path, path + ".quota")
            enable_quota(where, quota)
            self.workspace.umount(where)
            os.rmdir(where)
        return path

    def mount(self, image, where=None, options="noatime"):
        options += MOUNT_OPTIONS.get(self.kind, "")
        return self.workspace.mount(image, where, options)

    def umount(self, where):
        return self.workspace.umount(where)


def enable_quota(where, mode):
    """Switch a Btrfs' quotas on; its tool may be too old for it."""
    fd = os.open(where, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, BTRFS_QUOTA_CTL,
                    struct.pack("QQ", QUOTA_CTL_ENABLE[mode], 0))
        if mode == "full":
            fcntl.ioctl(fd, BTRFS_QUOTA_RESCAN_WAIT)
    finally:
        os.close(fd)


class FsHome:
    """A file system of one kind."""

    def __init__(self, kind, workspace, size=1024 * MIB, name=None):
        self.kind, self.features = kind, FEATURES[kind].split()
        self.shelf = Shelf(workspace, kind)
        self.image = self.shelf.image(name or f"fs-{kind}.img", kind, size)
        self.path = self.shelf.mount(self.image)
        os.chmod(self.path, 0o711)

    def has(self, feature):
        return feature in self.features

    @property
    def device(self):
        return next(loop for where, loop in self.shelf.workspace.mounts
                    if where == self.path)

    def free(self):
        """The space that is left, none of it still on its way."""
        run("sync", "-f", self.path)
        info = os.statvfs(self.path)
        return info.f_bavail * info.f_frsize

    def records(self):
        """What the kernel has of use and limits: {id: (used, limit)}."""
        if self.has("project"):
            return projects(self.device)
        if not self.has("limits"):
            return {}
        lines = [line.split() for line in wait_for(
            lambda: quota_groups(self.path), 10, "quota groups").splitlines()]
        return {words[0]: (int(words[1]), int(words[3])
                           if words[3].isdigit() else 0)
                for words in lines if words and words[0][0].isdigit()}

    def removed(self):
        """Have the file system finish what it removes in the background."""
        if self.has("btrfs"):
            # wakes the cleaner, which else does so twice a minute
            run("btrfs", "filesystem", "sync", self.path)
            run("btrfs", "subvolume", "sync", self.path)
        else:
            run("sync", "-f", self.path)

    @contextlib.contextmanager
    def read_only(self):
        """As after an error: nothing can be written meanwhile."""
        run("mount", "-o", "remount,ro", self.path)
        try:
            yield
        finally:
            run("mount", "-o", "remount,rw", self.path)

    def close(self):
        self.shelf.umount(self.path)
        os.unlink(self.image)


def projects(device):
    """The records of all projects."""
    found, ident = {}, 0
    while True:
        data = ctypes.create_string_buffer(struct.calcsize(DQBLK))
        if LIBC.quotactl(Q_GETNEXTQUOTA << 8 | PRJQUOTA, device.encode(),
                         ident, data) < 0:
            assert ctypes.get_errno() in (errno.ENOENT, errno.ESRCH)
            return found
        hard, _, used, *_, ident = struct.unpack(DQBLK, data.raw)
        found[ident] = used, hard * 1024
        ident += 1


def limit_project(device, ident, size):
    """Give a project a limit, as another manager of quotas does."""
    data = struct.pack(DQBLK, size // 1024, 0, 0, 0, 0, 0, 0, 0,
                       QIF_BLIMITS, 0)
    assert LIBC.quotactl(Q_SETQUOTA << 8 | PRJQUOTA, device.encode(), ident,
                         data) == 0, os.strerror(ctypes.get_errno())


def nfs_server(program, *words):
    """Run a program of the NFS server that scripts/with-guest fetches."""
    run(f"{NFS_SERVER}/{program}", *words)


class NfsHome:
    """A server in this very machine, and its directory mounted."""

    HOST, EXPORT = "127.0.0.1", "/export"

    def __init__(self, kind, workspace):
        self.kind, self.features = kind, FEATURES[kind].split()
        image = workspace.image("nfs.img", "ext4", 512 * MIB)
        self.served = workspace.mount(image)
        os.makedirs(self.served + self.EXPORT)
        run("modprobe", "nfsd")
        run("mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd", check=False)
        for table in ("etab", "rmtab"):    # as its package makes them
            with open("/var/lib/nfs/" + table, "a", encoding="ascii"):
                pass
        nfs_server("exportfs", "-i", "-o", "rw,no_root_squash,"
                   "no_subtree_check,crossmnt,fsid=0", "*:" + self.served)
        # Nobody has locks from before the server was started.
        for name in ("nfsv4gracetime", "nfsv4leasetime"):
            with open("/proc/fs/nfsd/" + name, "w", encoding="ascii") as file:
                file.write("10")
        self.serve()
        nfs_server("rpc.mountd", "-N", "3")
        self.path = os.path.join(workspace.path, "nfs-client")
        os.makedirs(self.path)
        run("mount", "-t", "nfs", "-o", "vers=4.2",
            f"{self.HOST}:{self.EXPORT}", self.path)
        self.workspace = workspace

    @staticmethod
    def serve(threads=2):
        """Answer, with so many threads; with none, as if switched off."""
        nfs_server("rpc.nfsd", "-N", "3", str(threads))

    def has(self, feature):
        return feature in self.features

    def records(self):
        return {}

    def removed(self):
        run("sync", "-f", self.path)

    def close(self):
        run("umount", self.path)
        self.serve(0)
        nfs_server("exportfs", "-ua")
        self.workspace.umount(self.served)
