"""Small applications that use what is easily overlooked: each is the same compiled as not."""

import json
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from functools import partial, wraps
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
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer, SecurityScopes
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field
from starlette.background import BackgroundTask
from starlette.convertors import Convertor, register_url_convertor

from tests.compiler.exchange import Call, Journal, compare

JSON = [(b"content-type", b"application/json")]


class Kind(Enum):
    TEA = "tea"
    COFFEE = "coffee"


class Inner(BaseModel):
    x: int = 1
    y: float | None = None


class Item(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    name: Annotated[str, Field(alias="theName")]
    inner: Inner = Inner()
    tags: set[str] = set()
    secret: str = "s"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shout(self) -> str:
        return self.name.upper()


def test_options_of_the_response_model() -> None:
    options: list[dict[str, Any]] = [
        {"response_model_include": {"name", "inner"}},
        {"response_model_exclude": {"secret": True, "inner": {"y"}}},
        {"response_model_exclude_unset": True},
        {"response_model_exclude_defaults": True, "response_model_by_alias": False},
        {"response_model_exclude_none": True},
        {"response_model": list[Item], "response_model_exclude": {0: {"tags"}}},
        {"response_model": None},
        {"response_model": dict[str, Any]},
        {"response_model": Item | Inner},
        {"response_class": PlainTextResponse, "response_model": None},
        {"response_class": JSONResponse},
        {"status_code": 204, "response_model": None},
        {"status_code": 205, "response_model": None},
        {"status_code": 304, "response_class": PlainTextResponse, "response_model": None},
    ]

    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()
        for number, one in enumerate(options):

            @app.get(f"/{number}", **one)
            @app.get(f"/sync/{number}", **one)
            async def read(number: int = number, kind: str = "item") -> Any:
                item = Item(name="n", tags={"a"})
                return {
                    "item": [item] if "list" in str(options[number].get("response_model")) else item,
                    "dict": {"theName": "d", "inner": {"x": "7"}},
                    "none": None,
                    "text": "text",
                    "nan": float("nan"),
                    "own": PlainTextResponse("own", 418),
                }[kind]

        return app

    compare(
        factory,
        *(
            Call(path=f"/{number}", query=f"kind={kind}".encode())
            for number in range(len(options))
            for kind in ("item", "dict", "none", "text", "nan", "own")
        ),
    )


def test_inputs_that_are_repeated_empty_or_strange() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.get("/{kind}/{number:int}/{rest:path}")
        async def read(
            kind: Kind,
            number: int,
            rest: str,
            q: str | None = None,
            n: Annotated[int, Query(gt=0)] = 3,
            many: Annotated[list[int], Query(alias="m")] = [4],  # noqa: B006
            unique: Annotated[set[str] | None, Query()] = None,
            pair: Annotated[tuple[int, int] | None, Query()] = None,
            flag: bool = False,
            x_token: Annotated[list[str] | None, Header()] = None,
            under_score: Annotated[str | None, Header(convert_underscores=False)] = None,
            session: Annotated[str | None, Cookie()] = None,
        ) -> Any:
            return [
                kind,
                number,
                rest,
                q,
                n,
                many,
                sorted(unique or ()),
                pair,
                flag,
                x_token,
                under_score,
                session,
            ]

        return app

    queries = [
        b"", b"q", b"q=", b"q=1&q=2", b"n=1&n=0", b"n=0&n=1", b"n=", b"m=1&m=2", b"m=", b"m=1&m=x", b"M=1",
        b"unique=a&unique=a", b"pair=1&pair=2", b"pair=1", b"flag=on", b"flag=2", b"q=%ff%00&q2",
        b"q=a;b=c&&=", b"q=a+b%2Bc", "q=é".encode(), b"%71=1", b"n=1.0", b"n=+1", b"n=%201", b"q[]=1",
        b"m=1,2",
    ]  # fmt: skip
    headers = [
        [(b"x-token", b"a"), (b"x-token", b""), (b"under_score", b"u"), (b"under-score", b"v")],
        [(b"cookie", b"session=a; session=b"), (b"cookie", b"session=c")],
        [(b"cookie", b'session="q\\"uoted"; x'), (b"x-token", b"\xff")],
        [(b"cookie", b"=session; session")],
    ]
    paths = [
        "/tea/1/",
        "/tea/1/a/b",
        "/tea/01/a%2Fb",
        "/milk/1/a",
        "/coffee/x/a",
        "/tea/1",
        "/tea/-1/a",
        "/tea/1/é",
    ]
    compare(
        factory,
        *(Call(path="/tea/1/r", query=query) for query in queries),
        *(Call(path="/coffee/2/r", headers=one) for one in headers),
        *(Call(path=path) for path in paths),
    )


def test_bodies() -> None:
    @dataclass
    class Point:
        x: int
        y: int = 2

    Numbers = RootModel[list[int]]  # noqa: N806

    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.post("/item")
        async def item(item: Item) -> Item:
            item.inner.x += 1
            return item

        @app.post("/two")
        async def two(a: Item, b: Inner | None = None, q: int = 1) -> list[Any]:
            return [a, b, q]

        @app.post("/embedded")
        async def embedded(a: Annotated[int, Body(embed=True, gt=1)]) -> int:
            return a

        @app.post("/dataclass")
        async def point(point: Point) -> Point:
            return point

        @app.post("/root")
        async def numbers(numbers: Numbers) -> Numbers:  # type: ignore[valid-type]
            return numbers

        @app.post("/any")
        async def anything(request: Request, body: Annotated[Any, Body()] = None) -> Any:
            return [body.decode("latin-1") if isinstance(body, bytes) else body, len(await request.body())]

        @app.post("/mutable")
        async def mutable(extra: Annotated[dict[str, Any], Body()] = {"a": []}) -> Any:  # noqa: B006
            extra["a"].append(1)
            return extra

        return app

    bodies = [
        b"", b"null", b"1", b"{}", b"[]", b"[1,2]", b'{"theName":"n"}', b'{"x":"1"}',
        b'{"name":"n","inner":{"x":"3"}}', b'{"a":2}', b'{"a":1}', b'{"a":[1]}', b"{'a':1}", b"[" * 50,
        b'{"a":{"theName":"n"},"b":{"x":2}}',
        b"NaN", b'"\\ud800"',
        b'{"a":1e400}', b"\xff", b'{"theName":"n","theName":"m"}', b"  7  ",
    ]  # fmt: skip
    types = [JSON, [], [(b"content-type", b"text/plain")], [(b"content-type", b"APPLICATION/Vnd.x+JSON;a=b")]]
    compare(
        factory,
        *(
            Call("POST", path, body=[body], headers=headers)
            for path in ("/item", "/two", "/embedded", "/dataclass", "/root", "/any", "/mutable")
            for body in bodies
            for headers in types
        ),
    )


MODES = [
    f"mode={mode}".encode()
    for mode in (
        *("", "raise", "replace", "before", "late", "http"),
        *("own", "plain", "stream", "task", "object"),
    )
]


class OwnError(Exception):
    pass


async def ended_by(mode: str, tasks: BackgroundTasks, journal: Journal) -> Any:
    if mode in ("raise", "replace"):
        raise OwnError(mode)
    if mode == "http":
        raise HTTPException(404, {"a": 1}, headers={"x-error": "1"})
    if mode == "task":
        tasks.add_task(int, "x")
    return {
        "own": lambda: PlainTextResponse("own", background=BackgroundTask(journal.append, "own")),
        "plain": lambda: PlainTextResponse("plain"),
        "stream": lambda: StreamingResponse(iter(["a", "b"]), headers={"x-stream": "1"}),
        "object": object,
    }.get(mode, lambda: None)()


def outer_of(journal: Journal) -> Any:
    async def outer(mode: str = "") -> AsyncIterator[str]:
        journal.append("outer")
        try:
            yield "outer"
        except OwnError as error:
            journal.append("outer sees it")
            if mode == "replace":
                raise HTTPException(410, "replaced") from error
            raise
        finally:
            journal.append("end of outer")
            if mode == "late":
                raise OwnError("late")

    return outer


def test_generators_tasks_and_what_ends_when() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.exception_handler(OwnError)
        async def handle(request: Request, error: OwnError) -> Response:
            journal.append("handler")
            return PlainTextResponse(
                str(error), 409, background=BackgroundTask(journal.append, "of the handler")
            )

        outer = outer_of(journal)

        def inner(outer: Annotated[str, Depends(outer)], mode: str = "") -> Iterator[str]:
            journal.append("inner")
            if mode == "before":
                raise OwnError("before")
            with_response = yield outer
            journal.append(("end of inner", with_response))

        def noting(tasks: BackgroundTasks, response: Response) -> None:
            tasks.add_task(journal.append, "task of a dependency")
            response.headers["x-dependency"] = "1"
            response.headers["content-type"] = "text/odd"

        @app.get("/", dependencies=[Depends(noting)])
        async def read(
            one: Annotated[str, Depends(inner)], tasks: BackgroundTasks, response: Response, mode: str = ""
        ) -> Any:
            tasks.add_task(journal.append, "task")
            response.set_cookie("a", "b")
            response.set_cookie("c", max_age=0)  # delete_cookie() would write the time
            response.status_code = 202
            return await ended_by(mode, tasks, journal) or one

        return app

    compare(factory, *(Call(query=mode, send_error=at) for mode in MODES for at in (None, 1, 2)))


class NotingRoute(APIRoute):
    def get_route_handler(self) -> Any:
        original = super().get_route_handler()

        async def handler(request: Request) -> Response:
            response: Response = await original(request)
            response.headers["x-noted"] = "1"
            return response

        return handler


class UpperConvertor(Convertor[str]):
    regex = "[A-Z/]+"

    def convert(self, value: str) -> str:
        return value.lower()

    def to_string(self, value: str) -> str:
        return value.upper()


def test_routes_of_other_classes_and_paths_of_other_kinds() -> None:
    register_url_convertor("upper", UpperConvertor())

    def factory(journal: Journal) -> FastAPI:
        app, noted = FastAPI(redirect_slashes=True), APIRouter(route_class=NotingRoute)

        def traced(function: Any) -> Any:
            @wraps(function)
            async def wrapper(*arguments: Any, **options: Any) -> Any:
                journal.append("traced")
                return await function(*arguments, **options)

            return wrapper

        class Controller:
            def __init__(self, name: str) -> None:
                self.name = name

            async def read(self, x: str) -> list[str]:
                return [self.name, x]

            def __call__(self, x: str) -> list[str]:
                return ["called", self.name, x]

        async def bound(a: int, x: str) -> list[Any]:
            return [a, x]

        @noted.get("/noted/{x}")
        async def is_noted(x: int) -> int:
            return x

        app.include_router(noted)
        app.get("/wrapped/{x}")(traced(partial(bound, 1)))
        app.get("/partial/{x}")(partial(bound, 2))
        app.get("/method/{x}")(Controller("m").read)
        app.get("/object/{x}")(Controller("o"))
        app.get("/upper/{x:upper}/end")(bound_to(journal, "upper"))
        app.get("/uuid/{x:uuid}")(bound_to(journal, "uuid"))
        app.get("/float/{x:float}")(bound_to(journal, "float"))
        app.get("/a-{x}.{y}/b")(bound_to(journal, "two"))
        app.get("/slash/")(bound_to(journal, "slash", "none"))
        app.get("/{x}/b")(bound_to(journal, "any"))
        app.api_route("/all", methods=["GET", "HEAD", "OPTIONS"])(bound_to(journal, "all", "none"))
        return app

    paths = [
        "/noted/1", "/noted/x", "/wrapped/a", "/partial/a", "/method/a", "/object/a", "/upper/A/B/end",
        "/upper/a/end",
        "/uuid/12345678-1234-5678-1234-567812345678", "/uuid/1", "/float/1.5", "/float/1", "/float/x",
        "/a-1.2/b",
        "/a-1/b", "/slash", "/slash/", "/all", "/all/", "/x/b", "//b", "/%78/b", "/x/b/", "/.../b",
        "/\u00e9/b",
    ]  # fmt: skip
    compare(factory, *(Call(method, path) for path in paths for method in ("GET", "HEAD", "POST")))


def bound_to(journal: Journal, name: str, default: str | None = None) -> Any:
    async def read(request: Request) -> Any:
        journal.append((name, dict(request.path_params)))
        return [name, {key: str(value) for key, value in request.path_params.items()}, str(request.url)]

    return read


def test_security_and_overrides() -> None:
    def factory(journal: Journal) -> FastAPI:
        key, bearer = APIKeyHeader(name="X-Key"), HTTPBearer(auto_error=False)

        def check(
            scopes: SecurityScopes, key: Annotated[str, Security(key)], token: Annotated[Any, Depends(bearer)]
        ) -> list[Any]:
            return [scopes.scopes, scopes.scope_str, key, token and token.credentials]

        def overridden(q: int = 1) -> str:
            journal.append(("overridden", q))
            return "overridden"

        def original() -> str:
            return "original"

        app = FastAPI(dependencies=[Depends(original)])
        router = APIRouter(dependencies=[Security(check, scopes=["router"])])

        @router.get("/who")
        def who(
            one: Annotated[list[Any], Security(check, scopes=["me"])],
            two: Annotated[Any, Depends(original)],
        ) -> Any:
            return [one, two]

        app.include_router(router, prefix="/v1")
        inner = FastAPI()
        inner.get("/who")(who)
        app.mount("/sub", inner)

        @app.post("/override")
        async def override() -> None:
            app.dependency_overrides[original] = overridden

        @app.post("/restore")
        async def restore() -> None:
            app.dependency_overrides = {}

        return app

    calls = [
        Call(path=path, headers=headers)
        for path in ("/v1/who", "/sub/who")
        for headers in ([], [(b"x-key", b"k")], [(b"x-key", b"k"), (b"authorization", b"Bearer t")])
    ]
    compare(factory, *calls, Call("POST", "/override"), *calls, Call("POST", "/restore"), *calls)


def test_middleware_that_changes_the_request_and_reads_the_context() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def change(request: Request, call_next: Any) -> Response:
            variable.set("middleware")
            request.state.user = "u"
            if request.url.path == "/rewritten":
                request.scope["path"] = "/items/7"
            if request.headers.get("x-body"):
                journal.append(await request.body())
            response: Response = await call_next(request)
            response.headers["x-context"] = variable.get()
            return response

        async def set_it() -> None:
            variable.set("dependency")

        @app.post("/items/{number}", dependencies=[Depends(set_it)])
        async def create(
            number: Annotated[int, Path(ge=1)], request: Request, body: Annotated[dict[str, int], Body()]
        ) -> Any:
            journal.append(variable.get())
            variable.set("endpoint")
            return [number, request.state.user, body, await request.json()]

        return app

    compare(
        factory,
        *(
            Call("POST", path, body=[b'{"a":', b"1}"], headers=[*JSON, *headers])
            for path in ("/rewritten", "/items/1", "/items/0")
            for headers in ([], [(b"x-body", b"1")])
        ),
        Call("POST", "/items/1", body=[json.dumps({"a": 10**30}).encode()], headers=JSON),
    )
