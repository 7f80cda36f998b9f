/*
 * test-fspool-mount.c: mounts of fspools, and what they lie on
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <glib/gstdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "unit.h"

#include "storage_fspool_alive.h"
#include "storage_fspool_device.h"
#include "storage_fspool_mkfs.h"
#include "storage_fspool_mount.h"
#include "virthread.h"

#define EXT4 VIR_STORAGE_REV_FSPOOL_EXT4
#define XFS VIR_STORAGE_REV_FSPOOL_XFS
#define BTRFS VIR_STORAGE_REV_FSPOOL_BTRFS


static const virStorageFspoolMount *
mountAt(GPtrArray *mounts,
        size_t i)
{
    g_assert_cmpint(i, <, mounts->len);
    return g_ptr_array_index(mounts, i);
}


static void
testParse(void)
{
    g_autoptr(GPtrArray) mounts = virStorageFspoolMountsParse(
        "24 1 253:1 / / rw,relatime - ext4 /dev/dm-1 rw\n"
        "36 24 98:65536 /sub /mnt ro,noatime shared:1 master:2 - xfs /dev/sda rw,prjquota\n"
        "37 24 0:45 / /net rw shared:3 - nfs4 nas:/export ro,vers=4.2\n"
        "38 24 0:46 / /none rw -  tmpfs rw\n");

    g_assert_cmpint(mounts->len, ==, 4);
    g_assert_cmpint(mountAt(mounts, 1)->id, ==, 36);
    g_assert_cmpint(mountAt(mounts, 1)->parent, ==, 24);
    g_assert_true(mountAt(mounts, 1)->device == makedev(98, 65536));
    g_assert_cmpstr(mountAt(mounts, 1)->root, ==, "/sub");
    g_assert_cmpstr(mountAt(mounts, 1)->path, ==, "/mnt");
    g_assert_cmpstr(mountAt(mounts, 1)->type, ==, "xfs");
    g_assert_cmpstr(mountAt(mounts, 1)->source, ==, "/dev/sda");
    g_assert_false(mountAt(mounts, 0)->readOnly);
    g_assert_true(mountAt(mounts, 1)->readOnly);
    g_assert_true(mountAt(mounts, 2)->readOnly);
}


static void
testEscapes(void)
{
    g_autoptr(GPtrArray) mounts = virStorageFspoolMountsParse(
        "36 24 98:0 /a\\040b /m\\011n\\012o\\134p rw - ext4 /dev/x\\043y rw\n"
        "37 24 98:0 / /\\08\\400\\1 rw - ext4 /dev/\\ rw\n");

    g_assert_cmpstr(mountAt(mounts, 0)->root, ==, "/a b");
    g_assert_cmpstr(mountAt(mounts, 0)->path, ==, "/m\tn\no\\p");
    g_assert_cmpstr(mountAt(mounts, 0)->source, ==, "/dev/x#y");
    g_assert_cmpstr(mountAt(mounts, 1)->path, ==, "/\\08\\400\\1");
    g_assert_cmpstr(mountAt(mounts, 1)->source, ==, "/dev/\\");
}


/* A path that has a dash of its own, and lines that are none. */
static void
testOddLines(void)
{
    g_autoptr(GPtrArray) mounts = virStorageFspoolMountsParse(
        "36 24 98:0 / - rw - ext4 /dev/x rw\n"
        "37 24 98:0 / /m rw - ext4 /dev/x\n"
        "38 24 98:0 / /m rw shared:1 ext4 /dev/x rw\n"
        "x 24 98:0 / /m rw - ext4 /dev/x rw\n"
        "39 24 98 / /m rw - ext4 /dev/x rw\n"
        "\n"
        "garbage\n"
        "40 24 98:0 / /last rw - ext4 /dev/x rw");

    g_assert_cmpint(mounts->len, ==, 2);
    g_assert_cmpstr(mountAt(mounts, 0)->path, ==, "-");
    g_assert_cmpstr(mountAt(mounts, 1)->path, ==, "/last");
}


