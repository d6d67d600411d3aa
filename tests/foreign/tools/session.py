"""A short session of one application under one tool, compiled or not; prints what was seen, as JSON.

Usage: session.py TOOL compiled|stock FOLDER. Runs in an environment that has the tool and FastAPI; FOLDER is
that of the package coachman.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import fastapi
from fastapi import Depends, FastAPI

events: list[Any] = []  # what the tool would have sent
PATHS = ["/items/1", "/items/2?q=3", "/sync", "/items/x", "/items/9", "/none", "/metrics"]
Later = Callable[[FastAPI], None] | None


def sentry() -> Later:
    import sentry_sdk

    class Transport(sentry_sdk.transport.Transport):
        def capture_envelope(self, envelope: Any) -> None:
            events.extend(item.type for item in envelope.items)

    sentry_sdk.init(dsn="http://key@127.0.0.1/1", transport=Transport, traces_sample_rate=1.0)
    return None


def ddtrace() -> Later:
    os.environ |= {
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    }
    import ddtrace
    from ddtrace.trace import TraceFilter, tracer

    class Filter(TraceFilter):  # type: ignore[misc]
        def process_trace(self, trace: Any) -> None:
            events.extend((span.name, span.resource) for span in trace)

    ddtrace.patch(fastapi=True, starlette=True)
    tracer.configure(trace_processors=[Filter()])
    return None


def newrelic() -> Later:
    import newrelic.config

    newrelic.config.initialize()
    return None


def logfire() -> Later:
    import logfire

    def instrument(app: FastAPI) -> None:
        logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[_noting_spans()])
        logfire.instrument_fastapi(app)

    return instrument


def opentelemetry() -> Later:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.trace import TracerProvider

    def instrument(app: FastAPI) -> None:
        provider = TracerProvider()
        provider.add_span_processor(_noting_spans())
        FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)

    return instrument


def opentelemetry_everywhere() -> Later:
    """Puts a class of its own in the place of fastapi.FastAPI."""
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(_noting_spans())
    FastAPIInstrumentor().instrument(tracer_provider=provider)
    return None


def prometheus() -> Later:
    from prometheus_fastapi_instrumentator import Instrumentator

    def instrument(app: FastAPI) -> None:
        Instrumentator().instrument(app).expose(app)

    return instrument


def elasticapm() -> Later:
    from elasticapm.contrib.starlette import ElasticAPM, make_apm_client

    def instrument(app: FastAPI) -> None:
        client = make_apm_client(
            {"SERVICE_NAME": "test", "DISABLE_SEND": True, "CENTRAL_CONFIG": False, "CLOUD_PROVIDER": "none"}
        )
        client.queue = lambda kind, data, flush=False: events.append((kind, data.get("name")))
        app.add_middleware(ElasticAPM, client=client)

    return instrument


def _noting_spans() -> Any:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class Exporter(SpanExporter):
        def export(self, spans: Any) -> Any:
            events.extend(span.name for span in spans)
            return SpanExportResult.SUCCESS

    return SimpleSpanProcessor(Exporter())


def declare(app: FastAPI) -> None:
    async def dependency(q: int = 1) -> int:
        return q

    def in_thread() -> int:
        return 5

    @app.get("/items/{number}")
    async def read(number: int, one: int = Depends(dependency)) -> list[int]:
        if number == 9:
            raise ValueError("nine")
        return [number, one]

    @app.get("/sync")
    def sync(one: int = Depends(in_thread)) -> int:
        return one


async def ask(app: FastAPI, url: str) -> list[Any]:
    """Returns the messages of the answer, but for the metrics, which hold times."""
    path, _, query = url.partition("?")
    seen: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        is_compared = path != "/metrics"
        body = message.get("body", b"").decode() if is_compared else ""
        headers = [(name.decode(), value.decode()) for name, value in message.get("headers", ())]
        seen.append([message.get("status"), body, headers if is_compared else []])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "server": ("testserver", 80),
        "client": ("testclient", 1),
    }
    try:
        await app(scope, receive, send)
    except ValueError as error:
        seen.append(repr(error))
    return seen


async def main(tool: str, mode: str, folder: str) -> None:
    later = globals()[tool]()  # as tools ask for it: before the application is made
    app = fastapi.FastAPI()  # whatever the tool has put there
    declare(app)
    if later is not None:
        later(app)
    package = ModuleType("coachman")  # the compiler alone: the environment has not what the rest needs
    package.__path__ = [folder]
    sys.modules["coachman"] = package
    from coachman.compiler import COUNTS, compile_app

    report = compile_app(app) if mode == "compiled" else None
    answers = [await ask(app, url) for url in PATHS]
    notices = report.notices if report else []
    print(json.dumps({"answers": answers, "events": events, "compiled": COUNTS.compiled, "notices": notices}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
