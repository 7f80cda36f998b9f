# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many processes of LVM each operation takes."""

import io
import os
import re

from .thin_group import CAPACITY, GROUP
from .thin_lvm import Commands, settle
from .thin_scale import full_report
from .thin_trace import Trace

# At most so many processes of lvm.
BUDGETS = {
    "create": 1, "clone": 1, "start": 1, "redefine": 1, "discard": 2, "refresh": 1,
    "commit, nothing to prune": 4, "commit with prune": 4, "commit that keeps no revision": 4,
    "revert": 4, "upload with prune": 4,
}


def upload(pool, name, size=1 << 20):
    stream = pool.daemon.connection.newStream()
    pool.volume(name).upload(stream, 0, size)
    data = io.BytesIO(os.urandom(size))
    stream.sendAll(lambda _stream, count, _opaque: data.read(count), None)
    stream.finish()


def operations(pool):
    """Names, and functions that are run one after the other."""
    def redefine(keep):
        return lambda: pool.create_from("volume", "volume", keep=keep)()

    def start_and_write(name):
        pool.start(name)()
        pool.write(name)

    yield "create", lambda: pool.create("volume", keep=10)
    yield "start", lambda: pool.start("volume")()
    pool.write("volume")
    yield "commit, nothing to prune", lambda: pool.commit("volume")()
    yield "clone", lambda: pool.create_from("volume", "clone")()
    yield None, lambda: start_and_write("volume")
    yield "commit, nothing to prune", lambda: pool.commit("volume")()
    yield "revert", lambda: pool.create_from(pool.numbered("volume")[0], "volume")()
    yield "redefine", redefine(9)
    yield "redefine that prunes", redefine(1)
    yield None, lambda: start_and_write("volume")
    yield "commit with prune", lambda: pool.commit("volume")()
    yield "upload with prune", lambda: upload(pool, "volume")
    yield "pin", lambda: pool.create_from("volume", "volume@kept")()
    yield "wipe", lambda: pool.volume("volume").wipe()
    yield "grow", lambda: pool.volume("volume").resize(2 * CAPACITY)
    yield None, lambda: start_and_write("volume")
    yield "discard", lambda: pool.volume("volume@live").delete()
    yield None, lambda: pool.start("volume")()
    yield "commit of an unwritten live copy", lambda: pool.commit("volume")()
    yield "delete a revision", lambda: pool.volume("volume@kept").delete()
    yield None, lambda: redefine(0)()
    yield None, lambda: start_and_write("volume")
    yield "commit that keeps no revision", lambda: pool.commit("volume")()
    yield "refresh", lambda: pool.handle.refresh()
    yield "delete", lambda: pool.volume("clone").delete()


def masked(words):
    """A command without what differs from one volume to another."""
    return [re.sub(r"-\d+-back", "-N-back", word) for at, word in enumerate(words)
            if not (at and words[at - 1] in ("--addtag", "--deltag", "--name"))]


def compare_commands(pool, seen, report):
    """What the tables take for our commands has to be what the daemon runs."""
    commands, heads = Commands(GROUP, pool.disk, pool.heads_active), pool.heads_active
    wanted = {"clone": [commands.snapshot("volume", "x", heads)],
              "start": [commands.snapshot("volume", "x", True)],
              "commit with prune": [commands.snapshot("volume", "x", heads, ("a", "b")),
                                    commands.merge("volume-snap"),
                                    commands.remove("volume-1-back")],
              "discard": [commands.remove("volume-snap")],
              "refresh": [full_report(pool.disk)]}
    other = [what for what, lines in wanted.items()
             if [masked(words[1:]) for words in seen[what].commands]
             != [masked(words) for words in lines]]
    report.budget("bare commands, activation='%s'" % pool.activation, "those of the daemon",
                  "other ones: " + ", ".join(other) if other else "the same", not other)
    for what in other:
        report.log("  %s: the daemon runs %s" % (what, seen[what].commands))


def measure(pool, log):
    seen = {}
    pool.create("other")
    with Trace(pool.daemon) as trace:
        for what, function in operations(pool):
            settle()
            if what is None:
                function()
                continue
            seen[what] = trace.watch(function)
            log("  %s: %s; %d + %d ioctls" % (what, " ".join(seen[what].lvm),
                                             seen[what].by_lvm, seen[what].by_daemon))
    for name in ("volume", "other"):
        pool.volume(name).delete()
    return seen


def bench(pool, _options, report, log):
    heads = "activation='%s'" % pool.activation
    log("%s: processes" % pool.activation)
    seen = measure(pool, log)
    rows = []
    for what, each in seen.items():
        rows.append((what, len(each.lvm), BUDGETS.get(what, "–"), " ".join(each.programs),
                     "%d + %d" % (each.by_lvm, each.by_daemon)))
    report.table("Processes, %s" % heads,
                 ("operation", "lvm processes", "budget", "all processes, in order",
                  "ioctls of the device mapper: lvm + daemon"), rows)
    over = ["%s: %d" % (what, len(seen[what].lvm)) for what, most in BUDGETS.items()
            if len(seen[what].lvm) > most]
    report.budget("lvm processes of each operation, %s" % heads, "see the table",
                  "; ".join(over) or "none takes more", not over)
    compare_commands(pool, seen, report)
