"""What a project's packages are read from: requirements.txt, a lock, or pyproject.toml alone."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from coachman.releases import locks, workspace
from coachman.releases.command import RefusedError
from coachman.system import project_file

REQUIREMENTS, UV, PYLOCK, POETRY = "requirements.txt", "uv.lock", "pylock.toml", "poetry.lock"
FORMS = (REQUIREMENTS, UV, PYLOCK, POETRY, project_file.NAME)  # the first that is there is taken
_OTHER_LOCKS = {  # which would not be heeded beside a pyproject.toml, and what to run
    "pdm.lock": "pdm export --prod --output requirements.txt",
    "Pipfile.lock": "pipenv requirements > requirements.txt",
}
_EDITABLE = re.compile(r"(?:-e|--editable)[ =]\s*(?P<place>\S+)|(?P<bare>\.{1,2}(?:/\S*)?)(?:\s|$)")


class Requirements(NamedTuple):
    """What is installed, as lines of requirements."""

    form: str
    is_locked: bool  # the lines name everything there is to install
    hashed: list[str]
    plain: list[str]
    editable: list[str]  # folders of the project itself, which are built here


def form_of(folder: Path) -> str | None:
    """Returns the name of the file that the packages are read from; None where there is none."""
    return next((name for name in FORMS if (folder / name).is_file()), None)


def require_form(folder: Path) -> None:
    """Raises RefusedError, with what to run, where nothing says which packages are to be installed."""
    form = form_of(folder)
    if form is None or form == project_file.NAME:
        for name, command in _OTHER_LOCKS.items():
            if (folder / name).exists():
                raise RefusedError(f"{folder} has a {name}, which pip and uv cannot read: run `{command}`.")
    if form is None:
        raise RefusedError(
            f"{folder} has no {', '.join(FORMS[:-1])} or {FORMS[-1]}: a release installs what one of them"
            " names."
        )
    if form == project_file.NAME and (root := workspace.lock_above(folder)):
        raise RefusedError(
            f"{folder} is in a workspace, whose uv.lock is in {root}: run `coachman release --package NAME"
            f" {root}`."
        )


def read(folder: Path, form: str) -> Requirements:
    """Reads any form but uv.lock, which uv alone reads. Raises RefusedError when it cannot be used."""
    match form:
        case "requirements.txt":
            text = (folder / form).read_text(encoding="utf-8")
            return of_text(form, text)
        case "pylock.toml":
            return _of_lock(folder, form, locks.from_pylock(_toml(folder / form)))
        case "poetry.lock":
            return _of_lock(folder, form, locks.from_poetry(_toml(folder / form)))
    return _of_project(folder, form)


def of_text(form: str, text: str) -> Requirements:
    """Takes the project's own folders out of requirements with hashes: a folder has none."""
    if "--hash=" not in text:
        return Requirements(form, False, [], text.splitlines(), [])
    lines, editable = [], []
    for line in text.replace("\\\n", " ").splitlines():
        found = _EDITABLE.match(line.strip())
        if found:
            editable.append(found["place"] or found["bare"])
        else:
            lines.append(line)
    return Requirements(form, True, lines, [], editable)


def _of_lock(folder: Path, form: str, lines: list[str]) -> Requirements:
    editable = [line.removeprefix("-e ") for line in lines if line.startswith("-e ")]
    options = [line for line in lines if line.startswith("--")]
    packages = [line for line in lines if not line.startswith("-")]
    hashed = [line for line in packages if "--hash=" in line]
    plain = [line for line in packages if "--hash=" not in line]  # of git, whose commit is named
    if _is_package(folder):
        editable.append(".")
    return Requirements(form, True, [*options, *hashed] if hashed else [], plain, editable)


def _of_project(folder: Path, form: str) -> Requirements:
    table = _project(folder)
    if _is_package(folder):  # it is built, which says what it needs
        return Requirements(form, False, [], ["-e ."], [])
    found = table.get("project", {}).get("dependencies")
    if found is None:
        raise RefusedError(
            f"{form} names no packages: give it [project] with dependencies, or make a lock (`uv lock`,"
            " `poetry lock`)."
        )
    return Requirements(form, False, [], list(found), [])


def has_sources(folder: Path) -> bool:
    """Says whether pyproject.toml takes packages from elsewhere by tool.uv.sources, which uv alone reads."""
    return bool(_project(folder).get("tool", {}).get("uv", {}).get("sources"))


def _is_package(folder: Path) -> bool:
    table = _project(folder)
    tools = table.get("tool", {})
    says = tools.get("uv", {}).get("package", tools.get("poetry", {}).get("package-mode"))
    return bool(says) if says is not None else "build-system" in table


def _project(folder: Path) -> Mapping[str, Any]:
    try:
        return project_file.whole(folder)
    except ValueError as error:
        raise RefusedError(str(error)) from None


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RefusedError(f"{path.name} cannot be read: {error}.") from None
