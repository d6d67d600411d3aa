"""Reads the inputs of a request for the compiled functions, exactly as Starlette and FastAPI read them."""

from __future__ import annotations

import email.message
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from fastapi._compat import Undefined
from fastapi.routing import _FASTAPI_SCOPE_KEY
from starlette.requests import Request, cookie_parser
from starlette.types import Scope

from coachman.compiler.features import resolve_form_limits

RawHeaders = list[tuple[bytes, bytes]]


class RefusedInputError(Exception):
    """An input is missing or not valid: FastAPI's own code answers, and says so to the client."""


def read_query(scope: Scope) -> list[tuple[str, str]]:
    """Returns the pairs of the query string, as starlette.datastructures.QueryParams parses it."""
    query_string = scope["query_string"]
    if not query_string:
        return []
    return parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)


def read_headers(scope: Scope) -> RawHeaders:
    """Returns the headers, which a server may hand over in another form than a list."""
    headers: RawHeaders = scope["headers"]
    if type(headers) is not list:
        headers = scope["headers"] = list(headers)
    return headers


def read_header(headers: RawHeaders, name: bytes) -> str | None:
    """Returns the first value of a header."""
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return None


def read_header_list(headers: RawHeaders, name: bytes) -> list[str]:
    """Returns all values of a header."""
    return [value.decode("latin-1") for key, value in headers if key == name]


def read_cookies(headers: RawHeaders) -> dict[str, str]:
    """Returns the cookies; of two with the same name the last counts."""
    cookies: dict[str, str] = {}
    for key, value in headers:
        if key == b"cookie":
            cookies.update(cookie_parser(value.decode("latin-1")))
    return cookies


async def read_body(request: Request, is_strict: bool) -> Any:
    """Returns the parsed body, the bytes of a body that is not JSON, or Undefined if it is empty.

    `is_strict`: a body without a Content-Type is not taken for JSON.
    """
    body = await request.body()
    if not body:
        return Undefined
    content_type = read_header(read_headers(request.scope), b"content-type")
    if _is_json(content_type) if content_type else not is_strict:
        return await request.json()
    return body


@lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    message = email.message.Message()
    message["content-type"] = content_type
    if message.get_content_maintype() != "application":
        return False
    subtype = message.get_content_subtype()
    return subtype == "json" or subtype.endswith("+json")


async def read_form(request: Request, limits: Any) -> Any:
    """Returns the parsed form, within the limits of the route and of the routers around it."""
    return await request.form(**resolve_form_limits(request.scope.get(_FASTAPI_SCOPE_KEY, {}), limits))
