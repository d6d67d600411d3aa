"""Brings a database to this release's schema, once, however many processes and hosts start together."""

from contextlib import AbstractContextManager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext

from app.migrations import MigrationError
from app.migrations.revision import REVISION, is_newer, serves
from durable_database.location import is_postgresql, name_of

__all__ = ["MigrationError", "alembic_config", "opened", "upgrade"]


def upgrade(database_url: str) -> str | None:
    """Brings the database to this release's revision, returns the one it was at: None when it was new."""
    with opened(database_url) as connection:
        with connection.begin():
            before = MigrationContext.configure(connection).get_current_revision()
        if is_newer(before):
            _require_service(before, database_url)
        else:
            command.upgrade(alembic_config(connection), "head")
        return before


def opened(database_url: str) -> AbstractContextManager[sa.Connection]:
    """Returns a connection for one migration at a time; its errors are MigrationErrors."""
    if is_postgresql(database_url):
        from app.migrations import postgresql

        return postgresql.opened(database_url)
    from app.migrations import sqlite_file

    return sqlite_file.opened(database_url)


def _require_service(found: str | None, url: str) -> None:
    if not serves(found):
        raise MigrationError(
            f"the database {name_of(url)} is at revision {found}, this release knows {REVISION}: "
            "start the release that migrated it, or restore a backup from before"
        )


def alembic_config(connection: sa.Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
