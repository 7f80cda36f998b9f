# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/test-summary: what it counts, and that nothing looks like success."""

import json
import os
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

TAP = "1..4\nok 1 /a\nnot ok 2 /b\nok 3 /c # SKIP no such thing\n    ok 4 - inner\n"
JUNIT = ("<testsuites><testsuite>"
         "<testcase name='one'/><testcase name='two'><failure/></testcase>"
         "<testcase name='three'><skipped/></testcase>"
         "<testcase name='four'><error/></testcase></testsuite></testsuites>")


@pytest.fixture
def build(tmp_path):
    (tmp_path / "meson-logs").mkdir()
    return tmp_path


def summary(build, *tests, options=()):
    with open(build / "meson-logs" / "testlog.json", "w", encoding="utf-8") as log:
        for name, result, command, stdout in tests:
            log.write(json.dumps({"name": name, "result": result, "stdout": stdout,
                                  "command": [str(word) for word in command]}) + "\n")
    done = subprocess.run([f"{TOP}/scripts/test-summary", *options, build],
                          capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[-1], done.returncode


def test_plain_programs(build):
    assert summary(build, ("a", "OK", ["x"], ""), ("b", "SKIP", ["x"], ""),
                   ("c", "EXPECTEDFAIL", ["x"], "")) == \
        ("2 passed, 0 failed, 1 skipped", 0)


@pytest.mark.parametrize("result", ["FAIL", "ERROR", "TIMEOUT", "INTERRUPT", "UNEXPECTEDPASS"])
def test_all_that_is_not_good_is_failure(build, result):
    assert summary(build, ("a", "OK", ["x"], ""), ("b", result, ["x"], "")) == \
        ("1 passed, 1 failed, 0 skipped", 1)


def test_tap_counts_each_test(build):
    assert summary(build, ("a", "FAIL", ["x", "--tap"], TAP)) == \
        ("2 passed, 1 failed, 1 skipped", 1)


def test_tap_program_that_dies_is_a_failure(build):
    assert summary(build, ("a", "ERROR", ["x", "--tap"], "1..2\nok 1 /a\n")) == \
        ("1 passed, 1 failed, 0 skipped", 1)


def test_python_file_counts_each_test(build):
    report = build / "pytest-a.xml"
    report.write_text(JUNIT)
    assert summary(build, ("a", "FAIL", ["x", report], "")) == \
        ("1 passed, 2 failed, 1 skipped", 1)


def test_python_file_without_report_is_a_failure(build):
    assert summary(build, ("a", "FAIL", ["x", build / "pytest-a.xml"], "")) == \
        ("0 passed, 1 failed, 0 skipped", 1)


def test_good_report_of_a_failed_run_is_a_failure(build):
    """The daemon's end failed, say, after the tests were done."""
    report = build / "pytest-a.xml"
    report.write_text("<testsuite><testcase name='one'/></testsuite>")
    assert summary(build, ("a", "FAIL", ["x", report], "")) == \
        ("1 passed, 1 failed, 0 skipped", 1)


def test_no_run_at_all_is_a_failure(build):
    done = subprocess.run([f"{TOP}/scripts/test-summary", build],
                          capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"
    assert done.returncode == 1


def test_nothing_is_not_success(build):
    assert summary(build) == ("0 passed, 0 failed, 0 skipped", 1)


def test_failed_step_counts(build):
    assert summary(build, ("a", "OK", ["x"], ""), options=("--failed", "set-up")) == \
        ("1 passed, 1 failed, 0 skipped", 1)
