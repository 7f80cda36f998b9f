/*
 * test-fspool-archive.c: directory trees as tar archives: what goes in comes out
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "archive.h"

#define OWN_ATTR "trusted.libvirt.storage"


/* Packs "from", and unpacks that to "to". */
static void
through(Place *place)
{
    VIR_AUTOCLOSE archive = makeArchive(place);

    expectOk(virStorageFspoolArchivePack(place->from, archive, "item"));
    g_assert_cmpint(lseek(archive, 0, SEEK_SET), ==, 0);
    expectOk(virStorageFspoolArchiveUnpack(archive, place->to, "item", NULL));
}


static void
testRoundTrip(void)
{
    g_auto(Place) place = PLACE_INIT;
    struct stat one;
    struct stat other;

    placeMake(&place);
    makeTree(&place);
    through(&place);
    expectSame(place.from, place.to);

    g_assert_cmpint(fstatat(place.to, "dir/one name", &one, 0), ==, 0);
    g_assert_cmpint(fstatat(place.to, "dir/below/third", &other, 0), ==, 0);
    g_assert_cmpuint(one.st_ino, ==, other.st_ino);
}


static void
testSamePacksAreTheSameBytes(void)
{
    g_auto(Place) place = PLACE_INIT;
    g_autofree char *one = NULL;
    g_autofree char *other = NULL;
    size_t len;
    size_t otherLen;
    VIR_AUTOCLOSE archive = -1;

    placeMake(&place);
    makeTree(&place);
    archive = makeArchive(&place);
    expectOk(virStorageFspoolArchivePack(place.from, archive, "item"));
    one = readAll(archive, &len);
    VIR_FORCE_CLOSE(archive);

    archive = makeArchive(&place);
    expectOk(virStorageFspoolArchivePack(place.from, archive, "item"));
    other = readAll(archive, &otherLen);
    g_assert_cmpmem(one, len, other, otherLen);

    /* and so is what came out of it */
    g_assert_cmpint(lseek(archive, 0, SEEK_SET), ==, 0);
    expectOk(virStorageFspoolArchiveUnpack(archive, place.to, "item", NULL));
    VIR_FORCE_CLOSE(archive);
    g_free(other);
    archive = makeArchive(&place);
    expectOk(virStorageFspoolArchivePack(place.to, archive, "item"));
    other = readAll(archive, &otherLen);
    g_assert_cmpmem(one, len, other, otherLen);
}


/* Our metadata says what the tree is, and does not travel; what is not in the archive does not touch what is there. */
static void
testOwnMetadataStaysBehind(void)
{
    g_auto(Place) place = PLACE_INIT;
    char value[16];

    placeMake(&place);
    if (!place.root) {
        g_test_skip("needs root");
        return;
    }
    setAttr(place.from, ".", OWN_ATTR, "source", 6);
    setAttr(place.to, ".", OWN_ATTR, "target", 6);
    g_assert_cmpint(mkdirat(place.from, "dir", 0700), ==, 0);
    setAttr(place.from, "dir", OWN_ATTR, "below", 5);
    through(&place);

    g_assert_cmpint(fgetxattr(place.to, OWN_ATTR, value, sizeof(value)), ==, 6);
    g_assert_cmpmem(value, 6, "target", 6);
    VIR_FORCE_CLOSE(place.from);
    place.from = openDir(place.to, "dir");
    g_assert_cmpint(fgetxattr(place.from, OWN_ATTR, value, sizeof(value)), <, 0);
}


static void
testSocketIsLeftOut(void)
{
    g_auto(Place) place = PLACE_INIT;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    VIR_AUTOCLOSE fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat sb;

    placeMake(&place);
    g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/from/socket", place.path);
    g_assert_cmpint(bind(fd, (struct sockaddr *) &address, sizeof(address)), ==, 0);
    makeFile(place.from, "zero", "", 0600);
    through(&place);
    g_assert_cmpint(fstatat(place.to, "zero", &sb, 0), ==, 0);
    g_assert_cmpint(fstatat(place.to, "socket", &sb, 0), <, 0);
}


