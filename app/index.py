"""The bare address: a browser is led to the docs, a program gets an index."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

router = APIRouter(include_in_schema=False)
VARY = {"vary": "accept"}


@router.get("/")
async def index(request: Request) -> Response:
    app, root = request.app, request.scope.get("root_path", "")
    has_docs = app.openapi_url is not None
    if has_docs and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"{root}/docs", headers=VARY)
    links = {"docs": f"{root}/docs", "openapi": f"{root}{app.openapi_url}"} if has_docs else {}
    return JSONResponse(
        {"title": app.title, "version": app.version, "items": f"{root}/items", **links}, headers=VARY
    )
