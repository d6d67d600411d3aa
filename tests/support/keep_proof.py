"""A plugin for pytest, `-p tests.support.keep_proof`: writes a folder's proof.json when all there has passed.

Only a run of that folder is watched: of a part of it nothing is kept, and nothing is said.
"""

from pathlib import Path

import pytest

from tests.support import proof
from tests.support.proof import PROOFS, Proof


def pytest_configure(config: pytest.Config) -> None:
    folders = [Path(name).resolve() for name in config.args]
    for kept in PROOFS.values():
        if [proof.REPOSITORY / kept.folder] == folders:
            config.pluginmanager.register(Keeper(kept), "proof keeper")


class Keeper:
    """Writes proof.json when all has passed, with nothing left out, skipped or edited meanwhile."""

    def __init__(self, proof: Proof) -> None:
        self._proof = proof
        self._before = proof.present()
        self._is_whole = True
        self._outcomes: dict[str, set[str]] = {}
        self._said = ""

    def pytest_deselected(self) -> None:  # by -k or -m
        self._is_whole = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._outcomes.setdefault(report.nodeid, set()).add(report.outcome)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        passed = [name for name, outcomes in self._outcomes.items() if outcomes == {"passed"}]
        if not self._is_whole:
            self._said = "proof.json stays as it was: not all tests of the folder were run"
        elif exitstatus or len(passed) < session.testscollected or not passed:
            self._said = "proof.json stays as it was: not all tests have passed"
        elif self._proof.present() != self._before:
            self._said = "proof.json stays as it was: the code was changed while the tests ran"
        else:
            self._proof.keep(self._before, passed)
            self._said = f"{self._proof.folder}/proof.json says that all tests have passed: commit it"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.line(self._said)
