"""Flags measurements whose figure is not about the server. Pure functions."""

from collections.abc import Sequence

from loadtests.meter import Usage
from loadtests.procfs import CORES

GENERATOR_LIMITED = "generator-limited"
GENERATOR_SHARE = "generator takes a large share"
DISTURBED = "disturbed by other processes"
FAILURES = "failures"
BEHIND = "requests pile up"
UNSTEADY = "not steady"
UNEVEN = "uneven shares"
LAGGING = "generator lags"

MEANING = {
    GENERATOR_LIMITED: "Locust used up its core: the server could have done more.",
    GENERATOR_SHARE: "Locust took more than 30 % of what the two used, with no core idle.",
    DISTURBED: "Others used more than 0.3 of a core: measured again once, left out of the figures.",
    FAILURES: "Requests failed: their number is no throughput.",
    BEHIND: "At the fixed rate more fell due than was answered.",
    UNSTEADY: "The second half of the window differs from the first by more than 10 %.",
    UNEVEN: "One worker had more than 1.6 times its share of the requests: luck of the connections.",
    LAGGING: "Locust's own loop was later than half of the answers took.",
}


def flags_of(
    usage: Usage,
    *,
    workers: int,
    halves: tuple[int, int],
    failed: int,
    due: int,
    answered: int,
    shares: Sequence[float],
    lag_p99_ms: float | None,
    p50_ms: float | None,
    open_loop: bool,
    other_cores: float,
) -> list[str]:
    generator, queued = usage.generator, usage.generator_queued
    both = generator + usage.server
    first, second = halves
    found = {
        GENERATOR_LIMITED: generator > 0.9
        or (generator + queued > 0.9 and usage.server < 0.8 * min(workers, CORES) and not open_loop),
        GENERATOR_SHARE: usage.server > 0 and generator / both > 0.3 and usage.idle < 0.15 * CORES,
        DISTURBED: usage.others > other_cores or usage.stolen > 0.1,
        FAILURES: failed > 0,
        BEHIND: open_loop and due >= 100 and answered < 0.95 * due,
        UNSTEADY: not open_loop and min(halves) >= 400 and abs(second / first - 1) > 0.1,
        UNEVEN: len(shares) > 1 and max(shares) * len(shares) > 1.6,
        LAGGING: bool(lag_p99_ms and p50_ms and lag_p99_ms > p50_ms),
    }
    return [flag for flag, raised in found.items() if raised]
