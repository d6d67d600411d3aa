"""What the page says of the application: its name, its docs, and what the compiler has made of its routes."""

import socket
from typing import Any, NamedTuple, Self

from coachman.compiler import loading
from coachman.system import app_loader
from coachman.system.app_facts import docs_path, title_of


class About(NamedTuple):
    title: str = ""
    module: str = ""  # such as app.main:app
    docs: str = ""  # path of the interactive docs; empty where there are none
    scheme: str = "http"
    port: int | None = None  # of the public address, where it is one of TCP
    left: dict[tuple[str, str], str] | None = None  # (method, path) -> why FastAPI answers it, "" if compiled

    @classmethod
    def of(cls, application: Any, public: list[socket.socket], *, is_tls: bool) -> Self:
        """Runs in the worker, which has loaded the application or was forked by a master that has."""
        ports = [each.getsockname()[1] for each in public if each.family in (socket.AF_INET, socket.AF_INET6)]
        return cls(
            title_of(application),
            app_loader.loaded.name,
            docs_path(application),
            "https" if is_tls else "http",
            ports[0] if ports else None,
            _left(),
        )


def _left() -> dict[tuple[str, str], str] | None:
    report = loading.latest
    if report is None:
        return None
    return {
        (method, route.path): "" if route.is_compiled else route.reason or report.reason
        for route in report.routes
        for method in route.methods
    }
