"""A PostgreSQL server of the tests' own, on a free port of 127.0.0.1, in a folder that goes with it."""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.support.deadlines import PATIENCE_SECONDS
from tests.support.ports import free_port

USER, PASSWORD = "shop", "s3cret"
# Its data does not outlive the tests: no fsync.
OPTIONS = {"fsync": "off", "max_connections": "60", "max_wal_size": "256MB", "log_min_messages": "warning"}


def find_programs() -> Path | None:
    """The folder of the newest server installed: Debian has none of it on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


class Server:
    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self.folder = folder
        self.data = folder / "data"
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        # It refuses to run as root, which CI is.
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(folder, user.pw_uid, user.pw_gid)
        self.port = free_port()

    def create(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        command = ["initdb", "--no-sync", "-D", self.data, "-U", USER, "-A", "scram-sha-256", "--pwfile"]
        self._run(*command, password, "--encoding=UTF8", "--locale=C")

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
            **self._as,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = [f"-c{name}={value}" for name, value in OPTIONS.items()]
        place = [
            f"-cport={self.port}",
            "-clisten_addresses=127.0.0.1",
            f"-cunix_socket_directories={self.folder}",
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *place, *options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._as,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=30).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, self.log()
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.05)

    def stop(self) -> None:
        """Ends it at once, with its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=PATIENCE_SECONDS)
            self._process = None

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def url(self, database: str) -> str:
        # Without asking for TLS: asyncpg reports it to the event loop when it is cancelled while it asks.
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
        return self.url(name)


@contextlib.contextmanager
def running(programs: Path) -> Iterator[Server]:
    # Not pytest's own folders: other users cannot enter them.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        Path(folder).chmod(0o755)
        server = Server(programs, Path(folder))
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.stop()
