"""One measurement, and the file that keeps them all: cells.jsonl is the source of every figure."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Phase = Literal["capacity", "latency"]


class Task(BaseModel):
    """What is to be measured."""

    model_config = ConfigDict(frozen=True)

    block: int
    phase: Phase
    profile: str
    workers: int


class Latency(BaseModel):
    """Milliseconds; None where there are too few requests for it."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Route(BaseModel):
    """The requests of one route in a window. Counts, so that those of several windows can be added."""

    requests: int
    failed: int
    buckets: dict[int, int]  # of answered requests, by latency: see loadtests.samples


class Cell(BaseModel):
    """Cores: seconds of CPU a second. Latency counts from the schedule, service time from the send."""

    task: Task
    order: int
    users: int
    rate: float | None
    seconds: float
    requests: int
    answered: int
    failures: dict[str, int]
    undone: int
    unfinished: int
    per_second: float
    latency: Latency
    service: Latency
    server_cores: float
    generator_cores: float
    generator_queued: float
    other_cores: float
    stolen_cores: float
    idle_cores: float
    server_us: float | None  # CPU a request
    generator_us: float | None
    lag_p99_ms: float | None
    pss_mib: list[float]  # the master first
    shares: list[float]  # of the requests, by worker
    routes: dict[str, Route] = {}  # none in runs of older versions
    flags: list[str]
    accepted: bool


class Cells:
    """Appended to one by one, so that what was measured survives whatever comes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "cells.jsonl"

    def read(self) -> list[Cell]:
        if not self._path.exists():
            return []
        return [Cell.model_validate_json(line) for line in self._path.read_text().splitlines()]

    def append(self, cell: Cell) -> None:
        with self._path.open("a") as file:
            file.write(f"{cell.model_dump_json()}\n")


def accepted_tasks(cells: Iterable[Cell]) -> set[Task]:
    return {cell.task for cell in cells if cell.accepted}
