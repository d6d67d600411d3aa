"""What an earlier attempt got wrong, or might have: each is the same compiled as not."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Annotated, Any
from unittest.mock import AsyncMock, patch

import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Query,
    Request,
    Response,
)
from fastapi.responses import PlainTextResponse
from pydantic import AfterValidator, BaseModel, Field
from starlette.routing import Host, Mount, Route

from coachman.compiler import COUNTS, compile_app
from coachman.compiler.runtime import new_solved_response
from tests.compiler.exchange import Call, Journal, asgi_scope, compare, exchange, supported

JSON = [(b"content-type", b"application/json")]


class Item(BaseModel):
    name: str
    price: int = 0


def test_a_valid_request_and_an_invalid_one() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        async def session(q: int = 1) -> int:
            journal.append("session")
            return q

        @app.post("/items/{number}")
        async def create(number: int, item: Item, session: Annotated[int, Depends(session)]) -> Item:
            journal.append((number, item, session))
            return item

        return app

    seen = compare(
        factory,
        Call("POST", "/items/1", body=[b'{"name":', b'"a"}'], headers=JSON),
        Call("POST", "/items/x", body=[b'{"name":"a"}'], headers=JSON, query=b"q=2"),
        Call("POST", "/items/1", body=[b'{"name":'], headers=JSON),
        Call("POST", "/items/1", body=[b'{"name":"a"}']),
        Call("POST", "/items/1", body=[b""]),
        Call("GET", "/items/1"),
        Call("POST", "/items/1/"),
        Call("POST", "/none"),
    )
    assert [one.messages[0]["status"] for one in seen] == [200, 422, 422, 422, 422, 405, 307, 404]


def test_reading_the_body_fails() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.post("/")
        async def create(item: Item) -> Item:
            return item

        return app

    seen = compare(
        factory,
        Call("POST", "/", body=[b"{", b""], headers=JSON, receive_error=OSError("gone")),
        Call("POST", "/", body=[b"{", b""], headers=JSON, receive_error=HTTPException(418, "tea")),
        Call("POST", "/", body=[], headers=JSON),
        compiled=False,
    )
    assert [one.messages[0]["status"] for one in seen] == [400, 418, 400]


def test_parsing_json_fails_in_another_way_than_for_bad_json() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.post("/")
        async def create(item: Item) -> Item:
            return item

        return app

    with patch("json.loads", side_effect=RecursionError("too deep")):
        (seen,) = compare(factory, Call("POST", "/", body=[b"{}"], headers=JSON), compiled=False)
    assert seen.messages[0]["status"] == 400


@pytest.mark.parametrize("limit", [5, 500])
@pytest.mark.parametrize("place", ["app", "route", "router"])
def test_limits_of_the_body(limit: int, place: str) -> None:
    def limited(function: Any, where: str) -> dict[str, Any]:
        return supported(function, max_body_size=limit if place == where else None)

    def factory(journal: Journal) -> FastAPI:
        app = FastAPI(**limited(FastAPI, "app"))
        router = APIRouter(**limited(APIRouter, "router"))

        @router.post("/", **limited(router.post, "route"))
        async def create(item: Item) -> Item:
            return item

        app.include_router(router, prefix="/items")
        return app

    body = [b'{"name":', b'"abc"}']
    compare(
        factory,
        Call("POST", "/items/", body=body, headers=JSON),
        Call("POST", "/items/", body=body, headers=[*JSON, (b"content-length", b"14")]),
        compiled=limit == 500 or not supported(FastAPI, max_body_size=limit),
    )


@pytest.mark.parametrize("scope", ["function", "request"])
@pytest.mark.parametrize("is_async", [True, False])
def test_a_dependency_keeps_the_exception_to_itself(scope: Any, is_async: bool) -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        async def swallow_async() -> AsyncIterator[int]:
            try:
                yield 1
            except ValueError as error:
                journal.append(repr(error))

        def swallow() -> Iterator[int]:
            try:
                yield 1
            except ValueError as error:
                journal.append(repr(error))

        dependency = Depends(swallow_async if is_async else swallow, scope=scope)

        @app.get("/")
        async def fail(one: Annotated[int, dependency]) -> int:
            raise ValueError("mine")

        return app

    (seen,) = compare(factory, Call())
    assert seen.journal == ["ValueError('mine')"]
    assert seen.error[0].startswith("FastAPIError" if scope == "request" else "UnboundLocalError")


def test_an_exception_has_no_context_of_the_compiler() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        def refuse(q: int = 0) -> int:
            raise ZeroDivisionError(q)

        @app.get("/")
        async def read(number: Annotated[int, Depends(refuse)], other: int = 0) -> int:
            return number

        @app.get("/answer")
        async def answer() -> int:
            return "not a number"  # type: ignore[return-value]

        return app

    seen = compare(factory, Call(), Call(query=b"other=x"), Call(path="/answer"))
    assert [len(one.error) for one in seen] == [1, 1, 1]


def test_handlers_get_the_same_exception_and_request() -> None:
    class TeapotError(Exception):
        pass

    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.exception_handler(TeapotError)
        async def handle(request: Request, error: TeapotError) -> Response:
            journal.append((request.url.path, request.path_params, await request.body(), str(error)))
            return PlainTextResponse("tea", 418)

        @app.exception_handler(LookupError)
        def handle_in_thread(request: Request, error: LookupError) -> Response:
            raise TeapotError("from a handler")

        @app.exception_handler(404)
        async def handle_status(request: Request, error: HTTPException) -> Response:
            return PlainTextResponse(f"none: {error.detail}", 404)

        @app.post("/{kind}")
        async def fail(kind: str, item: Item) -> Item:
            raise {"tea": TeapotError("t"), "key": KeyError("k"), "http": HTTPException(404, "h")}.get(
                kind, RuntimeError("r")
            )

        return app

    compare(
        factory,
        *(
            Call("POST", f"/{kind}", body=[b'{"name":"a"}'], headers=JSON)
            for kind in ("tea", "key", "http", "other")
        ),
    )


def test_an_exception_after_the_head_has_gone() -> None:
    class BrokenResponse(PlainTextResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise HTTPException(500, "too late")

    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        def fail() -> None:
            raise HTTPException(500, "in the background")

        @app.get("/response")
        async def read() -> Response:
            return BrokenResponse()

        @app.get("/tasks")
        async def work(tasks: BackgroundTasks) -> dict[str, int]:
            tasks.add_task(fail)
            return {}

        return app

    seen = compare(factory, Call(path="/response"), Call(path="/tasks"))
    assert all("response already started" in one.error[0] for one in seen)


def test_a_dependency_without_a_cache_below_one_that_is_repeated_is_called_again() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        def count() -> int:
            journal.append("count")
            return len(journal)

        def cached(number: Annotated[int, Depends(count, use_cache=False)]) -> int:
            journal.append("cached")
            return number

        @app.get("/")
        async def read(
            one: Annotated[int, Depends(cached)], two: Annotated[int, Depends(cached)]
        ) -> list[int]:
            return [one, two]

        return app

    (seen,) = compare(factory, Call())
    assert seen.journal == ["count", "cached", "count"]


def test_validators_of_the_application_run_once_and_where_they_did() -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="none")

    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        def check(value: str) -> str:
            journal.append((tenant.get(), value))
            if value == "bad":
                raise ValueError("refused")
            return value

        async def choose() -> None:
            tenant.set("one")
            journal.append("choose")

        class Named(BaseModel):
            name: Annotated[str, AfterValidator(check)]
            more: list[str] = Field(default_factory=lambda: journal.append("made") or [])

        @app.post("/", dependencies=[Depends(choose)])
        async def create(
            named: Named, q: Annotated[str, AfterValidator(check)] = "x", number: int = 0
        ) -> str:
            return named.name

        return app

    seen = compare(
        factory,
        Call("POST", body=[b'{"name":"good"}'], headers=JSON, query=b"q=good"),
        Call("POST", body=[b'{"name":"bad"}'], headers=JSON, query=b"q=bad"),
        Call("POST", body=[b'{"name":"bad"}'], headers=JSON, query=b"q=bad&number=x"),
    )
    assert seen[1].journal[0] == "choose"
    assert seen[1].journal.count(("one", "bad")) == 2  # of the two inputs, one each


def test_a_dependency_whose_input_the_application_refuses_is_not_called() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        def check(value: int) -> int:
            journal.append(("check", value))
            if value % 2:
                raise ValueError("odd")
            return value

        Checked = Annotated[int, AfterValidator(check)]  # noqa: N806

        def first(a: Checked = 0) -> int:
            journal.append("first")
            return a

        def second(first: Annotated[int, Depends(first)], b: Checked = 0) -> int:
            journal.append("second")
            return b

        async def third(c: Checked = 0) -> AsyncIterator[int]:
            journal.append("third")
            yield c
            journal.append("end of third")

        @app.get("/")
        async def read(
            two: Annotated[int, Depends(second)],
            three: Annotated[int, Depends(third)],
            d: Checked,
            plain: int = 0,
        ) -> list[int]:
            journal.append("endpoint")
            return [two, three, d]

        return app

    for query in (
        b"d=2",
        b"d=1",
        b"a=1&d=2",
        b"b=1&c=1&d=1",
        b"c=3&d=2",
        b"",
        b"d=2&plain=x",
        b"a=1&plain=x",
    ):
        compare(factory, Call(query=query), compiled=None if b"x" in query else True)


def test_a_default_is_new_for_each_request() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.get("/")
        async def read(
            names: Annotated[list[str], Query()] = [],  # noqa: B006
            q: Annotated[dict[str, int], Body()] = {},  # noqa: B006
        ) -> Any:
            names.append("more")
            q["more"] = 1
            return [names, q]

        return app

    seen = compare(factory, Call(), Call(), Call(query=b"names=a"))
    assert [json.loads(one.messages[1]["body"])[0] for one in seen] == [["more"], ["more"], ["a", "more"]]


def test_methods_and_paths_that_have_no_route() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.get("/items")
        async def read() -> str:
            return "read"

        @app.get("/{name}")
        async def named(name: str) -> str:
            return name

        @app.put("/items")
        async def put() -> str:
            return "put"

        return app

    compare(
        factory,
        *(
            Call(method, path)
            for method in ("GET", "HEAD", "PUT", "OPTIONS")
            for path in ("/items", "/x", "/items/")
        ),
        Call(path="/items\n"),
        Call(path="//items"),
        Call(path=""),
    )


def test_a_path_without_parameters_that_another_route_answers_for_other_methods() -> None:
    def factory(journal: Journal) -> FastAPI:
        app, router = FastAPI(), APIRouter()

        @app.post("/items/search")
        async def search() -> str:
            return "search"

        @router.get("/{number}")
        @app.put("/items/{number:path}")
        async def read(number: str) -> str:
            return number

        app.include_router(router, prefix="/items")
        return app

    seen = compare(
        factory, *(Call(method, "/items/search") for method in ("POST", "GET", "PUT", "HEAD", "DELETE"))
    )
    assert [one.messages[1]["body"] for one in seen[:3]] == [b'"search"'] * 3


def test_root_paths_and_mounts() -> None:
    def factory(journal: Journal) -> FastAPI:
        app, inner, innermost = FastAPI(), FastAPI(), FastAPI()

        for one, name in ((app, "outer"), (inner, "inner"), (innermost, "innermost")):

            @one.get("/url/{number}", name=name)
            async def url(request: Request, number: int, name: str = name) -> list[str]:
                journal.append(sorted(request.scope))
                return [str(request.url), str(request.base_url), str(request.url_for(name, number=2))]

            @one.get("/wrong/{number}")
            async def wrong(number: int) -> int:
                return "wrong"  # type: ignore[return-value]

        app.mount("/inner", inner)
        inner.mount("/most/{tenant}", innermost)
        return app

    compare(
        factory,
        *(
            Call(path=root + prefix + path, root_path=root)
            for root in ("", "/api")
            for prefix in ("", "/inner", "/inner/most/me")
            for path in ("/url/1", "/url/x", "/wrong/1")
        ),
        Call(path="/url/1", root_path="/api"),
    )


def test_hosts_and_plain_routes_keep_their_place() -> None:
    def factory(journal: Journal) -> FastAPI:
        async def plain(request: Request) -> Response:
            return PlainTextResponse(f"plain {request.path_params}")

        app = FastAPI()

        @app.get("/first/{name}")
        async def first(name: str) -> str:
            return name

        app.router.routes.append(Host("special.example", app=FastAPI(), name="special"))
        app.router.routes.append(Route("/plain/{name}", plain))
        app.router.routes.append(Mount("/mounted", routes=[Route("/x", plain)]))

        @app.get("/{kind}/{name}")
        async def last(kind: str, name: str) -> list[str]:
            return [kind, name]

        return app

    compare(
        factory,
        *(
            Call(path=path, headers=[(b"host", host)])
            for path in ("/first/a", "/plain/a", "/mounted/x", "/other/x")
            for host in (b"special.example", b"other.example")
        ),
    )


def test_included_routers_leave_the_same_marks_in_the_scope() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI(**supported(FastAPI, form_limits={"max_fields": 7}))
        outer = APIRouter(prefix="/outer", **supported(APIRouter, form_limits={"max_files": 1}))
        inner = APIRouter(**supported(APIRouter, form_limits={"max_fields": 3}))

        async def note(request: Request) -> None:
            route = request.scope["route"]
            marks = request.scope.get("fastapi", {})
            journal.append((route.path, request.scope["endpoint"].__name__, request.path_params))
            journal.append(
                {key: getattr(value, "path", type(value).__name__) for key, value in marks.items()}
            )
            journal.append(marks.get("form_limits"))

        @app.get("/before/{x}", dependencies=[Depends(note)])
        async def before(x: int) -> int:
            return x

        @inner.get("/deep/{x}", dependencies=[Depends(note)])
        async def deep(x: int) -> int:
            return x

        outer.include_router(inner, prefix="/inner")
        app.include_router(outer, prefix="/{tenant}", dependencies=[Depends(note)])

        @app.get("/after/{x}", dependencies=[Depends(note)])
        async def after(x: int) -> int:
            return x

        return app

    compare(factory, Call(path="/before/1"), Call(path="/me/outer/inner/deep/1"), Call(path="/after/1"))


def test_exit_stacks_are_in_the_scope_for_those_who_look() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        def register(request: Request) -> None:
            for name in ("fastapi_inner_astack", "fastapi_function_astack", "fastapi_middleware_astack"):
                request.scope[name].callback(journal.append, name)

        @app.get("/", dependencies=[Depends(register)])
        async def read(tasks: BackgroundTasks) -> str:
            tasks.add_task(journal.append, "task")
            return "read"

        return app

    (seen,) = compare(factory, Call())
    assert len(seen.journal) == 4


def test_context_variables_of_dependencies() -> None:
    variable: ContextVar[tuple[str, ...]] = ContextVar("variable", default=())

    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        def in_thread() -> None:
            journal.append(list(variable.get()))
            variable.set((*variable.get(), "thread"))

        async def in_loop() -> None:
            journal.append(list(variable.get()))
            variable.set((*variable.get(), "loop"))

        def in_thread_again() -> None:
            journal.append(list(variable.get()))

        async def around() -> AsyncIterator[None]:
            variable.set((*variable.get(), "around"))
            yield
            journal.append(list(variable.get()))

        @app.get("/", dependencies=[Depends(one) for one in (in_thread, in_loop, around, in_thread_again)])
        def read() -> tuple[str, ...]:
            return variable.get()

        return app

    (seen,) = compare(factory, Call())
    assert seen.messages[1]["body"] == b'["loop","around"]'


def test_an_override_counts_from_the_moment_it_is_set() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        async def original(q: int = 1) -> str:
            return "original"

        async def replaced(other: Annotated[int, Query()] = 5) -> AsyncIterator[str]:
            yield f"replaced {other}"
            journal.append("ended")

        async def configure(override: bool = False) -> None:
            if override:
                app.dependency_overrides[original] = replaced

        @app.get("/")
        async def read(
            _: Annotated[None, Depends(configure)], value: Annotated[str, Depends(original)], tail: int = 0
        ) -> str:
            return f"{value} {tail}"

        return app

    seen = compare(factory, Call(), Call(query=b"override=1"), Call(query=b"other=3&tail=1"))
    assert [one.messages[1]["body"] for one in seen] == [
        b'"original 0"',
        b'"replaced 5 0"',
        b'"replaced 3 1"',
    ]


def test_headers_and_cookies() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.get("/")
        async def read(
            response: Response,
            x_token: Annotated[list[str] | None, Header()] = None,
            agent: Annotated[str | None, Header(alias="User-Agent")] = None,
        ) -> Any:
            response.headers["x-one"] = "1"
            response.set_cookie("c", "d")
            response.status_code = int(agent or 0) or None  # type: ignore[assignment]
            return [x_token, agent]

        return app

    compare(
        factory,
        Call(),
        Call(headers=[(b"x-token", b"a"), (b"x-token", b"\xe9"), (b"user-agent", b"201")]),
        Call(headers=[(b"user-agent", b"204")]),
        Call(headers=[(b"user-agent", b"205")]),
    )


def test_a_traceback_shows_the_lines_of_a_compiled_function() -> None:
    app = FastAPI()

    @app.get("/")
    async def fail() -> None:
        raise LookupError("here")

    compile_app(app)
    with pytest.raises(LookupError) as caught:
        asyncio.run(app(asgi_scope(Call()), AsyncMock(), AsyncMock()))

    assert "raw = await endpoint_" in "".join(traceback.format_exception(caught.value))


def test_routes_that_are_added_later_are_found() -> None:
    app = FastAPI()
    router = APIRouter()

    @router.get("/router/{x}")
    async def first(x: str) -> str:
        return "first"

    app.include_router(router)

    @app.get("/app/{x}")
    async def last(x: str) -> str:
        return "last"

    compile_app(app)

    def ask(path: str) -> tuple[Any, int]:
        before = COUNTS.compiled
        seen = exchange(app, Call(path=path), [])
        return seen.messages[1]["body"], COUNTS.compiled - before

    assert ask("/app/x") == (b'"last"', 1)

    @app.get("/app/y")
    async def shadowed() -> str:
        return "shadowed"

    @app.get("/new")
    async def new() -> str:
        return "new"

    assert ask("/app/y") == (b'"last"', 1)
    assert ask("/new") == (b'"new"', 0)

    @router.get("/app/z")
    async def before() -> str:
        return "before"

    assert ask("/router/x") == (b'"first"', 1)
    assert ask("/app/z") == (b'"before"', 0)
    assert ask("/app/x") == (b'"last"', 0)

    del app.router.routes[:]
    assert ask("/router/x") == (b'{"detail":"Not Found"}', 0)


def test_a_route_whose_handler_is_replaced_later_is_left_alone() -> None:
    app = FastAPI()

    @app.get("/")
    async def read() -> str:
        return "read"

    compile_app(app)

    async def other(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("other")(scope, receive, send)

    app.routes[-1].app = other  # type: ignore[attr-defined]

    assert exchange(app, Call(), []).messages[1]["body"] == b"other"


def test_the_response_given_to_dependencies_is_as_fastapi_makes_it() -> None:
    stock = Response()
    del stock.headers["content-length"]
    stock.status_code = None  # type: ignore[assignment]
    stock.headers["x-a"] = "1"
    made = new_solved_response()
    made.headers["x-a"] = "1"
    assert {**vars(made), "_headers": None} == {**vars(stock), "_headers": None}
    assert made.headers.raw == stock.headers.raw


def test_the_response_of_two_requests_is_not_the_same() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.get("/{name}")
        async def name(name: str, response: Response) -> str:
            journal.append(response.headers.raw)
            response.headers["x-name"] = name
            return name

        return app

    compare(factory, Call("GET", "/a"), Call("GET", "/b"))


def test_a_layer_that_a_tool_puts_below_the_outermost_is_called() -> None:
    app = FastAPI()
    called: list[str] = []

    @app.get("/")
    async def root() -> None:
        pass

    compile_app(app)
    exchange(app, Call(), [])
    below = app.middleware_stack.app  # type: ignore[union-attr]

    async def between(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["path"])
        await below(scope, receive, send)

    app.middleware_stack.app = between  # type: ignore[union-attr]
    exchange(app, Call(), [])

    assert called == ["/"]
