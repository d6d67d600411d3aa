"""The documents as tests read them: their blocks of commands, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "systemd" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
)

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PRINTED = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROGRAM = r"coachman|make|(?:\.venv/bin/)?python -m (?:app|coachman|loadtests|tests\.[\w.]+)"
_INLINE = re.compile(rf"`((?:{_PROGRAM})(?: [^`]*)?)`")
_BETWEEN = {"&&", "|", ";", "||"}
_INTO_FILE = {">", ">>"}


def blocks(document: Path) -> list[str]:
    """Each block of commands that a reader copies."""
    return _BLOCK.findall(document.read_text())


def printed(document: Path) -> list[str]:
    """Each block of what a command prints."""
    return _PRINTED.findall(document.read_text())


def commands(document: Path) -> Iterator[list[str]]:
    """The words of each command of the blocks, and of each that is named in a sentence."""
    for block in blocks(document):
        for line in block.replace("\\\n", " ").splitlines():
            yield from _split(shlex.split(line, comments=True))
    for inline in _INLINE.findall(document.read_text()):
        yield from _split(inline.replace("\\|", "|").replace("\n", " ").split())


def _split(words: list[str]) -> Iterator[list[str]]:
    """At `&&` and pipes; without NAME=VALUE in front and the file that the output goes to."""
    command: list[str] = []
    rest = iter([*words, ";"])
    for word in rest:
        if word in _INTO_FILE:
            next(rest)
        elif word not in _BETWEEN:
            if command or not re.match(r"[A-Z_]+=", word):
                command.append(word)
        elif command:
            yield command
            command = []
