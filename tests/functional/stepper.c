/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Watches the system calls with which a process changes files below one
 * directory. Each such call is a step. Before a step runs, the image of the
 * file system can be copied (what a kill or a loss of power would leave), the
 * process can be killed, or the call can be made to fail. Steps of the
 * programs that it starts count as well; they live on when it is killed.
 *
 * strace can kill and fail as well, but it counts per thread and cannot tell
 * one directory from another; and it cannot copy an image.
 *
 *   stepper -p PID -d DIR [-r REPORT] [-i IMAGE -o FOLDER [-s]]
 *           [-k STEP] [-e STEP:ERRNO] [-R]
 *
 * -s writes the file system out before each copy, so that the copy holds what
 * a kill of the process leaves; without it, what a loss of power leaves.
 * -R makes the calls that only read the steps, instead of those that change.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/btrfs.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <elf.h>

#ifndef O_TMPFILE_BITS
# define O_TMPFILE_BITS (O_TMPFILE & ~O_DIRECTORY)
#endif

enum shape { FD, FD2, PATH, PATH2, AT, ATAT, LINKAT, OPENAT, OPENAT2, IOCTL };

struct call {
    long number;
    const char *name;
    enum shape shape;
};

#define END { -1, NULL, FD }

static const struct call changing[] = {
#ifdef SYS_link
    { SYS_link, "link", PATH2 },
    { SYS_unlink, "unlink", PATH },
    { SYS_rename, "rename", PATH2 },
    { SYS_mkdir, "mkdir", PATH },
    { SYS_rmdir, "rmdir", PATH },
    { SYS_chmod, "chmod", PATH },
    { SYS_chown, "chown", PATH },
    { SYS_lchown, "lchown", PATH },
    { SYS_symlink, "symlink", PATH2 },
    { SYS_creat, "creat", PATH },
#endif
#ifdef SYS_renameat
    { SYS_renameat, "renameat", ATAT },
#endif
    { SYS_linkat, "linkat", ATAT },
    { SYS_renameat2, "renameat2", ATAT },
    { SYS_unlinkat, "unlinkat", AT },
    { SYS_mkdirat, "mkdirat", AT },
    { SYS_mknodat, "mknodat", AT },
    { SYS_fchmodat, "fchmodat", AT },
    { SYS_fchownat, "fchownat", AT },
    { SYS_utimensat, "utimensat", AT },
    { SYS_setxattr, "setxattr", PATH },
    { SYS_lsetxattr, "lsetxattr", PATH },
    { SYS_removexattr, "removexattr", PATH },
    { SYS_lremovexattr, "lremovexattr", PATH },
    { SYS_truncate, "truncate", PATH },
    { SYS_symlinkat, "symlinkat", LINKAT },
    { SYS_quotactl_fd, "quotactl_fd", FD },
    { SYS_fsetxattr, "fsetxattr", FD },
    { SYS_fremovexattr, "fremovexattr", FD },
    { SYS_ftruncate, "ftruncate", FD },
    { SYS_fallocate, "fallocate", FD },
    { SYS_fsync, "fsync", FD },
    { SYS_fdatasync, "fdatasync", FD },
    { SYS_syncfs, "syncfs", FD },
    { SYS_sync_file_range, "sync_file_range", FD },
    { SYS_fchmod, "fchmod", FD },
    { SYS_fchown, "fchown", FD },
    { SYS_write, "write", FD },
    { SYS_pwrite64, "pwrite64", FD },
    { SYS_writev, "writev", FD },
    { SYS_pwritev, "pwritev", FD },
    { SYS_sendfile, "sendfile", FD },
    { SYS_copy_file_range, "copy_file_range", FD2 },
    { SYS_openat, "openat", OPENAT },
    { SYS_openat2, "openat2", OPENAT2 },
    { SYS_ioctl, "ioctl", IOCTL },
    END
}, reading[] = {
#ifdef SYS_stat
    { SYS_stat, "stat", PATH },
    { SYS_lstat, "lstat", PATH },
    { SYS_access, "access", PATH },
    { SYS_readlink, "readlink", PATH },
#endif
    { SYS_getxattr, "getxattr", PATH },
    { SYS_lgetxattr, "lgetxattr", PATH },
    { SYS_listxattr, "listxattr", PATH },
    { SYS_llistxattr, "llistxattr", PATH },
    { SYS_statfs, "statfs", PATH },
#ifdef SYS_newfstatat
    { SYS_newfstatat, "newfstatat", AT },
#endif
    { SYS_statx, "statx", AT },
    { SYS_faccessat, "faccessat", AT },
    { SYS_faccessat2, "faccessat2", AT },
    { SYS_readlinkat, "readlinkat", AT },
    { SYS_fstat, "fstat", FD },
    { SYS_fstatfs, "fstatfs", FD },
    { SYS_fgetxattr, "fgetxattr", FD },
    { SYS_flistxattr, "flistxattr", FD },
    { SYS_getdents64, "getdents64", FD },
    { SYS_lseek, "lseek", FD },
    { SYS_read, "read", FD },
    { SYS_pread64, "pread64", FD },
    { SYS_readv, "readv", FD },
    { SYS_preadv, "preadv", FD },
    { SYS_openat, "openat", OPENAT },
    { SYS_openat2, "openat2", OPENAT2 },
    { SYS_ioctl, "ioctl", IOCTL },
    END
};

