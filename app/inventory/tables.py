"""The tables, as SQLAlchemy Core. `migrations/` creates them; a test holds the two together."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

# JSON readers in other languages hold integers in doubles, exact up to here only.
MAX_QUANTITY = 2**53 - 1

# SQLite gives out row ids for INTEGER columns only; there it has 64 bits anyway.
Id = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time: aware in Python, UTC in the database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        # SQLite keeps no zone.
        return value and value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

items = Table(
    "items",
    metadata,
    Column("id", Id, primary_key=True),
    Column("sku", String(64), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("description", Text),
    Column("unit_price", BigInteger),
    Column("quantity", BigInteger, nullable=False, server_default="0"),
    Column("version", BigInteger, nullable=False, server_default="1"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("search", Text, nullable=False),
    CheckConstraint(f"quantity BETWEEN 0 AND {MAX_QUANTITY}", name="quantity"),
    CheckConstraint("unit_price >= 0", name="unit_price"),
    sqlite_autoincrement=True,
)

movements = Table(
    "movements",
    metadata,
    Column("id", Id, primary_key=True),
    Column("item_id", Id, ForeignKey("items.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("delta", BigInteger, nullable=False),
    Column("reason", String(20), nullable=False),
    Column("note", Text),
    Column("quantity", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("idempotency_key", String(255), unique=True),
    CheckConstraint("delta <> 0", name="delta"),
    sqlite_autoincrement=True,
)
