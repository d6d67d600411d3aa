"""What the kernel says of processes. CPU is in seconds since their start."""

import os
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))


class Machine(NamedTuple):
    busy: float
    idle: float
    stolen: float  # by other guests of the same host


def cpu_seconds(pid: int, *, with_ended_children: bool = False) -> float:
    """Returns the CPU time of a process, 0 when it is gone. Children count once they are reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    wanted = fields[11:15] if with_ended_children else fields[11:13]
    return sum(map(int, wanted)) / _TICK


def service_cpu_seconds(master: int) -> float:
    """Returns the CPU time of the master, its workers and those that have ended.

    Not from the threads: those of a thread pool end when idle, and take their figures with them.
    """
    return cpu_seconds(master, with_ended_children=True) + sum(cpu_seconds(pid) for pid in children(master))


def queued_seconds(pid: int) -> float:
    """Returns how long the process's main thread has waited for a core, in seconds."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def machine() -> Machine:
    line = Path("/proc/stat").read_text().partition("\n")[0]
    user, nice, system, idle, iowait, irq, softirq, steal = (int(x) / _TICK for x in line.split()[1:9])
    return Machine(user + nice + system + irq + softirq, idle + iowait, steal)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def pss_mib(pid: int) -> float:
    """Returns the proportional set size: shared pages are divided among those that share them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
