/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Holds single calls of the daemon: where the folder HOLD_FOLDER has a file of
 * a call's name, the next such call takes it for its own, by adding ".held" to
 * the name, and waits until somebody removes it.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static void hold(const char *call)
{
    char armed[4096];
    char held[4096];

    snprintf(armed, sizeof(armed), "%s/%s", getenv("HOLD_FOLDER"), call);
    snprintf(held, sizeof(held), "%s/%s.held", getenv("HOLD_FOLDER"), call);
    if (rename(armed, held) < 0)
        return;
    while (access(held, F_OK) == 0)
        usleep(10000);
}

int flock(int fd, int operation)
{
    int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");

    hold("flock");
    return real(fd, operation);
}

int syncfs(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "syncfs");

    hold("syncfs");
    return real(fd);
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");

    hold("fdatasync");
    return real(fd);
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");

    hold("fsync");
    return real(fd);
}

int unlinkat(int fd, const char *name, int flags)
{
    int (*real)(int, const char *, int) =
        (int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat");

    hold("unlinkat");
    return real(fd, name, flags);
}

int fsetxattr(int fd, const char *name, const void *value, size_t len,
              int flags)
{
    int (*real)(int, const char *, const void *, size_t, int) =
        (int (*)(int, const char *, const void *, size_t, int))
        dlsym(RTLD_NEXT, "fsetxattr");

    hold("fsetxattr");
    return real(fd, name, value, len, flags);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
    int (*real)(int, int, off64_t, off64_t) =
        (int (*)(int, int, off64_t, off64_t))
        dlsym(RTLD_NEXT, "fallocate64");

    hold("fallocate");
    return real(fd, mode, offset, length);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))
        dlsym(RTLD_NEXT, "pwrite64");

    hold("pwrite");
    return real(fd, data, len, offset);
}

ssize_t pread64(int fd, void *data, size_t len, off64_t offset)
{
    ssize_t (*real)(int, void *, size_t, off64_t) =
        (ssize_t (*)(int, void *, size_t, off64_t))
        dlsym(RTLD_NEXT, "pread64");

    hold("pread");
    return real(fd, data, len, offset);
}

int renameat2(int from, const char *old, int to, const char *new,
              unsigned int flags)
{
    int (*real)(int, const char *, int, const char *, unsigned int) =
        (int (*)(int, const char *, int, const char *, unsigned int))
        dlsym(RTLD_NEXT, "renameat2");

    hold("renameat2");
    return real(from, old, to, new, flags);
}

/* Of those, discards only. */
int ioctl(int fd, unsigned long request, ...)
{
    int (*real)(int, unsigned long, ...) =
        (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    va_list words;
    void *argument;

    va_start(words, request);
    argument = va_arg(words, void *);
    va_end(words);
    if (request == BLKDISCARD)
        hold("ioctl");
    return real(fd, request, argument);
}