static void
testFind(void)
{
    g_autoptr(GPtrArray) mounts = virStorageFspoolMountsParse(
        "1 1 0:1 / / rw - rootfs rootfs rw\n"
        "24 1 253:1 / / rw - ext4 /dev/root rw\n"
        "52 50 8:3 / /srv/c rw - ext4 /dev/top rw\n"
        "50 24 8:1 / /srv/c rw - ext4 /dev/bottom rw\n"
        "60 24 8:4 / /srv rw - ext4 /dev/over rw\n"
        "61 60 8:5 / /srv/d rw - ext4 /dev/seen rw\n"
        "62 24 8:6 / /srv/d rw - ext4 /dev/hidden rw\n");

    /* on top of each other */
    g_assert_cmpstr(virStorageFspoolMountsFind(mounts, 24, "/srv/c")->source, ==, "/dev/top");
    /* below what has been mounted over the parent directory */
    g_assert_null(virStorageFspoolMountsFind(mounts, 60, "/srv/c"));
    g_assert_cmpstr(virStorageFspoolMountsFind(mounts, 60, "/srv/d")->source, ==, "/dev/seen");
    g_assert_null(virStorageFspoolMountsFind(mounts, 24, "/srv/c/d"));
    g_assert_null(virStorageFspoolMountsFind(mounts, 24, "/srv/"));
    /* the kernel's first mount lies on itself */
    g_assert_cmpint(virStorageFspoolMountsFind(mounts, 1, "/")->id, ==, 24);
}


/* Going round in a circle is the kernel's fault, but must end. */
static void
testFindCircle(void)
{
    g_autoptr(GPtrArray) mounts = virStorageFspoolMountsParse(
        "2 3 8:1 / /m rw - ext4 /dev/a rw\n"
        "3 2 8:1 / /m rw - ext4 /dev/b rw\n");

    g_assert_nonnull(virStorageFspoolMountsFind(mounts, 2, "/m"));
}


static void
expectOptions(int format,
              bool quota,
              const char *extra,
              const char *expected)
{
    g_auto(GStrv) list = extra ? g_strsplit(extra, " ", 0) : NULL;
    g_autofree char *actual = virStorageFspoolMountOptions(format, quota, list);

    g_assert_cmpstr(actual, ==, expected);
}


static void
testOptions(void)
{
    expectOptions(EXT4, true, NULL, "prjquota,nosuid,nodev");
    expectOptions(XFS, true, "", "prjquota,nosuid,nodev");
    expectOptions(XFS, false, NULL, "nosuid,nodev");
    expectOptions(BTRFS, true, NULL, "nosuid,nodev");
    expectOptions(BTRFS, true, "noatime compress=zstd:3", "nosuid,nodev,noatime,compress=zstd:3");
    expectOptions(EXT4, true, "ro noexec", "prjquota,nosuid,nodev,ro,noexec");
}


static void
testOptionsOverride(void)
{
    expectOptions(BTRFS, true, "suid", "nodev,suid");
    expectOptions(BTRFS, true, "dev", "nosuid,dev");
    expectOptions(EXT4, true, "suid dev", "prjquota,suid,dev");
    expectOptions(XFS, true, "noquota", "nosuid,nodev,noquota");
    expectOptions(XFS, true, "pqnoenforce", "nosuid,nodev,pqnoenforce");
}


static void
testOptionsRefused(void)
{
    const char *refused[] = {
        "bind", "loop", "loop=/dev/loop0", "offset=4096", "remount", "helper=x", "users", "x-mount.mkdir",
        "X-mount.subdir=a", "noatime,suid", "a b", "-o", "=", "=x", "context=\"a\"", "new\nline", "rshared", "addr=1.2.3.4", NULL,
    };
    size_t i;

    for (i = 0; refused[i]; i++) {
        char *list[] = { (char *) "noatime", (char *) refused[i], NULL };

        g_assert_null(virStorageFspoolMountOptions(EXT4, true, list));
        unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, refused[i]);
    }
}


