# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains, and the daemon itself, confined by AppArmor as on a Debian host.

The profiles are the distribution's, from the patched tree, with the paths of
this build in them.
"""

import os
import re
import shutil
import subprocess

import pytest

from domains import disk_on, domains, emulator_of
from filesystems import TOP, run
from fstrees import fill_fully, listing
from operations import BY_NAME, NAMES, SPECIAL
from pools import pattern, refused, usually, wait_for

PROFILES = "/etc/apparmor.d"
# They take all ways to the kernel that there are.
USUAL = ("commit-prune", "copy-between-pools", "delete-pinned", "grow-in-place",
         "precache", "revert", "start-volatile", "upload", "wipe")
# No thin volume is made, found or changed in these ways.
OF_FILES = ("create-preallocated", "create-nested", "create-qcow2",
            "copy-between-pools", *(o.name for o in SPECIAL))

pytestmark = [pytest.mark.usually_once, pytest.mark.timeout_seconds(300)]


def usual_of(names):
    """Which of these run usually; the others with --long."""
    return usually([n for n in NAMES if n in names and n in USUAL],
                   [n for n in NAMES if n in names and n not in USUAL],
                   pytest.mark.long)


def install(name, place, words):
    """Put one profile of the tree where the kernel's tools look for it."""
    with open(f"{words['tree']}/{name}", encoding="utf-8") as file:
        text = file.read()
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    os.makedirs(os.path.dirname(f"{PROFILES}/{place}"), exist_ok=True)
    with open(f"{PROFILES}/{place}", "w", encoding="utf-8") as file:
        file.write(text)


def override(name, *rules):
    """What the distribution leaves to the administrator."""
    path = f"{PROFILES}/local/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(rule + ",\n" for rule in rules)


def install_writer(programs, folder):
    """The program that writes profiles of domains, where the daemon looks for
    it. What a confined program starts does not find libraries by itself."""
    os.mkdir(folder)
    with open(folder + "/virt-aa-helper", "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\nLD_LIBRARY_PATH='{programs}' "
                   f"exec '{programs}/virt-aa-helper' \"$@\"\n")
    os.chmod(folder + "/virt-aa-helper", 0o755)


def install_all(programs):
    """Those of the domains, of their writer, and of the daemon."""
    version = re.search(r"subprojects/(libvirt-[^/]*)/", programs).group(1)
    words = {"tree": f"{TOP}/subprojects/{version}/src/security/apparmor",
             "libexecdir": programs, "sbindir": "/usr/sbin",
             "sysconfdir": "/etc"}
    for kind in ("qemu", "lxc"):
        override(f"abstractions/libvirt-{kind}")
        install(f"libvirt-{kind}", f"abstractions/libvirt-{kind}", words)
        install(f"TEMPLATE.{kind}", f"libvirt/TEMPLATE.{kind}", words)
    for name in ("usr.sbin.libvirtd", "usr.lib.libvirt.virt-aa-helper"):
        # Installed, they are where every profile lets programs read and run.
        override(name, f"{os.path.dirname(programs)}/** mr",
                 "/run/libvirt-revisions/libexec/* PUxr")
        install(name + ".in", name, words)
        run("apparmor_parser", "-r", f"{PROFILES}/{name}")


