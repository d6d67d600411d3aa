"""A project of somebody else's, in a folder of its own, and `coachman run` in it."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support.deadlines import COMMAND_SECONDS
from tests.support.service import REPOSITORY, Service

MAIN = """
    import os
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/")
    def hello():
        return {"pid": os.getpid()}
"""


class Foreground(Service):
    """`coachman run ARGUMENTS` in a folder with these files. The addresses are flags, nothing else is set."""

    def __init__(self, folder: Path, *arguments: str, python: str = sys.executable, **files: str) -> None:
        super().__init__(folder)
        self.config = None  # its constants are those that ship
        self.folder = folder / "project"
        for name, text in (files or {"main.py": MAIN}).items():
            self.write(name, text)
        self._command_line = [python, "-m", "coachman", "run", *arguments]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("COACHMAN_")}
        self.environment = kept | {"COACHMAN_LOG_FORMAT": "text", "PYTHONPATH": str(REPOSITORY)}
        self.own_addresses = ["--port", str(self.port), "--ops-bind", f"127.0.0.1:{self.ops_port}"]

    def write(self, name: str, text: str) -> None:
        """A file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command_line, *self.own_addresses],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command in the same folder."""
        return subprocess.run(
            [*self._command_line[:3], *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )


class Installed(Foreground):
    """`coachman run` by the command that the wheel has installed; the repository is nowhere on its path."""

    def __init__(self, folder: Path, python: Path) -> None:
        super().__init__(folder, python=str(python))
        self.versions: dict[str, str] = {}  # of the packages there
        self.command = str(python.with_name("coachman"))
        self._command_line = [self.command, "run"]
        kept = ("HOME", "LANG", "PATH", "TMPDIR")
        self.environment = {key: os.environ[key] for key in kept if key in os.environ}
        self.environment["COACHMAN_LOG_FORMAT"] = "text"

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.command, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
