# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the tests that run in the guest of scripts/with-guest."""

import os
import subprocess

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "crash: kills and power losses")
    config.addinivalue_line("markers", "slow: takes more than some seconds")


def pytest_collection_modifyitems():
    """Nothing here may come near the host's own devices."""
    if not os.environ.get("GUEST_DISKS") or "LIBVIRTD_PID_FILE" not in os.environ:
        raise pytest.UsageError(
            "run under scripts/with-guest --disk 8G scripts/with-libvirtd")


def call(*words):
    """Output of a program, which has to succeed."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False,
                          env=dict(os.environ, LC_ALL="C"))
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


@pytest.fixture(name="call")
def call_fixture():
    return call


@pytest.fixture
def thin_pool():
    """The name VG/POOL of a thin pool on the first disk."""
    disk = os.environ["GUEST_DISKS"].split()[0]
    call("vgcreate", "-q", "guesttest", disk)
    try:
        call("lvcreate", "-q", "--type", "thin-pool", "-L", "256M", "-n", "pool", "guesttest")
        yield "guesttest/pool"
    finally:
        call("vgremove", "-q", "-ff", "-y", "guesttest")
        call("pvremove", "-q", disk)
