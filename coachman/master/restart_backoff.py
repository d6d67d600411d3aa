"""How long a slot waits before its next worker is forked.

The wait is a time at which the master's loop looks again: nobody sleeps for it, and no process waits.
"""

import random

from coachman.state.scoreboard import Row
from coachman.state.states import State

FIRST_SECONDS = 0.1
MOST_SECONDS = 30.0
JUST_READY_SECONDS = 1.0  # a worker that ends so soon after it was ready is taken for a crash loop
QUIET_SECONDS = 60.0  # of service, after which the failures before are forgotten


def is_failure(row: Row, now: float) -> bool:
    """Whether the worker that ends, as its row says, hardly got to serve: a crash loop, if it goes on."""
    ends_at = row.since if row.state == State.DRAINING else now
    return not row.ready_at or ends_at - row.ready_at < JUST_READY_SECONDS


def delay_seconds(failures: int) -> float:
    """Doubles with each failure in a row. Jittered, for slots that fail together must not return together."""
    if not failures:
        return 0.0
    return min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 20)) * random.uniform(0.75, 1.25)  # noqa: S311
