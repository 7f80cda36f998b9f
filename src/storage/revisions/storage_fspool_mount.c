/*
 * storage_fspool_mount.c: mounting the file systems that hold directory trees
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage_fspool_mount.h"

#include "viralloc.h"
#include "virbuffer.h"
#include "virerror.h"
#include "virfile.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/*
 * Mounting is left to mount(8) and umount(8), as in libvirt's own file system pools: the daemon itself may be kept from
 * it, as it is by the AppArmor profile of libvirtd, and what NFS needs is in helpers of theirs. They are told where by
 * descriptors, so that no path is resolved a second time; only the helper of NFS wants a path, and so what has been
 * mounted is to be looked at afterwards.
 */

/* Nobody is to look into a directory that nothing is mounted on, and everybody to pass. */
#define POINT_MODE 0711
#define POINT_PARENT_MODE 0755

#define FDINFO_MAX 4096

/* A child of the daemon's holds all of its open files for a moment, before it becomes another program. */
#define UNMOUNT_TRIES 3
#define UNMOUNT_PAUSE_MS 100


/* The mount that an open file lies on: unlike statx(2), this asks no file system, which may not answer. */
static int
virStorageFspoolMountOf(int fd,
                        int *id)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%d", fd);
    g_autofree char *text = NULL;
    const char *line;
    char *end;
    int rc;

    if ((rc = virFileReadAllQuiet(path, FDINFO_MAX, &text)) < 0) {
        errno = -rc;
        return -1;
    }
    if (!(line = strstr(text, "mnt_id:")) ||
        virStrToLong_i(line + strlen("mnt_id:"), &end, 10, id) < 0) {
        errno = ENOTSUP;
        return -1;
    }
    return 0;
}


/**
 * virStorageFspoolPointMake:
 * @target: path of a pool's mount point
 * @pool: name of the pool, for errors
 *
 * Makes the directory, and those above it, unless they are there.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolPointMake(const char *target,
                          const char *pool)
{
    g_autofree char *parent = g_path_get_dirname(target);
    struct stat sb;

    if (g_mkdir_with_parents(parent, POINT_PARENT_MODE) < 0 ||
        (mkdir(target, POINT_MODE) < 0 && errno != EEXIST) ||
        lstat(target, &sb) < 0) {
        virReportSystemError(errno, _("cannot make the directory '%1$s' to mount pool '%2$s' on"), target, pool);
        return -1;
    }
    if (!S_ISDIR(sb.st_mode)) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("pool '%1$s' cannot be mounted on '%2$s', which is not a directory"), pool, target);
        return -1;
    }
    return 0;
}


/**
 * virStorageFspoolPointOpen:
 * @point: filled; to be cleared
 * @target: path of the directory
 * @pool: name of the pool, for errors
 *
 * The directory itself is not looked at: a server of which something is mounted there may not answer.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolPointOpen(virStorageFspoolPoint *point,
                          const char *target,
                          const char *pool)
{
    g_autofree char *parent = g_path_get_dirname(target);
    g_autofree char *link = NULL;
    g_autofree char *resolved = NULL;

    point->name = g_path_get_basename(target);
    if (strchr(point->name, '/') || STREQ(point->name, ".") || STREQ(point->name, "..")) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("nothing can be mounted on '%1$s' for pool '%2$s'"), target, pool);
        return -1;
    }

    if ((point->parent = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0 ||
        virStorageFspoolMountOf(point->parent, &point->parentMount) < 0) {
        virReportSystemError(errno, _("cannot find the directory '%1$s' to mount pool '%2$s' on"), target, pool);
        return -1;
    }

    link = g_strdup_printf("/proc/self/fd/%d", point->parent);
    if (!(resolved = g_file_read_link(link, NULL))) {
        virReportError(VIR_ERR_INTERNAL_ERROR, _("cannot resolve the path '%1$s' of pool '%2$s'"), parent, pool);
        return -1;
    }
    point->path = g_strdup_printf("%s/%s", STREQ(resolved, "/") ? "" : resolved, point->name);
    return 0;
}


void
virStorageFspoolPointClear(virStorageFspoolPoint *point)
{
    VIR_FORCE_CLOSE(point->parent);
    VIR_FREE(point->name);
    VIR_FREE(point->path);
}


/**
 * virStorageFspoolPointRead:
 * @point: where
 * @mount: filled with what is mounted there, or NULL; to be freed
 *
 * Asks the kernel only, and never the file system.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolPointRead(const virStorageFspoolPoint *point,
                          virStorageFspoolMount **mount)
{
    g_autoptr(GPtrArray) mounts = virStorageFspoolMountsRead();
    const virStorageFspoolMount *found;

    *mount = NULL;
    if (!mounts)
        return -1;
    if ((found = virStorageFspoolMountsFind(mounts, point->parentMount, point->path)))
        *mount = virStorageFspoolMountCopy(found);
    return 0;
}


/* Returns a descriptor of the directory that is to be mounted on, which nothing can be read through, or -1 with an
 * error. */
