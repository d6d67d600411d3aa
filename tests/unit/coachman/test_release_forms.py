"""What a release reads of a project: which packages, which Python, which commit."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from coachman.releases import checkout, interpreter, locks, requirements, workspace
from coachman.releases.command import RefusedError
from coachman.releases.origin import Origin, local
from tests.unit.coachman.test_private import git, write

PACKAGED = '[project]\nname = "shop"\nversion = "1"\n[build-system]\nrequires = []\n'
PYLOCK: dict[str, Any] = {
    "default-groups": ["default"],
    "packages": [
        {
            "name": "click",
            "version": "8.5.1",
            "index": "https://pypi.org/simple",
            "marker": "'default' in dependency_groups and python_version >= '3.11'",
            "sdist": {"hashes": {"sha256": "aa"}},
            "wheels": [{"hashes": {"sha256": "bb"}}],
        },
        {
            "name": "dev",
            "version": "1",
            "index": "https://packages.example.com/simple",
            "marker": '"dev" in dependency_groups or "all" in extras',
            "wheels": [{"hashes": {"sha256": "cc"}}],
        },
        {
            "name": "lib",
            "vcs": {"type": "git", "url": "https://example.com/lib.git", "commit-id": "12ab"},
        },
        {"name": "own", "directory": {"path": "libs/own"}},
    ],
}
POETRY: dict[str, Any] = {
    "package": [
        {
            "name": "click",
            "version": "8.5.1",
            "groups": ["main", "dev"],
            "markers": {"main": "sys_platform == 'linux'"},
            "files": [
                {"file": "click.whl", "hash": "sha256:aa"},
                {"file": "click.tar.gz", "hash": "sha256:bb"},
            ],
            "source": {"type": "legacy", "url": "https://packages.example.com/simple"},
        },
        {"name": "pytest", "version": "9", "groups": ["dev"], "files": []},
        {"name": "toml", "version": "1", "groups": ["main"], "optional": True, "files": []},
        {
            "name": "lib",
            "version": "1",
            "groups": ["main"],
            "files": [],
            "source": {"type": "git", "url": "https://example.com/lib.git", "resolved_reference": "12ab"},
        },
    ],
    "metadata": {"lock-version": "2.1"},
}


def test_a_pylock_is_requirements_of_its_default_groups() -> None:
    assert locks.from_pylock(PYLOCK) == [
        "--extra-index-url https://packages.example.com/simple",
        "click==8.5.1 ; python_version >= '0' and python_version >= '3.11' --hash=sha256:aa --hash=sha256:bb",
        "dev==1 ; python_version < '0' or python_version < '0' --hash=sha256:cc",
        "lib @ git+https://example.com/lib.git@12ab",
        "-e ./libs/own",
    ]


def test_a_poetry_lock_is_requirements_of_its_main_group() -> None:
    assert locks.from_poetry(POETRY) == [
        "--extra-index-url https://packages.example.com/simple",
        "click==8.5.1 ; sys_platform == 'linux' --hash=sha256:aa --hash=sha256:bb",
        "lib @ git+https://example.com/lib.git@12ab",
    ]


def test_a_lock_of_poetry_1_is_refused_with_what_to_run() -> None:
    with pytest.raises(
        RefusedError, match=r"poetry\.lock is of Poetry 1, .* run `poetry lock` with Poetry 2"
    ):
        locks.from_poetry({"metadata": {"lock-version": "2.0"}})


def test_a_locks_own_folders_and_commits_are_installed_apart_from_hashes(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": PACKAGED})

    found = requirements._of_lock(tmp_path, "pylock.toml", locks.from_pylock(PYLOCK))

    assert (found.is_locked, found.editable) == (True, ["./libs/own", "."])
    assert [line.split()[0] for line in found.hashed] == ["--extra-index-url", "click==8.5.1", "dev==1"]
    assert [line.split()[0] for line in found.plain] == ["lib"]


def test_the_project_itself_among_hashes_as_uv_exports_it_is_built() -> None:
    exported = "-e .\n-e ./libs/own\nsix==1.17.0 \\\n    --hash=sha256:aa\n"

    found = requirements.of_text("requirements.txt", exported)

    assert found.editable == [".", "./libs/own"]
    assert [line.split() for line in found.hashed] == [["six==1.17.0", "--hash=sha256:aa"]]


def test_requirements_without_hashes_are_taken_as_they_are() -> None:
    found = requirements.of_text("requirements.txt", "-e .\nsix\n-r more.txt\n")

    assert (found.is_locked, found.plain, found.editable) == (False, ["-e .", "six", "-r more.txt"], [])


def test_a_pyproject_alone_is_built_when_it_is_a_package_and_read_when_it_is_none(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": PACKAGED})
    assert requirements.read(tmp_path, "pyproject.toml").plain == ["-e ."]

    write(tmp_path, {"pyproject.toml": '[project]\nname = "shop"\ndependencies = ["six>=1"]\n'})
    assert requirements.read(tmp_path, "pyproject.toml").plain == ["six>=1"]

    write(tmp_path, {"pyproject.toml": "[tool.ruff]\n"})
    with pytest.raises(RefusedError, match=r"pyproject\.toml names no packages: give it \[project\]"):
        requirements.read(tmp_path, "pyproject.toml")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], r"has no requirements\.txt, uv\.lock, pylock\.toml, poetry\.lock or pyproject\.toml: a release"),
        (["pyproject.toml", "pdm.lock"], r"has a pdm\.lock, which .* run `pdm export --prod --output"),
        (["Pipfile.lock"], r"has a Pipfile\.lock, which .* run `pipenv requirements > requirements\.txt`"),
    ],
)
def test_what_cannot_be_installed_is_refused_with_what_to_run(
    tmp_path: Path, files: list[str], sentence: str
) -> None:
    write(tmp_path, dict.fromkeys(files, ""))

    with pytest.raises(RefusedError, match=sentence):
        requirements.require_form(tmp_path)


def test_a_broken_lock_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, {"poetry.lock": "[[", "pylock.toml": "x"})

    for name in ("poetry.lock", "pylock.toml"):
        with pytest.raises(RefusedError, match=rf"^{name} cannot be read: "):
            requirements.read(tmp_path, name)


@pytest.mark.parametrize(
    ("specifier", "fitting", "others"),
    [
        (">=3.11,<4", [(3, 11, 0), (3, 14, 1)], [(3, 10, 9), (4, 0, 0)]),
        ("~=3.12", [(3, 12, 0), (3, 13, 2)], [(3, 11, 9), (4, 0, 0)]),
        ("~=3.12.3", [(3, 12, 4)], [(3, 12, 2), (3, 13, 0)]),
        ("==3.12.*, !=3.12.4", [(3, 12, 3)], [(3, 12, 4), (3, 13, 0)]),
        ("==3.12", [(3, 12, 0)], [(3, 12, 1)]),
        (">3.11", [(3, 11, 7)], [(3, 11, 0)]),
        ("", [(3, 11, 0)], []),
    ],
)
def test_requires_python_is_understood(
    specifier: str, fitting: list[interpreter.Version], others: list[interpreter.Version]
) -> None:
    assert all(interpreter.satisfies(version, specifier) for version in fitting)
    assert not any(interpreter.satisfies(version, specifier) for version in others)


def project_for(folder: Path, pin: str = "", specifier: str = "") -> Path:
    files = {".python-version": f"{pin}\n"} if pin else {}
    table = f'requires-python = "{specifier}"\n' if specifier else ""
    return write(folder, files | {"pyproject.toml": f'[project]\nname = "shop"\n{table}'})


def test_the_machines_python_is_taken_where_it_fits(tmp_path: Path) -> None:
    project = project_for(tmp_path, specifier=">=3.11")

    assert interpreter.choose(project, None).startswith("/")
    assert interpreter.choose(project, "uv").startswith("/")


@pytest.mark.parametrize(
    ("pin", "specifier", "asked"),
    [
        ("3.19", "", "3.19"),
        ("cpython-3.19.2-linux", ">=3.11", "3.19"),
        ("", ">=3.19,<4", ">=3.19,<4"),
        ("shop-env", ">=3.19", ">=3.19"),
    ],
)
def test_uv_is_asked_for_a_python_that_the_machine_does_not_have(
    tmp_path: Path, pin: str, specifier: str, asked: str
) -> None:
    project = project_for(tmp_path, pin, specifier)

    assert interpreter.choose(project, "uv") == asked
    with pytest.raises(RefusedError, match=r"^It asks for Python .*3\.19.*, and this machine has 3\.\d+"):
        interpreter.choose(project, None)


def test_a_python_on_the_path_is_taken_where_there_is_no_uv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = tmp_path / "python3.19"
    newer.write_text("#!/bin/sh\necho 3 19 1\n")
    newer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert interpreter.choose(project_for(tmp_path, "3.19"), None) == str(newer)


def test_a_requires_python_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"requires-python is refused: \^3\.11 is not a comparison"):
        interpreter.wanted(project_for(tmp_path, specifier="^3.11"))


ROOT = '[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n'


@pytest.fixture
def a_workspace(tmp_path: Path) -> Path:
    members = {
        f"packages/{name}/pyproject.toml": f'[project]\nname = "{name}"\n' for name in ("Shop_API", "old")
    }
    return write(tmp_path / "root", {"pyproject.toml": ROOT, "uv.lock": "", **members})


def test_a_member_of_a_workspace_is_found_by_its_name(a_workspace: Path) -> None:
    assert workspace.member(a_workspace, "shop-api") == a_workspace / "packages" / "Shop_API"
    with pytest.raises(RefusedError, match=r"--package old: .* has no such package; there is: shop-api\."):
        workspace.member(a_workspace, "old")


def test_a_members_folder_alone_is_refused_for_its_lock_is_elsewhere(a_workspace: Path) -> None:
    with pytest.raises(RefusedError, match=r"uv\.lock is in .*root: run `coachman release --package NAME"):
        requirements.require_form(a_workspace / "packages" / "Shop_API")


@pytest.mark.parametrize(
    ("text", "place", "ref", "subdirectory"),
    [
        ("https://example.com/shop.git", "https://example.com/shop.git", "", ""),
        ("git+https://example.com/shop.git@v1.2", "https://example.com/shop.git", "v1.2", ""),
        ("https://me:word@example.com/a/shop@v1", "https://me:word@example.com/a/shop", "v1", ""),
        ("ssh://git@example.com/shop.git", "ssh://git@example.com/shop.git", "", ""),
        ("git@example.com:a/shop.git", "git@example.com:a/shop.git", "", ""),
        ("https://example.com/shop@v1#subdirectory=api", "https://example.com/shop", "v1", "api"),
    ],
)
def test_a_git_url_is_read_as_pip_writes_it(text: str, place: str, ref: str, subdirectory: str) -> None:
    assert Origin.of(text) == Origin(place, True, ref, subdirectory)


def test_a_password_in_a_url_is_shown_to_nobody() -> None:
    assert str(Origin.of("https://me:word@example.com/shop@v1")) == "https://example.com/shop@v1"


@pytest.mark.parametrize(
    "text", ["http://example.com/shop.git", "ext::sh://x", "git://me:word@example.com/x"]
)
def test_a_url_that_anybody_on_the_way_can_change_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="is refused: it must begin with https:// or ssh://") as refused:
        Origin.of(text)
    assert "word" not in str(refused.value)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = write(tmp_path / "repository", {"requirements.txt": "", "api/main.py": "VERSION = 1\n"})
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "One")
    git(folder, "tag", "v1")
    write(folder, {"api/main.py": "VERSION = 2\n"})
    git(folder, "commit", "--quiet", "-a", "-m", "Two")
    return folder


def commit_of(repository: Path, ref: str) -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short=12", ref], cwd=repository, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_commit_of_a_checkout_is_known_and_whether_files_differ_from_it(repository: Path) -> None:
    assert checkout.commit(repository) == commit_of(repository, "HEAD")
    write(repository, {"new.py": ""})
    assert checkout.commit(repository) == f"{commit_of(repository, 'HEAD')}+changes"
    assert checkout.commit(repository.parent) == ""


@pytest.mark.parametrize("ref", ["v1", "HEAD~1"])
def test_a_checkouts_tag_or_commit_is_released_and_not_what_lies_in_it(
    repository: Path, tmp_path: Path, ref: str
) -> None:
    write(repository, {"api/main.py": "VERSION = 3\n"})

    with local(Origin.of(str(repository), ref=ref), tmp_path) as found:
        assert (found.path / "api" / "main.py").read_text() == "VERSION = 1\n"
        assert found.commit == commit_of(repository, "v1")
    assert not found.path.exists()


def test_a_folder_of_a_checkout_is_released_at_a_commit_too(repository: Path, tmp_path: Path) -> None:
    with local(Origin.of(str(repository / "api"), ref="v1"), tmp_path) as found:
        assert (found.path / "main.py").read_text() == "VERSION = 1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="root is who releases")
def test_root_runs_nothing_that_somebodys_checkout_names(repository: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch(mode=0o666)
    log.chmod(0o666)
    run_by = f"sh -c 'id -u >>{log}; cat'"
    for name, value in {
        "core.fsmonitor": run_by,
        "filter.spy.clean": run_by,
        "filter.spy.smudge": run_by,
        "diff.external": run_by,
    }.items():
        git(repository, "config", name, value)
    (repository / ".gitattributes").write_text("* filter=spy\n")
    (repository / "api" / "main.py").write_text("VERSION = 9\n")
    subprocess.run(["chown", "-R", "65534:65534", repository], check=True)
    for folder in (tmp_path, *tmp_path.parents):  # pytest's are the user's alone
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)

    assert checkout.commit(repository).endswith("+changes")
    assert checkout.ignored(repository) == []
    with local(Origin.of(str(repository), ref="v1"), tmp_path) as found:
        assert (found.path / "api" / "main.py").read_text() == "VERSION = 1\n"
    assert set(log.read_text().split()) <= {"65534"}


@pytest.mark.parametrize(("ref", "version"), [("", 2), ("v1", 1)])
def test_a_repository_is_fetched_at_a_tag_or_as_it_is(
    repository: Path, tmp_path: Path, ref: str, version: int
) -> None:
    url = f"file://{repository}{f'@{ref}' if ref else ''}#subdirectory=api"

    with local(Origin.of(url), tmp_path) as found:
        assert (found.path / "main.py").read_text() == f"VERSION = {version}\n"
        assert found.commit == commit_of(repository, ref or "HEAD")


def test_a_tag_that_is_not_there_is_one_sentence(repository: Path, tmp_path: Path) -> None:
    for origin, sentence in (
        (Origin.of(str(repository), ref="v9"), r"has no tag, branch or commit v9"),
        (Origin.of(f"file://{repository}@v9"), r"git cannot fetch it: .*v9"),
        (Origin.of(f"file://{repository}#subdirectory=../.."), r"^\.\./\.\. is no folder of file://"),
    ):
        with pytest.raises(RefusedError, match=sentence), local(origin, tmp_path):
            pass
