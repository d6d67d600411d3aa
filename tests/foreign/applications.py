"""Published applications and frameworks: what to install, how each is started, and a request of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

APPS = Path(__file__).parent / "apps"


class Application(NamedTuple):
    """One project as its author would deploy it: packages beside a file main.py."""

    name: str
    packages: Sequence[str]
    path: str  # of a GET request that the application answers with 200
    contains: str  # in the answer
    arguments: Sequence[str] = ()  # of `coachman run`
    environment: Mapping[str, str] = {}
    start_seconds: float = 60

    @property
    def main(self) -> str:
        """Its main.py; applications that a package brings need none."""
        path = APPS / f"{self.name.replace('-', '_')}.py"
        return path.read_text() if path.exists() else ""


APPLICATIONS = [
    Application("starlette", ["starlette"], "/", "hello from starlette"),
    Application("litestar", ["litestar"], "/", "hello from litestar"),
    Application("quart", ["quart"], "/", "hello from quart"),
    Application("sqladmin", ["fastapi", "sqladmin", "sqlalchemy[asyncio]"], "/admin/item/list", "Items"),
    Application(
        "strawberry", ["fastapi", "strawberry-graphql"], "/graphql?query=%7Bhello%7D", "hello from strawberry"
    ),
    Application("mcp", ["mcp"], "/health", "mcp is well"),
    Application("datasette", ["datasette"], "/-/versions.json", "datasette"),
    Application("nicegui", ["nicegui"], "/", "hello from nicegui"),
    Application("gradio", ["fastapi", "gradio"], "/ui/", "gradio"),
    Application(
        "typical",
        [
            *("fastapi", "sqlalchemy", "aiosqlite", "greenlet", "pydantic-settings", "python-multipart"),
            *("sse-starlette", "prometheus-fastapi-instrumentator"),
        ],
        "/items",
        "[",
        ["main:create_app"],
    ),
    Application(
        "mlflow",
        ["mlflow-skinny", "mlflow"],
        "/health",
        "OK",
        ["mlflow.server.fastapi_app:app", "--boot-seconds", "180"],
        {"_MLFLOW_SERVER_FILE_STORE": "sqlite:///mlflow.db", "_MLFLOW_SERVER_ARTIFACT_ROOT": "artifacts"},
        180,
    ),
    Application(
        "litellm",
        ["litellm[proxy]"],
        "/health/liveliness",
        "alive",
        ["litellm.proxy.proxy_server:app", "--boot-seconds", "180"],
        {"CONFIG_FILE_PATH": "config.yaml", "LITELLM_LOG": "ERROR"},
        180,
    ),
]
