"""Which requests a kill cost, and which failed without one. Pure."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel

from loadtests.samples import Samples

SLACK_SECONDS = 0.02  # between the kernel's closing of a socket and the client's seeing it
MAY_FAIL = ("closed without answer", "reset")  # as a request on a connection whose worker ends
# A worker that is stopped in the middle of a write holds the database's lock until it is ended: those who
# want to write meanwhile get 503.
MAY_FAIL_IN_STOP = (*MAY_FAIL, "http 503")


class Kill(BaseModel):
    """One kill, as `coachman kill-worker --json` prints it; `killed_at` is of the monotonic clock."""

    signal: str
    slot: int
    pid: int
    successor: int
    killed_at: float
    reaped_ms: float
    forked_ms: float
    ready_ms: float
    in_flight: int = 0  # of all workers, at the moment of the kill
    lost: int = 0

    @property
    def reaped_at(self) -> float:
        return self.killed_at + self.reaped_ms / 1000

    @property
    def ready_at(self) -> float:
        return self.killed_at + self.ready_ms / 1000


def losses(kills: Sequence[Kill], samples: Samples) -> list[Kill]:
    """Returns the kills with the requests that were in flight, and those of them that failed."""
    return [
        kill.model_copy(
            update={
                "in_flight": in_flight(kill, samples),
                "lost": int(np.count_nonzero(_of(kill, samples) & (samples.rows["kind"] != 0))),
            }
        )
        for kill in kills
    ]


def in_flight(kill: Kill, samples: Samples) -> int:
    """Returns how many requests were in flight; a stopped worker collects more until it is killed."""
    return int(np.count_nonzero(_of(kill, samples)))


def stray_failures(kills: Sequence[Kill], samples: Samples) -> list[str]:
    """Returns sentences about failures that no kill explains, and about steps in an impossible order."""
    explained = samples.rows["kind"] == 0
    for kill in kills:
        kinds = MAY_FAIL_IN_STOP if kill.signal == "SIGSTOP" else MAY_FAIL
        allowed = [number for number, kind in enumerate(samples.kinds) if kind in kinds]
        explained |= _of(kill, samples) & np.isin(samples.rows["kind"], allowed)
    unexplained = Counter(samples.kinds[kind] for kind in samples.rows["kind"][~explained])
    found = [
        f"{count} request{'s' * (count > 1)} failed as {kind!r}, which no kill explains."
        for kind, count in unexplained.items()
    ]
    found += [
        f"Worker {kill.pid} was not reaped, replaced and ready in this order."
        for kill in kills
        if not 0 <= kill.reaped_ms <= kill.forked_ms <= kill.ready_ms
    ]
    return found


def _of(kill: Kill, samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Marks the requests that were in flight at the kill, or were sent before the worker had ended."""
    rows = samples.rows
    sent: np.ndarray[tuple[int], np.dtype[np.bool_]] = rows["start"] <= kill.reaped_at + SLACK_SECONDS
    return sent & (rows["end"] >= kill.killed_at)
