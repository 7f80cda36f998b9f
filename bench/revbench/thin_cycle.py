# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clone, start and commit of a qubes-thin pool beside LVM's commands, in turn."""

from .bare import timed
from .report import Samples, pair
from .thin_group import GROUP, write_some
from .thin_lvm import CONFIG, Commands, Qubes, lvm, make_bare, settle

CLONE, FASTER = 1.3, 1.8
FIRST_ID = 1700000000
BARE, PLAIN = "bare `lvcreate -s`", "`lvcreate -s -kn` without options"
API = "through libvirt-python"
QUBES, TUNED = "as Qubes' driver", "the same with our settings"


class Turns:
    """Samples of several sides, each time in another order."""

    def __init__(self):
        self.samples = {}
        self.rounds = 0

    def add(self, what, side, took):
        self.samples.setdefault((what, side), Samples()).append(took)

    def take(self, what, side, function):
        settle()
        took, _ = timed(function)
        self.add(what, side, took)
        return took

    def order(self, sides):
        """Whoever is first may pay for what was before."""
        self.rounds += 1
        shift = self.rounds % len(sides)
        return sides[shift:] + sides[:shift]

    def ratio(self, what, side, other):
        return self.samples[what, side].median / self.samples[what, other].median


def clone_round(turns, pool, commands):
    sides = [(API, pool.create_from("source", "clone")),
             (BARE, lambda: lvm(*commands.snapshot("source", "bare-clone", pool.heads_active))),
             (PLAIN, lambda: lvm("lvcreate", "-s", "-kn", "-n", "bare-plain", GROUP + "/source"))]
    for side, function in turns.order(sides):
        turns.take("clone", side, function)
    pool.volume("clone").delete()
    lvm(*commands.remove("bare-clone", "bare-plain"))


class Ours:
    """A volume of the pool, which keeps one revision."""

    def __init__(self, pool, volume):
        self.pool, self.volume = pool, volume

    def cycle(self):
        """Functions to be timed, with what the guest does between them."""
        yield "start", self.pool.start(self.volume)
        self.pool.write(self.volume)
        yield "commit", self.pool.commit(self.volume)


class Theirs:
    def __init__(self, volume, config=None):
        self.driver = Qubes(GROUP, volume, FIRST_ID, config)

    def cycle(self):
        yield "start", self.driver.start
        write_some("/dev/" + self.driver.full("-snap"))
        yield "commit", self.driver.commit


def cycle_round(turns, sides):
    for side, volume in turns.order(sides):
        both = sum(turns.take(what, side, function) for what, function in volume.cycle())
        turns.add("start and commit", side, both)


def prepare(pool, commands):
    pool.make_volume("source")
    pool.make_volume("ours")
    for volume in ("theirs", "tuned"):
        make_bare(commands, "source", volume, FIRST_ID)
    return [(API, Ours(pool, "ours")), (QUBES, Theirs("theirs")),
            (TUNED, Theirs("tuned", CONFIG))]


def measure(pool, rounds, log):
    commands = Commands(GROUP, pool.disk, pool.heads_active)
    sides = prepare(pool, commands)
    turns = Turns()
    # The first of everything is a warm-up and not counted.
    for number in range(rounds + 1):
        clone_round(turns, pool, commands)
        cycle_round(turns, sides)
        if number == 0:
            turns.samples.clear()
        log("  round %d of %d" % (number, rounds))
    assert len(pool.numbered("ours")) == 1, pool.numbered("ours")
    lvm(*commands.remove(*(lv for each in ("theirs", "tuned") for lv in (each,)),
                         *("%s-%d-back" % (side.driver.volume, side.driver.revision)
                           for _, side in sides[1:])))
    for volume in ("ours", "source"):
        pool.volume(volume).delete()
    return turns


def bench(pool, options, report, log):
    log("%s: clone, start and commit" % pool.activation)
    turns = measure(pool, options.rounds, log)
    heads = "activation='%s'" % pool.activation
    report.table("Clone, %s (median / p90)" % heads, ("way", "clone", "ours is"),
                 [(side, pair(turns.samples["clone", side]),
                   "%.2f ×" % turns.ratio("clone", API, side)) for side in (API, BARE, PLAIN)])
    steps = ("start", "commit", "start and commit")
    rows = []
    for side in (API, QUBES, TUNED):
        rows.append((side,) + tuple(pair(turns.samples[what, side]) for what in steps)
                    + ("%.2f ×" % turns.ratio("start and commit", side, API),))
    report.table("Start and commit with prune, %s (median / p90)" % heads,
                 ("way",) + steps + ("ours is faster by",), rows)
    clone = turns.ratio("clone", API, BARE)
    report.budget("clone, %s" % heads, "≤ %.1f × bare" % CLONE, "%.2f ×" % clone, clone <= CLONE)
    faster = turns.ratio("start and commit", QUBES, API)
    report.budget("start and commit with prune, %s" % heads, "≥ %.1f × faster than Qubes' way" % FASTER,
                  "%.2f ×" % faster, faster >= FASTER,
                  "with our settings there too: %.2f ×" % turns.ratio("start and commit", TUNED, API))
