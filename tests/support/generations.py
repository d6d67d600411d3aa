"""A service whose first process ends when it has handed over, and the releases that it hands over to."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

from coachman.state import runtime_dir
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import State
from tests.support import web
from tests.support.deadlines import COMMAND_SECONDS, REQUEST_SECONDS
from tests.support.load import Load
from tests.support.service import APPS, REPOSITORY, Service, children, is_alive, wait_until

RELEASE = """
import asyncio, contextlib, os, pathlib, time
import fastapi
{at_import}

@contextlib.asynccontextmanager
async def lifespan(app):
{at_start}
    yield

app = fastapi.FastAPI(lifespan=lifespan)

@app.get("/pid")
async def pid() -> int:
    return os.getpid()

@app.get("/release")
async def release() -> list[str]:
    return ["{version}", os.environ.get("GREETING", "")]

@app.get("/hold")
async def hold() -> int:
    while pathlib.Path(os.environ["HOLD"]).exists():
        await asyncio.sleep(0.02)
    return os.getpid()

{at_end}
"""
# Each waits at one step of a handover for as long as the file is there.
WAITING_AT_IMPORT = 'while pathlib.Path(os.environ["GATE"]).exists(): time.sleep(0.02)'
WAITING_AT_START = 'while pathlib.Path(os.environ["GATE"]).exists(): await asyncio.sleep(0.02)'

# Reads a request's headers in the lifespan, too, whose scope has none.
UNTYPED_MIDDLEWARE = """
class Tenant:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        dict(scope["headers"])
        await self.app(scope, receive, send)

