"""What `coachman show` says of what it has counted."""

import pytest

from coachman.cli._show_load import Counts
from coachman.cli.show import ACTS, has_held, outcome

KEPT = {act: Counts(answered=1000) for act in ACTS} | {"kill": Counts(answered=2234, lost=3)}


def test_the_last_lines_say_what_was_lost_and_what_was_not() -> None:
    assert outcome(KEPT, has_refused=True).splitlines() == [
        "5,234 requests were answered, 0 of them with an error",
        "      3 lost by the two killed workers",
        "      0 lost by the handover",
        "      0 lost by the refused release",
        "      0 connections refused",
    ]
    assert has_held(KEPT, has_refused=True)


@pytest.mark.parametrize(
    ("act", "counts"),
    [
        ("handover", Counts(lost=1)),
        ("refused", Counts(lost=1)),
        ("load", Counts(lost=1)),
        ("kill", Counts(refused=1)),
    ],
)
def test_what_must_not_be_lost_is_a_failure(act: str, counts: Counts) -> None:
    assert not has_held(KEPT | {act: counts}, has_refused=True)


def test_a_release_that_is_not_refused_is_a_failure() -> None:
    assert not has_held(KEPT, has_refused=False)
    assert outcome(KEPT, has_refused=False).endswith("\nThe release that cannot be loaded was not refused.")
