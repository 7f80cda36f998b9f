# SPDX-License-Identifier: LGPL-2.1-or-later
"""Thin pools whose heads stay inactive, activation='live' (design section 4).

What an operation has to activate is inactive again behind it, or with the next
refresh at the latest.
"""

import time

import libvirt
import pytest

from pools import MIB, pattern, snapshot_of, usually, volume_xml, wait_for
from streams import abort, begin_download, download, receive, upload
from users import opened

VM = "vm-work-private"
TIDY = 8        # longer than it is waited for who has a volume open


@pytest.fixture
def quiet(pools):
    """A pool that keeps its heads inactive."""
    return pools(activation="live", keep=2).up()


def active(pool):
    """The volumes that are active."""
    return [name for name in pool.files.all() if pool.group.active(name)]


def rests(pool, *live):
    """Nothing but those is active, once streams are cleaned up after."""
    wait_for(lambda: active(pool) == list(live), 20,
             f"{active(pool)} inactive but for {live}")


def tidied_up(pool):
    """Wait for the end of all earlier streams: one comes after the other."""
    assert download(pool, "a") == pattern("one")
    wait_for(lambda: not pool.group.active("a"), 90, "an inactive head")


def ident(pool):
    """The id of the only revision."""
    (number,) = pool.revisions("a")
    return number


def larger_clone(pool):
    pool.create_from("a", "n", xml=volume_xml("n", 3 * MIB))
    assert pool.size("n") == 3 * MIB


def aborted_upload(pool):
    abort(upload(pool, "a", pattern("x"), finish=False))


# On a clean volume with one revision.
CLEAN = {
    "create": lambda p: p.create("n"),
    "create-snapshot": lambda p: p.create("n", None,
                                          lifecycle=snapshot_of("a")),
    "clone": lambda p: p.clone("a", "n"),
    "clone-revision": lambda p: p.clone(f"a@{ident(p)}", "n"),
    "larger-clone": larger_clone,
    "pin": lambda p: p.pin("a", "w"),
    "redefine": lambda p: p.redefine("a", keep=0),
    "revert": lambda p: p.revert("a", ident(p)),
    "upload": lambda p: upload(p, "a", pattern("sent")),
    "upload-aborted": aborted_upload,
    "download": lambda p: download(p, "a"),
    "download-revision": lambda p: download(p, f"a@{ident(p)}"),
    "grow": lambda p: p.vol("a").resize(2 * MIB),
    "shrink": lambda p: (p.vol("a").resize(3 * MIB), p.vol("a").resize(
        MIB, libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK)),
    "wipe": lambda p: p.vol("a").wipe(),
    "delete-revision": lambda p: p.delete(f"a@{ident(p)}"),
    "delete": lambda p: p.delete("a"),
    "restart": lambda p: p.restart(),
}

# On one with a live copy that was written to.
DIRTY = {
    "refresh": lambda p: p.refresh(),
    "restart": lambda p: p.restart(),
    "clone": lambda p: p.clone("a", "n"),
    "clone-live": lambda p: p.clone("a@live", "n"),
    "pin": lambda p: p.pin("a", "w"),
    "download": lambda p: download(p, "a"),
    "download-live": lambda p: download(p, "a@live"),
    "upload-live": lambda p: upload(p, "a@live", pattern("sent")),
    "resize-live": lambda p: p.vol("a").resize(2 * MIB),
}
# They end the live copy.
ENDING = {
    "commit": lambda p: p.commit("a"),
    "discard": lambda p: p.discard("a"),
}


def with_revision(pool):
    pool.create("a")
    pool.cycle("a", "one")


@pytest.mark.slow
@pytest.mark.parametrize("call", CLEAN)
def test_operation_leaves_nothing_active(quiet, call):
    """Section 4: heads and revisions stay inactive."""
    with_revision(quiet)
    CLEAN[call](quiet)
    rests(quiet)


@pytest.mark.slow
@pytest.mark.parametrize("call", DIRTY | ENDING)
def test_operation_leaves_the_live_copy_active(quiet, call):
    """Section 4: only live copies are active."""
    with_revision(quiet)
    quiet.start("a")
    quiet.write("a@live", pattern("two"))
    (DIRTY | ENDING)[call](quiet)
    rests(quiet, *(["a-snap"] if call in DIRTY else []))


def test_download_leaves_volumes_of_other_tools_as_they_are(quiet):
    """Section 5: neither removed, whatever it is called, nor deactivated."""
    with_revision(quiet)
    for name in ("idle", "tool", "x+stage5"):
        quiet.files.put(quiet.files.place(name), pattern(name))
    quiet.files.change(quiet.files.place("idle"), "-an")
    quiet.refresh()
    for name in ("idle", "tool", "x+stage5"):
        assert download(quiet, name) == pattern(name)
    tidied_up(quiet)
    assert active(quiet) == ["tool", "x+stage5"]


@pytest.fixture(params=["all", "live"])
def idle(pools, request):
    """A pool with an inactive volume that another tool has made."""
    pool = pools(activation=request.param).up()
    place = pool.files.put(pool.files.place("idle"), pattern("one"))
    pool.files.change(place, "-an")
    pool.refresh()
    return pool


