import os
from pathlib import Path

import pytest

from coachman.system import cpus


def cgroup(tmp_path: Path, membership: str, files: dict[str, str]) -> float | None:
    root = tmp_path / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "membership").write_text(membership)
    return cpus.cpu_quota(root, tmp_path / "membership")


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        # The tightest group on the way up binds.
        ("0::/a/b\n", {"a/b/cpu.max": "max 1\n", "a/cpu.max": "50000 100000\n", "cpu.max": "max 1\n"}, 0.5),
        # cgroup v1 names its controllers; -1 is its word for no quota.
        ("4:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "300000", "cpu/x/cpu.cfs_period_us": "100000"}, 3),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("5:memory:/x\n", {"memory/x/cpu.max": "1 1"}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
    ],
)
def test_the_cgroup_quota_is_read(
    tmp_path: Path, membership: str, files: dict[str, str], quota: float | None
) -> None:
    assert cgroup(tmp_path, membership, files) == quota


def test_the_tighter_bound_gives_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cpus, "cpu_quota", lambda: 2.5)
    assert cpus.default_workers() == (3, "a cgroup quota of 2.5 CPUs")

    monkeypatch.setattr(cpus, "cpu_quota", lambda: 16.0)
    assert cpus.default_workers() == (8, "CPU affinity")


def test_affinity_of_this_process_is_respected() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert cpus.default_workers()[0] == 1
    finally:
        os.sched_setaffinity(0, allowed)
