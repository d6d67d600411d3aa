"""Finds names in the environment that are probably mistyped: a setting that nobody reads has no effect."""

import difflib
from collections.abc import Iterable

from coachman.system.environment_names import NO_SETTINGS


def misspelled(names: Iterable[str], prefix: str, fields: Iterable[str]) -> list[str]:
    """A sentence for each of `names` that begins with `prefix` and is no field, with the nearest that is."""
    endings = [field.upper() for field in fields]
    sentences = []
    for name in sorted(set(names) - NO_SETTINGS):
        ending = name.removeprefix(prefix)
        if name.startswith(prefix) and ending not in endings:
            nearest = difflib.get_close_matches(ending, endings, n=1)  # all begin alike
            meant = (
                f"did you mean {prefix}{nearest[0]}?" if nearest else "docs/settings.md lists all there are."
            )
            sentences.append(f"{name} is not a setting, and has no effect; {meant}")
    return sentences
