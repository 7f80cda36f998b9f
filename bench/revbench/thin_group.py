# SPDX-License-Identifier: LGPL-2.1-or-later
"""Thin pools on a disk of the guest, and many volumes in them at once."""

import fcntl
import mmap
import os
import random
import re
import struct
import tempfile

import libvirt

from .bare import timed
from .pools import volume_xml
from .thin_lvm import WRITTEN, lvm, run, settle

GROUP, THIN = "bench", "pool"
CAPACITY = 1 << 30
# Thin devices of volumes that are made in bulk have numbers from here on.
FIRST_DEVICE = 1000
FIRST_EPOCH = 1763700000
DM_TARGET_MSG = 0xc138fd0e
DM_IOCTL = struct.Struct("=3I3Ii3IQ128s129s7x")


def message(device, text):
    """A message to a target of the device mapper, as `dmsetup message` sends it."""
    body = struct.pack("=Q", 0) + text.encode() + b"\0"
    size = DM_IOCTL.size + len(body)
    head = DM_IOCTL.pack(4, 0, 0, size, DM_IOCTL.size, 0, 0, 0, 0, 0, 0,
                         device.encode(), b"")
    control = os.open("/dev/mapper/control", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(control, DM_TARGET_MSG, bytearray(head + body))
    finally:
        os.close(control)


def write_some(path, size=WRITTEN):
    """What a guest leaves behind: blocks written past the cache, and flushed."""
    buffer = mmap.mmap(-1, size)
    buffer.write(random.randbytes(1 << 16) * (size >> 16))
    descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT)
    try:
        os.pwrite(descriptor, buffer, random.randrange(16) * size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    settle()


class ThinPool:
    """A pool of the type, on a volume group that lasts as long as the context."""

    def __init__(self, daemon, disk, activation, keep=1):
        self.daemon, self.disk, self.activation = daemon, disk, activation
        self.name = "bench-" + activation
        self.keep = keep

    def __enter__(self):
        self.daemon.connection.storagePoolDefineXML(
            "<pool type='qubes-thin'><name>%s</name><revisions keep='%d'/><source>"
            "<device path='%s'/><name>%s</name><thinPool name='%s' activation='%s'/>"
            "</source></pool>" % (self.name, self.keep, self.disk, GROUP, THIN, self.activation))
        self.handle.build(libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE)
        self.handle.create()
        return self

    def __exit__(self, *_exc):
        if self.handle.isActive():
            self.handle.destroy()
        self.handle.undefine()
        settle()
        run("lvm", "vgremove", "-qq", "-ff", "-y", GROUP)
        run("lvm", "pvremove", "-qq", "-ff", "-y", self.disk)
        settle()

    @property
    def handle(self):
        return self.daemon.connection.storagePoolLookupByName(self.name)

    @property
    def heads_active(self):
        return self.activation == "all"

    def volume(self, name):
        return self.handle.storageVolLookupByName(name)

    def create(self, name, capacity=CAPACITY, keep=None):
        return self.handle.createXML(volume_xml(name, capacity, keep))

    def create_from(self, source, target, keep=None):
        """A function to be timed: everything but the call is done before."""
        handle, origin = self.handle, self.volume(source)
        xml = volume_xml(target, CAPACITY, keep)
        return lambda: handle.createXMLFrom(xml, origin)

    def start(self, name):
        return self.create_from(name, name + "@live")

    def commit(self, name):
        return self.create_from(name + "@live", name)

    def write(self, name):
        write_some("/dev/%s/%s-snap" % (GROUP, name))

    def make_volume(self, name):
        """A volume with content."""
        self.create(name)
        self.start(name)()
        self.write(name)
        self.commit(name)()

    def numbered(self, name):
        """Names of a volume's numbered revisions, oldest first."""
        return sorted((each for each in self.handle.listVolumes()
                       if re.fullmatch(re.escape(name) + r"@\d+", each)),
                      key=lambda each: int(each.rsplit("@", 1)[1]))

    def fill(self, first, last):
        """Volumes FIRST to LAST - 1, each with one revision, not active.

        LVM would take a second for each. So the thin pool is told to make the
        devices, and LVM gets the text of its metadata with these in it. Returns
        the seconds that the pool's start took, which makes them active or not.
        """
        for number in range(first, last):
            message("%s-%s-tpool" % (GROUP, THIN), "create_thin %d" % device_of(number))
            message("%s-%s-tpool" % (GROUP, THIN),
                    "create_snap %d %d" % (device_of(number) + 1, device_of(number)))
        self.handle.destroy()
        settle()
        lvm("vgchange", "-qq", "-an", GROUP)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, GROUP)
            lvm("vgcfgbackup", "-qq", "-f", path, GROUP)
            with open(path, encoding="utf-8") as file:
                text = with_volumes(file.read(), first, last, skip=not self.heads_active)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            lvm("vgcfgrestore", "-qq", "--yes", "--force", "-f", path, GROUP)
        took, _ = timed(self.handle.create)
        settle()
        return took


def device_of(number):
    return FIRST_DEVICE + 2 * number


def unique(number):
    """Something like a UUID of LVM's."""
    text = "%032d" % number
    return "-".join([text[:6]] + [text[at:at + 4] for at in range(6, 26, 4)] + [text[26:]])


def one_volume(name, device, transaction, extents, skip, origin=None):
    more = '                origin = "%s"\n' % origin if origin else ""
    return """
        %s {
            id = "%s"
            status = ["READ", "WRITE", "VISIBLE"]
            flags = [%s]
            tags = ["libvirt=1&g=2&c=%d"]
            creation_time = %d
            creation_host = "guest"
            segment_count = 1

            segment1 {
                start_extent = 0
                extent_count = %d
                type = "thin"
                thin_pool = "%s"
                transaction_id = %d
                device_id = %d
%s            }
        }
""" % (name, unique(device), '"ACTIVATION_SKIP"' if skip else "", FIRST_EPOCH, FIRST_EPOCH,
       extents, THIN, transaction, device, more)


def with_volumes(text, first, last, skip):
    """LVM's metadata, with more volumes."""
    transaction = int(re.search(r"transaction_id = (\d+)", text).group(1))
    extents = CAPACITY // (512 * int(re.search(r"extent_size = (\d+)", text).group(1)))
    volumes = []
    for number in range(first, last):
        name, device = "vm-fill-%05d" % number, device_of(number)
        volumes += [one_volume(name, device, transaction, extents, skip),
                    one_volume("%s-%d-back" % (name, FIRST_EPOCH + number), device + 1,
                               transaction, extents, skip, origin=name)]
    before, mark, after = text.partition("logical_volumes {\n")
    return before + mark + "".join(volumes) + after
