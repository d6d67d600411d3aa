"""A master that is the first process of a container, as where `gunicorn` is an image's command."""

import os
import signal
from pathlib import Path

from tests.support.service import APPS, Service, children, running, wait_until

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
if os.geteuid():
    NAMESPACE += ["--user", "--map-root-user"]


class FirstProcess(Service):
    def _command(self) -> list[str]:
        return [*NAMESPACE, *super()._command()]

    @property
    def master(self) -> int:
        """Its pid outside of its namespace."""
        [pid] = children(self.process.pid)
        return pid

    def end(self) -> None:
        if self.process.poll() is None:
            os.kill(self.master, signal.SIGTERM)
            self.wait_end()
        super().end()


def test_it_serves_stops_and_refuses_a_handover_that_would_end_the_container(tmp_path: Path) -> None:
    service = FirstProcess(tmp_path, COACHMAN_APP="probe:app", COACHMAN_WORKERS="1", PYTHONPATH=APPS)
    with running(service):
        workers = service.worker_pids()
        os.kill(service.master, signal.SIGUSR2)
        assert wait_until(lambda: "SIGUSR2 is ignored: this master is the first" in service.log())
        command = service.ask("handover")
        assert command.returncode == 1
        assert "first process of its container" in command.stderr, command
        assert service.worker_pids() == workers, service.log()
        os.kill(service.master, signal.SIGTERM)
        assert service.wait_end() == 0, service.log()
