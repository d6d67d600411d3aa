"""Why workers do not start, in their own words: the master notes it with the event of each failed start."""

from pathlib import Path

from coachman.state import events
from coachman.state.states import Reason, State
from coachman.state.view import View

FAILED = (Reason.BOOT_FAILED, Reason.BOOT_TIMEOUT, Reason.LIFESPAN_ENDED)
_SERVING = (State.READY, State.DRAINING)
_PREFIX = "The application failed: "  # of the line in the log
_APART_SECONDS = 5.0  # at most, between an end in the scoreboard and its event


def of_view(runtime_dir: Path, view: View) -> dict[int, str]:
    """Returns by slot why its last worker did not start, of those whose next one does not serve yet."""
    failed = {
        number: row
        for number, row in view.rows
        if row.failures and row.exit_reason in FAILED and row.state not in _SERVING
    }
    found: dict[int, str] = {}
    for event in events.latest(runtime_dir) if failed else []:
        row = failed.get(event.get("slot", -1))
        if row is None or event["generation"] != view.service.generation or event["slot"] in found:
            continue
        if event.get("why") and abs(event["time"] - row.exited_at) < _APART_SECONDS:
            found[event["slot"]] = str(event["why"]).removeprefix(_PREFIX)
    return found
