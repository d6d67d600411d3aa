"""`python -m coachman` is the `coachman` command."""

from coachman.cli import cli

cli(prog_name="coachman")
