# SPDX-License-Identifier: LGPL-2.1-or-later
"""A thin pool that can be put back, and operations cut at any process."""

import os
import shutil

import libvirt

from crashrig import differences, view
from filesystems import MIB, run
from thinpool import ThinPool
from volumegroup import VolumeGroup, lvm

MOST_PROCESSES = 12


def by_content(seen):
    """A view in which revisions go by what they hold, not by their ids.

    Ids are times, so they are others in every run.
    """
    names = {}
    for name, facts in seen.items():
        base, _, ident = name.partition("@")
        if ident.isdigit():
            new = f"{base}@({facts[1]})"
            while new in names.values():
                new += "'"
            names[name] = new
    return {names.get(name, name): facts for name, facts in seen.items()}


class ThinRig:
    """A volume group on one image, saved and restored as a whole."""

    SIZE = 320 * MIB

    def __init__(self, disks, daemon, spy):
        self.disks, self.daemon, self.spy = disks, daemon, spy
        self.group = VolumeGroup(f"rig-{os.getpid()}", disks.add(self.SIZE))
        self.group.add_thin_pool("vm-pool", 192 * MIB)
        self.pool = ThinPool(daemon, self.group, "vm-pool", keep=2)
        self.pool.outside = os.path.join(disks.folder, "stock")
        self.pool.define()
        self.saved = {}

    def detached(self):
        """Take the disk away; its file."""
        self.daemon.ensure()
        self.spy.reset()
        if self.pool.virt.isActive():
            self.pool.virt.destroy()
        lvm("vgchange", "-q", "-q", "-an", self.group.name)
        return self.disks.detach(self.group.device)

    def attached(self, path):
        self.group.device = self.disks.attach(path)
        self.pool.begin()

    def restore(self, operation):
        """The state before an operation, and the view of it."""
        key = operation.prepare
        path = self.detached()
        if key not in self.saved:
            self.attached(path)
            self.group.clear(self.pool.thin)
            self.pool.refresh()
            operation.prepare(self.pool)
            before = by_content(view(self.pool))
            path = self.detached()
            image = f"{path}-{key.__name__}-{len(self.saved)}"
            run("cp", "--sparse=always", path, image)
            self.saved[key] = image, before
        image, before = self.saved[key]
        run("cp", "--sparse=always", image, path)
        self.attached(path)
        return before

    def run(self, operation, action=None, number=0):
        """Run it; (its processes, its error)."""
        problem = None
        if action:
            self.spy.plan(action, number)
        else:
            self.spy.reset()
        try:
            operation.run(self.pool)
        except libvirt.libvirtError as error:
            problem = error
        commands = self.spy.commands()
        return commands, problem

    def after_kill(self):
        """A new daemon with the pool running."""
        self.daemon.wait_dead()
        self.spy.reset()
        self.daemon.restart()
        return self.pool.begin()

    def check(self, operation, before, after, where):
        """What must hold now; the view of it."""
        seen = by_content(view(self.pool))
        assert operation.accepts(seen, before, after), (
            f"{where}: neither old {differences(seen, before)} "
            f"nor new {differences(seen, after)}; {self.pool.files.all()}")
        left = self.pool.files.at_rest()
        assert left == [], f"{where}: {left}"
        return seen

    def close(self):
        self.daemon.ensure()
        self.spy.reset()
        self.pool.forget()
        self.group.close()
        for image, _ in self.saved.values():
            if os.path.exists(image):
                os.unlink(image)
        shutil.rmtree(self.pool.outside, ignore_errors=True)
