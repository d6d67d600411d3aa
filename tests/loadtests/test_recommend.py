"""On synthetic runs, where the right answer is known."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loadtests.recommend import Answer, Measured, Requirements, Verdict, recommend

THROUGHPUT_ONLY = Requirements(crash_margin=False)


def run(
    truth: Callable[[int], float], *, workers: int = 4, repeats: int = 5, noise: float = 0.05, seed: int = 0
) -> dict[int, Measured]:
    random = np.random.default_rng(seed)
    blocks = [random.normal(0, 0.1) for _ in range(repeats)]  # a neighbour, the same for a whole block
    return {
        n: Measured(
            {block: truth(n) * math.exp(slow + random.normal(0, noise)) for block, slow in enumerate(blocks)},
            memory_mib=40.0 + 20 * n,
        )
        for n in range(1, workers + 1)
    }


def changed(run: dict[int, Measured], n: int, **changes: Any) -> dict[int, Measured]:
    return run | {n: Measured(**(vars(run[n]) | changes))}


def test_two_cores_never_ask_for_more_than_two_workers() -> None:
    answers = [recommend(run(lambda n: 700 * min(n, 2), seed=seed), Requirements()) for seed in range(60)]

    assert {answer.smallest for answer in answers} == {2}
    assert sum(answer.is_sure for answer in answers) > 20


def test_a_flat_line_asks_for_one_worker_and_a_second_for_the_crash() -> None:
    flat = run(lambda n: 620, noise=0.005)

    assert recommend(flat, THROUGHPUT_ONLY).smallest == 1
    answer = recommend(flat, Requirements())

    assert (answer.smallest, answer.verdicts[1]) == (2, Verdict.NO_HEADROOM)
    assert "while one is replaced" in answer.sentence


def test_equals_end_in_the_smaller_or_in_a_range_with_the_repeats_it_takes() -> None:
    for seed in range(40):
        answer = recommend(
            run(lambda n: 1000 if n > 1 else 500, workers=3, noise=0.06, seed=seed), Requirements()
        )

        assert answer.smallest == 2
        if not answer.is_sure:
            assert answer.largest == 3
            assert "2 to 3 workers: this run cannot tell them apart" in answer.sentence
            assert answer.sentence.endswith("Lean to 2.")


def test_clear_figures_end_in_a_number_that_says_what_it_cannot_exclude() -> None:
    """Four per cent of noise is a quiet machine; 5 repeats are what `make compare` begins with."""
    answers = [
        recommend(run(lambda n: 700 * min(n, 2), noise=0.04, seed=seed), Requirements()) for seed in range(60)
    ]

    assert {answer.smallest for answer in answers} == {2}
    assert sum(answer.is_sure for answer in answers) >= 54
    likely = [answer for answer in answers if answer.verdicts[2] is Verdict.LIKELY]
    assert likely
    for answer in likely:
        assert re.search(r"may do up to (\d|1[0-7]) % more, which this run cannot exclude", answer.sentence)
        assert set(answer.undecided) == {answer.smallest, answer.best}, "more repeats go on to tell"


def test_a_number_that_is_clearly_better_is_not_given_up_for_a_smaller_one() -> None:
    answers = [
        recommend(run(lambda n: {1: 500, 2: 870}.get(n, 1000), noise=0.04, seed=seed), Requirements())
        for seed in range(60)
    ]

    assert not [answer for answer in answers if answer.is_sure and answer.smallest == 2]
    assert sum(answer.smallest == 3 for answer in answers) >= 48


def test_more_repeats_of_those_that_are_not_told_apart_end_in_an_answer() -> None:
    """As `compare` adds them: blocks of the undecided numbers alone."""

    def with_more(seed: int) -> tuple[Answer, int]:
        repeats, measured = 5, run(lambda n: 700 * min(n, 2), repeats=15, noise=0.03, seed=seed)
        rates = {n: {k: one.rates[k] for k in range(repeats)} for n, one in measured.items()}
        while (answer := recommend({n: Measured(r) for n, r in rates.items()}, Requirements())).undecided:
            assert set(answer.undecided) >= {answer.smallest, answer.best}
            if repeats == 15:
                break
            for n in answer.undecided:
                rates[n][repeats] = measured[n].rates[repeats]
            repeats += 1
        return answer, repeats

    found = [with_more(seed) for seed in range(30)]
    assert {answer.smallest for answer, _ in found} == {2}
    assert sum(answer.is_sure and not answer.undecided for answer, _ in found) >= 27
    assert sum(repeats for _, repeats in found) / len(found) < 9


def test_a_best_that_noise_has_made_is_not_sure() -> None:
    answers = [recommend(run(lambda n: 300, noise=0.4, seed=seed), Requirements()) for seed in range(30)]

    assert sum(answer.is_sure for answer in answers) <= 3


def test_two_repeats_are_too_few() -> None:
    answer = recommend(run(lambda n: 700 * min(n, 2), repeats=2), Requirements())

    assert answer.sentence == "No answer: too few repeats for 1 worker: 2, and 3 are the least."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"generator_limited": True}, "the load generator was the limit, not the server"),
        ({"failures": 7}, "7 requests failed"),
        ({"dirty": 11}, "11 of 31 measurements were disturbed"),
    ],
)
def test_what_is_not_about_the_server_is_no_answer(changes: dict[str, Any], reason: str) -> None:
    clean = run(lambda n: 700 * n, noise=0.01)

    answer = recommend(changed(clean, 4, **changes), Requirements())

    assert answer.smallest is None
    assert reason in answer.sentence


def test_a_limited_generator_elsewhere_than_at_the_best_does_no_harm() -> None:
    clean = run(lambda n: 700 * min(n, 2), noise=0.01)

    assert recommend(changed(clean, 1, generator_limited=True), Requirements()).smallest == 2


def test_the_p99_asks_for_more_workers_than_the_throughput() -> None:
    measured = run(lambda n: 620, noise=0.005)
    for n, ms in ((1, 300.0), (2, 240.0), (3, 60.0), (4, 55.0)):
        measured = changed(measured, n, p99_ms={block: ms + block for block in range(5)})

    answer = recommend(measured, Requirements(p99_ms=100))

    assert answer.smallest == answer.largest == 3
    assert answer.verdicts[2] is Verdict.LATE
    assert "p99 62 ms of 100 allowed" in answer.sentence


def test_requests_that_pile_up_miss_any_p99() -> None:
    measured = run(lambda n: 620, workers=2, noise=0.005)
    measured = changed(measured, 2, p99_ms=dict.fromkeys(range(5), 50.0), behind=True)

    assert recommend(measured, Requirements(p99_ms=100)).verdicts[2] is Verdict.LATE


def test_the_memory_budget_bounds_the_answer() -> None:
    measured = run(lambda n: 700 * n, noise=0.01)

    answer = recommend(measured, Requirements(memory_mib=90))

    assert answer.smallest is None
    assert answer.verdicts == {
        1: Verdict.SLOWER,
        2: Verdict.SLOWER,
        3: Verdict.HEAVY,
        4: Verdict.HEAVY,
    }
    assert "no number measured meets what was asked for" in answer.sentence


def test_those_left_after_a_crash_have_to_carry_the_stated_rate() -> None:
    measured = run(lambda n: 700 * min(n, 2), noise=0.005)

    assert recommend(measured, Requirements(rate=500)).smallest == 2
    assert recommend(measured, Requirements(rate=1000)).smallest == 3
