"""Security headers of every response."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
# An answer is data, not a page: nothing of it runs, whatever a description contains. The label is an image
# with styles of its own.
DATA_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
# Swagger UI and ReDoc start by a script in the page, and draw with styles and images made by it.
DOCS_POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    b" img-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'"
)
DOCS = ("/docs", "/redoc")
FOR_DATA = [*HEADERS, (b"content-security-policy", DATA_POLICY)]
FOR_DOCS = [*HEADERS, (b"content-security-policy", DOCS_POLICY)]


class SecurityHeaders:
    """Adds the headers that a response lacks.

    No CORS header is ever sent: other sites may not read what is served here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        policy = FOR_DOCS if scope["path"].startswith(DOCS) else FOR_DATA

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message["headers"]
                names = {name for name, _ in given}
                message["headers"] = [*given, *(header for header in policy if header[0] not in names)]
            await send(message)

        await self.app(scope, receive, send_with_headers)
