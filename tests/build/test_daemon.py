# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/with-libvirtd: a daemon for one command, and nothing else touched."""

import glob
import os
import signal
import subprocess
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = f"{TOP}/scripts/with-libvirtd"
HOST = ("/etc/libvirt", "/run/libvirt", "/var/lib/libvirt", "/var/cache/libvirt",
        "/var/log/libvirt", "/run/libvirt-revisions")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def run(script, *options, check=True, **environment):
    """A shell script beside a daemon; its output and status."""
    env = dict(os.environ, **environment)
    for name in ("LIBVIRT_DEFAULT_URI", "LIBVIRTD_PID_FILE"):
        env.pop(name, None)
    done = subprocess.run([TOOL, *options, "sh", "-c", "set -e\n" + script], env=env,
                          capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip(), done.returncode


def snapshot():
    """Names and times of everything that is the host's libvirt's."""
    found = {}
    for top in HOST:
        for folder, _, files in os.walk(top):
            for name in ["."] + files:
                path = os.path.join(folder, name)
                found[path] = os.lstat(path).st_mtime_ns
    return found


def test_status_of_the_command_is_passed_on():
    assert run("exit 7", check=False)[1] == 7
    assert run("kill -KILL $$", check=False)[1] == 128 + signal.SIGKILL


def test_all_clients_reach_the_daemon():
    out, _ = run("""
        virsh uri; /usr/bin/virsh uri
        python3 -c 'import libvirt; print(libvirt.open().getURI())'
        echo $LIBVIRT_DEFAULT_URI; command -v virsh; command -v python3""")
    *uris, virsh, python = out.split()
    assert len(set(uris)) == 1 and len(uris) == 4
    assert virsh != "/usr/bin/virsh" and python.endswith("/bin/python3")


def test_clients_get_no_library_path():
    assert run('echo "${LD_LIBRARY_PATH:-none}"', LD_LIBRARY_PATH="")[0] == "none"


def test_host_is_not_touched_and_nothing_stays():
    os.makedirs("/run/libvirt-revisions", exist_ok=True)
    before = snapshot()
    out, _ = run("""
        mkdir $LIBVIRTD_ROOT/p
        virsh -q pool-define-as p dir --target $LIBVIRTD_ROOT/p
        virsh -q pool-autostart p; virsh -q pool-start p
        echo; echo $LIBVIRTD_ROOT; cat $LIBVIRTD_PID_FILE""")
    root, pid = out.split("\n")[-2:]
    assert snapshot() == before
    assert not os.path.exists(root) and not os.path.exists(f"/proc/{pid}")


def test_two_daemons_know_nothing_of_each_other():
    out, _ = run(f"""
        virsh -q pool-define-as outer dir --target /var/tmp >/dev/null
        {TOOL} sh -c 'virsh -q pool-define-as inner dir --target /tmp >/dev/null
                      virsh -q pool-list --all --name'
        virsh -q pool-list --all --name""")
    assert out.split() == ["inner", "outer"]


def test_restart_kills_and_keeps_state():
    out, _ = run("""
        cat $LIBVIRTD_PID_FILE; echo
        virsh -q pool-define-as p dir --target /var/tmp >/dev/null
        $LIBVIRTD_RESTART
        cat $LIBVIRTD_PID_FILE; echo
        virsh -q pool-list --all --name""")
    first, second, pool = out.split()
    assert first != second and pool == "p"


def test_stop_kill_and_start():
    out, _ = run("""
        for how in stop kill; do
            $LIBVIRTD_RESTART $how
            if virsh -q uri 2>/dev/null; then exit 1; fi
            $LIBVIRTD_RESTART start
            $LIBVIRTD_RESTART start
            virsh -q uri
        done""")
    assert len(out.split()) == 2


def test_restart_that_fails_says_so():
    out, _ = run("""
        $LIBVIRTD_RESTART kill
        echo nonsense >>$LIBVIRTD_ROOT/etc/libvirt/libvirtd.conf
        if $LIBVIRTD_RESTART 2>&1; then exit 1; fi""")
    assert "libvirtd ended with status" in out


def test_wrapper_comes_before_the_daemon():
    out, _ = run("""
        LIBVIRTD_WRAPPER="env FROM_WRAPPER=yes" $LIBVIRTD_RESTART
        tr '\\0' '\\n' </proc/$(cat $LIBVIRTD_PID_FILE)/environ | grep FROM_WRAPPER
        $LIBVIRTD_RESTART
        tr '\\0' '\\n' </proc/$(cat $LIBVIRTD_PID_FILE)/environ | grep -c FROM_WRAPPER || :
        """)
    assert out.split() == ["FROM_WRAPPER=yes", "0"]


def test_daemon_sees_what_the_command_mounts(tmp_path):
    """Also a daemon of another with-libvirtd inside."""
    place = tmp_path / "mount"
    place.mkdir()
    out, _ = run(f"""
        mount -t tmpfs none {place}; touch {place}/seen
        virsh -q pool-define-as p dir --target {place} >/dev/null
        virsh -q pool-start p >/dev/null; virsh -q vol-list p | cut -d' ' -f2
        virsh -q pool-destroy p >/dev/null
        umount {place}
        {TOOL} sh -c 'touch {tmp_path}/ready
            until [ -e {tmp_path}/go ]; do sleep 0.02; done
            virsh -q pool-define-as p dir --target {place} >/dev/null
            virsh -q pool-start p >/dev/null; virsh -q vol-list p | cut -d" " -f2' &
        until [ -e {tmp_path}/ready ]; do sleep 0.02; done
        mount -t tmpfs none {place}; touch {place}/seen-too; touch {tmp_path}/go
        wait""")
    assert out.split() == ["seen", "seen-too"]
    assert not os.listdir(place)


def test_session_daemon_is_the_users_and_answers_root():
    out, _ = run("""
        stat -c %U /proc/$(cat $LIBVIRTD_PID_FILE); echo $LIBVIRTD_USER
        virsh -q uri; /usr/bin/virsh -q uri; $LIBVIRTD_RESTART
        stat -c %U /proc/$(cat $LIBVIRTD_PID_FILE)""", "--session")
    owner, user, one, two, later = out.split()
    assert owner == user == later == "nobody"
    assert one == two and one.startswith("qemu+unix:///session")


def test_root_folder_is_kept_and_used_again(tmp_path):
    place = tmp_path / "root"
    run("virsh -q pool-define-as p dir --target /var/tmp", "--root", place)
    assert run("virsh -q pool-list --all --name", "--root", place)[0] == "p"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_everything(number):
    with subprocess.Popen([TOOL, "sh", "-c", "cat $LIBVIRTD_PID_FILE; echo; "
                           "echo $LIBVIRTD_ROOT; exec sleep 1000"],
                          stdout=subprocess.PIPE, text=True) as process:
        pid, root = process.stdout.readline().strip(), process.stdout.readline().strip()
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    assert not os.path.exists(f"/proc/{pid}") and not os.path.exists(root)


def test_daemon_dies_with_a_killed_with_libvirtd(tmp_path):
    with subprocess.Popen([TOOL, "--root", tmp_path / "root", "sh", "-c",
                           "cat $LIBVIRTD_PID_FILE; echo; exec sleep 1000"],
                          stdout=subprocess.PIPE, text=True) as process:
        pid = process.stdout.readline().strip()
        command = [c for c in glob.glob(f"/proc/{process.pid}/task/*/children")
                   for c in open(c, encoding="ascii").read().split() if c != pid]
        process.kill()
        process.wait()
        for child in command:
            os.kill(int(child), signal.SIGKILL)
    for _ in range(100):
        # Nobody may have collected it: then its command line is empty.
        if not os.path.exists(f"/proc/{pid}") or \
                not open(f"/proc/{pid}/cmdline", encoding="ascii").read():
            return
        time.sleep(0.05)
    pytest.fail("libvirtd is still there")


def test_starts_and_ends_within_two_seconds():
    run("true")
    began = time.monotonic()
    run("true")
    assert time.monotonic() - began < 2


def test_no_build_directory_is_a_clear_error(tmp_path):
    done = subprocess.run([TOOL, "--build", tmp_path, "true"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1 and "scripts/setup" in done.stderr
