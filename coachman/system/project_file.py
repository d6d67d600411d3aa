"""What a project's pyproject.toml says about how it is served."""

import tomllib
from pathlib import Path
from typing import Any

NAME = "pyproject.toml"
OF_RELEASES = frozenset({"migrate", "release_include"})  # what releases read, and the service does not


def read(folder: Path) -> dict[str, Any]:
    """Returns the settings that table() has found."""
    return {name: value for name, value in table(folder).items() if name not in OF_RELEASES}


def table(folder: Path) -> dict[str, Any]:
    """Returns [tool.coachman], and [tool.fastapi]'s entrypoint as `app` where the former names none.

    Raises ValueError with a sentence when the file is there and cannot be used.
    """
    tools = whole(folder).get("tool", {})
    if not isinstance(tools, dict):
        raise ValueError(f"{NAME}: tool is refused: it must be a table.")  # noqa: TRY004 - a value in a file
    table, fastapi = tools.get("coachman", {}), tools.get("fastapi", {})
    if not isinstance(table, dict):
        raise ValueError(f"{NAME}: tool.coachman is refused: it must be a table.")  # noqa: TRY004 - as above
    values = {key.replace("-", "_"): value for key, value in table.items()}
    if "app" not in values and isinstance(fastapi, dict) and isinstance(fastapi.get("entrypoint"), str):
        values["app"] = fastapi["entrypoint"]
    return values


def whole(folder: Path) -> dict[str, Any]:
    """Returns everything in the file; nothing where there is none. Raises ValueError as table() does."""
    try:
        text = (folder / NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ValueError(f"{NAME} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    try:
        return tomllib.loads(text.decode())
    except ValueError as error:  # of TOML, and of UTF-8
        raise ValueError(f"{NAME} cannot be read: {error}.") from None
