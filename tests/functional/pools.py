# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pool as the tests see it: operations by name, content, what is stored.

The behaviour tests use the methods of Pool and Storage only, so that they are
the same for every pool type. What is particular to one is in reflinkpool.py
and thinpool.py.
"""

import contextlib
import hashlib
import itertools
import os
import re
import threading
import time
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import libvirt
import pytest

MIB = 1 << 20
BLOCK = 65536

SNAPSHOT = "<lifecycle snapOnStart='yes' saveOnStop='no' source=%s/>"
VOLATILE = "<lifecycle snapOnStart='no' saveOnStop='no'/>"
PERSISTENT = "<lifecycle snapOnStart='no' saveOnStop='yes'/>"

EXIST = libvirt.VIR_ERR_STORAGE_VOL_EXIST
INVALID = libvirt.VIR_ERR_OPERATION_INVALID
MISSING = libvirt.VIR_ERR_NO_STORAGE_VOL

_numbers = itertools.count(1)


def usually(values, others, mark=pytest.mark.slow):
    """Values of a test's parameter, or tuples of values of its parameters;
    the others are for runs of hours."""
    return [*values, *(
        pytest.param(*(value if isinstance(value, tuple) else (value,)),
                     marks=mark) for value in others)]


def snapshot_of(source):
    """The <lifecycle> of a snapshot volume."""
    return SNAPSHOT % quoteattr(source)


def volume_xml(name, capacity=MIB, lifecycle="", keep=None, fmt=None,
               allocation=0, target="", extra=""):
    """A volume document."""
    parts = [f"<volume><name>{escape(name)}</name>"]
    if capacity is not None:
        parts.append(f"<capacity unit='bytes'>{capacity}</capacity>")
    if allocation is not None:
        parts.append(f"<allocation unit='bytes'>{allocation}</allocation>")
    parts.append(lifecycle)
    if keep is not None:
        parts.append(f"<revisions keep='{keep}'/>")
    if fmt is not None:
        target = f"<format type='{fmt}'/>" + target
    if target:
        parts.append(f"<target>{target}</target>")
    parts.append(extra + "</volume>")
    return "".join(parts)


@contextlib.contextmanager
def refused(*codes, match=None):
    """The call inside fails, with one of these error codes."""
    with pytest.raises(libvirt.libvirtError) as info:
        yield info
    code = info.value.get_error_code()
    message = info.value.get_error_message()
    if codes:
        assert code in codes, f"error {code}: {message}"
    if match:
        assert re.search(match, message, re.I), message


def wait_for(condition, seconds=10, what="condition"):
    """Poll until it is true; returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < end, f"timeout: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def running(call, *args):
    """Something that goes on meanwhile; the result is in what is yielded."""
    result = []
    thread = threading.Thread(target=lambda: result.append(call(*args)))
    thread.start()
    try:
        yield result
    finally:
        thread.join()


