# SPDX-License-Identifier: LGPL-2.1-or-later
"""States in which a crash leaves a pool, and what must hold in them.

The file system of a Rig lies in an image on an XFS of its own, so that one
ioctl copies it whole at any moment. The stepper (stepper.c) stops the daemon
before each system call that changes the pool and makes such a copy: every
state that a kill or a loss of power could leave is then mounted and checked.
"""

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import time

import libvirt

from filesystems import MIB
from pools import wait_for
from reflinkpool import ReflinkPool

FICLONE = 0x40049409
MOST_STEPS = 400
HERE = os.path.dirname(os.path.abspath(__file__))


def clone_file(source, target):
    """Copy an image in one step."""
    with open(source, "rb") as old, open(target, "wb") as new:
        fcntl.ioctl(new.fileno(), FICLONE, old.fileno())


def digest(path):
    """A digest of a sparse file's data and where it lies."""
    total = hashlib.blake2b()
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        at = 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            stop = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            data = file.read(stop - at)
            if any(data):
                total.update(b"%d " % at)
                total.update(data)
            at = stop
    return total.digest()


def build_stepper(folder):
    """Compile stepper.c; returns the program's path."""
    program = os.path.join(folder, "stepper")
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", program,
                    os.path.join(HERE, "stepper.c")], check=True)
    return program


class Stepper:
    """The stepper on the daemon, while some operation runs."""

    def __init__(self, rig, *options):
        self.rig = rig
        self.report = os.path.join(rig.store, "report")
        self.process = subprocess.Popen(
            [rig.stepper, "-p", str(rig.daemon.pid), "-d", rig.where,
             "-r", self.report, *options], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *exc):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0
        self.process.stdout.close()

    def steps(self):
        """The steps so far, as lines of text."""
        with open(self.report, encoding="utf-8", errors="replace") as file:
            return [" ".join(line.split()[2:]) for line in file]

    def settle(self, quiet=0.3):
        """Wait until work in the background makes no more steps."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < quiet:
            now = len(self.steps())
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.02)


class Rig:
    """One kind of file system with a pool in it."""

    SIZE = 320 * MIB

    def __init__(self, workspace, daemon, kind, stepper):
        self.workspace, self.daemon, self.kind = workspace, daemon, kind
        self.stepper = stepper
        image = workspace.image(f"store-{kind}.img", "xfs", 16 << 30)
        self.store = workspace.mount(image)
        self.where = os.path.join(workspace.path, f"rig-{kind}")
        self.work, self.last, self.loads = None, None, 0
        self.blank = workspace.image(f"{os.path.basename(self.store)}/blank",
                                     kind, self.SIZE)
        self.mounted = False
        self.saved = {}

    def pool(self):
        """The pool in the mounted file system, not started."""
        pool = ReflinkPool(self.daemon, None, name=f"rig-{self.kind}",
                           path=os.path.join(self.where, "p"), keep=2,
                           required="no" if self.kind == "ext4" else None)
        pool.define()
        return pool

    def load(self, image):
        """Mount a copy of an image, with its pool running."""
        pool = self.load_stopped(image)
        pool.virt.create(0)
        return pool

    def load_stopped(self, image):
        """Mount a copy of an image, its pool not started."""
        self.unload()
        # After a crash there is a new daemon, without work from before.
        self.daemon.restart()
        # A name of its own: the kernel may still be closing the last one.
        self.loads += 1
        self.work = os.path.join(self.store, f"work-{self.loads}")
        clone_file(image, self.work)
        options = "noatime,nouuid" if self.kind == "xfs" else "noatime"
        self.workspace.mount(self.work, self.where, options)
        self.mounted = True
        pool = self.pool()
        if not os.path.isdir(pool.path):
            pool.virt.build(0)
        return pool

    def load_killed(self, image, step):
        """Start the pool of an image, killed at that step, and again.

        None if the start does not have so many steps.
        """
        pool = self.load_stopped(image)
        if len(run_killed(self, step, lambda: pool.virt.create(0))) < step:
            return None
        self.daemon.wait_dead()
        self.daemon.restart()
        return pool.begin()

    def unload(self):
        """Stop the pool and unmount."""
        if not self.mounted:
            return
        self.daemon.ensure()
        virt = self.pool().virt
        if virt.isActive():
            wait_for(lambda: self._stop(virt), what="pool stopped")
        assert self.workspace.umount(self.where), "busy: a file is left open"
        self.mounted = False
        if self.last:
            os.unlink(self.last)
        self.last = self.work

    @staticmethod
    def _stop(virt):
        try:
            virt.destroy()
            return True
        except libvirt.libvirtError as error:
            # A job in the background is no reason to give up.
            assert "asynchronous" in error.get_error_message(), error
            return False

    def prepared(self, operation):
        """The image before an operation, and the view of it."""
        if operation.name not in self.saved:
            pool = self.load(self.blank)
            operation.prepare(pool)
            time.sleep(0.2)
            before = view(pool)
            self.unload()
            image = os.path.join(self.store, "prepared-" + operation.name)
            clone_file(self.last, image)
            self.saved[operation.name] = image, before
        return self.saved[operation.name]

    def copy_now(self, name):
        """A copy of the image as a loss of power would leave it now."""
        path = os.path.join(self.store, name)
        clone_file(self.work, path)
        return path

    def collect(self, operation, power):
        """Run it step by step; (before, after, final image, [images])."""
        image, before = self.prepared(operation)
        pool = self.load(image)
        folder = os.path.join(self.store, "states")
        os.makedirs(folder, exist_ok=True)
        options = ["-i", self.work, "-o", folder] + ["-s"] * (not power)
        subprocess.run(["sync", "-f", self.where], check=True)
        with Stepper(self, *options) as stepper:
            operation.run(pool)
            final = self.copy_now("final")
            stepper.settle()
            steps = stepper.steps()
        after = view(pool)
        self.unload()
        images = [os.path.join(folder, name)
                  for name in sorted(os.listdir(folder))]
        return before, after, final, list(zip(images, steps))

    def close(self):
        """Unmount; the workspace removes the rest."""
        self.unload()
        try:
            self.pool().virt.undefine()
        except libvirt.libvirtError:
            pass


def distinct(images):
    """Drop the images that equal the one before them, and their files."""
    last = None
    for path, step in images:
        now = digest(path)
        if now != last:
            yield path, step
        os.unlink(path)
        last = now


def view(pool):
    """All that a client can see of a pool's volumes."""
    seen = {}
    for name in pool.names():
        data = hashlib.sha256(pool.read(name)).hexdigest()[:12]
        dump = pool.dump(name)
        seen[name] = (pool.size(name), data,
                      dump.find("target/format").get("type"))
        if "@" not in name:
            life, keep = dump.find("lifecycle"), dump.find("revisions")
            seen[name + " facts"] = (
                pool.state(name),
                tuple(sorted(life.attrib.items())) if life is not None else (),
                keep.get("keep") if keep is not None else None)
    return seen


