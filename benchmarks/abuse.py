"""What hostile clients do to Coachman and to the usual deployment: `make bench-abuse`.

And how many requests of tests/conformance, which asks what HTTP/1.1 demands, both answer as it does.

Both run the application of tests/abuse with one worker, and are attacked in turn. Ours has deadlines of two
seconds, so that the program ends soon; the usual side has none to shorten.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from side import BenchmarkError, Side, serving

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.abuse.attacks import ENDLESS, MEGABYTE
from tests.abuse.client import HEAD, Attacker, Canary, crowd, still_open
from tests.conformance.cases import GROUPS
from tests.conformance.conversation import Manner, failures

ECHO = "tests.conformance.apps.echo:app"
APP, PATH = "tests.support.apps.target:app", "/pid"
DEADLINES = {f"COACHMAN_{name}_SECONDS": "2" for name in ("HEAD", "BODY", "ANSWER", "DRAIN")}
DEADLINES["COACHMAN_KEEPALIVE_SECONDS"] = "1"
PATIENCE = 8
HALF_BODY = b"POST /length HTTP/1.1\r\nhost: here\r\ncontent-length: 9\r\n\r\n1"
HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: here\r\n\r\n"


def growth_mib(side: Side, attack: Callable[[Attacker], None]) -> str:
    """How much more memory the worker holds, and by how much others' median grows."""
    canary = Canary(side.port)
    usual, before = canary.median(), rss(side)
    with Attacker(side.port) as attacker:
        thread = threading.Thread(target=attack, args=(attacker,), daemon=True)
        thread.start()
        meanwhile = canary.median_within(3)
        thread.join(15)
        after = rss(side)
    return f"{(after - before) / MEGABYTE:.0f} MiB, others x {meanwhile / usual:.0f}"


def rss(side: Side) -> int:
    (worker,) = side.workers()
    return int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * 4096


def held(side: Side, greeting: bytes) -> str:
    with crowd(side.port, 50, greeting) as members:
        time.sleep(PATIENCE)  # what is measured: who is still there by then
        return f"{still_open(members)} of 50 held"


def served_among_stuck(side: Side) -> str:
    canary, served, asked = Canary(side.port), 0, 0
    with crowd(side.port, 300, HEAD):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            asked += 1
            with contextlib.suppress(OSError, AssertionError):
                canary.ask(seconds=2)
                served += 1
            time.sleep(0.02)  # a client that asks at a usual pace
    return f"{served} of {asked} served"


def smuggled(side: Side) -> str:
    """A body behind an Upgrade that the server does not speak: is it the request's, or the next request?"""
    delivered = executed = 0
    for number in range(10):
        with Attacker(side.port) as attacker:
            attacker.send(
                b"POST /length HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
                b"content-length: %d\r\n\r\n" % len(HIDDEN)
            )
            time.sleep(0.05 * (number % 2))  # in the same segment, and in one of its own
            attacker.send(HIDDEN)
            with contextlib.suppress(TimeoutError):
                received = attacker.read_to_end(seconds=3)
                delivered += received.endswith(b"%d" % len(HIDDEN))
            executed += asked_for_hidden(side) > executed
    return f"{delivered} of 10 bodies delivered, {executed} executed"


def asked_for_hidden(side: Side) -> int:
    with Attacker(side.port) as attacker:
        attacker.send(b"GET /asked HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        return attacker.read_to_end().count(b"GET /hidden")


def seconds_to_stop(side: Side) -> str:
    """SIGTERM while one client does not read its answer and another has sent half a body."""
    with Attacker(side.port) as reader, Attacker(side.port) as writer:
        reader.send(b"GET /big HTTP/1.1\r\nhost: here\r\n\r\n")
        writer.send(HALF_BODY)
        time.sleep(0.5)  # both are in the middle of it by then, on either side
        begun = time.monotonic()
        side.master.send_signal(signal.SIGTERM)
        side.master.wait(60)
    return f"{time.monotonic() - begun:.1f} s"


def of_attack(attack: Callable[[Attacker], None]) -> Callable[[Side], str]:
    return lambda side: growth_mib(side, attack)


# Name, what is done and told, and how many files each process may have open.
CASES: list[tuple[str, Callable[[Side], str], int]] = [
    *((attack.__name__.replace("_", " "), of_attack(attack), 0) for attack in ENDLESS),
    ("silent connections", lambda side: held(side, b""), 0),
    ("half a head", lambda side: held(side, HEAD), 0),
    ("half a body", lambda side: held(side, HALF_BODY), 0),
    ("300 half heads, 256 descriptors", served_among_stuck, 256),
    ("an unknown Upgrade with a body", smuggled, 0),
    ("a stop with slow clients", seconds_to_stop, 0),
]


def conforming(side: Side, group: str) -> str:
    """How many requests of the group are answered as the RFCs say, in each way of sending them."""
    cases = GROUPS[group]
    wrong = [asyncio.run(failures(side.port, cases, manner)) for manner in Manner]
    return f"{sum(all(case.name not in found for found in wrong) for case in cases)} of {len(cases)}"


def conformance(only: str) -> Iterator[tuple[str, str, str]]:
    """A row for each group of requests: its name, ours and stock."""
    with (
        serving("ours", 1, DEADLINES, app=ECHO, request="/") as ours,
        serving("stock", 1, app=ECHO, request="/") as stock,
    ):
        for group in GROUPS:
            if only in group or only in "HTTP/1.1":
                yield f"HTTP/1.1: {group}", conforming(ours, group), conforming(stock, group)


def attacked(name: str, case: Callable[[Side], str], files: int) -> str:
    with serving(name, 1, DEADLINES, app=APP, request=PATH, files=files) as side:
        try:
            return case(side)
        except (OSError, AssertionError) as error:
            return f"others were not served: {error!r}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Attack Coachman and the usual deployment in turn.")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    only = parser.parse_args().only
    console = Console(highlight=False)
    table = Table("one worker, attacked by", "ours", "usual")
    try:
        for name, case, files in CASES:
            if only in name:
                with console.status(name):
                    table.add_row(name, attacked("ours", case, files), attacked("stock", case, files))
        with console.status("HTTP/1.1"):
            for row in conformance(only):
                table.add_row(*row)
    except BenchmarkError as error:
        sys.exit(str(error))
    console.print(table)


if __name__ == "__main__":
    main()
