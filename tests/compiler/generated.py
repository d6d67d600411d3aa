"""Applications made at random: graphs of dependencies, inputs, answers, and requests for them."""

import asyncio
import enum
import inspect
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.security import HTTPBasic, OAuth2PasswordBearer, SecurityScopes
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware

from tests.compiler.exchange import Call, Journal, supported

variable: ContextVar[str] = ContextVar("variable", default="unset")
_journal: ContextVar[Journal] = ContextVar("journal")


class OwnError(Exception):
    """Has a handler in some of the applications."""


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(BaseModel):
    name: str
    price: int = 0
    tags: list[str] = []


def _refuse_odd(value: int) -> int:
    """A validator of the application's own, which can be seen to run and sees what dependencies set."""
    _journal.get().append(("validated", value, variable.get()))
    if value % 2:
        raise ValueError("odd")
    return value


class Checked(BaseModel):
    even: Annotated[int, AfterValidator(_refuse_odd)] = 2
    made: list[int] = Field(default_factory=lambda: _journal.get().append("made") or [])


TYPES: list[Any] = [
    int,
    str,
    bool,
    float,
    Colour,
    list[int],
    set[str],
    int | None,
    Annotated[int, AfterValidator(_refuse_odd)],
    Annotated[str, Field(min_length=1, max_length=4)],
]
DEFAULTS: list[Any] = [inspect.Parameter.empty, None, 3, "text", ["a"], Colour.RED, None, 2]
SOURCES = {"path": Path, "query": Query, "header": Header, "cookie": Cookie}
BODIES: list[Any] = [Item, list[Item], dict[str, Any], Any, Item | None, Checked, int]
KINDS = ["sync", "async", "gen", "asyncgen", "class", "instance", "async instance"]
EFFECTS = ["", "", "", "", "", "http", "value", "own", "header", "status", "context", "task", "sleep"]
ENDS = ["plain", "plain", "swallow", "raise", "replace"]
TAKES = ["request", "response", "response", "tasks", "scopes", "oauth", "basic"]
RETURNS = ["values", "values", "item", "item", "none", "wrong", "plain", "json", "redirect", "raise"]
MODELS: list[Any] = [..., None, Item, dict[str, Any], list[Any], int]


@dataclass(frozen=True)
class Input:
    source: str
    type: int
    default: int
    alias: bool


@dataclass(frozen=True)
class Node:
    """A dependency, or an endpoint."""

    kind: str
    subs: tuple[tuple[int, bool, str | None], ...]  # index of an earlier one, use_cache, scope
    inputs: tuple[Input, ...]
    takes: tuple[str, ...]
    effect: str
    end: str
    limit: int | None


@dataclass(frozen=True)
class Endpoint:
    node: Node
    path: str
    methods: tuple[str, ...]
    body: tuple[tuple[int, bool, bool], ...]  # type, embedded, optional
    returns: str
    model: int
    options: tuple[str, ...]
    status: int | None
    response_class: int
    router: int


@dataclass(frozen=True)
class Spec:
    nodes: tuple[Node, ...]
    endpoints: tuple[Endpoint, ...]
    prefixes: tuple[str, ...]
    handlers: tuple[str, ...]
    middleware: tuple[str, ...]


inputs = st.builds(
    Input,
    st.sampled_from(["query", "query", "header", "cookie"]),
    st.integers(0, len(TYPES) - 1),
    st.integers(0, len(DEFAULTS) - 1),
    st.booleans(),
)


def nodes(index: int, kinds: list[str]) -> st.SearchStrategy[Node]:
    sub = st.tuples(
        st.integers(0, max(index - 1, 0)),
        st.sampled_from([True, True, False]),
        st.sampled_from([None, None, "function"]),
    )
    return st.builds(
        Node,
        st.sampled_from(kinds),
        st.lists(sub, max_size=3 if index else 0).map(tuple),
        st.lists(inputs, max_size=2).map(tuple),
        st.lists(st.sampled_from(TAKES), max_size=2, unique=True).map(tuple),
        st.sampled_from(EFFECTS),
        st.sampled_from(ENDS),
        st.sampled_from([None, None, None, 1]),
    )


