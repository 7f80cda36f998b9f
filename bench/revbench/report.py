# SPDX-License-Identifier: LGPL-2.1-or-later
"""Samples, tables and budgets."""

import datetime
import os
import re
import statistics
import subprocess

BEGIN = "<!-- begin: last run%s -->"
END = "<!-- end: last run%s -->"


class Samples(list):
    """Seconds, or whatever unit the table says."""

    @property
    def median(self):
        return statistics.median(self)

    @property
    def p90(self):
        ordered = sorted(self)
        return ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]


def ms(seconds):
    value = seconds * 1000
    return "%.2f ms" % value if value < 10 else "%.1f ms" % value if value < 1000 else "%.2f s" % seconds


def pair(samples):
    return "%s / %s" % (ms(samples.median), ms(samples.p90))


class Report:
    def __init__(self, log):
        self.log = log
        self.where = []
        self.parts = []
        self.budgets = []

    def text(self, *paragraphs):
        for paragraph in paragraphs:
            self.parts.append(paragraph)

    def table(self, title, header, rows):
        lines = ["### " + title, "", "| " + " | ".join(header) + " |",
                 "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|"]
        lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
        self.parts.append("\n".join(lines))
        self.log("\n".join([""] + lines + [""]))

    def budget(self, what, limit, measured, kept, note=""):
        """LIMIT and MEASURED are texts; KEPT says whether the budget is met."""
        self.budgets.append((what, limit, measured, kept, note))
        self.log("%s %s: %s (budget %s) %s" % ("kept  " if kept else "MISSED", what, measured,
                                              limit, note))

    def budget_table(self):
        rows = [(what, limit, measured, "kept" if kept else "**missed**", note)
                for what, limit, measured, kept, note in self.budgets]
        lines = ["### Budgets", "", "| work | budget | measured | | |", "|---|---|---|---|---|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join(lines)

    @property
    def missed(self):
        return [what for what, _, _, kept, _ in self.budgets if not kept]

    def markdown(self):
        return "\n\n".join([machine(), *self.where] + ([self.budget_table()] if self.budgets else [])
                           + self.parts) + "\n"

    def write_into(self, path, what="", begins=""):
        """Replace what stands between the marks, or make the file; WHAT is part of the marks.

        BEGINS is Markdown that goes before the report."""
        begin, end = (mark % (what and " of " + what) for mark in (BEGIN, END))
        body = "%s\n\n%s%s\n%s" % (begin, begins and begins + "\n", self.markdown(), end)
        try:
            with open(path, encoding="utf-8") as file:
                old = file.read()
        except FileNotFoundError:
            old = "# Benchmarks\n\n%s\n%s\n" % (begin, end)
        new, count = re.subn(re.escape(begin) + ".*?" + re.escape(end), lambda _: body, old,
                             flags=re.S)
        if not count:
            new = old + "\n" + body + "\n"
        with open(path, "w", encoding="utf-8") as file:
            file.write(new)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        cpu = re.search(r"^model name\s*: (.*)$", info.read(), re.M)
    with open("/proc/meminfo", encoding="utf-8") as info:
        memory = int(re.search(r"^MemTotal:\s*(\d+)", info.read(), re.M).group(1)) >> 20
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    commit = subprocess.run(["git", "-C", top, "describe", "--always", "--dirty"], check=False,
                            text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL).stdout.strip() or "unknown"
    kernel = os.uname()
    release = re.match(r"[\d.]*\d", kernel.release).group()
    return ("Ran on %s: %s, %d CPUs, %d GiB of memory, Linux %s, commit %s; load average at the "
            "end %.1f." % (datetime.date.today().isoformat(), cpu.group(1) if cpu else kernel.machine,
                           os.cpu_count(), memory, release, commit, os.getloadavg()[0]))
