"""The operator's command."""

import typer

from coachman.cli.check import check

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Looks after a Coachman service.",
)
cli.command()(check)


@cli.callback()
def main() -> None:
    """Runs before each command. Its being here keeps `check` a command while it is the only one."""
