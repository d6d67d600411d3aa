"""What README and docs/ tell a reader to run exists: commands, their options, targets of make, files."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import typer

import coachman.__main__  # noqa: F401 - adds run, dev and serve
from app.__main__ import cli as app_cli
from coachman.cli import cli as coachman_cli
from loadtests.__main__ import cli as loadtests_cli
from tests.support.documents import DOCUMENTS, ROOT, blocks, commands

OURS = {
    "coachman": typer.main.get_command(coachman_cli),
    "app": typer.main.get_command(app_cli),
    "loadtests": typer.main.get_command(loadtests_cli),
}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# Programs of others, which are not asked for their options.
FOREIGN = {
    *(
        "alias",
        "buildah",
        "cat",
        "cp",
        "curl",
        "docker",
        "echo",
        "export",
        "gunicorn",
        "install",
        "journalctl",
        "kubectl",
    ),
    *("locust", "nginx", "pip", "pip-audit", "podman", "printf", "promtool", "systemctl", "uvicorn"),
}
IN_THE_PLACE_OF_A_NAME = re.compile(r"[A-Z]|…|\.\.\.")  # NAME, 'GET /x', ...


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_command_that_a_document_names_exists(document: Path) -> None:
    faults = [
        f"{' '.join(command)}: {fault}" for command in commands(document) if (fault := fault_of(command))
    ]

    assert not faults, "\n".join(faults)


def test_the_readme_has_blocks_to_copy_without_a_prompt() -> None:
    found = blocks(ROOT / "README.md")

    assert len(found) >= 8
    assert not [block for block in found if block.startswith(("$", "#"))]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("coachman statsu", "no command of coachman"),
        ("coachman status --wtach", "no option of coachman status"),
        ("coachman -n bakery status --watch", ""),
        ("make tset", "no target of the Makefile"),
        ("python -m loadtests drill --attahc", "no option of loadtests drill"),
        ("python -m tests.nothing", "no such module"),
        ("cp deploy/nothing /tmp", "no such file: deploy/nothing"),
        ("cerl localhost", "an unknown program"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, fault: str) -> None:
    assert fault_of(command.split()) == fault


def fault_of(command: list[str]) -> str:
    """Why a command cannot be run as it is written; empty when it can."""
    program, *arguments = command
    name = Path(program).name
    if name == "make":
        return fault_of_target(arguments)
    if re.fullmatch(r"python3?", name):
        return fault_of_python(arguments)
    if name in OURS:
        return fault_of_ours(name, arguments)
    if name not in FOREIGN:
        return "an unknown program"
    missing = [word for word in arguments if word.startswith("deploy/") and not (ROOT / word).exists()]
    return f"no such file: {missing[0]}" if missing else ""


def fault_of_target(arguments: list[str]) -> str:
    return "" if not arguments or arguments[0] in TARGETS else "no target of the Makefile"


def fault_of_python(arguments: list[str]) -> str:
    if arguments[0] != "-m":
        return "" if (ROOT / arguments[0]).exists() else "no such file"
    module, *rest = arguments[1:]
    if module in OURS:
        return fault_of_ours(module, rest)
    try:
        return "" if importlib.util.find_spec(module) else "no such module"
    except ModuleNotFoundError:
        return "no such module"


def fault_of_ours(program: str, arguments: list[str]) -> str:
    command, path = OURS[program], program
    words = iter(arguments)
    for word in words:
        name, _, value = word.partition("=")
        if word.startswith("-"):
            if not has_option(command, name):
                return f"no option of {path}"
            if not value and takes_a_value(command, name):
                next(words, None)
        elif subcommands(command) and not IN_THE_PLACE_OF_A_NAME.search(word):
            word = word.rstrip(",")
            if word not in subcommands(command):
                return f"no command of {path}"
            command, path = subcommands(command)[word], f"{path} {word}"
    return ""


# Typer brings a Click of its own, so that these are asked for what they have and not for what they are.
def subcommands(command: Any) -> dict[str, Any]:
    found: dict[str, Any] = getattr(command, "commands", {})
    return found


def has_option(command: Any, word: str) -> bool:
    passes_on = command.context_settings.get("ignore_unknown_options", False)
    return passes_on or word == "--help" or any(word in names_of(option) for option in command.params)


def takes_a_value(command: Any, word: str) -> bool:
    return any(word in names_of(option) and not option.is_flag for option in command.params)


def names_of(option: Any) -> tuple[str, ...]:
    return (*option.opts, *option.secondary_opts)
