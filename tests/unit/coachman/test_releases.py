"""The parts of a release that need no machine."""

import errno
import json
import os
from pathlib import Path

import pytest

from coachman.releases import hints, journal, source
from coachman.releases.command import RefusedError, run
from coachman.releases.disk import commit, point_current_at, prune, switch
from coachman.releases.instance import Instance
from coachman.releases.layout import Layout, Release


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    for number in range(1, 5):
        release = layout.release(f"r{number}")
        release.folder.mkdir(parents=True)
        release.record.write_text("{}")
    return layout


def test_a_lock_names_its_holder_and_is_free_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    taken = pytest.raises(RefusedError, match=r"has begun a release at \S+Z \(pid")
    with journal.locked(path, "release"), taken, journal.locked(path, "rollback"):
        pass
    with journal.locked(path, "rollback"):
        pass


def test_the_audit_log_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for outcome in ("refused", "serves"):
        journal.record(path, did="release", outcome=outcome)

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["refused", "serves"]
    assert {"at", "who"} <= lines[0].keys()


def test_pruning_keeps_the_newest_and_the_one_that_serves_and_removes_the_unfinished(layout: Layout) -> None:
    point_current_at(layout, layout.release("r1"))
    layout.release("r3").record.unlink()

    gone = prune(layout, keep=1)

    assert {release.id for release in gone} == {"r2", "r3"}
    assert [release.id for release in layout.complete()] == ["r1", "r4"]


def test_current_moves_in_one_step_and_can_be_taken_away(layout: Layout) -> None:
    point_current_at(layout, layout.release("r1"))
    point_current_at(layout, layout.release("r2"))
    assert layout.serving() == Release(layout.releases / "r2")
    assert layout.current.readlink() == Path("releases/r2"), "the link must not name the root"

    point_current_at(layout, None)
    assert layout.serving() is None


@pytest.mark.parametrize("name", ["../etc", "", ".", "a/b"])
def test_a_name_cannot_lead_out_of_the_releases(layout: Layout, name: str) -> None:
    with pytest.raises(RefusedError, match="is no release"):
        layout.release(name)


def test_a_switch_has_a_way_back_until_it_is_committed(layout: Layout) -> None:
    point_current_at(layout, layout.release("r1"))

    switch(layout, layout.release("r2"))
    assert layout.fallback.readlink() == Path("releases/r1")

    commit(layout, layout.release("r2"))
    assert (layout.serving(), layout.fallback.is_symlink()) == (layout.release("r2"), False)


def test_a_program_that_does_not_end_or_is_not_there_is_one_sentence() -> None:
    with pytest.raises(RefusedError, match=r"^`sleep 60` has not ended within 0\.1 s\.$"):
        run("sleep", "60", seconds=0.1)
    with pytest.raises(RefusedError, match=r"^`nowhere-to-be-found` cannot be run here: no such file"):
        run("nowhere-to-be-found")


def test_a_tarball_that_is_none_is_refused_with_tars_own_words(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("no tarball")

    with pytest.raises(RefusedError, match=r"x\.tar cannot be unpacked: \S"):
        source.copy(tmp_path / "x.tar", tmp_path / "release")


def test_a_full_disk_takes_the_holders_name_and_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    taken = pytest.raises(RefusedError, match=r"^Another release is under way; wait for its end")
    with journal.locked(tmp_path / "lock", "release"), taken, journal.locked(tmp_path / "lock", "rollback"):
        pass


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        ('wsgi_app = "main:app"\nworkers = 2\n', False),
        ("# from coachman.gunicorn_config import *\nworkers = 2\n", False),
        ("from coachman.gunicorn_config import *\nworkers = 2\n", True),
        ("import coachman.hooks\n", True),  # of version 0.1
    ],
)
def test_a_configuration_of_gunicorns_that_would_leave_coachman_out_is_refused(
    tmp_path: Path, text: str, is_ours: bool
) -> None:
    project = tmp_path / "shop"
    project.mkdir()
    (project / "requirements.txt").touch()
    (project / "gunicorn.conf.py").write_text(text)

    if is_ours:
        source.copy(project, tmp_path / "release")
    else:
        with pytest.raises(RefusedError, match=r"shop/gunicorn\.conf\.py would be read in the place of"):
            source.copy(project, tmp_path / "release")
        assert not (tmp_path / "release").exists()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """Its settings are in a folder of the test."""
    monkeypatch.setattr(Instance, "settings", tmp_path / "coachman.env")
    return Instance("shop")


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        ("PermissionError: [Errno 13] Permission denied: '{release}/app.log'", True),
        ("OSError: [Errno 30] Read-only file system: 'app.log'", True),
        ("OSError: [Errno 30] Read-only file system: '/srv/media/x'", False),
        ("(sqlite3.OperationalError) attempt to write a readonly database", True),
        ("ValueError: no broker", False),
    ],
)
def test_who_writes_into_a_release_is_told_where_to(
    layout: Layout, shop: Instance, error: str, is_told: bool
) -> None:
    release = layout.release("r1")
    reason = error.format(release=release.folder)

    said = hints.explained(reason, release, shop)

    told = "\nA release is read-only: write to $STATE_DIRECTORY, which is /var/lib/coachman-shop."
    assert said == reason + (told if is_told else "")


def test_who_renames_the_module_is_told_that_the_machine_has_the_old_name(
    layout: Layout, shop: Instance
) -> None:
    release, reason = layout.release("r1"), "COACHMAN_APP=main:app: there is no module main here; run it from"
    assert hints.explained(reason, release, shop) == reason, "the name is the release's own"

    shop.settings.write_text("COACHMAN_APP=main:app\n")
    assert "Where they differ, remove it there and put `app` under" in hints.explained(reason, release, shop)
    (release.folder / "pyproject.toml").write_text('[tool.coachman]\napp = "shop.web:app"\n')
    said = hints.explained(reason, release, shop)
    assert f"COACHMAN_APP in {shop.settings} wins over app = 'shop.web:app' in pyproject.toml" in said
    assert hints.explained("COACHMAN_APP=main:app: importing main failed: KeyError: 'X'", release, shop) == (
        "COACHMAN_APP=main:app: importing main failed: KeyError: 'X'"
    )
