"""Which release `current` points to, and that a power cut does not undo it."""

import os
from pathlib import Path

from coachman.releases.layout import Layout, Release


def point_current_at(layout: Layout, release: Release | None) -> None:
    """In one step: whoever starts meanwhile gets the one or the other. None removes the link."""
    if release is None:
        layout.current.unlink(missing_ok=True)
        return
    draft = layout.root / ".current"
    draft.unlink(missing_ok=True)
    draft.symlink_to(Path("releases", release.id))
    draft.replace(layout.current)


def switch(layout: Layout, release: Release) -> None:
    """With a way back for whoever comes after a power cut, or after this process was killed."""
    before = layout.serving()
    layout.fallback.unlink(missing_ok=True)
    if before is not None and before != release:
        layout.fallback.symlink_to(Path("releases", before.id))
    point_current_at(layout, release)
    sync()


def settle(layout: Layout, release: Release | None) -> None:
    """`release` is it."""
    if layout.serving() != release:
        point_current_at(layout, release)
    layout.fallback.unlink(missing_ok=True)
    sync()


def sync() -> None:
    """A file that was written, and is not on disk yet, may be empty after a power cut."""
    os.sync()
