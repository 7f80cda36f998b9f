# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operations of a reflink pool beside the bare durable system calls, in turn."""

import os
import random
import time

from .bare import ATTRIBUTE, VALUE, Bare, timed
from .pools import Pool, volume_xml
from .report import Samples, ms, pair
from .scratch import count_extents, run, write_extents

FACTOR = 2
# "Flat" and "instant" of the budgets, as numbers.
FLAT = 2
INSTANT = 0.1
PRECACHE_WAIT = 30

JUDGED = ("clone", "start, precache", "start, no precache", "commit")
# Which bare sequence an operation stands beside.
ROWS = JUDGED + ("revert",)


def write_block(path, extents):
    """What a guest does: one block written and flushed."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, os.urandom(4096), random.randrange(extents) * 8192)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Api:
    """One volume of a pool; the same steps as Bare, through libvirt."""

    def __init__(self, pool, volume, capacity):
        self.pool = pool
        self.name = volume
        self.capacity = capacity
        self.head = os.path.join(pool.path, volume + ".img")
        self.live = os.path.join(pool.path, volume + "-dirty.img")
        self.precache = os.path.join(pool.path, volume + "-precache.img")

    def create_from(self, source, target):
        """A function to be timed: everything but the call is done before."""
        handle = self.pool.handle
        origin = handle.storageVolLookupByName(source)
        xml = volume_xml(target, self.capacity)
        return lambda: handle.createXMLFrom(xml, origin)

    def start(self):
        return self.create_from(self.name, self.name + "@live")

    def commit(self):
        return self.create_from(self.name + "@live", self.name)

    def revert(self, revision):
        return self.create_from(revision, self.name)

    def delete(self, name):
        self.pool.volume(name).delete()

    def wait_precache(self):
        """Seconds until the next live copy lies ready, or None."""
        began = time.perf_counter()
        while time.perf_counter() - began < PRECACHE_WAIT:
            if os.path.exists(self.precache):
                return time.perf_counter() - began
            time.sleep(0.005)
        return None

    def drop_precache(self):
        if os.path.exists(self.precache):
            os.unlink(self.precache)


class Turns:
    """Times one operation on both sides."""

    def __init__(self, file_system, settle):
        self.file_system = file_system
        self.settle = settle
        self.samples = {}
        self.calls = {}

    def add(self, what, side, took):
        self.samples.setdefault((what, side), Samples()).append(took)

    def both(self, what, ours, bare):
        """Who is first changes with every sample: the first often pays for what was before."""
        results = {}
        order = [("api", ours), ("bare", bare)]
        for side, function in order if self.calls.get(what, 0) % 2 else order[::-1]:
            self.file_system.settle(self.settle)
            took, results[side] = timed(function)
            self.add(what, side, took)
        self.calls[what] = self.calls.get(what, 0) + 1
        return results


def make_pair(pool, file_system, extents, log):
    """The volume and its bare counterpart, alike in content."""
    folder = os.path.join(file_system.path, "bare-%d" % extents)
    bare = Bare(folder)
    capacity = max(extents * 8192, 1 << 20)
    pool.create("volume", capacity, keep=1000)
    api = Api(pool, "volume", capacity)
    for path in (api.head, os.path.join(folder, "volume.img")):
        write_extents(path, extents)
    with open(os.path.join(folder, "volume.img"), "rb") as image:
        os.setxattr(image.fileno(), ATTRIBUTE, VALUE)
        os.fsync(image.fileno())
    pool.handle.refresh()
    file_system.settle(0.5)
    seen = count_extents(api.head)
    log("  asked for %d extents, got %d" % (extents, seen))
    return api, bare, seen


def peer_clone(folder):
    """What a shell script does, durably: other managers of images run programs like these."""
    run("cp", "--reflink=always", folder + "/volume.img", folder + "/clone.img")
    run("sync", folder + "/clone.img", folder)


def clone_round(turns, api, bare):
    turns.both("clone", api.create_from("volume", "clone"),
               lambda: bare.clone("volume.img", "clone.img"))
    api.delete("clone")
    bare.prune("clone.img")
    turns.file_system.settle(turns.settle)
    took, _ = timed(peer_clone, bare.path)
    turns.add("peer", "cp", took)
    bare.prune("clone.img")


def commit_both(turns, api, bare, extents):
    write_block(api.live, extents)
    write_block(os.path.join(bare.path, "volume-dirty.img"), extents)
    return turns.both("commit", api.commit(),
                      lambda: bare.commit("volume-dirty.img", "volume.img"))["bare"]


def note_precache(turns, api, bare):
    """Reported apart: when the daemon has the next live copy, and what one costs."""
    waited = api.wait_precache()
    if waited is not None:
        turns.add("precache", "api", waited)
    turns.file_system.settle(turns.settle)
    took, _ = timed(bare.clone, "volume.img", "volume-precache.img")
    turns.add("precache", "bare", took)
    return waited is not None


def cycle_round(turns, api, bare, extents):
    """Start without and with a precache, commit after each, revert."""
    revisions = []
    # Both sides alike: what shares an extent decides what cloning it costs.
    api.drop_precache()
    bare.drop("volume-precache.img")
    turns.both("start, no precache", api.start(),
               lambda: bare.clone("volume.img", "volume-dirty.img"))
    revisions.append(commit_both(turns, api, bare, extents))
    ready = note_precache(turns, api, bare)
    turns.both("start, precache" if ready else "start, precache not made", api.start(),
               lambda: bare.start_from_precache("volume-precache.img", "volume-dirty.img"))
    revisions.append(commit_both(turns, api, bare, extents))
    api.wait_precache()
    newest = api.pool.numbered("volume")[-1]
    revisions.append(turns.both("revert", api.revert(newest),
                                lambda: bare.revert(revisions[-1], "volume.img"))["bare"])
    api.wait_precache()
    bare.clone("volume.img", "volume-precache.img")
    for name in api.pool.numbered("volume"):
        api.delete(name)
    for name in revisions:
        took, _ = timed(bare.prune, name)
        turns.add("prune", "bare", took)


def steady_round(turns, api, extents):
    """A volume that keeps one revision: its commit prunes. Reported apart."""
    api.start()()
    write_block(api.live, extents)
    turns.file_system.settle(turns.settle)
    took, _ = timed(api.commit())
    turns.add("commit and prune", "api", took)
    api.wait_precache()


def measure(daemon, file_system, extents, rounds, log):
    path = os.path.join(file_system.path, "latency-%d" % extents)
    # XFS gives the extents of removed files back in the background.
    turns = Turns(file_system, 0.02 if extents < 100 else 0.15 if extents <= 10000 else 1.0)
    with Pool(daemon, "reflink", "bench-latency", path, keep=1) as pool:
        api, bare, seen = make_pair(pool, file_system, extents, log)
        # The first of everything is a warm-up and not counted.
        for number in range(rounds + 1):
            clone_round(turns, api, bare)
            cycle_round(turns, api, bare, extents)
            if number == 0:
                turns.samples.clear()
        api.create_from("volume", "steady")()
        steady = Api(pool, "steady", api.capacity)
        for _ in range(min(rounds, 5) + 2):
            steady_round(turns, steady, extents)
        # Nothing was there to prune at first.
        del turns.samples["commit and prune", "api"][:2]
        for name in ("steady", "volume"):
            api.delete(name)
        bare.close()
    return turns.samples, seen


def compare(samples, what):
    ours, bare = samples.get((what, "api")), samples.get((what, "bare"))
    if not ours or not bare:
        return ("–", "–", "–")
    return (pair(ours), pair(bare), "%.2f" % (ours.median / bare.median))


def apart(samples, seen, extents):
    def cell(what, side):
        found = samples.get((what, side))
        return pair(found) if found else "not made"
    return ("%d (%d)" % (extents, seen), cell("commit and prune", "api"), cell("prune", "bare"),
            cell("precache", "api"), cell("precache", "bare"), cell("peer", "cp"))


def bench(daemon, file_system, all_extents, options, report, log):
    title = {"xfs": "XFS", "btrfs": "Btrfs"}[file_system.kind]
    rows, rest, medians = [], [], {}
    for extents in all_extents:
        log("%s: operations at %d extents" % (file_system.kind, extents))
        rounds = options.rounds if extents <= 10000 else options.large_rounds
        samples, seen = measure(daemon, file_system, extents, rounds, log)
        for what in ROWS:
            rows.append(("%s, %d" % (what, extents),) + compare(samples, what))
        rest.append(apart(samples, seen, extents))
        for what in JUDGED:
            ours, bare = samples.get((what, "api")), samples.get((what, "bare"))
            medians[what, extents] = (ours.median, bare.median) if ours and bare else None
    floor = Samples(daemon.round_trip())
    report.text("A call through libvirt-python that does nothing took %s (median / p90)." % pair(floor))
    report.table("Operations, %s (median / p90)" % title,
                 ("operation, extents", "through libvirt-python", "bare system calls", "ratio"), rows)
    report.table("Apart from the budgets, %s (median / p90)" % title,
                 ("extents asked for (seen)", "commit with prune", "bare removal of a revision",
                  "until the next live copy is ready", "bare clone of it",
                  "clone by `cp --reflink` and `sync`"), rest)
    judge(title, all_extents, medians, report)


def judge(title, all_extents, medians, report):
    for what in JUDGED:
        for extents in all_extents:
            found = medians[what, extents]
            if found is None:
                report.budget("%s, %d extents, %s" % (what, extents, title), "≤ %d ×" % FACTOR,
                              "did not happen", False)
                continue
            ours, bare = found
            report.budget("%s, %d extents, %s" % (what, extents, title), "≤ %d × bare" % FACTOR,
                          "%.2f × (%s to %s)" % (ours / bare, ms(ours), ms(bare)),
                          ours <= FACTOR * bare)
    few, many = all_extents[0], all_extents[-1]
    if few == many:
        return
    for what in ("commit", "start, precache"):
        if medians[what, few] is None or medians[what, many] is None:
            continue
        ours = medians[what, many][0] / medians[what, few][0]
        bare = medians[what, many][1] / medians[what, few][1]
        report.budget("%s from %d to %d extents, %s" % (what, few, many, title),
                      "flat (≤ %d ×)" % FLAT, "%.2f ×" % ours, ours <= FLAT,
                      "the bare calls: %.2f ×" % bare)


def as_virsh_clone(pool, source, target):
    """vol-clone sends the source's own document under another name."""
    handle = pool.handle
    origin = handle.storageVolLookupByName(source)
    xml = origin.XMLDesc().replace("<name>%s</name>" % source, "<name>%s</name>" % target, 1)
    return timed(handle.createXMLFrom, xml, origin)[0]


