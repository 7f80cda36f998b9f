# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools of the type qubes-thin: thin volumes (names: design section 5)."""

import contextlib
import hashlib
import os
import re

import libvirt

from pools import Files, Pool
from volumegroup import lvm

MARK = "libvirt="
CHECK = "clear-needs-check-flag"
WORD = "[A-Za-z][A-Za-z0-9_-]*"
# Larger ones are told apart by what they take of the thin pool.
MOST_READ = 64 << 20


class ThinFiles(Files):
    """The logical volumes of a thin pool; a place is /dev/VG/NAME."""

    def __init__(self, group, thin):
        self.group, self.thin = group, thin

    def volumes(self):
        return self.group.volumes(self.thin)

    def volume(self, place):
        """What LVM's metadata has of the volume at a place."""
        return self.volumes()[self.name(place)]

    @staticmethod
    def name(place):
        return place.rsplit("/", 1)[1]

    def place(self, name):
        return self.group.path(name)

    def head(self, name):
        return self.place(name)

    def live(self, name):
        return self.place(f"{name}-snap")

    def stage(self, name):
        return self.place(f"{name}+stage")

    def pin(self, name, word):
        return self.place(f"{name}+pin+{word}")

    def new_revision(self, name, ident):
        return self.place(f"{name}-{ident}-back")

    def revision(self, name, ident):
        place = self.new_revision(name, ident)
        return place if self.exists(place) else None

    def revision_ids(self, name):
        form = re.compile(re.escape(name) + r"-(\d+)-back")
        found = [form.fullmatch(each) for each in self.volumes()]
        return sorted(int(m.group(1)) for m in found if m)

    def all(self):
        return sorted(self.volumes())

    def leftovers(self):
        """Staging volumes, and whatever else has no role of section 5."""
        known = re.compile(rf"[A-Za-z0-9_.-]+(\+pin\+{WORD})?")
        return [name for name in self.all() if not known.fullmatch(name)]

    def exists(self, place):
        return self.name(place) in self.volumes()

    def identity(self, place):
        return self.volume(place).uuid

    def size(self, place):
        return self.volume(place).size

    def used(self, place):
        return self.group.mapped(self.name(place))

    def shares(self, place):
        return self.volume(place).origin is not None

    def put(self, place, data):
        """A thin volume with that content, rounded up to extents."""
        self.blank(place, len(data))
        with open(place, "r+b") as file:
            file.write(data)
            os.fsync(file.fileno())
        return place

    def blank(self, place, size):
        sectors = max(1, -(-size // 512))
        lvm("lvcreate", "-q", "-q", "-V", f"{sectors}s", "-n",
            self.name(place), "--thinpool", f"{self.group.name}/{self.thin}")
        return place

    def copy(self, place, other, *options):
        """A snapshot, as another administrator makes it."""
        lvm("lvcreate", "-q", "-q", "-s", "-kn", *options, "-n",
            self.name(other), f"{self.group.name}/{self.name(place)}")
        return other

    def remove(self, *places):
        lvm("lvremove", "-q", "-q", "-f", "-y", *self.full(*places))

    def rename(self, place, other):
        lvm("lvrename", "-q", "-q", *self.full(place, other))

    def change(self, place, *options):
        lvm("lvchange", "-q", "-q", *options, *self.full(place))

    def full(self, *places):
        return [f"{self.group.name}/{self.name(p)}" for p in places]

    def metadata(self, place):
        """The text of our tag; around a merge there can be two."""
        tags = [t for t in self.volume(place).tags if t.startswith(MARK)]
        return tags[0][len(MARK):] if tags else None

    @contextlib.contextmanager
    def readable(self, name):
        """The path of a volume that is active for a while."""
        if self.group.active(name):
            yield self.place(name)
            return
        self.change(self.place(name), "-K", "-ay")
        try:
            yield self.place(name)
        finally:
            self.change(self.place(name), "-an")

    def content(self, volume):
        """What tells one content from another."""
        with self.readable(volume.name) as path:
            if volume.size > MOST_READ:
                return self.group.mapped(volume.name)
            with open(path, "rb") as file:
                return hashlib.md5(file.read()).hexdigest()

    def tree(self):
        return {v.name: (v.uuid, v.size, v.tags, v.origin, self.content(v))
                for v in self.volumes().values()}


class ThinPool(Pool):
    """A thin pool and its volumes."""

    TYPE = "qubes-thin"
    VOLUME_KIND = libvirt.VIR_STORAGE_VOL_BLOCK

    def __init__(self, daemon, group, thin, name=None, activation=None,
                 devices=(), **options):
        super().__init__(daemon, ThinFiles(group, thin), name, **options)
        self.group, self.thin = group, thin
        self.activation, self.devices = activation, devices
        self.outside = None
        self.removed = False

    @property
    def path(self):
        return f"/dev/{self.group.name}"

    def rounded(self, capacity):
        extents = max(1, -(-capacity // self.group.extent))
        return extents * self.group.extent

    @staticmethod
    def few(count):
        return min(count, max(3, count // 10))

    def parts(self):
        activation = "" if self.activation is None else (
            f" activation='{self.activation}'")
        devices = "".join(f"<device path='{d}'/>" for d in self.devices)
        return (f"<source>{devices}<name>{self.group.name}</name>"
                f"<thinPool name='{self.thin}'{activation}/></source>")

    def up(self):
        """Define and start."""
        self.define()
        self.virt.create(0)
        return self

    def put_away(self):
        """Stop it, and deactivate all that it has."""
        if self.virt.isActive():
            self.virt.destroy()
        lvm("vgchange", "-q", "-q", "-an", self.group.name)

    def check_as_told(self):
        """What a thin pool that needs a check is refused with."""
        lvm("lvchange", "-q", "-q", "-ay", "--config",
            f"global/thin_check_options=[\"-q\",\"--{CHECK}\"]",
            f"{self.group.name}/{self.thin}")

    def remove(self):
        self.forget()
        self.group.clear(self.thin)
        self.removed = True
