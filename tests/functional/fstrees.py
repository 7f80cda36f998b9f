# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directory trees: filled, compared, packed and removed."""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import io
import os
import stat
import struct
import subprocess
import tarfile
import tempfile

from filesystems import MIB, run
from pools import pattern

OWN = ".libvirt.storage"
# Numbers of the kernel's that Python has not.
BTRFS_SUBVOL_SETFLAGS = 0x4008941A
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL = 0x80086601, 0x40086602, 16
SUBVOLUME_INODE = 256
RENAME_EXCHANGE = 2
CAPABILITIES_3, CAP_SYS_RESOURCE = 0x20080522, 24
LIBC = ctypes.CDLL(None, use_errno=True)
FULL = (errno.EDQUOT, errno.ENOSPC)

# Of each tag, what a tree filled with it looks like.
KNOWN = {}
TARS = {}
SPARSE = 8 * MIB
# One named user, and a mask (tags of posix_acl_xattr.h).
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, allowed, ident) for tag, allowed, ident in (
        (1, 6, 2**32 - 1), (2, 4, 12), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1),
        (32, 0, 2**32 - 1)))
ODD_NAMES = [b"new\nline", b"\xff\xfe", b"-dash", b" space ", b"a@b",
             b"quote'\"", b".hidden", "\u00fc".encode(), b"x" * 255]


def put(path, data=b""):
    """A file with that content."""
    with open(path, "wb") as file:
        file.write(data)


def fill(path, tag, full=False):
    """Make a tree that can be told from any other tag's."""
    put(path + "/data", pattern(tag, 3 * 65536))
    os.makedirs(path + "/sub/deeper")
    put(path + "/sub/deeper/file", tag.encode())
    os.link(path + "/data", path + "/sub/hard")
    os.symlink("data", path + "/link")
    if full:
        fill_fully(path, tag)
    for name in reversed(list(walk(os.fsencode(path)))):
        os.utime(os.path.join(os.fsencode(path), name), ns=(10**18,
                 10**18 + len(name) * 123456789), follow_symlinks=False)
    KNOWN[tag] = listing(path)


def fill_fully(path, tag):
    """Whatever else a tree can have."""
    put(path + "/owned", tag.encode())
    os.chown(path + "/owned", 12, 34)
    os.chmod(path + "/owned", 0o4751)
    os.mkdir(path + "/empty")
    os.chmod(path + "/empty", 0o1777)
    os.chown(path + "/empty", 56, 78)
    put(path + "/sparse")
    with open(path + "/sparse", "r+b") as file:
        file.truncate(SPARSE)
        file.seek(SPARSE // 2)
        file.write(pattern(tag, 65536))
    os.symlink("/nonexistent/" + tag, path + "/dangling")
    os.chown(path + "/dangling", 12, 34, follow_symlinks=False)
    os.mkfifo(path + "/fifo", 0o640)
    os.mknod(path + "/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    for name in ("dangling", "fifo", "null"):
        os.link(f"{path}/{name}", f"{path}/sub/{name}", follow_symlinks=False)
    for name in ODD_NAMES:
        put(os.fsencode(path) + b"/" + name, name)
    put(path + "/acl")
    for name, where, value in (
            ("user.note", "/data", tag.encode()), ("user.note", "/sub", b"d"),
            ("trusted.note", "/data", b"\0\xff"),
            ("security.capability", "/data", struct.pack(
                "<IIIII", 0x02000001, 1 << 10, 0, 0, 0)),
            ("system.posix_acl_access", "/acl", ACL),
            ("system.posix_acl_default", "/sub", ACL)):
        try:
            os.setxattr(path + where, name, value)
        except OSError as error:
            assert error.errno == errno.ENOTSUP, error


def walk(top):
    """The names of all below top, as relative paths, parents first."""
    todo = [b""]
    while todo:
        folder = todo.pop()
        with os.scandir(os.path.join(top, folder)) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                name = os.path.join(folder, entry.name)
                yield name
                if entry.is_dir(follow_symlinks=False):
                    todo.append(name)


def attributes(path):
    """All extended attributes but ours, and what shows others, or the mode,
    once more: XFS of ACLs, NFS."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return ()
    return tuple((n, os.getxattr(path, n, follow_symlinks=False))
                 for n in sorted(names)
                 if not n.endswith(OWN) and "SGI_ACL" not in n
                 and n != "system.nfs4_acl")


def facts(path, info):
    """What a copy of a file must have, too."""
    content = None
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
    elif stat.S_ISLNK(info.st_mode):
        content = os.readlink(path)
    folder = stat.S_ISDIR(info.st_mode)
    return (info.st_mode, info.st_uid, info.st_gid, info.st_rdev,
            None if folder else info.st_size, info.st_mtime_ns, content,
            attributes(path))


def listing(path, top=False):
    """All that is in a tree, for comparison; and what the top has."""
    path, links, found = os.fsencode(path), {}, []
    if top:
        info = os.lstat(path)
        found.append((info.st_mode, info.st_uid, info.st_gid,
                      attributes(path)))
    for name in walk(path):
        info = os.lstat(os.path.join(path, name))
        first = name
        if not stat.S_ISDIR(info.st_mode):
            first = links.setdefault((info.st_dev, info.st_ino), name)
        found.append((name, first) + facts(os.path.join(path, name), info))
    return found


def empty(path):
    """Remove what is in a directory, whatever it is."""
    for name in os.listdir(path):
        destroy(os.path.join(path, name))


def mounts_below(path):
    """The mount points below a directory, those inside others last."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        found = [line.split()[4] for line in file]
    return [where for where in found if where.startswith(path + "/")]


def mount_of(path):
    """(type, options) of what is mounted there; None without."""
    found = None
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if words[4] == path:
                rest = words[words.index("-") + 1:]
                found = rest[0], set((words[5] + "," + rest[2]).split(","))
    return found


def unmount_below(path):
    for where in reversed(mounts_below(path)):
        run("umount", "-l", where)


def destroy(path):
    """Remove a tree, subvolumes that cannot be written to included."""
    unmount_below(path)
    found = subprocess.run(["find", path, "-type", "d", "-inum",
                            str(SUBVOLUME_INODE), "-print0"],
                           capture_output=True, check=False).stdout
    for each in filter(None, found.split(b"\0")):
        with contextlib.suppress(OSError):
            set_subvolume_flags(each, 0)
    run("rm", "-rf", "--", path, check=False)


def set_subvolume_flags(path, flags):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, BTRFS_SUBVOL_SETFLAGS, struct.pack("Q", flags))
    finally:
        os.close(fd)


def set_immutable(fd, immutable):
    """Have a file refuse to be changed or removed, even by root."""
    flags = struct.unpack("i", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(4)))[0]
    flags = (flags | FS_IMMUTABLE_FL) if immutable else (
        flags & ~FS_IMMUTABLE_FL)
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("i", flags))


