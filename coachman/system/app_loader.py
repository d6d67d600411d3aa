"""Loads the application: in the master before any worker is forked, or in each worker."""

import concurrent.futures.thread  # noqa: F401 (now: a queue.py of the project's would take the place of Python's)
import contextlib
import importlib
import inspect
import logging
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from coachman.system import app_finder, import_effects, root_logger
from coachman.system.app_finder import Reference

_LOGGERS = ("gunicorn", "uvicorn", "coachman")


class Loaded(NamedTuple):
    """What the last load has found besides the application itself."""

    name: str  # such as main:app or main:create_app()
    made_at_import: list[str]  # see import_effects.since


loaded = Loaded("", [])


def load(name: str = "", app_dir: str = "", *, factory: bool = False) -> Any:
    """The ASGI application of that name, or the end of the process with one sentence.

    `name` is as people write it (see app_finder.refer); without one the usual files are looked for.
    `app_dir` is the folder to import from, by default the present one. With `factory` the object is called.
    A fault inside the application's own code keeps the part of its traceback that is its author's.
    """
    global loaded
    folder = Path(app_dir).absolute()
    if not folder.is_dir():
        raise SystemExit(f"COACHMAN_APP_DIR={app_dir} is refused: there is no such folder.")
    name = name or app_finder.default_place(folder) or _nothing_found(folder)
    reference = app_finder.refer(name, folder)
    with logging_kept():
        before = import_effects.snapshot()
        application, resolved = _application(name, reference, is_called=factory or reference.is_called)
        loaded = Loaded(resolved, import_effects.since(before))
    return application


def _nothing_found(folder: Path) -> str:
    raise SystemExit(
        f"There is no application in {folder}: none of {', '.join(app_finder.PLACES)} is there."
        " Name it, as in: coachman run MODULE:ATTRIBUTE"
    )


def _application(name: str, reference: Reference, *, is_called: bool) -> tuple[Any, str]:
    found, attribute = _find(name, _import(name, reference), reference)
    resolved = f"{reference.module}:{attribute}"
    where = f"COACHMAN_APP={name}: {attribute} in {reference.module}"
    if is_called or app_finder.is_factory(found):
        if not callable(found):
            raise SystemExit(f"{where} is no factory: it is of type {type(found).__name__}.")
        found, resolved = _call(name, attribute, found, reference), f"{resolved}()"
        where = f"COACHMAN_APP={name}: what {attribute}() returned"
    if flaw := app_finder.flaw(found):
        raise SystemExit(f"{where} {flaw}.")
    if flaw := app_finder.flaw_behind(found):
        raise SystemExit(f"{where} hands its requests to what {flaw}.")
    return found, resolved


def _import(name: str, reference: Reference) -> Any:
    if reference.file is not None and not reference.file.exists():
        raise SystemExit(f"COACHMAN_APP={name}: there is no file {reference.file}.")
    if not all(reference.module.split(".")):
        raise SystemExit(f"COACHMAN_APP={name}: {reference.module} is no name of a module; one is shop.main.")
    if str(reference.folder) not in sys.path:
        sys.path.insert(0, str(reference.folder))
    file = app_finder.file_of(reference)
    if line := app_finder.server_line(file):
        raise SystemExit(
            f"COACHMAN_APP={name}: {file}:{line} starts a server when it is imported (uvicorn.run), and would"
            ' never return. Put it below: if __name__ == "__main__":'
        )
    with _one_sentence(name, f"importing {reference.module}", reference):
        module = importlib.import_module(reference.module)
    if other := app_finder.hidden_by(module, reference):
        raise SystemExit(f"COACHMAN_APP={name}: {other}")
    return module


