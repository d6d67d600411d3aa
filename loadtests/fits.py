"""Curves through throughput by workers: descriptions of what was measured, never beyond it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import curve_fit, minimize_scalar

from loadtests.samples import Floats

LEAST_COUNTS_FOR_USL = 6  # with four, data of min(N, 2) fits a peak at 3.1 with a tight, wrong interval


class Ceiling(NamedTuple):
    """each * min(N, cores): every worker adds `each` requests/s, until the machine's end is reached."""

    each: float
    cores: float


class Scalability(NamedTuple):
    """Gunther's law: each * N / (1 + contention (N - 1) + coherency N (N - 1))."""

    each: float
    contention: float
    coherency: float
    peak: float


def fit_ceiling(workers: Sequence[int], rates: Sequence[float]) -> Ceiling | None:
    """None where there is no curve to be seen: fewer than two numbers of workers."""
    if len(set(workers)) < 2:
        return None
    counts, logs = np.asarray(workers, dtype=float), np.log(rates)

    def each(cores: float) -> float:
        return float(np.mean(logs - np.log(np.minimum(counts, cores))))

    def misfit(cores: float) -> float:
        return float(np.sum((logs - each(cores) - np.log(np.minimum(counts, cores))) ** 2))

    least = float(counts.min())
    # The sum of squares has a kink at each count, and a minimum between each two.
    found = [
        minimize_scalar(misfit, bounds=(low, high), method="bounded")
        for low, high in zip(np.unique(counts)[:-1], np.unique(counts)[1:], strict=True)
    ]
    best = min((float(fit.fun), float(fit.x)) for fit in found)
    cores = min(best, (misfit(least), least), (misfit(float(counts.max())), float(counts.max())))[1]
    return Ceiling(float(np.exp(each(cores))), cores)


def fit_scalability(workers: Sequence[int], rates: Sequence[float]) -> Scalability | None:
    """None below six numbers of workers, or where the curve does not fit."""
    if len(set(workers)) < LEAST_COUNTS_FOR_USL:
        return None
    counts, values = np.asarray(workers, dtype=float), np.asarray(rates, dtype=float)
    try:
        (each, contention, coherency), _ = curve_fit(
            _usl,
            counts,
            values,
            p0=(values.max() / counts.max(), 0.05, 0.001),
            bounds=(0, (np.inf, 1, 1)),
            sigma=values,
        )
    except RuntimeError:
        return None
    peak = float(np.sqrt((1 - contention) / coherency)) if coherency > 1e-9 else float("inf")
    return Scalability(float(each), float(contention), float(coherency), peak)


def _usl(workers: Floats, each: float, contention: float, coherency: float) -> Floats:
    result: Floats = each * workers / (1 + contention * (workers - 1) + coherency * workers * (workers - 1))
    return result
