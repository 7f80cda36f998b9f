# SPDX-License-Identifier: LGPL-2.1-or-later
"""A foreign locale that is in effect, and not just in the environment.

A machine has few locales beside C, and a program that asks for one that is not
there goes on with C. So one is made here, from Debian's package locales.
"""

import os
import shlex

from filesystems import run

DANISH = "da_DK.UTF-8"
# What the daemon of a distribution does at its start. Ours is built without
# translations, and would leave it.
SOURCE = """
#include <locale.h>
__attribute__((constructor)) static void take_up(void)
{
    setlocale(LC_ALL, "");
}
"""


def danish(folder):
    """Words before a command line that runs it in Danish, made in a folder."""
    folder = os.path.join(str(folder), "locales")
    os.makedirs(folder)
    run("localedef", "-i", "da_DK", "-f", "UTF-8",
        os.path.join(folder, DANISH))
    words = ["env", f"LOCPATH={folder}", f"LC_ALL={DANISH}",
             f"LANG={DANISH}", "LANGUAGE=da"]
    point = run(*words, "locale", "decimal_point").stdout
    assert point == ",\n", f"the locale is not in effect: {point!r}"

    source = os.path.join(folder, "setlocale.c")
    with open(source, "w", encoding="ascii") as file:
        file.write(SOURCE)
    library = os.path.join(folder, "setlocale.so")
    run("cc", "-shared", "-fPIC", "-o", library, source)
    return shlex.join(words + [f"LD_PRELOAD={library}"])


def speaks_danish(pid):
    """Whether the process has taken it up: its files are mapped."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        return f"/{DANISH}/LC_NUMERIC" in file.read()
