"""When a client is too slow: on values and a clock."""

import pytest

from coachman.edge.deadlines import WriteProgress, is_body_late
from tests.unit.coachman.edge.test_http import LIMITS

SECONDS = LIMITS.body_seconds


@pytest.mark.parametrize(
    ("now", "last_byte_at", "received", "late"),
    [
        (SECONDS, 0, 0, False),
        (SECONDS + 0.1, 0, 0, True),  # a pause
        (SECONDS + 1, SECONDS, 499, True),  # below 500 bytes a second
        (SECONDS + 1, SECONDS, 500, False),
        (10 * SECONDS, 10 * SECONDS - 1, 100_000, False),
    ],
)
def test_a_body_is_late_after_a_pause_or_below_a_rate(
    now: float, last_byte_at: float, received: int, late: bool
) -> None:
    assert is_body_late(now, 0, last_byte_at, received, LIMITS) is late


def test_a_response_is_stalled_when_its_client_takes_next_to_nothing() -> None:
    progress = WriteProgress()
    assert not progress.is_stalled(0, 100_000, 10)
    assert not progress.is_stalled(10, 99_000, 10)

    assert progress.is_stalled(10.1, 99_000, 10)


def test_a_response_that_is_read_slowly_is_not_stalled() -> None:
    progress, unsent = WriteProgress(), 100_000
    for now in range(0, 100, 6):
        assert not progress.is_stalled(now, unsent, 5)
        unsent -= 4096


def test_a_response_whose_buffer_was_drained_meanwhile_is_not_stalled() -> None:
    progress = WriteProgress()
    progress.is_stalled(0, 100_000, 10)
    progress.has_drained = True

    assert not progress.is_stalled(11, 100_000, 10)  # filled again
    assert progress.is_stalled(22, 100_000, 10)


def test_nothing_to_send_is_no_stall() -> None:
    progress = WriteProgress()
    progress.is_stalled(0, 100_000, 10)
    progress.is_stalled(5, 0, 10)

    assert not progress.is_stalled(20, 100_000, 10)
