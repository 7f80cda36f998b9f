# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools of the type fspool: directory trees (names: design section 5)."""

import contextlib
import itertools
import os
import stat
import time
from xml.sax.saxutils import escape

import libvirt

from fstrees import (KNOWN, OWN, destroy, empty, facts, fill, listing,
                     tree_tar, walk)
from pools import DirectoryPool, Files, volume_xml
from streams import upload

NUMBERS = itertools.count(1)
UNSUPPORTED = (libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
               libvirt.VIR_ERR_CONFIG_UNSUPPORTED)


class FsFiles(Files):
    """What lies below the directory of an fspool; a place is a path."""

    def __init__(self, pool):
        self.pool = pool

    @property
    def own(self):
        return self.pool.path + "/.fspool"

    def head(self, name):
        return f"{self.pool.path}/{name}"

    def revision(self, name, ident):
        return self.pool.device(f"{name}@{ident}")

    def revision_ids(self, name):
        return self.pool.revisions(name)

    def all(self):
        return sorted(os.fsdecode(n)
                      for n in walk(os.fsencode(self.pool.path)))

    def kept(self):
        """The names of what lies below revisions/."""
        return sorted(self.inside("revisions"))

    def inside(self, name):
        """What is in one of the pool's own folders."""
        with contextlib.suppress(FileNotFoundError):
            return os.listdir(f"{self.own}/{name}")
        return []

    def leftovers(self):
        """What is in staging and trash, and unheard-of things."""
        known = {"revisions", "staging", "trash"}
        return (sorted(set(self.inside("")) - known) + self.inside("staging")
                + self.inside("trash") + list(self.empty_folders()))

    def empty_folders(self, below=None):
        """The directories of nested names in which no item lies."""
        with contextlib.suppress(FileNotFoundError), os.scandir(
                below or self.pool.path) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False) and self.is_folder(
                        entry.path):
                    if not os.listdir(entry.path):
                        yield entry.path
                    yield from self.empty_folders(entry.path)

    def is_folder(self, place):
        """Whether a directory is where items with nested names lie."""
        return bool(self.metadata_name(place)) and (
            "&D=1" in self.metadata(place))

    def identity(self, place):
        info = os.lstat(place)
        return info.st_dev, info.st_ino

    def metadata(self, place):
        return os.getxattr(place, self.metadata_name(place)).decode()

    def metadata_name(self, place):
        """The name of our attribute; None without one."""
        return next((n for n in os.listxattr(place) if n.endswith(OWN)),
                    None)

    def tree(self):
        # What was removed before goes in the background.
        end = time.monotonic() + 5
        while self.inside("trash") and time.monotonic() < end:
            time.sleep(0.02)
        top, found = os.fsencode(self.pool.path), {}
        for name in walk(top):
            path = os.path.join(top, name)
            info = os.lstat(path)
            told = list(facts(path, info))
            if stat.S_ISDIR(info.st_mode):
                # What was made and removed again in it leaves its time.
                told[5] = None
                told.append([os.getxattr(path, n) for n in os.listxattr(path)
                             if n.endswith(OWN)])
            found[name] = info.st_ino, told
        return found


def item_xml(name, capacity=None, files=None, mode=None, owner=None,
             group=None, extra="", target="", **options):
    """The document of an item."""
    if files is not None:
        extra = f"<limits><files max='{files}'/></limits>" + extra
    parts = [f"<{tag}>{value}</{tag}>" for tag, value in
             (("mode", mode), ("owner", owner), ("group", group))
             if value is not None]
    if parts:
        target += f"<permissions>{''.join(parts)}</permissions>"
    options.setdefault("allocation", None)
    return volume_xml(name, capacity, extra=extra, target=target, **options)


class FsPool(DirectoryPool):
    """A directory of trees."""

    TYPE = "fspool"
    FORMATS = ("dir",)
    VOLUME_KIND = libvirt.VIR_STORAGE_VOL_DIR

    def __init__(self, daemon, parent, name=None, path=None, features="",
                 source="", permissions="", **options):
        name = name or f"f{os.getpid()}-{next(NUMBERS)}"
        super().__init__(daemon, None, name, **options)
        self.path = path or os.path.join(parent, self.name)
        self.files = FsFiles(self)
        # Where trees are filled that become archives.
        self.scratch = os.path.dirname(self.path)
        self.quota, self.source = features, source
        self.permissions_xml = permissions

    def features(self):
        if not self.quota:
            return ""
        return f"<features><quota {self.quota}/></features>"

    def parts(self):
        source = f"<source>{self.source}</source>" if self.source else ""
        return (f"{source}<target><path>{escape(self.path)}</path>"
                f"{self.permissions_xml}</target>")

    def remove(self):
        self.forget()
        if not os.path.islink(self.path):
            destroy(self.path)

    def create(self, name, capacity=None, content=None, flags=0, **options):
        vol = self.virt.createXML(item_xml(name, capacity, **options), flags)
        if content is not None:
            fill(self.device(name), content)
        return vol

    def cycle(self, name, content, old=False):
        """Have other content, the former as a revision."""
        self.upload(name, tree_tar(self.scratch, content))
        return content

    def upload(self, name, data, **options):
        return upload(self, name, data, **options)

    def write(self, name, data, offset=0):
        """Other content by hand: what a container does."""
        empty(self.device(name))
        fill(self.device(name), data)

    def read(self, name):
        return repr(listing(self.device(name), top=True)).encode()

    def tag(self, name):
        """What an item or a revision was filled with."""
        found = listing(self.device(name))
        return next((tag for tag, known in KNOWN.items() if known == found),
                    None)

    def digest(self, name):
        """What compares equal for equal trees."""
        return listing(self.device(name))

    def holds(self, name, tag):
        return listing(self.device(name)) == KNOWN[tag]

    def blank(self, name):
        return os.listdir(self.device(name)) == []

    def history(self, name):
        """The tags of all revisions, in order."""
        return [self.tag(f"{name}@{i}") for i in self.revisions(name)]

    def permissions(self, name):
        info = os.lstat(self.device(name))
        return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid

    @contextlib.contextmanager
    def untouched(self):
        """Nothing on disk differs, once work in the background is done."""
        before = self.files.tree()
        yield
        assert self.files.at_rest() == []
        assert self.files.tree() == before

    def files_max(self, name):
        """The inode limit of the document; 0 without."""
        node = self.dump(name).find("limits/files")
        return 0 if node is None else int(node.get("max"))


@contextlib.contextmanager
def stock_pool(daemon, path):
    """A running pool of a stock type, for volumes that are no items."""
    os.makedirs(path, exist_ok=True)
    name = f"stock-{os.getpid()}-{next(NUMBERS)}"
    virt = daemon.conn.storagePoolDefineXML(
        f"<pool type='dir'><name>{name}</name><target><path>{path}</path>"
        "</target></pool>", 0)
    virt.create(0)
    try:
        yield virt
    finally:
        daemon.ensure()
        virt = daemon.conn.storagePoolLookupByName(name)
        with contextlib.suppress(libvirt.libvirtError):
            virt.destroy()
        virt.undefine()
        destroy(path)
