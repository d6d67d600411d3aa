"""`coachman keys`: who may write."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from coachman.cli import keys_file as store
from coachman.cli._service import refusal

keys = typer.Typer(no_args_is_help=True, help="Keys that clients send as Authorization: Bearer KEY.")

Name = Annotated[str, typer.Argument(help="Whose key it is.")]


class Scope(StrEnum):
    READ = "read"
    WRITE = "write"


@keys.command()
def add(
    name: Name, scope: Annotated[Scope, typer.Option(help="What the key is good for.")] = Scope.WRITE
) -> None:
    """Make a key, and show it this once."""
    file = store.file_of_service()
    try:
        key = store.add(file, name, scope)
    except store.KeysError as error:
        raise refusal(str(error)) from None
    print(key)
    typer.echo(
        f"This is shown once: {file} keeps its hash. The service takes it up at its next reload.", err=True
    )


@keys.command("list")
def list_keys() -> None:
    """Show the names and scopes; what the keys are is not known."""
    file = store.file_of_service()
    try:
        lines = store.read(file)
    except store.KeysError as error:
        raise refusal(str(error)) from None
    if not lines:
        print(f"There is no key in {file}; `coachman keys add NAME` makes one.")
        return
    table = Table("name", "scope", "made", box=None, pad_edge=False)
    for line in lines:
        table.add_row(line.name, line.scope, line.made)
    Console(highlight=False).print(table)


@keys.command()
def revoke(name: Name) -> None:
    """Make a key worthless from the next reload on."""
    file = store.file_of_service()
    try:
        store.revoke(file, name)
    except store.KeysError as error:
        raise refusal(str(error)) from None
    print(f"The key {name} is revoked from the next reload on.")
