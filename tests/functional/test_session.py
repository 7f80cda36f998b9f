# SPDX-License-Identifier: LGPL-2.1-or-later
"""An unprivileged daemon: metadata in user. attributes (section 5)."""

import os
import pwd
import subprocess

import pytest

from filesystems import TOP

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.mark.parametrize("what", ["cycle", "attributes", "owner", "forbidden",
                                  "foreign", "restart"])
def test_session_mode(filesystem, what):
    """Session mode works with user. attributes (section 5)."""
    user = pwd.getpwnam("nobody")
    parent = f"{filesystem}/session-{what}"
    os.makedirs(parent, exist_ok=True)
    os.chown(parent, user.pw_uid, user.pw_gid)
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("LIBVIRTD_", "LIBVIRT_DEFAULT"))}
    if "LIBVIRTD_BUILD" in os.environ:
        env["LIBVIRTD_BUILD"] = os.environ["LIBVIRTD_BUILD"]
    done = subprocess.run(
        [TOP + "/scripts/with-libvirtd", "--session", "/usr/bin/python3",
         HERE + "/session_client.py", what, parent + "/pool"],
        env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.strip().endswith("done")