def bench_sparse(daemon, file_system, size, options, report, log):
    """Clone of a large sparse image with 64 MiB of content."""
    del options
    log("%s: clone of %d GiB sparse" % (file_system.kind, size >> 30))
    took = {}
    for kind in ("reflink", "dir"):
        with Pool(daemon, kind, "bench-sparse", os.path.join(file_system.path, "sparse-" + kind)) as pool:
            source = "large" if kind == "reflink" else "large.img"
            pool.create(source, size)
            path = os.path.join(pool.path, "large.img")
            with open(path, "r+b") as image:
                for number in range(64):
                    os.pwrite(image.fileno(), os.urandom(1 << 20), number * (size // 64))
                os.fsync(image.fileno())
            pool.handle.refresh()
            rounds = 5 if kind == "reflink" else 1
            samples = Samples()
            for number in range(rounds):
                samples.append(as_virsh_clone(pool, source, "copy-%d" % number))
                pool.volume("copy-%d" % number).delete()
            took[kind] = samples
            pool.volume(source).delete()
    title = {"xfs": "XFS", "btrfs": "Btrfs"}[file_system.kind]
    report.table("Clone of %d GiB, sparse, with 64 MiB of data, %s" % (size >> 30, title),
                 ("pool", "median"),
                 [("`reflink`", ms(took["reflink"].median)),
                  ("stock `dir`, no `--reflink` (once)", ms(took["dir"].median))])
    report.budget("clone of %d GiB sparse, %s" % (size >> 30, title), "instant (≤ 100 ms)",
                  "%s; `dir`: %s" % (ms(took["reflink"].median), ms(took["dir"].median)),
                  took["reflink"].median <= INSTANT)
