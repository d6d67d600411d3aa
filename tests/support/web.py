"""Requests of tests, without TLS, with a time limit that a busy machine keeps.

httpx2's own functions read the system's certificates for each request, which takes 45 ms of CPU: as much as
most tests need for the rest, as they ask until something has come true.
"""

import functools
import ssl
from typing import Any

import httpx2

from tests.support.deadlines import REQUEST_SECONDS

_OPTIONS: dict[str, Any] = {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "timeout": REQUEST_SECONDS}

get = functools.partial(httpx2.get, **_OPTIONS)
post = functools.partial(httpx2.post, **_OPTIONS)
stream = functools.partial(httpx2.stream, **_OPTIONS)
Client = functools.partial(httpx2.Client, **_OPTIONS)
AsyncClient = functools.partial(httpx2.AsyncClient, **_OPTIONS)