@contextlib.contextmanager
def _one_sentence(name: str, doing: str, reference: Reference) -> Iterator[None]:
    """Ends the process with one sentence where the application's own code raises, whatever it raises."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        raise SystemExit(f"COACHMAN_APP={name}: {_missing(error, reference)}") from None
    except SystemExit as end:
        raise SystemExit(f"COACHMAN_APP={name}: {doing} ended the program: sys.exit({end.code!r}).") from None
    except BaseException as error:  # noqa: BLE001 - some are no Exception, such as asyncio.CancelledError
        _print_users_part(error)
        raise SystemExit(f"COACHMAN_APP={name}: {doing} failed: {describe(error)}") from None


def _find(name: str, module: Any, reference: Reference) -> tuple[Any, str]:
    attribute = reference.attribute or app_finder.search(module)
    if attribute is None:
        raise SystemExit(
            f"COACHMAN_APP={name}: {reference.module} has no application to be recognised by its name or"
            f" its kind. Name it: {reference.module}:ATTRIBUTE"
        )
    found = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
        if found is None:
            there = f"{reference.module} has no application named {attribute}{_hint(module)}."
            raise SystemExit(f"COACHMAN_APP={name}: {there}")
    return found, attribute


def _hint(module: Any) -> str:
    there = app_finder.search(module)
    return f"; it has {there}: name {module.__name__}:{there}" if there else ""


def _call(name: str, attribute: str, factory: Any, reference: Reference) -> Any:
    if inspect.iscoroutinefunction(factory):
        raise SystemExit(
            f"COACHMAN_APP={name}: {attribute} is an async function, and a factory is a plain one: do in the"
            " lifespan what has to be awaited."
        )
    with _one_sentence(name, f"calling {attribute}()", reference):
        return factory()


@contextlib.contextmanager
def logging_kept() -> Iterator[None]:
    """Lets the application configure logging meanwhile, and enables the service's loggers again.

    logging.config.dictConfig disables every logger that exists, which most applications do not mean. A
    service whose own lines are gone tells of no crash and no refusal.
    """
    before = [one for one in _own_loggers() if not one.disabled]
    try:
        with root_logger.free_to_configure():
            yield
    finally:
        for logger in before:
            logger.disabled = False


def enable_own_loggers() -> None:
    """Enables Coachman's loggers for a line that must be logged, whatever the application has disabled."""
    for logger in _own_loggers():
        logger.disabled = False


def _own_loggers() -> list[logging.Logger]:
    known = logging.getLogger().manager.loggerDict
    return [
        one
        for name, one in known.items()
        if isinstance(one, logging.Logger) and name.partition(".")[0] in _LOGGERS
    ]


def _missing(error: ModuleNotFoundError, reference: Reference) -> str:
    module_name = reference.module
    if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
        package, _, last = module_name.rpartition(".")
        if package and (reference.folder / f"{package.replace('.', '/')}.py").is_file():
            return f"{package} is a module, and no package; its attribute is named {package}:{last}."
        return (
            f"there is no module {error.name} here; run it from the folder that holds it,"
            " or name that folder with --app-dir (COACHMAN_APP_DIR)."
        )
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{where.filename}:{where.lineno} needs the module {error.name}, which is not installed."


def describe(error: BaseException) -> str:
    """The error in one line: what pydantic found wrong, and the cause where one error stands for another."""
    text = f"{type(error).__name__}: {text_of(error)}".removesuffix(": ")
    cause = error.__cause__
    return text if cause is None else f"{text} (caused by {type(cause).__name__}: {text_of(cause)})"


def text_of(error: BaseException) -> str:
    """What the error says, in one line: of pydantic's what is wrong with each value."""
    problems = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and callable(problems):
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems())
        return f"{_first_line(error)}: {said}"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    try:
        return next(iter(str(error).strip().splitlines()), "")
    except Exception:  # noqa: BLE001 - of the error's own __str__
        return ""


def _print_users_part(error: BaseException) -> None:
    frame: TracebackType | None = error.__traceback__
    while frame is not None and (
        frame.tb_frame.f_code.co_filename == __file__
        or frame.tb_frame.f_code.co_filename.startswith("<frozen importlib")
        or frame.tb_frame.f_globals.get("__name__") == "importlib"
    ):
        frame = frame.tb_next
    traceback.print_exception(type(error), error, frame, file=sys.stderr)
