# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pool as the tests see it: operations by name, content, files on disk.

The behaviour tests use the methods of Pool only. What is particular to the
reflink type (file names, attributes) is in Files, so that another pool type
can be put under the same tests with a class of its own.
"""

import contextlib
import hashlib
import itertools
import os
import re
import shutil
import subprocess
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

# What may lie in a pool's directory once it is at rest.
KNOWN_FILE = re.compile(
    r"^.+\.img(\.[1-9][0-9]*@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    r"|\.pin-[A-Za-z][A-Za-z0-9_-]*)?$")

_numbers = itertools.count(1)


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


def pattern(tag, size=MIB):
    """Content that can be told from any other tag's, in every block."""
    def block(number):
        word = hashlib.sha256(f"{tag}/{number}".encode()).digest()
        return word * (BLOCK // len(word))
    blocks = [block(number) for number in range((size + BLOCK - 1) // BLOCK)]
    return b"".join(blocks)[:size]


def extents_shared(path):
    """Whether the file shares an extent with another (as filefrag says)."""
    out = subprocess.run(["filefrag", "-v", path], capture_output=True,
                         text=True, check=True).stdout
    return "shared" in out


class Files:
    """The files of a reflink pool (names: design section 5)."""

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
        """The file of a revision, whatever its date; None without."""
        folder = os.path.dirname(self.head(name))
        start = os.path.basename(self.head(name)) + f".{ident}@"
        found = [f for f in os.listdir(folder) if f.startswith(start)]
        assert len(found) <= 1, found
        return os.path.join(folder, found[0]) if found else None

    def revision_ids(self, name):
        """The ids of the revision files, in order."""
        folder = os.path.dirname(self.head(name))
        start = re.escape(os.path.basename(self.head(name)))
        found = [re.match(start + r"\.(\d+)@", f) for f in os.listdir(folder)]
        return sorted(int(m.group(1)) for m in found if m)

    def of(self, name):
        """The file of any volume name."""
        if "@" not in name:
            return self.head(name)
        base, part = name.split("@")
        if part == "live":
            return self.live(base)
        if part.isdigit():
            return self.revision(base, part)
        return self.pin(base, part)

    def all(self):
        """Every file below the pool, as relative paths."""
        found = []
        for folder, _, names in os.walk(self.path):
            found += [os.path.relpath(os.path.join(folder, n), self.path)
                      for n in names]
        return sorted(found)

    def leftovers(self):
        """Files that no pool at rest has."""
        return [f for f in self.all() if not KNOWN_FILE.match(f)]

    def at_rest(self, seconds=5):
        """Wait for work in the background; the files that it left over."""
        end = time.monotonic() + seconds
        while self.leftovers() and time.monotonic() < end:
            time.sleep(0.05)
        return self.leftovers()

    def metadata(self, path):
        """The extended attribute as text, None without."""
        for space in ("trusted", "user"):
            try:
                return os.getxattr(path, space + ".libvirt.storage").decode()
            except OSError:
                continue
        return None

    def tree(self):
        """All that an operation that does nothing must leave as it is."""
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


class Pool:
    """A storage pool and its volumes by name."""

    TYPE = "reflink"

    def __init__(self, daemon, parent, name=None, path=None, keep=None,
                 listed=None, required=None, extra=""):
        self.daemon = daemon
        self.name = name or f"t{os.getpid()}-{next(_numbers)}"
        self.path = path or os.path.join(parent, self.name)
        self.files = Files(self.path)
        self.keep = keep
        self.listed = listed
        self.required = required
        self.extra = extra

    # The pool itself

    def xml(self, keep=None):
        """The document that defines it."""
        keep = self.keep if keep is None else keep
        attrs = "" if keep is None else f" keep='{keep}'"
        attrs += "" if self.listed is None else f" list='{self.listed}'"
        features = "" if self.required is None else (
            f"<features><reflink required='{self.required}'/></features>")
        revisions = f"<revisions{attrs}/>" if attrs else ""
        # A definition of a pool that is there needs its id.
        known = [p.UUIDString() for p in
                 self.daemon.conn.listAllStoragePools(0)
                 if p.name() == self.name]
        uuid = f"<uuid>{known[0]}</uuid>" if known else ""
        return (f"<pool type='{self.TYPE}'><name>{escape(self.name)}</name>"
                f"{uuid}"
                f"{features}{revisions}{self.extra}"
                f"<target><path>{escape(self.path)}</path></target></pool>")

    @property
    def virt(self):
        """The libvirt object."""
        return self.daemon.conn.storagePoolLookupByName(self.name)

    def define(self):
        self.daemon.conn.storagePoolDefineXML(self.xml(), 0)
        return self

    def up(self):
        """Define, build and start."""
        self.define()
        self.virt.build(0)
        self.virt.create(0)
        return self

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

    def remove(self):
        """Take the pool away, and all its files."""
        with contextlib.suppress(libvirt.libvirtError):
            virt = self.virt
            with contextlib.suppress(libvirt.libvirtError):
                virt.destroy()
            virt.undefine()
        if not os.path.islink(self.path):
            shutil.rmtree(self.path, ignore_errors=True)

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
            self.write(name, pattern(content, capacity))
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
        """Make a file's data look old, as after a quiet time."""
        then = time.time() - seconds
        os.utime(self.device(name), (then, then))

    def contents(self, name):
        """The digests of all revisions by id, for comparison."""
        return {ident: hashlib.sha256(self.read(f"{name}@{ident}")).hexdigest()
                for ident in self.revisions(name)}

    def wait_precache(self, name, seconds=8):
        wait_for(lambda: os.path.exists(self.files.precache(name)), seconds,
                 "precache of " + name)

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
