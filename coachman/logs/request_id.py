"""X-Request-ID: one name for a request, from the proxy to the last log line about it. Runs in the worker."""

import itertools
import os
import re
from collections.abc import Iterable
from contextvars import ContextVar

HEADER = b"x-request-id"
_USABLE = re.compile(rb"[A-Za-z0-9._:@/+=~-]{1,128}")  # nothing that could end a line or a field

# Each request is a task of its own, whose context nobody else sees: it is set, and never taken back.
current: ContextVar[str] = ContextVar("request_id", default="")


class _Names:
    """Makes unique ids, as unlikely to collide between processes as random ones, in a fifth of the time."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._process, self._numbers = os.urandom(5).hex(), itertools.count()

    def next(self) -> str:
        return f"{self._process}{next(self._numbers):06x}"


_names = _Names()
os.register_at_fork(after_in_child=_names.begin)


def take(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Returns the client's id if it is valid, or a new one, and makes it the current request's."""
    identifier = ""
    for name, value in headers:
        if name == HEADER:
            identifier = value.decode() if _USABLE.fullmatch(value) else ""
            break
    identifier = identifier or _names.next()
    current.set(identifier)
    return identifier
