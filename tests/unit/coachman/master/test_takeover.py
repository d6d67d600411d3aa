import os
from pathlib import Path

import pytest

from coachman.master.takeover import Takeover


def test_the_first_process_of_a_container_takes_over_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getppid", lambda: 0)

    takeover = Takeover(tmp_path, parent=0)
    assert takeover.generation == 1
    assert takeover.is_accepted()


def test_a_master_whose_predecessor_cannot_be_read_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="Restart the service instead"):
        Takeover(tmp_path, parent=os.getppid())


def test_a_master_whose_predecessor_has_ended_speaks_for_the_service(tmp_path: Path) -> None:
    assert Takeover(tmp_path, parent=2**22 + 1).is_accepted()
