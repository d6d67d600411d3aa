"""The operator's command."""

from typing import Annotated

import typer

import coachman
from coachman.cli._instance import choose
from coachman.cli.check import check
from coachman.cli.doctor import doctor
from coachman.cli.export import export
from coachman.cli.handover import handover
from coachman.cli.install import install, uninstall
from coachman.cli.kill_worker import kill_worker
from coachman.cli.machine import list_applications, print_nginx, print_units
from coachman.cli.project_scripts import keys, migrate
from coachman.cli.release import release, releases, rollback
from coachman.cli.routes import routes
from coachman.cli.scale import scale
from coachman.cli.show import show
from coachman.cli.status import status
from coachman.cli.top import top

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # paragraphs of help fill the terminal's width
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"Coachman {coachman.__version__}")
        raise typer.Exit


@cli.callback()
def main(
    name: Annotated[
        str, typer.Option("--name", "-n", help="The application of that name, of several on this machine.")
    ] = "",
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Runs and looks after FastAPI applications on one machine."""
    choose(name)


cli.command()(check)
cli.command()(routes)
cli.command()(status)
cli.command()(top)
cli.command()(handover)
cli.command()(scale)
cli.command()(kill_worker)
cli.command()(show)
cli.command()(migrate)
cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})(keys)
cli.command()(install)
cli.command()(uninstall)
cli.command("list")(list_applications)
cli.command("units")(print_units)
cli.command("nginx")(print_nginx)
cli.command()(doctor)
cli.command()(export)
cli.command()(release)
cli.command()(rollback)
cli.command()(releases)
