"""Writes a batch of entries in one transaction: creates, updates what differs, books the stock."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import bindparam, select, text

from app.catalogue.entries import Entry, why_invalid
from app.catalogue.rows import FIELDS, Refusal
from app.database import Database
from app.inventory.schemas import MovementCreate, Reason
from app.inventory.search import search_text
from app.inventory.tables import UtcDateTime, items

Outcome = Literal["created", "updated", "unchanged"]
REASONS: dict[Outcome, Reason] = {"created": "receipt", "updated": "correction"}
NEW_ITEM: dict[str, Any] = {"description": None, "unit_price": None, "quantity": 0}

# The rows travel as one JSON parameter. To compile thousands of parameters took 100 ms a batch, all of
# it under the write lock: a write of the service then waited up to 1.7 s for its turn.
WRITE_ITEMS = text("""
    INSERT INTO items (sku, name, description, unit_price, quantity, search, created_at, updated_at)
    SELECT json_extract(value, '$.sku'), json_extract(value, '$.name'),
           json_extract(value, '$.description'), json_extract(value, '$.unit_price'),
           json_extract(value, '$.quantity'), json_extract(value, '$.search'), :now, :now
    FROM json_each(:rows) WHERE true
    ON CONFLICT (sku) DO UPDATE SET
        name = excluded.name, description = excluded.description, unit_price = excluded.unit_price,
        quantity = excluded.quantity, search = excluded.search, updated_at = excluded.updated_at,
        version = items.version + 1
""").bindparams(bindparam("now", type_=UtcDateTime()))
BOOK_MOVEMENTS = text("""
    INSERT INTO movements (item_id, delta, reason, quantity, created_at)
    SELECT items.id, json_extract(value, '$.delta'), json_extract(value, '$.reason'), items.quantity, :now
    FROM json_each(:rows) CROSS JOIN items ON items.sku = json_extract(value, '$.sku')
    WHERE json_extract(value, '$.delta') <> 0
""").bindparams(bindparam("now", type_=UtcDateTime()))


@dataclass(frozen=True, slots=True)
class Change:
    """What one entry does to the database; `values` is the item as it is to be."""

    line: int
    outcome: Outcome
    values: dict[str, Any]
    delta: int


async def upsert(database: Database, entries: Sequence[Entry]) -> list[Outcome | Refusal]:
    """What became of each entry. When it raises, nothing of the batch is stored."""
    now = datetime.now(UTC)
    async with database.transaction():
        stored = await _stored(database, entries)
        plan = [_plan(entry, stored.get(entry.item.sku)) for entry in entries]
        changes = [step for step in plan if isinstance(step, Change) and step.outcome != "unchanged"]
        if changes:
            await _write(database, changes, now)
    return [step.outcome if isinstance(step, Change) else step for step in plan]


async def _stored(database: Database, entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    columns = [items.c[field] for field in FIELDS]
    query = select(*columns).where(items.c.sku.in_([entry.item.sku for entry in entries]))
    return {row["sku"]: dict(row._mapping) for row in await database.fetch_all(query)}


def _plan(entry: Entry, stored: dict[str, Any] | None) -> Change | Refusal:
    before = stored or NEW_ITEM
    given = entry.item.model_dump(exclude_unset=True)
    if entry.item.quantity is None:
        given.pop("quantity", None)
    values = before | given
    outcome: Outcome = "created" if stored is None else "unchanged" if values == stored else "updated"
    change = Change(entry.line, outcome, values, values["quantity"] - before["quantity"])
    return _refusal(change) or change


def _refusal(change: Change) -> Refusal | None:
    """Why the stock cannot be brought to where the entry wants it by one movement."""
    if not change.delta:
        return None
    try:
        MovementCreate(delta=change.delta, reason=REASONS[change.outcome])
    except ValidationError as error:
        wanted = change.values["quantity"]
        return Refusal(
            change.line, f"quantity: {wanted} takes a movement of {change.delta}; {why_invalid(error)}"
        )
    return None


async def _write(database: Database, changes: Sequence[Change], now: datetime) -> None:
    rows = json.dumps([_row(change) for change in changes])
    for statement in (WRITE_ITEMS, BOOK_MOVEMENTS):
        await database.execute(statement.bindparams(rows=rows, now=now))


def _row(change: Change) -> dict[str, Any]:
    search = search_text(change.values["sku"], change.values["name"])
    reason = REASONS[change.outcome]
    return change.values | {"search": search, "delta": change.delta, "reason": reason}
