# SPDX-License-Identifier: LGPL-2.1-or-later
"""Refresh and clone in a volume group that has many logical volumes."""

from .report import pair
from .thin_cycle import API, BARE, CLONE, Turns
from .thin_group import GROUP
from .thin_lvm import Commands, Qubes, lvm
from .thin_trace import Trace

# What the pool type asks for (storage_thin_report.h); that it still does is
# checked where its processes are counted.
REPORT_VG = "vg_extent_size,vg_mda_free"
REPORT_PV = "pv_name"
REPORT_SEG = ("lv_name,lv_uuid,lv_size,origin,pool_lv,lv_tags,segtype,thin_id,transaction_id,lv_merging,"
              "lv_metadata_size")
REPORT = "bare `lvm fullreport`"
LVS = "`lvs` as Qubes' driver"
# lvm may ask about a few devices whatever there is, but not about each LV.
PER_LV = 0.1


def full_report(device):
    """The command of a refresh (storage_thin_lvm.c)."""
    return ["fullreport", "--devices", device, "--all", "--reportformat", "json", "--units", "b",
            "--nosuffix", "--configreport", "vg", "-o", REPORT_VG, "--configreport", "pv",
            "-o", REPORT_PV, "--configreport", "seg", "-o", REPORT_SEG,
            "--configreport", "lv", "-o", "lv_name", "-S", "lv_name=",
            "--configreport", "pvseg", "-o", "pvseg_start", "-S", "pv_name=", GROUP]


def measure(pool, rounds):
    commands = Commands(GROUP, pool.disk, pool.heads_active)
    theirs = Qubes(GROUP, "nothing", 0)
    turns = Turns()
    for number in range(rounds + 1):
        sides = [(API, pool.handle.refresh), (REPORT, lambda: lvm(*full_report(pool.disk))),
                 (LVS, theirs.report)]
        for side, function in turns.order(sides):
            turns.take("refresh", side, function)
        sides = [(API, pool.create_from("source", "clone")),
                 (BARE, lambda: lvm(*commands.snapshot("source", "bare-clone", pool.heads_active)))]
        for side, function in turns.order(sides):
            turns.take("clone", side, function)
        pool.volume("clone").delete()
        lvm(*commands.remove("bare-clone"))
        if number == 0:
            turns.samples.clear()
    return turns


def count(pool):
    """What a refresh asks the device mapper, and what Qubes' report asks it."""
    with Trace(pool.daemon) as trace:
        return trace.watch(pool.handle.refresh)


def bench(pool, options, report, log):
    heads = "activation='%s'" % pool.activation
    pool.make_volume("source")
    rows, asked, filled = [], {}, 0
    for size in options.sizes[pool.activation]:
        log("%s: %d logical volumes" % (pool.activation, size))
        # Two for each volume that is made at once, and those of the source.
        began, filled = filled, (size - 2) // 2
        started = pool.fill(began, filled)
        known = len(pool.handle.listVolumes())
        turns = measure(pool, options.rounds if size <= 1000 else options.few_rounds)
        seen = asked[known] = count(pool)
        log("  %d volumes; refresh %s, clone %s" % (
            known, pair(turns.samples["refresh", API]), pair(turns.samples["clone", API])))
        clone = turns.ratio("clone", API, BARE)
        rows.append((known, pair(turns.samples["refresh", API]), pair(turns.samples["refresh", REPORT]),
                     pair(turns.samples["refresh", LVS]), "%d + %d" % (seen.by_lvm, seen.by_daemon),
                     pair(turns.samples["clone", API]), pair(turns.samples["clone", BARE]),
                     "%.2f" % clone, "%.1f s" % started))
        report.budget("clone among %d LVs, %s" % (known, heads), "≤ %.1f × bare" % CLONE,
                      "%.2f ×" % clone, clone <= CLONE)
    report.table("Among many LVs, %s (median / p90)" % heads,
                 ("LVs", "refresh", REPORT, LVS, "ioctls of a refresh: lvm + daemon", "clone", BARE,
                  "ratio", "start of the pool, once"), rows)
    few, many = min(asked), max(asked)
    if many > few:
        slope = (asked[many].by_lvm - asked[few].by_lvm) / (many - few)
        report.budget("ioctls of lvm in a refresh for each LV, %s" % heads, "≤ %.1f" % PER_LV,
                      "%.2f" % slope, slope <= PER_LV)
        report.budget("lvm processes of a refresh of %d LVs, %s" % (many, heads), "≤ 1",
                      str(len(asked[many].lvm)), len(asked[many].lvm) <= 1)
    pool.volume("source").delete()
