"""Writes a batch of entries in one transaction: creates, updates what differs, books the stock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import select

from app.catalogue.entries import Entry, why_invalid
from app.catalogue.rows import Refusal
from app.database import Database
from app.inventory.schemas import MovementCreate, Reason
from app.inventory.search import search_text
from app.inventory.tables import items, movements

Outcome = Literal["created", "updated", "unchanged"]
CONTENT = ("sku", "name", "description", "unit_price")
STORED = [items.c[name] for name in ("id", "quantity", *CONTENT)]


@dataclass(frozen=True, slots=True)
class Change:
    """What one entry does to the database; `before` is None when it creates an item."""

    entry: Entry
    before: Any
    values: dict[str, Any]
    delta: int

    @property
    def quantity(self) -> int:
        return self.delta + (0 if self.before is None else self.before.quantity)

    @property
    def reason(self) -> Reason:
        return "receipt" if self.before is None else "correction"

    @property
    def outcome(self) -> Outcome:
        if self.before is None:
            return "created"
        return "updated" if self.values or self.delta else "unchanged"


async def upsert(database: Database, entries: Sequence[Entry]) -> list[Outcome | Refusal]:
    """What became of each entry. When it raises, nothing of the batch is stored."""
    now = datetime.now(UTC)
    async with database.transaction():
        stored = await _stored(database, entries)
        plan = [_plan(entry, stored.get(entry.item.sku)) for entry in entries]
        changes = [change for change in plan if isinstance(change, Change)]
        ids = await _create(database, [change for change in changes if change.before is None], now)
        for change in changes:
            if change.outcome == "updated":
                await _update(database, change, now)
        await _book(database, [change for change in changes if change.delta], ids, now)
    return [change.outcome if isinstance(change, Change) else change for change in plan]


async def _stored(database: Database, entries: Sequence[Entry]) -> dict[str, Any]:
    query = select(*STORED).where(items.c.sku.in_([entry.item.sku for entry in entries]))
    return {row["sku"]: row for row in await database.fetch_all(query)}


def _plan(entry: Entry, before: Any) -> Change | Refusal:
    item = entry.item
    if before is None:
        change = Change(entry, None, item.model_dump(include=set(CONTENT)), item.quantity or 0)
    else:
        given = item.model_dump(include=set(CONTENT) & item.model_fields_set)
        values = {field: value for field, value in given.items() if value != before[field]}
        change = Change(
            entry, before, values, 0 if item.quantity is None else item.quantity - before.quantity
        )
    return _refusal(change) or change


def _refusal(change: Change) -> Refusal | None:
    """Why the stock cannot be brought to where the entry wants it by one movement."""
    if not change.delta:
        return None
    try:
        MovementCreate(delta=change.delta, reason=change.reason)
    except ValidationError as error:
        reason = f"quantity: {change.quantity} takes a movement of {change.delta}; {why_invalid(error)}"
        return Refusal(change.entry.line, reason)
    return None


async def _create(database: Database, changes: Sequence[Change], now: datetime) -> dict[str, int]:
    """The new ids, by SKU."""
    if not changes:
        return {}
    rows = [
        change.values
        | {
            "quantity": change.quantity,
            "created_at": now,
            "updated_at": now,
            "search": search_text(change.values["sku"], change.values["name"]),
        }
        for change in changes
    ]
    insert = items.insert().values(rows).returning(items.c.id, items.c.sku)
    return {row["sku"]: row["id"] for row in await database.fetch_all(insert)}


async def _update(database: Database, change: Change, now: datetime) -> None:
    values = change.values | {
        "quantity": change.quantity,
        "version": items.c.version + 1,
        "updated_at": now,
        "search": search_text(change.before.sku, change.entry.item.name),
    }
    await database.execute(items.update().where(items.c.id == change.before.id).values(values))


async def _book(database: Database, changes: Sequence[Change], ids: dict[str, int], now: datetime) -> None:
    if not changes:
        return
    rows = [
        {
            "item_id": ids[change.entry.item.sku] if change.before is None else change.before.id,
            "delta": change.delta,
            "reason": change.reason,
            "quantity": change.quantity,
            "created_at": now,
        }
        for change in changes
    ]
    await database.execute(movements.insert().values(rows))
