# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon with a library before all others."""

import contextlib
import os
import shlex
import shutil
import subprocess

import pytest

from pools import wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


# What an operation of a pool type can be held in: a system call (hold.c), or
# a command of LVM.
STEPS = {
    "reflink": {"removal": "unlinkat", "making": "fsetxattr",
                "hole": "fallocate"},
    "qubes-thin": {"removal": "lvremove", "making": "lvcreate",
                   "hole": "ioctl"},
}

LVM = """\
#!/bin/sh
if mv {folder}/"$1" {folder}/"$1".held 2>/dev/null; then
    while [ -e {folder}/"$1".held ]; do sleep 0.05; done
fi
exec {lvm} "$@"
"""


class Holds:
    """Calls of the daemon that wait until the test lets them go."""

    def __init__(self, folder, wrapper):
        self.folder = str(folder)
        self.wrapper = wrapper  # words before another daemon's command

    def arm(self, call):
        """The next call of that name waits."""
        with open(f"{self.folder}/{call}", "w", encoding="ascii"):
            pass

    def is_held(self, call):
        """Whether the daemon is in that call."""
        return os.path.exists(f"{self.folder}/{call}.held")

    @contextlib.contextmanager
    def during(self, call):
        """While the daemon is in that call; let go afterwards."""
        try:
            wait_for(lambda: self.is_held(call), what=call)
            yield
        finally:
            self.release(call)

    def release(self, call):
        """Let it go, or do not wait for it any more."""
        for name in (call, call + ".held"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.folder}/{name}")


def put_lvm(folder):
    """A program `lvm` whose commands can be held; returns the new PATH."""
    programs = os.path.join(folder, "programs")
    os.makedirs(programs)
    if lvm := shutil.which("lvm"):
        with open(f"{programs}/lvm", "w", encoding="ascii") as file:
            file.write(LVM.format(folder=shlex.quote(str(folder)),
                                  lvm=shlex.quote(lvm)))
        os.chmod(f"{programs}/lvm", 0o755)
    return f"{programs}:{os.environ['PATH']}"


@contextlib.contextmanager
def holding(daemon, folder):
    """A daemon of which single calls can be held."""
    with preloaded(daemon, folder, "hold", HOLD_FOLDER=str(folder),
                   PATH=put_lvm(folder)) as words:
        yield Holds(folder, words)


@contextlib.contextmanager
def preloaded(daemon, folder, name, **variables):
    """A daemon with the library of NAME.c, which is compiled into folder."""
    library = os.path.join(folder, name + ".so")
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o",
                    library, os.path.join(HERE, name + ".c"), "-ldl"],
                   check=True)
    words = ["env", f"LD_PRELOAD={library}",
             *(f"{key}={value}" for key, value in variables.items())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIBVIRTD_WRAPPER", " ".join(words))
        daemon.restart()
    try:
        yield words
    finally:
        daemon.restart()
