"""Who used the cores in a window: server, generator, others."""

import os
import time
from dataclasses import dataclass
from typing import NamedTuple

from loadtests import procfs


class Usage(NamedTuple):
    """Cores used on average; a core is one second of CPU a second."""

    seconds: float
    server: float
    generator: float
    generator_queued: float  # the generator was ready to run, and had no core
    others: float
    stolen: float
    idle: float


@dataclass(frozen=True)
class Reading:
    at: float
    server: float
    generator: float
    generator_queued: float
    ourselves: float
    machine: procfs.Machine

    @classmethod
    def take(cls, master: int, generator: int) -> "Reading":
        return cls(
            time.monotonic(),
            procfs.service_cpu_seconds(master),
            procfs.cpu_seconds(generator),
            procfs.queued_seconds(generator),
            procfs.cpu_seconds(os.getpid()),
            procfs.machine(),
        )

    def until(self, end: "Reading") -> Usage:
        seconds = end.at - self.at
        server, generator = end.server - self.server, end.generator - self.generator
        ours = server + generator + end.ourselves - self.ourselves
        return Usage(
            seconds,
            server / seconds,
            generator / seconds,
            (end.generator_queued - self.generator_queued) / seconds,
            max(0.0, end.machine.busy - self.machine.busy - ours) / seconds,
            (end.machine.stolen - self.machine.stolen) / seconds,
            (end.machine.idle - self.machine.idle) / seconds,
        )


def wait_for_quiet(cores: float, limit_seconds: float) -> bool:
    """Waits until other processes use less than `cores`; returns whether they did in time."""
    deadline = time.monotonic() + limit_seconds
    while time.monotonic() < deadline:
        begin = Reading.take(0, 0)
        time.sleep(0.5)
        if begin.until(Reading.take(0, 0)).others < cores:
            return True
    return False
