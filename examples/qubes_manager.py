#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Templates and the machines that are made from them, as Qubes OS has them.

    qubes_manager.py POOL template NAME MIB      a template: NAME-root
    qubes_manager.py POOL app NAME TEMPLATE MIB  a machine: its root is TEMPLATE's,
                                                 NAME-private is kept, NAME-volatile
                                                 is blank at each start
    qubes_manager.py POOL start NAME             live copies; prints their paths
    qubes_manager.py POOL stop NAME              keeps, or drops, what was written
    qubes_manager.py POOL outdated               machines that run an older template
    qubes_manager.py POOL history NAME           earlier states of what is kept
    qubes_manager.py POOL rollback NAME STATE    back to one of them
    qubes_manager.py POOL remove NAME

The pool's type is reflink or qubes-thin. A machine's disks are the live copies.
"""

import sys
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import libvirt

MIB = 1 << 20
PERSISTENT = "<lifecycle snapOnStart='no' saveOnStop='yes'/>"
SNAPSHOT = "<lifecycle snapOnStart='yes' saveOnStop='no' source=%s/>"
VOLATILE = "<lifecycle snapOnStart='no' saveOnStop='no'/>"
KINDS = ("root", "private", "volatile")
VOLATILE_MIB = 10240


class Manager:
    """All that is done is calls of the storage API."""

    def __init__(self, connection, pool):
        self.pool = connection.storagePoolLookupByName(pool)

    def volumes(self, name):
        """The volumes of a template or machine."""
        there = set(self.pool.listVolumes())
        found = [self.volume("%s-%s" % (name, kind)) for kind in KINDS if "%s-%s" % (name, kind) in there]
        if not found:
            raise LookupError("there is no template or machine '%s'" % name)
        return found

    def volume(self, name):
        return self.pool.storageVolLookupByName(name)

    def create(self, name, lifecycle, mib=None):
        capacity = "" if mib is None else "<capacity unit='MiB'>%d</capacity>" % mib
        self.pool.createXML("<volume><name>%s</name>%s%s</volume>" % (escape(name), capacity, lifecycle))

    def create_from(self, name, source):
        """What vol-clone SOURCE NAME does: what that is, the names say."""
        self.pool.createXMLFrom("<volume><name>%s</name><capacity>%d</capacity></volume>"
                                % (escape(name), source.info()[1]), source)

    def template(self, name, mib):
        self.create(name + "-root", PERSISTENT, int(mib))

    def app(self, name, template, mib):
        self.create(name + "-root", SNAPSHOT % quoteattr(template + "-root"))
        self.create(name + "-private", PERSISTENT, int(mib))
        self.create(name + "-volatile", VOLATILE, VOLATILE_MIB)

    def start(self, name):
        """All live copies, or none; those of a machine that was not stopped are left as they are."""
        made = []
        try:
            for volume in self.volumes(name):
                if not self.state(volume).get("dirty") == "yes":
                    self.create_from(volume.name() + "@live", volume)
                    made.append(volume)
        except libvirt.libvirtError:
            for volume in made:
                self.volume(volume.name() + "@live").delete()
            raise
        for volume in self.volumes(name):
            print(self.volume(volume.name() + "@live").path())

    def stop(self, name):
        for volume in self.volumes(name):
            if self.state(volume).get("dirty") != "yes":
                continue
            live = self.volume(volume.name() + "@live")
            if self.document(volume).find("lifecycle").get("saveOnStop") == "yes":
                self.create_from(volume.name(), live)
            else:
                live.delete()

    def outdated(self):
        for name in self.pool.listVolumes():
            if name.endswith("-root") and self.state(self.volume(name)).get("outdated") == "yes":
                print(name[:-len("-root")])

    def kept(self, name):
        """The volumes whose earlier states there are."""
        return [v for v in self.volumes(name)
                if self.document(v).find("lifecycle").get("saveOnStop") == "yes"]

    def history(self, name):
        for volume in self.kept(name):
            for node in self.document(volume).iter("revision"):
                state = node.get("name").rpartition("@")[2]
                print(state, node.get("created"), volume.name())

    def rollback(self, name, state):
        for volume in self.kept(name):
            self.create_from(volume.name(), self.volume("%s@%s" % (volume.name(), state)))

    def remove(self, name):
        for volume in self.volumes(name):
            volume.delete(libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)

    @staticmethod
    def document(volume):
        return ET.fromstring(volume.XMLDesc())

    def state(self, volume):
        node = self.document(volume).find("state")
        return {} if node is None else node.attrib


def main(pool, command, *words):
    with libvirt.open() as connection:
        manager = Manager(connection, pool)
        try:
            getattr(manager, command)(*words)
        except (LookupError, libvirt.libvirtError) as error:
            sys.exit("%s: %s" % (command, error))


if __name__ == "__main__":
    COMMANDS = ("template", "app", "start", "stop", "outdated", "history", "rollback", "remove")
    if len(sys.argv) < 3 or sys.argv[2] not in COMMANDS:
        sys.exit(__doc__)
    main(*sys.argv[1:])
