"""Items and movements."""

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "items",
        sa.Column("id", ID, nullable=False),
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("unit_price", sa.BigInteger()),
        sa.Column("quantity", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("search", sa.Text(), nullable=False),
        sa.CheckConstraint("quantity BETWEEN 0 AND 9007199254740991", name=op.f("ck_items_quantity")),
        sa.CheckConstraint("unit_price >= 0", name=op.f("ck_items_unit_price")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
        sa.UniqueConstraint("sku", name=op.f("uq_items_sku")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "movements",
        sa.Column("id", ID, nullable=False),
        sa.Column("item_id", ID, nullable=False),
        sa.Column("delta", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(20), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.CheckConstraint("delta <> 0", name=op.f("ck_movements_delta")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_movements_item_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_movements")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_movements_idempotency_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_movements_item_id"), "movements", ["item_id"])


def downgrade() -> None:
    op.drop_table("movements")
    op.drop_table("items")
