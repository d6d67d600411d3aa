"""Which tests on emulated machines a commit needs."""

import pytest

from tests.vm.qemu import proof


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What proof.json holds, to be changed."""
    record: dict[str, object] = {**proof.present(), "passed": []}
    monkeypatch.setattr(proof, "kept", lambda: record)
    return record


def test_nothing_is_run_for_code_that_is_proven(kept: dict[str, object]) -> None:
    assert proof.to_run() is None


def test_other_code_needs_the_tests_but_not_those_of_the_tests(kept: dict[str, object]) -> None:
    kept["subject"] = "of another commit"

    assert proof.to_run() == ["-m", "qemu and not negligence"]


@pytest.mark.parametrize("record", [{}, {"tests": "of another commit"}])
def test_other_tests_are_all_run(kept: dict[str, object], record: dict[str, object]) -> None:
    kept.pop("tests")
    kept.update(record)

    assert proof.to_run() == ["-m", "qemu"]


def test_a_proof_of_what_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "SUBJECT", ("app/nowhere",))

    with pytest.raises(SystemExit, match="app/nowhere is not there"):
        proof.present()


def test_every_change_of_a_file_and_of_its_name_is_another_digest(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("repository")
    proof.subprocess.run(["git", "init", "-q", folder], check=True, timeout=30)
    monkeypatch.setattr(proof, "REPOSITORY", folder)
    (folder / "code").mkdir()
    digests = set()
    for name, text in (("a", "1"), ("a", "2"), ("b", "2"), ("c.md", "prose"), ("d.pyc", "known to nobody")):
        (folder / ".gitignore").write_text("*.pyc")
        (folder / "code" / name).write_text(text)
        digests.add(proof.digest(["code"]))

    assert len(digests) == 3
