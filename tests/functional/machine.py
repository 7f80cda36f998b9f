# SPDX-License-Identifier: LGPL-2.1-or-later
"""Virtual machines that boot a kernel and run one script.

The kernel is that of scripts/with-guest; all that the machine has is in its
initramfs: busybox, the kernel modules that it needs, and the script.
"""

import glob
import os
import re
import shutil
import subprocess

from domains import wait_until_connected
from filesystems import TOP, run
from pools import wait_for

KERNEL = os.path.join(TOP, "subprojects", "guest", "kernel")
# For what is plugged in while it runs.
PORTS = ("<controller type='pci' index='0' model='pcie-root'/>"
         + "<controller type='pci' model='pcie-root-port'/>" * 6)
OPTIONS = "console=ttyS0 quiet panic=-1 nokaslr mitigations=off tsc=reliable"
INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod /modules/$module; done </modules/order
echo begin
{script}
echo "end $?"
poweroff -f
"""
XML = """\
<domain type='qemu'><name>{name}</name><memory unit='MiB'>192</memory>
<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
<vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type>
<kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>{options}</cmdline>
</os><cpu mode='custom'><model>Nehalem</model></cpu>
<features><acpi/></features><on_poweroff>destroy</on_poweroff>
<devices>{ports}{devices}<serial type='file'><source path='{console}'/></serial>
<memballoon model='none'/></devices></domain>
"""


def needed(modules):
    """The files of kernel modules, each after those that it needs."""
    release = os.listdir(KERNEL + "/lib/modules")[0]
    found = []
    for name in modules:
        out = run("modprobe", "-d", KERNEL, "-S", release, "--show-depends",
                  name).stdout
        found += re.findall(r"^insmod (\S+)", out, re.M)
    return list(dict.fromkeys(found))


def initramfs(path, script, modules):
    """Pack what such a machine has."""
    tree = path + ".tree"
    for name in ("bin", "modules"):
        os.makedirs(f"{tree}/{name}")
    shutil.copy(shutil.which("busybox", path="/bin:/usr/bin"), tree + "/bin")
    with open(tree + "/modules/order", "w", encoding="ascii") as order:
        for file in needed(modules):
            shutil.copy(file, tree + "/modules")
            order.write(os.path.basename(file) + "\n")
    with open(tree + "/init", "w", encoding="utf-8") as file:
        file.write(INIT.format(script=script))
    os.chmod(tree + "/init", 0o755)
    subprocess.run(f"cd '{tree}' && find . | cpio --quiet -o -H newc >'{path}'",
                   shell=True, check=True)
    shutil.rmtree(tree)
    return path


class Machine:
    """A transient or persistent domain with such a script."""

    def __init__(self, daemon, folder, name, script, devices,
                 modules=("virtio_pci",)):
        self.daemon, self.name = daemon, name
        self.console = f"{folder}/{name}.console"
        self.initrd = initramfs(f"{folder}/{name}.initrd", script, modules)
        self.xml = XML.format(
            name=name, kernel=sorted(glob.glob(KERNEL + "/boot/vmlinu*"))[0],
            initrd=self.initrd, options=OPTIONS, ports=PORTS, devices=devices,
            console=self.console)

    def start(self):
        """Boot; the domain goes when the script has ended."""
        with open(self.console, "wb"):
            pass
        return self.daemon.conn.createXML(self.xml, 0)

    def output(self):
        with open(self.console, encoding="utf-8", errors="replace") as file:
            return file.read().replace("\r", "")

    def run(self, seconds=120):
        """Boot, and wait for the end; what the script printed."""
        domain = self.start()
        try:
            wait_for(lambda: not self.alive(), seconds, "the machine is off")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from error
        finally:
            if self.alive():
                domain.destroy()
        out = self.output()
        assert "begin\n" in out and "end 0\n" in out, out
        return out.split("begin\n")[1].split("end 0\n")[0]

    def destroy(self):
        """As a user does, once a daemon that starts anew has connected."""
        domain = self.daemon.conn.lookupByName(self.name)
        wait_until_connected(domain)
        domain.destroy()

    def alive(self):
        """Whether the domain runs."""
        return any(d.name() == self.name
                   for d in self.daemon.conn.listAllDomains())