def make_deep(path, depth):
    """A folder in a folder in a folder, deeper than any path is long."""
    fd = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("end", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd))
    os.close(fd)


def exchange(dirfd, one, other):
    """Swap two entries in one step; false if they are gone."""
    return LIBC.renameat2(dirfd, one.encode(), dirfd, other.encode(),
                          RENAME_EXCHANGE) == 0


@contextlib.contextmanager
def limited():
    """As all but root are: ext4 lets root's CAP_SYS_RESOURCE over limits."""
    header = ctypes.create_string_buffer(struct.pack("Ii", CAPABILITIES_3, 0))
    saved = ctypes.create_string_buffer(24)
    assert LIBC.capget(header, saved) == 0
    words = list(struct.unpack("6I", saved.raw[:24]))
    words[0] &= ~(1 << CAP_SYS_RESOURCE)
    assert LIBC.capset(header, struct.pack("6I", *words)) == 0
    try:
        yield
    finally:
        assert LIBC.capset(header, saved) == 0


def write_until_full(path, most):
    """Write until no more can be, durably; the bytes written."""
    done = 0
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    except OSError as error:
        assert error.errno in FULL, error
        return 0
    try:
        with limited():
            while done < most:
                done += os.write(fd, os.urandom(MIB))
                os.fsync(fd)
    except OSError as error:
        assert error.errno in FULL, error
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)
    return done


# Archives


def members(data):
    """What is in an archive; the order of attributes is a file system's."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive_:
        return [(m.name, m.type, m.mode, m.uid, m.gid, m.size, m.linkname,
                 sorted(m.pax_headers.items()),
                 archive_.extractfile(m).read() if m.isreg() else None)
                for m in archive_.getmembers()]


def tar_of(path):
    """What GNU tar makes of a tree: of equal ones, the same."""
    return subprocess.run(
        ["tar", "--create", "--format=posix", "--xattrs", "--acls",
         "--xattrs-include=*", "--xattrs-exclude=*" + OWN, "--numeric-owner",
         "--sort=name", "--pax-option=exthdr.name=%d/PaxHeaders/%f,"
         "delete=atime,delete=ctime", "-C", path, "."],
        capture_output=True, check=True).stdout


def tree_tar(where, tag, full=False):
    """The archive of a tree filled with that tag."""
    if (where, tag, full) not in TARS:
        scratch = tempfile.mkdtemp(dir=where)
        os.chmod(scratch, 0o755)
        fill(scratch, tag, full)
        TARS[where, tag, full] = tar_of(scratch)
        destroy(scratch)
    return TARS[where, tag, full]


def untar(data, where):
    """What GNU tar makes of an archive; the place."""
    os.makedirs(where)
    subprocess.run(
        ["tar", "--extract", "--xattrs", "--acls", "--xattrs-include=*",
         "--numeric-owner", "--preserve-permissions", "-C", where],
        input=data, capture_output=True, check=True)
    return where


def member(name, data=b"", kind=tarfile.REGTYPE, target="", mode=0o755,
           device=(0, 0), **headers):
    """One entry of an archive; headers are those of pax."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    info.devmajor, info.devminor = device
    info.size = len(data)
    info.pax_headers = {k.replace("__", "."): v for k, v in headers.items()}
    return info, data


def folder(name, **options):
    return member(name, kind=tarfile.DIRTYPE, **options)


def symlink(name, target):
    return member(name, kind=tarfile.SYMTYPE, target=target)


def hard_link(name, target):
    return member(name, kind=tarfile.LNKTYPE, target=target)


def archive(*members, form=tarfile.PAX_FORMAT):
    """An archive of these entries, as they are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


SMALL = archive(folder("."), member("file", b"content"), folder("d"),
                member("d/file", b"more"))


def content(pool, name, file="file"):
    """What a file of an item holds."""
    with open(f"{pool.device(name)}/{file}", "rb") as opened:
        return opened.read()