static void
testNetworkOptions(void)
{
    char *soft[] = { (char *) "soft", (char *) "retry=1", NULL };
    g_autofree char *plain = virStorageFspoolNetworkOptions(NULL, 0, NULL);
    g_autofree char *all = virStorageFspoolNetworkOptions("4.2", 2049, soft);

    g_assert_cmpstr(plain, ==, "retry=0,nosuid,nodev");
    g_assert_cmpstr(all, ==, "vers=4.2,port=2049,nosuid,nodev,soft,retry=1");

    g_assert_null(virStorageFspoolNetworkOptions("4,suid", 0, NULL));
    unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "4,suid");
    g_assert_null(virStorageFspoolNetworkOptions("", 0, NULL));
    unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "''");
}


static void
expectSource(const char *host,
             const char *dir,
             const char *expected)
{
    g_autofree char *actual = virStorageFspoolNetworkSource(host, dir);

    g_assert_cmpstr(actual, ==, expected);
}


static void
testNetworkSource(void)
{
    expectSource("nas", "/export", "nas:/export");
    expectSource("nas-1.example.org", "/", "nas-1.example.org:/");
    expectSource("192.0.2.1", "/two words/", "192.0.2.1:/two words");
    expectSource("2001:db8::1", "/a//", "[2001:db8::1]:/a");
    expectSource("[fe80::1%eth0]", "/a", "[fe80::1%eth0]:/a");
    expectSource("nas", "/-o", "nas:/-o");
}


static void
testNetworkSourceRefused(void)
{
    const char *hosts[] = { "", "-o", "a b", "nas,other", "a/b", "LABEL=x", "[]", "[-a]", "na\ns", "a@b", NULL };
    const char *dirs[] = { "", "export", "-o", "/a\nb", "/a\tb", NULL };
    size_t i;

    for (i = 0; hosts[i]; i++) {
        g_assert_null(virStorageFspoolNetworkSource(hosts[i], "/export"));
        unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, hosts[i]);
    }
    for (i = 0; dirs[i]; i++) {
        g_assert_null(virStorageFspoolNetworkSource("nas", dirs[i]));
        unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, dirs[i]);
    }
}


static void
testNetworkIs(void)
{
    virStorageFspoolMount mount = { .type = (char *) "nfs4", .source = (char *) "nas:/export/" };

    g_assert_true(virStorageFspoolNetworkIs(&mount, "nas:/export"));
    g_assert_false(virStorageFspoolNetworkIs(&mount, "nas:/exports"));
    g_assert_false(virStorageFspoolNetworkIs(&mount, "nas:/"));
    mount.source = (char *) "nas:/";
    g_assert_true(virStorageFspoolNetworkIs(&mount, "nas:/"));
    mount.type = (char *) "ext4";
    g_assert_false(virStorageFspoolNetworkIs(&mount, "nas:/"));
}


static void
testIdentity(void)
{
    virStorageFspoolIdentity identity = {
        .device = makedev(7, 3),
        .fileDevice = makedev(8, 1),
        .fileInode = 1ULL << 40,
    };
    virStorageFspoolIdentity other = { 0 };
    g_autofree char *text = virStorageFspoolIdentityFormat(&identity);
    const char *broken[] = { "", "1 2", "1 2 3 4", " 1 2 3", "-1 2 3", "0 0 0", "1 2 3\n", "1  2 3", "1 2 3 ", NULL };
    size_t i;

    g_assert_cmpint(virStorageFspoolIdentityParse(text, &other), ==, 0);
    g_assert_true(virStorageFspoolIdentityEqual(&identity, &other));
    other.fileInode++;
    g_assert_false(virStorageFspoolIdentityEqual(&identity, &other));

    for (i = 0; broken[i]; i++)
        g_assert_cmpint(virStorageFspoolIdentityParse(broken[i], &other), ==, -1);
}


static int
checkVolume(int poolType,
            int type,
            const char *name,
            const char *format,
            bool dirty)
{
    virStorageFspoolVolume volume = {
        .name = (char *) name,
        .path = (char *) "/p",
        .poolType = poolType,
        .type = type,
        .format = (char *) format,
        .dirty = dirty,
    };

    return virStorageFspoolVolumeCheck(&volume);
}


