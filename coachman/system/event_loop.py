"""Turns COACHMAN_LOOP into what Uvicorn takes for its `loop`."""

import importlib

ALIASES = {"auto": "auto", "uvloop": "uvloop", "asyncio": "asyncio", "rloop": "rloop:new_event_loop"}


def uvicorn_loop(name: str) -> str:
    """Returns the name of a loop that can be made here, or ends the process with one sentence."""
    loop = ALIASES.get(name, name)
    if loop in ("auto", "asyncio"):
        return loop
    module_name, _, factory = loop.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        package = error.name or module_name
        raise SystemExit(
            f"COACHMAN_LOOP={name}: the package {package} is not installed; run: pip install {package}"
        ) from None
    if factory and not callable(getattr(module, factory, None)):
        raise SystemExit(f"COACHMAN_LOOP={name}: the module {module_name} has no factory named {factory}.")
    return loop
