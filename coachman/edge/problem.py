"""Problem documents (RFC 9457), the form of each error that Coachman itself answers."""

import json
from http import HTTPStatus

MEDIA_TYPE = b"application/problem+json"


def problem_document(status: int, detail: str) -> bytes:
    """The JSON of an error response."""
    title = HTTPStatus(status).phrase
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
