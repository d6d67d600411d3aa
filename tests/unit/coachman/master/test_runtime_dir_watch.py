from pathlib import Path

import pytest

from coachman.master.runtime_dir_watch import RuntimeDirWatch
from coachman.state import runtime_dir
from coachman.state.events import Events


def test_a_folder_that_nobody_may_look_into_is_said_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    runtime_dir.path_of(folder, 7).touch()
    watch = RuntimeDirWatch(folder, 7, Events(folder, 1))
    watch.check()
    assert not caplog.records

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("os.stat", forbidden)
        watch.check()
        watch.check()

    [said] = caplog.messages
    assert "was removed and cannot be made again" in said
