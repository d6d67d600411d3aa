"""A handover under systemd's eyes, on inherited sockets, and where the machine is not as it should be."""

import os
import re
import resource
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from coachman.state import events
from coachman.state.scoreboard import MEMORY_BYTES
from coachman.state.states import Phase
from tests.process.notifications import Notifications
from tests.support import web
from tests.support.generations import Generations
from tests.support.service import REPOSITORY, running, unmeasured, wait_until

FAILING_FORK = str(REPOSITORY / "tests" / "support" / "failing_fork.py")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Generations]:
    with running(Generations(tmp_path)) as service:
        yield service


class Watched(Generations):
    """As systemd starts what it watches: with the pid whose watchdog it is."""

    def _command(self) -> list[str]:
        return ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", *super()._command()]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Notifications]:
    with Notifications(tmp_path) as systemd:
        yield systemd


@pytest.fixture
def watched(tmp_path: Path, systemd: Notifications) -> Iterator[Generations]:
    with running(Watched(tmp_path, NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC="2000000")) as service:
        assert wait_until(lambda: systemd.count("READY=1") == 1), service.log()
        yield service


def test_systemd_is_told_the_new_main_process_which_has_said_nothing_before(
    watched: Generations, systemd: Notifications
) -> None:
    new = watched.begin_handover("start")
    assert systemd.count("RELOADING=1") == 1
    fed = systemd.count("WATCHDOG=1")
    assert wait_until(lambda: systemd.count("WATCHDOG=1") > fed + 1), "the old one must feed it meanwhile"
    assert systemd.count("READY=1") == 1, "the new one spoke before its time"
    watched.gate.unlink()
    watched.wait_for_sole_master(new)

    [told] = systemd.times(f"MAINPID={new}")
    assert told in systemd.times("READY=1"), "not in one message: the reload would look unfinished"
    assert systemd.count("STOPPING=1") == 0, "the old one spoke for a service that goes on"
    assert wait_until(lambda: systemd.status().endswith("generation 2")), systemd.statuses()
    for at, status in systemd.statuses():
        assert status.endswith("generation 1") == (at < told), systemd.statuses()
    fed = systemd.count("WATCHDOG=1")
    assert wait_until(lambda: systemd.count("WATCHDOG=1") > fed + 1), watched.log()

    os.kill(new, signal.SIGTERM)
    assert wait_until(lambda: systemd.count("STOPPING=1") == 1), watched.log()


def test_systemd_learns_that_a_refused_handover_is_over(watched: Generations, systemd: Notifications) -> None:
    watched.release("2", at_start="raise OSError('no database')")
    assert watched.coachman("handover", "--no-wait")[0] == 1

    masters = re.findall(r"\[(\d+)\] \[INFO\] Starting gunicorn", watched.log())
    assert [systemd.count(f"MAINPID={pid}") for pid in masters] == [0, 0]
    [begun], [ready, again] = systemd.times("RELOADING=1"), systemd.times("READY=1")
    assert ready < begun < again
    assert not any(status.endswith("generation 2") for _, status in systemd.statuses())
    assert systemd.count("STOPPING=1") == 0


def socket_files(pid: int) -> int:
    return sum(str(file.readlink()).startswith("socket:") for file in Path(f"/proc/{pid}/fd").iterdir())


