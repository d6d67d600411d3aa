"""Finds the routes whose path may match, without trying each: a tree of path segments."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.convertors import FloatConvertor, IntegerConvertor, StringConvertor, UUIDConvertor

from coachman.compiler.entry import Entry

_WITHIN_ONE_SEGMENT = (FloatConvertor, IntegerConvertor, StringConvertor, UUIDConvertor)

Answers = tuple[dict[str, Entry], Entry | None]  # by method; and for any other method


class _Node:
    __slots__ = ("here", "rest", "static", "wildcard")

    def __init__(self) -> None:
        self.static: dict[str, _Node] = {}
        self.wildcard: _Node | None = None
        self.here: list[Entry] = []  # routes that end at this segment
        self.rest: list[Entry] = []  # routes whose remainder may hold slashes


class Tree:
    """The routes of one router and of all that it includes.

    A path without parameters is answered from one dictionary. Others walk the segments of the path, so
    that the cost depends on the length of the path and not on how many routes there are.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        """`entries`: in the order of declaration."""
        self._root = _Node()
        self.exact: dict[str, Answers] = {}
        paths = []
        for entry in entries:
            self._add(entry)
            if "{" not in entry.path_format:
                paths.append(entry.path_format)
        for path in paths:
            self.exact[path] = _by_method(path, self.candidates(path))

    def _add(self, entry: Entry) -> None:
        node = self._root
        for segment in entry.path_format[1:].split("/"):
            if "{" in segment:
                if not _stays_within(segment, entry):
                    node.rest.append(entry)
                    return
                if node.wildcard is None:
                    node.wildcard = _Node()
                node = node.wildcard
            else:
                node = node.static.setdefault(segment, _Node())
        node.here.append(entry)

    def candidates(self, path: str) -> list[Entry]:
        """Returns the routes that may match the path, in the order of declaration. The regex decides."""
        found: list[Entry] = []
        nodes = [self._root]
        for segment in path[1:].split("/"):
            following = []
            for node in nodes:
                if node.rest:
                    found += node.rest
                child = node.static.get(segment)
                if child is not None:
                    following.append(child)
                if node.wildcard is not None:
                    following.append(node.wildcard)
            nodes = following
            if not nodes:
                break
        for node in nodes:
            found += node.here
            found += node.rest  # "/{path:path}" matches nothing at all as well
        if len(found) > 1:
            found.sort(key=_position)
        return found


def _position(entry: Entry) -> int:
    return entry.position


def _stays_within(segment: str, entry: Entry) -> bool:
    """Whether no parameter in the segment can match a slash. A convertor of the application's own might."""
    convertors = (convertor for name, convertor in entry.convertors.items() if f"{{{name}}}" in segment)
    return all(type(convertor) in _WITHIN_ONE_SEGMENT for convertor in convertors)


def _by_method(path: str, candidates: list[Entry]) -> Answers:
    answers: dict[str, Entry] = {}
    for entry in candidates:
        if entry.path_regex.match(path) is None:
            continue
        if entry.methods is None:
            return answers, entry
        for method in entry.methods:
            answers.setdefault(method, entry)
    return answers, None
