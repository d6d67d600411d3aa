"""The operator's command."""

import typer

from coachman.cli.check import check
from coachman.cli.handover import handover
from coachman.cli.keys import keys
from coachman.cli.kill_worker import kill_worker
from coachman.cli.migrate import migrate
from coachman.cli.release import release, releases, rollback
from coachman.cli.scale import scale
from coachman.cli.serve import serve
from coachman.cli.status import status

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Looks after a Coachman service.",
)
cli.command()(check)
cli.command()(serve)
cli.command()(status)
cli.command()(handover)
cli.command()(scale)
cli.command()(kill_worker)
cli.command()(migrate)
cli.command()(release)
cli.command()(rollback)
cli.command()(releases)
cli.add_typer(keys, name="keys")
