/*
 * archive.h: directory trees and archives, for the tests of these
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "unit.h"

#include "storage_fspool_archive.h"
#include "virerror.h"
#include "virfile.h"

#define KIB 1024
#define MIB (1024 * 1024)

/* user::rwx, user:12345:r--, group::r--, mask::r--, other::---: as the kernel has it */
static const unsigned char acl[] = {
    2, 0, 0, 0,
    1, 0, 7, 0, 255, 255, 255, 255,
    2, 0, 4, 0, 0x39, 0x30, 0, 0,
    4, 0, 4, 0, 255, 255, 255, 255,
    16, 0, 4, 0, 255, 255, 255, 255,
    32, 0, 0, 0, 255, 255, 255, 255,
};

/* A directory in $TMPDIR with one for the tree, "from", one for what comes out of its archive, "to", and beside them one
 * that has nothing to do with it, "victim". */
typedef struct {
    char *path;
    int fd;
    int from;
    int to;
    bool root;
    bool attrs; /* the file system has "user." and access control lists */
} Place;

#define PLACE_INIT { .fd = -1, .from = -1, .to = -1 }


static inline int
openDir(int dirfd,
        const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}


static inline void
makeFile(int dirfd,
         const char *name,
         const char *content,
         mode_t mode)
{
    VIR_AUTOCLOSE fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, content, strlen(content)), ==, strlen(content));
    g_assert_cmpint(fchmod(fd, mode), ==, 0);
}


static inline void
placeMake(Place *place)
{
    VIR_AUTOCLOSE victim = -1;

    place->path = g_dir_make_tmp("test-fspool-archive-XXXXXX", NULL);
    g_assert_nonnull(place->path);
    place->fd = openDir(AT_FDCWD, place->path);
    g_assert_cmpint(mkdirat(place->fd, "from", 0755), ==, 0);
    g_assert_cmpint(mkdirat(place->fd, "to", 0700), ==, 0);
    g_assert_cmpint(mkdirat(place->fd, "victim", 0700), ==, 0);
    place->from = openDir(place->fd, "from");
    place->to = openDir(place->fd, "to");
    victim = openDir(place->fd, "victim");
    makeFile(victim, "file", "secret", 0640);
    place->root = geteuid() == 0;
    place->attrs = fsetxattr(place->to, "user.test", "", 0, 0) == 0 &&
        fsetxattr(place->to, "system.posix_acl_access", acl, sizeof(acl), 0) == 0 &&
        fremovexattr(place->to, "user.test") == 0 &&
        fremovexattr(place->to, "system.posix_acl_access") == 0;
    g_assert_cmpint(fchmod(place->to, 0700), ==, 0); /* a list changes the mode, too */
}


static inline void
placeClear(Place *place)
{
    g_autofree char *command = g_strdup_printf("rm -rf --one-file-system '%1$s' 2>/dev/null || "
                                               "{ chmod -R u+rwx '%1$s'; rm -rf --one-file-system '%1$s'; }",
                                               place->path);

    VIR_FORCE_CLOSE(place->from);
    VIR_FORCE_CLOSE(place->to);
    VIR_FORCE_CLOSE(place->fd);
    if (place->path)
        g_assert_cmpint(system(command), ==, 0);
    g_free(place->path);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, placeClear);


static inline void
setTime(int dirfd,
        const char *name,
        long long sec,
        long nsec)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = sec, .tv_nsec = nsec } };

    g_assert_cmpint(utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW), ==, 0);
}


static inline void
setAttr(int dirfd,
        const char *name,
        const char *attr,
        const void *value,
        size_t len)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/%s", dirfd, name);

    g_assert_cmpint(lsetxattr(path, attr, value, len, 0), ==, 0);
}


