# SPDX-License-Identifier: LGPL-2.1-or-later
"""The list of tests that are not for every pool type has no stale entries."""

import ast
import os
import sys

import pytest

FUNCTIONAL = os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "functional")
sys.path.insert(0, FUNCTIONAL)

import differences      # pylint: disable=wrong-import-position


# Where the tests of a file stand that has none of its own.
SHARED = {"test_behaviour.py": "behaviour.py"}


def functions(name):
    """The names of all functions in a file."""
    with open(os.path.join(FUNCTIONAL, name), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    return {node.name for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("table", [differences.REFLINK_ONLY, differences.ONCE],
                         ids=["reflink only", "once"])
def test_every_entry_is_a_test(table):
    for files in table.values():
        for name, tests in files.items():
            there = functions(SHARED.get(name, name))
            wanted = {t.partition("[")[0] for t in (tests or "").split()}
            assert wanted <= there, name


def test_no_entry_stands_twice():
    seen = set()
    for table in (differences.REFLINK_ONLY, differences.ONCE):
        for files in table.values():
            for name, tests in files.items():
                for test in (tests or "*").split():
                    assert (name, test) not in seen
                    seen.add((name, test))
