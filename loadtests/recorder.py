"""Keeps every request of a generator process, raw: percentiles of buckets cannot be trusted below 1 ms."""

import struct
from collections import Counter
from time import perf_counter
from typing import Any

from locust.env import Environment

from loadtests.users.strict import kind_of

ROW = struct.Struct("=dddHH")  # due, start, end (seconds, monotonic); index of the name and of the kind


class Recorder:
    def __init__(self, environment: Environment) -> None:
        self.rows = bytearray()
        self.count = 0
        self.failures: Counter[str] = Counter()
        self._names: dict[str, int] = {}
        self._kinds: dict[str, int] = {"": 0}
        environment.events.request.add_listener(self._record)

    @property
    def names(self) -> list[str]:
        return list(self._names)

    @property
    def kinds(self) -> list[str]:
        return list(self._kinds)

    def _record(self, name: str, exception: Exception | None, context: dict[str, Any], **_: Any) -> None:
        end = perf_counter()
        kind = kind_of(exception)
        number = self._names.setdefault(name, len(self._names))
        outcome = self._kinds.setdefault(kind, len(self._kinds))
        self.rows += ROW.pack(context["due"], context["start"], end, number, outcome)
        self.count += 1
        if kind:
            self.failures[kind] += 1
