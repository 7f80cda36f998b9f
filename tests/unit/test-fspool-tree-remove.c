/*
 * test-fspool-tree-remove.c: removing directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tree.h"

#include "storage_fspool_subvolume.h"
#include "storage_fspool_tree_entry.h"

#define MANY 100000

static bool ownNamespace;


static void
testRemove(Trees *trees,
           gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE sub = makeDir(trees->from, "sub");
    VIR_AUTOCLOSE empty = makeDir(sub, "empty");

    putFile(sub, "file", "x");
    g_assert_cmpint(symlinkat("../../victim", sub, "link"), ==, 0);
    g_assert_cmpint(symlinkat("../victim", trees->from, "link"), ==, 0);
    g_assert_cmpint(fchmod(sub, 0), ==, 0);
    removeFrom(trees);

    /* what is missing, no directory, or a link to one */
    removeFrom(trees);
    putFile(trees->dir, "from", "x");
    removeFrom(trees);
    g_assert_cmpint(symlinkat("victim", trees->dir, "from"), ==, 0);
    removeFrom(trees);
}


static void
testEmpty(Trees *trees,
          gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE sub = makeDir(trees->from, "sub");

    putFile(sub, "file", "x");
    dress(trees->from, ".", 0700);
    g_assert_cmpint(virStorageFspoolTreeEmpty(trees->from, "item"), ==, 0);
    g_assert_false(isThere(trees->from, "sub"));
    g_assert_cmpint(statOf(trees->dir, "from").st_uid, ==, 1234);
}


