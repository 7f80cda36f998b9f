# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools of a private daemon, driven through libvirt-python."""

import os
import subprocess
import time

import libvirt


class Daemon:
    """The daemon that scripts/with-libvirtd runs, and a connection to it."""

    def __init__(self):
        self.connection = None
        self.connect()

    def connect(self):
        self.connection = libvirt.open(os.environ["LIBVIRT_DEFAULT_URI"])

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    @property
    def pid(self):
        with open(os.environ["LIBVIRTD_PID_FILE"], encoding="ascii") as file:
            return int(file.read())

    def restart(self):
        self.disconnect()
        subprocess.run([os.environ["LIBVIRTD_RESTART"]], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.connect()

    def memory(self, field="RssAnon"):
        """KiB of memory that the daemon has of its own."""
        with open("/proc/%d/status" % self.pid, encoding="ascii") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise KeyError(field)

    def round_trip(self, times=200):
        """Seconds of a call that does nothing: what the transport alone costs."""
        samples = []
        for _ in range(times):
            began = time.perf_counter()
            self.connection.getLibVersion()
            samples.append(time.perf_counter() - began)
        return samples


def pool_xml(kind, name, path, keep=1, listed=True):
    revisions = ""
    if kind == "reflink":
        revisions = "<revisions keep='%d' list='%s'/>" % (keep, "yes" if listed else "no")
    return ("<pool type='%s'><name>%s</name>%s<target><path>%s</path></target></pool>"
            % (kind, name, revisions, path))


class Pool:
    def __init__(self, daemon, kind, name, path, **settings):
        self.daemon = daemon
        self.kind = kind
        self.name = name
        self.path = path
        self.settings = settings
        os.makedirs(path, exist_ok=True)
        self.attach()

    def attach(self):
        self.daemon.connection.storagePoolDefineXML(
            pool_xml(self.kind, self.name, self.path, **self.settings))
        self.handle.create()

    @property
    def handle(self):
        return self.daemon.connection.storagePoolLookupByName(self.name)

    def remove(self):
        handle = self.handle
        if handle.isActive():
            handle.destroy()
        handle.undefine()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.remove()

    def create(self, name, capacity, keep=None, allocation=0):
        xml = volume_xml(name, capacity, keep, allocation)
        return self.handle.createXML(xml)

    def volume(self, name):
        return self.handle.storageVolLookupByName(name)

    def numbered(self, volume):
        """Names of a volume's numbered revisions, oldest first."""
        names = [name for name in self.handle.listVolumes()
                 if name.startswith(volume + "@") and name.rsplit("@", 1)[1].isdigit()]
        return sorted(names, key=lambda name: int(name.rsplit("@", 1)[1]))


def volume_xml(name, capacity, keep=None, allocation=0):
    revisions = "" if keep is None else "<revisions keep='%d'/>" % keep
    return ("<volume><name>%s</name><capacity>%d</capacity><allocation>%d</allocation>%s"
            "<target><format type='raw'/></target></volume>"
            % (name, capacity, allocation, revisions))
