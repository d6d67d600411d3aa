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


def sync() -> None:
    """A file that was written, and is not on disk yet, may be empty after a power cut."""
    os.sync()
