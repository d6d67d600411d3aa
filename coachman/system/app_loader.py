"""Loads the application in the master, before any worker is forked."""

import importlib
import sys
import traceback
from types import TracebackType
from typing import Any


def load(path: str) -> Any:
    """The ASGI application that MODULE:ATTRIBUTE names, or the end of the process with one sentence.

    A fault inside the application's own code keeps the part of its traceback that is its author's.
    """
    module_name, attribute = path.split(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SystemExit(f"COACHMAN_APP={path}: {_missing(error, module_name)}") from None
    except Exception as error:  # noqa: BLE001 - whatever the user's module raises ends in one sentence
        _print_users_part(error)
        raise SystemExit(f"COACHMAN_APP={path}: importing {module_name} failed: {_describe(error)}") from None
    application = getattr(module, attribute, None)
    if not callable(application):
        raise SystemExit(f"COACHMAN_APP={path}: {module_name} has no application named {attribute}.")
    return application


def _missing(error: ModuleNotFoundError, module_name: str) -> str:
    if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
        return f"there is no module {error.name} here; run it from the folder that holds it."
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{where.filename}:{where.lineno} needs the module {error.name}, which is not installed."


def _describe(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]


def _print_users_part(error: Exception) -> None:
    frame: TracebackType | None = error.__traceback__
    while frame is not None and (
        frame.tb_frame.f_code.co_filename == __file__
        or frame.tb_frame.f_code.co_filename.startswith("<frozen importlib")
        or frame.tb_frame.f_globals.get("__name__") == "importlib"
    ):
        frame = frame.tb_next
    traceback.print_exception(type(error), error, frame, file=sys.stderr)
