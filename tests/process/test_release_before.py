"""What the release before this one has started goes on with this one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import web
from tests.support.generations import Generations
from tests.support.load import Load
from tests.support.release_before import unpack
from tests.support.service import GUNICORN, REPOSITORY, running


@pytest.fixture(scope="module")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its files, as git has them."""
    folder = tmp_path_factory.mktemp("release-before")
    unpack(folder)
    return folder


class Upgraded(Generations):
    """Started from a link, which points at another release when it hands over."""

    config = None  # with the constants as they ship

    def __init__(self, folder: Path, release: Path) -> None:
        super().__init__(folder, PWD=f"{folder}/current")  # as a shell has it that went through the link
        self.current = folder / "current"
        self.current.symlink_to(release)

    def move_to(self, release: Path) -> None:
        self.current.unlink()
        self.current.symlink_to(release)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(GUNICORN)],
                cwd=self.current,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def command(
        self, *arguments: str, output: int = subprocess.PIPE, **environment: str
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "coachman", *arguments],
            cwd=self.current,
            env=self.environment | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def upgraded(tmp_path: Path, release_before: Path) -> Iterator[Upgraded]:
    with running(Upgraded(tmp_path, release_before)) as service:
        yield service


def _is_file_of(pid: int, folder: Path) -> bool:
    return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()


def test_it_hands_over_to_this_one_and_this_one_to_itself(upgraded: Upgraded) -> None:
    [old] = upgraded.masters()
    assert not _is_file_of(old.service.pid, REPOSITORY)

    upgraded.move_to(REPOSITORY)
    with Load(upgraded.port, "/pid", clients=2, pause=0.01) as load:
        code, printed = upgraded.coachman("handover", MAINPID=str(old.service.pid))
        assert code == 0, f"{printed}\n{upgraded.log()}"
        successor = upgraded.masters()[0].service.pid
        upgraded.wait_for_sole_master(successor)
    upgraded.assert_no_failure(load)
    assert _is_file_of(successor, REPOSITORY)
    assert web.get(f"{upgraded.ops_url}/readyz").json()["generation"] == 2

    code, printed = upgraded.coachman("handover")
    assert code == 0, f"{printed}\n{upgraded.log()}"
    assert upgraded.masters()[0].service.generation == 3
