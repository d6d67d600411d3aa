"""A master's workers without processes."""

from coachman.master.managed_worker import ManagedWorker
from coachman.settings import ServerSettings
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import State


def workers(
    board: Scoreboard,
    *states: State,
    settings: ServerSettings | None = None,
    forked_at: tuple[float, ...] = (),
) -> list[ManagedWorker]:
    """One in each of the lowest slots, with these states; forked at these times, or one after the other."""
    made = []
    for number, state in enumerate(states):
        slot = board.slots[number]
        slot.update(state=state, ready_at=1.0 if state == State.READY else 0.0)
        time = forked_at[number] if forked_at else float(number)
        made.append(ManagedWorker(slot, settings or ServerSettings(), time))
        made[-1].pid = 1000 + number
    return made
