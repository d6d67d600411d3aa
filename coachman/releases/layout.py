"""Where releases are on a machine."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coachman.releases.command import RefusedError
from coachman.releases.instance import UNNAMED, Instance


@dataclass(frozen=True)
class Release:
    """An immutable folder with the application, what runs it, and a virtual environment."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def python(self) -> Path:
        return self.folder / ".venv" / "bin" / "python"

    @property
    def record(self) -> Path:
        """Who made the release when, of what. Written last: a folder without it was never completed."""
        return self.folder / "release.json"

    @property
    def is_complete(self) -> bool:
        return self.record.exists()

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        return facts


@dataclass(frozen=True)
class Layout:
    """The folder of an application's releases."""

    root: Path
    instance: Instance = UNNAMED

    @classmethod
    def of(cls, instance: Instance) -> "Layout":
        return cls(instance.root, instance)

    @property
    def current(self) -> Path:
        """The symbolic link that the units start from."""
        return self.root / "current"

    @property
    def fallback(self) -> Path:
        """What `current` was, while nobody knows yet whether what it is now serves.

        The unit moves it back at a start, and removes it once a start or a reload has succeeded.
        """
        return self.root / "fallback"

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def audit(self) -> Path:
        return self.root / "audit.log"

    @property
    def wheels(self) -> Path:
        """Coachman's own wheel, for releases that do not bring one."""
        return self.root / "wheels"

    def release(self, name: str) -> Release:
        if not re.fullmatch(r"[\w][\w.-]*", name):
            raise RefusedError(f"{name} is no release: `coachman releases` lists them.")
        return Release(self.releases / name)

    def serving(self) -> Release | None:
        """Returns the release that `current` points to."""
        try:
            return Release(self.releases / self.current.readlink().name)
        except OSError:
            return None

    def complete(self) -> list[Release]:
        """Returns the complete releases, the oldest first."""
        return sorted((one for one in self.all() if one.is_complete), key=lambda one: one.id)

    def all(self) -> list[Release]:
        if not self.releases.is_dir():
            return []
        return [Release(folder) for folder in self.releases.iterdir() if folder.is_dir()]