static int
virStorageFspoolPointOpenDir(const virStorageFspoolPoint *point,
                             const char *pool)
{
    int fd = openat(point->parent, point->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0)
        return fd;

    if (errno == ENOENT)
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("there is no directory '%1$s' to mount pool '%2$s' on: build the pool first"),
                       point->path, pool);
    else if (errno == ENOTDIR || errno == ELOOP)
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("pool '%1$s' cannot be mounted on '%2$s', which is not a directory"), pool, point->path);
    else
        virReportSystemError(errno, _("cannot open the directory '%1$s' to mount pool '%2$s' on"), point->path, pool);
    return -1;
}


/**
 * virStorageFspoolPointOpenRoot:
 * @point: where
 * @mount: what has been found there
 * @pool: name of the pool, for errors
 *
 * Returns a descriptor of the root of that very mount, for reading, or -1 with an error
 */
int
virStorageFspoolPointOpenRoot(const virStorageFspoolPoint *point,
                              const virStorageFspoolMount *mount,
                              const char *pool)
{
    VIR_AUTOCLOSE fd = openat(point->parent, point->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int id = -1;
    int ret;

    if (fd < 0 || virStorageFspoolMountOf(fd, &id) < 0) {
        virReportSystemError(errno, _("cannot open the file system of pool '%1$s' at '%2$s'"), pool, point->path);
        return -1;
    }
    if (id != mount->id) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("somebody is mounting or unmounting at '%1$s', where pool '%2$s' is"), point->path, pool);
        return -1;
    }

    ret = fd;
    fd = -1;
    return ret;
}


/* Options that would mount something else, elsewhere, or for somebody else, whatever follows a '='. */
static const char * const refusedOptions[] = {
    "bind", "rbind", "move", "remount",
    "loop", "offset", "sizelimit", "encryption", "helper", "uhelper",
    "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable",
    "user", "users", "owner", "group", "addr", "port",
};


static int
virStorageFspoolCheckOption(const char *option)
{
    g_autofree char *name = g_strndup(option, strcspn(option, "="));
    bool odd = !*name || *name == '-';
    const char *c;
    size_t i;

    for (c = option; *c; c++)
        odd |= g_ascii_iscntrl(*c) || g_ascii_isspace(*c) || strchr(",\"'\\", *c);
    for (i = 0; i < G_N_ELEMENTS(refusedOptions); i++)
        odd |= STREQ(name, refusedOptions[i]);
    odd |= STRCASEPREFIX(name, "x-");

    if (!odd)
        return 0;
    virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("'%1$s' is no mount option that a pool can have"), option);
    return -1;
}


static bool
virStorageFspoolHasAny(char **options,
                       const char * const *names)
{
    for (; options && *options; options++) {
        if (g_strv_contains(names, *options))
            return true;
    }
    return false;
}


