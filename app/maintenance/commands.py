"""`python -m app backup`, `restore` and `copy-to`. What they need is imported when they run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from app.settings import load_settings
from durable_database.location import is_postgresql, name_of

File = Annotated[Path, typer.Argument(help="The backup.")]


def register(cli: typer.Typer) -> None:
    cli.command()(backup)
    cli.command()(restore)
    cli.command("copy-to")(copy_to)


def backup(file: File) -> None:
    """Copy the database into a new file, while the service serves."""
    from app.maintenance import postgresql, sqlite_backup

    url = load_settings().database_url
    with _one_sentence():
        if file.exists():
            raise SystemExit(f"{file} exists already and stays as it is; name another file")
        (postgresql if is_postgresql(url) else sqlite_backup).backup(url, file)
    print(f"{name_of(url)} is copied to {file} ({file.stat().st_size:,} bytes)")


def restore(file: File) -> None:
    """Put a backup in the place of what the database holds, all at once."""
    from app.maintenance import postgresql, sqlite_backup
    from app.migrations.migrate import upgrade

    url = load_settings().database_url
    with _one_sentence():
        if not file.is_file():
            raise SystemExit(f"there is no file {file}; the database stays as it is")
        kept = (postgresql if is_postgresql(url) else sqlite_backup).restore(url, file)
        upgrade(url)
    print(f"{name_of(url)} holds what {file} does" + (f"; what it held is in {kept}" if kept else ""))


def copy_to(
    target: Annotated[
        str, typer.Argument(help="postgresql://USER@HOST/DATABASE; PGPASSWORD has the password.")
    ],
) -> None:
    """Copy the SQLite file into an empty PostgreSQL database, and compare."""
    from app.maintenance.copying import copy

    url = load_settings().database_url
    with _one_sentence():
        counts = copy(url, target)
    told = ", ".join(f"{count:,} {table}" for table, count in counts.items())
    print(f"{name_of(url)} is copied to {name_of(target)}, and the same there: {told}")


@contextlib.contextmanager
def _one_sentence() -> Iterator[None]:
    from app.maintenance import MaintenanceError
    from app.migrations.migrate import MigrationError

    try:
        yield
    except (MaintenanceError, MigrationError) as error:
        raise SystemExit(str(error)) from None
    except OSError as error:
        raise SystemExit(f"{error.filename}: {error.strerror}") from None
