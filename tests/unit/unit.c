/*
 * unit.c: what all unit tests need
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include "unit.h"

#include "virerror.h"


static void
unitErrorQuiet(void *opaque G_GNUC_UNUSED,
               virErrorPtr error G_GNUC_UNUSED)
{
}


/* Errors are expected, and would only be noise in the log. */
void
unitInit(int *argc,
         char ***argv)
{
    g_test_init(argc, argv, NULL);
    g_assert_cmpint(virErrorInitialize(), ==, 0);
    virSetErrorFunc(NULL, unitErrorQuiet);
}


/* The last error has to be @code, and to have @part, if not NULL, in its message. */
void
unitExpectError(int code,
                const char *part)
{
    g_assert_cmpint(virGetLastErrorCode(), ==, code);
    if (part && !strstr(virGetLastErrorMessage(), part))
        g_error("'%s' is not in '%s'", part, virGetLastErrorMessage());
    virResetLastError();
}


void
unitExpectNoError(void)
{
    g_assert_cmpint(virGetLastErrorCode(), ==, VIR_ERR_OK);
}