/* Adds options to those that are in @buf already; returns all of them, or NULL with an error. */
static char *
virStorageFspoolJoinOptions(virBuffer *buf,
                            char **extra)
{
    const char *suid[] = { "suid", NULL };
    const char *dev[] = { "dev", NULL };

    if (!virStorageFspoolHasAny(extra, suid))
        virBufferAddLit(buf, "nosuid,");
    if (!virStorageFspoolHasAny(extra, dev))
        virBufferAddLit(buf, "nodev,");

    for (; extra && *extra; extra++) {
        if (virStorageFspoolCheckOption(*extra) < 0)
            return NULL;
        virBufferAsprintf(buf, "%s,", *extra);
    }

    virBufferTrim(buf, ",");
    if (virBufferUse(buf) == 0)
        virBufferAddLit(buf, "rw");
    return virBufferContentAndReset(buf);
}


/**
 * virStorageFspoolMountOptions:
 * @format: virStorageRevFspoolFormat of a local file system
 * @quota: whether quotas of directory trees are wanted
 * @extra: options of the pool's, ended by NULL, or NULL
 *
 * Set-user-id programs and device nodes in the pool are without effect on the host, unless @extra has "suid" or "dev".
 *
 * Returns what goes behind "mount -o", or NULL with an error
 */
char *
virStorageFspoolMountOptions(int format,
                             bool quota,
                             char **extra)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    const char *quotas[] = { "noquota", "prjquota", "pquota", "pqnoenforce", NULL };

    if (quota && (format == VIR_STORAGE_REV_FSPOOL_EXT4 || format == VIR_STORAGE_REV_FSPOOL_XFS) &&
        !virStorageFspoolHasAny(extra, quotas))
        virBufferAddLit(&buf, "prjquota,");
    return virStorageFspoolJoinOptions(&buf, extra);
}


/**
 * virStorageFspoolNetworkOptions:
 * @version: of NFS, as "4.2", or NULL for the newest that both sides have
 * @port: of the server, or 0
 * @extra: options of the pool's, ended by NULL, or NULL
 *
 * A server that refuses is not asked again for two minutes, as mount.nfs(8) does: a daemon that starts waits for it.
 *
 * Returns what goes behind "mount -o", or NULL with an error
 */
char *
virStorageFspoolNetworkOptions(const char *version,
                               int port,
                               char **extra)
{
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    bool patient = false;
    char **option;

    if (version) {
        if (!*version || version[strspn(version, "0123456789.")]) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("'%1$s' is no version of NFS"), version);
            return NULL;
        }
        virBufferAsprintf(&buf, "vers=%s,", version);
    }
    if (port > 0)
        virBufferAsprintf(&buf, "port=%d,", port);

    for (option = extra; option && *option; option++)
        patient |= STRPREFIX(*option, "retry=");
    if (!patient)
        virBufferAddLit(&buf, "retry=0,");
    return virStorageFspoolJoinOptions(&buf, extra);
}


static bool
virStorageFspoolIsOf(const char *text,
                     const char *others)
{
    const char *c;

    for (c = text; *c; c++) {
        if (!g_ascii_isalnum(*c) && !strchr(others, *c))
            return false;
    }
    return c > text && *text != '-';
}


/**
 * virStorageFspoolNetworkSource:
 * @host: name or address, the latter of IPv6 with or without brackets
 * @dir: path on the server
 *
 * Returns "host:dir" as mount(8) and the kernel have it, or NULL with an error when it could be taken for anything else
 */