#define MAX_THREADS 4096

static struct { pid_t tid; int error; } threads[MAX_THREADS];
static const char *directory, *image, *folder;
static const struct call *calls = changing;
static bool write_out;
static long kill_step, fail_step, steps;
static int fail_error;
static pid_t target;
static FILE *report;
static volatile sig_atomic_t stop;

static void on_term(int sig) { (void)sig; stop = 1; }

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static int *thread_error(pid_t tid)
{
    for (int i = 0; i < MAX_THREADS; i++) {
        if (threads[i].tid == tid)
            return &threads[i].error;
        if (!threads[i].tid) {
            threads[i].tid = tid;
            return &threads[i].error;
        }
    }
    exit(2);
}

static bool read_tracee(pid_t tid, unsigned long long at, void *to, size_t n)
{
    struct iovec local = { to, n }, remote = { (void *)at, n };
    return process_vm_readv(tid, &local, 1, &remote, 1, 0) == (ssize_t)n;
}

static bool read_string(pid_t tid, unsigned long long at, char *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!read_tracee(tid, at + i, to + i, 1))
            return false;
        if (!to[i])
            return true;
    }
    return false;
}

static bool below(const char *path)
{
    size_t n = strlen(directory);
    return !strncmp(path, directory, n) && (!path[n] || path[n] == '/' || path[n] == ' ');
}

static bool fd_path(pid_t tid, int fd, char *to, size_t n)
{
    char link[64];
    ssize_t got;

    snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)tid, fd);
    if ((got = readlink(link, to, n - 1)) < 0)
        return false;
    to[got] = 0;
    return true;
}

/* The absolute path of a name argument; false if it cannot be told. */
static bool at_path(pid_t tid, int dirfd, unsigned long long name, char *to, size_t n)
{
    char path[PATH_MAX], dir[PATH_MAX] = "";
    static const char self[] = "/proc/self/fd/";

    if (!name || !read_string(tid, name, path, sizeof(path)))
        path[0] = 0;
    if (path[0] && !strncmp(path, self, sizeof(self) - 1))
        return fd_path(tid, atoi(path + sizeof(self) - 1), to, n);
    if (path[0] == '/')
        return snprintf(to, n, "%s", path) < (int)n;
    if (dirfd == AT_FDCWD || !fd_path(tid, dirfd, dir, sizeof(dir)))
        return false;
    return snprintf(to, n, path[0] ? "%s/%s" : "%s", dir, path) < (int)n;
}