/* A path in a message is printable, and not long. */
static void
testMessage(Trees *trees,
            gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *name = g_strnfill(255, 'x');
    VIR_AUTOCLOSE dir = makeDir(trees->from, name);
    VIR_AUTOCLOSE sub = makeDir(dir, "e\x1b[2J'\n\xff\xc3\xa4");
    VIR_AUTOCLOSE file = openat(sub, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    int flags = FS_IMMUTABLE_FL;

    if (ioctl(file, FS_IOC_SETFLAGS, &flags) < 0) {
        g_test_skip("nothing can be immutable here");
        return;
    }

    g_assert_cmpint(virStorageFspoolTreeRemove(trees->dir, "from", "item", NULL), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID,
                    "xx.../e\\x1b[2J\\x27\\x0a\\xff\xc3\xa4/file' in volume 'item' is marked immutable");

    flags = 0;
    g_assert_cmpint(ioctl(file, FS_IOC_SETFLAGS, &flags), ==, 0);
    removeFrom(trees);
}


static void
testMounts(Trees *trees,
           gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *dirPath = g_strdup_printf("%s/from/dir", trees->path);
    g_autofree char *filePath = g_strdup_printf("%s/from/file", trees->path);
    g_autofree char *victim = g_strdup_printf("%s/victim", trees->path);
    g_autofree char *secret = g_strdup_printf("%s/secret", victim);
    VIR_AUTOCLOSE dir = makeDir(trees->from, "dir");

    putFile(trees->from, "file", "mine");
    if (!ownNamespace || mount(victim, dirPath, NULL, MS_BIND, NULL) < 0) {
        g_test_skip("nothing can be mounted here");
        return;
    }

    g_assert_cmpint(virStorageFspoolTreeCopy(trees->from, trees->to, "item", NULL), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "'/dir' in volume 'item' is a mount point");
    g_assert_cmpint(virStorageFspoolTreeRemove(trees->dir, "from", "item", NULL), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "'/dir' in volume 'item' is a mount point");
    expectFile(trees->from, "file", "mine");
    g_assert_cmpint(umount(dirPath), ==, 0);

    g_assert_cmpint(mount(secret, filePath, NULL, MS_BIND, NULL), ==, 0);
    g_assert_cmpint(virStorageFspoolTreeEmpty(trees->to, "item"), ==, 0);
    g_assert_cmpint(virStorageFspoolTreeCopy(trees->from, trees->to, "item", NULL), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "'/file' in volume 'item' is a mount point");
    g_assert_cmpint(virStorageFspoolTreeEmpty(trees->from, "item"), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "'/file' in volume 'item' is a mount point");
    g_assert_cmpint(umount(filePath), ==, 0);

    /* the tree itself: not from outside, but it can be emptied */
    g_assert_cmpint(mount(dirPath, dirPath, NULL, MS_BIND, NULL), ==, 0);
    VIR_FORCE_CLOSE(dir);
    dir = openDir(trees->from, "dir");
    putFile(dir, "file", "x");
    g_assert_cmpint(virStorageFspoolTreeRemove(trees->from, "dir", "item", NULL), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "'/' in volume 'item' is a mount point");
    g_assert_cmpint(virStorageFspoolTreeEmpty(dir, "item"), ==, 0);
    g_assert_false(isThere(dir, "file"));
    VIR_FORCE_CLOSE(dir);
    g_assert_cmpint(umount(dirPath), ==, 0);
    removeFrom(trees);
}


static void
testRemoveRace(Trees *trees,
               gconstpointer data G_GNUC_UNUSED)
{
    gint64 start = g_get_monotonic_time();
    size_t i;

    for (i = 0; goesOn(start, i); i++) {
        Racer racer = { .dir = trees->from, .act = swap };

        makeSwappable(trees->from);
        startRace(&racer);
        removeFrom(trees);
        stopRace(&racer);
        VIR_FORCE_CLOSE(trees->from);
        trees->from = makeDir(trees->dir, "from");
    }
}


static void
moveBackAndForth(int dir)
{
    ignore_value(renameat(dir, "dir", dir, "../to/dir"));
    ignore_value(renameat(dir, "../to/dir", dir, "dir"));
}


/* A directory that is moved out while it is opened is there, or not, but no mount point. */
static void
testOpenMoved(Trees *trees,
              gconstpointer data G_GNUC_UNUSED)
{
    Racer racer = { .dir = trees->from, .act = moveBackAndForth };
    VIR_AUTOCLOSE dir = makeDir(trees->from, "dir");
    size_t i;

    startRace(&racer);
    for (i = 0; i < 100000; i++) {
        VIR_AUTOCLOSE fd = virStorageFspoolTreeOpen(trees->from, "dir", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

        if (fd < 0)
            g_assert_cmpint(errno, ==, ENOENT);
    }
    stopRace(&racer);
    removeFrom(trees);
}


/* What is moved out of the tree meanwhile goes, or stays, but nothing beside it. */
static void
testRemoveMoved(Trees *trees,
                gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE victim = openDir(trees->dir, "victim");
    gint64 start = g_get_monotonic_time();
    size_t i;

    for (i = 0; goesOn(start, i); i++) {
        Racer racer = { .dir = trees->from, .act = moveAway };
        VIR_AUTOCLOSE deepest = makeDeep(trees->from, 60);

        startRace(&racer);
        removeFrom(trees);
        stopRace(&racer);
        g_assert_cmpint(virStorageFspoolTreeRemove(victim, "moved", "item", NULL), ==, 0);
        VIR_FORCE_CLOSE(trees->from);
        trees->from = makeDir(trees->dir, "from");
    }
}


static void
fill(int dir)
{
    VIR_AUTOCLOSE sub = -1;

    ignore_value(mknodat(dir, "file", S_IFREG | 0600, 0));
    ignore_value(mkdirat(dir, "sub", 0700));
    if ((sub = openat(dir, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0)
        ignore_value(mknodat(sub, "file", S_IFREG | 0600, 0));
}


/* Against somebody who goes on to write it ends, one way or the other. */
static void
testRemoveLive(Trees *trees,
               gconstpointer data G_GNUC_UNUSED)
{
    gint64 start = g_get_monotonic_time();
    size_t busy = 0;
    size_t i;

    for (i = 0; goesOn(start, i); i++) {
        Racer racer = { .dir = trees->from, .act = fill };

        startRace(&racer);
        if (virStorageFspoolTreeRemove(trees->dir, "from", "item", NULL) < 0) {
            unitExpectError(VIR_ERR_OPERATION_FAILED, "is being written to");
            busy++;
        }
        stopRace(&racer);
        removeFrom(trees);
        VIR_FORCE_CLOSE(trees->from);
        trees->from = makeDir(trees->dir, "from");
    }
    g_test_message("busy %zu times of %zu", busy, i);
}


/* An entry, not a path: that would be resolved more than once. */
static void
testRemovePath(Trees *trees,
               gconstpointer data G_GNUC_UNUSED)
{
    const char *paths[] = { "", ".", "..", "victim/secret", "/tmp" };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_assert_cmpint(virStorageFspoolTreeRemove(trees->dir, paths[i], "item", NULL), ==, -1);
        unitExpectError(VIR_ERR_INTERNAL_ERROR, "item");
    }
    expectFile(trees->dir, "victim/secret", "secret");
}


static void
setProject(int fd,
           uint32_t project)
{
    struct fsxattr attr;

    g_assert_cmpint(ioctl(fd, FS_IOC_FSGETXATTR, &attr), ==, 0);
    attr.fsx_projid = project;
    attr.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    g_assert_cmpint(ioctl(fd, FS_IOC_FSSETXATTR, &attr), ==, 0);
}


/* Deeper directories of other projects cannot just be moved up. */
static void
testRemoveProjects(Trees *trees,
                   gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE middle = -1;
    VIR_AUTOCLOSE deepest = -1;
    struct fsxattr attr;

    if (ioctl(trees->from, FS_IOC_FSGETXATTR, &attr) < 0 ||
        ioctl(trees->from, FS_IOC_FSSETXATTR, &attr) < 0 ||
        (attr.fsx_projid = 7, ioctl(trees->to, FS_IOC_FSSETXATTR, &attr)) < 0) {
        g_test_skip("no projects here");
        return;
    }

    setProject(trees->from, 7);
    middle = makeDeep(trees->from, 10);
    setProject(middle, 8);
    deepest = makeDeep(middle, 90);
    putFile(deepest, "file", "x");
    removeFrom(trees);
}


static void *
removeThread(void *opaque)
{
    removeFrom(opaque);
    return NULL;
}


/* More entries than are read, and directories than are noted, at once. */
static void
testMany(Trees *trees,
         gconstpointer data G_GNUC_UNUSED)
{
    virStorageFspoolProgress progress = { 0 };
    gint64 start;
    size_t i;

    for (i = 0; i < MANY; i++) {
        g_autofree char *name = g_strdup_printf("entry-%zu", i);

        if (i % 10 == 0)
            g_assert_cmpint(mkdirat(trees->from, name, 0700), ==, 0);
        else
            putFile(trees->from, name, "x");
    }

    start = g_get_monotonic_time();
    g_assert_cmpint(virStorageFspoolTreeCopy(trees->from, trees->to, "item", &progress), ==, 0);
    g_test_message("copied in %lld ms", (long long) (g_get_monotonic_time() - start) / 1000);
    g_assert_cmpint(progress.entries, ==, MANY + 1);

    start = g_get_monotonic_time();
    removeFrom(trees);
    g_test_message("removed in %lld ms", (long long) (g_get_monotonic_time() - start) / 1000);
}


static void
testRemoveDeep(Trees *trees,
               gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE deepest = makeDeep(trees->from, DEEP);

    putFile(deepest, "file", "deep");
    runConfined(removeThread, trees);
}


/* A tree that has several branches at every few levels. */
static void
makeBranches(int dir,
             size_t levels)
{
    size_t i;

    for (i = 0; i < 2 && levels > 0; i++) {
        VIR_AUTOCLOSE deepest = -1;
        g_autofree char *name = g_strdup_printf("branch-%zu", i);
        VIR_AUTOCLOSE branch = makeDir(dir, name);

        deepest = makeDeep(branch, 25);
        putFile(deepest, "file", "x");
        makeBranches(deepest, levels - 1);
    }
}


/* Killed at any time, and called again. */
static void
testRemoveInterrupted(Trees *trees,
                      gconstpointer data G_GNUC_UNUSED)
{
    useconds_t wait;
    size_t kills = 0;

    makeBranches(trees->from, 6);
    for (wait = 500; isThere(trees->dir, "from"); wait += 500) {
        pid_t child = fork();
        int status = 0;

        g_assert_cmpint(child, >=, 0);
        if (child == 0) {
            removeFrom(trees);
            _exit(EXIT_SUCCESS);
        }
        usleep(wait);
        kill(child, SIGKILL);
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        if (WIFSIGNALED(status)) {
            g_assert_cmpint(WTERMSIG(status), ==, SIGKILL);
            kills++;
        }
    }
    g_test_message("killed %zu times", kills);
}


static void
testSubvolume(Trees *trees,
              gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *tooLong = g_strnfill(256, 'x');
    VIR_AUTOCLOSE one = -1;
    VIR_AUTOCLOSE snapshot = -1;
    uint64_t id = 0;
    uint64_t other = 0;
    bool nested = true;

    if (!virStorageFspoolIsBtrfs(trees->dir)) {
        g_assert_false(virStorageFspoolIsSubvolume(trees->dir));
        g_assert_cmpint(virStorageFspoolSubvolumeCreate(trees->dir, "one", 0), ==, -1);
        g_test_skip("not on Btrfs");
        return;
    }

    g_assert_false(virStorageFspoolIsSubvolume(trees->from));
    g_assert_cmpint(virStorageFspoolSubvolumeCreate(trees->dir, tooLong, 0), ==, -1);
    g_assert_cmpint(errno, ==, ENAMETOOLONG);
    g_assert_cmpint(virStorageFspoolSubvolumeCreate(trees->dir, "one", 0), ==, 0);
    g_assert_cmpint(virStorageFspoolSubvolumeCreate(trees->dir, "one", 0), ==, -1);
    g_assert_cmpint(errno, ==, EEXIST);
    one = openDir(trees->dir, "one");
    g_assert_true(virStorageFspoolIsSubvolume(one));
    g_assert_cmpint(virStorageFspoolSubvolumeId(one, &id), ==, 0);
    g_assert_cmpint(virStorageFspoolSubvolumeHasNested(one, &nested), ==, 0);
    g_assert_false(nested);

    putFile(one, "file", "x");
    g_assert_cmpint(virStorageFspoolSubvolumeCreate(one, "nested", 0), ==, 0);
    g_assert_cmpint(virStorageFspoolSubvolumeHasNested(one, &nested), ==, 0);
    g_assert_true(nested);
    g_assert_cmpint(virStorageFspoolSubvolumeDestroy(trees->dir, "one"), ==, -1);
    g_assert_cmpint(errno, ==, ENOTEMPTY);

    g_assert_cmpint(virStorageFspoolSubvolumeSnapshot(trees->dir, "snapshot", one, true), ==, 0);
    snapshot = openDir(trees->dir, "snapshot");
    g_assert_cmpint(virStorageFspoolSubvolumeId(snapshot, &other), ==, 0);
    g_assert_cmpint(id, !=, other);
    g_assert_true(virStorageFspoolSubvolumeIsReadonly(snapshot));
    expectFile(snapshot, "file", "x");
    g_assert_cmpint(virStorageFspoolSubvolumeHasNested(snapshot, &nested), ==, 0);
    g_assert_false(nested);
    g_assert_cmpint(virStorageFspoolSubvolumeSetReadonly(snapshot, false), ==, 0);
    g_assert_false(virStorageFspoolSubvolumeIsReadonly(snapshot));
    g_assert_cmpint(unlinkat(snapshot, "file", 0), ==, 0);
    g_assert_cmpint(virStorageFspoolSubvolumeSetReadonly(snapshot, true), ==, 0);

    VIR_FORCE_CLOSE(snapshot);
    g_assert_cmpint(virStorageFspoolTreeRemove(trees->dir, "snapshot", "item", NULL), ==, 0);
    g_assert_cmpint(virStorageFspoolSubvolumeDestroy(one, "nested"), ==, 0);
    g_assert_cmpint(virStorageFspoolSubvolumeDestroy(trees->dir, "one"), ==, 0);
}


/* Makes a subvolume at the end of a deep path, with a file and a snapshot of itself in it, and returns it. */
static int
makeNested(int dir,
           size_t levels)
{
    VIR_AUTOCLOSE deepest = makeDeep(dir, levels);
    int fd;

    g_assert_cmpint(virStorageFspoolSubvolumeCreate(deepest, "nested", 0), ==, 0);
    fd = openDir(deepest, "nested");
    putFile(fd, "file", "x");
    g_assert_cmpint(virStorageFspoolSubvolumeSnapshot(fd, "snapshot", fd, true), ==, 0);
    return fd;
}


/* Subvolumes in subvolumes, read-only ones among them, each deeper than what is open at once. */
static void
testRemoveNested(Trees *trees,
                 gconstpointer data)
{
    size_t levels = GPOINTER_TO_SIZE(data);
    int fd;
    size_t i;

    if (!virStorageFspoolIsBtrfs(trees->dir)) {
        g_test_skip("not on Btrfs");
        return;
    }

    VIR_FORCE_CLOSE(trees->from);
    g_assert_cmpint(unlinkat(trees->dir, "from", AT_REMOVEDIR), ==, 0);
    g_assert_cmpint(virStorageFspoolSubvolumeCreate(trees->dir, "from", 0), ==, 0);
    trees->from = openDir(trees->dir, "from");

    fd = openDir(trees->from, ".");
    for (i = 0; i < 100; i++) {
        int next = makeNested(fd, levels);

        if (i % 2)
            g_assert_cmpint(virStorageFspoolSubvolumeSetReadonly(fd, true), ==, 0);
        VIR_FORCE_CLOSE(fd);
        fd = next;
    }
    VIR_FORCE_CLOSE(fd);
    g_assert_cmpint(virStorageFspoolSubvolumeSetReadonly(trees->from, true), ==, 0);
    runConfined(removeThread, trees);
}


/* Empty ones, also such as stand for a subvolume in a snapshot, and one that is read-only. */
static void
testRemoveEmptySubvolumes(Trees *trees,
                          gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE empty = -1;
    VIR_AUTOCLOSE nested = -1;

    if (!virStorageFspoolIsBtrfs(trees->dir)) {
        g_test_skip("not on Btrfs");
        return;
    }

    g_assert_cmpint(virStorageFspoolSubvolumeCreate(trees->from, "empty", 0), ==, 0);
    empty = openDir(trees->from, "empty");
    nested = makeNested(trees->from, 3);
    g_assert_cmpint(virStorageFspoolSubvolumeSnapshot(trees->from, "other", nested, false), ==, 0);
    g_assert_cmpint(virStorageFspoolSubvolumeSetReadonly(empty, true), ==, 0);
    removeFrom(trees);
}


/* One call of the kernel, however much is in it. */
static void
testRemoveSubvolume(Trees *trees,
                    gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE sub = -1;
    gint64 start;
    size_t i;

    if (!virStorageFspoolIsBtrfs(trees->dir)) {
        g_test_skip("not on Btrfs");
        return;
    }

    g_assert_cmpint(virStorageFspoolSubvolumeCreate(trees->from, "sub", 0), ==, 0);
    sub = openDir(trees->from, "sub");
    for (i = 0; i < 10000; i++) {
        g_autofree char *name = g_strdup_printf("%zu", i);

        putFile(sub, name, "x");
    }

    start = g_get_monotonic_time();
    g_assert_cmpint(virStorageFspoolTreeRemove(trees->from, "sub", "item", NULL), ==, 0);
    g_test_message("removed in %lld us", (long long) (g_get_monotonic_time() - start));
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    /* What is mounted goes with the process. */
    ownNamespace = unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;

#define ADD(name, data, func) g_test_add("/fspool-tree-remove/" name, Trees, data, setUp, func, tearDown)
    ADD("tree", NULL, testRemove);
    ADD("content", NULL, testEmpty);
    ADD("message", NULL, testMessage);
    ADD("mounts", NULL, testMounts);
    ADD("swapped", NULL, testRemoveRace);
    ADD("open-moved", NULL, testOpenMoved);
    ADD("moved", NULL, testRemoveMoved);
    ADD("live", NULL, testRemoveLive);
    ADD("path", NULL, testRemovePath);
    ADD("projects", NULL, testRemoveProjects);
    ADD("deep", NULL, testRemoveDeep);
    ADD("many", NULL, testMany);
    ADD("interrupted", NULL, testRemoveInterrupted);
    ADD("subvolume", NULL, testSubvolume);
    ADD("one-subvolume", NULL, testRemoveSubvolume);
    ADD("empty-subvolumes", NULL, testRemoveEmptySubvolumes);
    ADD("nested-subvolumes", GSIZE_TO_POINTER(1), testRemoveNested);
    ADD("deeply-nested-subvolumes", GSIZE_TO_POINTER(50), testRemoveNested);
#undef ADD

    return g_test_run();
}
