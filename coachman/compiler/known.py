"""Compares the functions that the compiler stands in for with those that it was proven against.

Each function has a fingerprint of its source, and the table says which versions of its package have it so,
or have no such function. The functions of a package must all be those of one version: a mixture has not been
tested. A version whose function reads otherwise is not known, and one that somebody has put another function
in the place of (tracing and error reporting do) is patched: in both cases the routes concerned are left to
FastAPI.

`make test-compiler ARGS=--learn` adds the versions that are installed, once FastAPI's own tests pass.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import sys
import tokenize
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from fastapi import concurrency

from coachman.compiler.places import PLACES, places

_CONTEXT_MANAGER: CodeType = concurrency.contextmanager_in_threadpool.__code__  # contextlib's wrapper
_DISTRIBUTIONS = {
    "fastapi": "fastapi",
    "opentelemetry": "opentelemetry-api",
    "pydantic": "pydantic",
    "starlette": "starlette",
}
_ABSENT = "absent"  # in the place of a fingerprint

FINGERPRINTS = Path(__file__).with_name("fingerprints.json")

Known = dict[
    str, dict[str, str]
]  # by function: by fingerprint, the versions that have it, with spaces between


def read() -> Known:
    """Returns the versions that are known."""
    known: Known = json.loads(FINGERPRINTS.read_text()) if FINGERPRINTS.exists() else {}
    return known


def _package(module: str) -> str:
    return module.partition(".")[0]


def _holder(module: str, name: str) -> tuple[Any, str]:
    holder: Any = importlib.import_module(module)
    *owners, last = name.split(".")
    for owner in owners:
        holder = getattr(holder, owner)
    return holder, last


def _bare(value: Any) -> Any:
    """Returns the function of a property, a class method or a static method.

    It asks for the very types: wrappers such as wrapt's claim to be of the class of what they wrap.
    """
    if type(value) is property:
        value = value.fget
    elif type(value) in (classmethod, staticmethod):
        value = value.__func__
    if type(value) is FunctionType and value.__code__ is _CONTEXT_MANAGER:
        value = value.__wrapped__  # type: ignore[attr-defined]
    return value


@cache
def _lines(filename: str) -> list[str]:
    with tokenize.open(filename) as file:
        return file.readlines()


def fingerprint(code: CodeType) -> str:
    """Returns a hash of the source of a function. Raises OSError if there is no source."""
    block = inspect.getblock(_lines(code.co_filename)[code.co_firstlineno - 1 :])
    return hashlib.sha256("".join(block).encode()).hexdigest()[:16]


Place = tuple[str, str, str]  # group, module, name


def _known_places(found: Mapping[Place, tuple[str, str]]) -> set[Place]:
    """Returns the functions that are as in one version of their package, which is the one of most of them."""
    known = read()
    versions = {
        (group, module, name): known.get(f"{module}:{name}", {}).get(hashed, "").split()
        for (group, module, name), (hashed, _) in found.items()
    }
    counts = {package: Counter[str]() for package in _DISTRIBUTIONS}
    for (_, module, _), having in versions.items():
        counts[_package(module)].update(having)
    closest = {package: max(count, key=count.__getitem__, default="") for package, count in counts.items()}
    return {place for place, having in versions.items() if closest[_package(place[1])] in having}


class Functions:
    """All these functions, as they are now."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._kept: list[tuple[str, Any, str, Any, Any, CodeType | None]] = []
        found = {
            (group, module, name): self._examine(module, name)
            for group in PLACES
            for module, name in places(group)
        }
        _lines.cache_clear()
        known = _known_places(found)
        for place, (hashed, reason) in found.items():
            group, module, name = place
            if not reason and place not in known:
                flaw = "not there" if hashed == _ABSENT else "of a version that is not known"
                reason = f"{module}.{name} is {flaw}"
            if reason:
                self._reasons.setdefault(group, reason)

    def _examine(self, module: str, name: str) -> tuple[str, str]:
        """Returns the fingerprint of a function, and why it cannot be FastAPI's own, if it cannot."""
        try:
            holder, last = _holder(module, name)
            value = vars(holder)[last]
        except (ImportError, AttributeError, KeyError):
            return _ABSENT, ""
        function = _bare(value)
        code = function.__code__ if type(function) is FunctionType else None
        self._kept.append((f"{module}.{name}", vars(holder), last, value, function, code))
        if code is None:
            return "", f"{module}.{name} is replaced by {_place(function)}"
        homes = [getattr(sys.modules.get(name), "__file__", None) for name in (function.__module__, module)]
        if code.co_filename not in homes or _package(function.__module__) not in _DISTRIBUTIONS:
            return "", f"{module}.{name} is replaced by {_place(function)}"
        try:
            return fingerprint(code), ""
        except OSError:
            return "", f"the source of {module}.{name} is not there"

    def reason_to_leave(self, groups: Iterable[str]) -> str:
        """Returns why routes that use these groups are left to FastAPI; empty if they may be compiled."""
        return next((self._reasons[group] for group in groups if group in self._reasons), "")

    def reasons(self) -> Collection[str]:
        """Returns what is not known, or replaced."""
        return self._reasons.values()

    def is_unchanged(self) -> bool:
        """Whether nobody has replaced one of them since."""
        for _, holder, name, value, function, code in self._kept:
            if holder.get(name) is not value or (code is not None and function.__code__ is not code):
                return False
        return True

    def replaced(self) -> str:
        """Returns which one somebody has replaced since, and by what; empty if none."""
        for label, holder, name, value, function, code in self._kept:
            now = _bare(holder.get(name))
            if holder.get(name) is not value or (code is not None and function.__code__ is not code):
                return f"{label} is replaced by {_place(now)}"
        return ""


def _place(function: Any) -> str:
    if type(function) is FunctionType:
        return f"{function.__module__}.{function.__qualname__} ({function.__code__.co_filename})"
    return f"{type(function).__module__}.{type(function).__qualname__}"


_functions: Functions | None = None


def functions() -> Functions:
    """Returns the functions as they are now; kept, for reading their sources takes a tenth of a second."""
    global _functions
    if _functions is None or not _functions.is_unchanged():
        _functions = Functions()
    return _functions


def write() -> None:
    """Writes the fingerprints of the versions that are installed, beside those that are known already."""
    known = read()
    for group in PLACES:
        for module, name in places(group):
            installed = version(_DISTRIBUTIONS[_package(module)])
            recorded = known.get(f"{module}:{name}", {})
            versions = {hashed: set(having.split()) - {installed} for hashed, having in recorded.items()}
            versions.setdefault(_fingerprint_of(module, name), set()).add(installed)
            known[f"{module}:{name}"] = {
                hashed: " ".join(sorted(having, key=_number))
                for hashed, having in sorted(versions.items())
                if having
            }
    FINGERPRINTS.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


def _fingerprint_of(module: str, name: str) -> str:
    try:
        holder, last = _holder(module, name)
        return fingerprint(_bare(vars(holder)[last]).__code__)
    except (ImportError, AttributeError, KeyError):
        return _ABSENT


def _number(label: str) -> list[int]:
    return [int(part) for part in label.split(".") if part.isdigit()]
