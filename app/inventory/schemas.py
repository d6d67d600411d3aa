"""What clients send and get. Strict: nothing is coerced, nothing unknown is passed over."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError


def _printable(text: str) -> str:
    for position, character in enumerate(text, start=1):
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise PydanticCustomError(
                "unprintable",
                "Character {position} (U+{code}) is a control character",
                {"position": position, "code": f"{ord(character):04X}"},
            )
    return text


def _not_zero(delta: int) -> int:
    if delta == 0:
        raise PydanticCustomError("zero", "A movement of 0 changes nothing")
    return delta


PRINTABLE = AfterValidator(_printable)
Sku = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$"),
    Field(description="Unique; visible ASCII without spaces"),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), PRINTABLE]
Description = Annotated[str, StringConstraints(max_length=2000), PRINTABLE]
Note = Annotated[str, StringConstraints(max_length=500), PRINTABLE]
UnitPrice = Annotated[int, Field(ge=0, le=10**12, description="In minor units, for example cents")]
Delta = Annotated[int, Field(ge=-(10**9), le=10**9), AfterValidator(_not_zero)]
Reason = Literal["receipt", "sale", "return", "correction"]

ITEM_EXAMPLE = {
    "id": 1,
    "sku": "TEA-EARL-100",
    "name": "Earl Grey, 100 g",
    "description": "Loose leaf",
    "unit_price": 890,
    "quantity": 24,
    "version": 2,
    "created_at": "2026-11-24T08:00:00.000000Z",
    "updated_at": "2026-11-24T08:05:00.000000Z",
}
MOVEMENT_EXAMPLE = {
    "id": 1,
    "item_id": 1,
    "delta": 24,
    "reason": "receipt",
    "note": "Delivery 4711",
    "quantity": 24,
    "created_at": "2026-11-24T08:05:00.000000Z",
}


def _example(example: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {"examples": [{field: example[field] for field in fields or example}]}


class Input(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", str_strip_whitespace=True, frozen=True)


class ItemCreate(Input):
    """An item to be. It starts with a stock of 0."""

    model_config = ConfigDict(
        json_schema_extra=_example(ITEM_EXAMPLE, "sku", "name", "description", "unit_price")
    )

    sku: Sku
    name: Name
    description: Description | None = None
    unit_price: UnitPrice | None = None


def _describe_update(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)
    schema["minProperties"] = 1
    schema["examples"] = [{"name": "Earl Grey, 125 g", "unit_price": 990}]


class ItemUpdate(Input):
    """At least one field to change; null clears `description` and `unit_price`."""

    model_config = ConfigDict(json_schema_extra=_describe_update)

    # The defaults stand for "not sent" and are never read: see `changes`.
    sku: Sku = ""
    name: Name = ""
    description: Description | None = None
    unit_price: UnitPrice | None = None

    @model_validator(mode="after")
    def refuse_nothing(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("empty", "At least one field to change is needed")
        return self

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, with their new values."""
        return self.model_dump(exclude_unset=True)


class MovementCreate(Input):
    """A change of an item's stock."""

    model_config = ConfigDict(json_schema_extra=_example(MOVEMENT_EXAMPLE, "delta", "reason", "note"))

    delta: Delta = Field(description="Added to the stock; not 0", json_schema_extra={"not": {"const": 0}})
    reason: Reason
    note: Note | None = None

    def describes(self, booked: "Movement") -> bool:
        return (self.delta, self.reason, self.note) == (booked.delta, booked.reason, booked.note)


class Item(BaseModel):
    model_config = ConfigDict(json_schema_extra=_example(ITEM_EXAMPLE))

    id: int
    sku: str
    name: str
    description: str | None
    unit_price: int | None = Field(description="In minor units, for example cents")
    quantity: int = Field(description="The stock: the sum of the item's movements")
    version: int = Field(description="Raised by every change; the ETag is made of it")
    created_at: datetime
    updated_at: datetime


class Movement(BaseModel):
    model_config = ConfigDict(json_schema_extra=_example(MOVEMENT_EXAMPLE))

    id: int
    item_id: int
    delta: int
    reason: Reason
    note: str | None
    quantity: int = Field(description="The item's stock after this movement")
    created_at: datetime


class ItemPage(BaseModel):
    items: list[Item]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last")


class MovementPage(BaseModel):
    items: list[Movement]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last")