app.add_middleware(Tenant)
"""

# Each a release that does not come up, and what the operator reads of it.
REFUSED: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "import error": ({"at_import": "raise KeyError('half written')"}, {}, "KeyError: 'half written'"),
    "missing package": ({"at_import": "import not_there"}, {}, "needs the module not_there"),
    "missing attribute": ({}, {"COACHMAN_APP": "shop:other"}, "shop has no application named other"),
    "missing module": ({}, {"COACHMAN_APP": "nowhere:app"}, "there is no module nowhere here"),
    "bad setting": ({}, {"COACHMAN_WORKERS": "many"}, "COACHMAN_WORKERS=many is refused: it must be a whole"),
    "start-up raises": ({"at_start": "raise OSError('no database')"}, {}, "no database"),
    "start-up raises in silence": (
        {
            "at_import": "import logging.config; logging.config.dictConfig({'version': 1})",
            "at_start": "raise OSError('no database')",
        },
        {},
        "The application failed: no database",
    ),
    "start-up hangs": ({"at_start": "await asyncio.sleep(3600)"}, {}, "not ready after 1 s (COACHMAN_BOOT"),
    "start-up exits": ({"at_start": "os._exit(7)"}, {}, "exited with code 7"),
    "start-up refuses": ({"at_start": "raise SystemExit('no licence file')"}, {}, "no licence file"),
    "start-up in middleware": ({"at_end": UNTYPED_MIDDLEWARE}, {}, "The application failed: 'headers' ("),
    "crash once started": (
        {"at_start": "asyncio.get_running_loop().call_later(0.2, os._exit, 8)"},
        {},
        "exited with code 8",
    ),
}
# The reason is also in the sentence that says so, which comes last.
REASON_COMES_LAST = {
    *("import error", "missing package", "missing attribute", "missing module", "bad setting"),
    *("start-up raises", "start-up refuses"),
}


class Generations(Service):
    """Two workers, and an application in a file that `release` replaces."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        super().__init__(
            folder,
            *arguments,
            **{
                "COACHMAN_APP": "shop:app",
                "COACHMAN_WORKERS": "2",
                "COACHMAN_KEEPALIVE_SECONDS": "1",
                # What waits in a test, for as long as its commands take, is not to be ended for it.
                "COACHMAN_DRAIN_SECONDS": "60",
                "COACHMAN_BOOT_SECONDS": "300",
                "GATE": str(folder / "gate"),
                "HOLD": str(folder / "hold"),
                "PYTHONPATH": f"{folder}:{APPS}",
                **settings,
            },
        )
        self.runtime_dir = Path(self.environment["COACHMAN_RUNTIME_DIR"])
        self.gate, self.hold = folder / "gate", folder / "hold"
        self._code, self._releases = folder / "shop.py", 0
        self.release("1")

    def release(self, version: str, *, at_import: str = "", at_start: str = "", at_end: str = "") -> None:
        text = RELEASE.format(
            version=version, at_import=at_import, at_start=indent(at_start, "    "), at_end=at_end
        )
        self._code.write_text(text)
        # Python compares the second and the size of a source, and releases here follow each other fast.
        self._releases += 1
        os.utime(self._code, (self._releases, self._releases))

    def masters(self) -> list[Scoreboard]:
        """Of the living ones, the newest first."""
        return runtime_dir.scoreboards(self.runtime_dir)

    def pids(self) -> set[int]:
        """Every process that has come of this service and lives."""
        found = set()
        for process in Path("/proc").iterdir():  # a glob would fail over one that ends meanwhile
            if process.name.isdigit():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    state, _, group = (process / "stat").read_text().rpartition(") ")[2].split()[:3]
                    if int(group) == self.process.pid and state != "Z":
                        found.add(int(process.name))
        return found

    def is_ready(self) -> bool:
        self.process.poll()
        assert self.pids(), f"nobody is left\n{self.log()}"
        return web.get(f"{self.ops_url}/readyz").status_code == 200

    def wait_for_sole_master(self, pid: int) -> Scoreboard:
        """Until it and its workers are all that is left of the service."""

        def is_alone() -> bool:
            self.process.poll()
            return is_alive(pid) and self.pids() == {pid, *children(pid)}

        assert wait_until(is_alone), f"{self.pids()}\n{self.log()}"
        return self.masters()[0]

    def is_at(self, step: str) -> bool:
        """Whether a handover is at this step."""
        if step == "check":
            return any(b"\0check\0" in _command_line(pid) for pid in self.pids())
        boards = self.masters()
        if len(boards) < 2:
            return False
        state = {"start": State.STARTING, "probation": State.READY}[step]
        return [row.state for _, row in boards[0].rows() if row.pid] == [state] * boards[0].service.workers

    def wait_for_step(self, step: str) -> int:
        """The pid of the new master, or of the fork that is to become it."""
        assert wait_until(lambda: self.is_at(step)), f"no {step}\n{self.log()}"
        old = self.masters()[-1]
        [new] = children(old.service.pid) - {row.pid for _, row in old.rows()}
        return new

    def wait_for_generation(self, number: int) -> int:
        """The pid of its master, which may still be on trial. It does not go unseen, as a step may."""
        reached = wait_until(lambda: self.masters()[0].service.generation == number)
        assert reached, f"no generation {number}\n{self.log()}"
        return self.masters()[0].service.pid

    def begin_handover(self, step: str) -> int:
        """To release 2, up to this step, where it waits until the gate is gone; probation does not wait."""
        waits = {"check": {"at_import": WAITING_AT_IMPORT}, "start": {"at_start": WAITING_AT_START}}
        self.gate.touch()
        self.release("2", **waits.get(step, {}))
        self.signal_master(signal.SIGUSR2)
        return self.wait_for_step(step)

    def released(self) -> list[str]:
        """Which release answers, and with which greeting."""
        answer: list[str] = web.get(f"{self.url}/release").json()
        return answer

    @contextlib.contextmanager
    def loaded(self, pause: float = 0.06) -> Iterator[tuple[Load, Load]]:
        """With clients that keep their connections, and with others that do not."""
        with (
            Load(self.port, "/pid", clients=4, pause=pause) as kept,
            Load(self.port, "/pid", clients=2, keep_alive=False, pause=pause) as one_shot,
        ):
            yield kept, one_shot

    def assert_no_failure(self, *loads: Load) -> None:
        for load in loads:
            assert set(load.outcomes) == {"success"}, f"{load.outcomes} {load.failures}\n{self.log()}"

    def assert_only_the_first_generation_is_left(self, workers: set[int]) -> None:
        """Its workers are the same, and neither a process nor a file of the refused one remains."""
        [master] = self.masters()
        assert master.service.generation == 1
        assert self.worker_pids() == workers, f"the old workers were touched\n{self.log()}"
        assert wait_until(lambda: self.pids() == {self.process.pid, *workers}), f"{self.pids()}\n{self.log()}"
        assert set(self.files()) <= {f"scoreboard.{self.process.pid}", "handover.log"}, self.files()

    def files(self) -> list[str]:
        """In the runtime directory, but for the folder of what goes on from generation to generation."""
        return sorted(path.name for path in self.runtime_dir.iterdir() if path.name != "ops")

    def signal_master(self, signum: int) -> None:
        os.kill(self.masters()[-1].service.pid, signum)

    def command(
        self, *arguments: str, output: int = subprocess.PIPE, **environment: str
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "coachman", *arguments],
            cwd=REPOSITORY,
            env=self.environment | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def coachman(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """The exit code and what was printed."""
        return finish(self.command(*arguments, **environment))

    def end(self) -> None:
        masters = {master.service.pid for master in self.masters()}
        if self.process.poll() is None:
            masters.add(self.process.pid)  # whose scoreboard may be gone
        for pid in masters:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: self.process.poll() is not None and not self.pids(), seconds=REQUEST_SECONDS)
        super().end()


def finish(command: "subprocess.Popen[str]") -> tuple[int, str]:
    with command:  # a process that nobody has waited for would fail another test, by a warning
        try:
            printed, _ = command.communicate(timeout=COMMAND_SECONDS)
        finally:
            command.kill()
    return command.returncode, printed


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
