"""The status page's own files: nothing is built, and nothing comes from elsewhere."""

from pathlib import Path

from coachman.ops.responses import Response

_FOLDER = Path(__file__).with_name("static")
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def page_file(path: str) -> Response | None:
    """What the page consists of, or None where the path is no part of it."""
    if path not in _FILES:
        return None
    name, content_type = _FILES[path]
    headers = ((b"content-security-policy", _POLICY), (b"x-content-type-options", b"nosniff"))
    return Response((_FOLDER / name).read_bytes(), content_type=content_type, headers=headers)
