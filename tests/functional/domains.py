# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains that have no system to boot."""

import concurrent.futures
import contextlib
import os
import signal
import uuid

import libvirt

from pools import INVALID, snapshot_of, wait_for

XML = """\
<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid>
<memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type>{boot}</os>
<devices>{devices}<memballoon model='none'/></devices></domain>
"""


def disk(source, target="vda", kind="volume", readonly=False, fmt="raw",
         bus="virtio"):
    return (f"<disk type='{kind}' device='disk'><driver name='qemu' "
            f"type='{fmt}'/><source {source}/>"
            f"<target dev='{target}' bus='{bus}'/>"
            f"{'<readonly/>' if readonly else ''}</disk>")


def disk_on(pool, volume, target="vda", **options):
    """A disk that is a volume."""
    return disk(f"pool='{pool.name}' volume='{volume}'", target, **options)


def state_file(domain, suffix):
    """What the daemon has written of a running domain."""
    return (f"{os.environ['LIBVIRTD_ROOT']}/run/libvirt/qemu/"
            f"{domain}.{suffix}")


def emulator_of(domain):
    """The process of a domain's emulator."""
    with open(state_file(domain, "pid"), encoding="ascii") as file:
        return int(file.read())


def kill_emulator(domain):
    """With SIGKILL."""
    os.kill(emulator_of(domain), signal.SIGKILL)


def wait_until_connected(virt):
    """Wait until a daemon that starts anew has connected to a domain.

    One that is destroyed before that is gone for libvirt when destroying it
    gets its turn, which is an error then.
    """
    virt.memoryStats()


def owner(pool, name="a"):
    """(uuid, use) of a live copy."""
    node = pool.dump(name + "@live").find("domain")
    return None if node is None else (node.get("uuid"), node.get("use"))


def mark(pool, name, uuid, use):
    """As the daemon marks a live copy."""
    live = pool.vol(name + "@live")
    pool.virt.createXMLFrom(f"<volume><name>{name}@live</name><domain "
                            f"uuid='{uuid}' use='{use}'/></volume>", live, 0)


def check_import_waits(pool, interruption):
    """An import whose commit is interrupted waits for it as it did before, and
    no machine replaces it."""
    pool.create("s", content="s")
    pool.create("x", content="import")
    pool.create("a", None, lifecycle=snapshot_of("s"))
    pool.stage("x", "a")
    with interruption:
        pool.commit("a")
    pool.refresh()
    machine = str(uuid.uuid4())
    with pool.refuses(INVALID, match="imported"):
        mark(pool, "a", machine, "started")
    pool.commit("a")
    pool.refresh()
    assert pool.holds("a", "import")
    pool.start("a")
    mark(pool, "a", machine, "started")


@contextlib.contextmanager
def domains(daemon):
    """Makes domains of elements of devices, and drops them in the end."""
    made = []

    def make(devices, **options):
        made.append(Domain(daemon, "".join(devices), **options))
        return made[-1]
    yield make
    with concurrent.futures.ThreadPoolExecutor() as several:
        list(several.map(Domain.drop, made))    # each takes a second or two


class Domain:
    """A domain that does nothing."""

    def __init__(self, daemon, devices, boot="", name=None, memory=32):
        self.daemon = daemon
        self.uuid = str(uuid.uuid4())
        self.name = name or f"life-{self.uuid[:8]}"
        self.xml = XML.format(name=self.name, uuid=self.uuid, boot=boot,
                              devices=devices, memory=memory)

    def define(self):
        self.daemon.conn.defineXML(self.xml)
        return self

    def virt(self):
        return self.daemon.conn.lookupByUUIDString(self.uuid)

    def start(self):
        self.daemon.conn.createXML(self.xml, 0)
        return self

    def alive(self):
        return any(d.UUIDString() == self.uuid
                   for d in self.daemon.conn.listAllDomains(
                       libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE))

    def try_to_start(self):
        """While the daemon may go away."""
        with contextlib.suppress(libvirt.libvirtError):
            libvirt.open(self.daemon.uri).createXML(self.xml, 0)

    def try_to_start_defined(self):
        """Likewise, from where it was saved."""
        with contextlib.suppress(libvirt.libvirtError):
            libvirt.open(self.daemon.uri).lookupByUUIDString(
                self.uuid).create()

    def runs(self):
        """Whether it does, once a daemon that starts anew has connected to it,
        or given it up."""
        try:
            wait_until_connected(self.virt())
        except libvirt.libvirtError:
            return False
        return True

    def stop(self):
        self.virt().destroy()

    def kill(self):
        """End the emulator, and wait until that is seen."""
        self.kill_emulator()
        wait_for(lambda: not self.alive(), 20, "the domain is gone")

    def kill_emulator(self):
        kill_emulator(self.name)

    def drop(self):
        """Whatever is left of it."""
        with contextlib.suppress(libvirt.libvirtError):
            self.stop()
        with contextlib.suppress(libvirt.libvirtError):
            self.virt().undefineFlags(
                libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
