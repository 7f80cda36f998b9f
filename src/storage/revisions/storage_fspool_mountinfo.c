/*
 * storage_fspool_mountinfo.c: what is mounted where
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "storage_fspool_mountinfo.h"

#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_mountinfo");

/* Of some ten thousand mounts. */
#define MOUNTS_MAX (16 * 1024 * 1024)


void
virStorageFspoolMountFree(virStorageFspoolMount *mount)
{
    if (!mount)
        return;

    g_free(mount->root);
    g_free(mount->path);
    g_free(mount->type);
    g_free(mount->source);
    g_free(mount);
}


virStorageFspoolMount *
virStorageFspoolMountCopy(const virStorageFspoolMount *mount)
{
    virStorageFspoolMount *copy = g_new0(virStorageFspoolMount, 1);

    *copy = *mount;
    copy->root = g_strdup(mount->root);
    copy->path = g_strdup(mount->path);
    copy->type = g_strdup(mount->type);
    copy->source = g_strdup(mount->source);
    return copy;
}


static bool
virStorageFspoolIsOctal(char digit)
{
    return digit >= '0' && digit <= '7';
}


/* The kernel writes blanks, line ends and backslashes as a backslash and three octal digits. */
static char *
virStorageFspoolUnescape(const char *text)
{
    char *result = g_new0(char, strlen(text) + 1);
    char *to = result;

    while (*text) {
        if (text[0] == '\\' && text[1] <= '3' && virStorageFspoolIsOctal(text[1]) &&
            virStorageFspoolIsOctal(text[2]) && virStorageFspoolIsOctal(text[3])) {
            *to++ = (text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0');
            text += 4;
        } else {
            *to++ = *text++;
        }
    }
    return result;
}


static int
virStorageFspoolParseDevice(const char *text,
                            dev_t *device)
{
    unsigned int major;
    unsigned int minor;
    char *end;

    if (virStrToLong_uip(text, &end, 10, &major) < 0 || *end != ':' ||
        virStrToLong_uip(end + 1, NULL, 10, &minor) < 0)
        return -1;

    *device = makedev(major, minor);
    return 0;
}


static bool
virStorageFspoolHasOption(const char *options,
                          const char *option)
{
    g_auto(GStrv) parts = g_strsplit(options, ",", 0);

    return g_strv_contains((const char * const *) parts, option);
}


/* Returns the mount that a line tells of, or NULL when it is none. */
static virStorageFspoolMount *
virStorageFspoolMountParse(const char *line)
{
    /* 36 35 98:0 / /mnt/two\040words rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue */
    g_auto(GStrv) fields = g_strsplit(line, " ", 0);
    g_autoptr(virStorageFspoolMount) mount = g_new0(virStorageFspoolMount, 1);
    size_t n = g_strv_length(fields);
    size_t dash = 6;

    while (dash < n && STRNEQ(fields[dash], "-"))
        dash++;

    if (dash + 3 >= n ||
        virStrToLong_i(fields[0], NULL, 10, &mount->id) < 0 ||
        virStrToLong_i(fields[1], NULL, 10, &mount->parent) < 0 ||
        virStorageFspoolParseDevice(fields[2], &mount->device) < 0)
        return NULL;

    mount->root = virStorageFspoolUnescape(fields[3]);
    mount->path = virStorageFspoolUnescape(fields[4]);
    mount->type = virStorageFspoolUnescape(fields[dash + 1]);
    mount->source = virStorageFspoolUnescape(fields[dash + 2]);
    mount->readOnly = virStorageFspoolHasOption(fields[5], "ro") ||
        virStorageFspoolHasOption(fields[dash + 3], "ro");
    return g_steal_pointer(&mount);
}


/**
 * virStorageFspoolMountsParse:
 * @text: what /proc/self/mountinfo has
 *
 * Returns a virStorageFspoolMount for each line that is understood
 */
GPtrArray *
virStorageFspoolMountsParse(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
    GPtrArray *mounts = g_ptr_array_new_with_free_func((GDestroyNotify) virStorageFspoolMountFree);
    size_t i;

    for (i = 0; lines[i]; i++) {
        virStorageFspoolMount *mount = virStorageFspoolMountParse(lines[i]);

        if (mount)
            g_ptr_array_add(mounts, mount);
        else if (*lines[i])
            VIR_INFO("a line of the list of mounts is not understood: %s", lines[i]);
    }
    return mounts;
}


static const virStorageFspoolMount *
virStorageFspoolMountsFindOn(GPtrArray *mounts,
                             int parent,
                             const char *path)
{
    size_t i;

    for (i = 0; i < mounts->len; i++) {
        const virStorageFspoolMount *mount = g_ptr_array_index(mounts, i);

        if (mount->parent == parent && mount->id != parent && STREQ(mount->path, path))
            return mount;
    }
    return NULL;
}


/**
 * virStorageFspoolMountsFind:
 * @mounts: all mounts
 * @parent: the mount that the parent directory of @path lies on
 * @path: a path without symbolic links
 *
 * Mounts can lie on top of each other, and others of the same path below what has been mounted over that since: neither
 * are seen.
 *
 * Returns the mount whose root is seen at @path, owned by @mounts, or NULL
 */
const virStorageFspoolMount *
virStorageFspoolMountsFind(GPtrArray *mounts,
                           int parent,
                           const char *path)
{
    const virStorageFspoolMount *found = NULL;
    size_t i;

    for (i = 0; i < mounts->len; i++) {
        const virStorageFspoolMount *next = virStorageFspoolMountsFindOn(mounts, found ? found->id : parent, path);

        if (!next)
            break;
        found = next;
    }
    return found;
}


/* Returns the block device that is mounted, or 0 when it is none. */
dev_t
virStorageFspoolMountDevice(const virStorageFspoolMount *mount)
{
    struct stat sb;

    if (major(mount->device) != 0)
        return mount->device;

    /* the kernel keeps this name up to date */
    if (STREQ(mount->type, "btrfs") && stat(mount->source, &sb) == 0 && S_ISBLK(sb.st_mode))
        return sb.st_rdev;
    return 0;
}


/* Returns a virStorageFspoolMount for each mount that the daemon sees, or NULL with an error. Asks the kernel only, and
 * none of the file systems. */
GPtrArray *
virStorageFspoolMountsRead(void)
{
    g_autofree char *text = NULL;
    int rc = virFileReadAllQuiet("/proc/self/mountinfo", MOUNTS_MAX, &text);

    if (rc < 0) {
        virReportSystemError(-rc, "%s", _("cannot read the list of mounted file systems"));
        return NULL;
    }
    return virStorageFspoolMountsParse(text);
}