/* Everything that a tree can have, of every kind. */
static inline void
makeTree(Place *place)
{
    int fd = place->from;
    VIR_AUTOCLOSE dir = -1;
    VIR_AUTOCLOSE below = -1;

    g_assert_cmpint(mkdirat(fd, "dir", 0750), ==, 0);
    dir = openDir(fd, "dir");
    g_assert_cmpint(mkdirat(dir, "below", 0700), ==, 0);
    below = openDir(dir, "below");
    makeFile(below, "file", "text\n", 0440);
    makeFile(fd, "empty", "", 0644);
    makeFile(fd, "setuid", "program", 0644);
    makeFile(dir, "one name", "linked", 0600);
    g_assert_cmpint(linkat(dir, "one name", fd, "other name", 0), ==, 0);
    g_assert_cmpint(linkat(dir, "one name", below, "third", 0), ==, 0);
    g_assert_cmpint(symlinkat("../../../etc/passwd", dir, "link"), ==, 0);
    g_assert_cmpint(mkfifoat(fd, "fifo", 0622), ==, 0);
    makeFile(fd, "new\nline", "odd", 0600);
    makeFile(fd, "not-utf8-\xff\xfe", "odd", 0600);
    makeFile(fd, "composed-\xc3\xa9", "NFC", 0600);
    makeFile(fd, "composed-e\xcc\x81", "NFD", 0600);

    if (place->attrs) {
        setAttr(fd, "empty", "user.plain", "value\0with\nall", 14);
        setAttr(fd, "empty", "user.a=b%3Dc", "equal", 5);
        setAttr(fd, "empty", "system.posix_acl_access", acl, sizeof(acl));
        setAttr(fd, "dir", "system.posix_acl_default", acl, sizeof(acl));
        setAttr(fd, "dir", "system.posix_acl_access", acl, sizeof(acl));
        setAttr(fd, ".", "user.top", "1", 1);
    }
    if (place->root) {
        g_assert_cmpint(fchownat(fd, "setuid", 12345, 3000000000U, 0), ==, 0);
        g_assert_cmpint(fchownat(fd, "fifo", 7, 8, 0), ==, 0);
        g_assert_cmpint(fchownat(dir, "link", 12, 13, AT_SYMLINK_NOFOLLOW), ==, 0);
        g_assert_cmpint(fchownat(fd, "dir", 4294967294U, 14, 0), ==, 0);
        g_assert_cmpint(mknodat(fd, "null", S_IFCHR | 0666, makedev(1, 3)), ==, 0);
        g_assert_cmpint(mknodat(fd, "whiteout", S_IFCHR, makedev(0, 0)), ==, 0);
        setAttr(fd, "setuid", "trusted.some", "thing", 5);
        setAttr(fd, "setuid", "security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
        setAttr(dir, "link", "trusted.of-link", "x", 1);
        setAttr(fd, "fifo", "trusted.of-fifo", "y", 1);
    }
    g_assert_cmpint(fchmodat(fd, "setuid", 06755, 0), ==, 0);

    g_assert_cmpint(fchmod(below, 0500), ==, 0);
    setTime(below, "file", -5, 7);
    setTime(dir, "link", 1000000000, 1);
    setTime(dir, "below", 5000000000, 999999999);
    setTime(fd, "dir", 1234567890, 123456789);
    setTime(fd, "fifo", 0, 0);
    g_assert_cmpint(fchmod(fd, 01775), ==, 0);
    setTime(fd, ".", 1111111111, 100);
}


static inline void
makeSparse(int dirfd,
           const char *name,
           off_t size,
           const off_t *data,
           size_t count)
{
    VIR_AUTOCLOSE fd = openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    g_autofree char *block = g_strnfill(64 * KIB, 'x');
    size_t i;

    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    for (i = 0; i < count; i++)
        g_assert_cmpint(pwrite(fd, block, 64 * KIB, data[i]), ==, 64 * KIB);
}


static inline int
makeArchive(Place *place)
{
    int fd = openat(place->fd, "archive", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}


static inline void
expectOk(int rc)
{
    if (rc != 0)
        g_error("%s", virGetLastErrorMessage());
    unitExpectNoError();
}


static inline char *
readAll(int fd,
        size_t *len)
{
    size_t size = lseek(fd, 0, SEEK_END);
    g_autofree char *data = g_new0(char, size + 1);

    g_assert_cmpint(pread(fd, data, size, 0), ==, size);
    *len = size;
    return g_steal_pointer(&data);
}


static inline int
compareLines(const void *a,
             const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}


/* All extended attributes of a node but our own, in a text. */
static inline char *
describeAttrs(const char *path)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
    char names[4 * KIB];
    ssize_t len = llistxattr(path, names, sizeof(names));
    const char *name;

    for (name = names; len > 0 && name < names + len; name += strlen(name) + 1) {
        char value[4 * KIB];
        ssize_t got = lgetxattr(path, name, value, sizeof(value));
        g_autofree char *sum = NULL;

        if (strstr(name, "libvirt") || g_str_equal(name, "security.selinux"))
            continue;
        g_assert_cmpint(got, >=, 0);
        sum = g_compute_checksum_for_data(G_CHECKSUM_MD5, (guchar *) value, got);
        g_ptr_array_add(found, g_strdup_printf(" %s=%s", name, sum));
    }
    g_ptr_array_sort(found, compareLines);
    g_ptr_array_add(found, NULL);
    return g_strjoinv("", (char **) found->pdata);
}


/* One line for all that an archive keeps of a node. */
static inline char *
describeNode(int dirfd,
             const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/%s", dirfd, name);
    g_autofree char *attrs = describeAttrs(path);
    g_autofree char *content = NULL;
    struct stat sb;

    g_assert_cmpint(fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW), ==, 0);
    if (S_ISREG(sb.st_mode)) {
        VIR_AUTOCLOSE fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
        size_t len = 0;
        g_autofree char *data = readAll(fd, &len);

        content = g_compute_checksum_for_data(G_CHECKSUM_MD5, (guchar *) data, len);
    } else if (S_ISLNK(sb.st_mode)) {
        content = g_file_read_link(path, NULL);
    }
    return g_strdup_printf("mode %o, owner %u:%u, size %lld, %u names, time %lld.%09ld, device %llx, %s,%s",
                           sb.st_mode, sb.st_uid, sb.st_gid, S_ISREG(sb.st_mode) ? (long long) sb.st_size : 0,
                           S_ISDIR(sb.st_mode) ? 0 : (unsigned int) sb.st_nlink,
                           (long long) sb.st_mtim.tv_sec, sb.st_mtim.tv_nsec, (unsigned long long) sb.st_rdev,
                           content ? content : "no content", attrs);
}


