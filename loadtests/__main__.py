"""`python -m loadtests`: how many workers to run, and what a killed one costs."""

import signal

import typer

from loadtests.commands.calibrate import calibrate
from loadtests.commands.compare import compare
from loadtests.commands.drill import drill
from loadtests.commands.report import report

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Load tests. Linux, and the service on this machine.",
)
cli.command()(compare)
cli.command()(drill)
cli.command()(report)
cli.command()(calibrate)

if __name__ == "__main__":
    # As Ctrl-C: what was measured is kept, and services and generators are ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli()