PATHS = ["/", "/a", "/a/{p}", "/{p}", "/{p:int}/b", "/a/{p:path}", "/{p}/{r}"]


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    count = draw(st.integers(0, 5))
    made = tuple(draw(nodes(index, KINDS)) for index in range(count))
    body = st.tuples(st.integers(0, len(BODIES) - 1), st.booleans(), st.booleans())
    endpoint = st.builds(
        Endpoint,
        nodes(count, ["sync", "async"]),
        st.sampled_from(PATHS),
        st.sampled_from([("GET",), ("POST",), ("GET", "POST"), ("PUT",)]),
        st.sampled_from([0, 0, 1, 1, 2])
        .flatmap(lambda size: st.lists(body, min_size=size, max_size=size))
        .map(tuple),
        st.sampled_from(RETURNS),
        st.integers(0, len(MODELS) - 1),
        st.lists(st.sampled_from(["exclude_unset", "exclude_defaults", "exclude_none"]), max_size=1).map(
            tuple
        ),
        st.sampled_from([None, None, 201, 204, 304, 418]),
        st.sampled_from([0, 0, 0, 1, 2]),
        st.integers(0, 2),
    )
    return Spec(
        made,
        tuple(draw(st.lists(endpoint, min_size=1, max_size=4))),
        draw(st.tuples(st.sampled_from(["", "/v1", "/{tenant}"]), st.sampled_from(["", "/in"]))),
        tuple(
            draw(
                st.lists(st.sampled_from(["own", "own sync", "http", "500", "422"]), max_size=3, unique=True)
            )
        ),
        tuple(draw(st.lists(st.sampled_from(["gzip", "base"]), max_size=1))),
    )


TEXTS = ["2", "2", "4", "1", "red", "a", "", "%20a+b", "true"]
HEADERS = [
    (b"h0", b"2"),
    (b"h1", b"4"),
    (b"h1", b"red"),
    (b"x-h0", b"6"),
    (b"cookie", b"c0=2; c1=2"),
    (b"cookie", b"cx1=4;c0=x"),
    (b"authorization", b"Bearer t"),
    (b"authorization", b"Basic YTpi"),
    (b"accept-encoding", b"gzip"),
]
TYPE_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-type", b"application/json"),
    (b"content-type", b"application/problem+json; charset=utf-8"),
    (b"content-type", b"text/plain"),
]
JSON = [
    b'{"name":"a"}',
    b'{"name":"a","even":2,"b0":{"name":"c"},"b1":{"name":"d"}}',
    b'{"b0":{"name":"c","even":3},"b1":5}',
    b'[{"name":"b","price":2}]',
    b'{"even":3}',
    b"{",
    b"",
    b"null",
    b"7",
]
VALUES = ["1", "2", "a", "in"]


@st.composite
def requests_for(draw: st.DrawFn, spec: Spec) -> Call:
    """A request that most often finds a route, and often has valid inputs."""
    endpoint = draw(st.sampled_from(spec.endpoints))
    prefixes = ["", f"/v1{spec.prefixes[0]}", f"/v1{spec.prefixes[0]}/in{spec.prefixes[1]}"]
    path = prefixes[endpoint.router] + endpoint.path
    for part in re.findall(r"{[^}]*}", path):
        path = path.replace(part, draw(st.sampled_from(VALUES)))
    body = draw(st.sampled_from(JSON))
    names = ["q0", "q1", "qx0", "qx1"]
    query = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(TEXTS)), max_size=4))
    return Call(
        method=draw(st.sampled_from([*endpoint.methods * 4, "GET", "HEAD"])),
        path=path + draw(st.sampled_from(["", "", "", "", "", "/", "/x"])),
        query="&".join(f"{name}={text}" for name, text in query).encode(),
        headers=[*draw(st.lists(st.sampled_from(HEADERS), max_size=4)), draw(st.sampled_from(TYPE_HEADERS))],
        body=[body] if draw(st.booleans()) else [body[:3], body[3:]],
        receive_error=draw(st.sampled_from([None] * 19 + [OSError("gone")])),
        root_path=draw(st.sampled_from(["", "", "", "", "/in"])),
        cancel_at=draw(st.sampled_from([None] * 9 + [1, 2, 3])),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Spec, list[Call]]:
    """An application and requests for it."""
    spec = draw(specs())
    return spec, draw(st.lists(requests_for(spec), min_size=1, max_size=5))