static bool opens_for_change(pid_t tid, const struct call *call, const uint64_t *args)
{
    uint64_t flags = args[2];

    if (call->shape == OPENAT2) {
        struct open_how how;
        if (!read_tracee(tid, args[2], &how, sizeof(how)))
            return false;
        flags = how.flags;
    }
    return flags & (O_CREAT | O_TRUNC | O_TMPFILE_BITS);
}

static bool ioctl_changes(uint64_t request)
{
    switch (request) {
    case FICLONE:
    case FICLONERANGE:
    case FS_IOC_SETFLAGS:
    case FS_IOC_FSSETXATTR:
    case BTRFS_IOC_SUBVOL_CREATE:
    case BTRFS_IOC_SUBVOL_CREATE_V2:
    case BTRFS_IOC_SNAP_CREATE:
    case BTRFS_IOC_SNAP_CREATE_V2:
    case BTRFS_IOC_SNAP_DESTROY:
    case BTRFS_IOC_SNAP_DESTROY_V2:
    case BTRFS_IOC_SUBVOL_SETFLAGS:
    case BTRFS_IOC_QGROUP_ASSIGN:
    case BTRFS_IOC_QGROUP_CREATE:
    case BTRFS_IOC_QGROUP_LIMIT:
        return true;
    default:
        return false;
    }
}

static bool ioctl_reads(uint64_t request)
{
    switch (request) {
    case FS_IOC_FIEMAP:
    case FS_IOC_GETFLAGS:
    case FS_IOC_FSGETXATTR:
    case BTRFS_IOC_TREE_SEARCH:
    case BTRFS_IOC_TREE_SEARCH_V2:
    case BTRFS_IOC_SUBVOL_GETFLAGS:
        return true;
    default:
        return false;
    }
}

/* Whether the call changes, or reads, something below the directory; path says where. */
static bool is_step(pid_t tid, const struct call *call, const uint64_t *args, char *path, size_t n)
{
    switch (call->shape) {
    case IOCTL:
        if (calls == reading ? !ioctl_reads(args[1]) : !ioctl_changes(args[1]))
            return false;
        /* fall through */
    case FD:
        return fd_path(tid, args[0], path, n) && below(path);
    case FD2:
        return fd_path(tid, args[2], path, n) && below(path);
    case PATH2:
        if (at_path(tid, AT_FDCWD, args[1], path, n) && below(path))
            return true;
        /* fall through */
    case PATH:
        return at_path(tid, AT_FDCWD, args[0], path, n) && below(path);
    case ATAT:
        if (at_path(tid, args[2], args[3], path, n) && below(path))
            return true;
        /* fall through */
    case AT:
        return at_path(tid, args[0], args[1], path, n) && below(path);
    case LINKAT:
        return at_path(tid, args[1], args[2], path, n) && below(path);
    case OPENAT:
    case OPENAT2:
        return opens_for_change(tid, call, args) == (calls == changing) &&
            at_path(tid, args[0], args[1], path, n) && below(path);
    }
    return false;
}

static void copy_image(void)
{
    char to[PATH_MAX];
    int in, out, dir;

    if (write_out) {
        if ((dir = open(directory, O_RDONLY | O_DIRECTORY)) < 0 || syncfs(dir) < 0)
            die("syncfs");
        close(dir);
    }
    snprintf(to, sizeof(to), "%s/%05ld", folder, steps);
    if ((in = open(image, O_RDONLY)) < 0 || (out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600)) < 0)
        die(to);
    if (ioctl(out, FICLONE, in) < 0)
        die("FICLONE");
    close(in);
    close(out);
}

