"""Why workers do not start, in their own words: the master notes it with the event of each failed start."""

from pathlib import Path

from coachman.state import events
from coachman.state.states import Reason
from coachman.state.view import View

FAILED = (Reason.BOOT_FAILED, Reason.BOOT_TIMEOUT)
_PREFIX = "The application failed: "  # of the line in the log
_APART_SECONDS = 5.0  # at most, between an end in the scoreboard and its event


def of_view(runtime_dir: Path, view: View) -> dict[int, str]:
    """Returns the sentences of the slots whose last worker did not start, by slot."""
    failed = {n: row for n, row in view.rows if row.failures and row.exit_reason in FAILED}
    found: dict[int, str] = {}
    for event in events.latest(runtime_dir) if failed else []:
        row = failed.get(event.get("slot", -1))
        if row is None or event["generation"] != view.service.generation or event["slot"] in found:
            continue
        if event.get("why") and abs(event["time"] - row.exited_at) < _APART_SECONDS:
            found[event["slot"]] = str(event["why"]).removeprefix(_PREFIX)
    return found
