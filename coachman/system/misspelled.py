"""Finds names in the environment that are probably mistyped: a setting that nobody reads has no effect."""

import difflib
from collections.abc import Collection, Iterable


def misspelled(names: Iterable[str], prefix: str, known: Collection[str]) -> list[str]:
    """A sentence for each of `names` that begins with `prefix` and is not known, with the nearest that is."""
    endings = [name.removeprefix(prefix) for name in known]  # compared alone: all begin alike
    sentences = []
    for name in sorted(names):
        if name.startswith(prefix) and name not in known:
            nearest = difflib.get_close_matches(name.removeprefix(prefix), endings, n=1)
            meant = (
                f"did you mean {prefix}{nearest[0]}?" if nearest else "docs/settings.md lists all there are."
            )
            sentences.append(f"{name} is not a setting, and has no effect; {meant}")
    return sentences