def differences(seen, wanted):
    """A short text of what differs."""
    return {k: (seen.get(k), wanted.get(k))
            for k in sorted(set(seen) | set(wanted))
            if seen.get(k) != wanted.get(k)}


def check(pool, operation, before, after, step, use=True):
    """What must hold after a crash, once the pool was started."""
    seen = view(pool)
    where = f"{operation.name}: before {step}"
    assert operation.accepts(seen, before, after), (
        f"{where}: neither old {differences(seen, before)} "
        f"nor new {differences(seen, after)}; files {pool.files.all()}")
    left = pool.files.at_rest()
    assert left == [], f"{where}: {left}"
    if use:
        operation.use(pool)
    return seen


def result_of(rig, operation):
    """The views before and after an undisturbed run."""
    image, before = rig.prepared(operation)
    pool = rig.load(image)
    with Stepper(rig) as stepper:
        operation.run(pool)
        stepper.settle()
    return image, before, view(pool)


def check_images(rig, operation, images, before, after):
    """Mount every distinct state and check it; the failures."""
    failures = []
    for path, step in distinct(images):
        try:
            check(rig.load(path), operation, before, after, step)
        except (AssertionError, OSError, libvirt.libvirtError) as error:
            failures.append(f"before {step}: {error}")
            rig.daemon.ensure()
    rig.unload()
    return failures


def run_killed(rig, step, run):
    """Run something with the daemon killed at that step, which may be one of
    work in the background; the steps that there were.

    The daemon lives on if they are fewer.
    """
    with Stepper(rig, "-k", str(step)) as stepper:
        with contextlib.suppress(libvirt.libvirtError):
            run()
        if len(stepper.steps()) < step:
            stepper.settle()
    # Not before: until the stepper is gone, one more step can kill.
    return stepper.steps()


def killed_at(rig, pool, operation, step):
    """Run it and kill the daemon at that step; what the step was, or None.

    Then there is a new daemon with the pool running.
    """
    steps = run_killed(rig, step, lambda: operation.run(pool))
    if len(steps) < step:
        return None
    rig.daemon.wait_dead()
    rig.daemon.restart()
    pool.begin()
    return steps[step - 1]


def killed_everywhere(rig, operation):
    """Kill the daemon at each step in turn, and check what it leaves; how
    many steps there were and one more, and the failures."""
    image, before, after = result_of(rig, operation)
    failures, step = [], 1
    for step in range(1, MOST_STEPS):
        pool = rig.load(image)
        at = killed_at(rig, pool, operation, step)
        if at is None:
            break
        try:
            check(pool, operation, before, after, at)
        except (AssertionError, OSError, libvirt.libvirtError) as error:
            failures.append(f"step {step}: {error}")
            rig.daemon.ensure()
    rig.unload()
    return step, failures
