import os
import signal
from pathlib import Path

import pytest

from coachman.state import runtime_dir
from coachman.state.states import State


def test_another_process_reads_what_the_master_writes_until_it_is_killed(tmp_path: Path) -> None:
    ready, told = os.pipe()
    master = os.fork()
    if not master:
        board = runtime_dir.publish(tmp_path / "run", os.getpid())
        board.update_service(pid=os.getpid(), workers=1, slots=1)
        board.slots[0].update(state=State.READY, pid=42)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        os.write(told, b"x")
        signal.sigwait([signal.SIGUSR1])
        board.slots[0].update(state=State.DRAINING)
        os.write(told, b"x")
        signal.pause()
    try:
        assert os.read(ready, 1)
        [board] = runtime_dir.scoreboards(tmp_path / "run")
        assert board.service.pid == master
        assert board.slots[0].read().pid == 42
        with pytest.raises(runtime_dir.InUseError, match=f"the master {master} of another service"):
            runtime_dir.publish(tmp_path / "run", os.getpid())
        os.kill(master, signal.SIGUSR1)
        assert os.read(ready, 1)
        with pytest.raises(runtime_dir.InUseError, match=f"the master {master} there still drains. Start"):
            runtime_dir.publish(tmp_path / "run", os.getpid())
    finally:
        os.kill(master, signal.SIGKILL)
        os.waitpid(master, 0)

    assert runtime_dir.scoreboards(tmp_path / "run") == []
    runtime_dir.publish(tmp_path / "run", os.getpid())
    assert [path.name for path in (tmp_path / "run").iterdir()] == [f"scoreboard.{os.getpid()}"]
    runtime_dir.withdraw(tmp_path / "run", os.getpid())
    assert not list((tmp_path / "run").iterdir())


def test_a_file_that_is_no_scoreboard_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "scoreboard.1").write_bytes(b"short")
    (tmp_path / "scoreboard.old").write_bytes(bytes(10**6))

    assert runtime_dir.scoreboards(tmp_path) == []
    assert runtime_dir.scoreboards(tmp_path / "missing") == []
