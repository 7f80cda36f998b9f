# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volume groups as a second administrator has them at hand.

What is in a group is read from its disk, not asked of LVM: an LVM process
takes most of a second in an emulated guest, and it is not the one under test.
"""

import dataclasses
import os
import re
import shutil
import struct
import subprocess

from filesystems import MIB

SECTOR = 512
TOKEN = re.compile(r'#[^\n]*|"(?:[^"\\]|\\.)*"|[\[\]{}=,]|[^\s\[\]{}=,#"]+')


def lvm(*words, check=True):
    """Run an LVM command; its output is in the error if it fails."""
    done = subprocess.run(["lvm", *words], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False,
                          env=dict(os.environ, LC_ALL="C"))
    if check and done.returncode:
        raise RuntimeError(f"lvm {words}: {done.stderr or done.stdout}")
    return done


@dataclasses.dataclass(frozen=True)
class LogicalVolume:
    """What LVM's metadata has of a thin volume."""

    name: str
    uuid: str
    size: int
    tags: tuple
    origin: str
    device_id: int
    flags: tuple


def parse(text):
    """LVM's text format as nested dictionaries."""
    words = [t for t in TOKEN.findall(text) if not t.startswith("#")]
    at = 0

    def value():
        nonlocal at
        word = words[at]
        at += 1
        if word == "[":
            found = []
            while words[at] != "]":
                if words[at] == ",":
                    at += 1
                else:
                    found.append(value())
            at += 1
            return tuple(found)
        return word[1:-1] if word.startswith('"') else word

    def section():
        nonlocal at
        found = {}
        while at < len(words) and words[at] != "}":
            key, kind = words[at], words[at + 1]
            at += 2
            found[key] = section() if kind == "{" else value()
        at += 1
        return found

    return section()


def metadata_text(device):
    """The text of the group's metadata, from one of its disks."""
    with open(device, "rb") as file:
        head = file.read(4 * SECTOR)
        label = head.index(b"LABELONE")
        begin, = struct.unpack_from("<I", head, label + 20)
        at = label + begin + 40
        areas = []
        while len(areas) < 2:           # lists of data and metadata areas
            areas.append([])
            while True:
                place, size = struct.unpack_from("<QQ", head, at)
                at += 16
                if not place:
                    break
                areas[-1].append((place, size))
        place, size = areas[1][0]
        file.seek(place)
        header = file.read(SECTOR)
        offset, length = struct.unpack_from("<QQ", header, 40)
        if not offset:
            return ""
        file.seek(place + offset)
        text = file.read(min(length, size - offset))
        if len(text) < length:          # a ring, after its header
            file.seek(place + SECTOR)
            text += file.read(length - len(text))
    return text.rstrip(b"\0").decode()


class VolumeGroup:
    """A volume group on one disk, with thin pools in it."""

    def __init__(self, name, device, extent=MIB, metadata=16 * MIB):
        self.name, self.device, self.known = name, device, extent
        if extent:
            # Or udev activates it again when a test has deactivated it.
            lvm("vgcreate", "-q", "-q", "-y", "--setautoactivation", "n",
                "--metadatasize", f"{metadata}b", "-s", f"{extent}b", name,
                device)

    @property
    def extent(self):
        """The size of an extent."""
        if not self.known:
            self.known = int(self.metadata()["extent_size"]) * SECTOR
        return self.known

    @classmethod
    def built(cls, name, device):
        """A group that the daemon makes."""
        return cls(name, device, extent=None)

    def about(self, *fields):
        """What vgs has to say, as numbers."""
        out = lvm("vgs", "--noheadings", "--nosuffix", "--units", "b",
                  "--separator", ",", "-o", ",".join(fields), self.name)
        return [int(word) for word in out.stdout.split(",")]

    def add_thin_pool(self, name, size, metadata=8 * MIB, chunk=65536):
        """A thin pool of that size."""
        lvm("lvcreate", "-q", "-q", "-y", "--type", "thin-pool", "-L",
            f"{size}b", "--chunksize", f"{chunk}b", "--poolmetadatasize",
            f"{metadata}b", "-n", name, self.name)

    def metadata(self):
        """The group's part of LVM's metadata."""
        return parse(metadata_text(self.device))[self.name]

    def superblock_at(self, thin):
        """Where the metadata of a thin pool begins on the disk, in bytes."""
        data = self.metadata()
        volume = data["logical_volumes"][thin + "_tmeta"]["segment1"]
        begin = int(data["physical_volumes"]["pv0"]["pe_start"]) * SECTOR
        return begin + int(volume["stripes"][1]) * self.extent

    def volumes(self, thin):
        """The thin volumes of a thin pool, by name."""
        group = self.metadata()
        found = {}
        for name, volume in group.get("logical_volumes", {}).items():
            segment = volume["segment1"]
            if segment.get("type") == "thin" and segment["thin_pool"] == thin:
                found[name] = LogicalVolume(
                    name, volume["id"],
                    sum(int(part["extent_count"]) for key, part
                        in volume.items() if key.startswith("segment")
                        and isinstance(part, dict)) * self.extent,
                    volume.get("tags", ()), segment.get("origin"),
                    int(segment["device_id"]),
                    volume["status"] + volume.get("flags", ()))
        return found

    def path(self, name):
        return f"/dev/{self.name}/{name}"

    def mapper(self, name):
        """The name that the device mapper has for it."""
        return "-".join(part.replace("-", "--") for part in (self.name, name))

    def active(self, name):
        return os.path.exists(f"/dev/mapper/{self.mapper(name)}")

    def status(self, name, layer=""):
        """The words of the device mapper's status of a volume."""
        out = subprocess.run(["dmsetup", "status", self.mapper(name) + layer],
                             capture_output=True, text=True, check=True)
        return out.stdout.split()

    def mapped(self, name):
        """The bytes of the thin pool that a thin volume has."""
        return int(self.status(name)[3]) * 512

    def clear(self, thin):
        """Remove all volumes of a thin pool."""
        if self.volumes(thin):
            lvm("lvremove", "-q", "-q", "-ff", "-y", "-S", f"pool_lv={thin}",
                self.name)

    def drop_devices(self, *options):
        """Remove its devices, also those that LVM knows nothing of."""
        for _ in range(3):      # what is below goes after what is above
            names = subprocess.run(["dmsetup", "ls"], capture_output=True,
                                   text=True, check=True).stdout.split()
            for name in names:
                if name.startswith(self.mapper("")):
                    subprocess.run(["dmsetup", "remove", *options, name],
                                   capture_output=True, check=False)

    def close(self):
        """Remove the group and all that is in it, whatever its state."""
        done = lvm("vgremove", "-q", "-q", "-ff", "-y", self.name, check=False)
        if done.returncode:
            self.drop_devices("--force")
            subprocess.run(["wipefs", "-q", "-a", self.device], check=False)
            shutil.rmtree(f"/dev/{self.name}", ignore_errors=True)
        lvm("pvremove", "-q", "-q", "-ff", "-y", self.device, check=False)
