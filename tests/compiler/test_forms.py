"""Forms, which need python-multipart, and models of parameters: the same compiled as not."""

from typing import Annotated, Any

from fastapi import BackgroundTasks, Cookie, FastAPI, File, Form, Header, Query, Request, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from tests.compiler.exchange import Call, Journal, compare

FORM = [(b"content-type", b"application/x-www-form-urlencoded")]


class Inner(BaseModel):
    x: int = 1
    y: float | None = None


class Filters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(10, le=100)
    order: Annotated[str, Field(alias="order-by")] = "id"
    tags: list[str] = []


def test_models_of_parameters_and_forms() -> None:
    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        @app.get("/query")
        async def query(filters: Annotated[Filters, Query()]) -> Filters:
            return filters

        @app.get("/header")
        async def header(
            filters: Annotated[Inner, Header()], cookies: Annotated[Inner, Cookie()]
        ) -> list[Inner]:
            return [filters, cookies]

        @app.post("/form")
        async def form(filters: Annotated[Filters, Form()], tasks: BackgroundTasks) -> Filters:
            tasks.add_task(journal.append, "task")
            return filters

        @app.post("/fields")
        async def fields(
            request: Request,
            a: Annotated[int, Form()],
            b: Annotated[list[str], Form()] = [],  # noqa: B006
        ) -> Any:
            return [a, b, sorted((await request.form()).keys())]

        @app.post("/file")
        async def file(
            upload: UploadFile, data: Annotated[bytes, File()], note: Annotated[str, Form()] = "-"
        ) -> Any:
            return [upload.filename, (await upload.read()).decode(), len(data), note, upload.file.closed]

        @app.post("/late")
        def late(upload: UploadFile, tasks: BackgroundTasks) -> str:
            tasks.add_task(lambda: journal.append(upload.file.closed))
            return upload.filename or ""

        return app

    boundary = b"--b\r\nContent-Disposition: form-data; name=%s\r\n\r\n%s\r\n"
    body = boundary % (b'"upload"; filename="u.txt"', b"up") + boundary % (b'"data"; filename="d"', b"data")
    multipart = [(b"content-type", b"multipart/form-data; boundary=b")]
    compare(
        factory,
        *(
            Call(path="/query", query=query)
            for query in (
                b"",
                b"limit=5&order-by=x&tags=a&tags=b",
                b"limit=101",
                b"other=1",
                b"limit=1&limit=2",
            )
        ),
        Call(path="/header", headers=[(b"x", b"5"), (b"cookie", b"x=6; y=1.5")]),
        Call(path="/header", headers=[(b"x", b"z")]),
        *(
            Call("POST", "/form", body=[form], headers=FORM)
            for form in (b"", b"limit=5&tags=a&tags=b", b"limit=x", b"other=1", b"limit=1&limit=2")
        ),
        *(
            Call("POST", "/fields", body=[form], headers=FORM)
            for form in (b"", b"a=1", b"a=1&b=", b"a=1&b=x&b=y", b"a=&b=1", b"a=1&a=2")
        ),
        *(
            Call("POST", path, body=[body[:20], body[20:] + b"--b--\r\n"], headers=multipart)
            for path in ("/file", "/late", "/fields")
        ),
        Call("POST", "/file", body=[b"broken"], headers=multipart),
        Call("POST", "/file", body=[b"x"], headers=[(b"content-type", b"multipart/form-data")]),
    )
