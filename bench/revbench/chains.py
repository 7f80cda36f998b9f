# SPDX-License-Identifier: LGPL-2.1-or-later
"""Refresh of qcow2 overlays, whose whole chain is read, beside a stock dir pool, which reads one level."""

import os
import shutil

from .bare import timed
from .pools import Pool
from .report import Samples, pair
from .scratch import run

SIZE = 1 << 20
MEMBERS = ("mid2", "mid1", "base")


def make_members(folder):
    """base ← mid1 ← mid2, each by the other's name only, so that copies of the folder are chains of their own."""
    os.makedirs(folder)
    run("truncate", "-s", str(SIZE), folder + "/base")
    for name, below, kind in (("mid1", "base", "raw"), ("mid2", "mid1", "qcow2")):
        run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", below, "-F", kind, folder + "/" + name, str(SIZE))


def fill(pools, file_system, count):
    """COUNT overlays in both pools, made in turn, each with a chain of its own."""
    top = os.path.join(file_system.path, "members")
    model = os.path.join(top, "model")
    make_members(model)
    for number in range(count):
        name = "image-%05d" % number
        folder = os.path.join(top, name)
        shutil.copytree(model, folder)
        for pool in pools:
            pool.handle.createXML(
                "<volume><name>%s</name><capacity>%d</capacity><target><format type='qcow2'/></target><backingStore>"
                "<path>%s/mid2</path><format type='qcow2'/></backingStore></volume>" % (name, SIZE, folder))
    file_system.settle()


def bench(daemon, file_system, count, options, report, log):
    """COUNT volumes; a table, without a budget: the stock pool does less."""
    log("%s: %d chains" % (file_system.kind, count))
    samples = {}
    with Pool(daemon, "reflink", "bench-chains", os.path.join(file_system.path, "chains")) as ours, \
            Pool(daemon, "dir", "bench-chains-dir", os.path.join(file_system.path, "chains-dir")) as stock:
        pools = (ours, stock)
        fill(pools, file_system, count)
        found = ours.volume("image-00000").XMLDesc().count("</backingStore>")
        assert found == len(MEMBERS), found
        for temper, rounds, before in (("cold", options.cold_rounds, file_system.drop_caches),
                                       ("warm", options.rounds, lambda: None)):
            for pool in pools:
                samples[pool.kind, temper] = Samples()
            for number in range(rounds):
                for pool in pools if number % 2 else pools[::-1]:
                    before()
                    samples[pool.kind, temper].append(timed(pool.handle.refresh)[0])
    rows = [(temper, pair(samples["reflink", temper]), pair(samples["dir", temper]),
             "%.2f" % (samples["reflink", temper].median / samples["dir", temper].median),
             "%.1f µs" % (samples["reflink", temper].median * 1e6 / (count * (1 + len(MEMBERS)))))
            for temper in ("cold", "warm")]
    report.table("Refresh of %d qcow2 volumes with %d members below each, %s (median / p90)"
                 % (count, len(MEMBERS), {"xfs": "XFS", "btrfs": "Btrfs"}[file_system.kind]),
                 ("", "reflink, all members", "stock dir, the first", "ratio", "reflink, an image"), rows)
