"""Errors as RFC 9457 problem documents: the exception, its answer, and how OpenAPI describes it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

MEDIA_TYPE = "application/problem+json"
# Python 3.13 renamed these two; the answers are the same on every version.
RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}
OPENAPI_EXAMPLES = {
    400: "The If-Match header is malformed; it takes * or ETags in double quotes.",
    401: "This needs a key; send it as Authorization: Bearer KEY.",
    403: "The key reports may only read.",
    404: "There is no item 7.",
    409: "Item 7 has 3 in stock; 5 cannot be taken.",
    412: "Item 7 is at version 3 by now; read it again.",
    413: "The body is larger than 1048576 bytes.",
    415: "The body must be JSON, with Content-Type: application/json.",
    422: "Invalid sku: string should have at least 1 character.",
    428: "Send If-Match with the ETag of the item you read.",
    429: "More than 10 unknown keys within 60 seconds; try again in a minute.",
    503: "The database is busy; try again in a second.",
}


class FieldError(BaseModel):
    field: str
    message: str


class ProblemDocument(BaseModel):
    model_config = ConfigDict(title="Problem")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it so)
    """An error that a client may see: one clear sentence."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: list[FieldError] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.errors = errors

    def document(self) -> dict[str, Any]:
        document = ProblemDocument(
            title=title(self.status), status=self.status, detail=self.detail, errors=self.errors
        )
        return document.model_dump(exclude_none=True)

    def response(self) -> JSONResponse:
        return JSONResponse(self.document(), self.status, self.headers, MEDIA_TYPE)


class InvalidField(Problem):
    def __init__(self, field: str, message: str, errors: list[FieldError] | None = None) -> None:
        errors = errors or [FieldError(field=field, message=message)]
        more = {1: "", 2: "; 1 more field is invalid"}.get(
            len(errors), f"; {len(errors) - 1} more fields are invalid"
        )
        super().__init__(422, f"Invalid {field}: {message}{more}.", errors=errors)


def title(status: int) -> str:
    return RENAMED.get(status) or HTTPStatus(status).phrase


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What FastAPI's `responses=` takes to describe these errors."""
    return {status: _described(status) for status in sorted(statuses)}


def _described(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    example = Problem(status, OPENAPI_EXAMPLES[status]).document()
    return {"description": title(status), "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


def describe_in_openapi(app: FastAPI) -> None:
    """Adds the schema that `responses` refers to."""
    generate = app.openapi

    # A `model=` in `responses` would be described as application/json.
    def openapi() -> dict[str, Any]:
        document = generate()
        schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= schema.pop("$defs") | {"Problem": schema}
        return document

    app.openapi = openapi  # type: ignore[method-assign]