static void on_entry(pid_t tid, const struct __ptrace_syscall_info *info)
{
    char path[PATH_MAX * 2];
    const struct call *call = NULL;

    for (size_t i = 0; calls[i].name; i++) {
        if ((uint64_t)calls[i].number == info->entry.nr)
            call = &calls[i];
    }
    if (!call || !is_step(tid, call, info->entry.args, path, sizeof(path)))
        return;
    steps++;
    if (report) {
        fprintf(report, "%ld %d %s %s\n", steps, (int)tid, call->name, path);
        fflush(report);
    }
    if (image)
        copy_image();
    if (steps == kill_step)
        kill(target, SIGKILL);
    if (steps == fail_step)
        *thread_error(tid) = fail_error;
}

/* Turn the call at whose entry the thread stands into one that does nothing,
 * and at its exit put the error in place of the result. */
static void inject(pid_t tid, bool entry, int error)
{
#if defined(__x86_64__)
    if (entry)
        ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, orig_rax), -1L);
    else
        ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, rax), (long)-error);
#elif defined(__aarch64__)
    if (entry) {
        int none = -1;
        struct iovec iov = { &none, sizeof(none) };
        ptrace(PTRACE_SETREGSET, tid, 0x404, &iov);
    } else {
        struct user_regs_struct regs;
        struct iovec iov = { &regs, sizeof(regs) };
        ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov);
        regs.regs[0] = -error;
        ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &iov);
    }
#else
# error "no way to make a system call fail on this architecture"
#endif
}

static void on_syscall(pid_t tid)
{
    struct __ptrace_syscall_info info;
    int *error = thread_error(tid);

    memset(&info, 0, sizeof(info));
    if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < 0)
        return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        on_entry(tid, &info);
        if (*error)
            inject(tid, true, *error);
    } else if (*error) {
        inject(tid, false, *error);
        *error = 0;
    }
}

static void attach(void)
{
    static const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
    char tasks[64];
    bool more = true;

    snprintf(tasks, sizeof(tasks), "/proc/%d/task", (int)target);
    while (more) {
        DIR *dir = opendir(tasks);
        struct dirent *entry;
        more = false;
        if (!dir)
            die(tasks);
        while ((entry = readdir(dir))) {
            pid_t tid = atoi(entry->d_name);
            if (tid <= 0)
                continue;
            if (ptrace(PTRACE_SEIZE, tid, 0, options) == 0) {
                ptrace(PTRACE_INTERRUPT, tid, 0, 0);
                more = true;
            } else if (errno != EPERM && errno != ESRCH) {
                die("PTRACE_SEIZE");
            }
        }
        closedir(dir);
    }
}

static void follow(void)
{
    while (!stop) {
        int status, sig = 0;
        pid_t tid = waitpid(-1, &status, __WALL);

        if (tid < 0 && errno == EINTR)
            continue;
        if (tid < 0)
            break;
        if (!WIFSTOPPED(status))
            continue;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            on_syscall(tid);
        } else if (status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP) {
            ptrace(PTRACE_LISTEN, tid, 0, 0);
            continue;
        } else if (!(status >> 16)) {
            sig = WSTOPSIG(status);
        }
        ptrace(PTRACE_SYSCALL, tid, 0, sig);
    }
}

int main(int argc, char **argv)
{
    struct sigaction act = { .sa_handler = on_term };
    int opt;

    while ((opt = getopt(argc, argv, "p:d:r:i:o:sk:e:R")) != -1) {
        switch (opt) {
        case 'p': target = atoi(optarg); break;
        case 'd': directory = optarg; break;
        case 'r': report = fopen(optarg, "we"); break;
        case 'i': image = optarg; break;
        case 'o': folder = optarg; break;
        case 's': write_out = true; break;
        case 'R': calls = reading; break;
        case 'k': kill_step = atol(optarg); break;
        case 'e':
            if (sscanf(optarg, "%ld:%d", &fail_step, &fail_error) == 2)
                break;
            /* fall through */
        default:
            return 2;
        }
    }
    if (target <= 0 || !directory || (image && !folder))
        return 2;
    sigaction(SIGTERM, &act, NULL);
    attach();
    puts("ready");
    fflush(stdout);
    follow();
    return 0;
}
