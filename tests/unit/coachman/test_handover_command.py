"""What `coachman handover` waits for, and for how long."""

import os
import sys
from pathlib import Path

import pytest

from coachman.cli.handover import _not_ending, _refusal, _wait_until_draining
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import State

COMMAND = sys.modules["coachman.cli.handover"]


@pytest.mark.parametrize(("state", "drains"), [(State.READY, False), (State.DRAINING, True)])
def test_an_old_generation_that_does_not_drain_is_waited_for_with_a_limit(
    state: State, drains: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Scoreboard.create()
    old.update_service(pid=os.getpid(), workers=1, slots=1, generation=3)
    old.slots[0].update(state=state, pid=1)
    monkeypatch.setattr(COMMAND, "DRAIN_BEGINS_SECONDS", 0.1)
    monkeypatch.setattr(COMMAND, "_lives", lambda *_: True)

    assert _wait_until_draining(old, tmp_path) is drains


def test_an_old_generation_that_does_not_end_is_named_with_its_master() -> None:
    old = Scoreboard.create()
    old.update_service(pid=os.getpid(), generation=3)

    assert _not_ending(old.service) == (
        f"Generation 4 serves, but generation 3 does not end: its master {os.getpid()} does not react"
    )


def test_a_refusal_ends_with_its_reason_which_is_said_once() -> None:
    failed = "COACHMAN_APP=main:app: importing main failed: KeyError: 'key'."
    traceback = ["Traceback (most recent call last):", "KeyError: 'key'"]
    refused = f"The handover is refused: {failed} Generation 1 serves on."

    assert _refusal([*traceback, failed, refused]).splitlines() == [*traceback, refused]
    assert _refusal(["The application failed: no", refused]).splitlines()[-1] == refused
    assert _refusal([]) == "The handover is refused; the service's log says why."
