# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's system calls: told, and held up where a test wants to look."""

import contextlib
import signal
import subprocess


@contextlib.contextmanager
def strace(daemon, report, *options):
    """Follow the daemon; its calls are in the file afterwards."""
    with subprocess.Popen(
            ["strace", "-f", "-y", "-o", str(report), "-p", str(daemon.pid),
             *options], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert "attached" in process.stderr.readline()
            yield report
        finally:
            process.send_signal(signal.SIGINT)
            process.stderr.read()


def held_up(daemon, report, call, seconds):
    """Each such call of the daemon waits before it is made."""
    return strace(daemon, report, "-e", f"trace={call}", "-e",
                  f"inject={call}:delay_enter={seconds * 1000000:.0f}")
