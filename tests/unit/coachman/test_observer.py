import asyncio
from collections.abc import Callable

import pytest
from fastapi import APIRouter, BackgroundTasks, FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from coachman.asgi import Application
from coachman.logs import request_id
from coachman.serving.requests.counts import MOST_ROUTES, observe_all
from coachman.serving.requests.observer import CLIENT_GONE, Observer
from coachman.serving.requests.route_template import route_of
from coachman.settings import ServerSettings
from coachman.state.traffic_table import DURATION_BOUNDS


class FakeMetrics:
    """The series that an observer counts in, in a registry of their own."""

    observer: Observer

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("requests", "-", ["route", "method", "status"], registry=self.registry)
        self.seconds = Histogram("seconds", "-", ["route", "method"], registry=self.registry)
        self.answered = Counter("answered", "-", ["by"], registry=self.registry)

    def counted(self) -> dict[tuple[str, str, str], float]:
        self.observer.flush()
        return {
            (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "requests_total"
        }


def observed(application: Application) -> tuple[TestClient, FakeMetrics]:
    metrics = FakeMetrics()
    metrics.observer = Observer(application, ServerSettings(), metrics)
    return client_of(metrics.observer), metrics


def client_of(observer: Observer) -> TestClient:
    async def application(scope, receive, send) -> None:  # which TestClient must be able to see
        await observer(scope, receive, send)

    return TestClient(application, raise_server_exceptions=False)


def shop() -> FastAPI:
    router, inner, app = APIRouter(prefix="/items"), FastAPI(), FastAPI()

    @router.get("/{item_id}")
    def item(item_id: int) -> int:
        return item_id

    @inner.get("/{label}")
    def label(label: str) -> str:
        return label

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError

    app.include_router(router, prefix="/v1")
    app.mount("/labels", inner)
    app.mount("/plain", Starlette(routes=[Route("/{name}", lambda _: PlainTextResponse("plain"))]))
    return app


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/v1/items/7", "/v1/items/{item_id}", "200"),
        ("GET", "/v1/items/seven", "/v1/items/{item_id}", "422"),
        ("POST", "/v1/items/7", "/v1/items/{item_id}", "405"),
        ("GET", "/labels/a", "/labels/{label}", "200"),
        ("GET", "/plain/a", "/plain/{name}", "200"),
        ("GET", "/crash", "/crash", "500"),
        ("GET", "/docs", "/docs", "200"),
        ("GET", "/wp-login.php", "unmatched", "404"),
    ],
)
def test_a_request_counts_for_the_template_that_it_matched(
    method: str, path: str, route: str, status: str
) -> None:
    client, metrics = observed(shop())
    client.request(method, path)

    assert metrics.counted() == {(route, method, status): 1}


def test_a_mounted_application_that_names_no_route_counts_as_one() -> None:
    async def files(scope, receive, send) -> None:
        await PlainTextResponse("file")(scope, receive, send)

    client, metrics = observed(Starlette(routes=[Mount("/static", files)]))
    client.get("/static/a.css")
    client.get("/static/deep/b.css")

    assert metrics.counted() == {("/static/{path}", "GET", "200"): 2}


def test_what_a_client_makes_up_makes_no_series() -> None:
    client, metrics = observed(shop())
    for number in range(20):
        client.request(f"BREW{number}", f"/{number}")

    assert metrics.counted() == {("unmatched", "other", "404"): 20}


def test_routes_beyond_the_limit_count_as_one() -> None:
    async def anything(scope, receive, send) -> None:
        scope["endpoint"] = anything  # a framework that tells each path as a route of its own
        await PlainTextResponse("")(scope, receive, send)

    client, metrics = observed(anything)
    for number in range(MOST_ROUTES + 5):
        client.get(f"/{number}")

    assert len(metrics.counted()) == MOST_ROUTES + 1
    assert metrics.counted()["other", "GET", "200"] == 5


def test_a_request_is_counted_before_its_answer_has_gone_and_without_what_runs_after_it() -> None:
    app, seen = FastAPI(), []

    @app.get("/")
    def root(tasks: BackgroundTasks) -> None:
        tasks.add_task(lambda: seen.append(metrics.counted()))

    client, metrics = observed(app)
    client.get("/")

    assert seen == [{("/", "GET", "200"): 1}] == [metrics.counted()]


@pytest.mark.parametrize("error", [asyncio.CancelledError, None])
def test_a_request_whose_client_left_counts_as_499(error: type[BaseException] | None) -> None:
    async def silent(scope, receive, send) -> None:
        if error is not None:
            raise error

    metrics = FakeMetrics()
    call: Callable[..., object] = Observer(silent, ServerSettings(), metrics)
    metrics.observer = call
    scope = {"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []}
    try:
        asyncio.run(call(scope, None, None))
    except asyncio.CancelledError:
        assert error is not None

    assert metrics.counted() == {("unmatched", "GET", str(CLIENT_GONE)): 1}


def test_durations_are_observed_together_as_one_by_one() -> None:
    durations = [0, 0.001, 0.0011, 0.3, 1, 29.9, 30, 31, 500.5]
    registries = CollectorRegistry(), CollectorRegistry()
    together, one_by_one = (
        Histogram("h", "-", buckets=DURATION_BOUNDS, registry=registry) for registry in registries
    )

    observe_all(together, durations)
    for duration in durations:
        one_by_one.observe(duration)

    def told(registry: CollectorRegistry) -> list[tuple[object, ...]]:
        samples = [sample for metric in registry.collect() for sample in metric.samples]
        return [(s.name, s.labels, s.value) for s in samples if not s.name.endswith("_created")]

    assert told(registries[0]) == told(registries[1])
    assert len(told(registries[0])) == len(DURATION_BOUNDS) + 3


def test_the_servers_own_root_path_is_no_part_of_a_route() -> None:
    scope = {"path": "/shop/x", "root_path": "/shop", "endpoint": None, "path_params": {}}

    assert route_of(scope, root="/shop") == "/shop/x"
    assert route_of({**scope, "route": type("Route", (), {"path": "/x"})}, root="/shop") == "/x"


@pytest.mark.parametrize("sent", ["7", "0af7651916cd43dd8448eb211c80319c", "proxy:1/2", "a" * 128])
def test_a_usable_request_id_is_kept_and_returned(sent: str) -> None:
    client, _ = observed(shop())

    assert client.get("/v1/items/7", headers={"X-Request-ID": sent}).headers.get_list("X-Request-ID") == [
        sent
    ]


@pytest.mark.parametrize("sent", ["", "two words", "a" * 129, 'quo"te', "{}", "semi;colon", None])
def test_any_other_is_replaced_by_a_new_one(sent: str | None) -> None:
    client, _ = observed(shop())
    headers = {} if sent is None else {"X-Request-ID": sent}
    made = [client.get("/v1/items/7", headers=headers).headers["X-Request-ID"] for _ in range(2)]

    assert all(len(one) == 16 and one != sent for one in made)
    assert made[0] != made[1]


def test_a_request_id_that_the_application_says_is_not_said_twice() -> None:
    async def own(scope, receive, send) -> None:
        await PlainTextResponse(request_id.current.get(), headers={"X-Request-ID": "mine"})(
            scope, receive, send
        )

    answer = observed(own)[0].get("/", headers={"X-Request-ID": "sent"})

    assert (answer.headers.get_list("X-Request-ID"), answer.text) == (["mine"], "sent")
