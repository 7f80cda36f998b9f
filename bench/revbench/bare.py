# SPDX-License-Identifier: LGPL-2.1-or-later
"""The system calls that each operation cannot do without, and nothing else.

They make the same promise as the pool does: after the last call returns, the new
state is durable, and a crash at any moment before leaves the old or the new one.
That asks for an image that has no name before it is complete, metadata in an
extended attribute, fsync of the image before the switch, and fsync of the
directory after it. Where there are several ways, this is the cheapest that was
found: on Btrfs, renaming a new file costs much more than naming it late.
"""

import fcntl
import os
import time

FICLONE = 0x40049409
ATTRIBUTE = b"trusted.libvirt.storage"
# As long as the metadata of an image usually is.
VALUE = b"1&" + b"g=1&v=0123456789abcdef&k=2&n=17&o=template#1" + b"&c=1750000000"


def clone_into(source, target):
    fcntl.ioctl(target, FICLONE, source)


class Bare:
    """One volume in a directory of its own, driven by system calls alone."""

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.path = directory
        self.directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self.revision = 0

    def close(self):
        os.close(self.directory)

    def open(self, name, flags=os.O_RDWR):
        return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=self.directory)

    def unlink(self, name):
        os.unlink(name, dir_fd=self.directory)

    def drop(self, name):
        try:
            self.unlink(name)
        except FileNotFoundError:
            pass

    def _cloned(self, source, name):
        """A durable clone of SOURCE under a temporary name: to Btrfs, an fsync before there is a name means nothing."""
        origin = self.open(source, os.O_RDONLY)
        image = os.open(self.path, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        clone_into(origin, image)
        os.setxattr(image, ATTRIBUTE, VALUE)
        os.link("/proc/self/fd/%d" % image, name, dst_dir_fd=self.directory, follow_symlinks=True)
        os.fsync(image)
        os.close(image)
        os.close(origin)

    def clone(self, source, target):
        """SOURCE → TARGET, a new name; what start does where nothing is cloned ahead."""
        self._cloned(source, target + ".new")
        os.rename(target + ".new", target, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        os.fsync(self.directory)

    def start_from_precache(self, precache, live):
        image = self.open(precache)
        os.setxattr(image, ATTRIBUTE, VALUE)
        os.fsync(image)
        os.rename(precache, live, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        os.fsync(self.directory)
        os.close(image)

    def _switch(self, new, head):
        """NEW becomes HEAD, HEAD becomes a revision."""
        self.revision += 1
        revision = "%s.%d" % (head, self.revision)
        os.link(head, revision, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        os.rename(new, head, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        os.fsync(self.directory)
        return revision

    def commit(self, live, head):
        image = self.open(live)
        os.setxattr(image, ATTRIBUTE, VALUE)
        os.fsync(image)
        revision = self._switch(live, head)
        os.close(image)
        return revision

    def revert(self, revision, head):
        self._cloned(revision, head + ".tmp")
        return self._switch(head + ".tmp", head)

    def prune(self, revision):
        self.unlink(revision)
        os.fsync(self.directory)


def timed(function, *arguments):
    """Seconds that a call took, and what it returned."""
    began = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - began, result
