"""Run by Alembic for each command, on the connection that `migrate` opened."""

from alembic import context

from app.inventory.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    # Without these two a kill in the middle leaves half a migration, and every later run fails on it.
    transactional_ddl=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
