"""Applications to compile: a trivial route, a model, dependencies, and many routes."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header
from pydantic import BaseModel


class Item(BaseModel):
    id: int
    name: str
    price: int
    tags: list[str] = []


ITEM = Item(id=1, name="Darjeeling, 100 g", price=450, tags=["tea", "black"])


def trivial() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def nothing() -> dict[str, str]:
        return {"hello": "world"}

    return app


def unannotated() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def nothing():  # type: ignore[no-untyped-def]
        return {"hello": "world", "numbers": [1, 2, 3]}

    return app


def model() -> FastAPI:
    app = FastAPI()

    @app.get("/{number}")
    async def read(number: int) -> Item:
        return ITEM

    return app


def body() -> FastAPI:
    app = FastAPI()

    @app.post("/")
    async def create(item: Item) -> Item:
        return item

    return app


async def settings(x_tenant: Annotated[str, Header()] = "none") -> str:
    return x_tenant


async def session(settings: Annotated[str, Depends(settings)]) -> dict[str, str]:
    return {"tenant": settings}


async def user(session: Annotated[dict[str, str], Depends(session)], token: str = "t") -> str:
    return session["tenant"] + token


def dependencies() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def read(
        user: Annotated[str, Depends(user)],
        session: Annotated[dict[str, str], Depends(session)],
        settings: Annotated[str, Depends(settings)],
    ) -> dict[str, str]:
        return {"user": user}

    return app


def synchronous() -> FastAPI:
    """A typical application of synchronous code: a session with `yield`, a current user, an endpoint."""
    app = FastAPI()

    def open_session():  # type: ignore[no-untyped-def]
        yield {"tenant": "none"}

    def current_user(session: Annotated[dict[str, str], Depends(open_session)]) -> str:
        return session["tenant"]

    @app.get("/")
    def read(
        user: Annotated[str, Depends(current_user)], session: Annotated[dict[str, str], Depends(open_session)]
    ) -> Item:
        return ITEM

    return app


def yielding() -> FastAPI:
    app = FastAPI()

    async def open_session() -> AsyncIterator[dict[str, str]]:
        yield {"tenant": "none"}

    @app.get("/")
    async def read(session: Annotated[dict[str, str], Depends(open_session)]) -> dict[str, str]:
        return session

    return app


def many(count: int = 100) -> FastAPI:
    """`count` routes in routers of ten, each with three dependencies; the last one is asked."""
    app = FastAPI()
    for start in range(0, count, 10):
        router = APIRouter(prefix=f"/things{start}")
        for number in range(start, min(start + 10, count)):

            async def read(
                thing: int,
                user: Annotated[str, Depends(user)],
                session: Annotated[dict[str, str], Depends(session)],
            ) -> Item:
                return ITEM

            router.add_api_route(f"/{number}/{{thing}}", read, methods=["GET"])
        app.include_router(router, prefix="/api")
    return app


def last_path(count: int = 100) -> str:
    """The path of the last of many()'s routes."""
    return f"/api/things{(count - 1) // 10 * 10}/{count - 1}/7"


# For servers, which import an application by its name: `GET /` is trivial, the other has 100 routes.
app = many()


@app.get("/")
async def nothing() -> dict[str, str]:
    return {"hello": "world"}