static void
testHolesStay(void)
{
    g_auto(Place) place = PLACE_INIT;
    off_t some[] = { 0, 8 * MIB, 1LL << 40 };
    off_t last[] = { 64 * MIB - 64 * KIB };

    placeMake(&place);
    makeSparse(place.from, "some", (1LL << 40) + 100 * MIB, some, G_N_ELEMENTS(some));
    makeSparse(place.from, "none", 3LL << 40, NULL, 0);
    makeSparse(place.from, "last", 64 * MIB, last, 1);
    makeSparse(place.from, "not", 64 * KIB, some, 1);
    through(&place);
    expectSparse(&place, "some", MIB);
    expectSparse(&place, "none", 64 * KIB);
    expectSparse(&place, "last", MIB);
    expectSparse(&place, "not", MIB);
}


static int
makeDeep(int top,
         const char *name,
         size_t levels)
{
    int fd = openDir(top, ".");
    size_t i;

    for (i = 0; i < levels; i++) {
        int next;

        g_assert_cmpint(mkdirat(fd, name, 0700), ==, 0);
        next = openDir(fd, name);
        VIR_FORCE_CLOSE(fd);
        fd = next;
    }
    return fd;
}


static void
testDeepTree(void)
{
    g_auto(Place) place = PLACE_INIT;
    VIR_AUTOCLOSE fd = -1;
    size_t i;

    placeMake(&place);
    fd = makeDeep(place.from, "d", 10000);
    makeFile(fd, "file", "at the bottom", 0600);
    through(&place);

    VIR_FORCE_CLOSE(fd);
    fd = openDir(place.to, ".");
    for (i = 0; i < 10000; i++) {
        int next = openDir(fd, "d");

        VIR_FORCE_CLOSE(fd);
        fd = next;
    }
    g_assert_cmpint(faccessat(fd, "file", R_OK, 0), ==, 0);
}


static void
testPathThatIsTooLong(void)
{
    g_auto(Place) place = PLACE_INIT;
    g_autofree char *name = g_strnfill(255, 'n');
    VIR_AUTOCLOSE archive = -1;
    VIR_AUTOCLOSE fd = -1;

    placeMake(&place);
    fd = makeDeep(place.from, name, 130);
    archive = makeArchive(&place);
    g_assert_cmpint(virStorageFspoolArchivePack(place.from, archive, "item"), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_FAILED, "its path is too long");
    g_assert_cmpint(lseek(archive, 0, SEEK_SET), ==, 0);
    g_assert_cmpint(virStorageFspoolArchiveUnpack(archive, place.to, "item", NULL), ==, -1);
    virResetLastError();
}


/* What has no end, as zeros behind an archive, ends when nobody wants it any more. */
static void
testArchiveThatIsGivenUp(void)
{
    g_auto(Place) place = PLACE_INIT;
    VIR_AUTOCLOSE archive = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    int cancelled = 1;

    placeMake(&place);
    g_assert_cmpint(virStorageFspoolArchiveUnpack(archive, place.to, "item", &cancelled), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_FAILED, "it was given up");
}


/* Runs @work in a process with mounts of its own. */
static void
inOwnMounts(void (*work)(Place *),
            Place *place)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(77);
        /* what was open before is in the mounts of before */
        place->fd = openDir(AT_FDCWD, place->path);
        place->from = openDir(place->fd, "from");
        work(place);
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        g_test_skip("cannot mount here");
    else
        g_assert_cmpint(status, ==, 0);
}


static void
workWithMount(Place *place)
{
    g_autofree char *path = g_strdup_printf("%s/from/dir", place->path);
    VIR_AUTOCLOSE archive = makeArchive(place);

    if (mount("none", path, "tmpfs", 0, NULL) < 0)
        _exit(77);
    g_assert_cmpint(virStorageFspoolArchivePack(place->from, archive, "item"), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "mounted");
    g_assert_cmpint(umount(path), ==, 0);
}


static void
testMountPointIsRefused(void)
{
    g_auto(Place) place = PLACE_INIT;

    placeMake(&place);
    g_assert_cmpint(mkdirat(place.from, "dir", 0700), ==, 0);
    inOwnMounts(workWithMount, &place);
}


