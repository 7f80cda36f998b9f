/*
 * test-fspool-tree.c: copying directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <linux/fs.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "tree.h"

#include "storage_fspool_subvolume.h"
#include "storage_reflink_extents.h"
#include "storage_revision_file.h"

#define OURS "trusted.libvirt.storage"


static void
testCopyContent(Trees *trees,
                gconstpointer data G_GNUC_UNUSED)
{
    virStorageFspoolProgress progress = { 0 };
    VIR_AUTOCLOSE sub = makeDir(trees->from, "sub");
    VIR_AUTOCLOSE odd = makeDir(sub, "new\nline \xff");
    unsigned long long entries;
    unsigned long long bytes;
    char target[16] = "";

    putFile(trees->from, "empty", "");
    putFile(trees->from, ".hidden", "one");
    putFile(odd, "-rf", "two");
    g_assert_cmpint(symlinkat("../victim", trees->from, "link"), ==, 0);

    g_assert_cmpint(virStorageFspoolTreeCopy(trees->from, trees->to, "item", &progress), ==, 0);
    expectFile(trees->to, "empty", "");
    expectFile(trees->to, ".hidden", "one");
    expectFile(trees->to, "sub/new\nline \xff/-rf", "two");
    g_assert_cmpint(readlinkat(trees->to, "link", target, sizeof(target)), ==, strlen("../victim"));
    g_assert_cmpstr(target, ==, "../victim");

    virStorageFspoolProgressRead(&progress, &entries, &bytes);
    g_assert_cmpint(entries, ==, 7);
    g_assert_cmpint(bytes, >, 0);
}


static void
testCopyHardLinks(Trees *trees,
                  gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE a = makeDir(trees->from, "a");
    VIR_AUTOCLOSE b = makeDir(trees->from, "b");

    putFile(a, "file", "linked");
    g_assert_cmpint(linkat(a, "file", b, "file", 0), ==, 0);
    g_assert_cmpint(linkat(a, "file", trees->from, "file", 0), ==, 0);
    g_assert_cmpint(linkat(a, "file", trees->dir, "outside", 0), ==, 0);
    g_assert_cmpint(symlinkat("x", a, "link"), ==, 0);
    g_assert_cmpint(linkat(a, "link", b, "link", 0), ==, 0);
    g_assert_cmpint(mknodat(a, "fifo", S_IFIFO | 0600, 0), ==, 0);
    g_assert_cmpint(linkat(a, "fifo", b, "fifo", 0), ==, 0);

    copy(trees);
    g_assert_cmpint(statOf(trees->to, "a/file").st_ino, ==, statOf(trees->to, "b/file").st_ino);
    g_assert_cmpint(statOf(trees->to, "a/file").st_ino, ==, statOf(trees->to, "file").st_ino);
    g_assert_cmpint(statOf(trees->to, "a/file").st_nlink, ==, 3);
    g_assert_cmpint(statOf(trees->from, "a/file").st_nlink, ==, 4);
    g_assert_cmpint(statOf(trees->to, "a/link").st_ino, ==, statOf(trees->to, "b/link").st_ino);
    g_assert_cmpint(statOf(trees->to, "a/fifo").st_ino, ==, statOf(trees->to, "b/fifo").st_ino);
    expectFile(trees->to, "b/file", "linked");
}


/* 1 GiB with some data in the middle, and a hole at the end. */
static void
testCopyHoles(Trees *trees,
              gconstpointer data G_GNUC_UNUSED)
{
    const off_t size = 1024 * 1024 * 1024;
    VIR_AUTOCLOSE from = openat(trees->from, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    VIR_AUTOCLOSE to = -1;
    char buf[8] = "";

    g_assert_cmpint(ftruncate(from, size), ==, 0);
    g_assert_cmpint(pwrite(from, "middle", 6, size / 2), ==, 6);

    copy(trees);
    to = openat(trees->to, "sparse", O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(to, buf, 6, size / 2), ==, 6);
    g_assert_cmpstr(buf, ==, "middle");
    g_assert_cmpint(lseek(to, 0, SEEK_END), ==, size);
    g_assert_cmpint(lseek(to, 0, SEEK_DATA), ==, lseek(from, 0, SEEK_DATA));
    g_assert_cmpint(statOf(trees->to, "sparse").st_blocks, <, 2048);
}


/* Of a file larger than what is copied at once. */
static void
testCopyLarge(Trees *trees,
              gconstpointer data G_GNUC_UNUSED)
{
    const size_t size = 20 * 1024 * 1024 + 123;
    g_autofree char *one = g_malloc(size);
    g_autofree char *other = g_malloc(size);
    VIR_AUTOCLOSE from = openat(trees->from, "large", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    VIR_AUTOCLOSE to = -1;
    size_t i;

    for (i = 0; i < size; i++)
        one[i] = (i * 2654435761U) >> 24;
    g_assert_cmpint(write(from, one, size), ==, size);

    copy(trees);
    to = openat(trees->to, "large", O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(read(to, other, size), ==, size);
    g_assert_cmpint(memcmp(one, other, size), ==, 0);
}


static void
setAttr(int dir,
        const char *name,
        const char *attr,
        const char *value)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/%s", dir, name);

    if (lsetxattr(path, attr, value, strlen(value), 0) < 0)
        g_error("%s: %s", attr, g_strerror(errno));
}


static void
expectAttr(int dir,
           const char *name,
           const char *attr,
           const char *value)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/%s", dir, name);
    char buf[256] = "";
    ssize_t len = lgetxattr(path, attr, buf, sizeof(buf) - 1);

    g_assert_cmpint(len, ==, value ? (ssize_t) strlen(value) : -1);
    if (value)
        g_assert_cmpstr(buf, ==, value);
}


static void
testCopyAttributes(Trees *trees,
                   gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE sub = makeDir(trees->from, "sub");

    putFile(sub, "file", "");
    g_assert_cmpint(symlinkat("x", sub, "link"), ==, 0);
    g_assert_cmpint(mknodat(sub, "fifo", S_IFIFO | 0600, 0), ==, 0);
    setAttr(sub, "file", "trusted.one", "1");
    setAttr(sub, "link", "trusted.two", "2");
    setAttr(sub, "fifo", "security.three", "3");
    setAttr(trees->from, "sub", "trusted.four", "4");
    setAttr(trees->from, "sub", OURS, "a guest's");
    setAttr(trees->from, ".", "trusted.five", "5");
    setAttr(trees->from, ".", OURS, "of the original");
    setAttr(trees->to, ".", OURS, "of the copy");

    copy(trees);
    expectAttr(trees->to, "sub/file", "trusted.one", "1");
    expectAttr(trees->to, "sub/link", "trusted.two", "2");
    expectAttr(trees->to, "sub/fifo", "security.three", "3");
    expectAttr(trees->to, "sub", "trusted.four", "4");
    expectAttr(trees->to, "sub", OURS, "a guest's");
    expectAttr(trees->to, ".", "trusted.five", "5");
    expectAttr(trees->to, ".", OURS, "of the copy");
}


/* An access list that gives user 1234 all. */
static int
setAcl(int dir,
       const char *name,
       const char *attr)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/%s", dir, name);
    struct {
        struct posix_acl_xattr_header header;
        struct posix_acl_xattr_entry entries[5];
    } acl = {
        { GUINT32_TO_LE(POSIX_ACL_XATTR_VERSION) },
        {
            { GUINT16_TO_LE(ACL_USER_OBJ), GUINT16_TO_LE(7), GUINT32_TO_LE(ACL_UNDEFINED_ID) },
            { GUINT16_TO_LE(ACL_USER), GUINT16_TO_LE(7), GUINT32_TO_LE(1234) },
            { GUINT16_TO_LE(ACL_GROUP_OBJ), 0, GUINT32_TO_LE(ACL_UNDEFINED_ID) },
            { GUINT16_TO_LE(ACL_MASK), GUINT16_TO_LE(7), GUINT32_TO_LE(ACL_UNDEFINED_ID) },
            { GUINT16_TO_LE(ACL_OTHER), 0, GUINT32_TO_LE(ACL_UNDEFINED_ID) },
        },
    };

    return setxattr(path, attr, &acl, sizeof(acl), 0);
}


