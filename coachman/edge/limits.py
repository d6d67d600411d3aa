"""How much a client may send, and how long it may take. Defaults and reasons: docs/security.md."""

import contextlib
import resource
from dataclasses import dataclass
from typing import Self

from coachman.settings import ServerSettings

MOST_SHARES = 2  # times its part of the service's connections that one worker may have
SPARE_FILES = 48  # descriptors that are not connections: listeners, the log, the database, open files


@dataclass(frozen=True)
class Limits:
    """Of one connection, but for `connections` and `most_connections`. Seconds and bytes."""

    head_seconds: (
        float  # from the first byte of a request, or the connection's begin, to the end of its headers
    )
    head_bytes: int
    head_fields: int
    target_bytes: int
    body_bytes: int
    body_bytes_below: tuple[tuple[str, int], ...]  # other limits for paths below a prefix, longest first
    body_seconds: float  # without a byte of the body
    answer_seconds: float  # in which the client takes nothing of its answer
    connections: int  # of one worker that may ask something
    most_connections: int  # of one worker while the others have fewer: connection_table.py
    body_rate: int = 500  # bytes a second, on average, once body_seconds have passed
    pipelined: int = 16  # requests that wait for the answer to the one before

    @classmethod
    def of(cls, settings: ServerSettings) -> Self:
        most = _within_descriptors(MOST_SHARES * settings.connections)
        below = sorted(settings.body_bytes_below.items(), key=lambda item: -len(item[0]))
        return cls(
            head_seconds=settings.head_seconds,
            head_bytes=settings.head_bytes,
            head_fields=settings.head_fields,
            target_bytes=settings.target_bytes,
            body_bytes=settings.body_bytes,
            body_bytes_below=tuple(below),
            body_seconds=settings.body_seconds,
            answer_seconds=settings.answer_seconds,
            connections=min(settings.connections, most),
            most_connections=most,
        )

    def body_bytes_for(self, path: str) -> int:
        for prefix, size in self.body_bytes_below:
            if path.startswith(prefix):
                return size
        return self.body_bytes


def _within_descriptors(connections: int) -> int:
    """As many of `connections` as the process may have files open, after raising its limit as far as it goes.

    Out of descriptors a loop cannot even accept and refuse; libuv closes what it accepts without a word.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections * 5 // 4 + SPARE_FILES
    if hard == resource.RLIM_INFINITY or hard > soft:
        raised = max(soft, wanted if hard == resource.RLIM_INFINITY else min(wanted, hard))
        with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return max(min(connections, (soft - SPARE_FILES) * 4 // 5), 4)
