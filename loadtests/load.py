"""A generator process, seen by the process that measures."""

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from loadtests.samples import Samples, read_lag_ms

ANSWER_SECONDS = 60.0
REPOSITORY = Path(__file__).parents[1]


class LoadError(Exception):
    """Why there was no load, in one sentence."""


class Outcome(NamedTuple):
    samples: Samples
    undone: int  # were due, and no user was free to send them
    unfinished: int  # sent, and without an answer at the end
    ledger: list[dict[str, Any]]  # of bookings, where it was asked for


class Load:
    """Starts a generator with fresh connections; `begin` and `end` are the load's first and last moment."""

    def __init__(
        self,
        profile: str,
        url: str,
        *,
        users: int,
        rate: float | None = None,
        seed: int | None = None,
        ledger: bool = False,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="loadtests-")
        self._spec = {
            "profile": profile,
            "url": url,
            "users": users,
            "rate": rate,
            "seed": seed,
            "ledger": ledger,
            "folder": self._folder.name,
        }
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._errors = Path(self._folder.name, "stderr")
        self.progress: dict[str, int] = {"requests": 0, "failures": 0}

    def __enter__(self) -> Self:
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "loadtests.generator"],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C is for us: what was measured so far is to be kept
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self) -> float:
        """Sends the first requests, and returns the time of it."""
        self._expect("ready")
        self._say(json.dumps(self._spec))
        return float(self._expect("started")["at"])

    def end(self) -> Outcome:
        self._say("stop")
        facts = self._expect("stopped")
        folder = Path(self._folder.name)
        ledger = folder / "ledger.jsonl"
        return Outcome(
            Samples.read(folder / "requests.bin", facts["names"], facts["kinds"]),
            facts["undone"],
            facts["unfinished"],
            [json.loads(line) for line in ledger.open()] if ledger.exists() else [],
        )

    def lag_ms(self, begin: float, end: float) -> float | None:
        """Returns how late the generator itself was in a window. To be called after `end`."""
        return read_lag_ms(Path(self._folder.name, "lag.bin"), begin, end)

    def check(self) -> None:
        """Raises LoadError when the generator has ended by itself."""
        if self._process.poll() is not None:
            raise self._failure()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def _expect(self, event: str) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                facts = self._events.get(timeout=left)
            except queue.Empty:
                break
            if facts["event"] == event:
                return facts
            if facts["event"] == "ended":
                raise self._failure()
        raise LoadError(f"The load generator did not say {event!r} within {ANSWER_SECONDS:g} s.")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            facts = json.loads(line)
            if facts["event"] == "tick":
                self.progress = facts
            else:
                self._events.put(facts)
        self._events.put({"event": "ended"})

    def _failure(self) -> LoadError:
        self._process.wait(ANSWER_SECONDS)
        lines = self._errors.read_text().strip().splitlines()
        return LoadError(lines[-1] if lines else f"The load generator ended ({self._process.returncode}).")
