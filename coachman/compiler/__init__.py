"""Does once, when an application is loaded, what FastAPI repeats for each request."""

from coachman.compiler.application import compile_app
from coachman.compiler.counts import COUNTS, Counts
from coachman.compiler.report import Report, RouteReport

__all__ = ["COUNTS", "Counts", "Report", "RouteReport", "compile_app"]
