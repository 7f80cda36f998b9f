# SPDX-License-Identifier: LGPL-2.1-or-later
"""Refresh of a reflink pool beside a stock dir pool of the same images."""

import os
import re
import signal
import subprocess

from .bare import timed
from .pools import Pool
from .report import Samples, ms, pair
from .scratch import run

COLD_PART = 50
WARM_PART = 3
CALLS = 5
BYTES = 2048
TEMPERS = ("start, cold", "cold", "warm")
# More than one block, so that reading a header is reading the disk.
CONTENT = 64 << 10


def fill(pools, file_system, count):
    """COUNT images in both pools, alike in size and content, made in turn."""
    for number in range(count):
        name = "image-%05d" % number
        content = os.urandom(4096) * (CONTENT // 4096)
        for pool in pools:
            if pool.kind == "reflink":
                # Made by the daemon, so that it carries what a real one carries.
                pool.create(name, CONTENT)
            path = os.path.join(pool.path, name + ".img")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, content)
            os.close(descriptor)
    file_system.settle()


def refresh(pool):
    pool.handle.refresh()


class Floor:
    """What no refresh can undercut: a program that asks each image the least."""

    def __init__(self, folder):
        self.program = os.path.join(folder, "scan")
        run("cc", "-O2", "-o", self.program,
            os.path.join(os.path.dirname(os.path.abspath(__file__)), "scan.c"))

    def measure(self, path):
        return int(run(self.program, path).split()[1]) / 1e9

    def remove(self):
        os.unlink(self.program)


def measure_refresh(pools, file_system, rounds, cold_rounds, log):
    """{(kind, temper): samples} of wall time, the pools in turn.

    First is a pool's start with cold caches, as after boot. What a daemon
    remembers of the refresh before plays a part in the others, cold and warm.
    """
    kinds = [pool.kind for pool in pools] + ["floor"]
    samples = {(kind, temper): Samples() for kind in kinds for temper in TEMPERS}
    floor = Floor(file_system.folder)
    images = pools[0].path

    def once(temper, before):
        turns = []
        for pool in pools:
            handle = pool.handle
            action = handle.create if temper == TEMPERS[0] else handle.refresh
            turns.append((pool.kind, lambda action=action: timed(action)[0]))
        turns.append(("floor", lambda: floor.measure(images)))
        if temper == TEMPERS[0]:
            for pool in pools:
                pool.handle.destroy()
        for kind, measure in turns if len(samples["floor", temper]) % 2 else turns[::-1]:
            before()
            samples[kind, temper].append(measure())

    for _ in range(cold_rounds):
        for temper in TEMPERS[:2]:
            once(temper, file_system.drop_caches)
            log("  %s: " % temper
                + ", ".join("%s %s" % (kind, ms(samples[kind, temper][-1])) for kind in kinds))
    for pool in pools:
        refresh(pool)
    for _ in range(rounds):
        once("warm", lambda: None)
    floor.remove()
    return samples


def processor_time(daemon, pool, rounds=10):
    """Seconds of processor time that a warm refresh takes: other programs do not count in it."""
    def used():
        with open("/proc/%d/stat" % daemon.pid, encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    refresh(pool)
    before = used()
    for _ in range(rounds):
        refresh(pool)
    return (used() - before) / rounds


def count_calls(daemon, pool, folder, first):
    """System calls of all the daemon's threads during one refresh, the pool's first or another."""
    handle = pool.handle
    if first:
        handle.destroy()
        action = handle.create
    else:
        handle.refresh()
        action = handle.refresh
    output = os.path.join(folder, "strace")
    with subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", output, "-p", str(daemon.pid)],
                          stderr=subprocess.PIPE, text=True) as strace:
        # It says so once it has all threads.
        if "attached" not in strace.stderr.readline():
            raise RuntimeError("strace could not attach")
        action()
        strace.send_signal(signal.SIGINT)
        strace.stderr.read()
        strace.wait()
    total, by_name = 0, {}
    with open(output, encoding="utf-8") as report:
        for line in report:
            match = re.match(r"\s*(\d+)\s+(\S+)\s*$", line)
            if match and match.group(2) != "total":
                by_name[match.group(2)] = int(match.group(1))
                total += int(match.group(1))
    os.unlink(output)
    return total, by_name


