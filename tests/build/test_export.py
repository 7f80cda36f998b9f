# SPDX-License-Identifier: LGPL-2.1-or-later
"""scripts/export-patches: the series makes our tree of a pristine one.

And scripts/patch-debian-source, which puts it into a source package.
"""

import glob

import os
import shutil
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# The tests change nothing: a tree of links to one pristine tree is enough, for
# git and patch alike write a new file in place of the one that they change.
FAST_COPY = ["cp", "-al"]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=("9.0.0", "11.3.0"))
def trees(request, tmp_path_factory):
    """A pristine tree, our own one of plain files, and the exported series.

    The sources are copied first: somebody may be writing in them just now.
    """
    place = tmp_path_factory.mktemp("export")
    clone = place / "clone"
    for name in ("scripts", "patches", "src"):
        shutil.copytree(f"{TOP}/{name}", clone / name)
    (clone / "subprojects").mkdir()
    os.symlink(f"{TOP}/subprojects/packagecache", clone / "subprojects" / "packagecache")
    tool = clone / "scripts" / "libvirt-tree"
    version = request.param
    if subprocess.run([tool, "--verify", version], capture_output=True, check=False).returncode:
        pytest.skip(f"the source of libvirt {version} has not been fetched")
    run(tool, "--pristine", version, place / "pristine")
    run(tool, "--standalone", version, place / "wanted")
    run(clone / "scripts" / "export-patches", version, place / "series")
    (place / "version").write_text(version)
    yield place
    shutil.rmtree(place)


def names(trees):
    return (trees / "series" / "series").read_text().split()


def assert_same(one, two):
    run("diff", "-r", "--no-dereference", "--exclude=.git", one, two)


@pytest.mark.parametrize("how", ["git am", "patch"])
def test_series_makes_our_tree(trees, how):
    tree = trees / how.replace(" ", "-")
    run(*FAST_COPY, trees / "pristine", tree)
    patches = [trees / "series" / name for name in names(trees)]
    if how == "git am":
        env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null",
                   GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@localhost",
                   GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@localhost")
        # Only what the series is about: git takes long over all of libvirt.
        touched = {line[6:] for patch in patches for line in patch.read_text().splitlines()
                   if line.startswith("--- a/")}
        for command in (["init", "-q"], ["add", "-f", *touched], ["commit", "-qm", "pristine"],
                        ["am", "-q", "--whitespace=error-all", *patches]):
            run("git", *command, cwd=tree, env=env)
        subjects = run("git", "log", "--format=%s", cwd=tree, env=env).splitlines()
        assert len(subjects) == len(patches) + 1
        assert run("git", "status", "--porcelain", "-uno", cwd=tree, env=env) == ""
    else:
        for patch in patches:
            output = run("patch", "-p1", "-F0", "-f", "-i", patch, cwd=tree)
            assert "fuzz" not in output and "offset" not in output
    assert_same(tree, trees / "wanted")
    shutil.rmtree(tree)


@pytest.fixture
def package(trees):
    """An unpacked source package of Debian's."""
    tree = trees / "package"
    tree.mkdir()
    cache = trees / "clone" / "subprojects" / "packagecache"
    version = (trees / "version").read_text()
    run("tar", "-xf", cache / f"libvirt_{version}.orig.tar.xz", "-C", tree, "--strip-components=1")
    run("tar", "-xf", *glob.glob(f"{cache}/libvirt_{version}-*.debian.tar.xz"), "-C", tree)
    yield tree
    shutil.rmtree(tree)


def test_debian_source_package_has_all_that_it_needs(trees, package):
    """Its packages are complete: sources, schemas, and what it builds with."""
    tool = trees / "clone" / "scripts" / "patch-debian-source"
    run(tool, package)
    run("dpkg-source", "--before-build", ".", cwd=package)
    assert_same(package / "src", trees / "wanted" / "src")
    installed = "".join(file.read_text() for file in package.glob("debian/*.install"))
    for schema in (trees / "clone" / "src" / "conf" / "schemas").glob("*.rng"):
        assert installed.count(f"usr/share/libvirt/schemas/{schema.name}\n") == 1
    needed = (package / "debian" / "control").read_text().split("Build-Depends:")[1].split("\n\n")[0]
    assert needed.count("\n libarchive-dev,\n") == 1
    again = subprocess.run([tool, package], capture_output=True, text=True, check=False)
    assert again.returncode != 0 and "already" in again.stderr


def test_files_come_first_and_hooks_touch_only_libvirt(trees):
    first, *others = names(trees)
    text = (trees / "series" / first).read_text()
    assert "new file mode 100644" in text and "\n--- a/" not in text
    for name in others:
        assert "\nnew file mode" not in (trees / "series" / name).read_text()


def test_patches_do_not_pile_up(trees):
    """Exporting into a folder with patches would mix two series."""
    done = subprocess.run([trees / "clone" / "scripts" / "export-patches", "9.0.0",
                           trees / "series"], capture_output=True, check=False)
    assert done.returncode != 0


def test_unknown_version_is_an_error(trees, tmp_path):
    done = subprocess.run([trees / "clone" / "scripts" / "export-patches", "1.2.3", tmp_path],
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "1.2.3" in done.stderr
