# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many volumes a pool holds."""

import os

from .bare import timed
from .pools import Pool
from .report import ms

LISTED = 16000
HEADS = 10000


def make_files(folder, count, revisions):
    """Bare files without metadata, as of a pool that is being adopted."""
    os.makedirs(folder, exist_ok=True)
    for number in range(count):
        name = os.path.join(folder, "image-%05d.img" % number)
        with open(name, "wb") as image:
            os.truncate(image.fileno(), 4096)
        if revisions:
            with open(name + ".1@2026-01-01T00:00:00Z", "wb") as image:
                os.truncate(image.fileno(), 4096)


def bench(daemon, file_system, options, report, log):
    del options
    title = {"xfs": "XFS", "btrfs": "Btrfs"}[file_system.kind]
    rows = []
    for what, count, listed in (("16,000 listed", LISTED, True),
                                ("10,000 heads with a revision each, not listed", HEADS, False)):
        log("%s: %s" % (file_system.kind, what))
        folder = os.path.join(file_system.path, "limits-%d" % count)
        make_files(folder, count, revisions=not listed)
        with Pool(daemon, "reflink", "bench-limits", folder, keep=1, listed=listed) as pool:
            took, _ = timed(pool.handle.refresh)
            listing, names = timed(pool.handle.listVolumes)
            kept = len(names) == count
            if not listed:
                kept = kept and pool.volume("image-00042@1").name() == "image-00042@1"
            rows.append((what, len(names), ms(took), ms(listing)))
            report.budget("%s, %s" % (what, title), "held", "%d listed" % len(names), kept)
    report.table("Many volumes, %s" % title, ("pool", "listed", "refresh", "list"), rows)
