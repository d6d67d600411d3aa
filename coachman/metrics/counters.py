"""The metrics that Coachman counts. docs/operations.md says what each is for."""

from prometheus_client import Counter, Histogram

from coachman.edge.rejection import Rejection
from coachman.state.states import Phase, Reason, words
from coachman.state.traffic_table import DURATION_BOUNDS

LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Made in the master once the store is its own; workers inherit it and count in files of their slot."""

    def __init__(self) -> None:
        # Counted by workers.
        self.requests = Counter("coachman_http_requests", "Requests answered.", ["route", "method", "status"])
        self.answered = Counter(
            "coachman_application_requests",
            "Requests that reached FastAPI's router, by who answered: a compiled function, or FastAPI.",
            ["by"],
        )
        self.seconds = Histogram(
            "coachman_http_request_duration_seconds",
            "From a request's head to the last piece of its answer.",
            ["route", "method"],
            buckets=DURATION_BOUNDS,
        )
        self.lag = Histogram(
            "coachman_event_loop_lag_seconds",
            "How late event loops turned, ten times a second in each worker.",
            buckets=LAG_SECONDS,
        )
        self.limits = Counter(
            "coachman_limits_reached", "Requests and connections that a limit has ended.", ["limit"]
        )
        self.cpu = Counter(
            "coachman_worker_cpu_seconds", "CPU time of the workers of a slot, user and system.", ["slot"]
        )
        self.rebalanced = Counter(
            "coachman_connections_rebalanced",
            "Keep-alive connections that a worker above its share has closed after an answer.",
        )
        # Counted by masters.
        self.exits = Counter("coachman_worker_exits", "Workers that have ended, by reason.", ["reason"])
        self.handovers = Counter("coachman_handovers", "Handovers that have ended, by outcome.", ["outcome"])
        # Counted by both.
        self.lines_dropped = Counter(
            "coachman_log_lines_dropped", "Log lines dropped as their reader is too slow."
        )

    def begin_at_zero(self) -> None:
        """Runs in the master: a rate can be told only of a series that was there before its first event."""
        for reason in set(Reason) - {Reason.NONE}:
            self.exits.labels(words(reason))
        for rejection in Rejection:
            self.limits.labels(rejection.label)
        for outcome in (Phase.ACCEPTED, Phase.REFUSED):
            self.handovers.labels(words(outcome))
