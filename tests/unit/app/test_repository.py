"""What writes, as plain functions on a connection: no event loop, no file."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from app.inventory import repository
from app.inventory.errors import IdempotencyKeyReused, ItemNotFound, NotEnoughStock, TooMuchStock
from app.inventory.schemas import ItemCreate, MovementCreate
from app.inventory.tables import MAX_QUANTITY, items, metadata, movements

pytestmark = pytest.mark.sqlite


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def item_id(connection: sa.Connection) -> int:
    return repository.create_item(connection, ItemCreate(sku="T-1", name="Tea")).id


def receipt(delta: int) -> MovementCreate:
    return MovementCreate(delta=delta, reason="receipt")


def test_movement_is_booked_with_the_stock_after_it(connection: sa.Connection, item_id: int) -> None:
    first, _ = repository.book_movement(connection, item_id, receipt(5), None)
    second, replayed = repository.book_movement(connection, item_id, receipt(-2), "key")

    assert (first.quantity, second.quantity, replayed) == (5, 3, False)
    assert second.created_at.tzinfo is not None
    stored = connection.execute(sa.select(movements.c.id, movements.c.quantity)).all()
    assert [tuple(row) for row in stored] == [(first.id, 5), (second.id, 3)]
    assert connection.execute(sa.select(items.c.quantity, items.c.version)).one() == (3, 3)


def test_key_books_once_and_for_one_movement_only(connection: sa.Connection, item_id: int) -> None:
    booked, _ = repository.book_movement(connection, item_id, receipt(5), "key")

    assert repository.book_movement(connection, item_id, receipt(5), "key") == (booked, True)
    with pytest.raises(IdempotencyKeyReused):
        repository.book_movement(connection, item_id, receipt(6), "key")


def test_movement_that_cannot_be_is_refused_with_the_reason(connection: sa.Connection, item_id: int) -> None:
    repository.book_movement(connection, item_id, receipt(5), None)

    with pytest.raises(NotEnoughStock):
        repository.book_movement(connection, item_id, receipt(-6), None)
    with pytest.raises(ItemNotFound):
        repository.book_movement(connection, item_id + 1, receipt(1), None)
    connection.execute(items.update().values(quantity=MAX_QUANTITY))
    with pytest.raises(TooMuchStock):
        repository.book_movement(connection, item_id, receipt(1), None)
    assert connection.execute(sa.select(sa.func.count()).select_from(movements)).scalar_one() == 1
