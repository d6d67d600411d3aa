"""Published applications and frameworks: what to install, how each is started, and a request of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.deadlines import PATIENCE_SECONDS

APPS = Path(__file__).parent / "apps"


class Application(NamedTuple):
    """One project as its author would deploy it: packages beside apps/NAME.py, which becomes its main.py."""

    name: str
    packages: Sequence[str]
    path: str  # of a GET request that the application answers with 200
    contains: str  # in the answer
    arguments: Sequence[str] = ()  # of `coachman run`
    start_seconds: float = PATIENCE_SECONDS
    distribution: str = ""  # whose version the table shows, where it is not called as the application is

    @property
    def label(self) -> str:
        """Its name in the table."""
        return f"{self.name} ({self.distribution})" if self.distribution else self.name

    @property
    def main(self) -> str:
        """Its main.py."""
        return (APPS / f"{self.name}.py").read_text()


APPLICATIONS = [
    Application("starlette", ["starlette"], "/", "hello from starlette"),
    Application("litestar", ["litestar"], "/", "hello from litestar"),
    Application(
        "exporter",
        ["fastapi", "starlette_exporter"],
        "/",
        "hello from exporter",
        distribution="starlette-exporter",
    ),
    Application("quart", ["quart"], "/", "hello from quart"),
    Application("sqladmin", ["fastapi", "sqladmin", "sqlalchemy[asyncio]"], "/admin/item/list", "Items"),
    Application(
        "strawberry",
        ["fastapi", "strawberry-graphql"],
        "/graphql?query=%7Bhello%7D",
        "hello from strawberry",
        distribution="strawberry-graphql",
    ),
    Application("mcp", ["mcp<2"], "/health", "mcp is well"),
    Application("datasette", ["datasette"], "/-/versions.json", "datasette"),
    Application("nicegui", ["nicegui"], "/", "hello from nicegui"),
    Application("gradio", ["fastapi", "gradio"], "/ui/", "gradio", ["--boot-seconds", "180"]),
    Application(
        "mlflow",
        ["mlflow"],
        "/api/2.0/mlflow/experiments/search?max_results=5",
        "experiments",
        ["--boot-seconds", "180"],
        180,
    ),
    Application(
        "litellm", ["litellm[proxy]"], "/health/liveliness", "I'm alive!", ["--boot-seconds", "180"], 180
    ),
    Application(
        "typical",
        [
            *("fastapi", "sqlalchemy", "aiosqlite", "greenlet", "pydantic-settings", "python-multipart"),
            *("sse-starlette", "prometheus-fastapi-instrumentator"),
        ],
        "/items",
        "[",
        ["main:create_app"],
        distribution="fastapi",
    ),
]
