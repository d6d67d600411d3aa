"""How much of a random or repeated test is run, and with which dice.

A run takes a part of the volume, with a seed that changes with the commit: what one full run covers, some
commits cover together. `make soak` takes the full volume.
"""

import os
import random
import subprocess
from functools import cache
from pathlib import Path

SOAK = os.environ.get("TESTS_SOAK", "") == "1"


def volume(full: int, part: int) -> int:
    return full if SOAK else part


@cache
def seed() -> int:
    """Of this commit, or the one that TESTS_SEED names, for a run to be repeated."""
    if "TESTS_SEED" in os.environ:
        return int(os.environ["TESTS_SEED"])
    command = ["git", "rev-parse", "--short=8", "HEAD"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30)
    return int(done.stdout, 16) if done.returncode == 0 else 0  # an archive of the code has no commit


def dice() -> random.Random:
    return random.Random(seed())
