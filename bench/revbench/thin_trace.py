# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which processes the daemon runs, and what it and they ask the device mapper."""

import os
import re
import shlex

STARTED = re.compile(r'^(\d+) +execve\("([^"]*)", \[(.*?)\](?:, | <unfinished)')
IOCTL = re.compile(r"^(\d+) +ioctl\(\d+(?:<[^>]*>)?, DM_")
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Seen:
    """What happened between two moments."""

    def __init__(self, lines):
        self.commands = []
        self.by_lvm = self.by_daemon = 0
        lvm = set()
        for line in lines:
            started = STARTED.match(line)
            if started and os.path.basename(started.group(2)) == "lvm":
                lvm.add(started.group(1))
            if started:
                self.commands.append(WORD.findall(started.group(3)))
            elif IOCTL.match(line):
                if line.split(None, 1)[0] in lvm:
                    self.by_lvm += 1
                else:
                    self.by_daemon += 1

    @property
    def lvm(self):
        """Subcommands of lvm, in order."""
        return [words[1] for words in self.commands if os.path.basename(words[0]) == "lvm"]

    @property
    def programs(self):
        """As they would be typed: lvm's subcommands are programs, too."""
        return [os.path.basename(words[0 if os.path.basename(words[0]) != "lvm" else 1])
                for words in self.commands]


class Trace:
    """The daemon runs under strace while this lasts."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.path = os.path.join(os.environ["LIBVIRTD_ROOT"], "strace")
        self.read = 0

    def __enter__(self):
        # Only these calls stop a process, so that the others take no longer.
        self._restart("strace -f --seccomp-bpf -qq -s 400 -e trace=execve,ioctl -o %s"
                      % shlex.quote(self.path))
        return self

    def __exit__(self, *_exc):
        self._restart("")
        os.unlink(self.path)

    def _restart(self, wrapper):
        os.environ["LIBVIRTD_WRAPPER"] = wrapper
        try:
            self.daemon.restart()
        finally:
            del os.environ["LIBVIRTD_WRAPPER"]

    def _new_lines(self):
        with open(self.path, encoding="utf-8", errors="replace") as file:
            file.seek(self.read)
            text = file.read()
        # The last line may not be whole.
        whole = text.rfind("\n") + 1
        self.read += len(text[:whole].encode(errors="replace"))
        return text[:whole].splitlines()

    def watch(self, function):
        self._new_lines()
        function()
        return Seen(self._new_lines())
