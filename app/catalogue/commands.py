"""`python -m app import` and `python -m app demo-data`. What they need is imported when they run."""

import contextlib
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer

from app.settings import load_settings

Format = Literal["csv", "ndjson"]
FORMATS: dict[str, Format] = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}


def register(cli: typer.Typer) -> None:
    cli.command("import")(import_catalogue)
    cli.command("demo-data")(demo_data)


def import_catalogue(
    file: Annotated[str, typer.Argument(help="A CSV or NDJSON file; - reads standard input.")],
    format: Annotated[Format | None, typer.Option(help="Needed where no extension tells it.")] = None,
) -> None:
    """Load a catalogue: sku, name and, if you like, description, unit_price, quantity."""
    from app.catalogue.source import file_source
    from app.catalogue.terminal import load_and_tell

    url = load_settings().database_url
    kind = format or _format_of(file)
    with _open(file) as content:
        source = file_source("stdin" if file == "-" else file, content, kind)
        raise typer.Exit(load_and_tell(source, url))


def demo_data(count: Annotated[int, typer.Option(min=1, help="How many items, at most.")] = 5000) -> None:
    """Fill the database with the packages of this Debian machine; migrates it first."""
    from app.catalogue.source import package_source
    from app.catalogue.terminal import load_and_tell
    from app.migrations.migrate import MigrationError, upgrade

    url = load_settings().database_url
    try:
        upgrade(url)
    except MigrationError as error:
        raise SystemExit(str(error)) from None
    raise typer.Exit(load_and_tell(package_source(count), url))


def _format_of(file: str) -> Format:
    try:
        return FORMATS[Path(file).suffix.lower()]
    except KeyError:
        name = "standard input" if file == "-" else file
        sentence = f"the name of {name} does not tell its format; add --format csv or --format ndjson"
        raise SystemExit(sentence) from None


def _open(file: str) -> AbstractContextManager[BinaryIO]:
    try:
        return contextlib.nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb")
    except OSError as error:
        raise SystemExit(f"{file} cannot be read: {error.strerror}") from None
