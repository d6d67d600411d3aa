"""On synthetic data, where the truth is known."""

import math

import numpy as np
import pytest

from loadtests.fits import fit_ceiling, fit_scalability
from loadtests.intervals import interval, more_repeats, paired_ratio, unpaired_ratio


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    runs = [interval((1000 * np.exp(random.normal(0, 0.05, 5))).tolist()) for _ in range(4000)]

    covered = np.mean([found.low <= 1000 <= found.high for found in runs])

    assert 0.93 <= covered <= 0.97
    assert 0.03 < np.median([found.width for found in runs]) < 0.08


def test_one_outlier_moves_the_middle_little_and_widens_the_bounds() -> None:
    clean = interval([100, 101, 99, 100, 102])
    spoilt = interval([100, 101, 99, 100, 30])

    assert spoilt.mid == pytest.approx(clean.mid, rel=0.01)
    assert spoilt.low < 60 < clean.low


def test_fewer_than_three_repeats_say_nothing() -> None:
    found = interval([100.0, 101.0])

    assert (found.low, found.mid, found.high) == (0, 100.5, math.inf)
    assert not found.is_known
    assert math.isnan(interval([]).mid)


def test_a_slow_block_falls_out_of_a_paired_ratio() -> None:
    two = {0: 200.0, 1: 100.0, 2: 198.0, 3: 204.0}
    one = {0: 100.0, 1: 50.0, 2: 100.0, 3: 101.0, 9: 1.0}  # block 9 has no partner

    ratio = paired_ratio(two, one)

    assert ratio.repeats == 4
    assert 1.95 < ratio.low <= 2 <= ratio.high < 2.06


def test_two_runs_are_told_apart_only_by_more_than_their_noise() -> None:
    random = np.random.default_rng(3)
    before = (100 * np.exp(random.normal(0, 0.05, 8))).tolist()
    same = (100 * np.exp(random.normal(0, 0.05, 8))).tolist()
    faster = (130 * np.exp(random.normal(0, 0.05, 8))).tolist()

    assert unpaired_ratio(same, before).low < 1 < unpaired_ratio(same, before).high
    assert unpaired_ratio(faster, before).low > 1.15


def test_the_repeats_that_are_missing_are_estimated() -> None:
    ratio = interval([0.97, 1.05, 0.93, 1.02, 0.99])

    assert ratio.low < 0.95 < ratio.mid
    assert 1 <= (more_repeats(ratio, 0.95) or 0) <= 20
    assert more_repeats(interval([0.9, 0.95, 1.0]), 0.95) is None


def test_a_ceiling_of_two_cores_is_found_under_noise() -> None:
    random = np.random.default_rng(5)
    workers = [n for n in (1, 2, 3, 4) for _ in range(5)]
    rates = [700 * min(n, 2) * math.exp(random.normal(0, 0.05)) for n in workers]

    ceiling = fit_ceiling(workers, rates)

    assert ceiling is not None
    assert ceiling.each == pytest.approx(700, rel=0.05)
    assert ceiling.cores == pytest.approx(2, rel=0.08)


@pytest.mark.parametrize(("truth", "cores"), [(lambda n: 500.0, 1.0), (lambda n: 500.0 * n, 4.0)])
def test_a_flat_line_is_one_core_and_a_straight_one_all_of_them(truth, cores) -> None:  # type: ignore[no-untyped-def]
    ceiling = fit_ceiling([1, 2, 3, 4], [truth(n) for n in (1, 2, 3, 4)])

    assert ceiling is not None
    assert ceiling.cores == pytest.approx(cores, rel=0.01)


def test_the_scalability_law_needs_six_numbers_of_workers() -> None:
    workers = [1, 2, 4, 6, 8, 12]
    rates = [1000 * n / (1 + 0.05 * (n - 1) + 0.01 * n * (n - 1)) for n in workers]

    fit = fit_scalability(workers, rates)

    assert fit_scalability(workers[:5], rates[:5]) is None
    assert fit is not None
    assert fit.peak == pytest.approx(math.sqrt(0.95 / 0.01), rel=0.02)
