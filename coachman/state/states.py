"""The states of a worker and of a handover, and the reasons for an exit, as all of Coachman spells them."""

import signal
from enum import IntEnum


class State(IntEnum):
    EMPTY = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    DEAD = 4
    BACKING_OFF = 5


STAYING = (State.STARTING, State.READY, State.BACKING_OFF)


class Reason(IntEnum):
    """Why a worker ended."""

    NONE = 0
    CRASHED = 1
    BOOT_FAILED = 2
    BOOT_TIMEOUT = 3
    BLOCKED_LOOP = 4
    BLOCKED_POOL = 5
    STOPPED_PROCESS = 6
    DRAIN_TIMEOUT = 7
    RECYCLED_REQUESTS = 8
    RECYCLED_AGE = 9
    RECYCLED_MEMORY = 10
    SCALED_DOWN = 11
    STOPPED = 12
    LIFESPAN_ENDED = 13


# Of a worker whose application has ended its lifespan by itself. To Gunicorn 3 and 4 mean something else.
LIFESPAN_ENDED_EXIT_CODE = 70
TASK_DIED_EXIT_CODE = 71  # of a worker that has lost a task of Coachman's, such as its heartbeat

FIRST_PROCESS = 1  # the pid of a container's first process
FIRST_PROCESS_SENTENCE = (
    "this master is the first process of its container, which would end with it; start a new container"
)


class Phase(IntEnum):
    """The phase of the last handover that this master began."""

    NONE = 0
    UNDER_WAY = 1
    ACCEPTED = 2
    REFUSING = 3  # the new master is being ended
    REFUSED = 4


def words(member: Reason | State | Phase) -> str:
    """As people and programs read it: "blocked-loop"."""
    return member.name.lower().replace("_", "-")


def signal_name(code: int) -> str | None:
    """Returns the signal's name, such as SIGKILL for -9; None for an exit code."""
    if code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"signal {-code}"
