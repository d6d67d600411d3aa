"""A small application on an installed machine, and releases of it that need no installation."""

import contextlib
import json
from collections.abc import Iterator
from textwrap import indent

from tests.support.generations import RELEASE
from tests.support.load import Load
from tests.vm.machine import Machine

RELEASES = "/opt/coachman/releases"
SETTINGS = "/etc/coachman/coachman.env"
PAUSE = 0.05  # of a client between two requests: what clients and service compute is taken from other tests
GATE, HOLD = "/var/lib/coachman/gate", "/var/lib/coachman/hold"
DEFAULTS = {
    "COACHMAN_APP": "shop:app",
    "COACHMAN_WORKERS": "2",
    # On a busy machine no connection ends between two requests, and nothing that a test holds back.
    "COACHMAN_KEEPALIVE_SECONDS": "10",
    "COACHMAN_DRAIN_SECONDS": "30",
    "COACHMAN_BOOT_SECONDS": "300",
    "GATE": GATE,
    "HOLD": HOLD,
}


class Shop:
    """The service on that machine runs the application of tests/support/generations.py."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        # What is installed there lends its virtual environment to the releases made here.
        self._lender = machine.run(f"ls {RELEASES} | grep -m1 -E '^[0-9]{{8}}-'").strip()

    def configure(self, **settings: str) -> None:
        lines = [f"{key}={value}" for key, value in (DEFAULTS | settings).items()]
        self.machine.write(SETTINGS, "\n".join(lines) + "\n")

    def release(self, version: str, *, at_import: str = "", at_start: str = "") -> None:
        """`current` points to it; who runs stays."""
        folder = f"{RELEASES}/{version}"
        text = RELEASE.format(
            version=version, at_import=at_import, at_start=indent(at_start, "    "), at_end=""
        )
        self.machine.run(f"rm -rf {folder} && mkdir {folder}")
        for name in (".venv", "coachman", "gunicorn.conf.py"):
            self.machine.run(f"ln -s ../{self._lender}/{name} {folder}/{name}")
        self.machine.write(f"{folder}/shop.py", text)
        facts = {"made_at": "2026-01-01T00:00:00Z", "by": "a test", "source": "nowhere"}
        self.machine.write(f"{folder}/release.json", json.dumps(facts))
        self.machine.run(f"ln -sfn releases/{version} /opt/coachman/current")

    def settle(self) -> None:
        """Release 1 with its first generation, whatever was before."""
        self.machine.run(f"rm -f {GATE} {HOLD}")
        self.configure()
        self.release("1")
        self.machine.run("systemctl stop coachman && systemctl reset-failed coachman")
        self.machine.run("systemctl start coachman.socket coachman-ops.socket coachman.service")

    def reload(self, *, code: int = 0) -> str:
        """What systemd's command and the service said."""
        self.machine.run("systemctl reload coachman", code=code)
        return self.machine.journal()

    def released(self) -> list[str]:
        """Which release answers, and with which greeting."""
        answer: list[str] = json.loads(self.machine.run("curl -sS http://127.0.0.1:8000/release"))
        return answer

    def wait_ready(self) -> None:
        self.machine.wait("curl -sf http://127.0.0.1:9100/readyz")

    def wait_for_one_generation(self) -> None:
        """Until the one before has drained and ended."""
        self.machine.wait("test $(pgrep -fc '[g]unicorn') = 3")

    def wait_in_flight(self) -> None:
        """Until a request has reached the application."""
        self.machine.wait("curl -s http://127.0.0.1:9100/readyz | grep -qE '\"in_flight\": ?1'")

    def main_pid(self) -> int:
        return int(self.machine.show("MainPID"))

    def restarts(self) -> int:
        return int(self.machine.show("NRestarts"))

    def pids(self) -> set[int]:
        """Every process of the service, by its number in the machine."""
        group = self.machine.show("ControlGroup")
        listed = (
            self.machine.run(f"cat /sys/fs/cgroup/systemd{group}/cgroup.procs", code=None) if group else ""
        )
        return {int(pid) for pid in listed.split() if pid.isdigit()}

    def load(self, path: str = "/pid", *, port: int = 8000, clients: int, keep_alive: bool = True) -> Load:
        connect = self.machine.connect
        return Load(port, path, clients=clients, keep_alive=keep_alive, pause=PAUSE, connect=connect)

    @contextlib.contextmanager
    def loaded(self) -> Iterator[tuple[Load, Load]]:
        """With clients that keep their connections, and with others that do not."""
        with self.load(clients=4) as kept, self.load(clients=2, keep_alive=False) as one_shot:
            yield kept, one_shot

    def assert_no_failure(self, *loads: Load) -> None:
        for load in loads:
            assert set(load.outcomes) == {"success"}, (
                f"{load.outcomes} {load.failures}\n{self.machine.journal()}"
            )

    def assert_only_what_it_held_is_lost(self, *loads: Load, clients: int = 6) -> None:
        """Of a process that was killed: at most one request of each client, and nobody was refused."""
        lost = [failure for load in loads for failure in load.failures]
        assert {failure.outcome for failure in lost} <= {"reset", "truncated"}, self.machine.journal()
        assert len(lost) <= clients, f"{lost}\n{self.machine.journal()}"