static void
workWithoutSpace(Place *place)
{
    g_autofree char *path = g_strdup_printf("%s/to", place->path);
    VIR_AUTOCLOSE archive = makeArchive(place);

    expectOk(virStorageFspoolArchivePack(place->from, archive, "item"));
    g_assert_cmpint(lseek(archive, 0, SEEK_SET), ==, 0);
    if (mount("none", path, "tmpfs", 0, "size=128k") < 0)
        _exit(77);
    place->to = openDir(place->fd, "to");
    g_assert_cmpint(virStorageFspoolArchiveUnpack(archive, place->to, "item", NULL), ==, -1);
    unitExpectError(VIR_ERR_SYSTEM_ERROR, "the limit of the volume or the space of its pool is used up");
}


static void
testNoSpaceIsSaid(void)
{
    g_auto(Place) place = PLACE_INIT;
    off_t at[] = { 0, MIB, 2 * MIB };

    placeMake(&place);
    makeSparse(place.from, "large", 3 * MIB, at, G_N_ELEMENTS(at));
    inOwnMounts(workWithoutSpace, &place);
}


static void
testSubvolumeIsRefused(void)
{
    g_auto(Place) place = PLACE_INIT;
    struct btrfs_ioctl_vol_args args = { .name = "subvolume" };
    VIR_AUTOCLOSE archive = -1;
    struct statfs sb;

    placeMake(&place);
    g_assert_cmpint(fstatfs(place.from, &sb), ==, 0);
    if (sb.f_type != BTRFS_SUPER_MAGIC || ioctl(place.from, BTRFS_IOC_SUBVOL_CREATE, &args) < 0) {
        g_test_skip("needs Btrfs");
        return;
    }
    archive = makeArchive(&place);
    g_assert_cmpint(virStorageFspoolArchivePack(place.from, archive, "item"), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "subvolume");
    g_assert_cmpint(unlinkat(place.from, "subvolume", AT_REMOVEDIR), ==, 0);
}


typedef struct {
    Place *place;
    int out;
    int rc;
} Packing;


static void *
packInThread(void *opaque)
{
    Packing *packing = opaque;

    packing->rc = virStorageFspoolArchivePack(packing->place->from, packing->out, "item");
    virResetLastError();
    VIR_FORCE_CLOSE(packing->out);
    return NULL;
}


/* Packs into a pipe; when the first bytes are there, a file gets another size. Returns the archive. */
static int
packWhileResized(Place *place,
                 off_t size)
{
    int pipes[2];
    Packing packing = { .place = place };
    VIR_AUTOCLOSE file = openat(place->from, "file", O_RDWR | O_CLOEXEC);
    int archive = makeArchive(place);
    GThread *thread;
    char buf[4 * KIB];
    ssize_t got;
    size_t total = 0;

    g_assert_cmpint(pipe2(pipes, O_CLOEXEC), ==, 0);
    packing.out = pipes[1];
    thread = g_thread_new("pack", packInThread, &packing);
    while ((got = read(pipes[0], buf, sizeof(buf))) > 0) {
        if (total == 0)
            g_assert_cmpint(ftruncate(file, size), ==, 0);
        g_assert_cmpint(write(archive, buf, got), ==, got);
        total += got;
    }
    g_thread_join(thread);
    VIR_FORCE_CLOSE(pipes[0]);
    g_assert_cmpint(packing.rc, ==, 0);
    g_assert_cmpint(lseek(archive, 0, SEEK_SET), ==, 0);
    return archive;
}


static void
checkResized(off_t size)
{
    g_auto(Place) place = PLACE_INIT;
    off_t at[] = { 0, MIB, 3 * MIB, 8 * MIB };
    VIR_AUTOCLOSE archive = -1;
    struct stat sb;

    placeMake(&place);
    makeSparse(place.from, "file", 9 * MIB, at, G_N_ELEMENTS(at));
    makeFile(place.from, "later", "whole", 0600);
    archive = packWhileResized(&place, size);
    expectOk(virStorageFspoolArchiveUnpack(archive, place.to, "item", NULL));
    g_assert_cmpint(fstatat(place.to, "file", &sb, 0), ==, 0);
    g_assert_cmpint(sb.st_size, ==, 9 * MIB);
    g_assert_cmpint(fstatat(place.to, "later", &sb, 0), ==, 0);
    g_assert_cmpint(sb.st_size, ==, 5);
}


