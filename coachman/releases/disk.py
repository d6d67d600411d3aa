"""What a release changes on the disk: the link `current`, safe from power cuts, and which folders stay."""

import os
import shutil
from pathlib import Path

from coachman.releases.command import RefusedError
from coachman.releases.layout import Layout, Release

KEPT = 5
FIRST_RELEASE_BYTES = 300 * 2**20
LEFT_FREE_BYTES = 200 * 2**20  # for the database and the journal


def point_current_at(layout: Layout, release: Release | None) -> None:
    """Moves the link in one step: who starts meanwhile gets the one or the other. None removes it."""
    if release is None:
        layout.current.unlink(missing_ok=True)
        return
    draft = layout.root / ".current"
    draft.unlink(missing_ok=True)
    draft.symlink_to(Path("releases", release.id))
    draft.replace(layout.current)


def switch(layout: Layout, release: Release) -> None:
    """Points `current` at `release`; `fallback` leads back after a power cut or a kill of this process."""
    before = layout.serving()
    layout.fallback.unlink(missing_ok=True)
    if before is not None and before != release:
        layout.fallback.symlink_to(Path("releases", before.id))
    point_current_at(layout, release)
    sync()


def commit(layout: Layout, release: Release | None) -> None:
    """Makes `release` current for good and removes the way back."""
    if layout.serving() != release:
        point_current_at(layout, release)
    layout.fallback.unlink(missing_ok=True)
    sync()


def sync() -> None:
    """Writes everything to the disk: a file that is not there yet may be empty after a power cut."""
    os.sync()


def prune(layout: Layout, keep: int = KEPT) -> list[Release]:
    """Removes all releases but the newest `keep`, and unfinished ones. The one that serves always stays."""
    serving = layout.serving()
    stay = layout.complete()[-keep:]
    gone = [one for one in layout.all() if one not in stay and one != serving]
    for release in gone:
        release.record.unlink(missing_ok=True)  # first: half a release must not look like a whole one
        shutil.rmtree(release.folder)
    return gone


def require_space(layout: Layout) -> None:
    """Raises RefusedError when the disk has no room for another release."""
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
