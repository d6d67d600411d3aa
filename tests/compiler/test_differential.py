"""An application made at random does the same compiled as not."""

import os
from collections import Counter

import pytest
from fastapi.exceptions import FastAPIError
from hypothesis import HealthCheck, Phase, given, seed, settings

from coachman.compiler import COUNTS, compile_app
from tests.compiler.exchange import Call, Journal, difference, exchange, sources
from tests.compiler.generated import Builder, Spec, cases
from tests.support import volume

EXAMPLES = volume.volume(full=int(os.environ.get("COMPILER_EXAMPLES", "30000")), part=250)

totals: Counter[str] = Counter()


@pytest.mark.soak
@seed(volume.seed())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate, *([Phase.shrink] if "TESTS_SHRINK" in os.environ else [])],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(cases())
def test_made_applications(case: tuple[Spec, list[Call]]) -> None:
    spec, requests = case
    stock_journal: Journal = []
    journal: Journal = []
    try:
        stock = Builder(spec, stock_journal).build()
    except (FastAPIError, AssertionError, ValueError):
        totals["refused"] += 1  # by FastAPI, when it is declared
        return
    app = Builder(spec, journal).build()
    report = compile_app(app)
    before = COUNTS.compiled
    for call in requests:
        expected = exchange(stock, call, stock_journal)
        seen = exchange(app, call, journal)
        if seen != expected:  # an assertion would print both in full, and the case in part
            pytest.fail(f"{call}\n{difference(seen, expected)}\n{sources(report)}\ncase={case!r}")
        totals["requests"] += 1
    totals["compiled"] += COUNTS.compiled - before
    totals["could not be compiled"] += any("could not" in reason for reason in report.reasons())


def test_enough_of_them_were_compiled() -> None:
    """Runs after the test above, and says nothing if that did not run here."""
    if totals["requests"] > 100:
        assert totals["compiled"] > totals["requests"] / 20, totals
        assert not totals["could not be compiled"], totals
