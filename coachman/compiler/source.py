"""Writes the source of one function, line by line, and turns it into a function."""

from __future__ import annotations

import itertools
import linecache
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_numbers = itertools.count(1)
_shared: dict[str, Any] = {"__name__": "coachman.compiler.compiled"}  # the globals of all compiled functions


class Shapes:
    """The functions that have been compiled, by their source: routes that are alike share one.

    They differ in what they refer to, not in the text.
    """

    def __init__(self) -> None:
        self._binders: dict[str, Callable[..., Any]] = {}

    def bind(self, text: str, write_again: Callable[[], str], objects: Iterable[Any]) -> Callable[..., Any]:
        """Compiles a text, unless it is known, and returns its function for these objects."""
        binder = self._binders.get(text)
        if binder is None:
            binder = self._binders[text] = _compile(text, write_again)
        return binder(*objects)  # type: ignore[no-any-return]


def _compile(text: str, write_again: Callable[[], str]) -> Callable[..., Any]:
    filename = f"compiled route {next(_numbers)}"
    # Lets tracebacks show the lines: linecache asks a module's loader where there is no file.
    linecache.lazycache(filename, {"__name__": filename, "__loader__": _Loader(write_again)})
    space: dict[str, Any] = {}
    exec(compile(text, filename, "exec", dont_inherit=True), _shared, space)  # noqa: S102 - our own source
    binder: Callable[..., Any] = space["bind"]
    return binder


class _Loader:
    __slots__ = ("_write",)

    def __init__(self, write: Callable[[], str]) -> None:
        self._write = write

    def get_source(self, name: str) -> str:
        return self._write()


class Source:
    """The lines of one function and the objects that they refer to by name."""

    def __init__(self, head: str) -> None:
        """`head`: the first line, such as `async def handler(scope):`."""
        self._head = head
        self._lines: list[str] = []
        self._depth = 2
        self._count = 0
        self._names: dict[int, str] = {}
        self._objects: dict[str, Any] = {}

    def add(self, *lines: str) -> None:
        """Adds lines at the present depth of indentation."""
        self._lines.extend("    " * self._depth + line for line in lines)

    def mark(self) -> int:
        """Returns where the next line goes, for insert() and for mentions()."""
        return len(self._lines)

    def insert(self, mark: int, line: str) -> None:
        """Adds a line of the function itself before those that were added since."""
        self._lines.insert(mark, f"        {line}")

    def mentions(self, name: str, mark: int) -> bool:
        """Whether a line that was added since uses a name."""
        return any(re.search(rf"\b{name}\b", line) for line in self._lines[mark:])

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

    def use(self, value: Any, name: str = "") -> str:
        """Returns the name of a function or a class, or of another object that is the same for all routes."""
        name = name or value.__name__
        if _shared.setdefault(name, value) is not value:
            raise ValueError(f"two objects are named {name}: {_shared[name]!r} and {value!r}")
        return name

    def refer(self, value: Any, hint: str) -> str:
        """Returns the name by which the lines reach an object of this route. The same has the same name."""
        name = self._names.get(id(value))
        if name is None:
            name = self._names[id(value)] = self.variable(hint)
            self._objects[name] = value  # also keeps it alive, so that its id stays its own
        return name

    def variable(self, hint: str) -> str:
        """Returns the name of a new local variable."""
        self._count += 1
        return f"{hint}_{self._count}"

    def text(self) -> str:
        """Returns the source as it stands: a function that takes the objects and returns the route's."""
        names = ", ".join(self._objects)
        name = self._head.partition("(")[0].split()[-1]
        lines = [f"def bind({names}):", f"    {self._head}", *self._lines, f"    return {name}", ""]
        return "\n".join(lines)

    def build(self, shapes: Shapes, write_again: Callable[[], str]) -> Callable[..., Any]:
        """Returns the function. `write_again` writes the same source, for tracebacks."""
        return shapes.bind(self.text(), write_again, self._objects.values())
