"""Writes the source of one function, line by line, and turns it into a function."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import CodeType
from typing import Any

_FILENAME = "<compiled route>"


@lru_cache(maxsize=4096)
def _compiled(text: str) -> tuple[str, CodeType]:
    """Compiles a source once: routes that are alike differ in what they refer to, not in the text."""
    return text, compile(text, _FILENAME, "exec")


class _Loader:
    """Lets tracebacks show generated lines: linecache asks a module's loader where there is no file."""

    def __init__(self, source: str) -> None:
        self._source = source

    def get_source(self, name: str) -> str:
        return self._source


class Source:
    """The lines of one function and the objects that they refer to by name."""

    def __init__(self, head: str) -> None:
        """`head`: the first line, such as `async def handler(scope):`."""
        self._lines = [head]
        self._depth = 1
        self._count = 0
        self._names: dict[int, str] = {}
        self.objects: dict[str, Any] = {}

    def add(self, *lines: str) -> None:
        """Adds lines at the present depth of indentation."""
        self._lines.extend("    " * self._depth + line for line in lines)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Adds a line that ends in a colon; what is added within the `with` is indented below it."""
        self.add(head)
        self._depth += 1
        length = len(self._lines)
        yield
        if len(self._lines) == length:
            self.add("pass")
        self._depth -= 1

    def refer(self, value: Any, hint: str) -> str:
        """Returns the name by which the lines reach an object. The same object gets the same name."""
        name = self._names.get(id(value))
        if name is None:
            self._count += 1
            name = self._names[id(value)] = f"{hint}_{self._count}"
            self.objects[name] = value  # also keeps it alive, so that its id stays its own
        return name

    def variable(self, hint: str) -> str:
        """Returns the name of a new local variable."""
        self._count += 1
        return f"{hint}_{self._count}"

    def text(self) -> str:
        """Returns the source as it stands."""
        return sys.intern("\n".join(self._lines) + "\n")

    def build(self, name: str) -> Callable[..., Any]:
        """Compiles the lines and returns the function `name` that they define."""
        text, code = _compiled(self.text())
        space = {**self.objects, "__name__": _FILENAME, "__loader__": _Loader(text)}
        exec(code, space)  # noqa: S102 - the source is this package's own
        function: Callable[..., Any] = space[name]
        return function
