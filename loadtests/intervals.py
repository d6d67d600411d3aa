"""How sure a figure is. Pure functions; the repeats are independent runs, never requests of one run.

The median is the figure, a t interval on logarithms its bounds: simulated with 5 repeats and 5 % of noise
it covers the truth in 95 of 100, where a bootstrap of the median covers 93 and one of the mean 84.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEAST_REPEATS = 3
LEVEL = 0.95


class Interval(NamedTuple):
    """`low` and `high` are 0 and infinity where there are too few repeats to say anything."""

    low: float
    mid: float
    high: float
    repeats: int

    @property
    def is_known(self) -> bool:
        return self.repeats >= LEAST_REPEATS

    @property
    def width(self) -> float:
        """How far the bounds lie from the middle, as a share: the smallest difference to be seen."""
        return math.sqrt(self.high / self.low) - 1 if self.is_known else math.inf


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Returns the interval in which the middle of `values` lies."""
    if not values:
        return Interval(0, math.nan, math.inf, 0)
    mid = float(np.median(values))
    if len(values) < LEAST_REPEATS or min(values) <= 0:
        return Interval(0, mid, math.inf, min(len(values), LEAST_REPEATS - 1))
    logs = np.log(values)
    return _bounds(float(logs.mean()), float(stats.sem(logs)), len(values) - 1, mid, len(values), level)


def paired_ratio(of: Mapping[int, float], to: Mapping[int, float], level: float = LEVEL) -> Interval:
    """Returns the ratio `of` / `to`, block by block: what disturbs both of a block cancels out."""
    blocks = sorted(of.keys() & to.keys())
    return interval([of[block] / to[block] for block in blocks], level)


def unpaired_ratio(of: Sequence[float], to: Sequence[float]) -> Interval:
    """Returns the ratio `of` / `to` for two runs that share no block (Welch)."""
    repeats = min(len(of), len(to))
    if repeats < LEAST_REPEATS:
        mid = float(np.median(of) / np.median(to)) if repeats else math.nan
        return Interval(0, mid, math.inf, repeats)
    a, b = np.log(of), np.log(to)
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    error = math.sqrt(va + vb)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)) if error else len(a) + len(b) - 2
    mid = float(np.median(of) / np.median(to))
    return _bounds(float(a.mean() - b.mean()), error, freedom, mid, repeats)


def more_repeats(ratio: Interval, bound: float) -> int | None:
    """About how many more it takes to tell `ratio` from `bound`; None when no number does."""
    distance = abs(math.log(ratio.mid / bound))
    half = math.log(ratio.high / ratio.low) / 2 if ratio.is_known else math.inf
    if not math.isfinite(half) or distance < half / 10:
        return None
    return max(1, math.ceil(ratio.repeats * ((half / distance) ** 2 - 1)))


def _bounds(
    centre: float, error: float, freedom: float, mid: float, repeats: int, level: float = LEVEL
) -> Interval:
    reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Interval(math.exp(centre - reach), mid, math.exp(centre + reach), repeats)
