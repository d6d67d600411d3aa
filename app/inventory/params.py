"""What the inventory's endpoints take from a request, checked."""

import email.message
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from app.inventory.schemas import PRINTABLE
from app.problems import Problem


class Digits:
    """Annotation of a whole number that is given in digits alone.

    Pydantic reads "1.0", "+1" and " 1 " as 1; an address should have one spelling. The pattern is checked by
    pydantic's core: a validator in Python would cost more than all the rest of the parameter.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        digits = core_schema.custom_error_schema(
            core_schema.str_schema(pattern="^[0-9]+$"),
            custom_error_type="digits",
            custom_error_message="it must be a whole number, in digits",
        )
        return core_schema.chain_schema([digits, handler(source)])

    def __get_pydantic_json_schema__(
        self, schema: core_schema.ChainSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema["steps"][-1])


# The bounds stand before Digits, which makes them the number's; those of Path() would be checked in Python.
ItemId = Annotated[int, Field(ge=1, le=2**63 - 1), Digits(), Path()]
Limit = Annotated[int, Field(ge=1, le=100), Digits(), Query(description="Most entries on a page")]
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
