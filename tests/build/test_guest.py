# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/with-guest: one command under another kernel, and nothing else changed.

To start a guest takes some seconds: most tests look at what one command saw.
"""

import glob
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = f"{TOP}/scripts/with-guest"
MIB = 1024 * 1024
GIB = 1024 * MIB
WORDS = ["two words", "it's", "a\nline", '"$HOME" \\', "", "*", "\u00e6"]
VALUE = "a b\n'c' \"$d\" = "

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# Runs in the guest. The first word is a folder of the host's.
INSIDE = """
import json, os, subprocess, sys
kept, *words = sys.argv[1:]
results, disks = os.environ["GUEST_RESULTS"], os.environ["GUEST_DISKS"].split()

def size(path):
    with open(path, "rb") as f:
        return f.seek(0, os.SEEK_END)

def blank(path):
    with open(path, "rb") as f:
        return not any(f.read(1024 * 1024))

def sector(path):
    with open(f"/sys/block/{os.path.basename(path)}/queue/logical_block_size") as f:
        return int(f.read())

seen = {"words": words, "value": os.environ["VALUE"], "cwd": os.getcwd(),
        "outer": os.environ.get("LIBVIRT_DEFAULT_URI"),
        "kernel": os.uname().release, "host": os.uname().nodename,
        "disks": [[size(d), sector(d), blank(d)] for d in disks],
        "tmp": os.listdir("/tmp"), "network": os.listdir("/sys/class/net"),
        "kept": open(kept + "/file").read(), "shadow": size("/etc/shadow")}
for folder in (os.getcwd(), "/etc", kept, "/tmp"):
    open(folder + "/made-in-the-guest", "w").close()
os.unlink(kept + "/file")
open(results + "/file", "w").write("from the guest")

