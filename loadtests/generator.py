"""A Locust process of its own for each measurement: `python -m loadtests.generator`, a spec on stdin.

It answers in JSON lines: ready, started, a tick four times a second, stopped. A second line on stdin, or
its end, stops it. The caller is plain Python: gevent stays on this side of the pipe.
"""

import json
import logging
import signal
import sys
from array import array
from pathlib import Path
from time import perf_counter
from typing import Any

from loadtests.users import PROFILES, Clerk, StrictUser  # first: gevent has to replace the sockets

# isort: split
import gevent
from gevent.fileobject import FileObjectThread
from locust.env import Environment

from loadtests.recorder import Recorder
from loadtests.selfcheck import require_strict_client
from loadtests.users.arrivals import Arrivals
from loadtests.users.items import NoItemsError, stock_up

TICK_SECONDS = 0.25
PROBE_SECONDS = 0.01
DRAIN_SECONDS = 15.0


class Lag:
    """How late this process's own loop is: the bound on how wrong its latencies can be."""

    def __init__(self) -> None:
        self.times, self.overshoots = array("d"), array("d")
        gevent.spawn(self._probe)

    def _probe(self) -> None:
        while True:
            begun = perf_counter()
            gevent.sleep(PROBE_SECONDS)
            now = perf_counter()
            self.times.append(now)
            self.overshoots.append(now - begun - PROBE_SECONDS)


class Generator:
    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        user = PROFILES[spec["profile"]]
        self._environment = Environment(user_classes=[user], host=spec["url"], catch_exceptions=False)
        self._recorder = Recorder(self._environment)
        self._runner = self._environment.create_local_runner()
        if user.needs_items:
            stock_up(spec["url"])
        if spec.get("ledger"):
            Clerk.ledger = []

    def run(self, until: gevent.event.Event) -> None:
        if self._spec["rate"]:
            StrictUser.arrivals = Arrivals(self._spec["rate"], self._spec.get("seed"))
        lag = Lag()
        say("started", at=perf_counter())
        self._runner.start(self._spec["users"], spawn_rate=self._spec["users"])
        while not until.wait(TICK_SECONDS):
            say("tick", requests=self._recorder.count, failures=sum(self._recorder.failures.values()))
        undone, unfinished = self._drain()
        self._write(lag)
        say(
            "stopped",
            offered=StrictUser.arrivals.offered if StrictUser.arrivals else None,
            undone=undone,
            unfinished=unfinished,
            names=self._recorder.names,
            kinds=self._recorder.kinds,
        )

    def _drain(self) -> tuple[int, int]:
        """Ends the load. Returns how many requests were not sent, and how many not answered."""
        deadline = perf_counter() + DRAIN_SECONDS
        arrivals = StrictUser.arrivals
        if arrivals:
            arrivals.stop()
        else:
            StrictUser.closing.set()
        while (StrictUser.sent > self._recorder.count or self._backlog()) and perf_counter() < deadline:
            gevent.sleep(PROBE_SECONDS)
        undone, unfinished = self._backlog(), StrictUser.sent - self._recorder.count
        self._runner.stop()
        return undone, unfinished

    @staticmethod
    def _backlog() -> int:
        return StrictUser.arrivals.backlog if StrictUser.arrivals else 0

    def _write(self, lag: Lag) -> None:
        folder = Path(self._spec["folder"])
        (folder / "requests.bin").write_bytes(self._recorder.rows)
        (folder / "lag.bin").write_bytes(lag.times.tobytes() + lag.overshoots.tobytes())
        if Clerk.ledger is not None:
            with (folder / "ledger.jsonl").open("w") as file:
                file.writelines(f"{json.dumps(vars(booking))}\n" for booking in Clerk.ledger)


def say(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, which then says stop
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    require_strict_client()
    commands = FileObjectThread(sys.stdin.buffer, "rb")
    say("ready")
    if not (line := commands.readline()):
        return
    stop = gevent.event.Event()
    try:
        generator = Generator(json.loads(line))
    except NoItemsError as error:
        raise SystemExit(str(error)) from None

    def wait_for_stop() -> None:
        commands.readline()
        stop.set()

    gevent.spawn(wait_for_stop)
    generator.run(stop)


if __name__ == "__main__":
    main()
