"""X-Request-ID: one name for a request, from the proxy to the last log line about it. Runs in the worker."""

import os
import re
from collections.abc import Iterable
from contextvars import ContextVar

HEADER = b"x-request-id"
_USABLE = re.compile(rb"[A-Za-z0-9._:@/+=~-]{1,128}")  # nothing that could end a line or a field

# Each request is a task of its own, whose context nobody else sees: it is set, and never taken back.
current: ContextVar[str] = ContextVar("request_id", default="")


def take(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's, where it can be used, or a new one; from here on it is the current one."""
    identifier = ""
    for name, value in headers:
        if name == HEADER:
            identifier = value.decode() if _USABLE.fullmatch(value) else ""
            break
    identifier = identifier or os.urandom(8).hex()
    current.set(identifier)
    return identifier
