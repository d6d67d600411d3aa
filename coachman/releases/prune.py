"""Keeps the releases that one may want to go back to, and frees the disk of the others."""

import shutil

from coachman.releases.errors import RefusedError
from coachman.releases.layout import Layout, Release

KEPT = 5
FIRST_RELEASE_BYTES = 300 * 2**20
LEFT_FREE_BYTES = 200 * 2**20  # for the database and the journal


def prune(layout: Layout, keep: int = KEPT) -> list[Release]:
    """Removes all but the newest, and what was never completed. The one that serves always stays."""
    serving = layout.serving()
    stay = layout.complete()[-keep:]
    gone = [one for one in layout.all() if one not in stay and one != serving]
    for release in gone:
        release.record.unlink(missing_ok=True)  # first: half a release must not look like a whole one
        shutil.rmtree(release.folder)
    return gone


def require_space(layout: Layout) -> None:
    serving = layout.serving()
    needed = LEFT_FREE_BYTES + (_size(serving) if serving else FIRST_RELEASE_BYTES)
    free = shutil.disk_usage(layout.root).free
    if free < needed:
        raise RefusedError(
            f"{layout.root} has {free // 2**20} MiB free, and a release needs {needed // 2**20} MiB:"
            " free some, or keep fewer releases (`coachman release --keep 2`)."
        )


def _size(release: Release) -> int:
    return sum(path.lstat().st_size for path in release.folder.rglob("*"))
