# SPDX-License-Identifier: LGPL-2.1-or-later
"""Refresh of an fspool beside a stock dir pool with as many directories."""

import collections
import concurrent.futures
import os
import re
import signal
import subprocess

from . import guest
from .pools import Pool
from .refresh import BYTES, TEMPERS, measure_memory, measure_refresh, processor_time, refresh
from .report import ms, pair
from .tree_place import item_xml

# The budget: 10,000 volumes, or fewer.
WARM_SECONDS = 0.1
# Calls that read a directory's entries: a pool of 10,000 takes a dozen, a look into each volume would take 10,000.
READS = 64
CAPACITY = 1 << 30
# Each creation waits for what it made to be durable: several at a time wait for the same.
MAKERS = 8

CALL = re.compile(r"^(\d+) +(\w+)\(")
SEARCH = re.compile(r"BTRFS_IOC_TREE_SEARCH(?:_V2)?, \{(?:key=)?\{tree_id=BTRFS_QUOTA_TREE_OBJECTID, (.*?)\}")
QUOTACTL = ("quotactl", "quotactl_fd")


def fill(ours, stock, file_system, count, log):
    """COUNT directories in each, ours made by the daemon, with a limit where there can be one."""
    limit = CAPACITY if file_system.limits else None
    handle = ours.handle

    def make(number):
        name = "item-%05d" % number
        handle.createXML(item_xml(name, limit))
        os.mkdir(os.path.join(stock.path, name))
        for pool in (ours, stock):
            path = os.path.join(pool.path, name)
            os.mkdir(path + "/folder")
            with open(path + "/folder/file", "wb") as file:
                file.write(b"x" * 4096)
        if number % 1000 == 999:
            log("  %d" % (number + 1))

    with concurrent.futures.ThreadPoolExecutor(MAKERS) as makers:
        for made in makers.map(make, range(count)):
            assert made is None
    file_system.settle()


class Calls:
    """System calls of the daemon during one refresh, the pool's first or another."""

    def __init__(self, daemon, pool, folder, first):
        handle = pool.handle
        if first:
            handle.destroy()
        action = handle.create if first else handle.refresh
        if not first:
            handle.refresh()
        self.by_name = collections.Counter()
        self.by_thread = collections.Counter()
        self.reads = collections.defaultdict(list)
        output = os.path.join(folder, "strace")
        with subprocess.Popen(["strace", "-f", "-s", "8", "-o", output, "-p", str(daemon.pid)],
                              stderr=subprocess.PIPE, text=True) as strace:
            # It says so once it has all threads.
            if "attached" not in strace.stderr.readline():
                raise RuntimeError("strace could not attach")
            action()
            strace.send_signal(signal.SIGINT)
            strace.stderr.read()
            strace.wait()
        with open(output, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._take(line)
        os.unlink(output)

    def _take(self, line):
        call = CALL.match(line)
        if not call:
            return
        thread, name = call.groups()
        self.by_name[name] += 1
        self.by_thread[thread] += 1
        if name in QUOTACTL:
            self.reads[thread].append(line.split("(", 1)[1].rsplit("=", 1)[0])
        elif "BTRFS_IOC_TREE_SEARCH" in line:
            found = SEARCH.search(line)
            if found:
                self.reads[thread].append(found.group(1))

    @property
    def total(self):
        return sum(self.by_name.values())

    @property
    def searches(self):
        """Reads of the quota tables by the refresh: work in the background has its own."""
        return self.reads[self.by_thread.most_common(1)[0][0]]

    @property
    def repeated(self):
        """How many of them began where another one had begun."""
        return len(self.searches) - len(set(self.searches))


def bench(daemon, file_system, options, report, log):
    rows, calls, memory = [], {}, {}
    for count in options.volumes:
        log("%s: making twice %d directories" % (file_system.title, count))
        folder = os.path.join(file_system.path, "refresh-%d" % count)
        with Pool(daemon, "fspool", "bench-fspool", os.path.join(folder, "fspool")) as ours, \
             Pool(daemon, "dir", "bench-dir", os.path.join(folder, "dir")) as stock:
            pools = [ours, stock]
            fill(ours, stock, file_system, count, log)
            for pool in pools:
                refresh(pool)
                if len(pool.handle.listVolumes()) != count:
                    raise RuntimeError("%s has not %d volumes" % (pool.kind, count))
            samples = measure_refresh(pools, file_system, options.rounds, options.cold_rounds, log)
            for pool in pools:
                for first in (True, False):
                    calls[pool.kind, count, first] = Calls(daemon, pool, file_system.folder, first)
                    log("  system calls of %s: %s" % (pool.kind, dict(calls[pool.kind, count, first].by_name)))
            processor = {pool.kind: processor_time(daemon, pool) for pool in pools}
            memory[count] = measure_memory(daemon, pools)
        for temper in TEMPERS:
            a, b = samples["fspool", temper], samples["dir", temper]
            rows.append(("%d, %s" % (count, temper), pair(a), pair(b), "%.2f" % (a.median / b.median),
                         pair(samples["floor", temper])))
    tell(file_system.title, options.volumes, rows, processor, calls, memory, report)
    judge(file_system, options.volumes[-1], samples, calls, memory, report)


def tell(title, sizes, rows, processor, calls, memory, report):
    report.table("Refresh, %s (median / p90)" % title,
                 ("directories", "`fspool`", "stock `dir`", "ratio", "least system calls"), rows)
    report.text("Processor time of a warm refresh of %d: `fspool` %s, `dir` %s."
                % (sizes[-1], ms(processor["fspool"]), ms(processor["dir"])))
    table = []
    for kind in ("fspool", "dir"):
        few, many = sizes[0], sizes[-1]

        def slope(first, kind=kind, few=few, many=many):
            if few == many:
                return calls[kind, many, first].total / many
            return (calls[kind, many, first].total - calls[kind, few, first].total) / (many - few)
        table.append(("`%s`" % kind, "%.2f" % slope(True), "%.2f" % slope(False),
                      "%.0f B" % (memory[sizes[-1]][kind] / sizes[-1])))
    report.table("For each volume of %d, %s" % (sizes[-1], title),
                 ("pool", "system calls, start", "system calls, warm refresh", "daemon memory"), table)


def judge(file_system, count, samples, calls, memory, report):
    title = file_system.title
    warm = samples["fspool", "warm"].median
    if not guest.inside():
        report.budget("warm refresh of %d volumes, %s" % (count, title), "≤ %s" % ms(WARM_SECONDS),
                      ms(warm), warm <= WARM_SECONDS,
                      "`dir`: %s; the least system calls: %s" % (ms(samples["dir", "warm"].median),
                                                                 ms(samples["floor", "warm"].median)))
    seen = calls["fspool", count, False]
    if file_system.limits:
        report.budget("quota tables in a refresh, %s" % title, "read once",
                      "%d reads, %d of them repeated" % (len(seen.searches), seen.repeated),
                      seen.searches != [] and seen.repeated == 0)
    reads = seen.by_name["getdents64"]
    report.budget("no tree is walked, %s" % title, "≤ %d reads of directories" % READS,
                  "%d" % reads, reads <= READS)
    more = (memory[count]["fspool"] - memory[count]["dir"]) / count
    report.budget("memory a volume beyond `dir`, %s" % title, "≤ 2 KiB", "%.0f B" % more, more <= BYTES)
