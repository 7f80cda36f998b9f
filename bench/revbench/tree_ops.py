# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operations of an fspool beside the commands that do the same, in turn."""

import os
import shlex
import time

from .bare import timed
from .pools import Pool
from .report import Samples, pair
from .scratch import run
from .tree_place import fill_tree, item_xml

LIMIT = 8 << 30
TRASH_WAIT = 120


class Commands:
    """A directory of trees, worked on by the commands of its file system.

    Each step ends with what makes it durable, as the pool's do.
    """

    def __init__(self, file_system, path):
        self.btrfs = file_system.kind == "btrfs"
        self.quota = file_system.quota
        self.mount = file_system.path
        self.projects = 1000
        self.path = path
        os.makedirs(path, exist_ok=True)

    def place(self, name):
        return shlex.quote(os.path.join(self.path, name))

    def shell(self, *steps):
        run("sh", "-ec", "; ".join(steps + ("sync -f " + shlex.quote(self.path),)))

    def limit(self, name):
        if self.quota == "project":
            self.projects += 1
            return ["xfs_quota -f -x -c 'project -s -p %s %d' -c 'limit -p bhard=%d %d' %s"
                    % (self.place(name), self.projects, LIMIT, self.projects, self.mount)]
        return ["btrfs qgroup limit %d %s" % (LIMIT, self.place(name))] if self.quota else []

    def copy(self, source, target):
        if self.btrfs:
            return ["btrfs subvolume snapshot %s %s" % (self.place(source), self.place(target))]
        return ["cp -a --reflink=always %s %s" % (self.place(source), self.place(target))]

    def create(self, name):
        make = "btrfs subvolume create" if self.btrfs else "mkdir"
        self.shell("%s %s" % (make, self.place(name)), *self.limit(name))

    def clone(self, source, target):
        self.shell(*self.copy(source, target), *self.limit(target))

    def pin(self, source, target):
        if self.btrfs:
            self.shell("btrfs subvolume snapshot -r %s %s" % (self.place(source), self.place(target)))
        else:
            self.shell(*self.copy(source, target))

    def revert(self, revision, head, former):
        self.shell(*self.copy(revision, "new"), *self.limit("new"),
                   "mv -T %s %s" % (self.place(head), self.place(former)),
                   "mv -T %s %s" % (self.place("new"), self.place(head)))

    def resize(self, name):
        self.shell(*self.limit(name))

    def delete(self, name):
        self.shell("%s %s" % ("btrfs subvolume delete" if self.btrfs else "rm -rf", self.place(name)))


class Stock:
    """What a stock dir pool can do with directories: make one, and remove an empty one."""

    def __init__(self, pool):
        self.pool = pool

    def create(self, name):
        self.pool.handle.createXML("<volume type='dir'><name>%s</name><capacity>0</capacity><target>"
                                   "<format type='dir'/></target></volume>" % name)

    def delete(self, name):
        self.pool.volume(name).delete()


class Turns:
    """Times each operation on all sides, who is first changing every time."""

    def __init__(self, file_system):
        self.file_system = file_system
        self.samples = {}
        self.calls = {}

    def all(self, what, after=None, **sides):
        """AFTER is called right after the side "api", and not timed."""
        turn = self.calls[what] = self.calls.get(what, 0) + 1
        order = list(sides.items())
        for side, function in order[turn % len(order):] + order[:turn % len(order)]:
            self.file_system.settle(0.02)
            took, _ = timed(function)
            self.samples.setdefault((what, side), Samples()).append(took)
            if after and side == "api":
                after()


def wait_trash(pool):
    """Seconds until nothing that was removed is left, or None."""
    began = time.perf_counter()
    while os.listdir(os.path.join(pool.path, ".fspool", "trash")):
        if time.perf_counter() - began > TRASH_WAIT:
            return None
        time.sleep(0.002)
    return time.perf_counter() - began


