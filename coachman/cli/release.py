"""`coachman release`, `rollback` and `releases`: on a machine that `coachman install` has set up."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from coachman.cli._instance import chosen
from coachman.cli._service import fail
from coachman.releases import deploy
from coachman.releases.command import RefusedError
from coachman.releases.disk import KEPT
from coachman.releases.layout import Layout, Release
from coachman.releases.origin import Origin

Restart = Annotated[
    bool, typer.Option("--restart", help="Restart instead of a handover: clients wait, none is refused.")
]

Source = Annotated[
    str, typer.Argument(metavar="[SOURCE]", help="A folder, a tarball, a folder of wheels or a git URL.")
]
Ref = Annotated[str, typer.Option(help="The tag, branch or commit of a checkout or a git URL.")]
Package = Annotated[str | None, typer.Option(help="The package of a workspace that is served.")]


def release(
    source: Source = ".",
    ref: Ref = "",
    package: Package = None,
    wheels: Annotated[
        Path | None, typer.Option(help="A folder to install packages from, instead of the package index.")
    ] = None,
    keep: Annotated[int, typer.Option(min=2, help="How many releases stay on the disk.")] = KEPT,
    restart: Restart = False,
) -> None:
    """Make a release of a project and move the service to it, without losing a request.

    A project is a folder or a tarball with a requirements.txt, uv.lock, pylock.toml, poetry.lock or
    pyproject.toml; or a git URL, as pip writes it: https://example.com/shop.git@v1.2.

    The release is built, checked and migrated while the present one serves. When anything fails, the present
    one stays. Exit code: 0 the new release serves, 1 it was refused.
    """

    def make(layout: Layout) -> Release:
        origin = Origin.of(source, ref=ref, package=package)
        return deploy.release(layout, origin, _Steps(), wheels=wheels, keep=keep, restart=restart)

    _finish(make)


def rollback(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="The release to go back to; by default the one before."),
    ] = None,
    restart: Restart = False,
) -> None:
    """Move the service back to an earlier release, without losing a request. The database stays as it is."""
    _finish(lambda layout: deploy.rollback(layout, name, _Steps(), restart=restart))


def releases(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """List the releases on this machine."""
    layout = Layout.of(chosen())
    serving = layout.serving()
    if as_json:
        for one in layout.complete():
            print(json.dumps({"id": one.id, "current": one == serving, **one.facts()}))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("release", "", "made at", "by", "of", "commit"):
        table.add_column(heading, no_wrap=heading in ("release", "commit"))
    for one in layout.complete():
        facts = one.facts()
        table.add_row(
            *(one.id, "current" if one == serving else "", facts["made_at"], facts["by"], facts["source"]),
            facts.get("commit", ""),  # of a release of an earlier version there is none
        )
    Console().print(table)


class _Steps:
    """Prints each step with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, step: str) -> None:
        first, *rest = step.splitlines() or [""]
        typer.echo(f"{time.monotonic() - self._began:7.1f} s  {first}")
        for line in rest:
            typer.echo(f"{'':11}{line}")


def _finish(procedure: Callable[[Layout], Release]) -> None:
    layout = Layout.of(chosen())
    if os.geteuid():
        fail("Releases belong to root: run this with sudo.")
    if not layout.root.is_dir():
        fail(f"There is no {layout.root}: `{layout.instance.command} install` first.")
    before = layout.serving()
    try:
        procedure(layout)
    except RefusedError as error:
        typer.echo(str(error), err=True)
        stands = f"Release {before.id} is current as before" if before else "There is no release yet"
        fail(f"Refused. {stands}.")