def pattern(tag, size=MIB):
    """Content that can be told from any other tag's, in every block."""
    def block(number):
        word = hashlib.sha256(f"{tag}/{number}".encode()).digest()
        return word * (BLOCK // len(word))
    blocks = [block(number) for number in range((size + BLOCK - 1) // BLOCK)]
    return b"".join(blocks)[:size]


class Files:
    """What a pool stores: files, or logical volumes, each at a place.

    A place is a path. A pool type says where the parts of a volume are, and
    how to do by hand what somebody else may do behind the pool's back.
    """

    def head(self, name):
        raise NotImplementedError

    def live(self, name):
        raise NotImplementedError

    def stage(self, name):
        raise NotImplementedError

    def pin(self, name, word):
        raise NotImplementedError

    def revision(self, name, ident):
        """Where a revision is; None without."""
        raise NotImplementedError

    def new_revision(self, name, ident):
        """Where a revision that is not there would be."""
        raise NotImplementedError

    def revision_ids(self, name):
        """The ids of the revisions, in order."""
        raise NotImplementedError

    def of(self, name):
        """The place of any volume name."""
        if "@" not in name:
            return self.head(name)
        base, part = name.split("@")
        if part == "live":
            return self.live(base)
        if part.isdigit():
            return self.revision(base, part)
        return self.pin(base, part)

    def all(self):
        """The names of all that is stored."""
        raise NotImplementedError

    def leftovers(self):
        """What no pool at rest has."""
        raise NotImplementedError

    def at_rest(self, seconds=5):
        """Wait for work in the background; what it left over."""
        end = time.monotonic() + seconds
        while self.leftovers() and time.monotonic() < end:
            time.sleep(0.05)
        return self.leftovers()

    def exists(self, place):
        raise NotImplementedError

    def identity(self, place):
        """What stays the same as long as it is the same file."""
        raise NotImplementedError

    def size(self, place):
        raise NotImplementedError

    def used(self, place):
        """The bytes it takes from the storage."""
        raise NotImplementedError

    def shares(self, place):
        """Whether it shares data with another."""
        raise NotImplementedError

    def put(self, place, data):
        """Something that is not the pool's doing, without metadata."""
        raise NotImplementedError

    def remove(self, place):
        raise NotImplementedError

    def rename(self, place, other):
        raise NotImplementedError

    def metadata(self, place):
        """The text of the metadata, None without."""
        raise NotImplementedError

    def tree(self):
        """All that an operation that does nothing must leave as it is."""
        raise NotImplementedError


class Pool:
    """A storage pool and its volumes by name."""

    TYPE = None
    FORMATS = ("raw",)
    VOLUME_KIND = None

    def __init__(self, daemon, files, name=None, keep=None, listed=None,
                 extra=""):
        self.daemon = daemon
        self.name = name or f"t{os.getpid()}-{next(_numbers)}"
        self.files = files
        self.keep = keep
        self.listed = listed
        self.extra = extra

    @staticmethod
    def rounded(capacity):
        """The size that a volume of that capacity has."""
        return capacity

    @staticmethod
    def few(count):
        """So many repetitions, or fewer where each takes long."""
        return count

    def settle(self):
        """Wait until times of files tell of later changes."""

    # The pool itself

    def parts(self):
        """What its document has after <revisions>, by type."""
        raise NotImplementedError

    def features(self):
        """What its document has before <revisions>."""
        return ""

    def xml(self, keep=None):
        """The document that defines it."""
        keep = self.keep if keep is None else keep
        attrs = "" if keep is None else f" keep='{keep}'"
        attrs += "" if self.listed is None else f" list='{self.listed}'"
        revisions = f"<revisions{attrs}/>" if attrs else ""
        # A definition of a pool that is there needs its id.
        known = [p.UUIDString() for p in
                 self.daemon.conn.listAllStoragePools(0)
                 if p.name() == self.name]
        uuid = f"<uuid>{known[0]}</uuid>" if known else ""
        return (f"<pool type='{self.TYPE}'><name>{escape(self.name)}</name>"
                f"{uuid}{self.features()}{revisions}{self.extra}"
                f"{self.parts()}</pool>")

    @property
    def virt(self):
        """The libvirt object."""
        return self.daemon.conn.storagePoolLookupByName(self.name)

    def define(self):
        self.daemon.conn.storagePoolDefineXML(self.xml(), 0)
        return self

    def prepare(self):
        """Make the storage ready that it lies on."""

    def up(self):
        """Define and start, on storage that is ready for it."""
        raise NotImplementedError

    def begin(self):
        """Start it, or refresh it where the daemon did so already."""
        if self.virt.isActive():
            return self.refresh()
        self.virt.create(0)
        return self

    def restart(self):
        self.virt.destroy()
        self.virt.create(0)
        return self

    def refresh(self):
        self.virt.refresh(0)
        return self

    def forget(self):
        """Take the pool away from the daemon."""
        with contextlib.suppress(libvirt.libvirtError):
            virt = self.virt
            with contextlib.suppress(libvirt.libvirtError):
                virt.destroy()
            virt.undefine()

    def remove(self):
        """Take the pool away, and all that it stored."""
        raise NotImplementedError

    # Volumes

    def vol(self, name):
        return self.virt.storageVolLookupByName(name)

    def has(self, name):
        try:
            self.vol(name)
            return True
        except libvirt.libvirtError as error:
            assert error.get_error_code() == MISSING, error
            return False

    def names(self):
        """All listed names, by the list call, sorted."""
        return sorted(v.name() for v in self.virt.listAllVolumes(0))

    def create(self, name, capacity=MIB, content=None, flags=0, **options):
        """A blank volume, or one with content written by hand."""
        vol = self.virt.createXML(volume_xml(name, capacity, **options), flags)
        if content is not None:
            self.write(name, pattern(content, self.rounded(capacity)))
        return vol

    def create_from(self, source, target, flags=0, xml=None):
        """What vol-clone does: the source's XML with another name."""
        vol = source if isinstance(source, libvirt.virStorageVol) else (
            self.vol(source))
        if xml is None:
            root = ET.fromstring(vol.XMLDesc(0))
            root.find("name").text = target
            xml = ET.tostring(root, encoding="unicode")
        return self.virt.createXMLFrom(xml, vol, flags)

    def clone(self, source, target, **options):
        return self.create_from(source, target, **options)

    def start(self, name):
        return self.create_from(name, name + "@live")

    def stage(self, source, name):
        return self.create_from(source, name + "@live")

    def commit(self, name):
        return self.create_from(name + "@live", name)

    def discard(self, name):
        self.vol(name + "@live").delete(0)

    def revert(self, name, ident):
        return self.create_from(f"{name}@{ident}", name)

    def pin(self, name, word):
        return self.create_from(name, f"{name}@{word}")

    def redefine(self, name, lifecycle="", keep=None, **options):
        xml = volume_xml(name, self.size(name), lifecycle, keep, **options)
        return self.create_from(name, name, xml=xml)

    def delete(self, name, flags=0):
        self.vol(name).delete(flags)

    def cycle(self, name, content, old=False):
        """Start, write and commit; returns the content's tag."""
        self.start(name)
        self.write(name + "@live", pattern(content, self.size(name)))
        if old:
            self.age(name + "@live")
        self.commit(name)
        return content

    # What a volume says of itself

    def dump(self, name):
        return ET.fromstring(self.vol(name).XMLDesc(0))

    def size(self, name):
        return self.vol(name).info()[1]

    def state(self, name):
        """(dirty, outdated, generation) of <state>."""
        node = self.dump(name).find("state")
        return (node.get("dirty") == "yes", node.get("outdated") == "yes",
                int(node.get("generation")))

    def dirty(self, name):
        return self.state(name)[0]

    def generation(self, name):
        return self.state(name)[2]

    def revision_nodes(self, name):
        node = self.dump(name).find("revisions")
        return [] if node is None else node.findall("revision")

    def revisions(self, name):
        """The ids of the unpinned revisions, in order."""
        return sorted(int(n.get("id")) for n in self.revision_nodes(name)
                      if n.get("pinned") == "no")

    def pins(self, name):
        """The words of the pinned revisions."""
        return sorted(n.get("name").split("@")[1]
                      for n in self.revision_nodes(name)
                      if n.get("pinned") == "yes")

    # Content, as a guest would see it

    def device(self, name):
        return self.vol(name).path()

    def write(self, name, data, offset=0):
        """Write through the volume's path, durably."""
        fd = os.open(self.device(name), os.O_WRONLY)
        try:
            os.pwrite(fd, data, offset)
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self, name):
        with open(self.device(name), "rb") as file:
            return file.read()

    def holds(self, name, tag):
        """Whether the whole volume is that pattern."""
        data = self.read(name)
        return data == pattern(tag, len(data))

    def blank(self, name):
        return not any(self.read(name))

    def age(self, name, seconds=3600):
        """Make its data look old, as after a quiet time."""

    def digest(self, name):
        """What compares equal for equal content."""
        return hashlib.sha256(self.read(name)).hexdigest()

    def contents(self, name):
        """The digests of all revisions by id, for comparison."""
        return {ident: self.digest(f"{name}@{ident}")
                for ident in self.revisions(name)}

    @contextlib.contextmanager
    def untouched(self):
        """Nothing on disk differs afterwards."""
        before = self.files.tree()
        yield
        assert self.files.tree() == before

    @contextlib.contextmanager
    def refuses(self, *codes, match=None):
        """The call inside is refused and changes nothing."""
        with self.untouched(), refused(*codes, match=match) as info:
            yield info

    @contextlib.contextmanager
    def refused_over_the_limit(self):
        """Refused, with the number of volumes that a list can hold."""
        with refused(match="16,?384"):
            yield


class DirectoryPool(Pool):
    """A pool that is built in a directory."""

    def prepare(self):
        os.makedirs(self.path)

    def up(self):
        """Define, build and start."""
        self.define()
        self.virt.build(0)
        self.virt.create(0)
        return self