def one_round(turns, pool, commands, stock, limit):
    handle = pool.handle

    def from_to(source, target):
        origin, xml = handle.storageVolLookupByName(source), item_xml(target)
        return lambda: handle.createXMLFrom(xml, origin)

    turns.all("create", api=lambda: handle.createXML(item_xml("empty", limit)),
              commands=lambda: commands.create("empty"), stock=lambda: stock.create("empty"))
    turns.all("delete, empty", api=lambda: pool.volume("empty").delete(),
              commands=lambda: commands.delete("empty"), stock=lambda: stock.delete("empty"))
    wait_trash(pool)
    turns.all("clone", api=from_to("tree", "clone"), commands=lambda: commands.clone("tree", "clone"))
    turns.all("pin", api=from_to("clone", "clone@pin"), commands=lambda: commands.pin("clone", "pin"))
    turns.all("revert", api=from_to("clone@pin", "clone"),
              commands=lambda: commands.revert("pin", "clone", "former"))
    if limit:
        turns.all("resize", api=lambda: pool.volume("clone").resize(LIMIT),
                  commands=lambda: commands.resize("clone"))
    for ident in [name.split("@")[1] for name in handle.listVolumes() if name.startswith("clone@")]:
        pool.volume("clone@" + ident).delete()
    for name in ("pin", "former"):
        commands.delete(name)
    wait_trash(pool)

    def note_rest():
        waited = wait_trash(pool)
        if waited is not None:
            turns.samples.setdefault(("delete", "rest"), Samples()).append(waited)
    turns.all("delete", after=note_rest, api=lambda: pool.volume("clone").delete(),
              commands=lambda: commands.delete("clone"))


def measure(daemon, file_system, files, rounds, log):
    path = os.path.join(file_system.path, "operations-%d" % files)
    turns = Turns(file_system)
    limit = LIMIT if file_system.limits else None
    with Pool(daemon, "fspool", "bench-trees", os.path.join(path, "fspool")) as pool, \
         Pool(daemon, "dir", "bench-stock", os.path.join(path, "dir")) as stock:
        commands = Commands(file_system, os.path.join(path, "commands"))
        pool.handle.createXML(item_xml("tree", limit))
        commands.create("tree")
        for place in (pool.path, commands.path):
            fill_tree(os.path.join(place, "tree"), files)
        # The first of everything is a warm-up and not counted.
        for number in range(rounds + 1):
            one_round(turns, pool, commands, Stock(stock), limit)
            if number == 0:
                turns.samples.clear()
        pool.volume("tree").delete()
        wait_trash(pool)
    log("  %d files: done" % files)
    return turns.samples


def row(samples, what, label):
    api, commands, stock = (samples.get((what, side)) for side in ("api", "commands", "stock"))
    return (label, pair(api), pair(commands), "%.2f" % (api.median / commands.median),
            pair(stock) if stock else "–")


def bench(daemon, file_system, options, report, log):
    rows, rest = [], []
    for files in options.files:
        log("%s: operations on trees of %d files" % (file_system.title, files))
        rounds = options.rounds if files <= 1000 else options.few_rounds
        samples = measure(daemon, file_system, files, rounds, log)
        if files == options.files[0]:
            rows += [row(samples, what, what) for what in ("create", "delete, empty", "resize")
                     if (what, "api") in samples]
        rows += [row(samples, what, "%s, %d" % (what, files)) for what in ("clone", "pin", "revert", "delete")]
        found = samples.get(("delete", "rest"))
        rest.append("%d: %s" % (files, pair(found) if found else "not within %d s" % TRASH_WAIT))
    report.table("Operations, %s (median / p90)" % file_system.title,
                 ("operation, files", "through libvirt-python", "commands", "ratio", "stock `dir`"), rows)
    if file_system.kind != "btrfs":
        report.text("What a delete leaves to the background was gone after: %s." % "; ".join(rest))