static void
testCopyAccessLists(Trees *trees,
                    gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *toPath = g_strdup_printf("/proc/self/fd/%d", trees->to);
    g_autofree char *filePath = g_strdup_printf("%s/sub/file", toPath);
    g_autofree char *plainPath = g_strdup_printf("%s/plain", toPath);
    g_autofree char *subPath = g_strdup_printf("%s/sub", toPath);
    VIR_AUTOCLOSE sub = makeDir(trees->from, "sub");
    char buf[256];

    putFile(sub, "file", "");
    putFile(trees->from, "plain", "");
    if (setAcl(sub, "file", "system.posix_acl_access") < 0) {
        g_test_skip("no access lists here");
        return;
    }
    g_assert_cmpint(setAcl(trees->from, "sub", "system.posix_acl_default"), ==, 0);
    g_assert_cmpint(setAcl(trees->to, ".", "system.posix_acl_default"), ==, 0);

    copy(trees);
    g_assert_cmpint(getxattr(filePath, "system.posix_acl_access", buf, sizeof(buf)), ==, 44);
    g_assert_cmpint(getxattr(subPath, "system.posix_acl_default", buf, sizeof(buf)), ==, 44);
    g_assert_cmpint(getxattr(subPath, "system.posix_acl_access", buf, sizeof(buf)), ==, -1);
    g_assert_cmpint(getxattr(plainPath, "system.posix_acl_access", buf, sizeof(buf)), ==, -1);
    g_assert_cmpint(getxattr(toPath, "system.posix_acl_default", buf, sizeof(buf)), ==, -1);
    g_assert_cmpint(statOf(trees->to, "sub/file").st_mode & 07777, ==, statOf(sub, "file").st_mode & 07777);
    g_assert_cmpint(statOf(trees->to, "plain").st_mode & 07777, ==, 0644);
}


