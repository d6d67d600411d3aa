"""Why the check of a new release could not be run."""

import errno
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from coachman.master import reexec


@pytest.fixture(autouse=True)
def told_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str, folder: Path) -> NoReturn:
        raise SystemExit(text)  # in the place of the fork's end

    monkeypatch.setattr(reexec, "fail", fail)


def test_a_release_without_an_interpreter_is_told_by_its_path(tmp_path: Path) -> None:
    python = f"{tmp_path}/.venv/bin/python"

    with pytest.raises(SystemExit, match=f"^{python}: No such file or directory. The release has no virtual"):
        reexec._check([python, "-m", "coachman", "check"], dict(os.environ), tmp_path, 30)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.ENOSPC, errno.ENOENT])
def test_what_keeps_the_check_from_running_is_not_the_releases_fault(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.TemporaryFile", refused)

    with pytest.raises(SystemExit) as ended:
        reexec._check([sys.executable], dict(os.environ), tmp_path, 30)
    assert ended.value.code == f"The new release cannot be checked: {os.strerror(number).lower()}."


@pytest.mark.parametrize("python", [(), ("-P",)])
def test_the_check_takes_the_flags_of_a_run_and_of_nothing_else(python: tuple[str, ...]) -> None:
    assert list(reexec._flags([*python, "-m", "coachman", "run", "--port", "1"])) == ["--port", "1"]
    assert list(reexec._flags([*python, "-m", "coachman", "serve", "--port", "1"])) == []
    assert list(reexec._flags(["/venv/bin/gunicorn", "-P"])) == []
