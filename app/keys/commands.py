"""`python -m app keys`, which `coachman keys` runs: makes, lists and revokes the keys of clients."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.keys import file as keys_file
from app.settings import installed_keys, load_settings

cli = typer.Typer(no_args_is_help=True, help="Keys that clients send as Authorization: Bearer KEY.")

Name = Annotated[str, typer.Argument(help="Whose key it is.")]


class Scope(StrEnum):
    READ = "read"
    WRITE = "write"


@cli.command()
def add(name: Name, scope: Annotated[Scope, typer.Option(help="What the key allows.")] = Scope.WRITE) -> None:
    """Make a key and show it, once."""
    file = _file()
    try:
        key = keys_file.add(file, name, scope)
    except keys_file.KeysError as error:
        raise SystemExit(str(error)) from None
    print(key)
    typer.echo(
        f"This is shown once: {file} keeps its hash. The service accepts it from its next reload on.",
        err=True,
    )


@cli.command("list")
def list_keys() -> None:
    """List the names, scopes and days of the keys; only their hashes are kept."""
    file = _file()
    try:
        keys = keys_file.load(file)
    except keys_file.KeysError as error:
        raise SystemExit(str(error)) from None
    if not keys:
        print(f"There is no key in {file}; `coachman keys add NAME` makes one.")
        return
    table = Table("name", "scope", "made", box=None, pad_edge=False)
    for key in keys:
        table.add_row(key.name, key.scope, key.made or "-")
    Console(highlight=False).print(table)


@cli.command()
def revoke(name: Name) -> None:
    """Revoke a key; the service refuses it from its next reload on."""
    file = _file()
    try:
        keys_file.revoke(file, name)
    except keys_file.KeysError as error:
        raise SystemExit(str(error)) from None
    print(f"The key {name} is revoked from the next reload on.")


def _file() -> Path:
    """Returns the file of SHOP_KEYS_FILE, else the installed unit's if there is one, else this folder's."""
    settings = load_settings()
    if "keys_file" not in settings.model_fields_set and installed_keys().parent.is_dir():
        return installed_keys()
    return settings.keys_file
