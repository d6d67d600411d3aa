"""Which of the tests that take long a commit needs."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import proof
from tests.support.proof import PROOFS, Proof

pytest_plugins = ["pytester"]
SLOW = Proof("slow", ("code",))


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A repository with code/ and the folder slow/, whose tests have passed for it."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True, timeout=60)
    (tmp_path / ".gitignore").write_text("*.pyc")
    for name in ("code/a.py", "slow/test_it.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(proof, "REPOSITORY", tmp_path)
    SLOW.keep(SLOW.present(), ["test_it"])
    return tmp_path


def test_nothing_is_run_for_code_that_is_proven(repository: Path) -> None:
    (repository / "elsewhere").write_text("of no concern")
    (repository / "code" / "a.md").write_text("prose")
    (repository / "code" / "a.pyc").write_text("known to nobody")

    assert SLOW.to_run() is None


@pytest.mark.parametrize("changed", ["code/a.py", "code/b.py"])
def test_other_code_needs_the_tests_but_not_those_of_the_tests(repository: Path, changed: str) -> None:
    (repository / changed).write_text("2")

    assert SLOW.to_run() == ["-m", "not negligence"]


def test_a_file_of_another_name_is_other_code(repository: Path) -> None:
    (repository / "code" / "a.py").rename(repository / "code" / "b.py")

    assert SLOW.to_run() == ["-m", "not negligence"]


def test_other_tests_are_all_run(repository: Path) -> None:
    (repository / "slow" / "test_it.py").write_text("2")

    assert SLOW.to_run() == []


def test_without_a_proof_all_are_run(repository: Path) -> None:
    SLOW.file.unlink()

    assert SLOW.to_run() == []


def test_a_proof_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(SystemExit, match="app/nowhere is not there"):
        Proof("tests", ("app/nowhere",)).present()


@pytest.mark.parametrize("folder", PROOFS)
def test_what_each_proof_is_about_is_there(folder: str) -> None:
    assert set(PROOFS[folder].present()) == {"subject", "tests"}
    assert PROOFS[folder].file.parent.is_dir()


PASSES = "def test_one(): pass\ndef test_two(): pass\n"


@pytest.mark.parametrize(
    ("tests", "options", "said"),
    [
        (PASSES, [], "says that all tests have passed: commit it"),
        (PASSES, ["-k", "one"], "not all tests of the folder were run"),
        ("def test_one(): assert False", [], "not all tests have passed"),
        ("import pytest\ndef test_one(): pytest.skip('no')", [], "not all tests have passed"),
        (
            "import pathlib\ndef test_one(): pathlib.Path('code/a.py').write_text('3')",
            [],
            "the code was changed while",
        ),
    ],
)
def test_only_a_whole_run_that_passes_is_kept(
    repository: Path,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    tests: str,
    options: list[str],
    said: str,
) -> None:
    (repository / "slow" / "test_it.py").write_text(tests)
    SLOW.file.unlink()
    monkeypatch.chdir(repository)
    monkeypatch.setitem(PROOFS, "slow", SLOW)
    run = pytester.runpytest_inprocess("-p", "tests.support.keep_proof", "slow", *options)

    run.stdout.fnmatch_lines([f"*proof.json *{said}*"])
    kept = json.loads(SLOW.file.read_text()) if SLOW.file.exists() else None
    assert (kept is not None) == ("commit it" in said)
