# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/setup and scripts/libvirt-tree: what they make, and make only once."""

import os
import shutil
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What is tested is the same for all of them; each is set up by check.
VERSIONS = ("9.0.0",)


def cached(version):
    done = subprocess.run([f"{TOP}/scripts/libvirt-tree", "--verify", version],
                          capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(scope="module", params=VERSIONS)
def version(request):
    if not cached(request.param):
        pytest.skip(f"the source of libvirt {request.param} has not been fetched")
    return request.param


@pytest.fixture(scope="module")
def clone(version, tmp_path_factory):
    """What of the repository makes a tree, the same downloads, and a tree."""
    place = tmp_path_factory.mktemp("clone")
    for name in ("scripts", "patches", "src"):
        shutil.copytree(f"{TOP}/{name}", place / name)
    (place / "subprojects").mkdir()
    for name in ("packagecache", "guest"):
        os.symlink(f"{TOP}/subprojects/{name}", place / "subprojects" / name)
    assert tree(place, version).stdout.startswith("prepared")
    yield place
    # pytest would keep these hundreds of megabytes.
    shutil.rmtree(place)


@pytest.fixture
def series(clone):
    """The list of patches, as it was when the test is over."""
    path = clone / "patches" / "series"
    text = path.read_text()
    yield path
    path.write_text(text)


def tree(clone, *words, check=True):
    return subprocess.run([clone / "scripts" / "libvirt-tree", *words],
                          capture_output=True, text=True, check=check)


def test_series_leaves_no_rejects(clone):
    leftovers = [name for _, _, files in os.walk(clone / "subprojects")
                 for name in files if name.endswith((".rej", ".orig"))]
    assert not leftovers


def test_second_run_changes_nothing(clone, version):
    place = clone / "subprojects" / f"libvirt-{version}"
    before = place.stat()
    assert tree(clone, version).stdout.startswith("up to date")
    after = place.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_links_lead_to_our_files(clone, version):
    src = clone / "subprojects" / f"libvirt-{version}" / "src"
    link = src / "storage" / "revisions"
    assert link.is_symlink() and not os.path.isabs(os.readlink(link))
    assert link.resolve() == clone / "src" / "storage" / "revisions"
    for ours in (clone / "src" / "conf").rglob("*.[ch]"):
        there = src / ours.relative_to(clone / "src")
        assert there.is_symlink() and there.resolve() == ours


def test_new_and_removed_files_are_followed(clone, version):
    ours = clone / "src" / "conf" / "some_new_file.h"
    there = clone / "subprojects" / f"libvirt-{version}" / "src" / "conf" / ours.name
    ours.touch()
    tree(clone, version)
    assert there.resolve() == ours
    ours.unlink()
    tree(clone, version)
    assert not there.is_symlink()


def test_a_file_never_hides_one_of_libvirt(clone, version):
    ours = clone / "src" / "conf" / "domain_conf.c"
    ours.touch()
    done = tree(clone, version, check=False)
    ours.unlink()
    assert done.returncode != 0 and "domain_conf.c" in done.stderr


def test_changed_series_touches_only_what_changed(clone, version, series):
    """A file that goes back to its original has to look new to the build."""
    place = clone / "subprojects" / f"libvirt-{version}"
    readme, other = place / "README.rst", place / "meson.build"
    before, text = readme.stat().st_mtime_ns, readme.read_text()
    untouched = other.stat().st_mtime_ns
    (clone / "patches" / "9999-extra.patch").write_text(
        "--- a/README.rst\n+++ b/README.rst\n@@ -1,0 +2,1 @@\n+changed\n")
    original = series.read_text()
    series.write_text(original + "9999-extra.patch\n")
    assert tree(clone, version).stdout.startswith("prepared")
    assert readme.read_text().splitlines()[1] == "changed"
    changed = readme.stat().st_mtime_ns
    assert changed > before
    series.write_text(original)
    tree(clone, version)
    assert readme.read_text() == text
    assert readme.stat().st_mtime_ns > changed
    assert other.stat().st_mtime_ns == untouched


def test_patch_that_does_not_fit_leaves_the_tree_alone(clone, version, series):
    place = clone / "subprojects" / f"libvirt-{version}"
    before = place.stat().st_ino
    (clone / "patches" / "9999-bad.patch").write_text(
        "--- a/README.rst\n+++ b/README.rst\n"
        "@@ -1,2 +1,2 @@\n not the first line\n-nor the second\n+new\n")
    series.write_text(series.read_text() + "9999-bad.patch\n")
    done = tree(clone, version, check=False)
    assert done.returncode != 0 and "9999-bad.patch does not apply" in done.stderr
    assert place.stat().st_ino == before


def test_wrong_checksum_is_an_error(clone, version):
    sums = clone / "scripts" / "libvirt-sources.sha256"
    text = sums.read_text()
    sums.write_text("".join("0" * 8 + line[8:] for line in text.splitlines(True)))
    done = tree(clone, "--verify", version, check=False)
    sums.write_text(text)
    assert done.returncode != 0 and "SHA-256" in done.stderr


def test_setup_again_needs_neither_apt_nor_network(clone, version, tmp_path):
    """With everything there, no program that could fetch or install is run."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("apt-get", "sudo", "meson"):
        (tools / name).write_text(f"#!/bin/sh\necho ran {name} $* >&2\nexit 1\n")
        (tools / name).chmod(0o755)
    command = ["unshare", "--net"] if os.geteuid() == 0 else []
    command += [clone / "scripts" / "setup", "--version", version, "--tree-only"]
    env = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}")
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ran " not in done.stderr
