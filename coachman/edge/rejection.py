"""Why a request is rejected before the application has seen it, and what its client is sent."""

import enum
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from prometheus_client import Counter as Metric
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from coachman.edge.limits import Limits
from coachman.edge.problem import MEDIA_TYPE, problem_document

REJECTED = "coachman.rejected"  # in the scope of a request that the application has: what its client got
MOST_PATH_BYTES = 200  # of a path in the log
MOST_ORIGIN_BYTES = 200


class Asked(NamedTuple):
    """The request that is rejected, as far as it has been read."""

    method: str = ""
    path: str = ""
    origin: bytes = b""  # of the page whose script asks, where a browser has named one

    @classmethod
    def of(cls, connection: Any) -> Self:
        """Describes the request that the connection has read last."""
        target: bytes = getattr(connection, "url", b"")  # there is none before the first byte
        if not target:
            return cls()
        path = target.partition(b"?")[0][:MOST_PATH_BYTES].decode("ascii", "backslashreplace")
        origin = dict(connection.headers).get(b"origin", b"")
        is_plain = len(origin) <= MOST_ORIGIN_BYTES and origin.isascii() and b"," not in origin
        return cls(connection.parser.get_method().decode("ascii"), path, origin if is_plain else b"")


class Rejection(enum.Enum):
    """The name is the limit's name in metrics and log; the value is the status and the detail sent."""

    MALFORMED = 400, "The request is not valid HTTP/1.1."
    HOST = 400, "A request has exactly one Host header, with a valid host."
    UPGRADE = 400, "Only GET without a body can become a WebSocket."
    HANDSHAKE = 431, "A line of a WebSocket's handshake has at most 8192 bytes, and there are at most 128."
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

    @property
    def setting(self) -> str:
        """The setting that has the limit, such as "head_seconds"; empty where there is none."""
        name = "connections" if self is Rejection.EVICTED else self.name.lower()
        return name if name in Limits.__dataclass_fields__ else ""

    def with_setting(self) -> str:
        """Such as "head-seconds (COACHMAN_HEAD_SECONDS)"."""
        return f"{self.label} (COACHMAN_{self.setting.upper()})" if self.setting else self.label

    def sentence(self, asked: Asked, limits: Limits) -> str:
        """For the log: what was rejected, why, and which setting has the limit."""
        what = f"{asked.method} {asked.path}" if asked.method else "A connection"
        how = f"is rejected with {self.status}" if self.status and asked.method else "is closed"
        return f"{what} {how}: {self.detail}{self._limit(asked, limits)}"

    def _limit(self, asked: Asked, limits: Limits) -> str:
        if not self.setting:
            return ""
        value = getattr(limits, self.setting)
        if self is not Rejection.BODY_BYTES:
            return f" The limit is COACHMAN_{self.setting.upper()}={value:g}."
        own = limits.body_bytes_for(asked.path)
        key = "COACHMAN_BODY_BYTES" if own == value else "COACHMAN_BODY_BYTES_BELOW"
        return f" The limit is {own} bytes, of {key}."

    def response(
        self, default_headers: Iterable[tuple[bytes, bytes]] = (), asked: Asked | None = None
    ) -> bytes:
        """A problem document, after which the connection ends. A request with HEAD gets no content.

        A browser shows its page no response of another origin, not even the status, unless that says so.
        This one has nothing that is anybody's secret.
        """
        asked = asked or Asked()
        content = problem_document(self.status, self.detail)
        headers = [
            *((name, value) for name, value in default_headers if name != b"connection"),
            (b"content-type", MEDIA_TYPE),
            (b"content-length", b"%d" % len(content)),
            (b"connection", b"close"),
        ]
        if self is Rejection.CONNECTIONS:
            headers.append((b"retry-after", b"1"))
        if asked.origin:
            headers += [
                (b"access-control-allow-origin", asked.origin),
                (b"access-control-allow-credentials", b"true"),
                (b"vary", b"origin"),
            ]
        lines = b"".join(b"%s: %s\r\n" % field for field in headers)
        return STATUS_LINE[self.status] + lines + b"\r\n" + (b"" if asked.method == "HEAD" else content)


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

    def count(self, rejection: Rejection) -> bool:
        """Counts a rejection. Returns whether it is the first of its kind since the last summary."""
        self._unreported[rejection] += 1
        if self._metric is not None:
            self._metric.labels(rejection.label).inc()
        return self._unreported[rejection] == 1

    def take_summary(self) -> str:
        """Such as "12 head-seconds (COACHMAN_HEAD_SECONDS)": those since the last call; empty without any."""
        counts, self._unreported = self._unreported, Counter()
        return ", ".join(f"{count} {rejection.with_setting()}" for rejection, count in counts.most_common())