def test_the_sockets_that_systemd_holds_are_handed_over_again_and_again(tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with (
        socket.create_server(("127.0.0.1", service.port), backlog=2048) as public,
        socket.create_server(("127.0.0.1", service.ops_port), backlog=2048) as ops,
    ):
        service.held_sockets = (public, ops)
        with running(service), service.loaded() as loads:
            master = service.process.pid
            resource.prlimit(master, resource.RLIMIT_NOFILE, (64, 64))
            sockets = socket_files(master)
            for version in ("2", "3"):
                service.release(version)
                code, printed = service.coachman("handover", "--no-wait")
                assert code == 0, f"{printed}\n{service.log()}"
                assert service.released() == [version, ""]
                master = service.masters()[0].service.pid
                service.wait_for_sole_master(master)
                assert socket_files(master) == sockets, "sockets pile up"
    service.assert_no_failure(*loads)


def test_a_socket_file_outlives_the_old_master(tmp_path: Path) -> None:
    path = tmp_path / "public.sock"
    with running(Generations(tmp_path, COACHMAN_BIND=f"unix:{path}")) as service:
        service.release("2")
        assert service.coachman("handover", "--no-wait")[0] == 0, service.log()
        new = service.masters()[0].service.pid
        service.wait_for_sole_master(new)
        with web.Client(transport=httpx2.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://shop/release").json() == ["2", ""]
        assert wait_until(lambda: "Master has been promoted" in service.log()), service.log()

        os.kill(new, signal.SIGTERM)
        assert wait_until(lambda: not service.pids()), service.log()
        assert not path.exists()


class Linked(Generations):
    """Started in a link to the folder of a release, with that release's interpreter."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, PYTHONPATH="", COACHMAN_RUNTIME_DIR="run")
        self._folder, self.current = folder, folder / "current"
        self.runtime_dir = folder / "1" / "run"

    def make(self, version: str) -> None:
        """The folder of a release, and `current` points to it."""
        release = self._folder / version
        release.mkdir()
        for name in ("coachman", "gunicorn.conf.py", ".venv"):
            (release / name).symlink_to(REPOSITORY / name)
        self.release(version)
        (self._folder / "shop.py").rename(release / "shop.py")
        self.point_to(version)

    def point_to(self, version: str) -> None:
        self.current.unlink(missing_ok=True)
        self.current.symlink_to(version)

    def _command(self) -> list[str]:
        binaries = f"{self.current}/.venv/bin"
        here = ["env", "-C", str(self.current), f"PWD={self.current}"]
        return [*here, f"{binaries}/python", f"{binaries}/gunicorn"]

    def coachman(self, *arguments: str, **environment: str) -> tuple[int, str]:
        return super().coachman(*arguments, COACHMAN_RUNTIME_DIR=str(self.runtime_dir), **environment)


def test_the_new_master_runs_where_the_link_points_by_then(tmp_path: Path) -> None:
    service = Linked(tmp_path)
    service.make("1")
    with running(service):
        service.make("2")
        code, printed = service.coachman("handover", "--no-wait")
        assert code == 0, f"{printed}\n{service.log()}"
        assert service.released() == ["2", ""]
        new = service.masters()[0].service.pid
        assert Path(f"/proc/{new}/cwd").readlink() == tmp_path / "2"

        service.wait_for_sole_master(new)
        service.point_to("gone")
        code, printed = service.coachman("handover", "--no-wait")
        assert (code, "No such file or directory" in printed) == (1, True), f"{printed}\n{service.log()}"
        (tmp_path / "bare").mkdir()
        service.point_to("bare")
        code, printed = service.coachman("handover", "--no-wait")
        assert (code, "The release has no virtual environment." in printed) == (1, True), printed
        assert service.released() == ["2", ""]
        service.point_to("1")
        assert service.coachman("handover", "--no-wait")[0] == 0, service.log()
        assert service.released() == ["1", ""]


def test_workers_that_are_recycled_are_no_reason_to_refuse(tmp_path: Path) -> None:
    with running(Generations(tmp_path, COACHMAN_MAX_REQUESTS="20")) as service, service.loaded() as loads:
        service.release("2")
        code, printed = service.coachman("handover", "--no-wait")
        assert code == 0, f"{printed}\n{service.log()}"
        service.wait_for_sole_master(service.masters()[0].service.pid)
    assert "recycled-requests" in service.log(), service.log()
    service.assert_no_failure(*loads)


def test_a_degraded_service_is_mended_by_a_handover(tmp_path: Path) -> None:
    service = Generations(tmp_path)
    service.release("1", at_start='if pathlib.Path(os.environ["GATE"]).exists(): raise OSError("down")')
    with running(service):
        service.wait_settled()
        service.gate.touch()
        os.kill(service.slots()[0]["pid"], signal.SIGKILL)
        assert wait_until(lambda: service.report()["status"] == "degraded"), service.log()

        service.release("2")
        code, printed = service.coachman("handover", "--no-wait")
        assert code == 0, f"{printed}\n{service.log()}"
        service.wait_ready()
        assert service.released() == ["2", ""]


def test_a_runtime_folder_that_was_removed_is_made_again(service: Generations) -> None:
    shutil.rmtree(service.runtime_dir)
    assert wait_until(lambda: "was removed, and has been made again" in service.log()), service.log()
    assert web.get(f"{service.ops_url}/metrics").status_code == 200
    assert service.coachman("status")[0] == 0
    os.kill(min(service.worker_pids()), signal.SIGKILL)
    assert wait_until(lambda: sum(slot["restarts"] for slot in service.slots()) == 1), service.log()
    service.wait_ready()
    assert any(event["event"] == "crashed" for event in events.latest(service.runtime_dir))

    service.release("2")
    code, printed = service.coachman("handover", "--no-wait")
    assert code == 0, f"{printed}\n{service.log()}"
    assert service.released() == ["2", ""]


def test_a_runtime_folder_that_goes_in_the_middle_of_a_handover_does_not_stop_it(
    service: Generations,
) -> None:
    service.begin_handover("check")
    shutil.rmtree(service.runtime_dir)
    assert wait_until(lambda: "was removed, and has been made again" in service.log()), service.log()
    service.gate.unlink()

    assert wait_until(lambda: service.released() == ["2", ""]), service.log()


def test_a_runtime_folder_that_cannot_be_made_again_costs_handovers_and_nothing_else(
    service: Generations,
) -> None:
    os.kill(service.process.pid, signal.SIGSTOP)  # or it could be faster than this
    shutil.rmtree(service.runtime_dir)
    service.runtime_dir.write_text("a file in its place")
    os.kill(service.process.pid, signal.SIGCONT)
    assert wait_until(lambda: "cannot be made again" in service.log()), service.log()
    os.kill(service.process.pid, signal.SIGUSR2)

    ignored = "SIGUSR2 is ignored: there is no scoreboard of this master in COACHMAN_RUNTIME_DIR="
    assert wait_until(lambda: ignored in service.log()), service.log()
    assert service.released() == ["1", ""]
    assert service.log().count("cannot be made again") == 1


def test_a_disk_without_room_for_the_scoreboard_refuses_the_handover(tmp_path: Path) -> None:
    service = Generations(tmp_path)
    service.environment = unmeasured(service.environment)
    with running(service):
        workers = service.worker_pids()
        before = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (MEMORY_BYTES // 2, -1))
        code, printed = service.coachman("handover", "--no-wait")
        assert (code, "file too large" in printed) == (1, True), printed
        service.assert_only_the_first_generation_is_left(workers)

        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, before)
        assert service.coachman("handover", "--no-wait")[0] == 0, service.log()


def test_another_version_of_coachman_does_not_take_over(service: Generations, tmp_path: Path) -> None:
    """It could not read whether it is accepted."""
    workers = service.worker_pids()
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "sys.path.insert(0, os.getcwd())\n"
        "import coachman.state.scoreboard\n"
        "coachman.state.scoreboard._LAYOUT = b'another'.ljust(64)\n"
    )
    service.signal_master(signal.SIGUSR2)

    assert wait_until(lambda: "The handover is refused: " in service.log()), service.log()
    assert "another version of coachman. Restart the service instead." in service.log()
    assert wait_until(lambda: service.masters()[0].service.handover == Phase.REFUSED), service.log()
    service.assert_only_the_first_generation_is_left(workers)


def test_a_fork_that_fails_refuses_the_handover(tmp_path: Path) -> None:
    no_fork = tmp_path / "no-fork"
    with running(Generations(tmp_path, "--config", FAILING_FORK, NO_FORK=str(no_fork))) as service:
        no_fork.touch()
        code, printed = service.coachman("handover", "--no-wait")
        assert (code, "cannot fork" in printed) == (1, True), f"{printed}\n{service.log()}"
        no_fork.unlink()
        assert service.coachman("handover", "--no-wait")[0] == 0, service.log()


def test_half_an_environment_of_a_command_that_was_killed_harms_nobody(service: Generations) -> None:
    workers = service.worker_pids()
    offered = service.runtime_dir / "handover.env"
    offered.write_text('{"COACHMAN_APP": "sh')
    service.signal_master(signal.SIGUSR2)
    assert wait_until(lambda: service.masters()[0].service.handover == Phase.REFUSED), service.log()
    service.assert_only_the_first_generation_is_left(workers)

    offered.write_text('{"COACHMAN_APP": "nowhere:app"}')
    os.utime(offered, (0, 0))  # of long ago: not of whoever asks now
    service.release("2")
    service.signal_master(signal.SIGUSR2)
    service.wait_for_sole_master(service.wait_for_generation(2))
    assert service.released() == ["2", ""]
    assert not offered.exists()
