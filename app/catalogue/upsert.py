"""Writes a batch of entries in one transaction: creates, updates what differs, books the stock."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import Connection, select

from app.catalogue.entries import Entry, why_invalid
from app.catalogue.rows import FIELDS, Refusal
from app.catalogue.statements import lock_items, writes
from app.inventory.schemas import MovementCreate, Reason
from app.inventory.search import search_text
from app.inventory.tables import items

Outcome = Literal["created", "updated", "unchanged"]
REASONS: dict[Outcome, Reason] = {"created": "receipt", "updated": "correction"}
NEW_ITEM: dict[str, Any] = {"description": None, "unit_price": None, "quantity": 0}


@dataclass(frozen=True, slots=True)
class Change:
    """What one entry does to the database; `values` is the item as it is to be."""

    line: int
    outcome: Outcome
    values: dict[str, Any]
    delta: int


def upsert(connection: Connection, entries: Sequence[Entry]) -> list[Outcome | Refusal]:
    """Returns what became of each entry. When it raises, nothing of the batch is stored."""
    now = datetime.now(UTC)
    lock_items(connection)
    stored = _stored(connection, entries)
    plan = [_plan(entry, stored.get(entry.item.sku)) for entry in entries]
    changes = [step for step in plan if isinstance(step, Change) and step.outcome != "unchanged"]
    if changes:
        _write(connection, changes, now)
    return [step.outcome if isinstance(step, Change) else step for step in plan]


def _stored(connection: Connection, entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    columns = [items.c[field] for field in FIELDS]
    query = select(*columns).where(items.c.sku.in_([entry.item.sku for entry in entries]))
    return {row.sku: dict(row._mapping) for row in connection.execute(query)}


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
    """Returns why one movement cannot bring the stock to what the entry says; None when it can."""
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


def _write(connection: Connection, changes: Sequence[Change], now: datetime) -> None:
    rows = json.dumps([_row(change) for change in changes])
    for statement in writes(connection):
        connection.execute(statement, {"rows": rows, "now": now})


def _row(change: Change) -> dict[str, Any]:
    search = search_text(change.values["sku"], change.values["name"])
    reason = REASONS[change.outcome]
    return change.values | {"search": search, "delta": change.delta, "reason": reason}