class Builder:
    """Makes the application of a specification. Its functions write down what they are called with."""

    def __init__(self, spec: Spec, journal: Journal) -> None:
        self._spec, self._journal = spec, journal
        self._made: list[Any] = []

    def build(self) -> FastAPI:
        """Raises what FastAPI raises for a specification that it refuses."""
        for index, node in enumerate(self._spec.nodes):
            self._made.append(self._dependency(f"d{index}", node))
        app = FastAPI()
        outer, inner = APIRouter(), APIRouter()
        for index, endpoint in enumerate(self._spec.endpoints):
            self._add((app, outer, inner)[endpoint.router], f"e{index}", endpoint)
        outer.include_router(inner, prefix="/in" + self._spec.prefixes[1])
        app.include_router(outer, prefix="/v1" + self._spec.prefixes[0])
        self._add_handlers(app)
        if "gzip" in self._spec.middleware:
            app.add_middleware(GZipMiddleware, minimum_size=1)
        if "base" in self._spec.middleware:
            app.add_middleware(BaseHTTPMiddleware, dispatch=self._dispatch)
        app.middleware("http")  # no effect without a function
        app.add_middleware(_Noting, journal=self._journal)
        return app

    async def _dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-base"] = "1"
        return response

    def _add(self, router: Any, name: str, endpoint: Endpoint) -> None:
        parameters = self._parameters(endpoint.node)
        for number, (kind, is_embedded, is_optional) in enumerate(endpoint.body):
            annotation = Annotated[BODIES[kind], Body(embed=is_embedded)]
            default = None if is_optional else inspect.Parameter.empty
            parameters.append(_parameter(f"b{number}", annotation, default))
        parameters += [_parameter(letter, str) for letter in "pr" if f"{{{letter}" in endpoint.path]
        function = self._callable(
            name, endpoint.node, parameters, lambda values: self._answer(endpoint, values)
        )
        options: dict[str, Any] = {f"response_model_{option}": True for option in endpoint.options}
        if MODELS[endpoint.model] is not ...:
            options["response_model"] = MODELS[endpoint.model]
        if endpoint.response_class:
            options["response_class"] = (JSONResponse, HTMLResponse)[endpoint.response_class - 1]
        router.api_route(
            endpoint.path, methods=list(endpoint.methods), status_code=endpoint.status, **options
        )(function)

    def _answer(self, endpoint: Endpoint, values: dict[str, Any]) -> Any:
        match endpoint.returns:
            case "values":
                return {"name": "n", "shown": shown(values)}
            case "item":
                return Item(name="i", price=1)
            case "none":
                return None
            case "wrong":
                return object if endpoint.response_class == 2 else "wrong"
            case "plain":
                return PlainTextResponse("plain")
            case "json":
                return JSONResponse({"a": 1}, status_code=202, headers={"x-own": "1"})
            case "redirect":
                return RedirectResponse("/elsewhere")
        raise OwnError("from the endpoint")

    def _dependency(self, name: str, node: Node) -> Any:
        return self._callable(name, node, self._parameters(node), lambda values: f"{name} {shown(values)}")

    def _parameters(self, node: Node) -> list[inspect.Parameter]:
        parameters = []
        for number, (index, use_cache, scope) in enumerate(node.subs):
            is_generator = self._spec.nodes[index].kind in ("gen", "asyncgen")
            made = Depends(
                self._made[index],
                use_cache=use_cache,
                scope=scope if is_generator else None,
                **supported(Depends, max_concurrency=self._spec.nodes[index].limit),
            )
            if node.effect == "sleep":
                made = Security(self._made[index], scopes=["one", "two"], use_cache=use_cache)
            parameters.append(_parameter(f"s{number}", Annotated[Any, made]))
        for number, one in enumerate(node.inputs):
            parameters.append(_input(one, number))
        parameters += [_parameter(take, _TAKEN[take]) for take in node.takes]
        return parameters

    def _callable(
        self,
        name: str,
        node: Node,
        parameters: list[inspect.Parameter],
        result: Callable[[dict[str, Any]], Any],
    ) -> Any:
        def begin(values: dict[str, Any]) -> Any:
            self._journal.append((name, shown(values), variable.get()))
            _act(node.effect, name, values, self._journal)
            return result(values)

        return _FORMS[node.kind](name, node, inspect.Signature(parameters), begin, self._journal)

    def _add_handlers(self, app: FastAPI) -> None:
        async def handle(request: Request, error: Exception) -> Response:
            self._journal.append(("handler", type(error).__name__, str(error)[:80], request.url.path))
            return PlainTextResponse("handled", 418)

        def handle_in_thread(request: Request, error: Exception) -> Response:
            self._journal.append(("thread handler", str(error)))
            return PlainTextResponse("handled", 419)

        keys: dict[str, Any] = {"own": OwnError, "http": 404, "500": Exception, "422": 422}
        for name in self._spec.handlers:
            app.add_exception_handler(
                keys.get(name, OwnError), handle_in_thread if "sync" in name else handle
            )


class _Noting:
    """Gives validators the journal of this application."""

    def __init__(self, app: Any, journal: Journal) -> None:
        self._app, self._journal = app, journal

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _journal.set(self._journal)
        variable.set("unset")
        await self._app(scope, receive, send)


