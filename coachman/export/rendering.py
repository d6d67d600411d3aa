"""Fills the templates of this folder: values in a line, and blocks of lines in the place of a line."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

TEMPLATES = Path(__file__).with_name("templates")
_TOKEN = re.compile(r"@([a-z_]+)@")
_BLOCK = re.compile(r"^( *)@([a-z_]+)@$")
_PLAIN = re.compile(r"[A-Za-z/][\w./-]*")
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})  # for YAML


def render(template: str, values: Mapping[str, str]) -> str:
    """Returns the template with its tokens filled. A line that is one token becomes many lines, or none."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    lines: list[str] = []
    for line in text.splitlines():
        if block := _BLOCK.match(line):
            filled = _inline(values[block[2]], values)
            lines += [f"{block[1]}{one}".rstrip() for one in filled.splitlines()]
        else:
            lines.append(_inline(line, values))
    # A block without lines leaves the empty lines around it.
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def scalar(value: str) -> str:
    """Returns the text as YAML has it. A number or a truth in quotes, which else would be no text."""
    if _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False)


def mapping(pairs: Mapping[str, str]) -> list[str]:
    """Returns a line of YAML for each pair."""
    return [f"{name}: {scalar(value)}" for name, value in pairs.items()]


def block(heading: str, lines: Iterable[str], indent: int = 2) -> str:
    """Returns the heading and the lines below it; nothing where there are no lines."""
    found = [f"{' ' * indent}{line}" for line in lines]
    return "\n".join([heading, *found]) if found else ""


def _inline(text: str, values: Mapping[str, str]) -> str:
    return _TOKEN.sub(lambda found: values.get(found[1], found[0]), text)
