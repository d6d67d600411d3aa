"""The entry point of the `coachman` command: what operates a service, and `serve`, which becomes one."""

import sys
from pathlib import Path

from coachman.cli import cli


@cli.command()
def serve() -> None:
    """Serve in this process, without a master: for containers, whose engine supervises and scales."""
    sys.path.insert(0, str(Path.cwd()))  # where Gunicorn looks; a console script does not
    # Imported when it is called: all other commands start without Uvicorn.
    from coachman.standalone import run

    run()


def main() -> None:
    """Runs the command."""
    cli(prog_name="coachman")


if __name__ == "__main__":
    main()
