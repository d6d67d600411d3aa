"""Requests of tests, without TLS.

httpx2's own functions read the system's certificates for each request, which takes 45 ms of CPU: as much as
most tests need for the rest, as they ask until something has come true.
"""

import functools
import ssl

import httpx2

WITHOUT_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

get = functools.partial(httpx2.get, verify=WITHOUT_CERTIFICATES)
post = functools.partial(httpx2.post, verify=WITHOUT_CERTIFICATES)
stream = functools.partial(httpx2.stream, verify=WITHOUT_CERTIFICATES)
Client = functools.partial(httpx2.Client, verify=WITHOUT_CERTIFICATES)
AsyncClient = functools.partial(httpx2.AsyncClient, verify=WITHOUT_CERTIFICATES)
