# SPDX-License-Identifier: LGPL-2.1-or-later
"""Things that have an image open, and so keep it from being replaced."""

import contextlib
import os
import subprocess
import sys

from filesystems import run
from pools import wait_for


@contextlib.contextmanager
def qemu(path, readonly=False):
    """A QEMU that has the image open, with its locks."""
    args = ["qemu-io", "-f", "raw"] + ["-r"] * readonly + [path]
    process = subprocess.Popen(args, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    process.stdin.write("length\n")
    process.stdin.flush()
    process.stdout.readline()
    try:
        yield process
    finally:
        process.stdin.close()
        process.stdout.read()
        process.wait()


@contextlib.contextmanager
def loop(path, *options):
    """A loop device on the image."""
    device = run("losetup", *options, "--find", "--show", path).stdout.strip()
    try:
        yield device
    finally:
        run("losetup", "-d", device)


@contextlib.contextmanager
def loop_elsewhere(directory, where, name):
    """A loop device on directory/name, by another path to it: that of a mount
    namespace in which the directory is mounted at where."""
    script = ('mount --bind "$1" "$2" && losetup --find --show "$2/$3" && '
              'read line')
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, "sh", directory, where,
         name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    device = process.stdout.readline().strip()
    try:
        assert device
        yield device
    finally:
        run("losetup", "-d", device, check=False)
        process.communicate("\n")


@contextlib.contextmanager
def storage_daemon(path):
    """A qemu-storage-daemon that exports the image for writing."""
    socket = f"/tmp/qsd-{os.getpid()}.sock"
    process = subprocess.Popen([
        "qemu-storage-daemon", "--blockdev",
        f"driver=file,node-name=f,filename={path}", "--nbd-server",
        f"addr.type=unix,addr.path={socket}", "--export",
        "type=nbd,id=e,node-name=f,writable=on"])
    try:
        wait_for(lambda: os.path.exists(socket), what="qemu-storage-daemon")
        yield process
    finally:
        process.terminate()
        process.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket)


@contextlib.contextmanager
def opened(path, readonly=False):
    """A process that has a block device open, which is all that counts."""
    fd = os.open(path, os.O_RDONLY if readonly else os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


# Of a process whose name the kernel has as udev's.
UDEV = """
import ctypes, os, sys, time
PR_SET_NAME = 15
ctypes.CDLL(None).prctl(PR_SET_NAME, b"(udev-worker)")
while True:
    fd = os.open(sys.argv[1], os.O_RDONLY)
    time.sleep(0.005)
    os.close(fd)
    time.sleep(0.005)
"""


@contextlib.contextmanager
def looking_udev(path):
    """udev, opening a device again and again, if never for long."""
    process = subprocess.Popen([sys.executable, "-c", UDEV, path])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# A machine takes QEMU's locks on a file, and holds a block device open.
WRITERS = {"reflink": qemu, "qubes-thin": opened}
USERS = {
    "reflink": {"loop": loop, "qemu": qemu, "storage-daemon": storage_daemon},
    "qubes-thin": {"loop": loop, "opened": opened},
}