static void
expectDress(int dir,
            const char *name,
            mode_t mode)
{
    struct stat sb = statOf(dir, name);

    g_assert_cmpint(sb.st_uid, ==, 1234);
    g_assert_cmpint(sb.st_gid, ==, 4321);
    if (mode)
        g_assert_cmpint(sb.st_mode & 07777, ==, mode);
    g_assert_cmpint(sb.st_mtim.tv_sec, ==, 987654321);
    g_assert_cmpint(sb.st_mtim.tv_nsec, ==, 123456789);
    if (!S_ISDIR(sb.st_mode) && !S_ISLNK(sb.st_mode)) {
        g_assert_cmpint(sb.st_atim.tv_sec, ==, 12345);
        g_assert_cmpint(sb.st_atim.tv_nsec, ==, 678);
    }
}


static void
testCopyOwnerModeTimes(Trees *trees,
                       gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE sub = makeDir(trees->from, "sub");
    const char capability[20] = "\x01\x00\x00\x02\x00\x04"; /* VFS_CAP_REVISION_2 */
    g_autofree char *path = g_strdup_printf("%s/from/sub/file", trees->path);
    g_autofree char *copied = g_strdup_printf("%s/to/sub/file", trees->path);
    char buf[20];

    putFile(sub, "file", "data");
    g_assert_cmpint(symlinkat("x", sub, "link"), ==, 0);
    g_assert_cmpint(mknodat(sub, "fifo", S_IFIFO | 0600, 0), ==, 0);
    dress(sub, "file", 06755);
    g_assert_cmpint(setxattr(path, "security.capability", capability, sizeof(capability), 0), ==, 0);
    dress(sub, "link", 0);
    dress(sub, "fifo", 0444);
    dress(trees->from, "sub", 03750);
    dress(trees->from, ".", 0500);

    copy(trees);
    expectDress(trees->to, "sub/file", 06755);
    expectDress(trees->to, "sub/link", 0);
    expectDress(trees->to, "sub/fifo", 0444);
    expectDress(trees->to, "sub", 03750);
    expectDress(trees->to, ".", 0500);
    g_assert_cmpint(getxattr(copied, "security.capability", buf, sizeof(buf)), ==, sizeof(buf));
    g_assert_cmpint(memcmp(buf, capability, sizeof(buf)), ==, 0);
}


