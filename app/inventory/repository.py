"""Items and movements in the database. Every rule that two clients could break together is kept here."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import DBAPIError

from app.inventory.errors import (
    DuplicateSku,
    IdempotencyKeyReused,
    ItemNotFound,
    NotEnoughStock,
    StaleItem,
    TooMuchStock,
)
from app.inventory.preconditions import IfMatch
from app.inventory.schemas import Item, ItemCreate, ItemUpdate, Movement, MovementCreate
from app.inventory.search import like_pattern, search_text
from app.inventory.tables import MAX_QUANTITY, items, movements
from durable_database import Database
from durable_database.errors import breaks_unique

ITEM = [column for column in items.c if column.name in Item.model_fields]
MOVEMENT = [column for column in movements.c if column.name in Movement.model_fields]

# Built once: to build one for each request costs as much as to run it ten times.
ITEM_BY_ID = select(*ITEM).where(items.c.id == bindparam("item_id"))
# On SQLite the transaction has locked all there is, and nothing comes of FOR UPDATE.
LOCKED_ITEM = ITEM_BY_ID.with_for_update()
LOCKED_STOCK = select(items.c.quantity).where(items.c.id == bindparam("item_id")).with_for_update()
CREATE_ITEM = items.insert().returning(*ITEM)
CHANGE_STOCK = (
    items.update().where(items.c.id == bindparam("item_id")).values({"version": items.c.version + 1})
)
MOVEMENT_BY_KEY = select(*MOVEMENT).where(movements.c.idempotency_key == bindparam("key"))
CREATE_MOVEMENT = movements.insert().returning(movements.c.id)


class Inventory:
    """What endpoints call. Writes are the functions below, each in one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_item(self, item_id: int) -> Item:
        row = await self._database.fetch_one(ITEM_BY_ID, {"item_id": item_id})
        if row is None:
            raise ItemNotFound(item_id)
        return Item(**row._mapping)

    async def list_items(self, q: str, after: int | None, limit: int) -> list[Item]:
        """Returns the items that `q` finds, oldest first."""
        query = select(*ITEM).order_by(items.c.id).limit(limit)
        if q:
            query = query.where(items.c.search.like(like_pattern(q), escape="\\"))
        if after is not None:
            query = query.where(items.c.id > after)
        return [Item(**row._mapping) for row in await self._database.fetch_all(query)]

    async def list_movements(self, item_id: int, before: int | None, limit: int) -> list[Movement]:
        """Returns an item's movements, newest first."""
        query = select(*MOVEMENT).where(movements.c.item_id == item_id)
        if before is not None:
            query = query.where(movements.c.id < before)
        rows = await self._database.fetch_all(query.order_by(movements.c.id.desc()).limit(limit))
        if not rows:
            await self.get_item(item_id)
        return [Movement(**row._mapping) for row in rows]

    async def create_item(self, new: ItemCreate) -> Item:
        return await self._database.write(create_item, new)

    async def change_item(self, item_id: int, update: ItemUpdate, if_match: IfMatch) -> Item:
        return await self._database.write(change_item, item_id, update, if_match)

    async def delete_item(self, item_id: int, if_match: IfMatch | None) -> None:
        await self._database.write(delete_item, item_id, if_match)

    async def book_movement(
        self, item_id: int, new: MovementCreate, idempotency_key: str | None
    ) -> tuple[Movement, bool]:
        """Books a movement. Returns it, and whether it had been booked before under the same key."""
        try:
            return await self._database.write(book_movement, item_id, new, idempotency_key)
        except Exception as error:
            if not breaks_unique(error, "movements", "idempotency_key"):
                raise
            # Two items can be booked at once under one key: the later one finds the other's movement now.
            return await self._database.write(book_movement, item_id, new, idempotency_key)


def create_item(connection: Connection, new: ItemCreate) -> Item:
    now = datetime.now(UTC)
    values = {"search": search_text(new.sku, new.name), "created_at": now, "updated_at": now}
    return _write_item(connection, CREATE_ITEM, new.sku, new.model_dump() | values)


def change_item(connection: Connection, item_id: int, update: ItemUpdate, if_match: IfMatch) -> Item:
    item = _matching_item(connection, item_id, if_match)
    changes = update.changes()
    sku, name = changes.get("sku", item.sku), changes.get("name", item.name)
    change = (
        items.update()
        .where(items.c.id == item_id, items.c.version == item.version)
        .values(changes | {"version": items.c.version + 1, "updated_at": datetime.now(UTC)})
        .values(search=search_text(sku, name))
        .returning(*ITEM)
    )
    return _write_item(connection, change, sku)


def delete_item(connection: Connection, item_id: int, if_match: IfMatch | None) -> None:
    _matching_item(connection, item_id, if_match)
    connection.execute(items.delete().where(items.c.id == item_id))


def book_movement(
    connection: Connection, item_id: int, new: MovementCreate, idempotency_key: str | None
) -> tuple[Movement, bool]:
    # The item first: another booking under the same key has then ended, and the key is found.
    quantity = connection.execute(LOCKED_STOCK, {"item_id": item_id}).scalar_one_or_none()
    if idempotency_key and (booked := _movement_of(connection, idempotency_key)):
        if booked.item_id != item_id or not new.describes(booked):
            raise IdempotencyKeyReused
        return booked, True
    if quantity is None:
        raise ItemNotFound(item_id)
    now = datetime.now(UTC)
    stock = {"item_id": item_id, "quantity": _stock_after(item_id, quantity, new.delta)}
    connection.execute(CHANGE_STOCK, stock | {"updated_at": now})
    values = {"delta": new.delta, "reason": new.reason, "note": new.note, "created_at": now} | stock
    created = connection.execute(CREATE_MOVEMENT, values | {"idempotency_key": idempotency_key})
    return Movement(id=created.scalar_one(), **values), False


def _matching_item(connection: Connection, item_id: int, if_match: IfMatch | None) -> Item:
    item = _locked_item(connection, item_id)
    if item is None:
        raise ItemNotFound(item_id)
    if if_match is not None and not if_match.matches(item.version):
        raise StaleItem(item_id, item.version)
    return item


def _locked_item(connection: Connection, item_id: int) -> Item | None:
    row = connection.execute(LOCKED_ITEM, {"item_id": item_id}).one_or_none()
    return Item(**row._mapping) if row else None


def _movement_of(connection: Connection, idempotency_key: str) -> Movement | None:
    row = connection.execute(MOVEMENT_BY_KEY, {"key": idempotency_key}).one_or_none()
    return Movement(**row._mapping) if row else None


def _write_item(
    connection: Connection, statement: Any, sku: str, values: dict[str, Any] | None = None
) -> Item:
    try:
        row = connection.execute(statement, values).one()
    except DBAPIError as error:
        if breaks_unique(error, "items", "sku"):
            raise DuplicateSku(sku) from None
        raise
    return Item(**row._mapping)


def _stock_after(item_id: int, quantity: int, delta: int) -> int:
    if quantity + delta < 0:
        raise NotEnoughStock(item_id, quantity, delta)
    if quantity + delta > MAX_QUANTITY:
        raise TooMuchStock(item_id, quantity, delta)
    return quantity + delta
