"""Backup and restore of a PostgreSQL database, by its own programs."""

import os
import subprocess
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.maintenance import MaintenanceError
from durable_database.location import name_of


def backup(url: str, file: Path) -> None:
    partial = file.with_name(f"{file.name}.partial")
    try:
        _run(url, "pg_dump", "--format=custom", "--no-owner", f"--file={partial}")
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)


def restore(url: str, file: Path) -> None:
    with file.open("rb") as start:
        if start.read(5) != b"PGDMP":
            raise MaintenanceError(f"{file} is no backup of PostgreSQL; the database stays as it is")
    # All of it or nothing; who reads meanwhile waits.
    options = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error")
    _run(url, "pg_restore", *options, str(file))


def _run(url: str, program: str, *arguments: str) -> None:
    parameters: dict[str, Any] = conninfo_to_dict(url)
    # Any user of the machine can read the arguments of a process, not its environment.
    password = {"PGPASSWORD": str(parameters.pop("password"))} if "password" in parameters else {}
    command = [program, f"--dbname={make_conninfo(**parameters)}", *arguments]
    try:
        done = subprocess.run(
            command, env=os.environ | password, stderr=subprocess.PIPE, text=True, check=False
        )
    except FileNotFoundError:
        raise MaintenanceError(f"{program} is not installed; run: apt install postgresql-client") from None
    if done.returncode:
        reason = done.stderr.strip().partition("\n")[0] or f"exit status {done.returncode}"
        raise MaintenanceError(f"the database {name_of(url)}: {reason}")
