"""Why a request is refused before the application has seen it, and what its client is told."""

import enum
import json
from collections import Counter
from http import HTTPStatus

from prometheus_client import Counter as Metric
from uvicorn.protocols.http.httptools_impl import STATUS_LINE


class Refusal(enum.Enum):
    """The name is the limit's in metrics and log; the value is the status and what the client reads."""

    MALFORMED = 400, "The request is not valid HTTP/1.1."
    HOST = 400, "A request has exactly one Host header."
    UPGRADE = 400, "Only GET without a body can become a WebSocket."
    HEAD_SECONDS = 408, "The request's headers took too long."
    BODY_SECONDS = 408, "The request's body took too long."
    BODY_BYTES = 413, "The request's body is too large."
    TARGET_BYTES = 414, "The request's target is too long."
    HEAD_BYTES = 431, "The request's headers are too large."
    HEAD_FIELDS = 431, "The request has too many headers."
    CONNECTIONS = 503, "Too many connections are open; try again in a second."
    # The rest is not told: the connection ends.
    ANSWER_SECONDS = 0, "The client does not read its answer."
    EVICTED = 0, "The connection made room for another one."

    @property
    def status(self) -> int:
        return self.value[0]

    @property
    def detail(self) -> str:
        return self.value[1]

    def answer(self) -> bytes:
        """A problem document (RFC 9457), and the end of the connection."""
        retry = b"retry-after: 1\r\n" if self is Refusal.CONNECTIONS else b""
        body = self.body()
        return (
            b"%scontent-type: application/problem+json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
            % (STATUS_LINE[self.status], len(body), retry, body)
        )

    def body(self) -> bytes:
        title = HTTPStatus(self.status).phrase
        problem = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return json.dumps(problem).encode()


class RefusedError(Exception):
    """Ends the parser's callback; httptools raises its own error in its place."""


class Refusals:
    """Counts them, of one worker."""

    def __init__(self, metric: Metric | None = None) -> None:
        self._metric = metric  # with the label of the limit
        self._new: Counter[Refusal] = Counter()

    def count(self, refusal: Refusal) -> None:
        self._new[refusal] += 1
        if self._metric is not None:
            self._metric.labels(name_of(refusal)).inc()

    def news(self) -> str:
        """Such as "12 head-seconds, 1 body-bytes", since it was last asked; empty without any."""
        new, self._new = self._new, Counter()
        return ", ".join(f"{count} {name_of(refusal)}" for refusal, count in new.most_common())


def name_of(refusal: Refusal) -> str:
    return refusal.name.lower().replace("_", "-")