char *
virStorageFspoolNetworkSource(const char *host,
                              const char *dir)
{
    size_t len = strlen(host);
    g_autofree char *bare = NULL;
    g_autofree char *path = NULL;
    const char *c;

    if (len > 2 && host[0] == '[' && host[len - 1] == ']')
        bare = g_strndup(host + 1, len - 2);
    if (!virStorageFspoolIsOf(bare ? bare : host, bare || strchr(host, ':') ? ":.%_-" : "._-")) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("'%1$s' is no name or address of a server"), host);
        return NULL;
    }

    for (c = dir; *c && !g_ascii_iscntrl(*c); c++)
        continue;
    if (*c || dir[0] != '/') {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, _("'%1$s' is no absolute path of a directory on a server"), dir);
        return NULL;
    }

    len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/')
        len--;
    path = g_strndup(dir, len);

    if (bare || strchr(host, ':'))
        return g_strdup_printf("[%s]:%s", bare ? bare : host, path);
    return g_strdup_printf("%s:%s", host, path);
}


/* Is that what has been mounted from @source, as virStorageFspoolNetworkSource() has it? */
bool
virStorageFspoolNetworkIs(const virStorageFspoolMount *mount,
                          const char *source)
{
    g_autofree char *actual = g_strdup(mount->source);
    size_t len = strlen(actual);

    while (len > 2 && actual[len - 1] == '/' && actual[len - 2] != ':')
        actual[--len] = '\0';

    return (STREQ(mount->type, "nfs") || STREQ(mount->type, "nfs4")) && STREQ(actual, source);
}


static const struct {
    const char *tool;
    const char *package;
} tools[] = {
    { "mkfs.ext4", "e2fsprogs" },
    { "mkfs.xfs", "xfsprogs" },
    { "mkfs.btrfs", "btrfs-progs" },
    { "mount.nfs", "nfs-common" },
    { "mount", "mount" },
    { "umount", "mount" },
};


/* Is @tool there? Otherwise the error says where it comes from. */
int
virStorageFspoolToolCheck(const char *tool)
{
    g_autofree char *path = virFindFileInPath(tool);
    size_t i;

    if (path)
        return 0;

    for (i = 0; i < G_N_ELEMENTS(tools) - 1 && STRNEQ(tools[i].tool, tool); i++)
        continue;
    virReportError(VIR_ERR_OPERATION_UNSUPPORTED,
                   _("'%1$s' is not installed (Debian's package of it is %2$s)"), tool, tools[i].package);
    return -1;
}


static char *
virStorageFspoolJoinLines(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(NULLSTR_EMPTY(text), "\n", 0);
    g_auto(virBuffer) buf = VIR_BUFFER_INITIALIZER;
    size_t i;

    for (i = 0; lines[i]; i++) {
        if (*g_strstrip(lines[i]))
            virBufferAsprintf(&buf, "%s%s", virBufferUse(&buf) > 0 ? "; " : "", lines[i]);
    }
    return virBufferUse(&buf) > 0 ? virBufferContentAndReset(&buf) : g_strdup(_("no reason given"));
}


/**
 * virStorageFspoolToolRun:
 * @cmd: command
 * @complaint: set to what it wrote to its standard error, in one line, when it has failed; to be freed
 *
 * Returns 0, 1 when the command has failed, or -1 with an error when it could not be run
 */
int
virStorageFspoolToolRun(virCommand *cmd,
                        char **complaint)
{
    g_autofree char *errors = NULL;
    int status = 0;

    *complaint = NULL;
    virCommandAddEnvPassCommon(cmd); /* LC_ALL=C among them */
    virCommandSetErrorBuffer(cmd, &errors);
    if (virCommandRun(cmd, &status) < 0)
        return -1;
    if (status == 0)
        return 0;

    *complaint = virStorageFspoolJoinLines(errors);
    return 1;
}


