"""What `make bench-fairness` measures: routes, numbers of workers, numbers of keep-alive connections."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from compiler_apps import last_path

CORES = len(os.sched_getaffinity(0))
TRIVIAL, ROUTES_100 = "trivial", "100 routes"


class Route(NamedTuple):
    title: str
    app: str
    path: str
    script: str = ""  # for wrk, where it asks for more than the path


ROUTES = {
    TRIVIAL: Route("`GET /`, which does nothing", "trivial", "/"),
    ROUTES_100: Route("the last of a hundred routes, with dependencies", "many", last_path()),
    "cpu": Route("0.3 ms of computing", "trivial", "/cpu"),
    "io": Route("5 ms of waiting", "trivial", "/io"),
    "mixed": Route(
        "7 of 10 trivial, 2 wait, 1 computes",
        "trivial",
        "/",
        str(Path(__file__).with_name("fairness_mixed.lua")),
    ),
}


class Cell(NamedTuple):
    """One line of the tables. It is asked with connections of its own in each round."""

    workers: int
    route: str
    clients: int


class Block(NamedTuple):
    """What servers with so many workers and one application are asked before they are ended."""

    app: str
    workers: int
    cells: list[Cell]


def default() -> list[Cell]:
    """What the aims are about, in at most a quarter of an hour."""
    few = (CORES, (3, 6, 6 * CORES))
    lines = {TRIVIAL: (few, (3, (3, 6, 32)), (8, (256,))), ROUTES_100: (few, (3, (3, 6)), (8, (16,)))}
    both = {
        Cell(workers, route, clients)
        for route, counts in lines.items()
        for workers, several in counts
        for clients in several
    }
    return sorted({*both, Cell(CORES, "cpu", 6 * CORES), Cell(3, "io", 12), Cell(3, "mixed", 12)})


def short() -> list[Cell]:
    return [Cell(CORES, TRIVIAL, 6 * CORES), Cell(3, TRIVIAL, 3), Cell(3, ROUTES_100, 6)]


def long() -> list[Cell]:
    """Everything, in some hours."""
    return [
        Cell(workers, route, clients)
        for workers in sorted({CORES, 2, 3, 4, 6, 8})
        for route in ROUTES
        for clients in sorted({3, 6, 6 * CORES, 12, 32, 64, 256})
    ]


def blocks(cells: list[Cell]) -> Iterator[Block]:
    """All servers of a block are up at the same time; two applications never are."""
    for workers in sorted({cell.workers for cell in cells}):
        mine = [cell for cell in cells if cell.workers == workers]
        for app in sorted({ROUTES[cell.route].app for cell in mine}, reverse=True):
            yield Block(app, workers, [cell for cell in mine if ROUTES[cell.route].app == app])
