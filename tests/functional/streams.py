# SPDX-License-Identifier: LGPL-2.1-or-later
"""Uploads and downloads through libvirt's streams."""

import contextlib

import libvirt

CHUNK = 200000


def upload(pool, name, data, offset=0, length=0, finish=True):
    """A plain upload; returns the open stream unless it shall finish."""
    stream = pool.daemon.conn.newStream(0)
    pool.vol(name).upload(stream, offset, length, 0)
    sent = 0
    try:
        while sent < len(data):
            sent += stream.send(data[sent:sent + CHUNK])
        if not finish:
            return stream
        stream.finish()
    except libvirt.libvirtError:
        with contextlib.suppress(libvirt.libvirtError):
            stream.abort()
        raise
    return None


def abort(stream):
    """Abort a stream, whatever its state."""
    with contextlib.suppress(libvirt.libvirtError):
        stream.abort()


def receive(stream, limit=None):
    """Read a stream to its end, or until limit bytes came."""
    parts, got = [], 0
    while limit is None or got < limit:
        data = stream.recv(CHUNK)
        if not data:
            break
        parts.append(data)
        got += len(data)
    return b"".join(parts)


def download(pool, name, offset=0, length=0, flags=0):
    """A whole plain download."""
    stream = pool.daemon.conn.newStream(0)
    pool.vol(name).download(stream, offset, length, flags)
    data = receive(stream)
    stream.finish()
    return data


def begin_download(pool, name):
    """A download of which nothing was read yet."""
    stream = pool.daemon.conn.newStream(0)
    pool.vol(name).download(stream, 0, 0, 0)
    return stream
