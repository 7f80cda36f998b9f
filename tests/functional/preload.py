# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon with a library before all others."""

import contextlib
import os
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


class Holds:
    """Calls of the daemon that wait until the test lets them go (hold.c)."""

    def __init__(self, folder):
        self.folder = str(folder)

    def arm(self, call):
        """The next call of that name waits."""
        with open(f"{self.folder}/{call}", "w", encoding="ascii"):
            pass

    def is_held(self, call):
        """Whether the daemon is in that call."""
        return os.path.exists(f"{self.folder}/{call}.held")

    def release(self, call):
        """Let it go, or do not wait for it any more."""
        for name in (call, call + ".held"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.folder}/{name}")


@contextlib.contextmanager
def holding(daemon, folder):
    """A daemon of which single calls can be held."""
    with preloaded(daemon, folder, "hold", HOLD_FOLDER=str(folder)):
        yield Holds(folder)


@contextlib.contextmanager
def preloaded(daemon, folder, name, **variables):
    """A daemon with the library of NAME.c, which is compiled into folder."""
    library = os.path.join(folder, name + ".so")
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o",
                    library, os.path.join(HERE, name + ".c"), "-ldl"],
                   check=True)
    words = [f"{key}={value}" for key, value in variables.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIBVIRTD_WRAPPER",
                     " ".join(["env", f"LD_PRELOAD={library}", *words]))
        daemon.restart()
    try:
        yield
    finally:
        daemon.restart()
