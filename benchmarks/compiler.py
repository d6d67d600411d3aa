"""What a request costs in the process, without a server: raw ASGI, Starlette, FastAPI, FastAPI compiled.

Usage: python benchmarks/compiler.py [--rounds N] [--requests N] [--profile CASE]

CPU time of this process, in rounds in which the sides take turns; the ratios are of the medians. Absolute
figures hold for one machine and one run alone.
"""

import argparse
import asyncio
import cProfile
import gc
import pstats
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks import compiler_apps as apps
from benchmarks import raw
from coachman.compiler import COUNTS, Report, compile_app

JSON = [(b"host", b"127.0.0.1"), (b"accept", b"*/*"), (b"content-type", b"application/json")]
CASES: dict[str, tuple[Callable[[], Any], str, str, bytes]] = {
    "trivial": (apps.trivial, "GET", "/", b""),
    "no annotation": (apps.unannotated, "GET", "/", b""),
    "model": (apps.model, "GET", "/7", b""),
    "body": (apps.body, "POST", "/", apps.ITEM.model_dump_json().encode()),
    "dependencies": (apps.dependencies, "GET", "/", b""),
    "yield": (apps.yielding, "GET", "/", b""),
    "synchronous": (apps.synchronous, "GET", "/", b""),
    "20 routes": (lambda: apps.many(20), "GET", apps.last_path(20), b""),
    "100 routes": (lambda: apps.many(100), "GET", apps.last_path(100), b""),
    "200 routes": (lambda: apps.many(200), "GET", apps.last_path(200), b""),
    "1000 routes": (lambda: apps.many(1000), "GET", apps.last_path(1000), b""),
}


async def _starlette(request: Request) -> JSONResponse:
    return JSONResponse({"hello": "world"})


async def measure(app: Any, method: str, path: str, body: bytes, requests: int) -> float:
    """Returns the microseconds of CPU time of one request."""
    message = {"type": "http.request", "body": body, "more_body": False}
    statuses = set()

    async def receive() -> Any:
        return message

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    def scope() -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": list(JSON),
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "state": {},
        }

    for _ in range(20):
        await app(scope(), receive, send)
    began = time.process_time()
    for _ in range(requests):
        await app(scope(), receive, send)
    spent = time.process_time() - began
    assert statuses == {200}, statuses
    return spent / requests * 1e6


def compiled(make: Callable[[], Any]) -> tuple[Any, Report]:
    app = make()
    return app, compile_app(app)


def case(name: str, rounds: int, requests: int) -> tuple[float, float]:
    """Returns the medians of FastAPI and of FastAPI compiled."""
    make, method, path, body = CASES[name]
    sides = [make(), compiled(make)[0]]
    found: list[list[float]] = [[], []]
    for _ in range(rounds):
        for side, app in enumerate(sides):
            found[side].append(asyncio.run(measure(app, method, path, body, requests)))
    return statistics.median(found[0]), statistics.median(found[1])


def flatness(rounds: int, requests: int) -> None:
    """Prints what the last of 20, 200 and 1,000 routes costs, compiled, in turn; ratios of the same round."""
    sides = {count: compiled(partial(apps.many, count))[0] for count in (20, 200, 1000)}
    found: dict[int, list[float]] = {count: [] for count in sides}
    for _ in range(rounds):
        for count, app in sides.items():
            found[count].append(asyncio.run(measure(app, "GET", apps.last_path(count), b"", requests)))
    for count, figures in found.items():
        ratio = statistics.median(one / base for one, base in zip(figures, found[20], strict=True))
        print(f"the last of {count:5,} routes: {ratio:.3f} of the last of 20, at best {min(figures):.1f} us")


def size() -> None:
    """Prints what compiling 400 routes takes in time and memory."""
    app = apps.many(400)
    compile_app(apps.trivial())  # reads the fingerprints, once in a process
    for route in app.routes:
        if hasattr(route, "effective_candidates"):
            route.effective_candidates()  # FastAPI would make these at the first request
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    report = compile_app(app)
    gc.collect()
    spent = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    seconds = compiled(lambda: apps.many(400))[1].seconds
    print(f"400 routes: {report.compiled} compiled in {seconds:.2f} s, {spent / 2**20:.1f} MiB")


def profile(name: str, requests: int) -> None:
    make, method, path, body = CASES[name]
    app, report = compiled(make)
    print("\n".join(route.source for route in report.routes[-1:]))
    profiler = cProfile.Profile()
    profiler.enable()
    asyncio.run(measure(app, method, path, body, requests))
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(20)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--profile", metavar="CASE", choices=CASES)
    parser.add_argument("cases", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    if arguments.profile:
        profile(arguments.profile, arguments.requests)
        return
    starlette = Starlette(routes=[Route("/", _starlette)])
    for name, app in (("raw ASGI", raw.app), ("Starlette", starlette)):
        found = [
            asyncio.run(measure(app, "GET", "/", b"", arguments.requests)) for _ in range(arguments.rounds)
        ]
        print(f"{name:16}{statistics.median(found):32.1f} us")
    print(f"{'':16}{'FastAPI':>16}{'compiled':>16}{'ratio':>10}")
    for name in arguments.cases:
        stock, ours = case(name, arguments.rounds, arguments.requests)
        print(f"{name:16}{stock:13.1f} us{ours:13.1f} us{stock / ours:9.1f}x", flush=True)
    flatness(3 * arguments.rounds, arguments.requests)
    size()
    print(f"{COUNTS.compiled:,} requests compiled, {COUNTS.left:,} not")


if __name__ == "__main__":
    main()
