"""One second of a service: rates, sums that add up, percentiles, memory."""

from pathlib import Path

import pytest

from coachman.state import history
from coachman.state.history import History
from coachman.state.memory import MOST_NEW, SECONDS, Memory
from coachman.state.rates import Rates, Reading, rates, rounded, totals
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Phase, Reason, State
from coachman.state.traffic_table import DURATION_BOUNDS, Traffic, TrafficTable, percentile


def rate(requests: float, in_flight: float = 0.0, cpu: float = 0.0) -> Rates:
    return Rates(requests, 0.0, 0.0, 0.001, in_flight, cpu)


@pytest.mark.parametrize("each", [0.04, 0.26, 33.4, 1234.56])
def test_the_sum_is_that_of_the_rows_as_they_are_shown(each: float) -> None:
    found = rounded({number: rate(each, in_flight=each / 10, cpu=each / 2000) for number in range(7)})
    sums = totals(found)

    assert sums["requests"] == round(sum(one.requests for one in found.values()), 1)
    assert sums["in_flight"] == round(sum(one.in_flight for one in found.values()), 1)
    if sums["requests"] >= 100:
        assert all(one.requests == int(one.requests) for one in found.values())


def test_requests_that_are_open_all_the_second_are_in_flight_before_they_end() -> None:
    row = Row(state=State.READY, pid=1, in_flight=1)
    before, now = Reading(row, Traffic(10.0, 3.0)), Reading(row, Traffic(11.0, 8.0))

    assert rates(before, now, 1.0).in_flight == 5.0
    assert rates(before, now, 1.0).mean is None


def test_a_worker_that_is_new_in_its_slot_began_at_zero() -> None:
    old = Reading(Row(pid=1, requests=900, cpu_seconds=50.0), Traffic(10.0, 70.0, 5.0, 6.0))
    new = Reading(Row(pid=2, requests=4, busy_seconds=0.4, cpu_seconds=0.5), Traffic(11.0, 0.4, 1.0, 2.0))

    assert rates(old, new, 2.0) == Rates(2.0, 0.5, 1.0, 0.1, 0.0, 0.25)


def test_percentiles_are_found_within_their_bucket() -> None:
    table = TrafficTable(2)
    table.add(1, 200, {0: 90})
    table.add(1, 404, {3: 9})
    table.add(1, 503, {len(DURATION_BOUNDS): 1})
    traffic = table.read(1)

    assert (traffic.errors, traffic.failures, sum(traffic.buckets)) == (9, 1, 100)
    assert percentile(traffic.buckets, 0.5) == pytest.approx(0.001 * 50 / 90)
    assert DURATION_BOUNDS[2] < (percentile(traffic.buckets, 0.95) or 0) <= DURATION_BOUNDS[3]
    assert percentile(traffic.buckets, 1.0) == DURATION_BOUNDS[-1]
    assert percentile(table.read(0).buckets, 0.5) is None
    table.clear(1)
    assert table.read(1) == table.read(0) == Traffic()


def test_memory_is_read_at_once_of_a_new_process_and_rarely_after() -> None:
    asked: list[int] = []
    memory = Memory(lambda pid: asked.append(pid) or 100 + pid)  # type: ignore[func-returns-value]
    pids = range(1, MOST_NEW + 3)
    for second in range(int(SECONDS)):
        known = memory.poll(pids, 1000.0 + second)
    assert sorted(asked) == list(pids)
    assert known == {pid: 100 + pid for pid in pids}

    asked.clear()
    for second in range(3):
        memory.poll(pids, 1000.0 + SECONDS + second)
    assert len(asked) == 3, "one a second"
    assert memory.poll([2], 1100.0) == {2: 102}


def test_a_stop_is_no_restart_and_neither_is_a_fork_that_was_refused() -> None:
    crashed = Row().at_fork(1.0).at_end(2.0, -9, Reason.CRASHED, failures=0, backs_off=False)
    assert crashed.restarts == 0
    refused = crashed.at_fork(3.0)._replace(state=State.BACKING_OFF)
    again = refused.at_fork(4.0)
    assert (refused.restarts, again.restarts) == (1, 1)
    assert again.at_end(5.0, 0, Reason.STOPPED, failures=0, backs_off=False).restarts == 1
    scaled = again.at_end(5.0, 0, Reason.SCALED_DOWN, failures=0, backs_off=False)
    assert scaled.at_fork(6.0).restarts == 1


def test_a_second_by_slot_is_the_one_that_the_whole_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("coachman.state.history.time.time", lambda: now[0])
    boards, both = [Scoreboard.create(), Scoreboard.create()], [History(tmp_path, 1), History(tmp_path, 2)]
    for generation, board in enumerate(boards, 1):
        board.update_service(pid=1, workers=1, slots=1, generation=generation)
    boards[0].update_service(handover=Phase.UNDER_WAY)
    for requests in (0, 30, 70):
        for board, kept in zip(boards, both, strict=True):
            board.slots[0].write(Row(state=State.READY, pid=5, requests=requests, rss=2**20))
            kept.poll(board)
        now[0] += 1
    boards[0].slots[0].update(requests=100)
    both[0].poll(boards[0])  # the other one comes later

    moment, found = history.by_slot(tmp_path, [1, 2])
    whole = {second["time"]: second for second in history.latest(tmp_path)}[moment]
    assert moment == 1002
    assert whole["requests"] == sum(second["slots"]["0"][3] for second in found.values()) == 80
    assert history.started_at(tmp_path) == 1000.0
    now[0] += 10
    assert history.by_slot(tmp_path, [1, 2]) == (0, {})
