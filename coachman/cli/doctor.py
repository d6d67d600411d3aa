"""`coachman doctor`: what is wrong on this machine, and what to run next."""

import os

import typer

from coachman.cli._instance import Name, chosen, finish
from coachman.machine import doctor as diagnosis
from coachman.machine import units
from coachman.releases.command import RefusedError
from coachman.releases.instance import Instance


def doctor(name: Name = "") -> None:
    """Say what is wrong with an installed application and its machine, and what to run next. Changes nothing.

    Looks at units and drop-ins, ports, workers, releases, settings, disk, memory, clock, kernel settings and
    certificates. Exit code: 0 nothing is wrong, 1 something is.
    """
    instance = chosen(name)
    raise typer.Exit(1 if finish(lambda: _examine(instance)) else 0)


def _examine(instance: Instance) -> int:
    """Returns how many things are wrong."""
    if os.geteuid():
        raise RefusedError("Some of what is looked at belongs to root: run this with sudo.")
    if instance not in units.installed():
        raise RefusedError(f"{instance.id} is not installed: `{instance.command} install PATH` does it.")
    findings = list(diagnosis.examine(instance))
    for finding in findings:
        typer.echo(f"{finding.what}.\n    {finding.next}")
    for path in diagnosis.drop_ins(instance):
        typer.echo(f"Here is a drop-in of this machine: {path}")
    if not findings:
        typer.echo(f"Nothing is wrong with {instance.id}.")
    return len(findings)