static void
testVolume(void)
{
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_DIR, VIR_STORAGE_VOL_FILE, "a@b", "raw", false), ==, 0);
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_LOGICAL, VIR_STORAGE_VOL_BLOCK, "a", NULL, false), ==, 0);
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_DISK, VIR_STORAGE_VOL_BLOCK, "a", "linux", false), ==, 0);
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_DISK, VIR_STORAGE_VOL_BLOCK, "a", "none", false), ==, 0);
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_REFLINK, VIR_STORAGE_VOL_FILE, "a/b", "raw", false), ==, 0);
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_REFLINK, VIR_STORAGE_VOL_FILE, "a@live", "raw", false), ==, 0);
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_QUBES_THIN, VIR_STORAGE_VOL_BLOCK, "a", "raw", false), ==, 0);
    unitExpectNoError();
}


static void
testVolumeRefused(void)
{
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_DIR, VIR_STORAGE_VOL_FILE, "img", "qcow2", false), ==, -1);
    unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "qcow2");
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_DIR, VIR_STORAGE_VOL_FILE, "img", NULL, false), ==, -1);
    unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "img");
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_LOGICAL, VIR_STORAGE_VOL_BLOCK, "img", "qcow2", false), ==, -1);
    unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "qcow2");
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_FSPOOL, VIR_STORAGE_VOL_DIR, "img", "dir", false), ==, -1);
    unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "img");
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_RBD, VIR_STORAGE_VOL_NETWORK, "img", "raw", false), ==, -1);
    unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, "img");
}


static void
testVolumeStates(void)
{
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_REFLINK, VIR_STORAGE_VOL_FILE, "img@7", "raw", false), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "img@7");
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_QUBES_THIN, VIR_STORAGE_VOL_BLOCK, "img@word", "raw", false), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "img@word");
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_REFLINK, VIR_STORAGE_VOL_FILE, "img", "raw", true), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "img@live");
    g_assert_cmpint(checkVolume(VIR_STORAGE_POOL_DIR, VIR_STORAGE_VOL_FILE, "img@7", "raw", false), ==, 0);
}


static void
expectMkfs(int format,
           bool quota,
           const char *expected)
{
    g_autoptr(virCommand) cmd = virStorageFspoolMkfsCommand(format, "/dev/loop3", quota);
    g_autofree char *actual = virCommandToString(cmd, false);

    g_assert_cmpstr(actual, ==, expected);
}


static void
testMkfs(void)
{
    expectMkfs(EXT4, true, "mkfs.ext4 -q -F -O project,quota -E quotatype=prjquota -- /dev/loop3");
    expectMkfs(EXT4, false, "mkfs.ext4 -q -F -- /dev/loop3");
    expectMkfs(XFS, true, "mkfs.xfs -q -f -m reflink=1 -- /dev/loop3");
    expectMkfs(BTRFS, true, "mkfs.btrfs -q -f -- /dev/loop3");
}


static void
testSuperblockExt4(void)
{
    unsigned char data[VIR_STORAGE_FSPOOL_SUPERBLOCK_SIZE] = { 0 };
    virStorageFspoolSuperblock sb;

    data[1024 + 0x5] = 0x10;                 /* 4096 blocks */
    data[1024 + 0x18] = 2;                   /* of 4 KiB */
    data[1024 + 0x38] = 0x53;
    data[1024 + 0x39] = 0xEF;
    data[1024 + 0x65] = 0x01;                /* quota, but not project */
    data[1024 + 0x150] = 1;
    virStorageFspoolSuperblockParse(EXT4, data, &sb);
    g_assert_true(sb.known);
    g_assert_false(sb.quota);
    g_assert_cmpint(sb.blockSize, ==, 4096);
    g_assert_cmpint(sb.blocks, ==, 4096);

    data[1024 + 0x60] = 0x80;                /* 64bit */
    data[1024 + 0x65] = 0x21;
    virStorageFspoolSuperblockParse(EXT4, data, &sb);
    g_assert_true(sb.quota);
    g_assert_cmpint(sb.blocks, ==, (1LL << 32) + 4096);

    data[1024 + 0x38] = 0;
    virStorageFspoolSuperblockParse(EXT4, data, &sb);
    g_assert_false(sb.known);
}