static inline void
describeInto(GPtrArray *lines,
             int dirfd,
             const char *prefix)
{
    g_autoptr(DIR) dir = fdopendir(openDir(dirfd, "."));
    struct dirent *ent;

    while ((ent = readdir(dir))) {
        g_autofree char *path = g_strdup_printf("%s/%s", prefix, ent->d_name);
        g_autofree char *node = NULL;
        struct stat sb;

        if (g_str_equal(ent->d_name, "..") || (g_str_equal(ent->d_name, ".") && *prefix))
            continue;
        g_assert_cmpint(fstatat(dirfd, ent->d_name, &sb, AT_SYMLINK_NOFOLLOW), ==, 0);
        if (S_ISSOCK(sb.st_mode))
            continue;
        node = describeNode(dirfd, ent->d_name);
        g_ptr_array_add(lines, g_strdup_printf("%s: %s", path, node));
        if (S_ISDIR(sb.st_mode) && !g_str_equal(ent->d_name, ".")) {
            VIR_AUTOCLOSE below = openDir(dirfd, ent->d_name);

            describeInto(lines, below, path);
        }
    }
}


static GPtrArray *
describe(int dirfd)
{
    GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);

    describeInto(lines, dirfd, "");
    g_ptr_array_sort(lines, compareLines);
    return lines;
}


static inline void
expectSame(int from,
           int to)
{
    g_autoptr(GPtrArray) one = describe(from);
    g_autoptr(GPtrArray) other = describe(to);
    size_t i;

    for (i = 0; i < MIN(one->len, other->len); i++)
        g_assert_cmpstr(g_ptr_array_index(other, i), ==, g_ptr_array_index(one, i));
    g_assert_cmpuint(other->len, ==, one->len);
}


static inline void
expectSparse(Place *place,
             const char *name,
             long long blocks)
{
    VIR_AUTOCLOSE one = openat(place->from, name, O_RDONLY | O_CLOEXEC);
    VIR_AUTOCLOSE other = openat(place->to, name, O_RDONLY | O_CLOEXEC);
    struct stat sb;
    off_t at = 0;
    off_t data;

    g_assert_cmpint(one, >=, 0);
    g_assert_cmpint(other, >=, 0);
    g_assert_cmpint(lseek(one, 0, SEEK_END), ==, lseek(other, 0, SEEK_END));
    g_assert_cmpint(fstat(other, &sb), ==, 0);
    g_assert_cmpint(sb.st_blocks * 512, <=, blocks);
    while ((data = lseek(one, at, SEEK_DATA)) >= 0) {
        char here[KIB];
        char there[KIB];

        g_assert_cmpint(pread(one, here, KIB, data), ==, pread(other, there, KIB, data));
        g_assert_cmpmem(here, KIB, there, KIB);
        at = lseek(one, data, SEEK_HOLE);
        g_assert_cmpint(lseek(other, data, SEEK_DATA), ==, data);
    }
}