@pytest.mark.slow
def test_download_leaves_another_tools_volume_inactive(idle):
    """Section 5: also where the heads of the pool itself are active."""
    assert download(idle, "idle") == pattern("one")
    wait_for(lambda: not idle.group.active("idle"), 60, "what was found")


@pytest.mark.slow
def test_downloads_at_the_same_time_leave_it_inactive(idle):
    """Section 5: what one has activated is not the tool's for the other."""
    for stream in [begin_download(idle, "idle") for _ in range(2)]:
        assert receive(stream) == pattern("one")
        stream.finish()
        time.sleep(TIDY)
    wait_for(lambda: not idle.group.active("idle"), 60, "what was found")


@pytest.mark.slow
def test_download_of_it_that_was_killed_leaves_it_inactive(idle, daemon):
    """Section 6: the next refresh brings everything to a clean state."""
    stream = begin_download(idle, "idle")
    daemon.kill()
    del stream
    daemon.restart()
    idle.begin()
    assert active(idle) == []


@pytest.mark.slow
def test_volume_of_another_tool_is_copied_and_stays(quiet, elsewhere):
    """Section 5: the same for the source of a copy to another pool."""
    with_revision(quiet)
    quiet.files.put(quiet.files.place("x+stage5"), pattern("one"))
    quiet.refresh()
    elsewhere.create_from(quiet.vol("x+stage5"), "n")
    assert elsewhere.holds("n", "one")
    tidied_up(quiet)
    assert active(quiet) == ["x+stage5"]


@pytest.mark.slow
def test_import_rests_once_it_is_committed(quiet, elsewhere):
    """Section 4: what was active under another name is so no more."""
    with_revision(quiet)
    elsewhere.create("x", content="sent")
    quiet.create_from(elsewhere.vol("x"), "a@live")
    quiet.commit("a")
    rests(quiet)
    assert download(quiet, "a") == pattern("sent")


@pytest.mark.slow
def test_inactive_head_is_copied_to_another_pool(quiet, elsewhere):
    """Section 3, create-from: what is inactive can be read all the same."""
    quiet.create("a")
    quiet.cycle("a", "one")
    elsewhere.create_from(quiet.vol("a"), "n")
    assert elsewhere.holds("n", "one")
    rests(quiet)


@pytest.mark.slow
def test_commit_under_a_reader_leaves_nothing_active(quiet):
    """A head that is read is replaced by renames, and becomes a revision."""
    with_revision(quiet)
    reading = begin_download(quiet, "a")
    quiet.cycle("a", "two")
    assert receive(reading) == pattern("one")
    reading.finish()
    wait_for(lambda: "a" not in active(quiet), 20, "an inactive head")
    quiet.refresh()
    rests(quiet)
    assert download(quiet, "a") == pattern("two")


@pytest.mark.parametrize("name", usually(["a"], ["a@live"]))
def test_download_that_was_killed_leaves_nothing_active(quiet, daemon, name):
    """Section 6: the next refresh brings everything to a clean state."""
    with_revision(quiet)
    quiet.start("a")
    stream = begin_download(quiet, name)
    daemon.kill()
    del stream
    daemon.restart()
    quiet.begin()
    rests(quiet, "a-snap")
    assert quiet.files.leftovers() == []


@pytest.mark.slow
def test_upload_that_was_killed_leaves_nothing_active(quiet, daemon):
    """Section 6: what is staged goes, and the head rests."""
    with_revision(quiet)
    stream = upload(quiet, "a", pattern("two"), finish=False)
    daemon.kill()
    del stream
    daemon.restart()
    quiet.begin()
    rests(quiet)
    assert quiet.files.leftovers() == []
    assert download(quiet, "a") == pattern("one")


def test_refresh_leaves_what_is_in_use_active(quiet):
    """Section 6: a refresh takes nothing from who has it open."""
    with_revision(quiet)
    reading = begin_download(quiet, f"a@{ident(quiet)}")
    quiet.files.change(quiet.files.head("a"), "-K", "-ay")
    with opened(quiet.files.head("a")):
        quiet.refresh()
        assert active(quiet) == ["a", f"a-{ident(quiet)}-back"]
    assert receive(reading) == bytes(MIB)
    reading.finish()
    quiet.refresh()
    rests(quiet)


@pytest.mark.slow
def test_stop_with_a_live_copy_in_use(quiet):
    """Section 3: what is in use stays, and the head rests all the same."""
    with_revision(quiet)
    quiet.start("a")
    with opened(quiet.device("a@live")):
        quiet.virt.destroy()
        assert active(quiet) == ["a-snap"]
        quiet.virt.create(0)
        assert active(quiet) == ["a-snap"] and quiet.dirty("a")
    quiet.write("a@live", pattern("two"))
    quiet.commit("a")
    rests(quiet)
    assert download(quiet, "a") == pattern("two")


@pytest.mark.slow
def test_adopted_volume_rests(pools):
    """Section 5: what Qubes has left inactive can be used as it is."""
    pool = pools(activation="live", keep=2).define()
    head = pool.files.put(pool.files.place(VM), pattern("now"))
    pool.files.change(head, "-an")
    pool.begin()
    assert download(pool, VM) == pattern("now")
    rests(pool)
    pool.cycle(VM, "next")
    rests(pool)
    assert download(pool, VM) == pattern("next")
