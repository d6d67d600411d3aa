"""Opens the database and reads the keys before a worker's first request, and closes it after the last."""

import contextlib
import gc
import os
from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
from fastapi import FastAPI

from app import metrics
from app.budget import missing_connections
from app.keys.access import Keys
from app.keys.file import KeysError
from app.keys.file import load as load_keys
from app.migrations.revision import REVISION, is_newer, serves
from app.server import EXPOSED
from app.settings import Settings
from durable_database import Database, sqlite_file
from durable_database.errors import from_database, is_damage, lacks_a_table
from durable_database.location import is_postgresql, name_of, network_file_system

MIGRATE = "run: python -m app migrate"
RESTORE = "move it away and run: python -m app restore FILE"
CORRECT = "start it, or correct SHOP_DATABASE_URL"


class NotReadyError(RuntimeError):
    """Why this process cannot serve, and what to do about it, in one sentence."""


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    settings: Settings = app.state.settings
    anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
    keys = _require_keys(settings)
    opened = open_database(settings.database_url, settings.database_connections, settings.inline_reads)
    async with opened as database:
        # What exists now lives as long as the worker. Left to the collector, each full collection
        # pauses every request for about 50 ms: p99 under load was 49 ms without this, 8 ms with it.
        gc.collect()
        gc.freeze()
        yield {"database": database, "keys": keys}
    gc.unfreeze()


def _require_keys(settings: Settings) -> Keys:
    """Reads the keys; each worker does so when it starts, so that a reload brings in changes."""
    try:
        keys = Keys(load_keys(settings.keys_file), settings.keys_for)
    except KeysError as error:
        raise NotReadyError(f"SHOP_KEYS_FILE={error}") from None
    exposed = os.environ.get(EXPOSED)
    if exposed and not keys and settings.keys_for != "nothing":
        raise NotReadyError(
            f"{exposed} can be reached from other machines and {settings.keys_file} has no key: whoever"
            " reaches it could write; run: coachman keys add NAME, or set SHOP_KEYS_FOR=nothing"
        )
    return keys


@contextlib.asynccontextmanager
async def open_database(url: str, connections: int = 1, inline_reads: bool = True) -> AsyncIterator[Database]:
    """Yields the database, connected and at a revision that this release works with."""
    _require_local_disk(url)
    options: dict[str, Any] = {"size": connections} if is_postgresql(url) else {"inline_reads": inline_reads}
    database = Database(url, observe=metrics.observe, **options)
    try:
        await database.connect()
    except Exception as error:
        if not from_database(error):
            raise
        cure = RESTORE if is_damage(error) else CORRECT if is_postgresql(url) else MIGRATE
        raise NotReadyError(f"database {name_of(url)} cannot be opened: {error}; {cure}") from None
    try:
        await _require_revision(database, url)
        if is_postgresql(url) and (sentence := await missing_connections(database, connections)):
            raise NotReadyError(f"database {name_of(url)}: {sentence}")
        yield database
    finally:
        await database.disconnect()


def _require_local_disk(url: str) -> None:
    if not is_postgresql(url) and (kind := network_file_system(sqlite_file(url))):
        raise NotReadyError(
            f"database {name_of(url)} is on {kind}, a network file system, where SQLite's locks do not hold;"
            " put it on a local disk, or use PostgreSQL"
        )


async def _require_revision(database: Database, url: str) -> None:
    try:
        found = await database.fetch_val("SELECT version_num FROM alembic_version")
    except Exception as error:
        if not from_database(error):
            raise
        if not lacks_a_table(error):
            cure = f"; {RESTORE}" if is_damage(error) else ""
            raise NotReadyError(f"database {name_of(url)} cannot be read: {error}{cure}") from None
        found = None
    if not serves(found):
        cure = "start the release that migrated it" if is_newer(found) else MIGRATE
        raise NotReadyError(
            f"database {name_of(url)} is at revision {found}, this release needs {REVISION}; {cure}"
        )
