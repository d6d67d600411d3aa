"""What the status page is told, without a service."""

import os
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from coachman.ops.about import About
from coachman.ops.event_stream import without_repeats
from coachman.ops.handover import STEPS, other_views, progress
from coachman.ops.snapshot import Snapshots
from coachman.ops.traffic import summary
from coachman.state import runtime_dir, start_errors
from coachman.state.events import Events
from coachman.state.readiness import readiness
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Phase, Reason, State
from coachman.state.traffic_table import DURATION_BOUNDS
from coachman.state.view import View


def board(pid: int, generation: int, phase: Phase, *, is_ready: bool = True) -> Scoreboard:
    made = Scoreboard.create()
    made.update_service(pid=pid, workers=1, slots=1, generation=generation, handover=phase)
    made.slots[0].update(
        state=State.READY if is_ready else State.STARTING, pid=pid + 1, beat=time.monotonic()
    )
    made.record_readiness()
    return made


def test_a_service_without_a_second_yet_has_no_rates(tmp_path: Path) -> None:
    shown = Snapshots(board(10, 1, Phase.NONE), tmp_path, about=About(title="Shop")).take()

    assert (shown["now"], shown["progress"], shown["traffic"], shown["stopping"]) == (None, None, None, False)
    assert shown["slots"][0]["requests_rate"] is None
    assert shown["about"]["title"] == "Shop"
    assert [one["serves"] for one in shown["generations"]] == [True]


@pytest.mark.parametrize(
    ("phase", "new", "step"),
    [
        (Phase.NONE, None, None),
        (Phase.REFUSED, None, None),
        (Phase.UNDER_WAY, None, "loaded"),
        (Phase.UNDER_WAY, False, "started"),
        (Phase.UNDER_WAY, True, "proven"),
        (Phase.ACCEPTED, True, "drained"),
    ],
)
def test_the_step_of_a_handover_is_seen_in_both_scoreboards(
    phase: Phase, new: bool | None, step: str | None
) -> None:
    views = [View.of(board(os.getpid(), 1, phase))]
    if new is not None:
        views.append(View.of(board(99, 2, Phase.NONE, is_ready=new)))
    found = progress(views)

    assert (STEPS[found["step"]] if found else None) == step


def test_other_masters_of_the_folder_are_those_that_live(tmp_path: Path) -> None:
    runtime_dir.path_of(tmp_path, 4194303).write_bytes(b"of a master that was killed")

    assert other_views(tmp_path, board(10, 1, Phase.NONE)) == []
    assert other_views(tmp_path / "nowhere", board(10, 1, Phase.NONE)) == []


def test_an_orderly_stop_is_told_until_the_next_start(tmp_path: Path) -> None:
    events, snapshots = Events(tmp_path, 1), Snapshots(board(10, 1, Phase.NONE), tmp_path)
    for kind, is_stopping in (("started", False), ("stopping", True), ("stopped", True), ("started", False)):
        events.record(kind, "-")
        assert snapshots.take()["stopping"] is is_stopping


def test_a_stop_of_before_is_not_told_when_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 10_000.0
    monkeypatch.setattr("coachman.state.events.time.time", lambda: now)
    events, snapshots = Events(tmp_path, 1), Snapshots(board(10, 1, Phase.NONE), tmp_path)
    Events(tmp_path, 2).record("stopping", "the generation that was stopped before")
    events.record("stopping", "-")
    now -= 3600
    events.record("started", "-")

    assert not snapshots.take()["stopping"]
    now += 7200
    assert not snapshots.take()["stopping"]


def test_why_a_worker_did_not_start_is_told_of_that_failure_alone(tmp_path: Path) -> None:
    made = board(10, 1, Phase.NONE)
    failed = Row().at_fork(1.0).at_end(time.time(), 1, Reason.BOOT_FAILED, failures=2, backs_off=True)
    made.slots[0].write(failed)
    why = "The application failed: no database (shop.py:7)"
    Events(tmp_path, 1).record("boot-failed", "-", slot=0, why=why)
    view = View.of(made)

    assert start_errors.of_view(tmp_path, view) == {0: "no database (shop.py:7)"}
    slots = readiness(view, start_errors.of_view(tmp_path, view))["slots"]
    assert slots[0]["start_error"] == "no database (shop.py:7)"
    made.slots[0].write(failed._replace(exited_at=time.time() + 60))
    assert start_errors.of_view(tmp_path, View.of(made)) == {}
    made.slots[0].write(failed._replace(exit_reason=Reason.CRASHED))
    assert start_errors.of_view(tmp_path, View.of(made)) == {}


def test_routes_have_their_counts_by_class_and_by_duration() -> None:
    registry = CollectorRegistry()
    requests = Counter("coachman_http_requests", "-", ["route", "method", "status"], registry=registry)
    seconds = Histogram(
        "coachman_http_request_duration_seconds",
        "-",
        ["route", "method"],
        buckets=DURATION_BOUNDS,
        registry=registry,
    )
    limits = Counter("coachman_limits_reached", "-", ["limit"], registry=registry)
    answered = Counter("coachman_application_requests", "-", ["by"], registry=registry)
    for route, status, took in [("/a", 200, 0.0005), ("/a", 404, 0.2), ("/a", 503, 99), ("/b", 200, 0.02)]:
        requests.labels(route, "GET", str(status)).inc()
        seconds.labels(route, "GET").observe(took)
    limits.labels("body-bytes").inc(3)
    answered.labels("compiled").inc(4)
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    told = summary(samples, About(left={("GET", "/a"): "", ("GET", "/b"): "it is named as one to leave"}))

    one, two = told["routes"]
    assert (one["route"], one["requests"], one["errors"], one["failures"]) == ("/a", 3, 1, 1)
    assert (sum(one["buckets"]), one["buckets"][0], one["buckets"][-1]) == (3, 1, 1)
    assert (one["compiled"], two["compiled"], two["reason"]) == (True, False, "it is named as one to leave")
    assert (told["limits"], told["answered"]) == ({"body-bytes": 3}, {"compiled": 4})


def test_what_has_not_changed_is_not_sent_again() -> None:
    sent: dict[str, object] = {}
    first = {"time": 1, "events": [1], "traffic": {"read_at": 1}}

    assert without_repeats(first, sent) == first
    assert without_repeats({**first, "time": 2}, sent) == {"time": 2}
    assert without_repeats({**first, "events": [2]}, sent) == {"time": 1, "events": [2]}
