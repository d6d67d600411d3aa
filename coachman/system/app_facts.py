"""What an application says of itself, for people to recognise it by."""

from typing import Any

_UNNAMED = "FastAPI"  # the title of an application that its author has not given one


def title_of(application: Any) -> str:
    """The title that its author has given a FastAPI application; empty for others."""
    title = getattr(application, "title", "")
    return title if isinstance(title, str) and title != _UNNAMED else ""


def docs_path(application: Any) -> str:
    """FastAPI names its page so; an application of another kind, or without docs, has no such route.

    Asked by name, since the routes of an included router are not among `application.routes`.
    """
    path_of = getattr(application, "url_path_for", None)
    if path_of is None:
        return ""
    try:
        return str(path_of("swagger_ui_html"))
    except Exception:  # noqa: BLE001 - Starlette's NoMatchFound, or whatever another framework raises
        return ""
