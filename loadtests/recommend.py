"""How many workers to run. Pure: from what was measured to one sentence, or to why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from loadtests.intervals import LEAST_REPEATS, Interval, interval, more_repeats, paired_ratio

ROOM = 3  # times the share that may be missing: what noise may hide before a figure is no answer
# "At least 95 % of the best" is a claim to one side: its bound at 95 % is an end of the interval of 90 %.
ONE_SIDED = 0.90


@dataclass(frozen=True)
class Measured:
    """One number of workers: figures by block, those of dirty cells left out."""

    rates: Mapping[int, float]
    p99_ms: Mapping[int, float] = field(default_factory=dict)  # at the fixed rate
    memory_mib: float = 0.0
    dirty: int = 0  # cells left out
    failures: int = 0
    generator_limited: bool = False
    behind: bool = False  # at the fixed rate the requests piled up


@dataclass(frozen=True)
class Requirements:
    """What the number of workers has to meet."""

    within: float = 0.05  # of the best
    p99_ms: float | None = None
    memory_mib: float | None = None
    rate: float | None = None  # requests/s that have to be carried while one worker is replaced
    crash_margin: bool = True


class Verdict(Enum):
    FITS = "fits"
    LIKELY = "fits, by the middle of the repeats"
    UNSURE = "cannot tell"
    SLOWER = "slower"
    LATE = "misses the p99"
    HEAVY = "needs too much memory"
    NO_HEADROOM = "no margin for a crash"


@dataclass(frozen=True)
class Answer:
    """`smallest` to `largest`; the same number when it is sure, None when there is no answer."""

    smallest: int | None
    largest: int | None
    sentence: str
    verdicts: Mapping[int, Verdict] = field(default_factory=dict)
    best: int | None = None
    undecided: tuple[int, ...] = ()  # numbers of workers that more repeats may tell apart, with the best

    @property
    def is_sure(self) -> bool:
        return self.smallest is not None and self.smallest == self.largest


def recommend(by_workers: Mapping[int, Measured], required: Requirements) -> Answer:
    if reason := _refusal(by_workers):
        return Answer(None, None, f"No answer: {reason}.")
    best = best_of(by_workers)
    ratios = {n: _ratio(n, best, by_workers) for n in by_workers}
    verdicts = {
        n: _verdict(n, by_workers, ratios[n], required, is_best=n == best) for n in sorted(by_workers)
    }
    fitting = [n for n, verdict in verdicts.items() if verdict in (Verdict.FITS, Verdict.LIKELY)]
    unsure = [n for n, verdict in verdicts.items() if verdict is Verdict.UNSURE]
    if not fitting and not unsure:
        return Answer(None, None, _none_fits(verdicts), verdicts, best)
    smallest = min(fitting + unsure)
    largest = min(fitting) if fitting else max(unsure)
    if smallest in fitting:
        sentence = _sentence(smallest, by_workers, ratios[smallest], verdicts, required, best)
    else:
        sentence = _undecided(smallest, largest, best, ratios[smallest], required)
    if verdicts[smallest] is Verdict.FITS:
        return Answer(smallest, largest, sentence, verdicts, best)
    between = {n for n in by_workers if smallest <= n <= largest}
    return Answer(smallest, largest, sentence, verdicts, best, tuple(sorted(between | {best})))


def _ratio(n: int, to: int, by_workers: Mapping[int, Measured]) -> Interval:
    return paired_ratio(by_workers[n].rates, by_workers[to].rates, ONE_SIDED)


def best_of(by_workers: Mapping[int, Measured]) -> int:
    """Returns the number with the highest throughput: a maximum of noisy figures, so a little too good."""
    return max(by_workers, key=lambda n: (interval(list(by_workers[n].rates.values())).mid, -n))


def _refusal(by_workers: Mapping[int, Measured]) -> str | None:
    """Returns why there is no answer, disturbances first: they spoil all other figures."""
    few = [n for n, one in by_workers.items() if len(one.rates) < LEAST_REPEATS]
    cells = sum(len(one.rates) + one.dirty for one in by_workers.values())
    if not cells:
        return "nothing was measured"
    dirty = sum(one.dirty for one in by_workers.values())
    if dirty > cells / 3:
        return f"{dirty} of {cells} measurements were disturbed by other processes; repeat on a quiet machine"
    if few:
        return (
            f"too few repeats for {_workers(few[0])}: {len(by_workers[few[0]].rates)}, "
            f"and {LEAST_REPEATS} are the least"
        )
    if failed := sum(one.failures for one in by_workers.values()):
        return f"{failed} requests failed, and a server that refuses work looks fast; the table says how"
    best = best_of(by_workers)
    if by_workers[best].generator_limited:
        return f"with {_workers(best)} the load generator was the limit, not the server"
    return None


def _verdict(
    n: int, by_workers: Mapping[int, Measured], ratio: Interval, required: Requirements, *, is_best: bool
) -> Verdict:
    one = by_workers[n]
    if required.memory_mib is not None and one.memory_mib > required.memory_mib:
        return Verdict.HEAVY
    p99 = interval(list(one.p99_ms.values()))
    if required.p99_ms is not None and (one.behind or p99.low > required.p99_ms):
        return Verdict.LATE
    if not is_best and ratio.high < 1 - required.within:
        return Verdict.SLOWER
    if required.crash_margin and not _has_margin(n, by_workers, required):
        return Verdict.NO_HEADROOM
    if required.p99_ms is not None and not p99.high <= required.p99_ms:
        return Verdict.UNSURE
    if is_best:
        return Verdict.UNSURE if _may_be_beaten(n, by_workers, required) else Verdict.FITS
    return _closeness(ratio, required)


def _closeness(ratio: Interval, required: Requirements) -> Verdict:
    """Returns whether a number does about as much as the best: surely, likely, or nobody can tell."""
    floor = 1 - required.within
    if ratio.low >= floor:
        return Verdict.FITS
    if ratio.mid >= floor and ratio.low >= 1 - ROOM * required.within:
        return Verdict.LIKELY
    return Verdict.UNSURE


def _may_be_beaten(best: int, by_workers: Mapping[int, Measured], required: Requirements) -> bool:
    """Whether noise leaves room for a larger number that is much better: then a best of medians is luck."""
    room = 1 - ROOM * required.within
    return any(_ratio(best, m, by_workers).low < room for m in by_workers if m > best)


def _has_margin(n: int, by_workers: Mapping[int, Measured], required: Requirements) -> bool:
    """Whether the remaining workers carry the load while one is replaced. A single worker leaves none."""
    if n == 1:
        return max(by_workers) == 1  # then there is nothing to compare it with
    left = by_workers.get(n - 1)
    if required.rate is None or left is None:
        return True
    return interval(list(left.rates.values())).low >= required.rate


def _sentence(
    n: int,
    by_workers: Mapping[int, Measured],
    ratio: Interval,
    verdicts: Mapping[int, Verdict],
    required: Requirements,
    best: int,
) -> str:
    rate = interval(list(by_workers[n].rates.values())).mid
    if n == best:
        parts = [f"Run {_workers(n)}: no other number measured does more than its {rate:,.0f} requests/s"]
    else:
        share = "as much as" if ratio.mid >= 1 else f"{_per_cent(ratio.mid)} (block by block) of what"
        parts = [
            f"Run {_workers(n)}: {rate:,.0f} requests/s, "
            f"{share} {_workers(best)} {_do(best)}, the most measured"
        ]
    if verdicts[n] is Verdict.LIKELY:
        parts.append(
            f"{_workers(best)} may do up to {_per_cent(1 / ratio.low - 1)} more, "
            "which this run cannot exclude"
        )
    if required.p99_ms is not None:
        p99 = interval(list(by_workers[n].p99_ms.values())).mid
        parts.append(f"p99 {p99:.0f} ms of {required.p99_ms:g} allowed")
    smaller = [(m, verdict) for m, verdict in verdicts.items() if m < n]
    if smaller:
        m, verdict = smaller[-1]
        parts.append(
            f"{_workers(m)}: none or too few left while one is replaced"
            if verdict is Verdict.NO_HEADROOM
            else f"{_workers(m)}: {verdict.value}"
        )
    return "; ".join(parts) + "."


def _undecided(smallest: int, largest: int, best: int, ratio: Interval, required: Requirements) -> str:
    more = more_repeats(ratio, 1 - required.within)
    cure = f"about {more} more repeats would" if more and more <= 50 else "more repeats hardly will"
    if smallest == largest:
        return f"Perhaps {_workers(smallest)}: this run cannot tell yet whether it is enough; {cure}."
    share = f"{100 * ratio.low:.0f} to {_per_cent(ratio.high)} of what {_workers(best)} {_do(best)}"
    why = f" ({_workers(smallest)} {_do(smallest)} {share})" if smallest != best else ""
    return (
        f"{smallest} to {largest} workers: this run cannot tell them apart{why}; {cure}. Lean to {smallest}."
    )


def _none_fits(verdicts: Mapping[int, Verdict]) -> str:
    why = "; ".join(f"{_workers(n)}: {verdict.value}" for n, verdict in verdicts.items())
    return f"No answer: no number measured meets what was asked for ({why})."


def _workers(n: int) -> str:
    return f"{n} worker" + ("s" if n != 1 else "")


def _per_cent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _do(n: int) -> str:
    return "do" if n != 1 else "does"