static void
testSuperblockXfs(void)
{
    unsigned char data[VIR_STORAGE_FSPOOL_SUPERBLOCK_SIZE] = "XFSB";
    virStorageFspoolSuperblock sb;

    virStorageFspoolSuperblockParse(XFS, data, &sb);
    g_assert_true(sb.known);
    g_assert_false(sb.quota);

    data[177] = 0x8;
    virStorageFspoolSuperblockParse(XFS, data, &sb);
    g_assert_true(sb.quota);

    virStorageFspoolSuperblockParse(BTRFS, data, &sb);
    g_assert_false(sb.known);
}


static char *
makeDir(void)
{
    char *path = g_build_filename(g_get_tmp_dir(), "test-fspool-mount-XXXXXX", NULL);

    g_assert_nonnull(g_mkdtemp(path));
    return path;
}


static void
testPoint(void)
{
    g_autofree char *dir = makeDir();
    g_autofree char *real = g_strdup_printf("%s/real", dir);
    g_autofree char *link = g_strdup_printf("%s/link", dir);
    g_autofree char *target = g_strdup_printf("%s/link/pool", dir);
    g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;
    g_autoptr(virStorageFspoolMount) mount = NULL;

    g_assert_cmpint(g_mkdir(real, 0700), ==, 0);
    g_assert_cmpint(symlink("real", link), ==, 0);

    /* in the path of the parent a symbolic link is fine */
    g_assert_cmpint(virStorageFspoolPointMake(target, "p"), ==, 0);
    g_assert_cmpint(virStorageFspoolPointMake(target, "p"), ==, 0);
    g_assert_cmpint(virStorageFspoolPointOpen(&point, target, "p"), ==, 0);
    g_assert_true(g_str_has_suffix(point.path, "/real/pool"));
    g_assert_cmpint(virStorageFspoolPointRead(&point, &mount), ==, 0);
    g_assert_null(mount);

    g_rmdir(target);
    g_unlink(link);
    g_rmdir(real);
    g_rmdir(dir);
}


static void
testPointRefused(void)
{
    g_autofree char *dir = makeDir();
    g_autofree char *file = g_strdup_printf("%s/file", dir);
    g_autofree char *link = g_strdup_printf("%s/link", dir);
    g_autofree char *missing = g_strdup_printf("%s/none/pool", dir);
    const char *odd[] = { "/", "/tmp/..", "/tmp/.", NULL };
    size_t i;

    g_assert_true(g_file_set_contents(file, "x", 1, NULL));
    g_assert_cmpint(symlink(dir, link), ==, 0);

    g_assert_cmpint(virStorageFspoolPointMake(file, "p"), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "not a directory");
    g_assert_cmpint(virStorageFspoolPointMake(link, "p"), ==, -1);
    unitExpectError(VIR_ERR_OPERATION_INVALID, "not a directory");

    for (i = 0; odd[i]; i++) {
        g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;

        g_assert_cmpint(virStorageFspoolPointOpen(&point, odd[i], "p"), ==, -1);
        unitExpectError(VIR_ERR_CONFIG_UNSUPPORTED, odd[i]);
    }
    {
        g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;

        g_assert_cmpint(virStorageFspoolPointOpen(&point, missing, "p"), ==, -1);
        unitExpectError(VIR_ERR_SYSTEM_ERROR, missing);
    }

    g_unlink(link);
    g_unlink(file);
    g_rmdir(dir);
}


/* What is mounted on /proc, every machine knows. */
static void
testPointMounted(void)
{
    g_auto(virStorageFspoolPoint) point = VIR_STORAGE_FSPOOL_POINT_INIT;
    g_autoptr(virStorageFspoolMount) mount = NULL;

    g_assert_cmpint(virStorageFspoolPointOpen(&point, "/proc", "p"), ==, 0);
    g_assert_cmpint(virStorageFspoolPointRead(&point, &mount), ==, 0);
    g_assert_nonnull(mount);
    g_assert_cmpstr(mount->type, ==, "proc");
    g_assert_true(virStorageFspoolMountDevice(mount) == 0);
}


