# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program `lvm` between the daemon and LVM, which counts and misbehaves.

Every LVM process of the daemon is a line of the log. At the process with a
certain number the daemon is killed while that process works, or long before
it gets to work; or the process fails, before its work or after it, or it takes
its time.
"""

import os
import shlex
import shutil

from pools import wait_for

SCRIPT = """\
#!/bin/sh
echo "$*" >>{log}
[ -e {plan} ] || exec {lvm} "$@"
number=0
while read -r line; do number=$((number + 1)); done <{log}
read -r action at pid <{plan}
[ "$number" = "$at" ] || exec {lvm} "$@"
case $action in
    during) kill -KILL "$pid"; exec {lvm} "$@" ;;
    orphan) kill -KILL "$pid"; sleep 6; {lvm} "$@"; : >{done} ;;
    fail) echo "  Injected failure." >&2; exit 5 ;;
    late) {lvm} "$@"; echo "  Injected failure." >&2; exit 5 ;;
    slow) sleep 8; exec {lvm} "$@" ;;
esac
"""


class LvmSpy:
    """The program and what was planned for the daemon that runs it."""

    def __init__(self, folder, daemon):
        self.daemon = daemon
        self.folder = os.path.join(folder, "spy")
        self.log = os.path.join(self.folder, "log")
        self.plan_file = os.path.join(self.folder, "plan")
        self.done = os.path.join(self.folder, "done")
        os.makedirs(self.folder, exist_ok=True)
        program = os.path.join(self.folder, "lvm")
        with open(program, "w", encoding="ascii") as file:
            file.write(SCRIPT.format(
                log=shlex.quote(self.log), plan=shlex.quote(self.plan_file),
                done=shlex.quote(self.done),
                lvm=shlex.quote(shutil.which("lvm"))))
        os.chmod(program, 0o755)

    def words(self):
        """What comes before the daemon's command line."""
        return ["env", f"PATH={self.folder}:{os.environ['PATH']}"]

    def start(self, *more):
        """From now on, all daemons run our lvm."""
        os.environ["LIBVIRTD_WRAPPER"] = shlex.join([*self.words(), *more])
        self.reset()
        self.daemon.restart()

    def stop(self):
        del os.environ["LIBVIRTD_WRAPPER"]
        self.daemon.restart()

    def plan(self, action, number):
        """Do that at the process with that number, from now on."""
        self.reset()
        with open(self.plan_file, "w", encoding="ascii") as file:
            file.write(f"{action} {number} {self.daemon.pid}\n")

    def wait_orphan(self):
        """Wait for the process that was to outlive the daemon."""
        wait_for(lambda: os.path.exists(self.done), 60, "the orphan's end")
        os.unlink(self.done)

    def reset(self):
        """Plan nothing, and count anew."""
        if os.path.exists(self.plan_file):
            os.unlink(self.plan_file)
        with open(self.log, "w", encoding="ascii"):
            pass

    def commands(self):
        """The command lines since then."""
        with open(self.log, encoding="utf-8") as file:
            return file.read().splitlines()
