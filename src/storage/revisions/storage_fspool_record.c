/*
 * storage_fspool_record.c: what fspools have mounted
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <sys/stat.h>
#include <unistd.h>

#include "storage_fspool_record.h"

#include "configmake.h"
#include "storage_fspool_device.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "viruuid.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

VIR_LOG_INIT("storage.storage_fspool_record");

/*
 * When the daemon starts, no volume can be looked up yet: the pool that it is in may come later. So what a pool has
 * mounted is kept in a file of its own, until it is unmounted or the host goes down: the number of the block device,
 * those of a loop device's file, and what is seen of the file system. A pool is mounted when that is at its target.
 */
#define RUN_DIR RUNSTATEDIR "/libvirt/storage/fspool"
#define RUN_DIR_MODE 0700

#define RECORD_MAX (16 * 1024)


static char *
virStorageFspoolRecordPath(const unsigned char *uuid)
{
    char text[VIR_UUID_STRING_BUFLEN];

    return g_strdup_printf("%s/%s", RUN_DIR, virUUIDFormat(uuid, text));
}


/* Returns where a pool's new file system is mounted until it is finished. */
char *
virStorageFspoolBuildDirPath(const unsigned char *uuid)
{
    char text[VIR_UUID_STRING_BUFLEN];

    return g_strdup_printf("%s/%s.build", RUN_DIR, virUUIDFormat(uuid, text));
}


/**
 * virStorageFspoolBuildDirMake:
 * @path: from virStorageFspoolBuildDirPath()
 * @pool: name of the pool, for errors
 *
 * Makes the directory, which only root can enter; to be removed with rmdir(2).
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolBuildDirMake(const char *path,
                             const char *pool)
{
    if (g_mkdir_with_parents(RUN_DIR, RUN_DIR_MODE) == 0 &&
        (mkdir(path, RUN_DIR_MODE) == 0 || errno == EEXIST))
        return 0;

    virReportSystemError(errno, _("cannot make a directory to mount pool '%1$s' on"), pool);
    return -1;
}


/**
 * virStorageFspoolRecordWrite:
 * @uuid: of the pool
 * @mount: what it has mounted
 * @pool: its name, for errors
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolRecordWrite(const unsigned char *uuid,
                            const virStorageFspoolMount *mount,
                            const char *pool)
{
    g_autofree char *path = virStorageFspoolRecordPath(uuid);
    g_autofree char *numbers = NULL;
    g_autofree char *text = NULL;
    virStorageFspoolIdentity identity;

    if (virStorageFspoolIdentityRead(mount, &identity) < 0)
        return -1;

    numbers = virStorageFspoolIdentityFormat(&identity);
    text = g_strdup_printf("%s\n%s", numbers, mount->root);
    if (g_mkdir_with_parents(RUN_DIR, RUN_DIR_MODE) < 0 ||
        virFileRewriteStr(path, 0600, text) < 0) {
        virReportSystemError(errno, _("cannot keep in '%1$s' what pool '%2$s' has mounted"), path, pool);
        return -1;
    }
    return 0;
}


/* Is @mount what has been recorded? Where that cannot be told, it is not. */
bool
virStorageFspoolRecordIs(const unsigned char *uuid,
                         const virStorageFspoolMount *mount)
{
    g_autofree char *path = virStorageFspoolRecordPath(uuid);
    g_autofree char *text = NULL;
    virStorageFspoolIdentity recorded;
    virStorageFspoolIdentity actual;
    char *root;

    if (virFileReadAllQuiet(path, RECORD_MAX, &text) < 0 || !(root = strchr(text, '\n')))
        return false;

    *root++ = '\0';
    if (virStorageFspoolIdentityParse(text, &recorded) < 0 || STRNEQ(root, mount->root))
        return false;

    if (virStorageFspoolIdentityRead(mount, &actual) < 0) {
        virResetLastError();
        return false;
    }
    return virStorageFspoolIdentityEqual(&recorded, &actual);
}


void
virStorageFspoolRecordRemove(const unsigned char *uuid)
{
    g_autofree char *path = virStorageFspoolRecordPath(uuid);

    if (unlink(path) < 0 && errno != ENOENT)
        VIR_WARN("cannot remove '%s': %s", path, g_strerror(errno));
}