@pytest.fixture(scope="module", autouse=True)
def apparmor(daemon):
    """A daemon that is confined, and confines its domains."""
    if not os.path.ismount("/sys/kernel/security"):
        run("mount", "-t", "securityfs", "none", "/sys/kernel/security")
    programs = os.path.dirname(os.readlink(f"/proc/{daemon.pid}/exe"))
    install_all(programs)
    root = os.environ["LIBVIRTD_ROOT"]
    os.symlink(PROFILES, root + "/etc/apparmor.d")
    install_writer(programs, root + "/libexec")
    with open(root + "/etc/libvirt/qemu.conf", "r+", encoding="ascii") as file:
        text = file.read()
        assert 'security_driver = "none"' in text
        file.seek(0)
        file.write(text.replace('"none"', '"apparmor"'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIBVIRTD_WRAPPER", "aa-exec -p libvirtd --")
        daemon.restart()
        yield
    with open(root + "/etc/libvirt/qemu.conf", "w", encoding="ascii") as file:
        file.write(text)
    shutil.rmtree(root + "/libexec")
    os.unlink(root + "/etc/apparmor.d")
    daemon.restart()


def denials():
    """What AppArmor has refused anybody, since the kernel started."""
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True)
    return [line for line in log.stdout.split("\n")
            if 'apparmor="DENIED"' in line and 'info="' not in line]


@pytest.fixture(name="nothing_denied")
def watched():
    """Nothing is refused while the test runs."""
    before = denials()
    yield
    assert denials()[len(before):] == []


def confinement(pid):
    """The profile of a process, and how strict it is."""
    with open(f"/proc/{pid}/attr/current", encoding="ascii") as file:
        return file.read().strip("\0\n")


def rules(vm):
    """(path, what it may do with it) of all files that a domain may open."""
    with open(f"{PROFILES}/libvirt/libvirt-{vm.uuid}.files",
              encoding="utf-8") as file:
        return dict(re.findall(r'^ *"([^"]*)" (\w+),', file.read(), re.M))


@pytest.fixture
def domain(daemon, pool):
    """Makes a domain with volumes of the pool as disks, (name, read-only)."""
    with domains(daemon) as new:
        yield lambda *volumes: new(
            disk_on(pool, volume, f"vd{letter}", readonly=readonly)
            for letter, (volume, readonly) in zip("abc", volumes))


def test_daemon_is_confined(daemon):
    """Else the rest of this file shows nothing."""
    assert confinement(daemon.pid) == "libvirtd (enforce)"


@pytest.fixture
def older_profile():
    """The daemon's profile as it was before it knew of our pools."""
    path = f"{PROFILES}/usr.sbin.libvirtd"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert ", mediate_deleted)" in text
    with open(path + ".older", "w", encoding="utf-8") as file:
        file.write(text.replace(", mediate_deleted)", ")"))
    run("apparmor_parser", "-r", path + ".older")
    yield
    run("apparmor_parser", "-r", path)


def test_pool_under_an_older_profile(pools, older_profile):
    """It does not start, and the error says what the profile lacks."""
    a_pool = pools()
    with refused(match="mediate_deleted"):
        a_pool.up()
    assert os.listdir(a_pool.path) == []


def test_domain_on_a_live_copy(pool, domain, nothing_denied):
    """It may write to that, and to nothing else of the volume."""
    pool.create("a", content="one")
    vm = domain(("a@live", False)).start()
    assert confinement(emulator_of(vm.name)) == f"libvirt-{vm.uuid} (enforce)"
    live = os.path.realpath(pool.device("a@live"))
    assert rules(vm)[live] == "rwk"
    assert os.path.realpath(pool.device("a")) not in rules(vm)
    pool.write("a@live", pattern("two"))
    vm.stop()
    assert pool.holds("a", "two") and not pool.dirty("a")


def test_domain_on_a_head_and_a_revision(pool, domain, nothing_denied):
    """The revision it may only read."""
    pool.create("a", content="one")
    pool.cycle("a", "two")
    revision = f"a@{pool.revisions('a')[0]}"
    vm = domain(("a", False), (revision, True)).start()
    assert rules(vm)[os.path.realpath(pool.device("a"))] == "rwk"
    assert "w" not in rules(vm)[os.path.realpath(pool.device(revision))]


def test_hot_plug(pool, domain, nothing_denied):
    """A live copy that joins a domain later."""
    pool.create("a", content="one")
    pool.create("b", content="two")
    pool.start("b")
    vm = domain(("a", False)).start()
    live = os.path.realpath(pool.device("b@live"))
    vm.virt().attachDevice(disk_on(pool, "b@live", "sda", bus="usb"))
    assert rules(vm)[live] == "rwk"


def run_operation(pool, name):
    BY_NAME[name].prepare(pool)
    BY_NAME[name].run(pool)


@pytest.mark.parametrize("name", usual_of(set(NAMES) - set(OF_FILES)))
def test_operation_of_a_confined_daemon(pool, name, nothing_denied):
    """Every operation, with all that it does to files and devices."""
    run_operation(pool, name)


@pytest.mark.parametrize("name", usual_of(OF_FILES))
def test_operation_on_files_of_a_confined_daemon(pool, name, nothing_denied):
    """The same, of those that only files have."""
    run_operation(pool, name)


def test_tree_of_a_confined_daemon(fspool, nothing_denied):
    """A copy has all that a tree can have: owners, devices, capabilities."""
    fspool.create("a", content="one")
    fill_fully(fspool.device("a"), "two")
    fspool.clone("a", "b")
    assert listing(fspool.device("b")) == listing(fspool.device("a"))
    fspool.cycle("b", "three")
    fspool.revert("b", fspool.revisions("b")[0])
    assert listing(fspool.device("b")) == listing(fspool.device("a"))
    fspool.delete("a")
    wait_for(lambda: fspool.files.at_rest() == [], 20, "the tree is removed")