def measure_memory(daemon, pools):
    """Bytes of the daemon that each pool takes, each alone in a fresh daemon."""
    used = {}
    for pool in pools:
        pool.remove()
    for pool in pools:
        daemon.restart()
        daemon.connection.listAllStoragePools()
        before = daemon.memory()
        pool.attach()
        used[pool.kind] = (daemon.memory() - before) * 1024
        pool.remove()
    for pool in pools:
        pool.attach()
    return used


def bench(daemon, file_system, sizes, options, report, log):
    rows, calls, memory, processor = [], {}, {}, {}
    counts_made = {}
    for count in sizes:
        folder = os.path.join(file_system.path, "refresh-%d" % count)
        log("%s: making twice %d images" % (file_system.kind, count))
        with Pool(daemon, "reflink", "bench-reflink", os.path.join(folder, "reflink")) as ours, \
             Pool(daemon, "dir", "bench-dir", os.path.join(folder, "dir")) as stock:
            pools = [ours, stock]
            fill(pools, file_system, count)
            for pool in pools:
                refresh(pool)
                counts_made[pool.kind, count] = len(pool.handle.listVolumes())
            samples = measure_refresh(pools, file_system, options.rounds, options.cold_rounds, log)
            for pool in pools:
                for first in (True, False):
                    total, by_name = count_calls(daemon, pool, file_system.folder, first)
                    calls.setdefault(first, {})[pool.kind, count] = total
                    log("  system calls of %s: %s" % (pool.kind, by_name))
                processor[pool.kind] = processor_time(daemon, pool)
            memory[count] = measure_memory(daemon, pools)
        for temper in TEMPERS:
            a, b = samples["reflink", temper], samples["dir", temper]
            rows.append(("%d, %s" % (count, temper), pair(a), pair(b),
                         "1/%.1f" % (b.median / a.median), pair(samples["floor", temper])))
    title = {"xfs": "XFS", "btrfs": "Btrfs"}[file_system.kind]
    report.table("Refresh, %s (median / p90)" % title,
                 ("images", "`reflink`", "stock `dir`", "part of stock",
                  "least system calls"), rows)
    report.text("Processor time of a warm refresh of %d images: `reflink` %s, `dir` %s."
                % (sizes[-1], ms(processor["reflink"]), ms(processor["dir"])))
    judge(title, sizes, samples, calls, memory, counts_made, report)


def per_volume(values, kind, sizes, counts_made):
    """The slope between two sizes, or the mean where there is only one."""
    if len(sizes) > 1:
        small, large = sizes[0], sizes[-1]
        return ((values[kind, large] - values[kind, small])
                / (counts_made[kind, large] - counts_made[kind, small]))
    return values[kind, sizes[0]] / counts_made[kind, sizes[0]]


def judge(title, sizes, samples, calls, memory, counts_made, report):
    largest = sizes[-1]
    for temper, part in (("cold", COLD_PART), ("warm", WARM_PART)):
        ours = samples["reflink", temper].median
        stock = samples["dir", temper].median
        report.budget("%s refresh of %d images, %s" % (temper, largest, title),
                      "≤ 1/%d of `dir`" % part,
                      "1/%.1f (%s to %s)" % (stock / ours, ms(ours), ms(stock)),
                      ours * part <= stock,
                      "the least system calls alone: 1/%.1f" % (stock / samples["floor", temper].median))
    rows = []
    for kind in ("reflink", "dir"):
        rows.append(("`%s`" % kind, "%.2f" % per_volume(calls[True], kind, sizes, counts_made),
                     "%.2f" % per_volume(calls[False], kind, sizes, counts_made),
                     "%.0f B" % (memory[largest][kind] / counts_made[kind, largest])))
    report.table("For each volume of %d, %s" % (largest, title),
                 ("pool", "system calls, start", "system calls, warm refresh", "daemon memory"), rows)
    each = per_volume(calls[True], "reflink", sizes, counts_made)
    report.budget("system calls a volume, %s" % title, "≤ %d" % CALLS, "%.2f" % each, each <= CALLS)
    more = (memory[largest]["reflink"] / counts_made["reflink", largest]
            - memory[largest]["dir"] / counts_made["dir", largest])
    report.budget("memory a volume beyond `dir`, %s" % title, "≤ 2 KiB", "%.0f B" % more,
                  more <= BYTES)
