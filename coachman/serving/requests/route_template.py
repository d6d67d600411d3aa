"""Finds the route template that a request has matched."""

from coachman.asgi import Message

UNMATCHED = "unmatched"


def route_of(scope: Message, root: str = "") -> str:
    """The template that matched, such as /items/{item_id}. `root` is the server's own root path.

    To be asked once the application has answered: Starlette writes what it found into the scope.
    """
    mounted = scope.get("root_path", "")[len(root) :]
    context = (scope.get("fastapi") or {}).get("effective_route_context")  # knows include_router's prefix
    matched = context or scope.get("route")
    if matched is not None and hasattr(matched, "path") and not hasattr(matched, "routes"):
        return f"{mounted}{matched.path}"
    if "endpoint" not in scope:
        return UNMATCHED
    if "app_root_path" in scope:  # a mount, whose application says nothing of routes
        return f"{mounted}/{{path}}"
    return UNMATCHED if scope.get("path_params") else str(scope["path"])