/**
 * virStorageFspoolMountRun:
 * @point: where
 * @format: virStorageRevFspoolFormat
 * @source: device, or "host:dir"
 * @options: mount options
 * @pool: name of the pool, for errors
 *
 * Takes as long as a server takes to answer: not to be called with a pool locked.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolMountRun(const virStorageFspoolPoint *point,
                         int format,
                         const char *source,
                         const char *options,
                         const char *pool)
{
    /*
     * # mount -t ext4 --internal-only --no-canonicalize -o prjquota,nosuid,nodev -- /dev/loop3 /proc/self/fd/27
     * mount: /proc/self/fd/27: wrong fs type, bad option, bad superblock on /dev/loop3, missing codepage or helper
     *        program, or other error.
     *        dmesg(1) may have more information after failed mount system call.
     *
     * # mount -t nfs -o vers=4.2,retry=0,nosuid,nodev -- nas:/export /srv/containers
     * mount.nfs: access denied by server while mounting nas:/export
     */
    bool network = format == VIR_STORAGE_REV_FSPOOL_NFS;
    const char *type = virStorageRevFspoolFormatTypeToString(format);
    g_autoptr(virCommand) cmd = virCommandNewArgList("mount", "-t", type, NULL);
    VIR_AUTOCLOSE dirfd = virStorageFspoolPointOpenDir(point, pool);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", dirfd);
    g_autofree char *complaint = NULL;
    int rc;

    if (dirfd < 0 || virStorageFspoolToolCheck("mount") < 0 ||
        (network && virStorageFspoolToolCheck("mount.nfs") < 0))
        return -1;

    if (!network) {
        virCommandAddArgList(cmd, "--internal-only", "--no-canonicalize", NULL);
        virCommandPassFD(cmd, dirfd, 0);
    }
    virCommandAddArgList(cmd, "-o", options, "--", source, network ? point->path : path, NULL);

    if ((rc = virStorageFspoolToolRun(cmd, &complaint)) > 0) {
        g_autofree char *readable = virStringReplace(complaint, path, point->path);

        virReportError(VIR_ERR_OPERATION_FAILED, _("pool '%1$s' cannot be mounted: %2$s"), pool, readable);
    }
    return rc == 0 ? 0 : -1;
}


/* Returns as virStorageFspoolToolRun(). */
static int
virStorageFspoolUnmountTry(const virStorageFspoolPoint *point,
                           char **complaint)
{
    /*
     * # umount --no-canonicalize -- /proc/self/fd/26/containers
     * umount: /proc/self/fd/26/containers: target is busy.
     */
    g_autoptr(virCommand) cmd = virCommandNewArgList("umount", "--no-canonicalize", "--", NULL);

    virCommandAddArgFormat(cmd, "/proc/self/fd/%d/%s", point->parent, point->name);
    virCommandPassFD(cmd, point->parent, 0);
    return virStorageFspoolToolRun(cmd, complaint);
}


/**
 * virStorageFspoolUnmountRun:
 * @point: where
 * @pool: name of the pool, for errors
 *
 * Unmounts what is seen there, unless it is in use: nothing is detached that somebody still works in. Writes back what
 * was written, and takes its time: not to be called with a pool locked.
 *
 * Returns 0, or -1 with an error, VIR_ERR_OPERATION_INVALID when it is in use
 */
int
virStorageFspoolUnmountRun(const virStorageFspoolPoint *point,
                           const char *pool)
{
    g_autofree char *complaint = NULL;
    bool busy = true;
    size_t i;

    if (virStorageFspoolToolCheck("umount") < 0)
        return -1;

    for (i = 0; busy && i < UNMOUNT_TRIES; i++) {
        int rc;

        if (i > 0)
            g_usleep(UNMOUNT_PAUSE_MS * 1000);
        VIR_FREE(complaint);
        if ((rc = virStorageFspoolUnmountTry(point, &complaint)) <= 0)
            return rc;
        busy = strstr(complaint, ": target is busy");
    }

    if (busy)
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("pool '%1$s' is in use: stop what has files open below '%2$s', or is mounted there, first"),
                       pool, point->path);
    else
        virReportError(VIR_ERR_OPERATION_FAILED, _("pool '%1$s' cannot be unmounted: %2$s"), pool, complaint);
    return -1;
}
