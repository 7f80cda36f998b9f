# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon with a library before all others."""

import contextlib
import os
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


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
