"""Turns COACHMAN_LOOP into what makes the event loop."""

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

ALIASES = {
    "auto": "",
    "asyncio": "asyncio:SelectorEventLoop",
    "uvloop": "uvloop:new_event_loop",
    "rloop": "rloop:new_event_loop",
}

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory(name: str) -> LoopFactory:
    """Returns what makes an event loop of that name, or ends the process with one sentence.

    `auto` is uvloop where that is installed.
    """
    module_name, _, attribute = ALIASES.get(name, name).partition(":")
    if name == "auto":
        try:
            return loop_factory("uvloop")
        except SystemExit:
            return loop_factory("asyncio")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        package = error.name or module_name
        raise SystemExit(
            f"COACHMAN_LOOP={name}: the package {package} is not installed; run: pip install {package}"
        ) from None
    factory: Any = getattr(module, attribute, None)
    if not callable(factory):
        raise SystemExit(f"COACHMAN_LOOP={name}: the module {module_name} has no factory named {attribute}.")
    if name not in ALIASES:
        _prove(name, factory)
    return factory  # type: ignore[no-any-return]


def _prove(name: str, factory: Any) -> None:
    """Ends the process with one sentence where the factory is none; a worker would end in a traceback."""
    try:
        made = factory()
    except Exception as error:  # noqa: BLE001 - of somebody else's
        raise SystemExit(f"COACHMAN_LOOP={name} cannot be called: {type(error).__name__}: {error}.") from None
    if not isinstance(made, asyncio.AbstractEventLoop):
        raise SystemExit(f"COACHMAN_LOOP={name} is refused: it makes no event loop, but {made!r}.")
    made.close()
