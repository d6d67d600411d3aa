"""`coachman top` of a service that runs: its keys kill, scale and hand over."""

import sys
from pathlib import Path

from tests.support.generations import Generations
from tests.support.service import REPOSITORY, running, wait_until
from tests.support.terminal import at_terminal


def test_the_keys_kill_scale_and_hand_over(tmp_path: Path) -> None:
    # Of each step of a handover, the screen shows what it finds at two looks a second.
    with running(Generations(tmp_path, TESTS_PROBATION_SECONDS="5")) as service:
        service.wait_settled()
        killed = service.slots()[1]["pid"]
        environment = service.environment | {"LANG": "C.UTF-8"}
        command = [sys.executable, "-m", "coachman", "top"]
        with at_terminal(command, cwd=REPOSITORY, environment=environment, columns=120) as terminal:
            terminal.wait_for(r"2/2 workers ready")

            terminal.press("k1\r")
            terminal.wait_for(rf"The worker in slot 1 \(pid {killed}\) was killed\.")
            assert wait_until(lambda: service.report()["ready"] == 2 and killed not in service.worker_pids())

            terminal.press("+y")
            assert wait_until(lambda: len(service.worker_pids()) == 3), service.log()
            terminal.wait_for(r"3/3 workers ready")

            service.wait_settled()
            terminal.press("h")
            terminal.wait_for(r"Hand over to the release that is there now\? y/n")
            terminal.press("y")
            terminal.wait_for(r"Handover, 1 of 4")
            terminal.wait_for(r"3 of 4: both generations serve")
            terminal.wait_for(r"workers ready, [\d,]+ requests?, generation 2")
            assert wait_until(lambda: service.report()["generation"] == 2), service.log()

            terminal.press("q")
            assert terminal.wait_end() == 0, terminal.shown