static void
testCopySpecials(Trees *trees,
                 gconstpointer data G_GNUC_UNUSED)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    VIR_AUTOCLOSE sock = socket(AF_UNIX, SOCK_STREAM, 0);

    g_snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/socket", trees->from);
    g_assert_cmpint(bind(sock, (struct sockaddr *) &address, sizeof(address)), ==, 0);
    g_assert_cmpint(mknodat(trees->from, "fifo", S_IFIFO | 0640, 0), ==, 0);
    g_assert_cmpint(mknodat(trees->from, "null", S_IFCHR | 0666, makedev(1, 3)), ==, 0);
    g_assert_cmpint(mknodat(trees->from, "disk", S_IFBLK | 0600, makedev(259, 77777)), ==, 0);

    copy(trees);
    g_assert_true(S_ISSOCK(statOf(trees->to, "socket").st_mode));
    g_assert_true(S_ISFIFO(statOf(trees->to, "fifo").st_mode));
    g_assert_true(S_ISCHR(statOf(trees->to, "null").st_mode));
    g_assert_cmpint(statOf(trees->to, "null").st_rdev, ==, makedev(1, 3));
    g_assert_true(S_ISBLK(statOf(trees->to, "disk").st_mode));
    g_assert_cmpint(statOf(trees->to, "disk").st_rdev, ==, makedev(259, 77777));
    removeFrom(trees);
}


static void
testCopyRefused(Trees *trees,
                gconstpointer data G_GNUC_UNUSED)
{
    virStorageFspoolProgress progress = { 0 };
    VIR_AUTOCLOSE inside = makeDir(trees->from, "inside");

    g_assert_cmpint(virStorageFspoolTreeCopy(trees->from, inside, "item", NULL), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "into itself");
    g_assert_cmpint(virStorageFspoolTreeCopy(trees->to, trees->from, "item", NULL), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_FAILED, "not empty");

    virStorageFspoolProgressCancel(&progress);
    g_assert_cmpint(virStorageFspoolTreeCopy(trees->from, trees->to, "item", &progress), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_ABORTED, "item");
}


static void
testCopyRace(Trees *trees,
             gconstpointer data G_GNUC_UNUSED)
{
    const char *places[] = { "dir", "link", "dir/sub", "dir/link", "link/sub", "link/link" };
    Racer racer = { .dir = trees->from, .act = swap };
    gint64 start = g_get_monotonic_time();
    size_t i;
    size_t j;

    makeSwappable(trees->from);
    startRace(&racer);
    for (i = 0; goesOn(start, i); i++) {
        copy(trees);
        for (j = 0; j < G_N_ELEMENTS(places); j++) {
            VIR_AUTOCLOSE dir = virStorageRevOpenAt(trees->to, places[j], O_RDONLY | O_DIRECTORY, 0);

            if (dir >= 0)
                g_assert_false(isThere(dir, "secret"));
        }
        g_assert_cmpint(virStorageFspoolTreeEmpty(trees->to, "copy"), ==, 0);
    }
    stopRace(&racer);
    expectFile(trees->dir, "victim/secret", "secret");
}


/* The way back up from a directory that was moved does not lead into the victim. */
static void
testCopyMoved(Trees *trees,
              gconstpointer data G_GNUC_UNUSED)
{
    Racer racer = { .dir = trees->from, .act = moveAway };
    VIR_AUTOCLOSE deepest = makeDeep(trees->from, 60);
    size_t moved = 0;
    gint64 start = g_get_monotonic_time();
    size_t i;

    putFile(deepest, "file", "x");
    startRace(&racer);
    for (i = 0; goesOn(start, i); i++) {
        VIR_AUTOCLOSE fd = openDir(trees->to, ".");

        if (virStorageFspoolTreeCopy(trees->from, trees->to, "item", NULL) < 0) {
            unitExpectError(VIR_ERR_OPERATION_FAILED, "was moved while it was copied");
            moved++;
        }
        while (fd >= 0) {
            int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

            g_assert_false(isThere(fd, "secret"));
            VIR_FORCE_CLOSE(fd);
            fd = next;
        }
        g_assert_cmpint(virStorageFspoolTreeEmpty(trees->to, "copy"), ==, 0);
    }
    stopRace(&racer);
    g_test_message("moved in %zu copies", moved);
}


/* Files come and go, and are replaced by FIFOs and links. */
static void
churn(int dir)
{
    static unsigned int count;
    g_autofree char *name = g_strdup_printf("%u", ++count % 50);

    ignore_value(unlinkat(dir, name, 0));
    if (count % 3 == 0) {
        ignore_value(mknodat(dir, name, S_IFIFO | 0600, 0));
    } else if (count % 3 == 1) {
        ignore_value(symlinkat("../victim/secret", dir, name));
    } else {
        VIR_AUTOCLOSE fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

        if (fd >= 0)
            ignore_value(write(fd, "data", 4));
    }
}


