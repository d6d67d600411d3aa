"""What of a project is left behind by a release, and who may read what is in one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from coachman.releases import private, source
from coachman.releases.command import RefusedError
from coachman.releases.instance import UNNAMED

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path / "project", {"requirements.txt": "", "main.py": ""})


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def released(project: Path) -> tuple[set[str], str]:
    """The files of a release of it, and what was said to be left behind."""
    folder = project.parent / "release"
    shutil.rmtree(folder, ignore_errors=True)
    left = source.copy(project, folder)
    assert left is not None
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return files - {"requirements.txt", "main.py"}, left.sentence()


def test_caches_and_what_belongs_to_the_place_of_the_source_are_left_there(project: Path) -> None:
    for name in (".git/x", ".venv/x", "var/x", "shop/__pycache__/x", ".ruff_cache/x", "env/pyvenv.cfg"):
        write(project, {name: ""})
    write(project, {"shop/var/is_a_package.py": ""})

    files, said = released(project)

    assert files == {"shop/var/is_a_package.py"}
    for name in (".git", ".venv", "var", "__pycache__", ".ruff_cache", "env"):
        assert name in said


def test_secrets_are_left_behind_by_name_or_by_what_is_in_them(project: Path) -> None:
    secrets = {".env": "", ".env.production": "", "certs/id_ed25519": "", "deploy/server.txt": KEY}
    secrets |= {"chain.pem": CERTIFICATE + KEY, "google.json": f'{{"private_key": "{KEY!r}"}}', "tls.key": ""}
    shared = {".env.example": "", "certs/ca.pem": CERTIFICATE, "keys.py": f"TEST_KEY = '''{KEY}'''"}
    write(project, secrets | shared)

    files, said = released(project)

    assert files == set(shared)
    assert said.startswith("Left behind: ")
    assert said.endswith("(secrets)")
    assert all(name in said for name in secrets)


def test_databases_are_left_behind_by_name_or_by_what_is_in_them(project: Path) -> None:
    write(project, {"shop.db": "", "shop.db-wal": "", "data/store": "SQLite format 3\0...", "db.py": ""})

    files, said = released(project)

    assert files == {"db.py"}
    assert "shop.db-wal" in said
    assert "data/store" in said


def test_a_database_is_told_where_to_go(project: Path) -> None:
    said = private.about_databases(["data/shop.db"], Path("/root/shop"), UNNAMED)

    assert said.startswith("data/shop.db stays behind: ")
    assert "install -o coachman -g coachman -m 640 /root/shop/data/shop.db /var/lib/coachman/shop.db" in said


IGNORED = {
    ".gitignore": "*.log\n/dist/\n",
    "shop/.gitignore": "local.py\n!keep.log\n",
    "app.log": "",
    "dist/bundle.js": "",
    "shop/local.py": "",
}
KEPT = {".gitignore", "shop/.gitignore", "shop/keep.log", "shop/web.py"}


def git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=a test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("is_checkout", [True, False])
def test_what_gitignore_names_is_left_behind(project: Path, is_checkout: bool) -> None:
    write(project, IGNORED | dict.fromkeys(KEPT - {".gitignore", "shop/.gitignore"}, ""))
    if is_checkout:
        git(project, "init", "--quiet")

    files, said = released(project)

    assert files == KEPT
    assert "app.log, dist, shop/local.py (in .gitignore)" in said


def test_what_is_committed_is_released_although_gitignore_names_it(project: Path) -> None:
    write(project, IGNORED)
    git(project, "init", "--quiet")
    git(project, "add", "--force", "dist")

    assert "dist/bundle.js" in released(project)[0]


def test_a_folder_that_another_checkout_ignores_is_released_whole(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    write(tmp_path, {".gitignore": "*\n"})
    project = write(tmp_path / "build" / "project", {"requirements.txt": "", "main.py": "", "shop.py": ""})

    assert released(project)[0] == {"shop.py"}


def test_without_git_it_is_said_that_a_gitignore_is_not_read(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(project))
    assert "gitignore" not in released(project)[1]
    write(project, IGNORED)

    files, said = released(project)

    assert "app.log" in files
    assert "Its .gitignore is not read: there is no git on this machine" in said


def test_a_projects_own_list_is_released_whatever_it_is(project: Path) -> None:
    include = '[tool.coachman]\nrelease-include = ["dist/js", "*.db", "tests/key.pem"]\n'
    write(project, {"pyproject.toml": include, ".gitignore": "dist/\n", "dist/js/a.js": "", "dist/b.map": ""})
    write(project, {"countries.db": "SQLite format 3\0", "tests/key.pem": KEY})

    files, said = released(project)

    assert files == {"pyproject.toml", ".gitignore", "dist/js/a.js", "countries.db", "tests/key.pem"}
    assert "dist/b.map (in .gitignore)" in said


def test_a_list_that_is_none_is_refused_in_a_sentence(project: Path) -> None:
    write(project, {"pyproject.toml": '[tool.coachman]\nrelease-include = "dist"\n'})

    with pytest.raises(RefusedError, match=r"tool\.coachman\.release-include is refused: it must be a list"):
        source.copy(project, project.parent / "release")


def test_modes_are_never_widened_and_others_may_not_write(project: Path) -> None:
    modes = {"private.toml": 0o600, "group.toml": 0o640, "start": 0o777, "shared.toml": 0o666}
    for name, mode in modes.items():
        (project / name).touch()
        (project / name).chmod(mode)
    (project / "inner").mkdir(mode=0o700)
    folder = project.parent / "release"
    source.copy(project, folder)

    source.protect(folder, None)

    found = {path.name: path.stat().st_mode & 0o7777 for path in folder.iterdir()}
    del found["requirements.txt"], found["main.py"]
    assert found == {
        "private.toml": 0o600,
        "group.toml": 0o640,
        "start": 0o755,
        "shared.toml": 0o644,
        "inner": 0o700,
    }
    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_others_may_not_read_is_the_services_own(project: Path) -> None:
    (project / "main.py").chmod(0o600)
    folder = project.parent / "release"
    source.copy(project, folder)

    source.protect(folder, (65534, 65534))

    assert (folder / "main.py").stat().st_uid == 65534
    assert (folder / "requirements.txt").stat().st_uid == 0


def test_a_release_with_a_secret_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"certs/server.pem": KEY, ".venv/lib/test.pem": KEY})
    secret = tmp_path / "certs" / "server.pem"
    secret.chmod(0o644)
    with pytest.raises(RefusedError, match=r"^certs/server\.pem holds a secret .* run `chmod o-r certs/serv"):
        source.protect(tmp_path, None)

    secret.chmod(0o640)
    source.protect(tmp_path, None)
