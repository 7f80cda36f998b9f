/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Makes the time longer between the daemon's fork and what its child does then:
 * close what it does not need, and execute a program.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

pid_t fork(void)
{
    pid_t (*real)(void) = (pid_t (*)(void))dlsym(RTLD_NEXT, "fork");
    pid_t pid = real();

    if (pid == 0)
        usleep(300000);
    return pid;
}
