"""Why a request is rejected before the application has seen it, and what its client is sent."""

import enum
from collections import Counter
from collections.abc import Iterable

from prometheus_client import Counter as Metric
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from coachman.edge.problem import MEDIA_TYPE, problem_document


class Rejection(enum.Enum):
    """The name is the limit's name in metrics and log; the value is the status and the detail sent."""

    MALFORMED = 400, "The request is not valid HTTP/1.1."
    HOST = 400, "A request has exactly one Host header, with a valid host."
    UPGRADE = 400, "Only GET without a body can become a WebSocket."
    HEAD_SECONDS = 408, "The request's headers took too long."
    BODY_SECONDS = 408, "The request's body took too long."
    TRANSFER_CODING = 501, "The only transfer coding is chunked."
    BODY_BYTES = 413, "The request's body is too large."
    TARGET_BYTES = 414, "The request's target is too long."
    HEAD_BYTES = 431, "The request's headers are too large."
    HEAD_FIELDS = 431, "The request has too many headers."
    CONNECTIONS = 503, "Too many connections are open; try again in a second."
    # The rest is not answered: the connection ends.
    ANSWER_SECONDS = 0, "The client does not read its answer."
    EVICTED = 0, "The connection made room for another one."

    @property
    def status(self) -> int:
        return self.value[0]

    @property
    def detail(self) -> str:
        return self.value[1]

    @property
    def label(self) -> str:
        """The name in metrics and log, such as "head-seconds"."""
        return self.name.lower().replace("_", "-")

    def response(
        self, default_headers: Iterable[tuple[bytes, bytes]] = (), *, is_head: bool = False
    ) -> bytes:
        """A problem document, after which the connection ends. A request with HEAD gets no content."""
        content = problem_document(self.status, self.detail)
        headers = [
            *((name, value) for name, value in default_headers if name != b"connection"),
            (b"content-type", MEDIA_TYPE),
            (b"content-length", b"%d" % len(content)),
            (b"connection", b"close"),
        ]
        if self is Rejection.CONNECTIONS:
            headers.append((b"retry-after", b"1"))
        lines = b"".join(b"%s: %s\r\n" % field for field in headers)
        return STATUS_LINE[self.status] + lines + b"\r\n" + (b"" if is_head else content)


class RejectedError(Exception):
    """Raised in a callback of the parser, which raises its own error with this one as the context."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection)
        self.rejection = rejection


def rejection_of(error: Exception) -> Rejection:
    """Which limit a callback of the parser has found exceeded; MALFORMED where the parser itself failed."""
    cause = error.__context__
    return cause.rejection if isinstance(cause, RejectedError) else Rejection.MALFORMED


class RejectionCounts:
    """The rejections of one worker."""

    def __init__(self, metric: Metric | None = None) -> None:
        self._metric = metric  # with the label of the limit
        self._unreported: Counter[Rejection] = Counter()

    def count(self, rejection: Rejection) -> None:
        self._unreported[rejection] += 1
        if self._metric is not None:
            self._metric.labels(rejection.label).inc()

    def take_summary(self) -> str:
        """Such as "12 head-seconds, 1 body-bytes": those since the last call; empty without any."""
        counts, self._unreported = self._unreported, Counter()
        return ", ".join(f"{count} {rejection.label}" for rejection, count in counts.most_common())
