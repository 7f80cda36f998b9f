# SPDX-License-Identifier: LGPL-2.1-or-later
"""A benchmark that starts itself again in a guest, and gets its report back."""

import json
import os
import re
import resource
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REPORT = "report.json"


def inside():
    return "GUEST_DISKS" in os.environ


def disks():
    return os.environ["GUEST_DISKS"].split()


def machine_seconds():
    """Seconds of processor time that all programs together have used, on this machine or beside it."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Noise:
    """How busy the machine was with other things than our children."""

    def __init__(self):
        self.began, self.all, self.own = time.monotonic(), machine_seconds(), own_seconds()

    def share(self):
        took = time.monotonic() - self.began
        others = machine_seconds() - self.all - (own_seconds() - self.own)
        return max(0.0, others) / took / os.cpu_count()


def run(script, arguments, disk, timeout):
    """SCRIPT once more, in a guest beside a daemon of its own.

    Returns its exit status, what it left with save(), or None, and how busy the
    machine was with other things.
    """
    noise = Noise()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as results:
        status = subprocess.run(
            [os.path.join(TOP, "scripts", "with-guest"), "--disk", disk, "--timeout", str(timeout),
             "--results", results, os.path.join(TOP, "scripts", "with-libvirtd"),
             "/usr/bin/python3", script] + arguments, check=False).returncode
        try:
            with open(os.path.join(results, REPORT), encoding="utf-8") as file:
                return status, json.load(file), noise.share()
        except FileNotFoundError:
            return status, None, noise.share()


def save(what):
    with open(os.path.join(os.environ["GUEST_RESULTS"], REPORT), "w", encoding="utf-8") as file:
        json.dump(what, file)


def describe():
    """What the guest is made of."""
    version = subprocess.run(["lvm", "version"], check=True, text=True, capture_output=True).stdout
    found = re.search(r"LVM version:\s*(\S+)", version)
    kernel = os.uname()
    return ("The guest: qemu without KVM, %d processors, Linux %s, LVM %s, udev running, a virtio disk."
            % (os.cpu_count(), kernel.release, found.group(1) if found else "of unknown version"))
