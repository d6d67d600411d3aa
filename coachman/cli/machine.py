"""`coachman list`, `units` and `nginx`: which applications are on this machine, and their files."""

import json
import re
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from coachman.cli._instance import Name, chosen, finish
from coachman.cli._service import fail
from coachman.cli.install import Bind, OpsBind, Sealed
from coachman.machine import units
from coachman.machine.install import Requested, wanted_units
from coachman.releases.command import RefusedError
from coachman.releases.instance import Instance
from coachman.releases.layout import Layout
from coachman.releases.systemd_service import Service


def list_applications(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """List the applications on this machine."""
    rows = [_facts(instance) for instance in units.installed()]
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    if not rows:
        typer.echo("No application is installed on this machine: `coachman install` installs one.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in rows[0]:
        table.add_column(heading)
    for row in rows:
        table.add_row(*(value or "-" for value in row.values()))
    Console().print(table)


def _facts(instance: Instance) -> dict[str, str]:
    service, serving = Service(instance), Layout.of(instance).serving()
    public, ops = map(service.listens_on, instance.sockets)
    return {
        "name": instance.name,
        "unit": instance.service,
        "state": service.state(),
        "address": public,
        "operations": ops,
        "release": serving.id if serving else "",
        "network": "sealed" if units.is_sealed(instance) else "open",
    }


def print_units(
    name: Name = "",
    as_text: Annotated[
        bool, typer.Option("--print", help="Print the files whole, for who manages machines by other means.")
    ] = False,
    sealed: Sealed = None,
    bind: Bind = None,
    ops_bind: OpsBind = None,
) -> None:
    """Say which units and drop-ins an application has, and whether they are as they were installed.

    With --print: what it would install, with these options.
    """
    instance = chosen(name)
    requested = Requested(sealed=sealed, bind=bind, ops_bind=ops_bind)
    finish(lambda: _print_files(instance, requested) if as_text else _print_states(instance))


def print_nginx(
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="The name that clients ask for, such as shop.example.")
    ],
    name: Name = "",
) -> None:
    """Print nginx's file for an application under a host name, over TLS; its head says where it goes."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host):
        fail(f"{host} is refused: it must be a host name.")
    typer.echo(units.nginx(chosen(name), host), nl=False)


def _print_files(instance: Instance, requested: Requested) -> None:
    for path, text in (units.account(instance), *wanted_units(instance, requested).items()):
        typer.echo(f"# {path}\n{text}")


def _print_states(instance: Instance) -> None:
    if instance not in units.installed():
        raise RefusedError(f"{instance.id} is not installed: `{instance.command} install` does it.")
    for path, state in units.states(instance):
        typer.echo(f"{path}: {state}")
