#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run a command on a live copy of a volume, then commit or discard what it did.

    start_commit.py POOL VOLUME COMMAND...

The command finds the live copy's path in $DISK. If it succeeds, what it wrote
becomes the volume, and the state before becomes a revision. If it fails,
nothing has happened. The unmodified libvirt-python of the distribution is all
that this needs:

    start_commit.py vms work-root qemu-io -f raw -c 'write 0 4k' '$DISK'
"""

import os
import subprocess
import sys
from xml.sax.saxutils import escape

import libvirt


def create_from(pool, name, source):
    """Create volume NAME from SOURCE; what that means depends on the two names.

    The document is what `virsh vol-clone` sends as well: the source's own, under
    another name. Its sizes play no part.
    """
    return pool.createXMLFrom(f"<volume><name>{escape(name)}</name></volume>",
                              source)


def start(pool, volume):
    """A → A@live: make the live copy."""
    return create_from(pool, volume.name() + "@live", volume)


def commit(pool, volume, live):
    """A@live → A: the live copy becomes the volume."""
    return create_from(pool, volume.name(), live)


def discard(live):
    live.delete()


def revisions(pool, volume):
    """Names of the volume's earlier states, pinned ones included."""
    prefix = volume.name() + "@"
    return sorted(name for name in pool.listVolumes()
                  if name.startswith(prefix) and name != prefix + "live")


def main(pool_name, volume_name, *command):
    with libvirt.open() as connection:
        pool = connection.storagePoolLookupByName(pool_name)
        volume = pool.storageVolLookupByName(volume_name)
        live = start(pool, volume)
        environment = dict(os.environ, DISK=live.path())
        # The words of the command may name the disk.
        words = [word.replace("$DISK", live.path()) for word in command]
        status = subprocess.run(words, env=environment, check=False).returncode
        if status == 0:
            commit(pool, volume, live)
            print("committed; revisions:", ", ".join(revisions(pool, volume)) or "none")
        else:
            discard(live)
            print("the command failed (%d): discarded" % status)
        return status


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
