"""Writes a batch of entries in one transaction: creates, updates what differs, books the stock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert as insert_or_update

from app.catalogue.entries import Entry, why_invalid
from app.catalogue.rows import FIELDS, Refusal
from app.database import Database
from app.inventory.schemas import MovementCreate, Reason
from app.inventory.search import search_text
from app.inventory.tables import items, movements

Outcome = Literal["created", "updated", "unchanged"]
REASONS: dict[Outcome, Reason] = {"created": "receipt", "updated": "correction"}
NEW_ITEM: dict[str, Any] = {"description": None, "unit_price": None, "quantity": 0}
CHANGED_BY_UPDATE = ("name", "description", "unit_price", "quantity", "updated_at", "search")


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
            ids = await _write_items(database, changes, now)
            await _book(database, [change for change in changes if change.delta], ids, now)
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


async def _write_items(database: Database, changes: Sequence[Change], now: datetime) -> dict[str, int]:
    """The ids of the items, by SKU."""
    # One statement for all of them: an UPDATE for each would hold the write lock several times as long.
    insert = insert_or_update(items).values([_row(change.values, now) for change in changes])
    update = {name: insert.excluded[name] for name in CHANGED_BY_UPDATE}
    upsert = insert.on_conflict_do_update([items.c.sku], set_=update | {"version": items.c.version + 1})
    rows = await database.fetch_all(upsert.returning(items.c.id, items.c.sku))
    return {row["sku"]: row["id"] for row in rows}


def _row(values: dict[str, Any], now: datetime) -> dict[str, Any]:
    search = search_text(values["sku"], values["name"])
    return values | {"created_at": now, "updated_at": now, "search": search}


async def _book(database: Database, changes: Sequence[Change], ids: dict[str, int], now: datetime) -> None:
    if not changes:
        return
    rows = [
        {
            "item_id": ids[change.values["sku"]],
            "delta": change.delta,
            "reason": REASONS[change.outcome],
            "quantity": change.values["quantity"],
            "created_at": now,
        }
        for change in changes
    ]
    await database.execute(movements.insert().values(rows))
