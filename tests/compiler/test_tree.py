"""The tree finds what trying each route in order would find."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import compile_path

from coachman.compiler.entry import Entry
from coachman.compiler.tree import Tree

SEGMENTS = st.sampled_from(
    ["a", "b", "", "{x}", "{y:int}", "a{x}", "{x}.json", "{p:path}", "{u:uuid}", "{f:float}"]
)
PATHS = st.lists(st.sampled_from(["a", "b", "", "1", "1.5", "ab", "q.json"]), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


def entry(position: int, path: str, methods: frozenset[str] | None) -> Entry:
    regex, path_format, convertors = compile_path(path)
    route: object = object()
    return Entry(position, route, path, path_format, regex, convertors, methods)  # type: ignore[arg-type]


def is_possible(path: str) -> bool:
    names = re.findall(r"{(\w+)", path)
    return len(names) == len(set(names))


ROUTES = st.lists(
    st.tuples(
        st.lists(SEGMENTS, max_size=4).map(lambda parts: "/" + "/".join(parts)).filter(is_possible),
        st.sampled_from([frozenset({"GET"}), frozenset({"POST"}), frozenset({"GET", "PUT"}), None]),
    ),
    max_size=12,
)


@settings(max_examples=400, deadline=None)
@given(ROUTES, PATHS)
def test_the_tree_offers_every_route_that_matches_and_in_order(
    routes: list[tuple[str, frozenset[str] | None]], path: str
) -> None:
    entries = [entry(position, *route) for position, route in enumerate(routes)]
    candidates = Tree(entries).candidates(path)

    assert [one for one in candidates if one.path_regex.match(path)] == [
        one for one in entries if one.path_regex.match(path)
    ]


@settings(max_examples=400, deadline=None)
@given(ROUTES)
def test_an_exact_path_has_the_first_route_of_each_method(
    routes: list[tuple[str, frozenset[str] | None]],
) -> None:
    entries = [entry(position, *route) for position, route in enumerate(routes)]
    tree = Tree(entries)

    for path, (by_method, other) in tree.exact.items():
        for method in ("GET", "POST", "PUT", "DELETE"):
            first = next(
                (
                    one
                    for one in entries
                    if one.path_regex.match(path) and (one.methods is None or method in one.methods)
                ),
                None,
            )
            assert by_method.get(method, other) is first


def test_the_cost_does_not_grow_with_the_number_of_routes() -> None:
    tree = Tree([entry(number, f"/things{number}/{{x}}", frozenset({"GET"})) for number in range(1000)])

    assert [one.position for one in tree.candidates("/things999/1")] == [999]
