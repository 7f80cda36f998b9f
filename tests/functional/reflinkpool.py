# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools of the type reflink: files in a directory (names: design section 5)."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import time
from xml.sax.saxutils import escape

import libvirt

from pools import DirectoryPool, Files, wait_for

LATER = 2.6     # seconds after which file times are telling

# What may lie in a pool's directory once it is at rest.
KNOWN_FILE = re.compile(
    r"^.+\.img(\.[1-9][0-9]*@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    r"|\.pin-[A-Za-z][A-Za-z0-9_-]*)?$")


def extents_shared(path):
    """Whether the file shares an extent with another (as filefrag says)."""
    out = subprocess.run(["filefrag", "-v", path], capture_output=True,
                         text=True, check=True).stdout
    return "shared" in out


class ReflinkFiles(Files):
    """The files of a reflink pool."""

    def __init__(self, path):
        self.path = path

    def head(self, name):
        return f"{self.path}/{name}.img"

    def live(self, name):
        return f"{self.path}/{name}-dirty.img"

    def precache(self, name):
        return f"{self.path}/{name}-precache.img"

    def stage(self, name):
        return f"{self.path}/{name}.img.stage"

    def pin(self, name, word):
        return f"{self.path}/{name}.img.pin-{word}"

    def revision(self, name, ident):
        """The file of a revision, whatever its date."""
        folder = os.path.dirname(self.head(name))
        start = os.path.basename(self.head(name)) + f".{ident}@"
        found = [f for f in os.listdir(folder) if f.startswith(start)]
        assert len(found) <= 1, found
        return os.path.join(folder, found[0]) if found else None

    def new_revision(self, name, ident):
        return f"{self.head(name)}.{ident}@2020-01-01T00:00:00Z"

    def revision_ids(self, name):
        folder = os.path.dirname(self.head(name))
        start = re.escape(os.path.basename(self.head(name)))
        found = [re.match(start + r"\.(\d+)@", f) for f in os.listdir(folder)]
        return sorted(int(m.group(1)) for m in found if m)

    def all(self):
        """Every file below the pool, as relative paths."""
        found = []
        for folder, _, names in os.walk(self.path):
            found += [os.path.relpath(os.path.join(folder, n), self.path)
                      for n in names]
        return sorted(found)

    def leftovers(self):
        return [f for f in self.all() if not KNOWN_FILE.match(f)]

    def exists(self, place):
        return os.path.lexists(place)

    def identity(self, place):
        info = os.stat(place)
        return info.st_dev, info.st_ino

    def size(self, place):
        return os.stat(place).st_size

    def used(self, place):
        return os.stat(place).st_blocks * 512

    def shares(self, place):
        return extents_shared(place)

    def put(self, place, data):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(data)
        return place

    def remove(self, place):
        os.unlink(place)

    def rename(self, place, other):
        os.rename(place, other)

    def metadata(self, place):
        """The extended attribute as text."""
        for space in ("trusted", "user"):
            try:
                return os.getxattr(place, space + ".libvirt.storage").decode()
            except OSError:
                continue
        return None

    def tree(self):
        found = {}
        for name in self.all():
            path = os.path.join(self.path, name)
            if name.endswith("-precache.img") or not os.path.isfile(path):
                continue
            info = os.lstat(path)
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            found[name] = (info.st_ino, info.st_size, info.st_mtime_ns,
                           info.st_mode, digest, self.metadata(path))
        return found


class ReflinkPool(DirectoryPool):
    """A directory of images."""

    TYPE = "reflink"
    FORMATS = ("raw", "qcow2")
    VOLUME_KIND = libvirt.VIR_STORAGE_VOL_FILE

    def __init__(self, daemon, parent, name=None, path=None, required=None,
                 **options):
        super().__init__(daemon, None, name, **options)
        self.path = path or os.path.join(parent, self.name)
        self.files = ReflinkFiles(self.path)
        self.required = required

    @property
    def outside(self):
        """A folder beside the one of the pools."""
        return self.path.rsplit("/", 2)[0] + "/stock-source"

    def features(self):
        if self.required is None:
            return ""
        return f"<features><reflink required='{self.required}'/></features>"

    def parts(self):
        return f"<target><path>{escape(self.path)}</path></target>"

    def remove(self):
        self.forget()
        if not os.path.islink(self.path):
            shutil.rmtree(self.path, ignore_errors=True)

    def settle(self):
        time.sleep(LATER)

    def age(self, name, seconds=3600):
        then = time.time() - seconds
        os.utime(self.device(name), (then, then))

    def wait_precache(self, name, seconds=8):
        """Wait until the next live copy was cloned ahead."""
        wait_for(lambda: os.path.exists(self.files.precache(name)), seconds,
                 "precache of " + name)

    def is_cloning(self):
        """Whether the daemon has an image open without its final name."""
        folder = f"/proc/{self.daemon.pid}/fd"
        for number in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                file = os.readlink(f"{folder}/{number}")
                if file.startswith(self.path + "/") and (
                        file.startswith(self.path + "/#")
                        or file.endswith(".img.new")):
                    return True
        return False
