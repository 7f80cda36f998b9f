#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Back up a volume, also while a machine runs on it.

    backup.py POOL VOLUME FILE

What the machine has written up to now is in VOLUME@live, if there is one: an
instant clone of that is downloaded, with its holes, and removed again. It is
what the disk would be after a loss of power. FILE appears when it is complete.
The unmodified libvirt-python of the distribution is all that this needs.
"""

import contextlib
import os
import sys
from xml.sax.saxutils import escape

import libvirt


def source_of(pool, name):
    """The live copy of a volume, or the volume."""
    return pool.storageVolLookupByName(
        name + "@live" if name + "@live" in pool.listVolumes() else name)


@contextlib.contextmanager
def frozen(pool, name):
    """An instant clone, for as long as it takes."""
    source = source_of(pool, name)
    xml = "<volume><name>%s</name><capacity>%d</capacity></volume>" % (
        escape("%s-backup-%d" % (name, os.getpid())), source.info()[1])
    clone = pool.createXMLFrom(xml, source)
    try:
        yield clone
    finally:
        clone.delete()


def download(connection, volume, file):
    """All of a volume's data into a file, with holes where it has them."""
    stream = connection.newStream()
    try:
        volume.download(stream, 0, 0, libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
        stream.sparseRecvAll(lambda _, data, out: out.write(data),
                             lambda _, length, out: out.seek(length, os.SEEK_CUR), file)
        stream.finish()
    except libvirt.libvirtError:
        with contextlib.suppress(libvirt.libvirtError):
            stream.abort()
        raise
    # A hole at the end has been skipped, and not made.
    file.truncate(file.tell())
    file.flush()
    os.fsync(file.fileno())


def main(pool_name, volume_name, path):
    part = path + ".part"
    with libvirt.open() as connection:
        pool = connection.storagePoolLookupByName(pool_name)
        with frozen(pool, volume_name) as clone, open(part, "wb") as file:
            try:
                download(connection, clone, file)
            except BaseException:
                os.unlink(part)
                raise
    os.rename(part, path)
    print("%s: %d bytes, %d of them on disk" % (
        path, os.stat(path).st_size, os.stat(path).st_blocks * 512))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
