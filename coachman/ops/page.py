"""The status page's own files: nothing is built, and nothing comes from elsewhere."""

from pathlib import Path

from coachman.ops.responses import Response

_FOLDER = Path(__file__).with_name("static")
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES = {f"/{file.name}": file.name for file in _FOLDER.iterdir() if file.suffix in _TYPES} | {
    "/": "page.html"
}


def page_file(path: str) -> Response | None:
    """What the page consists of, or None where the path is no part of it."""
    if path not in _FILES:
        return None
    name = _FILES[path]
    content_type = _TYPES.get(Path(name).suffix, "text/html")
    if not name.endswith(".svg"):
        content_type += "; charset=utf-8"
    headers = ((b"content-security-policy", _POLICY), (b"x-content-type-options", b"nosniff"))
    return Response((_FOLDER / name).read_bytes(), content_type=content_type, headers=headers)
