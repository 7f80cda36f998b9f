# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon under test, as scripts/with-libvirtd hands it over."""

import contextlib
import copy
import os
import signal
import subprocess
import threading
import time

import libvirt

# An error that a test expects shall not fill the terminal as well.
libvirt.registerErrorHandler(lambda context, error: None, None)

STOCK_VIRSH = "/usr/bin/virsh"


class Daemon:
    """One libvirtd: its connection, its process and its log."""

    def __init__(self):
        self.uri = os.environ["LIBVIRT_DEFAULT_URI"]
        self._conn = None

    @property
    def conn(self):
        """A connection that works, a new one if the daemon went away."""
        if self._conn is not None:
            try:
                if self._conn.isAlive():
                    return self._conn
            except libvirt.libvirtError:
                pass
            self.drop()
        self._conn = libvirt.open(self.uri)
        return self._conn

    def drop(self):
        """Forget the connection."""
        if self._conn is not None:
            try:
                self._conn.close()
            except libvirt.libvirtError:
                pass
        self._conn = None

    @property
    def pid(self):
        """The process id of the running daemon."""
        with open(os.environ["LIBVIRTD_PID_FILE"], encoding="ascii") as file:
            return int(file.read())

    def alive(self):
        """Whether the daemon's process runs (a zombie does not)."""
        try:
            with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
                return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
        except (OSError, ValueError):
            return False

    def kill(self):
        """SIGKILL, and wait until it is gone."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        self.wait_dead()

    def wait_dead(self, seconds=10):
        """Wait for the end of a daemon that was told to die."""
        end = time.monotonic() + seconds
        while self.alive():
            assert time.monotonic() < end, "the daemon does not end"
            time.sleep(0.01)

    def restart(self):
        """Start the daemon anew (after kill -9 if it is alive)."""
        self.drop()
        subprocess.run([os.environ["LIBVIRTD_RESTART"]], check=True,
                       timeout=60)
        return self.conn

    def restart_as_after_boot(self):
        """The same; pools are started with the first daemon after a boot."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.environ["LIBVIRTD_ROOT"]
                      + "/run/libvirt/storage/autostarted")
        return self.restart()

    def ensure(self):
        """A daemon that answers, whatever the last test did to it."""
        if not self.alive():
            self.restart()
        return self.conn

    def log(self):
        """What the daemon logged so far."""
        with open(os.environ["LIBVIRTD_LOG"], encoding="utf-8",
                  errors="replace") as file:
            return file.read()

    def virsh(self, *args, check=True, binary=STOCK_VIRSH, stdin=None,
              timeout=120):
        """Run a virsh, the distribution's unmodified one by default."""
        env = dict(os.environ)
        if binary == STOCK_VIRSH:
            env.pop("LD_LIBRARY_PATH", None)
        done = subprocess.run([binary, "-q", "-c", self.uri, *args], env=env,
                              input=stdin, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def answers(self, pool):
        """Whether it has time for another client, and another pool."""
        try:
            return pool in self.virsh("pool-dumpxml", pool, timeout=30).stdout
        except subprocess.TimeoutExpired:
            return False

    def resident(self):
        """Bytes of it that are in memory."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Watchdog:
    """Ends a test that hangs, by killing the daemon it waits for."""

    def __init__(self, daemon, seconds):
        self.daemon = daemon
        self.fired = False
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True

    def _fire(self):
        self.fired = True
        try:
            os.kill(self.daemon.pid, signal.SIGKILL)
        except (OSError, ValueError):
            pass

    def __enter__(self):
        self._timer.start()
        return self

    def __exit__(self, *exc):
        self._timer.cancel()


@contextlib.contextmanager
def apart(known):
    """A pool, or a domain, by another connection.

    For what is done beside a long call: calls of one connection can wait for
    each other, and a client of 9.0.0 that polls can miss an answer.
    """
    other = copy.copy(known)
    other.daemon = Daemon()
    try:
        yield other
    finally:
        other.daemon.drop()
