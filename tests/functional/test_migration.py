# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains that go from one daemon to another, on storage that both have."""

import contextlib
import os
import pathlib
import subprocess
import threading

import libvirt
import pytest

from daemon import apart
from domains import Domain, disk_on
from filesystems import TOP
from pools import pattern, refused, wait_for

pytestmark = pytest.mark.usually_once


@pytest.fixture
def other():
    """A connection to another host's daemon; the host is this one as well."""
    with subprocess.Popen(
            [f"{TOP}/scripts/with-libvirtd", "--build", os.environ["LIBVIRTD_BUILD"], "sh", "-c",
             "echo $LIBVIRT_DEFAULT_URI; echo $LIBVIRTD_LOG; cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        conn = libvirt.open(process.stdout.readline().strip())
        conn.log = pathlib.Path(process.stdout.readline().strip())
        yield conn
        for virt in conn.listAllDomains():
            virt.destroy()
        for virt in conn.listAllStoragePools():
            with contextlib.suppress(libvirt.libvirtError):
                virt.destroy()
        conn.close()
        process.stdin.close()


@pytest.fixture
def there(other, pool):
    """The same pool, at the other daemon."""
    return other.storagePoolCreateXML(pool.xml(), 0)


@pytest.fixture
def vm(daemon, pool):
    """A domain that runs here, on a live copy that was written to."""
    pool.create("a", content="one")
    a_domain = Domain(daemon, disk_on(pool, "a@live")).start()
    pool.write("a@live", pattern("two"))
    yield a_domain
    a_domain.drop()


def migrate(domain, other, **limits):
    """Live, as virsh migrate --unsafe does: libvirt takes no file system of
    one host for one of two."""
    return domain.migrate3(
        other, {libvirt.VIR_MIGRATE_PARAM_URI: "tcp://127.0.0.1", **limits},
        libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_UNSAFE)


def test_live_copy_goes_with_the_domain(pool, vm, other, there):
    """It is kept here, and committed where the domain ends."""
    there.refresh(0)
    moved = migrate(vm.virt(), other)
    assert not vm.alive()
    pool.refresh()
    assert pool.dirty("a") and pool.holds("a@live", "two")
    moved.destroy()
    pool.refresh()
    assert not pool.dirty("a") and pool.holds("a", "two")
    assert pool.holds(f"a@{pool.revisions('a')[0]}", "one")


def test_domain_comes_back(pool, vm, other, there, daemon):
    """And ends where it began."""
    there.refresh(0)
    migrate(migrate(vm.virt(), other), daemon.conn).destroy()
    pool.refresh()
    assert not pool.dirty("a") and pool.holds("a", "two")


def test_migration_that_fails_changes_nothing(pool, vm, other):
    """The other host does not have the pool: the domain goes on here."""
    with refused():
        migrate(vm.virt(), other)
    assert vm.alive() and pool.dirty("a")
    vm.stop()
    assert not pool.dirty("a") and pool.holds("a", "two")


@pytest.fixture
def large(daemon, pool):
    """A domain with so much memory that it takes a while to go."""
    pool.create("a", content="one")
    a_domain = Domain(daemon, disk_on(pool, "a@live"), memory=8192).start()
    pool.write("a@live", pattern("two"))
    yield a_domain
    a_domain.drop()


def test_migration_that_ends_there_changes_nothing(pool, large, other, there):
    """It still runs here: the other host touches none of its live copies,
    though it has them, and is told of another reason than a failed start."""
    there.refresh(0)

    def try_to_migrate():
        with refused():
            migrate(large.virt(), other,
                    **{libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: 1})    # MiB/s
    thread = threading.Thread(target=try_to_migrate)
    thread.start()
    with apart(large) as watched:
        wait_for(lambda: watched.virt().jobStats().get("data_processed"), 20,
                 "the memory is on its way")
    other.lookupByUUIDString(large.uuid).destroy()
    thread.join()
    assert large.alive() and pool.dirty("a") and pool.holds("a@live", "two")
    assert "live copy" not in other.log.read_text(encoding="utf-8")
    large.stop()
    assert not pool.dirty("a") and pool.holds("a", "two")
