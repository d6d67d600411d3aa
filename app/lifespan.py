"""What a worker opens before its first request and closes after its last."""

import contextlib
import gc
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
from fastapi import FastAPI

from app.database import Database, sqlite_file
from app.migrations.revision import REVISION
from app.settings import Settings

MIGRATE = "run: python -m app migrate"


class NotReadyError(RuntimeError):
    """Why this process cannot serve, and what to do about it, in one sentence."""


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    settings: Settings = app.state.settings
    anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
    async with open_database(settings.database_url) as database:
        # What exists now lives as long as the worker. Left to the collector, each full collection
        # pauses every request for about 50 ms: p99 under load was 49 ms without this, 8 ms with it.
        gc.collect()
        gc.freeze()
        yield {"database": database}
    gc.unfreeze()


@contextlib.asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """The database, connected and at the revision that this release needs."""
    database = Database(url)
    try:
        await database.connect()
    except sqlite3.Error as error:
        raise NotReadyError(f"database {sqlite_file(url)} cannot be opened: {error}; {MIGRATE}") from None
    try:
        await _require_revision(database, url)
        yield database
    finally:
        await database.disconnect()


async def _require_revision(database: Database, url: str) -> None:
    try:
        found = await database.fetch_val("SELECT version_num FROM alembic_version")
    except sqlite3.Error as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # that one: there is no such table
            raise NotReadyError(f"database {sqlite_file(url)} cannot be read: {error}") from None
        found = None
    if found != REVISION:
        raise NotReadyError(
            f"database {sqlite_file(url)} is at revision {found}, this release needs {REVISION}; {MIGRATE}"
        )
