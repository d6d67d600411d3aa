import json
import time
from pathlib import Path
from typing import Any

import pytest

from coachman.state import events, history
from coachman.state.events import Events
from coachman.state.history import History
from coachman.state.rates import whole_mebibytes
from coachman.state.ring_file import Ring, read
from coachman.state.runtime_dir import ops_folder
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import State


@pytest.fixture
def scoreboard() -> Scoreboard:
    made = Scoreboard.create()
    made.update_service(pid=1, workers=2, slots=2)
    return made


def write_all(ring: Ring, numbers: range) -> None:
    for number in numbers:
        ring.write(time=number, message=f"number {number}")


def test_the_newest_records_are_kept_in_a_file_that_does_not_grow(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    write_all(Ring(path, 128, 8), range(100))

    assert sorted(record["time"] for record in read(path)) == list(range(92, 100))
    assert path.stat().st_size == 8 * 128


def test_the_next_process_goes_on_where_the_one_before_ended(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    write_all(Ring(path, 128, 8), range(5))
    write_all(Ring(path, 128, 8), range(5, 10))

    assert sorted(record["n"] for record in read(path)) == list(range(2, 10))


@pytest.mark.parametrize("message", ["x" * 1000, "ü" * 1000, "\x00\n\u2028" * 300, '"' * 1000])
def test_a_record_that_is_too_long_is_cut(tmp_path: Path, message: str) -> None:
    ring = Ring(tmp_path / "ring", 256, 4)
    ring.write(time=1, message=message)
    ring.write(time=2, message="next")

    by_time = {record["time"]: record["message"] for record in read(tmp_path / "ring")}
    assert by_time[1].startswith(message[:10])
    assert by_time[2] == "next"


@pytest.mark.parametrize(
    "fields", [{"rss": 10**300}, {"message": "x", "pids": list(range(500))}, {"message": {"a": "b" * 999}}]
)
def test_a_record_that_cannot_be_shortened_is_left_out(tmp_path: Path, fields: dict[str, Any]) -> None:
    ring = Ring(tmp_path / "ring", 128, 4)
    ring.write(time=1, **fields)
    ring.write(time=2, message="next")

    assert [record["time"] for record in read(tmp_path / "ring")] in ([2], [1, 2])


@pytest.mark.parametrize("torn", [b'{"n": 1, "ti', b"\0" * 40, b"[1]", b'{"n": 1}', b"\xff\xfe"])
def test_what_cannot_be_read_is_passed_over(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "ring"
    path.write_bytes(torn + b"\n" + json.dumps({"n": 7, "time": 1}).encode() + b"\n")

    assert [record["n"] for record in read(path)] == [7]


def test_no_room_costs_the_record_and_no_exception(tmp_path: Path) -> None:
    Ring(tmp_path / "missing" / "folder" / "ring", 128, 4).write(time=1)

    assert read(tmp_path / "missing" / "folder" / "ring") == []


def test_events_of_two_generations_are_told_newest_first(tmp_path: Path) -> None:
    first, second = Events(tmp_path, 1), Events(tmp_path, 2)
    first.record("started", "one")
    second.record("started", "two")
    first.record("handed-over", "three")

    told = events.latest(tmp_path)
    assert {(event["generation"], event["event"]) for event in told} == {
        *((1, "started"), (1, "handed-over"), (2, "started")),
    }
    assert [event["time"] for event in told] == sorted((event["time"] for event in told), reverse=True)


def test_a_missing_worker_is_told_as_degraded_only_after_a_second_and_then_as_restored(
    tmp_path: Path, scoreboard: Scoreboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("coachman.state.events.time.monotonic", lambda: now)
    kept = Events(tmp_path, 1)

    def look(*states: State) -> list[str]:
        for slot, state in zip(scoreboard.slots, states, strict=False):
            slot.write(Row(state=state, pid=slot.number + 1))
        scoreboard.record_readiness()
        kept.poll(scoreboard)
        return [event["event"] for event in events.latest(tmp_path) if event["event"] != "ready"]

    assert look(State.READY, State.READY) == []
    assert look(State.READY, State.STARTING) == []
    now += 0.9
    assert look(State.READY, State.STARTING) == []
    now += 0.2
    assert look(State.READY, State.STARTING) == ["degraded"]
    now += 5
    assert look(State.READY, State.STARTING) == ["degraded"]
    assert look(State.READY, State.READY)[0] == "restored"


def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """One number, which is the time."""
    now = [float(int(time.time()) - 60)]
    monkeypatch.setattr("coachman.state.history.time.time", lambda: now[0])
    return now


def test_a_second_counts_what_was_served_in_it_also_by_a_worker_that_is_new(
    tmp_path: Path, scoreboard: Scoreboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, kept = clock(monkeypatch), History(tmp_path, 1)
    one, two = scoreboard.slots[:2]
    one.write(Row(state=State.READY, pid=11, requests=100, busy_seconds=10.0))
    two.write(Row(state=State.READY, pid=12, requests=500, busy_seconds=50.0))
    kept.poll(scoreboard)
    now[0] += 2
    one.write(Row(state=State.READY, pid=11, requests=120, busy_seconds=11.0, rss=5 * 2**20, in_flight=1))
    two.write(Row(state=State.STARTING, pid=22, requests=4, busy_seconds=2.0, rss=6 * 2**20, in_flight=2))
    kept.poll(scoreboard)

    [second] = history.latest(tmp_path)
    assert (second["requests"], second["busy"]) == ((20 + 4) / 2, (1.0 + 2.0) / 2)
    assert (second["ready"], second["in_flight"]) == (1, 3)
    assert second["rss"] - 11 * 2**20 == whole_mebibytes(second["rss"] - 11 * 2**20) > 0  # the master's


def test_seconds_of_two_generations_are_added_up_but_not_what_a_handover_would_double(
    tmp_path: Path, scoreboard: Scoreboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, both = clock(monkeypatch), [History(tmp_path, 1), History(tmp_path, 2)]
    for requests in (0, 7, 9):
        for slot in scoreboard.slots[:2]:
            slot.write(Row(state=State.READY, pid=slot.number + 1, requests=requests, loop_lag=0.5))
        for kept in both:
            kept.poll(scoreboard)
        now[0] += 1

    told = history.latest(tmp_path)
    assert [second["requests"] for second in told] == [28, 8]
    assert [second["lag"] for second in told] == [0.5, 0.5]
    assert [(second["ready"], second["wanted"]) for second in told] == [(2, 2), (2, 2)]
    assert history.latest(tmp_path, since=told[0]["time"]) == told[1:]
    assert ops_folder(tmp_path).is_dir()


def test_after_the_clock_was_set_back_the_seconds_of_before_are_gone_and_none_counts_twice(
    tmp_path: Path, scoreboard: Scoreboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, kept = clock(monkeypatch), History(tmp_path, 1)
    began, served = now[0], 0

    def seconds(number: int, requests: int) -> None:
        nonlocal served
        for _ in range(number):
            served += requests
            scoreboard.slots[0].write(Row(state=State.READY, pid=11, requests=served))
            kept.poll(scoreboard)
            now[0] += 1

    seconds(10, requests=100)
    now[0] = began + 3
    seconds(4, requests=7)

    told = history.latest(tmp_path)
    assert [second["time"] - began for second in told] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [second["requests"] for second in told] == [100, 100, 100, 7, 7, 7, 100, 100]
    moment, by_slot = history.by_slot(tmp_path, [1])
    assert (moment - began, by_slot[1]["time"]) == (6, moment)


def test_events_from_before_the_clock_was_set_back_are_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, kept = clock(monkeypatch), Events(tmp_path, 1)
    kept.record("started", "-")
    kept.record("stopping", "-")
    now[0] -= 3600
    kept.record("started", "again")
    kept.record("crashed", "-")

    assert [event["event"] for event in events.latest(tmp_path)][:2] == ["crashed", "started"]
