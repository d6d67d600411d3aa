"""The SQL of an import's batch, in each database's own words."""

from sqlalchemy import Connection, TextClause, bindparam, text

from app.inventory.tables import UtcDateTime

# The rows travel as one JSON parameter. To compile thousands of parameters took 100 ms a batch, all of
# it under the write lock: a write of the service then waited up to 1.7 s for its turn.
SQLITE_ITEMS = text("""
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
SQLITE_MOVEMENTS = text("""
    INSERT INTO movements (item_id, delta, reason, quantity, created_at)
    SELECT items.id, json_extract(value, '$.delta'), json_extract(value, '$.reason'), items.quantity, :now
    FROM json_each(:rows) CROSS JOIN items ON items.sku = json_extract(value, '$.sku')
    WHERE json_extract(value, '$.delta') <> 0
""").bindparams(bindparam("now", type_=UtcDateTime()))

POSTGRESQL_ITEMS = text("""
    INSERT INTO items (sku, name, description, unit_price, quantity, search, created_at, updated_at)
    SELECT sku, name, description, unit_price, quantity, search, CAST(:now AS timestamptz), :now
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row(
        sku text, name text, description text, unit_price bigint, quantity bigint, search text)
    ON CONFLICT (sku) DO UPDATE SET
        name = excluded.name, description = excluded.description, unit_price = excluded.unit_price,
        quantity = excluded.quantity, search = excluded.search, updated_at = excluded.updated_at,
        version = items.version + 1
""").bindparams(bindparam("now", type_=UtcDateTime()))
POSTGRESQL_MOVEMENTS = text("""
    INSERT INTO movements (item_id, delta, reason, quantity, created_at)
    SELECT items.id, row.delta, row.reason, items.quantity, CAST(:now AS timestamptz)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row(sku text, delta bigint, reason text)
    JOIN items ON items.sku = row.sku
    WHERE row.delta <> 0
""").bindparams(bindparam("now", type_=UtcDateTime()))


def writes(connection: Connection) -> tuple[TextClause, TextClause]:
    """The statement for the items and the one for the movements; both take `rows` and `now`."""
    if connection.dialect.name == "postgresql":
        return POSTGRESQL_ITEMS, POSTGRESQL_MOVEMENTS
    return SQLITE_ITEMS, SQLITE_MOVEMENTS


def lock_items(connection: Connection) -> None:
    """Keeps others from changing items until the transaction ends, as SQLite does by itself.

    Stock that changed after the batch read it would be overwritten; reads go on.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE items IN EXCLUSIVE MODE"))
