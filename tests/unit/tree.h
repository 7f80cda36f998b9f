/*
 * tree.h: directory trees, for the tests that need some
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "unit.h"

#include "storage_fspool_tree.h"
#include "virerror.h"
#include "virfile.h"

/* They are made in memory, where they do not wait for disks, or in $TMPDIR: so other file systems can be tried. */

#define DEEP 10000
#define RACES 200
#define RACE_SECONDS 10


typedef struct {
    char *path; /* below it: "from", "to", "victim" */
    int dir;
    int from;
    int to;
} Trees;


static inline int
openDir(int dir,
        const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}


static inline int
makeDir(int dir,
        const char *name)
{
    g_assert_cmpint(mkdirat(dir, name, 0755), ==, 0);
    return openDir(dir, name);
}


static inline void
putFile(int dir,
        const char *name,
        const char *content)
{
    VIR_AUTOCLOSE fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, content, strlen(content)), ==, strlen(content));
}


static inline void
expectFile(int dir,
           const char *name,
           const char *content)
{
    VIR_AUTOCLOSE fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    char buf[64] = "";

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(read(fd, buf, sizeof(buf) - 1), >=, 0);
    g_assert_cmpstr(buf, ==, content);
}


static inline struct stat
statOf(int dir,
       const char *name)
{
    struct stat sb;

    g_assert_cmpint(fstatat(dir, name, &sb, AT_SYMLINK_NOFOLLOW), ==, 0);
    return sb;
}


static inline bool
isThere(int dir,
        const char *name)
{
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}


static inline void
setUp(Trees *trees,
      gconstpointer data G_GNUC_UNUSED)
{
    VIR_AUTOCLOSE victim = -1;
    const char *place = g_getenv("TMPDIR");

    alarm(300); /* nothing may hang */
    if (!place)
        place = g_file_test("/dev/shm", G_FILE_TEST_IS_DIR) ? "/dev/shm" : "/tmp";
    trees->path = g_build_filename(place, "test-fspool-XXXXXX", NULL);
    g_assert_nonnull(g_mkdtemp(trees->path));
    trees->dir = openDir(AT_FDCWD, trees->path);
    trees->from = makeDir(trees->dir, "from");
    trees->to = makeDir(trees->dir, "to");
    victim = makeDir(trees->dir, "victim");
    putFile(victim, "secret", "secret");
}


static inline void
tearDown(Trees *trees,
         gconstpointer data G_GNUC_UNUSED)
{
    g_assert_cmpint(virStorageFspoolTreeEmpty(trees->dir, "all"), ==, 0);
    g_assert_cmpint(rmdir(trees->path), ==, 0);
    alarm(0);
    VIR_FORCE_CLOSE(trees->dir);
    VIR_FORCE_CLOSE(trees->from);
    VIR_FORCE_CLOSE(trees->to);
    g_free(trees->path);
}


static inline void
copy(Trees *trees)
{
    if (virStorageFspoolTreeCopy(trees->from, trees->to, "item", NULL) < 0)
        g_error("copy: %s", virGetLastErrorMessage());
}


static inline void
removeFrom(Trees *trees)
{
    if (virStorageFspoolTreeRemove(trees->dir, "from", "item", NULL) < 0)
        g_error("remove: %s", virGetLastErrorMessage());
    g_assert_false(isThere(trees->dir, "from"));
    expectFile(trees->dir, "victim/secret", "secret");
}


static inline void
dress(int dir,
      const char *name,
      mode_t mode)
{
    struct timespec times[2] = { { 12345, 678 }, { 987654321, 123456789 } };

    g_assert_cmpint(fchownat(dir, name, 1234, 4321, AT_SYMLINK_NOFOLLOW), ==, 0);
    if (mode)
        g_assert_cmpint(fchmodat(dir, name, mode, 0), ==, 0);
    g_assert_cmpint(utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW), ==, 0);
}


typedef struct {
    int dir;
    int stop;
    pthread_t thread;
    void (*act)(int dir);
} Racer;


static inline void *
race(void *opaque)
{
    Racer *racer = opaque;

    while (!__atomic_load_n(&racer->stop, __ATOMIC_RELAXED))
        racer->act(racer->dir);
    return NULL;
}


/* Where all is slow, a race has fewer rounds. */
static inline bool
goesOn(gint64 start,
       size_t rounds)
{
    return rounds < RACES && g_get_monotonic_time() - start < RACE_SECONDS * G_USEC_PER_SEC;
}


static inline void
startRace(Racer *racer)
{
    g_assert_cmpint(pthread_create(&racer->thread, NULL, race, racer), ==, 0);
}


static inline void
stopRace(Racer *racer)
{
    __atomic_store_n(&racer->stop, 1, __ATOMIC_RELAXED);
    pthread_join(racer->thread, NULL);
    racer->stop = 0;
}


static inline void
swap(int dir)
{
    ignore_value(renameat2(dir, "dir", dir, "link", RENAME_EXCHANGE));
    ignore_value(renameat2(dir, "dir/sub", dir, "dir/link", RENAME_EXCHANGE));
}


/* Two levels, at each of which a directory can be swapped for a link to the victim. */
static inline void
makeSwappable(int from)
{
    VIR_AUTOCLOSE dir = makeDir(from, "dir");
    VIR_AUTOCLOSE sub = makeDir(dir, "sub");
    size_t i;

    for (i = 0; i < 20; i++) {
        g_autofree char *name = g_strdup_printf("%zu", i);

        putFile(dir, name, "x");
        putFile(sub, name, "x");
    }
    g_assert_cmpint(symlinkat("../victim", from, "link"), ==, 0);
    g_assert_cmpint(symlinkat("../../victim", dir, "link"), ==, 0);
}


/* Makes a tree of so many levels, and returns the deepest. */
static inline int
makeDeep(int top,
         size_t levels)
{
    int fd = openDir(top, ".");
    size_t i;

    for (i = 0; i < levels; i++) {
        int next = makeDir(fd, "d");

        VIR_FORCE_CLOSE(fd);
        fd = next;
    }
    return fd;
}


/* With a small stack, and few descriptors. */
static inline void
runConfined(void *(*func)(void *),
            Trees *trees)
{
    struct rlimit limit;
    struct rlimit few;
    pthread_attr_t attr;
    pthread_t thread;

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    few = limit;
    few.rlim_cur = 128;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &few), ==, 0);
    g_assert_cmpint(pthread_attr_init(&attr), ==, 0);
    g_assert_cmpint(pthread_attr_setstacksize(&attr, 128 * 1024), ==, 0);
    g_assert_cmpint(pthread_create(&thread, &attr, func, trees), ==, 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
}


/* A directory in the middle of a deep path, which is moved to the victim, and back. */
#define MOVED "d/d/d/d/d/d/d/d"

static inline void
moveAway(int from)
{
    ignore_value(renameat2(from, MOVED, from, "../victim/moved", RENAME_NOREPLACE));
    ignore_value(renameat2(from, "../victim/moved", from, MOVED, RENAME_NOREPLACE));
}
