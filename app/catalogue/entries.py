"""Validates rows, by the rules that the API has for an item."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError

from app.catalogue.rows import Refusal, Row
from app.inventory.schemas import ItemCreate
from app.inventory.tables import MAX_QUANTITY

MESSAGES = {
    "missing": "it is required",
    "string_pattern_mismatch": "it must be visible ASCII characters without spaces",
    "string_unicode": "it must not contain lone surrogates",
}


class CatalogueItem(ItemCreate):
    """An item and the stock it is to have; None leaves the stock as it is."""

    quantity: Annotated[int, Field(ge=0, le=MAX_QUANTITY)] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A row that may be loaded."""

    line: int
    item: CatalogueItem


class Validator:
    """Keeps the SKU of every valid row, so that no row silently overwrites another of the same file."""

    def __init__(self) -> None:
        self._line_of_sku: dict[str, int] = {}

    def check(self, row: Row | Refusal) -> Entry | Refusal:
        if isinstance(row, Refusal):
            return row
        try:
            item = CatalogueItem.model_validate(row.values)
        except ValidationError as error:
            return Refusal(row.line, why_invalid(error))
        first = self._line_of_sku.setdefault(item.sku, row.line)
        if first != row.line:
            return Refusal(row.line, f"sku: {item.sku} is in line {first} already, and that line counts")
        return Entry(row.line, item)


def why_invalid(error: ValidationError) -> str:
    """Returns the first fault, with its field, and how many there are besides."""
    faults = error.errors(include_url=False, include_input=False)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{_fault(faults[0])}{more}"


def _fault(details: Any) -> str:
    message = MESSAGES.get(details["type"]) or details["msg"][:1].lower() + details["msg"][1:]
    return f"{details['loc'][0]}: {message}"
