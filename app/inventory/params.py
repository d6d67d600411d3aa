"""What the inventory's endpoints take from a request, checked."""

import email.message
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from app.inventory.schemas import PRINTABLE
from app.problems import Problem


def _digits(value: object) -> object:
    # Pydantic reads "1.0", "+1" and " 1 " as 1; an address should have one spelling.
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        raise PydanticCustomError("digits", "it must be a whole number, in digits")
    return value


ItemId = Annotated[int, BeforeValidator(_digits), Path(ge=1, le=2**63 - 1)]
Limit = Annotated[int, BeforeValidator(_digits), Query(ge=1, le=100, description="Most entries on a page")]
SearchText = Annotated[
    str, Query(max_length=200, description="Part of the SKU or the name, in any case of letters"), PRINTABLE
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description="Chosen by the client; the same one books once, however often it is sent",
    ),
]


async def require_json(request: Request) -> None:
    message = email.message.Message()
    message["content-type"] = request.headers.get("content-type", "")
    subtype = message.get_content_subtype()
    is_json = message.get_content_maintype() == "application" and (
        subtype == "json" or subtype.endswith("+json")
    )
    if not is_json and await request.body():
        raise Problem(415, "The body must be JSON, with Content-Type: application/json.")


RequireJson = Depends(require_json)