static int asked;


static int
askFast(const char *path G_GNUC_UNUSED)
{
    g_atomic_int_inc(&asked);
    return 0;
}


static int
askBroken(const char *path G_GNUC_UNUSED)
{
    return ESTALE;
}


static int
askSlow(const char *path G_GNUC_UNUSED)
{
    g_atomic_int_inc(&asked);
    g_usleep(2500 * 1000);
    return 0;
}


static void
testAlive(void)
{
    g_assert_cmpint(virStorageFspoolAliveWait("/", 5), ==, 0);
    g_assert_cmpint(virStorageFspoolAliveWait("/no/such/directory", 5), ==, ENOENT);
    g_assert_cmpint(virStorageFspoolAliveWaitFor("/a", 5, askFast), ==, 0);
    g_assert_cmpint(virStorageFspoolAliveWaitFor("/b", 5, askBroken), ==, ESTALE);
}


/* One question a path, of which all that wait in time get the answer. */
static void
testAliveSlow(void)
{
    gint64 begin = g_get_monotonic_time();

    g_atomic_int_set(&asked, 0);
    g_assert_cmpint(virStorageFspoolAliveWaitFor("/slow", 1, askSlow), ==, ETIMEDOUT);
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, 900 * 1000);
    begin = g_get_monotonic_time();
    g_assert_cmpint(virStorageFspoolAliveWaitFor("/slow", 1, askSlow), ==, ETIMEDOUT);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 500 * 1000);
    g_assert_cmpint(virStorageFspoolAliveWaitFor("/other", 1, askFast), ==, 0);
    g_assert_cmpint(virStorageFspoolAliveWaitFor("/slow", 10, askSlow), ==, 0);
    g_assert_cmpint(g_atomic_int_get(&asked), ==, 2);
    g_assert_cmpint(virStorageFspoolAliveWaitFor("/slow", 5, askFast), ==, 0);
    g_assert_cmpint(g_atomic_int_get(&asked), ==, 3);
}


int
main(int argc,
     char **argv)
{
    unitInit(&argc, &argv);

    g_test_add_func("/fspool-mount/parse", testParse);
    g_test_add_func("/fspool-mount/escapes", testEscapes);
    g_test_add_func("/fspool-mount/odd-lines", testOddLines);
    g_test_add_func("/fspool-mount/find", testFind);
    g_test_add_func("/fspool-mount/find-circle", testFindCircle);
    g_test_add_func("/fspool-mount/options", testOptions);
    g_test_add_func("/fspool-mount/options-override", testOptionsOverride);
    g_test_add_func("/fspool-mount/options-refused", testOptionsRefused);
    g_test_add_func("/fspool-mount/network-options", testNetworkOptions);
    g_test_add_func("/fspool-mount/network-source", testNetworkSource);
    g_test_add_func("/fspool-mount/network-source-refused", testNetworkSourceRefused);
    g_test_add_func("/fspool-mount/network-is", testNetworkIs);
    g_test_add_func("/fspool-mount/identity", testIdentity);
    g_test_add_func("/fspool-mount/volume", testVolume);
    g_test_add_func("/fspool-mount/volume-refused", testVolumeRefused);
    g_test_add_func("/fspool-mount/volume-states", testVolumeStates);
    g_test_add_func("/fspool-mount/mkfs", testMkfs);
    g_test_add_func("/fspool-mount/superblock-ext4", testSuperblockExt4);
    g_test_add_func("/fspool-mount/superblock-xfs", testSuperblockXfs);
    g_test_add_func("/fspool-mount/point", testPoint);
    g_test_add_func("/fspool-mount/point-refused", testPointRefused);
    g_test_add_func("/fspool-mount/point-mounted", testPointMounted);
    g_test_add_func("/fspool-mount/alive", testAlive);
    g_test_add_func("/fspool-mount/alive-slow", testAliveSlow);

    return g_test_run();
}
