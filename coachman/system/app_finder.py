"""Finds the application: which module, which object in it, and whether that object is one."""

import ast
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

# Where FastAPI's own command looks, in its order.
PLACES = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
_NAMES = ("app", "api", "application")
_FACTORIES = ("create_app", "make_app", "get_app")
_DEEPEST = 20  # of middleware around an application
_ASGI_ARGUMENTS = 3  # scope, receive, send


class Reference(NamedTuple):
    """What MODULE:ATTRIBUTE, FILE.py:ATTRIBUTE or MODULE:FACTORY() means."""

    module: str
    attribute: str  # empty where the module is to be searched
    is_called: bool
    folder: Path  # from which the module is imported
    file: Path | None = None  # where one was named


def refer(name: str, folder: Path) -> Reference:
    """Resolves a name as people write it: `main:app`, `main.py:app`, `shop.web:create_app()`, or `main`."""
    module, _, attribute = name.partition(":")
    is_called = attribute.endswith("()")
    attribute = attribute.removesuffix("()")
    if module.endswith(".py") or "/" in module:
        return _refer_to_file(folder / module, attribute, is_called)
    return Reference(module, attribute, is_called, folder)


def _refer_to_file(path: Path, attribute: str, is_called: bool) -> Reference:
    """A file in a package is imported from the folder that holds the outermost package."""
    path = path.absolute()
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if parts[-1] == "__init__":
        parts.pop()
    return Reference(".".join(parts), attribute, is_called, folder, path)


def default_place(folder: Path) -> str | None:
    """The first of the usual files that is there."""
    return next((place for place in PLACES if (folder / place).is_file()), None)


def file_of(reference: Reference) -> Path:
    """Where the module's source is, if it is a file in the folder."""
    return reference.file or reference.folder / f"{reference.module.replace('.', '/')}.py"


def server_line(file: Path) -> int:
    """The line on which the module starts a server of its own when it is imported; 0 without one."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # it is not there, or the import tells
        return 0
    calls = [one.value for one in body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call)]
    return next((call.lineno for call in calls if ast.unparse(call.func) == "uvicorn.run"), 0)


def hidden_by(module: ModuleType, reference: Reference) -> str:
    """A sentence where another module of that name was imported than the file in the folder; or nothing."""
    meant = file_of(reference)
    found = getattr(module, "__file__", None) or "a part of Python"
    if not meant.is_file() or (meant.exists() and Path(found).exists() and meant.samefile(found)):
        return ""
    return f"{meant} is hidden by {found}, which has the same name: rename it."


def hiding_coachman(folder: Path) -> str:
    """A sentence where a file of the folder would be imported in the place of Coachman; or nothing.

    The next master of a handover begins with this folder on the path of its imports.
    """
    ours = Path(__file__).parents[1] / "__init__.py"
    for meant in (folder / "coachman" / "__init__.py", folder / "coachman.py"):
        if meant.is_file() and not meant.samefile(ours):
            return f"{meant} hides Coachman's own package from the next master of a handover: rename it."
    return ""


def hiding_others(error: Exception, folder: Path) -> str:
    """A sentence where Coachman has imported a file of the folder in the place of a package; or nothing.

    To be asked before the application is loaded: until then nothing of the folder is wanted.
    """
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    for file in map(Path, files):
        if file.parent == folder and file.suffix == ".py":
            return f"{file} hides the module of that name that Coachman needs ({error}): rename it."
    return ""


def search(module: ModuleType) -> str | None:
    """The name of the module's application: `app` or `api`, else the first object of a known framework."""
    found = vars(module)
    for name in _NAMES:
        if name in found and not inspect.ismodule(found[name]) and not flaw(found[name]):
            return name
    for name, value in found.items():
        if _is_of_framework(value):
            return name
    return next((name for name in _FACTORIES if is_factory(found.get(name))), None)


def is_factory(value: Any) -> bool:
    """Whether it is a plain function that can be called without arguments."""
    if not inspect.isfunction(value) or inspect.iscoroutinefunction(value):
        return False
    required, takes_any = _positional(value)
    return required == 0 and not takes_any


def flaw(value: Any) -> str:
    """Why this object cannot be served as an ASGI application, to end a sentence with; or nothing."""
    if not callable(value):
        return f"is not an application: it is of type {type(value).__name__}"
    if inspect.isclass(value):
        return "is a class; name an instance of it, or a function that makes one"
    if is_factory(value):
        return "is a function without arguments, so a factory; name it with () or --factory"
    if inspect.iscoroutinefunction(value) and not _parameters(value):
        return "is an async function without arguments; a factory is a plain function"
    # What an instance or a middleware is called with; a function is called itself.
    called = value if inspect.isroutine(value) else type(value).__call__
    least, takes_any = _positional(called)
    most = _most_positional(called)
    bound = 0 if inspect.isroutine(value) else 1
    if takes_any or (least - bound <= _ASGI_ARGUMENTS <= most - bound):
        return ""
    if least - bound == 2:
        return (
            "takes two arguments, as a WSGI application does (Flask, Django's wsgi.py); Coachman serves ASGI:"
            " wrap it, for example in a2wsgi.WSGIMiddleware"
        )
    return f"takes {_arguments(least - bound)}, not ASGI's three (scope, receive, send)"


def flaw_behind(application: Any) -> str:
    """As flaw(), for the object that gets all requests from Starlette's middleware or a mount at the root.

    Such a one would be loaded, be ready, and answer each request with 500.
    """
    for _ in range(_DEEPEST):
        inner = _behind(application)
        if inner is None:
            return ""
        if found := flaw(inner):
            return found
        application = inner
    return ""


def _behind(application: Any) -> Any:
    if type(application).__module__.startswith("starlette.middleware"):
        return getattr(application, "app", None)
    routes = getattr(application, "routes", None)
    first = routes[0] if isinstance(routes, list) and routes else None
    is_mount = type(first).__module__ == "starlette.routing" and getattr(first, "path", None) == ""
    return getattr(first, "app", None) if is_mount else None


def _arguments(number: int) -> str:
    return "1 argument" if number == 1 else f"{number} arguments"


def _is_of_framework(value: Any) -> bool:
    names = {f"{one.__module__.partition('.')[0]}.{one.__name__}" for one in type(value).__mro__}
    return bool(names & {"fastapi.FastAPI", "starlette.Starlette", "litestar.Litestar", "quart.Quart"})


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C: nothing is known, so nothing is refused
        return [inspect.Parameter("arguments", inspect.Parameter.VAR_POSITIONAL)]


def _positional(function: Callable[..., Any]) -> tuple[int, bool]:
    """How many positional arguments it needs, and whether it takes any number of them."""
    parameters = _parameters(function)
    needed = [one for one in parameters if _is_positional(one) and one.default is one.empty]
    return len(needed), any(one.kind is one.VAR_POSITIONAL for one in parameters)


def _most_positional(function: Callable[..., Any]) -> int:
    return sum(_is_positional(one) for one in _parameters(function))


def _is_positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
