"""`coachman install` and `coachman uninstall`: an application under systemd on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from coachman.cli._instance import Name, chosen, finish
from coachman.cli.release import Package, Ref, Source
from coachman.machine import install as installation
from coachman.machine import uninstall as removal
from coachman.machine.changes import Changes
from coachman.releases.instance import Instance
from coachman.releases.systemd_service import Service

Sealed = Annotated[
    bool | None,
    typer.Option(
        "--sealed/--open", help="Whether no network can be reached; one can, where nothing is said."
    ),
]
Bind = Annotated[str | None, typer.Option(metavar="HOST:PORT|unix:/PATH", help="Where it is served.")]
OpsBind = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where its status and metrics are served.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def install(
    source: Source = ".",
    ref: Ref = "",
    package: Package = None,
    name: Name = "",
    app: Annotated[
        str, typer.Option(metavar="MODULE:APP", help="The application, where it is not found.")
    ] = "",
    wheels: Annotated[
        Path | None, typer.Option(help="A folder to install packages from, instead of the package index.")
    ] = None,
    sealed: Sealed = None,
    bind: Bind = None,
    ops_bind: OpsBind = None,
    dry_run: DryRun = False,
) -> None:
    """Make this machine serve an application: user, folders, units and the first release.

    Run it again for a newer Coachman, or other options: settings, data and what no option names stay as they
    are. Exit code: 0 it serves, 1 it does not, for the reason in the last lines.
    """
    instance = chosen(name)
    requested = installation.Requested(
        source, ref, package, app, wheels and wheels.absolute(), sealed, bind, ops_bind
    )
    finish(lambda: installation.install(instance, requested, Changes(is_dry=dry_run)))
    if not dry_run:
        _summarize(instance, source)


def uninstall(
    name: Name = "",
    data: Annotated[bool, typer.Option("--data", help="Remove its settings, data and user, too.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Take an application off this machine. Settings and data stay, unless --data is given."""
    instance = chosen(name)
    finish(lambda: removal.uninstall(instance, Changes(is_dry=dry_run), with_data=data))
    if dry_run:
        return
    if data:
        typer.echo(f"{instance.id} is gone, with its settings and data.")
    else:
        left = f"rm -r {instance.configuration} {instance.state}; userdel {instance.id}"
        typer.echo(f"{instance.id} is gone. Its settings and data are still there: {left}")


def _summarize(instance: Instance, source: str) -> None:
    address = Service(instance).listens_on(instance.sockets[0])
    url = f"--unix-socket {address} http://localhost/" if address.startswith("/") else f"http://{address}/"
    typer.echo(f"""
The service is there, and comes up at each boot.
    try        curl -s {url}
    look       {instance.command} status; journalctl -u {instance.id}
    settings   {instance.settings}      then: systemctl reload {instance.id}
    data       {instance.state}
    releases   {instance.root}/releases      next: {instance.command} release {source}
    remove     {instance.command} uninstall""")
