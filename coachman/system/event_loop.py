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
    return factory  # type: ignore[no-any-return]