def shown(value: Any) -> Any:
    """A value as it can be compared between two applications."""
    if isinstance(value, dict):
        return {str(key): shown(one) for key, one in value.items()}
    if isinstance(value, set):
        return sorted(map(str, value))
    if isinstance(value, SecurityScopes):
        return value.scopes
    if isinstance(value, (str, int, float, list, tuple, BaseModel, enum.Enum, type(None))):
        return repr(value)
    return type(value).__name__


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _input(one: Input, number: int) -> inspect.Parameter:
    name = f"{one.source[0]}{number}"
    alias = f"x-{name}" if one.source == "header" else f"{one.source[0]}x{number}"
    info = SOURCES[one.source](alias=alias if one.alias else None)
    return _parameter(name, Annotated[TYPES[one.type], info], DEFAULTS[one.default])


_TAKEN: dict[str, Any] = {
    "request": Request,
    "response": Response,
    "tasks": BackgroundTasks,
    "scopes": SecurityScopes,
    "oauth": Annotated[str | None, Depends(OAuth2PasswordBearer("token", auto_error=False))],
    "basic": Annotated[Any, Depends(HTTPBasic(auto_error=True))],
}


def _act(effect: str, name: str, values: dict[str, Any], journal: Journal) -> None:
    match effect:
        case "http":
            raise HTTPException(404, name)
        case "value":
            raise ValueError(name)
        case "own":
            raise OwnError(name)
        case "context":
            variable.set(name)
        case "header" if "response" in values:
            values["response"].headers[f"x-{name}"] = "1"
            values["response"].set_cookie(name, "v")
        case "status" if "response" in values:
            values["response"].status_code = 203
        case "task" if "tasks" in values:
            values["tasks"].add_task(journal.append, ("task", name))


def _ended(node: Node, name: str, error: BaseException | None, journal: Journal) -> None:
    journal.append(("end", name, type(error).__name__, variable.get()))
    if node.end == "raise":
        raise LookupError(f"end of {name}")
    if error is None:
        return
    if node.end == "replace" and isinstance(error, Exception):
        raise HTTPException(410, f"replaced by {name}")
    if node.end != "swallow" or not isinstance(error, Exception):
        raise error


def _sync(name: str, node: Node, signature: Any, begin: Any, journal: Journal) -> Any:
    def function(**values: Any) -> Any:
        return begin(values)

    return _named(function, name, signature)


def _async(name: str, node: Node, signature: Any, begin: Any, journal: Journal) -> Any:
    async def function(**values: Any) -> Any:
        if node.effect == "sleep":
            await asyncio.sleep(0)
        return begin(values)

    return _named(function, name, signature)


def _gen(name: str, node: Node, signature: Any, begin: Any, journal: Journal) -> Any:
    def function(**values: Any) -> Any:
        result = begin(values)
        try:
            yield result
        except BaseException as error:  # noqa: BLE001 - raised again, unless it is swallowed on purpose
            _ended(node, name, error, journal)
        else:
            _ended(node, name, None, journal)

    return _named(function, name, signature)


def _asyncgen(name: str, node: Node, signature: Any, begin: Any, journal: Journal) -> Any:
    async def function(**values: Any) -> Any:
        result = begin(values)
        try:
            yield result
        except BaseException as error:  # noqa: BLE001 - raised again, unless it is swallowed on purpose
            _ended(node, name, error, journal)
        else:
            await asyncio.sleep(0)
            _ended(node, name, None, journal)

    return _named(function, name, signature)


def _class(name: str, node: Node, signature: Any, begin: Any, journal: Journal) -> Any:
    class Made(str):
        def __new__(cls, **values: Any) -> Any:
            return super().__new__(cls, begin(values))

    return _named(Made, name, signature)


def _instance(name: str, node: Node, signature: Any, begin: Any, journal: Journal) -> Any:
    class Made:
        def __call__(self, **values: Any) -> Any:
            return begin(values)

    return _named(Made(), name, signature)


def _async_instance(name: str, node: Node, signature: Any, begin: Any, journal: Journal) -> Any:
    class Made:
        async def __call__(self, **values: Any) -> Any:
            return begin(values)

    return _named(Made(), name, signature)


def _named(function: Any, name: str, signature: Any) -> Any:
    function.__name__ = name
    function.__signature__ = signature
    return function


_FORMS = {
    "sync": _sync,
    "async": _async,
    "gen": _gen,
    "asyncgen": _asyncgen,
    "class": _class,
    "instance": _instance,
    "async instance": _async_instance,
}
