"""Decides what the end of a worker means, and how long its slot waits before the next one is forked.

The wait is a time at which the master's loop looks again: nobody sleeps for it, and no process waits.
"""

import random
from typing import NamedTuple

from coachman.state.scoreboard import Row
from coachman.state.states import LIFESPAN_ENDED_EXIT_CODE, TASK_DIED_EXIT_CODE, Reason
from coachman.state.view import failures_in_a_row, uptime

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 30.0
MIN_UPTIME_SECONDS = 1.0  # an end before this uptime counts as a failed start


class Exit(NamedTuple):
    """What the end of a worker means."""

    reason: Reason
    is_failure: bool  # it never served, or hardly
    failures: int  # of the slot since a worker of it last served for long, this one included
    delay: float  # seconds until the slot's next worker may be forked


def is_failure(row: Row, now: float) -> bool:
    """Whether a worker that ends now, a UNIX time, hardly got to serve: a crash loop, if it goes on."""
    return not row.ready_at or uptime(row, now) < MIN_UPTIME_SECONDS


def judge(row: Row, now: float, code: int, *, stop_reason: Reason | None, kill_reason: Reason | None) -> Exit:
    """What it means that the worker that `row` describes has ended at `now`, a UNIX time.

    `code` is its exit code, or minus the signal that killed it. `stop_reason` is why the master has told it
    to stop, `kill_reason` why the master has killed it.
    """
    failed = stop_reason is None and is_failure(row, now)
    failures = failures_in_a_row(row, now) + failed
    unexpected = Reason.CRASHED if row.ready_at else Reason.BOOT_FAILED
    return Exit(
        reason=kill_reason or _own_reason(code) or stop_reason or unexpected,
        is_failure=failed,
        failures=failures,
        delay=delay_seconds(failures) if failed else 0.0,
    )


def _own_reason(code: int) -> Reason | None:
    """Why a worker has ended by itself, where its exit code says so."""
    return {LIFESPAN_ENDED_EXIT_CODE: Reason.LIFESPAN_ENDED, TASK_DIED_EXIT_CODE: Reason.CRASHED}.get(code)


def delay_seconds(failures: int) -> float:
    """Doubles with each failure in a row. Jittered, for slots that fail together must not return together."""
    if not failures:
        return 0.0
    delay = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 20))
    return delay * random.uniform(0.75, 1.25)  # noqa: S311
