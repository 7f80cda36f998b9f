/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Stands between the daemon and its access driver: refuses the one permission
 * on volumes whose number, one digit, is in the file that DENY_FILE names.
 * This build has no driver that refuses anything, and polkit would be the
 * machine's own.
 */

#include <stdio.h>
#include <stdlib.h>

int virAccessManagerCheckStorageVol(void *manager, const char *driver,
                                    void *pool, void *vol, int permission);

int virAccessManagerCheckStorageVol(void *manager, const char *driver,
                                    void *pool, void *vol, int permission)
{
    FILE *file = fopen(getenv("DENY_FILE"), "re");
    int denied;

    (void)manager;
    (void)driver;
    (void)pool;
    (void)vol;
    if (!file)
        return 1;
    denied = fgetc(file);
    fclose(file);
    return denied != '0' + permission;
}