done = subprocess.run(["sh", "-ec", '''
    pvcreate -q $GUEST_DISKS
    vgcreate -q vg $GUEST_DISKS
    lvcreate -q --type thin-pool -L 64M -n pool vg
    lvcreate -q -V 1G -T vg/pool -n thin
    dd if=/dev/urandom of=/dev/vg/thin bs=1M count=3 conv=fsync
    lvcreate -q -s -kn -n copy vg/thin
    cmp -n 3145728 /dev/vg/thin /dev/vg/copy
    ''' ], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
seen["lvm"] = [done.returncode, done.stdout.decode()]
seen["status"] = subprocess.run(["dmsetup", "status", "vg-pool-tpool"],
                                stdout=subprocess.PIPE).stdout.decode().split()
with open(results + "/seen", "w") as f:
    json.dump(seen, f)
sys.exit(7)
"""


def run(*words, **options):
    return subprocess.run([TOOL, *words], capture_output=True, check=False, **options)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What one command saw, and what the host got."""
    folder = tmp_path_factory.mktemp("guest")
    kept, results = folder / "kept", folder / "results"
    kept.mkdir()
    (kept / "file").write_text("from the host")
    env = dict(os.environ, VALUE=VALUE, LIBVIRT_DEFAULT_URI="test:///default")
    done = run("--disk", "300M", "--disk", "4G", "--keep", kept, "--results", results,
               "/usr/bin/python3", "-c", INSIDE, kept, *WORDS,
               env=env, cwd=f"{TOP}/tests")
    assert (results / "seen").exists(), done.stdout + done.stderr
    found = json.loads((results / "seen").read_text())
    found.update(exit=done.returncode, folder=folder,
                 result=(results / "file").read_text())
    return found


def test_status_of_the_command_is_passed_on(seen):
    assert seen["exit"] == 7


def test_words_environment_and_folder_are_as_outside(seen):
    assert seen["words"] == WORDS
    assert seen["value"] == VALUE
    assert seen["cwd"] == f"{TOP}/tests"


def test_an_outer_daemon_is_not_meant(seen):
    assert seen["outer"] is None


def test_kernel_is_the_fetched_one(seen):
    releases = os.listdir(f"{TOP}/subprojects/guest/kernel/lib/modules")
    assert releases == [seen["kernel"]]
    assert seen["host"] == "guest"


def test_all_files_can_be_read(seen):
    assert seen["shadow"] == os.stat("/etc/shadow").st_size
    assert seen["kept"] == "from the host"


def test_host_is_not_changed(seen):
    kept = seen["folder"] / "kept"
    assert os.listdir(kept) == ["file"]
    for folder in (f"{TOP}/tests", "/etc", "/tmp"):
        assert not os.path.exists(f"{folder}/made-in-the-guest")


def test_result_comes_back(seen):
    assert seen["result"] == "from the guest"


def test_tmp_is_its_own_and_there_is_no_network(seen):
    hidden = {str(seen["folder"]).split("/")[2], TOP.split("/")[2]}
    assert set(seen["tmp"]) <= hidden
    assert seen["network"] == ["lo"]


def test_disks_are_blank_and_in_order(seen):
    assert seen["disks"] == [[300 * MIB, 512, True], [4 * GIB, 512, True]]


def test_thin_pool_on_them(seen):
    """udev makes /dev/VG/LV, and the kernel counts blocks."""
    status, text = seen["lvm"]
    assert status == 0, text
    assert seen["status"][2] == "thin-pool" and seen["status"][5] == "48/1024"


def test_output_is_complete_and_a_signal_is_a_status():
    """On standard output, whichever it was; and no process keeps the guest."""
    done = run("sh", "-c", """
        sleep 1000 & seq 180000; echo error >&2; printf 'no newline'; kill -KILL $$""")
    expected = "".join(f"{n}\n" for n in range(1, 180001)) + "error\nno newline"
    assert len(expected) > MIB
    assert done.stdout.decode() == expected
    assert done.returncode == 128 + signal.SIGKILL
    assert done.stderr == b""


def test_sectors_and_console(tmp_path):
    """And what a command prints that is not there."""
    done = run("--disk", "64M:4096", "--console", tmp_path / "console", "--", "sh", "-c",
               "echo marker >/dev/kmsg; blockdev --getss $GUEST_DISKS; exec no-such-command")
    assert done.stdout.split()[0] == b"4096" and b"no-such-command" in done.stdout
    assert done.returncode == 127
    assert "marker" in (tmp_path / "console").read_text()


def test_hang_ends_with_what_the_kernel_said():
    began = time.monotonic()
    done = run("--timeout", "12", "sh", "-c", "echo '<1>last words' >/dev/kmsg; sleep 1000")
    assert done.returncode == 124
    assert b"did not end within 12 seconds" in done.stderr
    assert b"console: " in done.stderr
    assert time.monotonic() - began < 30


def test_failure_of_the_kernel_is_told():
    done = run("sh", "-c", "echo before; sleep 2; echo c >/proc/sysrq-trigger; sleep 1000")
    assert done.stdout == b"before\n"
    assert done.returncode == 125
    assert b"the guest's kernel failed: sysrq triggered crash" in done.stderr


def test_reboot_is_no_success():
    done = run("sh", "-c", "echo b >/proc/sysrq-trigger; sleep 1000")
    assert done.returncode == 125
    assert b"ended before the command did" in done.stderr


def children(pid):
    return [int(c) for task in glob.glob(f"/proc/{pid}/task/*/children")
            for c in open(task, encoding="ascii").read().split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signal_ends_the_guest(number, tmp_path):
    with subprocess.Popen([TOOL, "--disk", "1G", "sh", "-c", "echo ready; sleep 1000"],
                          stdout=subprocess.PIPE, env=dict(os.environ, TMPDIR=str(tmp_path)),
                          text=True) as process:
        assert process.stdout.readline() == "ready\n"
        qemu, = children(process.pid)
        process.send_signal(number)
        assert process.wait(30) == (128 + number if number == signal.SIGTERM else -number)
    for _ in range(100):
        # Nobody may have collected it: then its command line is empty.
        if not os.path.exists(f"/proc/{qemu}") or \
                not open(f"/proc/{qemu}/cmdline", encoding="ascii").read():
            break
        time.sleep(0.05)
    else:
        pytest.fail("the emulator is still there")
    if number == signal.SIGTERM:
        assert not os.listdir(tmp_path)


def test_wrong_use_is_a_clear_error(tmp_path):
    for words, text in ((["--disk", "much", "true"], b"much"),
                        (["--keep", tmp_path / "none", "true"], b"none is no folder"),
                        ([], b"no COMMAND")):
        done = run(*words)
        assert done.returncode in (2, 125) and text in done.stderr
        assert b"Traceback" not in done.stderr


def test_no_kernel_is_a_clear_error(tmp_path):
    (tmp_path / "scripts").mkdir()
    for name in ("with-guest", "guest-init"):
        shutil.copy(f"{TOP}/scripts/{name}", tmp_path / "scripts")
    done = subprocess.run([tmp_path / "scripts" / "with-guest", "true"],
                          capture_output=True, check=False)
    assert done.returncode == 125 and b"scripts/setup" in done.stderr


def test_fetch_does_nothing_twice():
    kernel = f"{TOP}/subprojects/guest/kernel"
    before = os.stat(kernel)
    done = run("--fetch", timeout=10)
    assert done.returncode == 0 and os.stat(kernel) == before
