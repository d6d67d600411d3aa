"""The default number of workers: as many as this machine has CPUs for the service (see docs/settings.md)."""

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def default_workers() -> tuple[int, str]:
    """The number of workers and the bound that gave it, such as (2, "CPU affinity")."""
    bounds = [(_allowed_cpus(), "CPU affinity")]
    quota = cpu_quota()
    if quota is not None:
        # A quota of 1.5 CPUs keeps two workers busy; rounding down would leave half a CPU idle.
        bounds.append((math.ceil(quota), f"a cgroup quota of {quota:g} CPUs"))
    return min(bounds)


def available_cpus() -> float:
    """How many CPUs this process may use: by its affinity, and by the quotas of its cgroups."""
    quota = cpu_quota()
    return _allowed_cpus() if quota is None else min(quota, _allowed_cpus())


def _allowed_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(root: Path = CGROUP_ROOT, membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """CPUs granted by the tightest cgroup on the way up from this process (v2, else v1), or None."""
    quotas = []
    for group in _groups(root, membership):
        # Missing files mean no limit at this level; a container often sees its own group as the root.
        try:
            if (group / "cpu.max").exists():
                quota, period = (group / "cpu.max").read_text().split()
            else:
                quota = (group / "cpu.cfs_quota_us").read_text().strip()
                period = (group / "cpu.cfs_period_us").read_text().strip()
            if quota not in ("max", "-1"):
                quotas.append(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return min(quotas, default=None)


def _groups(root: Path, membership: Path) -> list[Path]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / controllers if controllers else root
        group = base / path.lstrip("/")
        found += [group, *(parent for parent in group.parents if parent.is_relative_to(base))]
    return found
