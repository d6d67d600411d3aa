"""How many replicas to run, from what `make compare` has measured on one machine."""

import re
from pathlib import Path

SUMMARY = "summary.md"
_ANSWER = re.compile(r"^\*\*(?:Run|Perhaps) (\d+) (?:worker|replica)|^\*\*.* Lean to (\d+)\.", re.MULTILINE)


def replicas(folder: Path) -> int:
    """Returns as many replicas as the run recommends workers; of several profiles the most.

    One process is a replica there and a worker here. Raises ValueError with a sentence where the run has no
    answer.
    """
    path = folder / SUMMARY
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"{path} cannot be read: {reason}; name the folder of a `make compare`.") from None
    found = [int(one or other) for one, other in _ANSWER.findall(text)]
    if not found:
        raise ValueError(f"{path} has no answer: give --replicas, or measure again.")
    return max(found)
