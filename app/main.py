"""The application. A master imports it and forks later: nothing here owns a thread or a connection."""

from fastapi import FastAPI

from app.body_limit import BodyLimit
from app.docs import add_docs
from app.handlers import add_handlers
from app.headers import SecurityHeaders
from app.index import router as index_router
from app.inventory.routes import router as inventory_router
from app.lifespan import lifespan
from app.problems import describe_in_openapi
from app.settings import Settings, load_settings

DESCRIPTION = """
Stock-keeping for a small shop: items, the movements that change their stock, and labels to print.

- An item's stock is the sum of its movements and never below zero.
- A movement sent with an `Idempotency-Key` is booked once, however often it is sent.
- A change of an item needs `If-Match` with the ETag that was read.
- Errors are problem documents (RFC 9457) whose `detail` is one sentence.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or load_settings()
    app = FastAPI(
        title="Coachman stock-keeping",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
        redirect_slashes=False,
        telemetry={"auto_configure": True},  # where OTEL_EXPORTER_OTLP_ENDPOINT is set; begun in the lifespan
    )
    app.state.settings = settings
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes)

    app.add_middleware(SecurityHeaders)

    app.include_router(index_router)
    app.include_router(inventory_router)

    if settings.docs:
        add_docs(app)
    add_handlers(app)
    describe_in_openapi(app)
    return app


app = create_app()
