# SPDX-License-Identifier: LGPL-2.1-or-later
"""LVM's commands: those of the pool type, one by one, and those of Qubes' driver."""

import os
import subprocess

# What the pool type says with every change (storage_thin_lvm.c); that it still
# does is checked where its processes are counted.
CONFIG = "backup/archive=0 activation/monitoring=0"
# As long as the metadata of a volume usually is.
TAG = "libvirt=1&g=%d&c=1763700000&n=0123456789abcdef&k=1&i=1763700001"
NEXT = "libvirt.next=1&g=%d&c=1763700000&n=0123456789abcdef&k=1&i=1763700001"
WRITTEN = 4 << 20


def run(*words, **options):
    """A program's output; an error if it fails, with what it has to say."""
    done = subprocess.run(words, check=False, text=True, capture_output=True, **options)
    if done.returncode:
        raise RuntimeError("%s: %s" % (" ".join(words), done.stderr or done.stdout))
    return done.stdout


def settle():
    """Let udev finish with what was made, changed or closed before."""
    run("udevadm", "settle")


def lvm(*words):
    """A command as the daemon starts it."""
    return run("lvm", *words, stdin=subprocess.DEVNULL,
               env=dict(os.environ, LC_ALL="C", LVM_SUPPRESS_FD_WARNINGS="1"))


class Commands:
    """Command lines of the pool type, in a volume group on one device."""

    def __init__(self, group, device, heads_active, restricted=False):
        self.group, self.device, self.heads_active = group, device, heads_active
        # All of them, as a shell of LVM's needs it, which does not look again.
        self.restricted = restricted

    def _change(self, subcommand):
        # These two would go on with a disk missing that was added meanwhile.
        whole = subcommand in ("lvremove", "lvchange") and not self.restricted
        return [subcommand] + ([] if whole else ["--devices", self.device]) + [
            "-qq", "--yes", "--config", CONFIG]

    def _activation(self, active):
        words = ["--setactivationskip", "n" if self.heads_active else "y",
                 "--activate", "y" if active else "n"]
        return words + (["--ignoreactivationskip"] if active else [])

    def full(self, lv):
        return "%s/%s" % (self.group, lv)

    def snapshot(self, origin, lv, active, tags=(TAG % 2,)):
        words = self._change("lvcreate") + ["--snapshot"]
        for tag in tags:
            words += ["--addtag", tag]
        return words + self._activation(active) + ["--name", lv, self.full(origin)]

    def tag(self, lv, add, remove=None):
        words = self._change("lvchange")
        if remove:
            words += ["--deltag", remove]
        return words + ["--addtag", add, self.full(lv)]

    def rename(self, old, new):
        return self._change("lvrename") + [self.group, old, new]

    def merge(self, lv):
        return self._change("lvconvert") + ["--merge", self.full(lv)]

    def remove(self, *lvs):
        return self._change("lvremove") + ["--force"] + [self.full(lv) for lv in lvs]


class Qubes:
    """One persistent volume as Qubes' driver keeps it, by commands alone.

    After each change it reads the whole host's report anew. Its own work in
    between, and the start of sudo, are left out. With the pool type's settings
    it shows what these alone are worth.
    """

    REPORT = ("lvs", "--quiet", "--quiet", "--noheadings", "-o",
              "vg_name,pool_lv,name,lv_size,data_percent,lv_attr,origin,lv_metadata_size,"
              "metadata_percent", "--units", "b", "--reportformat=json")

    def __init__(self, group, volume, revision, config=None):
        self.group, self.volume, self.revision = group, volume, revision
        self.epoch = revision
        self.config = ["--config", config] if config else []
        self.env = dict(os.environ, LC_ALL="C.UTF-8")

    def _lvm(self, subcommand, *words):
        return run("lvm", subcommand, *self.config, *words, stdin=subprocess.DEVNULL, env=self.env)

    def report(self):
        return self._lvm(*self.REPORT)

    def _change(self, *words):
        self._lvm(*words)
        self.report()

    def full(self, suffix=""):
        return "%s/%s%s" % (self.group, self.volume, suffix)

    def start(self):
        # --type=thin, which Qubes gives too, this version refuses beside --snapshot.
        self._change("lvcreate", "--setactivationskip=n", "--activate=y", "--snapshot",
                     "--name=%s-snap" % self.volume, "--", self.full())

    def remove(self, suffix):
        subprocess.run(["blkdiscard", "-p", "1G", "/dev/" + self.full(suffix)], check=False,
                       stdin=subprocess.DEVNULL, capture_output=True)
        self._change("lvremove", "--force", "--", self.full(suffix))

    def commit(self):
        """The live copy becomes the volume, and only the newest revision stays."""
        old, self.revision = self.revision, self.epoch + 1
        self.epoch = self.revision
        self._change("lvrename", "--", self.full(), self.full("-%d-back" % self.revision))
        self._change("lvrename", "--", self.full("-snap"), self.full())
        self.remove("-%d-back" % old)


def make_bare(commands, origin, volume, revision, suffix="-%d-back"):
    """A volume with one revision, both active, that the pool type did not make."""
    for lv in (volume, volume + suffix % revision):
        lvm(*Commands(commands.group, commands.device, True).snapshot(origin, lv, True))
