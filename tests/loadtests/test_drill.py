"""The drill passes where supervision works, and fails where it is broken on purpose."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loadtests.losses import Kill, losses, stray_failures
from loadtests.samples import ROW, Samples
from tests.support.service import REPOSITORY, Service, running

SHORT = ["--rate", "40", "--every", "1.5", "--seed", "1"]


@contextlib.contextmanager
def drill(service: Service, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A drill that runs, and of which nothing is left in the end."""
    with subprocess.Popen(
        [
            sys.executable, "-m", "loadtests", "drill", "--attach", "--url", service.url,
            "--ops-url", service.ops_url, "--coachman", f"{sys.executable} -m coachman",
            "--out", folder, *SHORT, *arguments,
        ],
        cwd=REPOSITORY,
        env=os.environ | {"COACHMAN_RUNTIME_DIR": service.environment["COACHMAN_RUNTIME_DIR"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=600)[0]


def wait_for_kill(process: subprocess.Popen[str]) -> None:
    """Until it has killed its first worker."""
    assert process.stdout is not None
    while not process.stdout.readline().startswith("SIGKILL"):
        assert process.poll() is None


@pytest.fixture
def service(tmp_path: Path) -> Service:
    service = Service(tmp_path, COACHMAN_WORKERS="2", COACHMAN_HANG_SECONDS="3")
    service.migrate()
    return service


def test_killed_workers_cost_what_they_had_in_flight(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    with running(service):
        master = service.report()["master"]
        with drill(service, folder, "--kills", "4", "--signals", "KILL,ABRT,STOP") as process:
            output = finish(process)

        assert process.returncode == 0, output
        assert "The drill passed." in output
        assert service.report()["master"] == master
    found = json.loads((folder / "drill.json").read_text())
    assert [kill["signal"] for kill in found["kills"]] == ["SIGKILL", "SIGABRT", "SIGSTOP", "SIGKILL"]
    assert sum(found["failures"].values()) == len(_failed(folder))
    assert all(kill["lost"] <= kill["in_flight"] for kill in found["kills"])
    assert found["bookings"] > 10
    page = (folder / "report.html").read_text()
    assert len(page) < 5_000_000, "the longer a drill takes, the more there is to draw"
    assert "<script" not in page
    page = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    command = [sys.executable, "-m", "loadtests", "report", folder]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=600)
    assert (folder / "report.html").read_text() == page


def test_a_drill_fails_when_nobody_replaces_the_workers(service: Service, tmp_path: Path) -> None:
    """Supervision broken on purpose: the master stands still."""
    with running(service):
        arguments = ("--kills", "2", "--signals", "KILL", "--ready-seconds", "15")
        with drill(service, tmp_path / "drill", *arguments) as process:
            wait_for_kill(process)
            service.process.send_signal(signal.SIGSTOP)
            try:
                output = finish(process)
            finally:
                service.process.send_signal(signal.SIGCONT)

    assert process.returncode == 1, output
    assert f"The master {service.process.pid} was stopped (SIGSTOP)" in output


def test_a_drill_fails_when_an_acknowledged_booking_is_gone(service: Service, tmp_path: Path) -> None:
    """A database that forgets: one movement of the drill is taken out behind its back."""
    arguments = ("--kills", "2", "--signals", "KILL")
    with running(service), drill(service, tmp_path / "drill", *arguments) as process:
        wait_for_kill(process)
        with contextlib.closing(sqlite3.connect(tmp_path / "stock.db", timeout=60)) as database, database:
            gone = database.execute(
                "DELETE FROM movements WHERE id = (SELECT max(id) FROM movements) RETURNING idempotency_key"
            ).fetchall()
        output = finish(process)

    assert process.returncode == 1, output
    assert f"Movement {gone[0][0]} was acknowledged and was not in the database." in output


def test_a_failure_is_laid_to_a_kill_only_when_it_was_in_flight() -> None:
    kill = Kill(
        signal="SIGKILL", slot=0, pid=1, successor=2, killed_at=10, reaped_ms=10, forked_ms=12, ready_ms=50
    )
    rows = np.array(
        [
            (9.9, 9.9, 10.01, 0, 1),  # was under way
            (9.9, 9.9, 9.95, 0, 0),
            (10.5, 10.5, 10.6, 0, 1),  # came afterwards
            (9.99, 9.99, 10.02, 0, 2),  # was under way, and was refused otherwise
        ],
        dtype=ROW,
    )
    samples = Samples(rows, ["/"], ["", "closed without answer", "http 500"])

    (found,) = losses([kill], samples)

    assert (found.in_flight, found.lost) == (2, 2)
    assert stray_failures([kill], samples) == [
        "1 request failed as 'closed without answer', which no kill explains.",
        "1 request failed as 'http 500', which no kill explains.",
    ]
    assert stray_failures([kill], Samples(rows[:2], samples.names, samples.kinds)) == []
    swapped = kill.model_copy(update={"forked_ms": 5.0})
    assert "was not reaped, replaced and ready in this order" in stray_failures([swapped], samples)[-1]


def _failed(folder: Path) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    rows = np.fromfile(folder / "requests.bin", dtype=ROW)
    failed: np.ndarray[tuple[int], np.dtype[np.void]] = rows[rows["kind"] != 0]
    return failed
