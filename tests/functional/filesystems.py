# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems on image files, mounted under a folder of our own."""

import atexit
import os
import shutil
import subprocess
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
MIB = 1 << 20

MKFS = {
    "xfs": ["mkfs.xfs", "-q", "-f", "-m", "reflink=1"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
    "ext4": ["mkfs.ext4", "-q", "-F"],
}


def run(*args, check=True):
    """Run a command quietly; its output is in the error if it fails."""
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{args}: {done.stderr or done.stdout}")
    return done


class Workspace:
    """A temporary folder and all that is mounted in it."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="reflink-tests-", dir="/var/tmp")
        self.in_memory = self._use_memory()
        os.chmod(self.path, 0o711)
        self.mounts = []
        self._owner = os.getpid()
        atexit.register(self.close)

    def _use_memory(self):
        """Thousands of fsyncs are quick in memory, where there is enough."""
        with open("/proc/meminfo", encoding="ascii") as file:
            found = dict(line.split(":") for line in file)
        if int(found["MemAvailable"].split()[0]) < 6 * MIB:
            return False
        return run("mount", "-t", "tmpfs", "-o", "size=5g", "reflink-tests",
                   self.path, check=False).returncode == 0

    def image(self, name, kind, size):
        """A sparse image file with a new file system in it."""
        path = os.path.join(self.path, name)
        with open(path, "wb") as file:
            file.truncate(size)
        run(*MKFS[kind], path)
        return path

    def mount(self, image, where=None, options="noatime"):
        """Mount an image on a loop device; returns the mount point."""
        where = where or image + ".mnt"
        os.makedirs(where, exist_ok=True)
        loop = run("losetup", "--find", "--show", image).stdout.strip()
        try:
            run("mount", "-o", options, loop, where)
        finally:
            # The mount keeps the device; without one it is freed at once,
            # and so a killed test-run leaves no device behind.
            run("losetup", "-d", loop)
        self.mounts.append((where, loop))
        return where

    def umount(self, where):
        """Unmount what mount() mounted there."""
        entry = next(e for e in self.mounts if e[0] == where)
        done = run("umount", where, check=False)
        if done.returncode:
            run("umount", "-l", where)
        self.mounts.remove(entry)
        # Without this the kernel refuses to mount an older copy of the
        # same Btrfs afterwards.
        if shutil.which("btrfs"):
            run("btrfs", "device", "scan", "--forget", entry[1], check=False)
        return done.returncode == 0

    def close(self):
        """Unmount all and remove the folder."""
        if os.getpid() != self._owner:
            return
        for where, _ in reversed(list(self.mounts)):
            self.umount(where)
        if self.in_memory:
            run("umount", "-l", self.path, check=False)
        with open("/proc/self/mounts", encoding="utf-8") as file:
            if self.path not in file.read():
                shutil.rmtree(self.path, ignore_errors=True)
        atexit.unregister(self.close)


def loop_devices_of(path):
    """The loop devices whose backing file is path."""
    out = run("losetup", "-j", path, "-O", "NAME", "-n").stdout
    return out.split()