static void
testFileThatChangesItsSize(void)
{
    checkResized(0);
    checkResized(MIB + 1);
    checkResized(20 * MIB);
}


/* Also for a process that has not ignored SIGPIPE. */
static void
testReaderThatGoesAway(void)
{
    g_auto(Place) place = PLACE_INIT;
    off_t at[] = { 0, MIB };
    int pipes[2];

    placeMake(&place);
    makeSparse(place.from, "file", 2 * MIB, at, G_N_ELEMENTS(at));
    signal(SIGPIPE, SIG_DFL);
    g_assert_cmpint(pipe2(pipes, O_CLOEXEC), ==, 0);
    VIR_FORCE_CLOSE(pipes[0]);
    g_assert_cmpint(virStorageFspoolArchivePack(place.from, pipes[1], "item"), ==, -1);
    unitExpectError(VIR_ERR_SYSTEM_ERROR, "Broken pipe");
    VIR_FORCE_CLOSE(pipes[1]);
}


/* Times: @count small entries, through a pipe's worth at a time as ever. */
static void
testManyEntries(void)
{
    g_auto(Place) place = PLACE_INIT;
    size_t count = g_test_slow() ? 100000 : 20000;
    VIR_AUTOCLOSE archive = -1;
    VIR_AUTOCLOSE dir = -1;
    gint64 begin;
    gint64 packed;
    size_t i;

    placeMake(&place);
    for (i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("%zu", i);

        if (i % 100 == 0) {
            VIR_FORCE_CLOSE(dir);
            g_assert_cmpint(mkdirat(place.from, name, 0755), ==, 0);
            dir = openDir(place.from, name);
        } else {
            makeFile(dir, name, "little", 0644);
        }
    }
    archive = makeArchive(&place);
    begin = g_get_monotonic_time();
    expectOk(virStorageFspoolArchivePack(place.from, archive, "item"));
    packed = g_get_monotonic_time();
    g_assert_cmpint(lseek(archive, 0, SEEK_SET), ==, 0);
    expectOk(virStorageFspoolArchiveUnpack(archive, place.to, "item", NULL));
    g_test_message("%zu entries: packed in %.2f s, unpacked in %.2f s", count, (packed - begin) / 1e6,
                   (g_get_monotonic_time() - packed) / 1e6);
    VIR_FORCE_CLOSE(dir);
    dir = openDir(place.to, "0");
    g_assert_cmpint(faccessat(dir, "99", R_OK, 0), ==, 0);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);
    umask(022);

    g_test_add_func("/fspool-archive/round-trip", testRoundTrip);
    g_test_add_func("/fspool-archive/same-bytes", testSamePacksAreTheSameBytes);
    g_test_add_func("/fspool-archive/own-metadata", testOwnMetadataStaysBehind);
    g_test_add_func("/fspool-archive/socket", testSocketIsLeftOut);
    g_test_add_func("/fspool-archive/holes", testHolesStay);
    g_test_add_func("/fspool-archive/deep", testDeepTree);
    g_test_add_func("/fspool-archive/long-path", testPathThatIsTooLong);
    g_test_add_func("/fspool-archive/given-up", testArchiveThatIsGivenUp);
    g_test_add_func("/fspool-archive/mount-point", testMountPointIsRefused);
    g_test_add_func("/fspool-archive/no-space", testNoSpaceIsSaid);
    g_test_add_func("/fspool-archive/subvolume", testSubvolumeIsRefused);
    g_test_add_func("/fspool-archive/changing-size", testFileThatChangesItsSize);
    g_test_add_func("/fspool-archive/reader-goes-away", testReaderThatGoesAway);
    g_test_add_func("/fspool-archive/many-entries", testManyEntries);

    return g_test_run();
}
