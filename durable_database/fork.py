"""Threads, sockets and locks do not survive a fork: a backend connected before it refuses in the child."""

import os
import weakref
from typing import Any

from durable_database.errors import ForkedError


class Forked:
    """Stands where the compiler was: every statement passes there."""

    def plan(self, query: Any, values: Any = None) -> Any:
        raise ForkedError


_connected: "weakref.WeakSet[Any]" = weakref.WeakSet()


def refuse_after_fork(backend: Any) -> None:
    """Has `backend.compiler` refuse in any process forked from this one."""
    _connected.add(backend)


def forget(backend: Any) -> None:
    _connected.discard(backend)


def _refuse() -> None:
    for backend in _connected:
        backend.compiler = Forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_refuse)