static void
testCopyLive(Trees *trees,
             gconstpointer data G_GNUC_UNUSED)
{
    Racer racer = { .dir = trees->from, .act = churn };
    gint64 start = g_get_monotonic_time();
    size_t i;

    startRace(&racer);
    for (i = 0; goesOn(start, i); i++) {
        copy(trees);
        g_assert_cmpint(virStorageFspoolTreeEmpty(trees->to, "copy"), ==, 0);
    }
    stopRace(&racer);
}


static void *
copyThread(void *opaque)
{
    copy(opaque);
    return NULL;
}


static void
testDeep(Trees *trees,
         gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE deepest = makeDeep(trees->from, DEEP);
    VIR_AUTOCLOSE fd = -1;
    size_t i;

    putFile(deepest, "file", "deep");
    g_assert_cmpint(linkat(deepest, "file", trees->from, "file", 0), ==, 0);
    dress(trees->from, "d", 0711);

    runConfined(copyThread, trees);
    fd = openDir(trees->to, ".");
    for (i = 0; i < DEEP; i++) {
        int next = openDir(fd, "d");

        VIR_FORCE_CLOSE(fd);
        fd = next;
    }
    expectFile(fd, "file", "deep");
    g_assert_cmpint(statOf(fd, "file").st_ino, ==, statOf(trees->to, "file").st_ino);
    expectDress(trees->to, "d", 0711);
}


/* Writes a file of 1 MiB to the disk, and returns it. */
static int
putExtents(int dir,
           const char *name,
           int flags)
{
    g_autofree char *data = g_strnfill(1024 * 1024, 'x');
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    g_assert_cmpint(fd, >=, 0);
    if (flags)
        g_assert_cmpint(ioctl(fd, FS_IOC_SETFLAGS, &flags), ==, 0);
    g_assert_cmpint(write(fd, data, strlen(data)), ==, strlen(data));
    g_assert_cmpint(fsync(fd), ==, 0);
    return fd;
}


static void
testCopyShares(Trees *trees,
               gconstpointer data G_GNUC_UNUSED)
{
    bool btrfs = virStorageFspoolIsBtrfs(trees->from);
    VIR_AUTOCLOSE plain = putExtents(trees->from, "plain", 0);
    VIR_AUTOCLOSE nocow = putExtents(trees->from, "nocow", btrfs ? FS_NOCOW_FL : 0);
    VIR_AUTOCLOSE probe = openat(trees->dir, "probe", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    VIR_AUTOCLOSE plainCopy = -1;
    VIR_AUTOCLOSE nocowCopy = -1;

    if (virStorageRevCloneFile(plain, probe) < 0 || !virStorageReflinkSharesAll(plain, probe)) {
        g_test_skip("no clones here");
        return;
    }

    copy(trees);
    plainCopy = openat(trees->to, "plain", O_RDONLY | O_CLOEXEC);
    nocowCopy = openat(trees->to, "nocow", O_RDONLY | O_CLOEXEC);
    g_assert_true(virStorageReflinkSharesAll(plain, plainCopy));
    g_assert_true(virStorageReflinkSharesAll(nocow, nocowCopy));
}


static void
testCopySubvolume(Trees *trees,
                  gconstpointer data G_GNUC_UNUSED)
{
    if (!virStorageFspoolIsBtrfs(trees->from)) {
        g_test_skip("not on Btrfs");
        return;
    }

    g_assert_cmpint(virStorageFspoolSubvolumeCreate(trees->from, "sub", 0), ==, 0);
    g_assert_cmpint(virStorageFspoolTreeCopy(trees->from, trees->to, "item", NULL), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "'/sub' in volume 'item' is a Btrfs subvolume");
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

#define ADD(name, func) g_test_add("/fspool-tree/" name, Trees, NULL, setUp, func, tearDown)
    ADD("content", testCopyContent);
    ADD("hard-links", testCopyHardLinks);
    ADD("holes", testCopyHoles);
    ADD("large", testCopyLarge);
    ADD("attributes", testCopyAttributes);
    ADD("access-lists", testCopyAccessLists);
    ADD("owner-mode-times", testCopyOwnerModeTimes);
    ADD("specials", testCopySpecials);
    ADD("refused", testCopyRefused);
    ADD("swapped", testCopyRace);
    ADD("moved", testCopyMoved);
    ADD("live", testCopyLive);
    ADD("deep", testDeep);
    ADD("shares", testCopyShares);
    ADD("subvolume", testCopySubvolume);
#undef ADD

    return g_test_run();
}
