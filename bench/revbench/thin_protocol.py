# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ways in which a live copy can become the head, by LVM's commands alone.

All keep what the pool type promises: at every moment there is a whole head, or
it can be told which revision was it. All leave one revision.
"""

import os
import shlex

from .report import pair
from .thin_cycle import FIRST_ID, Turns
from .thin_group import GROUP, write_some
from .thin_lvm import NEXT, TAG, Commands, lvm, make_bare, run, settle

RENAMES = "two renames"
MERGE = "merge"
MERGE_TAG = "merge, with a tag before"
SHELL = ", in one `lvm` shell"


class Volume:
    """A volume that is committed over and over in one way."""

    def __init__(self, commands, volume, way):
        self.commands, self.volume, self.way = commands, volume, way
        self.epoch = FIRST_ID
        self.generation = 2

    def live(self):
        return self.volume + "-snap"

    def back(self, epoch):
        return "%s-%d-back" % (self.volume, epoch)

    def start(self):
        self.generation += 1
        lvm(*self.commands.snapshot(self.volume, self.live(), True, (TAG % self.generation,)))
        write_some("/dev/" + self.commands.full(self.live()))

    def commit(self):
        """The commands of a commit, which are not run yet."""
        c, active = self.commands, self.commands.heads_active
        old, self.epoch = self.back(self.epoch), self.epoch + 1
        back = self.back(self.epoch)
        tag, following = TAG % self.generation, NEXT % self.generation
        if self.way == RENAMES:
            steps = [c.tag(self.live(), TAG % (self.generation + 1), remove=tag),
                     c.rename(self.volume, back), c.rename(self.live(), self.volume)]
        elif self.way == MERGE_TAG:
            steps = [c.tag(self.volume, following, remove=NEXT % (self.generation - 1)),
                     c.snapshot(self.volume, back, active, (tag,)), c.merge(self.live())]
        else:
            steps = [c.snapshot(self.volume, back, active, (tag, following)), c.merge(self.live())]
        return steps + [c.remove(old)]


def one_by_one(steps):
    for step in steps:
        lvm(*step)


def in_one_shell(steps):
    """Fed at once; a program that does this for real reads each answer."""
    text = "".join(shlex.join(step) + "\n" for step in steps)
    run("lvm", input=text, env=dict(os.environ, LC_ALL="C"))


def measure(pool, rounds, log):
    commands = Commands(GROUP, pool.disk, pool.heads_active)
    pool.make_volume("source")
    ways = {}
    for number, way in enumerate((RENAMES, MERGE_TAG, MERGE)):
        for suffix, runner in (("", one_by_one), (SHELL, in_one_shell)):
            own = Commands(GROUP, pool.disk, pool.heads_active, restricted=bool(suffix))
            volume = Volume(own, "way%d%s" % (number, "s" if suffix else ""), way)
            make_bare(commands, "source", volume.volume, FIRST_ID)
            ways[way + suffix] = (volume, runner)
    if not pool.heads_active:
        lvm("lvchange", "-qq", "-an", *(commands.full(lv) for volume, _ in ways.values()
                                        for lv in (volume.volume, volume.back(FIRST_ID))))
    turns = Turns()
    for number in range(rounds + 1):
        for way, (volume, runner) in turns.order(list(ways.items())):
            volume.start()
            steps = volume.commit()
            turns.take("commit", way, lambda runner=runner, steps=steps: runner(steps))
            check(volume)
            if way.startswith(RENAMES) and not pool.heads_active:
                # The new head has been active until now.
                turns.take("deactivation", way, lambda volume=volume: lvm(
                    "lvchange", "--devices", pool.disk, "-qq", "-an", commands.full(volume.volume)))
        if number == 0:
            turns.samples.clear()
        log("  round %d of %d" % (number, rounds))
    lvm(*commands.remove(*(lv for volume, _ in ways.values()
                           for lv in (volume.volume, volume.back(volume.epoch)))))
    pool.volume("source").delete()
    return turns, {way: len(volume.commit()) for way, (volume, _) in ways.items()}


def check(volume):
    """It is a head and one revision, and nothing is left to be done."""
    settle()
    names = lvm("lvs", "--noheadings", "-o", "lv_name", "-S",
                'lv_name=~"^%s($|-)"' % volume.volume, GROUP).split()
    assert sorted(names) == sorted([volume.volume, volume.back(volume.epoch)]), names


def bench(pool, options, report, log):
    log("%s: ways to commit" % pool.activation)
    turns, processes = measure(pool, options.rounds, log)
    rows = []
    for way, count in processes.items():
        rows.append((way, count if not way.endswith(SHELL) else 1,
                     pair(turns.samples["commit", way]),
                     "%.2f" % turns.ratio("commit", way, RENAMES),
                     pair(turns.samples["deactivation", way])
                     if ("deactivation", way) in turns.samples else "–"))
    report.table("Ways to commit, with prune, activation='%s' (median / p90)" % pool.activation,
                 ("commands", "processes", "commit", "part of the renames",
                  "to make the head inactive after it"), rows)
